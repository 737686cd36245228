//! What somebody who can write to a store lays among the anchors: it is named itself, and no anchor of the log is blamed for it.

use std::fs::File;

use chain::hash::sha256;

use super::{SIZES, audit, in_folder, log};
use crate::anchors::{self, Anchor, Previous};
use crate::report::{Check, Report};
use crate::testkit::{Published, log_key, sign, size_of};
use crate::verify;

/// An anchor of the log, changed and signed by the key of this seed, and under the name that it then has.
fn laid(published: &Published, seq: usize, by: u8, change: impl Fn(&mut Anchor)) -> (String, Vec<u8>) {
    let own = anchors::key(seq as u64, SIZES[seq]);
    let mut anchor: Anchor = serde_json::from_slice(&published.files[&own]).unwrap();
    change(&mut anchor);
    sign(&mut anchor, &[by]);
    (anchors::key(anchor.seq, size_of(&anchor)), anchor.to_bytes().unwrap())
}

/// The log's own, a thief's too; and one that nobody knows.
const OWN: u8 = 7;
const UNKNOWN: u8 = 9;
const COPIED: &str = "only its checkpoint is signed, which anybody can copy";

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
            let (name, bytes) = laid(&published, 2, 5, |anchor| {
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
            if trusted { blames(&audit(&published), &name, words) } else { both(&mut published, &name, words) }
        }
    }
}

#[test]
fn a_signed_checkpoint_in_an_anchor_of_somebody_elses_making_takes_no_anchors_place() {
    let published = Published::of(&log().records, &SIZES);
    // The same number as the second, around the first checkpoint: it continues the first, and nothing continues it.
    let first = names(&published, 0);
    for (by, words) in
        [(UNKNOWN, COPIED.to_owned()), (OWN, format!("the chain has {} in its place", anchors::key(1, 256)))]
    {
        let (key, bytes) = laid(&published, 0, by, |anchor| {
            (anchor.seq, anchor.previous, anchor.files) = (1, Some(first.clone()), std::collections::BTreeMap::new());
        });
        stray(&key, bytes, &words);
    }
    // An old checkpoint under the highest number there is: the audit does not end at it.
    for (previous, by) in [(1, UNKNOWN), (3, UNKNOWN), (1, OWN), (3, OWN)] {
        let named = names(&published, previous);
        let (key, bytes) =
            laid(&published, 2, by, |anchor| (anchor.seq, anchor.previous) = ((1 << 53) - 1, Some(named.clone())));
        let mut published = Published::of(&log().records, &SIZES);
        published.put(&key, bytes);
        published.files.remove("checkpoint");
        let report = audit(&published);
        let text = report.to_text();
        assert_eq!((report.size, report.understood), (700, 700), "{text}");
        assert!(!report.is_clean() && report.findings.iter().all(|finding| finding.what.contains(&key)), "{text}");
    }
}

/// Lays anchors that continue the one of this number around its checkpoint, as many as are asked for; answers with their keys.
fn lay_on(published: &mut Published, seq: usize, many: u64, by: u8) -> Vec<String> {
    let mut named = names(published, seq);
    let mut keys = Vec::new();
    for number in (seq as u64 + 1..).take(usize::try_from(many).unwrap()) {
        let (key, bytes) = laid(published, seq, by, |anchor| {
            (anchor.seq, anchor.previous, anchor.files) = (number, Some(named.clone()), [].into());
        });
        named = Previous { key: key.clone(), sha256: sha256(&[&bytes]), version: None };
        published.put(&key, bytes);
        keys.push(key);
    }
    keys
}

#[test]
fn a_longer_row_of_copies_hides_no_end_that_was_taken_back() {
    let city = log();
    let back = Published::of(&city.records, &[10, 256, 300]).files["checkpoint"].clone();
    // The anchors stay, which nobody can take away; the checkpoint is an older one, and copies go on from it.
    let mut published = Published::of(&city.records, &SIZES);
    published.put("checkpoint", back);
    let keys = lay_on(&mut published, 2, 4, UNKNOWN);
    let report = audit(&published);
    let text = report.to_text();
    let cut = format!(
        "{}: it covers 700 entries, more than 300; the checkpoint has less: the log was cut",
        anchors::key(3, 700)
    );
    assert!(report.findings.iter().any(|finding| finding.what == cut), "expected {cut:?} in {text}");
    // Taken out, as the report asks for, they take nothing along.
    for key in keys {
        assert!(report.findings.iter().any(|finding| finding.what.contains(&key)), "{key} is not in {text}");
        published.files.remove(&key);
    }
    let report = audit(&published);
    assert!(report.findings.iter().any(|finding| finding.what == cut), "{}", report.to_text());
    // Also a thief of the key, whose row is the longer one, does not hide it.
    lay_on(&mut published, 2, 4, OWN);
    let report = audit(&published);
    let cut = format!(
        "{}: a key of the log signed a checkpoint of 700 entries in it; the checkpoint has 300: the log was cut",
        anchors::key(3, 700)
    );
    assert!(report.findings.iter().any(|finding| finding.what == cut), "{}", report.to_text());
}

