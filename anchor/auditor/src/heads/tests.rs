//! Recomputing commitments: at any size within the window, right ones and wrong ones, and what the record of an audit says.

#![allow(clippy::unwrap_used)]

use chain::heads::{Commitment, WINDOW};
use serde_json::json;

use super::*;
use crate::testkit::{City, ORIGIN, Published};
use crate::{Options, verify};

/// The stream that position `at` belongs to, and its head there.
fn entry(at: u64) -> (Hash, Head) {
    let stream = at * at % 13;
    (key(&format!("s{stream}")), Head { version: at, hash: chain::hash::sha256(&[&at.to_be_bytes()]) })
}

fn root_at(size: u64) -> Hash {
    let mut heads = Heads::new();
    (0..size).map(entry).for_each(|(key, head)| heads.set(key, head));
    heads.root()
}

#[test]
fn a_commitment_to_any_size_since_the_last_one_is_recomputed() {
    let (mut recomputed, mut report) = (Recomputed::default(), Report::default());
    let mut done = 0;
    for position in 0..400 {
        let (key, head) = entry(position);
        recomputed.see(key, head);
        if position % 7 == 3 {
            // From right behind the last one to everything there is.
            let as_of = (done + position % 11).min(position);
            let root = root_at(as_of);
            recomputed.check(position, &Commitment { as_of, root }, &mut report);
            recomputed.check(position, &Commitment { as_of, root: Hash([9; 32]) }, &mut report);
            done = as_of;
        }
    }
    assert_eq!((report.heads.recomputed, report.findings.len(), report.heads.late), (57, 57, 0));
    assert!(report.findings[0].what.contains("root of the heads at size"));
    let newest = report.heads.newest.clone().unwrap();
    assert_eq!((newest.as_of, newest.root), (done, root_at(done)));
    // One that is overtaken commits to nothing.
    recomputed.check(399, &Commitment { as_of: done - 1, root: Hash([9; 32]) }, &mut report);
    assert_eq!((report.heads.late, report.findings.len()), (1, 57));
}

#[test]
fn a_commitment_within_the_window_counts_and_a_later_one_does_not() {
    let (mut recomputed, mut report) = (Recomputed::default(), Report::default());
    let as_of = 40;
    let said = Commitment { as_of, root: root_at(as_of) };
    let wrong = Commitment { root: Hash([9; 32]), ..said };
    for position in 0..=as_of + WINDOW {
        let (key, head) = entry(position);
        recomputed.see(key, head);
        if position == as_of + WINDOW - 1 {
            recomputed.check(position, &said, &mut report);
            recomputed.check(position, &wrong, &mut report);
        }
    }
    assert_eq!((report.heads.recomputed, report.findings.len(), report.heads.late), (1, 1, 0));
    recomputed.check(as_of + WINDOW, &said, &mut report);
    recomputed.check(as_of + WINDOW, &wrong, &mut report);
    assert_eq!((report.heads.recomputed, report.findings.len(), report.heads.late), (1, 1, 2));
    assert!(recomputed.waiting.len() as u64 <= WINDOW, "what waits is bounded");
}

/// Audits this city, with a record of the heads.
fn audit(city: &City) -> (Report, Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    Published::of(&city.records, &[city.records.len() as u64]).write(dir.path());
    let record = dir.path().join("city.heads");
    let options = Options {
        dir: dir.path().to_owned(),
        policy: dir.path().join("policy"),
        heads: Some(record.clone()),
        ..Options::default()
    };
    let report = verify(&options, &|_, _| ()).unwrap();
    assert!(!dir.path().join("city.heads.new").exists());
    (report, fs::read_to_string(record).ok())
}

#[test]
fn a_clean_audit_lists_what_it_recomputed_and_a_wrong_root_is_found_and_listed_nowhere() {
    let (mut city, citizen, _) = City::founded();
    city.commit_heads();
    city.citizen(&citizen);
    let early = city.heads().root();
    city.commit_heads();
    let mut good = city.clone();
    good.commit_heads().commit_heads();
    let (report, record) = audit(&good);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.heads.recomputed, report.heads.late), (4, 0));
    assert!(report.to_text().contains("4 roots recomputed"), "{}", report.to_text());
    let record = record.unwrap();
    let newest = report.heads.newest.unwrap();
    let found = look_up(&record, ORIGIN, newest.position).unwrap().unwrap();
    assert_eq!((found.as_of, found.root), (newest.as_of, newest.root));
    assert_eq!(look_up(&record, ORIGIN, 0).unwrap(), None);
    assert!(look_up(&record, "other.example/city", newest.position).unwrap_err().contains("about the log"));
    assert!(look_up(ORIGIN, ORIGIN, 0).is_err());
    assert!(look_up(&format!("{HEADER}\n{ORIGIN}\n5 4\n"), ORIGIN, 5).is_err());

    // Of another size, of a stream less, of one head that is older: all the same to whoever recomputes.
    let size = city.records.len() as u64;
    city.act(None).add("log", "log.heads_committed.v1", json!({"as_of": size, "root": early}));
    let (report, record) = audit(&city);
    let finding = report.findings.first().unwrap();
    assert_eq!((finding.check, finding.position, report.findings.len()), (Check::Heads, Some(size), 1), "{finding:?}");
    assert_eq!(record, None, "an audit that found something vouches for nothing");
}

#[test]
fn a_commitment_to_what_is_not_there_yet_or_in_another_stream_is_found() {
    let (city, citizen, _) = City::founded();
    let size = city.records.len() as u64;
    for (stream, as_of, words) in [("log", size + 1, "not there yet"), ("city", size, "machinery in the stream")] {
        let mut city = city.clone();
        let by = (stream == "city").then_some(citizen.as_str());
        city.act(by).add(stream, "log.heads_committed.v1", json!({"as_of": as_of, "root": Hash::ZERO}));
        let (report, _) = audit(&city);
        assert!(report.findings.iter().any(|finding| finding.what.contains(words)), "{:?}", report.findings);
    }
}
