//! What somebody who can write to a store lays among the anchors: it is named itself, and no anchor of the log is blamed for it.

use std::fs::File;

use chain::hash::sha256;

use super::{SIZES, audit, in_folder, log};
use crate::anchors::{self, Anchor, Previous};
use crate::report::{Check, Report};
use crate::testkit::{Published, log_key};
use crate::verify;

/// An anchor of the log, changed without any key, and under the name that it then has.
fn laid(published: &Published, seq: usize, change: impl Fn(&mut Anchor)) -> (String, Vec<u8>) {
    let own = anchors::key(seq as u64, SIZES[seq]);
    let mut anchor: Anchor = serde_json::from_slice(&published.files[&own]).unwrap();
    change(&mut anchor);
    let size = anchor.checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let bytes = chain::canonical::to_bytes(&serde_json::to_value(&anchor).unwrap()).unwrap();
    (anchors::key(anchor.seq, size), bytes)
}

fn names(published: &Published, seq: usize) -> Previous {
    let key = anchors::key(seq as u64, SIZES[seq]);
    Previous { sha256: sha256(&[&published.files[&key]]), key, version: None }
}

/// Every finding about anchors and checkpoints is about this object.
fn blames(report: &Report, key: &str, words: &str) {
    let text = report.to_text();
    assert!(report.findings.iter().any(|finding| finding.what.contains(words)), "expected {words:?} in {text}");
    assert!(!report.is_clean() && report.findings.iter().all(|finding| finding.what.contains(key)), "{key}: {text}");
    assert_eq!((report.size, report.understood, report.anchors), (700, 700, 4), "{text}");
}

/// In an export, and in the store alone.
fn both(published: &mut Published, key: &str, words: &str) {
    blames(&audit(published), key, words);
    let policy = published.files["policy"].clone();
    published.files.remove("checkpoint");
    let report = audit(published);
    assert_eq!(report.ends_at, Some(anchors::key(3, 700)), "{}", report.to_text());
    blames(&report, key, words);
    published.put("policy", policy);
}

fn stray(key: &str, bytes: Vec<u8>, words: &str) {
    let mut published = Published::of(&log().records, &SIZES);
    assert!(!published.files.contains_key(key), "{key} is the log's own");
    published.put(key, bytes);
    both(&mut published, key, words);
}

#[test]
fn a_copy_of_an_anchor_under_another_number_is_named_and_no_other() {
    let published = Published::of(&log().records, &SIZES);
    for (key, seq) in [
        (anchors::key(0, 300), 0),
        (anchors::key(1, 10), 0),
        (anchors::key(1, 257), 1),
        (anchors::key(2, 10), 0),
        (anchors::key(9, 256), 1),
    ] {
        let bytes = published.files[&anchors::key(seq, SIZES[usize::try_from(seq).unwrap()])].clone();
        stray(&key, bytes, "the name is not that of its sequence number and size");
    }
}

#[test]
fn another_logs_anchor_is_named_and_no_other() {
    let other = "guildhall.example/other";
    let published = Published::of(&log().records, &SIZES);
    for trusted in [false, true] {
        for seq in [0, 1, 9] {
            let key = chain::note::SigningKey::from_seed(other, [5; 32]);
            let (name, bytes) = laid(&published, 2, |anchor| {
                let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].to_owned();
                let text = text.replace(crate::testkit::ORIGIN, other).replace("\n300\n", "\n999\n");
                anchor.checkpoint = format!("{text}\n{}", key.sign(&text));
                (anchor.origin, anchor.seq) = (other.to_owned(), seq);
            });
            let mut published = Published::of(&log().records, &SIZES);
            published.put(&name, bytes);
            if trusted {
                let policy = String::from_utf8(published.files["policy"].clone()).unwrap();
                published.put("policy", format!("log {}\n{policy}", key.vkey()).into_bytes());
            }
            let words = if trusted { "it belongs to another log" } else { "the policy knows no log" };
            both(&mut published, &name, words);
        }
    }
}

#[test]
fn a_signed_checkpoint_in_an_anchor_of_somebody_elses_making_takes_no_anchors_place() {
    let published = Published::of(&log().records, &SIZES);
    // The same number as the second, around the first checkpoint: it continues the first, and nothing continues it.
    let first = names(&published, 0);
    let (key, bytes) = laid(&published, 0, |anchor| {
        (anchor.seq, anchor.previous, anchor.files) = (1, Some(first.clone()), std::collections::BTreeMap::new());
    });
    stray(&key, bytes, &format!("the chain has {} in its place", anchors::key(1, 256)));
    // An old checkpoint under the highest number there is: the audit does not end at it.
    for previous in [1, 3] {
        let named = names(&published, previous);
        let (key, bytes) =
            laid(&published, 2, |anchor| (anchor.seq, anchor.previous) = ((1 << 53) - 1, Some(named.clone())));
        let mut published = Published::of(&log().records, &SIZES);
        published.put(&key, bytes);
        published.files.remove("checkpoint");
        let report = audit(&published);
        let text = report.to_text();
        assert_eq!((report.size, report.understood), (700, 700), "{text}");
        assert!(!report.is_clean() && report.findings.iter().all(|finding| finding.what.contains(&key)), "{text}");
    }
}

