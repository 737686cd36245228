//! Keys that change: rotations that count and those that do not, and what a stolen key is worth.

use chain::rotation::{Rotation, text};
use chain::tree::{Frontier, leaf_hash};
use serde_json::json;

use super::{audit, found};
use crate::report::Report;
use crate::testkit::{City, ORIGIN, Published, log_key};
use crate::{Options, verify};

/// The root over the first entries.
fn root(city: &City, size: u64) -> chain::Hash {
    let mut frontier = Frontier::new();
    for record in &city.records[..usize::try_from(size).unwrap()] {
        frontier.push(leaf_hash(&record.as_record().entry_hash(ORIGIN).0));
    }
    frontier.root()
}

fn rotation(from: u8, to: u8, size: u64, root: chain::Hash) -> Rotation {
    let (old, new) = (log_key(from), log_key(to));
    let text = text(ORIGIN, &old.vkey(), &new.vkey(), size, &root);
    let sign = |key: &chain::note::SigningKey| key.sign_raw(text.as_bytes());
    Rotation::signed(old.vkey(), new.vkey(), (size, root), &sign(&old), &sign(&new))
}

fn rotate(city: &mut City, rotation: &Rotation) {
    city.act(None).add("log", "log.key_rotated.v1", serde_json::to_value(rotation).unwrap());
}

fn retire(city: &mut City, seed: u8) {
    city.act(None).add("log", "log.key_retired.v1", json!({"key": log_key(seed).vkey()}));
}

/// 20 entries; the key named at 20; rotated to the next at 30 after the checkpoint of 20; retired at 40; 60 in all.
fn city(change: impl Fn(&City, &mut Rotation)) -> City {
    let (mut city, citizen, guild) = City::founded();
    let treasury = guild.replace("gld", "try");
    let mut reference = 0;
    let mut grow = |city: &mut City, size: usize| {
        while city.records.len() < size {
            reference += 1;
            city.deposit(&citizen, &treasury, "1.00", reference);
        }
    };
    grow(&mut city, 20);
    let print = chain::rotation::fingerprint(&log_key(7).vkey());
    let data = json!({"pepper": "44".repeat(32), "master_key": "66".repeat(32), "signing_key": print});
    city.act(None).add("log", "log.secrets_named.v1", data);
    grow(&mut city, 30);
    let mut rotation = rotation(7, 8, 20, root(&city, 20));
    change(&city, &mut rotation);
    rotate(&mut city, &rotation);
    grow(&mut city, 40);
    retire(&mut city, 7);
    grow(&mut city, 60);
    city
}

const SIZES: [u64; 5] = [10, 25, 31, 41, 60];

fn by_the_rules(size: u64) -> Vec<u8> {
    match size {
        0..31 => vec![7],
        31..41 => vec![7, 8],
        _ => vec![8],
    }
}

fn honest(trusted: &[u8]) -> Published {
    Published::signed(&city(|_, _| ()).records, &SIZES, by_the_rules, trusted)
}

fn clean(published: &Published) -> Report {
    let report = audit(published);
    assert!(report.is_clean(), "{}", report.to_text());
    report
}

#[test]
fn a_rotated_log_is_clean_for_whoever_trusts_its_keys_or_the_newest_of_them() {
    for trusted in [&[7, 8][..], &[8]] {
        let report = clean(&honest(trusted));
        let sizes: Vec<_> = report.signing_keys.iter().map(|key| (key.from, key.until)).collect();
        assert_eq!(sizes, [(0, Some(41)), (31, None)]);
        assert!(report.to_text().contains("sizes 0 to 40"), "{}", report.to_text());
    }
    // Who knows the older one alone follows as long as it signs, and is told which one comes.
    let overlap = Published::signed(&city(|_, _| ()).records[..35], &[10, 35], by_the_rules, &[7]);
    let report = clean(&overlap);
    assert!(report.to_text().contains(&log_key(8).vkey()), "{}", report.to_text());
    found(&honest(&[7]), "the checkpoint: ", None);
}