#[test]
fn without_a_checkpoint_copies_make_no_anchor_of_the_log_a_stray() {
    let mut published = Published::of(&log().records, &SIZES);
    published.files.remove("checkpoint");
    let keys = lay_on(&mut published, 2, 4, UNKNOWN);
    let report = audit(&published);
    let text = report.to_text();
    assert_eq!((report.ends_at.as_deref(), report.size), (Some(&*anchors::key(3, 700)), 700), "{text}");
    assert!(report.findings.iter().all(|finding| keys.iter().any(|key| finding.what.contains(key))), "{text}");
    keys.iter().for_each(|key| drop(published.files.remove(key)));
    let report = audit(&published);
    assert!(report.is_clean() && report.size == 700, "{}", report.to_text());
}

#[test]
fn where_several_logs_have_anchors_somebody_says_which_is_meant() {
    let other = "guildhall.example/other";
    let mut published = Published::of(&log().records, &SIZES);
    published.files.remove("checkpoint");
    let key = chain::note::SigningKey::from_seed(other, [5; 32]);
    // More than the log has itself.
    for seq in 0..9 {
        let (name, bytes) = laid(&published, 2, 5, |anchor| {
            let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].to_owned();
            let text = text.replace(crate::testkit::ORIGIN, other).replace("\n300\n", "\n999\n");
            anchor.checkpoint = format!("{text}\n{}", key.sign(&text));
            (anchor.origin, anchor.seq) = (other.to_owned(), seq);
        });
        published.put(&name, bytes);
    }
    let policy = String::from_utf8(published.files["policy"].clone()).unwrap();
    published.put("policy", format!("log {}\n{policy}", key.vkey()).into_bytes());
    let dir = tempfile::tempdir().unwrap();
    published.write(dir.path());
    let why = verify(&in_folder(dir.path()), &|_, _| ()).unwrap_err().to_string();
    assert!(why.contains("several logs") && why.contains(other) && why.contains("--origin"), "{why}");
    let options = crate::Options { origin: Some(crate::testkit::ORIGIN.to_owned()), ..in_folder(dir.path()) };
    let report = verify(&options, &|_, _| ()).unwrap();
    assert_eq!((report.size, report.findings.len()), (700, 9), "{}", report.to_text());
    assert!(report.findings.iter().all(|finding| finding.what.contains("it belongs to another log")));
    published.put("checkpoint", Published::of(&log().records, &SIZES).files["checkpoint"].clone());
    published.write(dir.path());
    let options = crate::Options { origin: Some(other.to_owned()), ..in_folder(dir.path()) };
    let report = verify(&options, &|_, _| ()).unwrap();
    assert!(report.to_text().contains("the checkpoint is one of guildhall.example/city"), "{}", report.to_text());
}

#[test]
fn a_key_that_nobody_knows_lays_nothing_into_the_chain() {
    let published = Published::of(&log().records, &SIZES);
    let first = names(&published, 0);
    let (key, bytes) = laid(&published, 1, UNKNOWN, |anchor| {
        let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].replace("\n256\n", "\n200\n");
        anchor.checkpoint = format!("{text}\n{}", log_key(UNKNOWN).sign(&text));
        anchor.previous = Some(first.clone());
    });
    stray(&key, bytes, "no key that the policy gives signed it, and no anchor that one signed leads to it");
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
    // Three anchors, of which two are on record, and a longer row that a thief of the key made around the first checkpoint.
    let (mut published, [size, _]) = super::claims::recorded(|_, _| ());
    let mut previous = anchors::key(0, size);
    for seq in 1..6 {
        let mut anchor: Anchor = serde_json::from_slice(&published.files[&anchors::key(0, size)]).unwrap();
        let sha256 = sha256(&[&published.files[&previous]]);
        anchor.previous = Some(Previous { key: previous, sha256, version: None });
        (anchor.seq, anchor.files) = (seq, std::collections::BTreeMap::new());
        sign(&mut anchor, &[OWN]);
        previous = anchors::key(seq, size);
        published.put(&previous, anchor.to_bytes().unwrap());
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
