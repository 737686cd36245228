//! The store of the anchors alone, with the city gone: it has no checkpoint, and the audit ends at the newest anchor that counts.

use super::{SIZES, log};
use crate::anchors::{self, Anchor};
use crate::report::Report;
use crate::testkit::{Published, log_key, sign};
use crate::{CouldNotCheck, Options, verify};

/// What a store of anchors holds of this log.
fn store() -> Published {
    let mut published = Published::of(&log().records, &SIZES);
    published.files.remove("checkpoint").unwrap();
    published
}

/// Audits it with a policy that lies elsewhere, as in a store there is none.
fn audit(mut published: Published) -> Result<Report, CouldNotCheck> {
    let (dir, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let policy = own.path().join("policy");
    std::fs::write(&policy, published.files.remove("policy").unwrap()).unwrap();
    published.write(dir.path());
    let remember = Some(own.path().join("memory"));
    verify(&Options { dir: dir.path().to_owned(), policy, remember, ..Options::default() }, &|_, _| ())
}

fn says(report: &Report, words: &str) {
    assert!(report.findings.iter().any(|finding| finding.what.contains(words)), "{words}: {}", report.to_text());
}

#[test]
fn a_store_without_a_checkpoint_is_audited_at_its_newest_anchor() {
    let report = audit(store()).unwrap();
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!((report.size, report.understood, report.anchors, report.checkpoints), (700, 700, 4, 4));
    assert_eq!(report.ends_at, Some(anchors::key(3, 700)));
    let text = report.to_text();
    assert!(text.contains(&format!("ends at      {}: the newest anchor", anchors::key(3, 700))), "{text}");
    // Where there is a checkpoint, no anchor takes its place.
    let report = super::audit(&Published::of(&log().records, &SIZES));
    assert!(report.is_clean() && report.ends_at.is_none(), "{}", report.to_text());
}

#[test]
fn what_is_no_anchor_of_the_log_is_found_and_does_not_end_the_audit() {
    let forged = |change: &dyn Fn(&mut Published)| {
        let mut published = store();
        change(&mut published);
        audit(published).unwrap()
    };
    let junk = forged(&|published| published.put(&anchors::key(4, 900), b"{}".to_vec()));
    assert_eq!((junk.size, junk.understood), (700, 700), "{}", junk.to_text());
    says(&junk, "it is not an anchor");
    // Another's word about a longer log.
    let other = forged(&|published| {
        let mut anchor: Anchor = serde_json::from_slice(&published.files[&anchors::key(3, 700)]).unwrap();
        let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].replace("\n700\n", "\n701\n");
        anchor.checkpoint = format!("{text}\n{}", log_key(8).sign(&text));
        anchor.seq = 4;
        sign(&mut anchor, &[8]);
        published.put(&anchors::key(4, 701), anchor.to_bytes().unwrap());
    });
    assert_eq!((other.size, other.understood), (700, 700), "{}", other.to_text());
    says(&other, "no key that the policy gives signed it, and no anchor that one signed leads to it");
    // The log's own word under another name, so that it seems to end earlier.
    let renamed = forged(&|published| {
        let old = published.files[&anchors::key(1, 256)].clone();
        published.put(&anchors::key(9, 256), old);
    });
    assert_eq!(renamed.size, 700, "{}", renamed.to_text());
    says(&renamed, "the name is not that of its sequence number and size");
}

#[test]
fn a_store_with_nothing_that_counts_is_not_called_clean() {
    let mut nobodys = store();
    nobodys.files.insert("policy".to_owned(), format!("log {}\nquorum none\n", log_key(9).vkey()).into_bytes());
    let report = audit(nobodys).unwrap();
    says(&report, "no anchor that can be read and that a key of the policy signed");
    let mut empty = store();
    empty.files.retain(|path, _| !path.starts_with("anchors/"));
    assert!(audit(empty).unwrap_err().to_string().contains("neither a checkpoint nor anchors"));
}
