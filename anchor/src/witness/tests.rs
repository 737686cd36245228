//! A witness whose disk and clock misbehave. What it answers over HTTP is tested against the program.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fs;
use std::path::Path;

use chain::checkpoint::{self, Checkpoint};
use chain::key::SigningKey;
use chain::policy::Policy;
use chain::tree::{Frontier, leaf_hash};

use super::*;

const ORIGIN: &str = "guildhall.example/city";

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1000) };
}

fn now() -> u64 {
    NOW.get()
}

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

fn open(dir: &Path) -> Result<Witness, AnchorError> {
    open_for(dir, &[log().verifier()])
}

fn open_for(dir: &Path, logs: &[VerifierKey]) -> Result<Witness, AnchorError> {
    Witness::open(&dir.join("memory"), &dir.join("key"), logs, now)
}

/// A request for the tree of one leaf, whatever the witness holds.
fn first(leaf: &[u8], old: u64) -> String {
    let mut tree = Frontier::new();
    tree.push(leaf_hash(leaf));
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: tree.root() };
    Request { old, proof: Vec::new(), checkpoint: checkpoint::sign(&checkpoint, &log()) }.format()
}

fn new(dir: &Path) -> Witness {
    new_key(&dir.join("key"), "witness.example/w1").unwrap();
    let witness = open(dir).unwrap();
    assert!(matches!(witness.add_checkpoint(&first(b"a", 0)).unwrap(), Answer::Cosigned(_)));
    witness
}

fn memory(dir: &Path) -> PathBuf {
    place(&dir.join("memory"), ORIGIN)
}

#[test]
fn it_remembers_over_a_restart_and_shows_what_it_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let vkey = new(dir.path()).vkey();
    let witness = open(dir.path()).unwrap();
    assert_eq!(witness.add_checkpoint(&first(b"b", 0)).unwrap(), Answer::Refused(Refusal::Holds(1)));
    assert_eq!(witness.add_checkpoint(&first(b"b", 1)).unwrap(), Answer::Refused(Refusal::Inconsistent(1)));
    let note = witness.cosigned(&monitoring_path(ORIGIN)).unwrap().unwrap();
    let trusts = Policy::parse(&format!("log {}\nwitness w {vkey}\nquorum w\n", log().vkey())).unwrap();
    assert!(checkpoint::examine(&note, &trusts).unwrap().witnessed);
    assert_eq!(witness.cosigned(&monitoring_path("another")).unwrap(), None);
}

#[test]
fn of_a_log_that_is_watched_no_more_nothing_is_cosigned_and_all_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let shown = new(dir.path()).cosigned(&monitoring_path(ORIGIN)).unwrap();
    for logs in [&[][..], &[SigningKey::from_seed("guildhall.example/two", [8; 32]).verifier()]] {
        let witness = open_for(dir.path(), logs).unwrap();
        for old in [0, 1] {
            let unknown = Answer::Refused(Refusal::UnknownLog(ORIGIN.to_owned()));
            assert_eq!(witness.add_checkpoint(&first(b"a", old)).unwrap(), unknown);
        }
        assert!(shown.is_some() && witness.cosigned(&monitoring_path(ORIGIN)).unwrap() == shown);
    }
    // Whoever takes it in again goes on where it was.
    assert_eq!(open(dir.path()).unwrap().add_checkpoint(&first(b"b", 0)).unwrap(), Answer::Refused(Refusal::Holds(1)));
}

#[test]
fn a_key_whose_memory_was_lost_cosigns_no_more() {
    let dir = tempfile::tempdir().unwrap();
    drop(new(dir.path()));
    fs::remove_dir_all(dir.path().join("memory")).unwrap();
    let error = open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("this key has cosigned guildhall.example/city"), "{error}");
}

#[test]
fn a_memory_that_this_key_did_not_sign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(new(dir.path()));
    let whole = fs::read_to_string(memory(dir.path())).unwrap();
    for spoilt in [whole.replacen("\n1\n", "\n2\n", 1), whole.lines().next().unwrap().to_owned(), String::new()] {
        fs::write(memory(dir.path()), spoilt).unwrap();
        assert!(matches!(open(dir.path()), Err(AnchorError::Unreadable { .. })));
    }
    fs::write(memory(dir.path()), whole).unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_crash_between_memory_and_register_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(new(dir.path()));
    fs::remove_file(dir.path().join("key.cosigned")).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join("key.cosigned")).unwrap(), format!("{ORIGIN}\n"));
}

#[test]
fn a_clock_behind_its_own_last_cosignature_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let witness = new(dir.path());
    NOW.set(999);
    let error = witness.add_checkpoint(&first(b"a", 1)).unwrap_err();
    assert!(matches!(error, WitnessError::Clock { now: 999, last: 1000 }), "{error}");
    NOW.set(1000);
    assert!(matches!(witness.add_checkpoint(&first(b"a", 1)).unwrap(), Answer::Cosigned(_)));
}

#[test]
fn two_processes_never_share_a_memory_and_a_key_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let _witness = new(dir.path());
    assert!(matches!(open(dir.path()), Err(AnchorError::Locked(_))));
    assert!(new_key(&dir.path().join("key"), "witness.example/w2").is_err());
    assert!(new_key(&dir.path().join("other"), "two words").is_err());
}
