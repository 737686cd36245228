//! Rows of a foreign table whose columns are only known when it is read.

use std::collections::BTreeSet;

use domain::time::Time;
use serde_json::{Map as Fields, Value};

use crate::{About, Life};

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
    /// Bytes of its texts.
    pub(crate) fn length(&self) -> usize {
        self.fields.values().filter_map(Value::as_str).map(str::len).sum()
    }

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

    /// What this row is about, whatever else is wrong with it. What it says was taken away is so, even if nobody can read when; so is
    /// what it says of its life elsewhere, and of its end.
    pub(crate) fn about(&self, name: &str, life: Option<Life>, end: Option<Time>) -> About {
        let about = self.needed(name).map_or(About::Anything, |text| About::named(&text));
        let life = if self.says("revoked_at") { Some(Life::Revoked) } else { life };
        about.ending(life, end)
    }

    /// Whether there is something in a column, readable or not.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.unreadable.contains(name) || self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// ISO text, with or without a zone, seconds since 1970, or an end of time.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Instant>, String> {
        self.text(name)?.map(|text| instant(&text).ok_or_else(|| format!("{name} is no time"))).transpose()
    }
}

/// A time as databases have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    /// Before every time.
    Never,
    At(Time),
    /// After every time.
    Forever,
}

pub(crate) fn instant(text: &str) -> Option<Instant> {
    match text {
        "infinity" => Some(Instant::Forever),
        "-infinity" => Some(Instant::Never),
        text => time(text).map(Instant::At).or_else(|| beyond(text)),
    }
}

/// A time that is one, and beyond those that can be told from one another: people write the last day of the year 9999 for "never".
fn beyond(text: &str) -> Option<Instant> {
    let some_year = |text: &str| {
        let (year, rest) = text.split_once('-')?;
        let year = year.chars().all(|c| c.is_ascii_digit()).then(|| year.parse::<u64>().ok())??;
        time(&format!("2000-{rest}")).map(|_| year)
    };
    if let Some(text) = text.strip_suffix(" BC") {
        return some_year(text).map(|_| Instant::Never);
    }
    let in_the_last_year = || text.parse::<i64>().ok().filter(|seconds| (LAST_SECOND..YEAR_10000).contains(seconds));
    match some_year(text) {
        Some(year) => (year >= 9999).then_some(Instant::Forever),
        None => in_the_last_year().map(|_| Instant::Forever),
    }
}

fn time(text: &str) -> Option<Time> {
    if let Some(micros) = seconds(text) {
        return Some(Time::from_micros(micros));
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Some(Time::from_micros(stamp.as_microsecond()));
    }
    // SQLite's own functions write a time without a zone, and mean UTC.
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let stamp = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
    Some(Time::from_micros(stamp.as_microsecond()))
}

/// As far as `jiff` goes, and a few hours more.
const LAST_SECOND: i64 = 253_402_207_200;
const YEAR_10000: i64 = 253_402_300_800;

/// Seconds since 1970 as a number is written, with or without a fraction, in microseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the times that there are")]
#[allow(clippy::float_arithmetic, reason = "what a source wrote as a number with a fraction")]
fn seconds(text: &str) -> Option<i64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return (-LAST_SECOND..=LAST_SECOND).contains(&seconds).then_some(seconds * 1_000_000);
    }
    let seconds: f64 = text.parse().ok()?;
    (seconds.abs() <= LAST_SECOND as f64).then(|| (seconds * 1e6).round() as i64)
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
        for (text, micros) in [
            ("1775120400.25", 1_775_120_400_250_000),
            ("1.7751204e9", 1_775_120_400_000_000),
            ("-1.5", -1_500_000),
            ("-86400", -86_400_000_000),
            ("0", 0),
        ] {
            assert_eq!(instant(text), Some(Instant::At(Time::from_micros(micros))), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "99999999999999999999",
            "1775120400000",
            "1e300",
            "-",
            "inf",
            "nan",
            "-inf",
            "0000-00-00 00:00:00",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
        // How people write "never", and what to_jsonb makes of times far away.
        for text in [
            "9999-12-31",
            "9999-12-31 23:59:59",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59+00:00",
            "10000-01-01T00:00:00+00:00",
            "253402300799",
        ] {
            assert_eq!(instant(text), Some(Instant::Forever), "{text}");
        }
        assert_eq!(instant("0044-03-15T00:00:00+00:00 BC"), Some(Instant::Never));
        for text in ["9999-13-31", "10000-00-01", "12345-ab-01", "9998-12-32", "9999-12-31 BCE", "253402300800"] {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!([instant("infinity"), instant("-infinity")], [Some(Instant::Forever), Some(Instant::Never)]);
    }
}