#[test]
fn a_key_that_no_rotation_leads_to_is_found() {
    found(&honest(&[7, 8, 9]), "no rotation leads to it", None);
    // Before the rotation, the key to come is one as well.
    let early = Published::signed(&city(|_, _| ()).records[..25], &[25], by_the_rules, &[7, 8]);
    found(&early, "no rotation leads to it", None);
}

#[test]
fn a_rotation_needs_both_signatures_and_a_checkpoint_of_this_log() {
    let changed =
        |change: &dyn Fn(&City, &mut Rotation)| Published::signed(&city(change).records, &SIZES, by_the_rules, &[7, 8]);
    clean(&changed(&|_, _| ()));
    let words = "a rotation of the signing key that does not count: the signature of the old key";
    found(&changed(&|_, it| it.by_from = it.by_to.clone()), words, Some(30));
    found(&changed(&|_, it| it.by_to = it.by_from.clone()), "the signature of the new key", Some(30));
    found(&changed(&|city, it| *it = rotation(7, 8, 31, root(city, 30))), "not there yet", Some(30));
    // The empty log begins every history: what speaks of it could be carried into any.
    let empty = changed(&|_, it| *it = rotation(7, 8, 0, chain::tree::empty_root()));
    found(&empty, "it speaks of the empty log", Some(30));
    assert!(audit(&empty).to_text().contains("no rotation leads to it"), "{}", audit(&empty).to_text());
    // Signed by both, about a history that this is not.
    let elsewhere = changed(&|_, it| *it = rotation(7, 8, 20, chain::Hash::ZERO));
    found(&elsewhere, "a checkpoint of 20 entries that this log never had", Some(30));
}

#[test]
fn no_rotation_leads_from_a_retired_key_nor_back_to_one() {
    for (from, to, words) in [(7, 9, "not in force"), (8, 7, "has had before")] {
        let mut city = city(|_, _| ());
        let at = city.records.len() as u64;
        let rotation = rotation(from, to, 60, root(&city, 60));
        rotate(&mut city, &rotation);
        let published = Published::signed(&city.records, &[60, at + 1], by_the_rules, &[7, 8]);
        found(&published, words, Some(at));
    }
    let mut twice = city(|_, _| ());
    retire(&mut twice, 7);
    found(&Published::signed(&twice.records, &[61], by_the_rules, &[7, 8]), "not the older one", Some(60));
}

#[test]
fn every_checkpoint_has_a_line_of_a_key_in_force_at_its_size() {
    let records = city(|_, _| ()).records;
    // The newer key, before it was in force; the older one, after it was retired: each on one anchor.
    let early = |size| if size == 25 { vec![8] } else { by_the_rules(size) };
    found(&Published::signed(&records, &SIZES, early, &[7, 8]), "no key that was in force at size 25", Some(10));
    let late = |size| if size == 41 { vec![7] } else { by_the_rules(size) };
    found(&Published::signed(&records, &SIZES, late, &[7, 8]), "no key that was in force at size 41", Some(31));
    // Also where the policy gives only one of them.
    found(&Published::signed(&records, &SIZES, late, &[8]), "no key that was in force at size 41", Some(31));
    let nobody = |size| if size == 10 { vec![9] } else { by_the_rules(size) };
    found(&Published::signed(&records, &SIZES, nobody, &[7, 8]), "no key that was in force at size 10", Some(0));
}

