//! Witnesses who were not asked for months: one cosignature before the export does not make up for it.

use super::{SIZES, audit, found, log};
use crate::anchors;
use crate::report::Report;
use crate::testkit::Published;

fn rows(report: &Report) -> Vec<(u64, u64, Option<u64>, Option<u64>)> {
    let rows = &report.quorum.as_ref().unwrap().rows;
    rows.iter().map(|row| (row.first.0, row.last.0, row.after, row.before)).collect()
}

fn cosigned(sizes: &[u64]) -> Published {
    let mut published = Published::of(&log().records, &SIZES);
    published.cosign(sizes);
    published
}

#[test]
fn anchors_that_the_quorum_did_not_cosign_are_counted_and_named() {
    let all = audit(&cosigned(&SIZES));
    assert!(all.is_clean() && rows(&all).is_empty(), "{}", all.to_text());
    assert!(all.to_text().contains("cosigned     4 anchors by the quorum, 0 not"), "{}", all.to_text());

    let away = audit(&cosigned(&[10, 700]));
    assert!(away.is_clean(), "a later cosignature covers them: {}", away.to_text());
    assert_eq!(rows(&away), [(1, 2, Some(0), Some(3))]);
    let text = away.to_text();
    assert!(text.contains("cosigned     2 anchors by the quorum, 2 not"), "{text}");
    assert!(text.contains("UNWITNESSED  the quorum did not cosign anchors 1 to 2, "), "{text}");
    assert!(text.contains("after anchor 0, until anchor 3, which covers them"), "{text}");
    assert!(away.to_json().contains("\"unwitnessed\": 2"), "{}", away.to_json());

    // Who asks for no witnesses hears nothing of them.
    let none = audit(&Published::of(&log().records, &SIZES));
    assert!(none.quorum.is_none() && !none.to_text().contains("cosigned     "), "{}", none.to_text());
}

#[test]
fn what_an_audit_ends_at_needs_the_quorum() {
    let city = log();
    let late = |cosigned: &[u64]| {
        let mut published = Published::of(&city.records, &[10, 256, 300]);
        published.lay(&city.records, 700);
        published.cosign(cosigned);
        published
    };
    // Months without a witness, and one cosignature before the export: it covers them, and they are named.
    let once = audit(&late(&[700]));
    assert!(once.is_clean(), "{}", once.to_text());
    assert_eq!((once.witnessed, rows(&once)), (Some(true), vec![(0, 2, None, None)]));
    assert!(once.to_text().contains("no anchor before them, and no anchor after them"), "{}", once.to_text());
    found(&late(&[10, 256, 300]), "the quorum of the policy did not cosign the checkpoint", None);

    // In a store alone the audit ends at the newest anchor.
    let store = |sizes: &[u64]| {
        let mut published = cosigned(sizes);
        published.files.remove("checkpoint");
        audit(&published)
    };
    let report = store(&[10, 256, 300]);
    assert_eq!(report.findings.len(), 1, "{}", report.to_text());
    assert!(
        report.findings[0].what.contains(&format!("did not cosign {}", anchors::key(3, 700))),
        "{}",
        report.to_text()
    );
    assert!(store(&[700]).is_clean(), "{}", store(&[700]).to_text());
}
