//! What an import came to, and the difference that it made.

use std::collections::BTreeMap;

use domain::grant::kind::{CapabilityKind, CapabilityRef};
use domain::party::HolderId;
use serde::Serialize;
use sources::shown;

use super::work::Named;

/// Most lines of one kind that a report keeps, beside those of what is held here: of that all are kept. The numbers count all.
const MOST_LINES: usize = 250_000;

/// One line of the difference that an import makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: &'static str,
    pub holder: HolderId,
    pub kind: CapabilityKind,
    #[serde(rename = "ref")]
    pub reference: CapabilityRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A row that cost itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub place: String,
    pub what: String,
}

/// What an import came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub listed: u64,
    pub added: u64,
    pub confirmed: u64,
    /// The source gives less than before: so does the grant.
    pub narrowed: u64,
    pub ended: u64,
    pub gone: u64,
    pub withheld: u64,
    pub unmapped: u64,
    pub refused: u64,
    pub wrong: u64,
    /// Held when this began, and ended by somebody before it was settled: nothing is recorded of these.
    pub overtaken: u64,
    /// What the source lists as ended, and is not held.
    pub ignored: u64,
    /// Held here and not listed, where a row that was not understood may be it: nothing is said of these.
    pub unknown: u64,
    /// Why the source could not be listed to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<String>,
    /// Living grants that the source does not list, too many to believe it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Living grants of sources without a mapping file in the server's settings: nobody verifies them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unverified: BTreeMap<String, u64>,
    pub dry_run: bool,
    pub changes: Vec<Change>,
    pub rows: Vec<Row>,
    /// Lines that were too many to be kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl Report {
    /// Whether somebody should look.
    pub fn is_clean(&self) -> bool {
        self.unmapped + self.refused + self.wrong == 0 && self.unlisted.is_none() && self.lost.is_none()
    }

    pub(super) fn change(&mut self, what: &'static str, import: &Named, because: Option<String>) {
        let is_new = matches!(what, "added" | "withheld" | "refused");
        if is_new && self.changes.len() >= MOST_LINES {
            self.left_out += 1;
        } else {
            let Named { holder, kind, reference } = import.clone();
            self.changes.push(Change { what, holder, kind, reference, because });
        }
    }

    pub(super) fn row(&mut self, place: String, what: String) {
        if self.rows.len() < MOST_LINES {
            self.rows.push(Row { place: shown(&place), what: shown(&what) });
        } else {
            self.left_out += 1;
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use domain::ids::CitizenId;

    use super::*;

    #[test]
    fn what_would_end_is_listed_however_much_is_new_and_what_is_not_listed_is_counted() {
        let named = Named {
            holder: CitizenId::from_bits(1).into(),
            kind: CapabilityKind::Credential,
            reference: "t1".parse().unwrap(),
        };
        let mut report = Report::default();
        (0..MOST_LINES + 3).for_each(|_| report.change("added", &named, None));
        report.change("gone", &named, None);
        (0..MOST_LINES + 2).for_each(|row| report.row(row.to_string(), "is wrong".to_owned()));
        assert_eq!((report.changes.len(), report.rows.len(), report.left_out), (MOST_LINES + 1, MOST_LINES, 5));
        assert_eq!(report.changes.last().unwrap().what, "gone");
    }
}
