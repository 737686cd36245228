//! Rows of a foreign table whose columns are only known when it is read.

use std::collections::BTreeSet;

use domain::time::Time;
use serde_json::{Map as Fields, Value};

use crate::About;

/// A row by its columns' names.
#[derive(Default)]
pub(crate) struct ForeignRow {
    pub fields: Fields<String, Value>,
    /// Columns that hold what is no text, number or null. What they say is not known: least of all that they are null.
    pub unreadable: BTreeSet<String>,
}

impl From<Fields<String, Value>> for ForeignRow {
    fn from(fields: Fields<String, Value>) -> Self {
        Self { fields, unreadable: BTreeSet::new() }
    }
}

impl ForeignRow {
    /// Whether there is such a column, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name) || self.unreadable.contains(name)
    }

    /// A text, or a number written as one. `None` when null or absent.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        if self.unreadable.contains(name) {
            return Err(format!("{name} is no text"));
        }
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(format!("{name} is no text")),
        }
    }

    pub(crate) fn needed(&self, name: &str) -> Result<String, String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    /// What this row is about, whatever else is wrong with it.
    pub(crate) fn about(&self, name: &str) -> About {
        self.needed(name).map_or(About::Anything, |text| About::named(&text))
    }

    /// ISO text, with or without a zone, or seconds since 1970.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Time>, String> {
        self.text(name)?.map(|text| time(&text).ok_or_else(|| format!("{name} is no time"))).transpose()
    }
}

pub(crate) fn time(text: &str) -> Option<Time> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000).map(Time::from_micros);
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Some(Time::from_micros(stamp.as_microsecond()));
    }
    // SQLite's own functions write a time without a zone, and mean UTC.
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let stamp = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
    Some(Time::from_micros(stamp.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_spelling_that_sources_have() {
        let expected = Some(Time::from_micros(1_775_120_400_000_000));
        for text in ["1775120400", "2026-04-02T09:00:00Z", "2026-04-02 09:00:00", "2026-04-02T11:00:00+02:00"] {
            assert_eq!(time(text), expected, "{text}");
        }
        for text in ["", "yesterday", "99999999999999999999"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