#[test]
fn a_key_that_nobody_knows_lays_nothing_into_the_chain() {
    let published = Published::of(&log().records, &SIZES);
    let first = names(&published, 0);
    let (key, bytes) = laid(&published, 1, |anchor| {
        let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].replace("\n256\n", "\n200\n");
        anchor.checkpoint = format!("{text}\n{}", log_key(9).sign(&text));
        anchor.previous = Some(first.clone());
    });
    stray(&key, bytes, &format!("the chain has {} in its place", anchors::key(1, 256)));
}

#[test]
fn a_checkpoint_that_the_log_signed_is_its_word_also_in_a_stray() {
    let city = log();
    let mut other = city.records.clone();
    super::replace(&mut other[200], "1.00", "9.00");
    super::relink(&mut other);
    let fork = Published::of(&other, &[10, 255]);
    let mut published = Published::of(&city.records, &SIZES);
    let copy = fork.files[&anchors::key(1, 255)].clone();
    for key in [anchors::key(1, 255), anchors::key(7, 700)] {
        published.put(&key, copy.clone());
        let report = audit(&published);
        let words = format!("{key} says");
        assert!(report.findings.iter().any(|finding| finding.what.contains(&words)), "{}", report.to_text());
        published.files.remove(&key);
    }
}

#[test]
fn of_two_chains_the_one_on_record_is_the_logs() {
    // Three anchors, of which two are on record, and a longer row that somebody made around the first checkpoint.
    let (mut published, [size, _]) = super::claims::recorded(|_, _| ());
    let mut previous = anchors::key(0, size);
    for seq in 1..6 {
        let mut anchor: Anchor = serde_json::from_slice(&published.files[&anchors::key(0, size)]).unwrap();
        let sha256 = sha256(&[&published.files[&previous]]);
        anchor.previous = Some(Previous { key: previous, sha256, version: None });
        (anchor.seq, anchor.files) = (seq, std::collections::BTreeMap::new());
        previous = anchors::key(seq, size);
        published.put(&previous, chain::canonical::to_bytes(&serde_json::to_value(&anchor).unwrap()).unwrap());
    }
    let report = audit(&published);
    let text = report.to_text();
    for (seq, words) in [(1, "which the log has on record"), (2, "which follows one that the log has on record")] {
        let what = format!(
            "{}: it stands in the place of {}, {words}: a stray",
            anchors::key(seq, size),
            anchors::key(seq, size + seq)
        );
        assert!(report.findings.iter().any(|finding| finding.what == what), "expected {what:?} in {text}");
    }
    let starts = |finding: &crate::Finding| (1..3).any(|seq| finding.what.starts_with(&anchors::key(seq, size + seq)));
    assert!(!report.findings.iter().any(starts), "{text}");
}

#[test]
fn a_file_that_is_larger_than_its_kind_can_be_is_named_and_not_read() {
    // Sparse: an auditor that read them would not end in time, or in memory.
    const HUGE: u64 = 3 << 30;
    let (mut seen, own) = (0, anchors::key(1, 256));
    for (path, honest) in [
        ("checkpoint", false),
        ("tile/0/001", false),
        ("tile/entries/002.p/188", false),
        ("pack/001", false),
        ("pack/000.p/10", false),
        (own.as_str(), false),
        ("anchors/00000000000000000004-00000000000000000900.json", true),
        ("anchors/junk.json", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        Published::of(&log().records, &SIZES).write(dir.path());
        File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(dir.path().join(path))
            .unwrap()
            .set_len(HUGE)
            .unwrap();
        let report = verify(&in_folder(dir.path()), &|_, _| ()).unwrap();
        let words = format!("{path:?} is {HUGE} bytes long, and such a file has ");
        let named = |check: Check| report.findings.iter().any(|it| it.check == check && it.what.starts_with(&words));
        assert!(named(Check::File), "{path}: {}", report.to_text());
        assert!(!honest || report.findings.iter().all(|it| it.what.contains(path)), "{path}: {}", report.to_text());
        seen += 1;
    }
    assert_eq!(seen, 8);
}
