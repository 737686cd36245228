//! A log that says it continues another one, honestly and otherwise.

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::entry::Entry;
use chain::key::CosigningKey;
use chain::note::SigningKey;
use chain::pack::OwnedRecord;
use chain::rotation::{self, Rotation};
use chain::tree::{Frontier, leaf_hash};
use serde_json::{Value, json};

use super::{log, relink};
use crate::report::Report;
use crate::testkit::{City, Published, START};
use crate::{Options, verify};

const OLD: &str = "guildhall.example/old";

/// The old log's entries with one of its own among them; under its name they hash otherwise.
fn old() -> City {
    let mut city = log();
    let named = json!({"pepper": "44".repeat(32), "master_key": "66".repeat(32)});
    city.act(None).add("log", "log.secrets_named.v1", named);
    city
}

/// Prevs as they are under this name, and the root.
fn under(origin: &str, records: &mut [OwnedRecord]) -> Hash {
    let mut tips = std::collections::HashMap::new();
    let mut frontier = Frontier::new();
    for record in records {
        let stream = Entry::parse(&record.bytes).unwrap().stream;
        record.prev = tips.get(&stream).copied().unwrap_or(Hash::ZERO);
        let hash = record.as_record().entry_hash(origin);
        tips.insert(stream, hash);
        frontier.push(leaf_hash(&hash.0));
    }
    frontier.root()
}

/// The old log as a folder, and the new one that continues it, both after `change` had them.
fn audit(change: impl Fn(&mut Vec<OwnedRecord>, &mut Value, &mut Vec<OwnedRecord>)) -> Report {
    continued(&old(), 5, &[5], change)
}

/// The same of this old log, whose last checkpoint the key of this seed signed, for an auditor who trusts those of others.
fn continued(
    city: &City,
    signer: u8,
    trusted: &[u8],
    change: impl Fn(&mut Vec<OwnedRecord>, &mut Value, &mut Vec<OwnedRecord>),
) -> Report {
    under_quorum("quorum none\n", city, signer, trusted, change)
}