#[test]
fn a_stolen_key_signs_nothing_that_counts_once_it_is_retired() {
    let records = city(|_, _| ()).records;
    let thief = |_: u64| vec![7];
    // The whole log, with what it says of the retirement.
    found(&Published::signed(&records, &[60], thief, &[7, 8]), "no key that was in force at size 60", Some(0));
    // Without the retirement and the rotation: then the key that the auditor knows comes from nowhere.
    let (mut fork, citizen, guild) = City::founded();
    for reference in 1..40 {
        fork.deposit(&citizen, &guild.replace("gld", "try"), "9.00", reference);
    }
    let print = chain::rotation::fingerprint(&log_key(7).vkey());
    let data = json!({"pepper": "44".repeat(32), "master_key": "66".repeat(32), "signing_key": print});
    fork.act(None).add("log", "log.secrets_named.v1", data);
    let size = fork.records.len() as u64;
    found(&Published::signed(&fork.records, &[size], thief, &[7, 8]), "no rotation leads to it", None);
    found(&Published::signed(&fork.records, &[size], thief, &[8]), "the checkpoint: ", None);
    // With the true rotation in a false history: it speaks of a checkpoint that this one never had.
    let true_one = {
        let city = city(|_, _| ());
        rotation(7, 8, 20, root(&city, 20))
    };
    let at = fork.records.len() as u64;
    rotate(&mut fork, &true_one);
    let replayed = Published::signed(&fork.records, &[at + 1], thief, &[7, 8]);
    found(&replayed, "entries that this log never had", Some(at));
}

#[test]
fn a_memory_of_the_older_key_goes_on_under_a_policy_of_the_newer() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, folder) = (dir.path().join("memory"), dir.path().join("log"));
    let records = city(|_, _| ()).records;
    let remember = |published: &Published| {
        published.write(&folder);
        let (dir, policy) = (folder.clone(), folder.join("policy"));
        verify(&Options { dir, policy, remember: Some(memory.clone()), ..Options::default() }, &|_, _| ()).unwrap()
    };
    assert!(remember(&Published::signed(&records[..25], &[25], by_the_rules, &[7])).is_clean());
    std::fs::remove_dir_all(&folder).unwrap();
    let report = remember(&honest(&[8]));
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!(report.remembered, Some(25));
}

#[test]
fn what_another_place_has_beyond_this_one_is_judged_by_the_same_keys() {
    let records = city(|_, _| ()).records;
    let mut own = honest(&[8]);
    own.files.retain(|path, _| !path.starts_with("anchors/") || path.contains("/00000000000000000000-"));
    let beside = |other: &Published| {
        let (dir, also) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        own.write(dir.path());
        other.write(also.path());
        let mut options = super::in_folder(dir.path());
        options.also.push(also.path().to_owned());
        verify(&options, &|_, _| ()).unwrap()
    };
    let report = beside(&honest(&[8]));
    assert!(report.is_clean(), "{}", report.to_text());
    let late = |size| if size == 41 { vec![7] } else { by_the_rules(size) };
    let text = beside(&Published::signed(&records, &SIZES, late, &[8])).to_text();
    assert!(text.contains("no key that was in force at size 41") && text.contains(" in /"), "{text}");
    // Beyond what is audited, the policy has to know.
    let mut longer = city(|_, _| ());
    longer.act(None).add("log", "log.key_retired.v1", json!({"key": log_key(8).vkey()}));
    let unknown = |size| if size == 61 { vec![9] } else { by_the_rules(size) };
    let text = beside(&Published::signed(&longer.records, &[10, 25, 31, 41, 61], unknown, &[8])).to_text();
    assert!(text.contains("no key that the policy gives signed it"), "{text}");
}

#[test]
fn without_the_entries_the_policy_alone_says_whose_keys_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let tree_only = |published: &Published| {
        let _ = std::fs::remove_dir_all(dir.path().join("log"));
        published.write(&dir.path().join("log"));
        let options = Options { tree_only: true, ..super::in_folder(&dir.path().join("log")) };
        verify(&options, &|_, _| ()).unwrap()
    };
    let report = tree_only(&honest(&[7, 8]));
    assert!(
        report.is_clean() && report.not_checked.iter().any(|what| what.contains("signing keys")),
        "{}",
        report.to_text()
    );
    assert!(tree_only(&honest(&[8])).to_text().contains("no key that the policy gives"));
}