/// The same for an auditor whose policy ends so.
fn under_quorum(
    quorum: &str,
    city: &City,
    signer: u8,
    trusted: &[u8],
    change: impl Fn(&mut Vec<OwnedRecord>, &mut Value, &mut Vec<OwnedRecord>),
) -> Report {
    let mut kept = city.records.clone();
    let root = under(OLD, &mut kept);
    let size = kept.len() as u64;
    let carried: Vec<OwnedRecord> =
        kept.iter().filter(|record| Entry::parse(&record.bytes).unwrap().stream != "log").cloned().collect();
    let key = SigningKey::from_seed(OLD, [signer; 32]);
    let note = checkpoint::sign(&Checkpoint { origin: OLD.to_owned(), size, root }, &key);
    let mut data = json!({"origin": OLD, "size": size, "root": root, "checkpoint": note, "carried": carried.len()});
    let mut rest = carried;
    change(&mut kept, &mut data, &mut rest);
    let mut entry = Entry::parse(&city.records.last().unwrap().bytes).unwrap();
    entry.at = Entry::parse(&rest[0].bytes).unwrap().at;
    (entry.version, entry.kind, entry.data) = (0, "log.continued.v1".to_owned(), data);
    let first = OwnedRecord { position: 0, prev: Hash::ZERO, bytes: entry.to_bytes().unwrap() };
    let mut records: Vec<OwnedRecord> = std::iter::once(first).chain(rest).collect();
    for (position, record) in records.iter_mut().enumerate() {
        record.position = position as u64;
    }
    relink(&mut records);
    let published = Published::of(&records, &[records.len() as u64]);
    let (new, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    published.write(new.path());
    Published::of(&kept, &[kept.len() as u64]).write(before.path());
    let policy = new.path().join("policy");
    let text = std::fs::read_to_string(&policy).unwrap().replace("quorum none\n", quorum);
    let logs: String =
        trusted.iter().map(|seed| format!("log {}\n", SigningKey::from_seed(OLD, [*seed; 32]).vkey())).collect();
    std::fs::write(&policy, format!("{logs}{text}")).unwrap();
    let continues = Some(before.path().to_owned());
    let options = Options { dir: new.path().to_owned(), policy, continues, ..Options::default() };
    verify(&options, &|_, _| ()).unwrap()
}

#[track_caller]
fn found(report: &Report, words: &str, first: u64) {
    let text = report.to_text();
    assert!(report.findings.iter().any(|finding| finding.what.contains(words)), "expected {words:?} in {text}");
    assert_eq!(report.first_bad_position, Some(first), "{text}");
}

#[test]
fn a_log_that_continues_another_one_is_clean_and_says_so() {
    let report = audit(|_, _, _| ());
    assert!(report.is_clean(), "{}", report.to_text());
    let continues = report.continues.clone().unwrap();
    assert_eq!((continues.origin.as_str(), continues.size, continues.carried), (OLD, 701, 700));
    assert!(continues.signature_checked && continues.compared);
    assert!(report.to_text().contains("700 entries carried, compared with it"), "{}", report.to_text());
}

#[test]
fn what_is_carried_is_what_the_old_log_has() {
    let dropped = audit(|_, data, rest| {
        rest.pop();
        data["carried"] = json!(699);
    });
    found(&dropped, "position 699 of guildhall.example/old is not carried", 700);
    let claimed = audit(|_, data, _| data["carried"] = json!(701));
    found(&claimed, "701 entries follow", 0);
    // Another history of the old log, shown to the one who compares.
    let forked = audit(|kept, _, _| {
        let last = kept.len() - 1;
        let mut entry = Entry::parse(&kept[last].bytes).unwrap();
        entry.nonce = [9; 16];
        kept[last].bytes = entry.to_bytes().unwrap();
        under(OLD, kept);
    });
    found(&forked, "another history of guildhall.example/old", 0);
    let edited = audit(|_, _, rest| {
        let mut entry = Entry::parse(&rest[400].bytes).unwrap();
        entry.nonce = [9; 16];
        rest[400].bytes = entry.to_bytes().unwrap();
    });
    found(&edited, "it is not what stands at position 400 of", 401);
}

#[test]
fn the_first_leaf_is_held_to_what_it_says() {
    for (name, value, words) in [
        ("root", json!("44".repeat(32)), "its checkpoint is not one of the log"),
        ("size", json!(702), "its checkpoint is not one of the log"),
        ("origin", json!("guildhall.example/city"), "continues another one, and not itself"),
        ("carried", json!(0), "it carries 0 entries"),
    ] {
        found(&audit(|_, data, _| data[name] = value.clone()), words, 0);
    }
    let unsigned = audit(|_, data, _| {
        let note = data["checkpoint"].as_str().unwrap();
        let forger = SigningKey::from_seed(OLD, [6; 32]);
        let parsed = Checkpoint::parse_text(&chain::note::Note::parse(note).unwrap().text).unwrap();
        data["checkpoint"] = json!(checkpoint::sign(&parsed, &forger));
    });
    found(&unsigned, "the checkpoint of guildhall.example/old", 0);
}

#[test]
fn what_is_continued_has_the_quorum_that_the_policy_asks_for() {
    let witness = CosigningKey::from_seed("witness.example/w", [9; 32]);
    let quorum = format!("witness w {}\nquorum w\n", witness.vkey());
    let words = "the checkpoint of guildhall.example/old: the quorum of the policy did not cosign it";
    let says = |report: &Report| report.findings.iter().any(|finding| finding.what == words);
    assert!(says(&under_quorum(&quorum, &old(), 5, &[5], |_, _, _| ())), "signed by the log's own key alone");
    let cosigned = under_quorum(&quorum, &old(), 5, &[5], |_, data, _| {
        let note = data["checkpoint"].as_str().unwrap();
        let line = witness.cosign(&note[..=note.find("\n\n").unwrap()], START);
        data["checkpoint"] = json!(format!("{note}{line}"));
    });
    assert!(!says(&cosigned), "{}", cosigned.to_text());
}

#[test]
fn a_retired_key_of_the_old_log_does_not_sign_what_is_continued() {
    let mut city = old();
    let [first, second] = [5, 6].map(|seed| SigningKey::from_seed(OLD, [seed; 32]));
    let before = (city.records.len() as u64, under(OLD, &mut city.records.clone()));
    let text = rotation::text(OLD, &first.vkey(), &second.vkey(), before.0, &before.1);
    let (by_first, by_second) = (first.sign_raw(text.as_bytes()), second.sign_raw(text.as_bytes()));
    let rotated = Rotation::signed(first.vkey(), second.vkey(), before, &by_first, &by_second);
    city.act(None).add("log", rotation::ROTATED, serde_json::to_value(rotated).unwrap());
    let overlap = continued(&city, 5, &[5, 6], |_, _, _| ());
    assert!(overlap.is_clean(), "{}", overlap.to_text());
    city.act(None).add("log", rotation::RETIRED, json!({"key": first.vkey()}));
    for trusted in [&[6][..], &[5, 6]] {
        let honest = continued(&city, 6, trusted, |_, _, _| ());
        assert!(honest.is_clean(), "{}", honest.to_text());
    }
    let words = "no key of guildhall.example/old that was in force at size 703 signed its checkpoint";
    found(&continued(&city, 5, &[5, 6], |_, _, _| ()), words, 0);
}

#[test]
fn a_log_carries_no_entry_about_another_log() {
    let report = audit(|_, data, rest| {
        let mut entry = Entry::parse(&old().records.last().unwrap().bytes).unwrap();
        entry.version = 1;
        rest.push(OwnedRecord { position: 0, prev: Hash::ZERO, bytes: entry.to_bytes().unwrap() });
        data["carried"] = json!(701);
    });
    found(&report, "an entry of the stream log is carried", 0);
}

#[test]
fn a_cause_of_a_carried_entry_counts_in_the_old_log() {
    // Carried to position 401, and its cause may lie anywhere before its old place; entries after those carried are bound as ever.
    let with_cause = |cause: u64| {
        audit(|_, _, rest| {
            let mut entry = Entry::parse(&rest[400].bytes).unwrap();
            entry.cause = Some(cause);
            rest[400].bytes = entry.to_bytes().unwrap();
        })
    };
    let fine = with_cause(650);
    assert!(fine.findings.iter().all(|finding| !finding.what.contains("its cause")), "{}", fine.to_text());
    found(&with_cause(701), "its cause 701 does not come before it", 401);
}

#[test]
fn continuing_is_said_first_or_not_at_all() {
    let (mut city, _, _) = City::founded();
    let key = SigningKey::from_seed(OLD, [5; 32]);
    let root = Hash([7; 32]);
    let note = checkpoint::sign(&Checkpoint { origin: OLD.to_owned(), size: 3, root }, &key);
    city.act(None).add(
        "log",
        "log.continued.v1",
        json!({"origin": OLD, "size": 3, "root": root, "checkpoint": note, "carried": 2}),
    );
    city.refused("a log can only begin as the continuation of another one");
}
