//! Every answer of a witness, in the order in which they are decided.

#![allow(clippy::unwrap_used)]

use super::{Held, Refusal, Request, judge, monitoring_path};
use crate::Hash;
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::key::SigningKey;
use crate::note::{Note, NoteError};
use crate::tree::tests::Memory;
use crate::tree::{consistency_proof, empty_root, leaf_hash, root_from};

const ORIGIN: &str = "guildhall.example/city";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

fn note(size: u64, root: Hash) -> String {
    checkpoint::sign(&Checkpoint { origin: ORIGIN.to_owned(), size, root }, &key())
}

fn tree() -> Memory {
    Memory::of(20)
}

fn root(tree: &Memory, size: u64) -> Hash {
    root_from(tree, size).unwrap()
}

fn held(size: u64) -> Option<Held> {
    Some(Held { size, root: root(&tree(), size) })
}

/// The request that a log makes which knows what the witness holds.
fn request(old: u64, new: u64) -> Request {
    let tree = tree();
    let proof = consistency_proof(&tree, old, new).unwrap();
    Request { old, proof, checkpoint: note(new, root(&tree, new)) }
}

fn answer(request: &Request, held: Option<Held>) -> Result<u64, Refusal> {
    judge(request, held, &[key().verifier()]).map(|(checkpoint, _)| checkpoint.size)
}

#[test]
fn a_request_comes_back_from_its_text() {
    for (old, new) in [(0, 0), (0, 5), (3, 20), (20, 20)] {
        let request = request(old, new);
        assert_eq!(Request::parse(&request.format()).unwrap(), request);
    }
    assert!(request(3, 20).format().starts_with("old 3\n"));
}

#[test]
fn the_monitoring_path_is_the_hash_of_the_origin() {
    assert_eq!(
        monitoring_path("abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/checkpoint",
        "the published vector of SHA-256"
    );
}

#[test]
fn what_continues_is_cosigned() {
    assert_eq!(answer(&request(0, 0), None), Ok(0));
    assert_eq!(answer(&request(0, 7), None), Ok(7), "the first time nothing is compared");
    for old in 1..=20 {
        for new in old..=20 {
            assert_eq!(answer(&request(old, new), held(old)), Ok(new), "{old} to {new}");
        }
    }
    assert_eq!(answer(&request(0, 9), Some(Held { size: 0, root: empty_root() })), Ok(9));
}

#[test]
fn only_the_lines_of_the_log_are_kept() {
    let mut request = request(0, 7);
    request.checkpoint.push_str("\u{2014} somebody AAAAAAA=\n");
    let (_, kept) = judge(&request, None, &[key().verifier()]).unwrap();
    assert_eq!(kept, Note::parse(&note(7, root(&tree(), 7))).unwrap());
}

#[test]
fn what_is_not_a_request_is_a_400() {
    let good = request(3, 20).format();
    let hashes = |count: usize| format!("old 3\n{}\n{}", format!("{}\n", Hash::ZERO.to_base64()).repeat(count), "x");
    let cases = [
        (String::new(), Refusal::NoCheckpoint),
        ("old 3\n".to_owned(), Refusal::NoCheckpoint),
        (good.replacen("old 3", "old 03", 1), Refusal::Old),
        (good.replacen("old 3", "old -3", 1), Refusal::Old),
        (good.replacen("old 3", "old 9007199254740993", 1), Refusal::Old),
        (good.replacen("old 3\n", "", 1), Refusal::Old),
        (good.replacen("old 3\n", "old 3\nAAAA\n", 1), Refusal::Hash(1)),
        (hashes(64), Refusal::TooManyHashes),
    ];
    for (body, refusal) in cases {
        assert_eq!(Request::parse(&body), Err(refusal.clone()), "{body}");
        assert_eq!(refusal.status(), 400);
    }
    assert!(Request::parse(&hashes(63)).is_ok());
    assert_eq!(Request::parse(&"x".repeat(super::MAX_REQUEST_BYTES + 1)).unwrap_err().status(), 413);
}

#[test]
fn what_is_not_a_checkpoint_is_a_400() {
    let with = |checkpoint: String| answer(&Request { checkpoint, ..request(0, 7) }, None).unwrap_err();
    let refusal = with("no note".to_owned());
    assert_eq!((refusal.status(), refusal), (400, Refusal::Note(NoteError::NoSeparator)));
    let refusal = with(crate::note::sign(&format!("{ORIGIN}\n7\n"), &key()));
    assert_eq!((refusal.status(), refusal), (400, Refusal::Checkpoint(CheckpointError::Lines)));
}

#[test]
fn another_log_is_a_404_and_another_key_a_403() {
    let mut other = request(0, 7);
    let stranger = SigningKey::from_seed("elsewhere", [7; 32]);
    other.checkpoint =
        checkpoint::sign(&Checkpoint { origin: "elsewhere".to_owned(), size: 7, root: root(&tree(), 7) }, &stranger);
    let refusal = answer(&other, None).unwrap_err();
    assert_eq!((refusal.status(), refusal), (404, Refusal::UnknownLog("elsewhere".to_owned())));

    let mut stolen = request(0, 7);
    let thief = SigningKey::from_seed(ORIGIN, [8; 32]);
    stolen.checkpoint =
        checkpoint::sign(&Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: root(&tree(), 7) }, &thief);
    let refusal = answer(&stolen, None).unwrap_err();
    assert_eq!((refusal.status(), refusal), (403, Refusal::NotSigned));

    let mut edited = request(0, 7);
    edited.checkpoint = edited.checkpoint.replacen("\n7\n", "\n8\n", 1);
    assert_eq!(answer(&edited, None), Err(Refusal::NotSigned), "the line is the log's, and fails");
}

#[test]
fn an_old_size_beyond_the_new_one_is_a_400_and_another_than_held_a_409() {
    let beyond = Request { old: 8, ..request(0, 7) };
    let refusal = answer(&beyond, held(8)).unwrap_err();
    assert_eq!((refusal.status(), refusal), (400, Refusal::OldBeyond { old: 8, new: 7 }));
    for (old, holds) in [(0, 5), (4, 5), (6, 5)] {
        let refusal = answer(&request(old, 7), held(holds)).unwrap_err();
        assert_eq!((refusal.status(), refusal), (409, Refusal::Holds(holds)), "{old}");
    }
    assert_eq!(answer(&request(3, 7), None), Err(Refusal::Holds(0)));
    assert_eq!(answer(&request(0, 4), held(9)), Err(Refusal::Holds(9)), "a log that went back is told so");
}

#[test]
fn a_fork_is_a_422() {
    let other = Memory((0..20_u8).map(|position| leaf_hash(&[position])).collect());
    let forked = |old: u64, new: u64| Request {
        old,
        proof: consistency_proof(&other, old, new).unwrap(),
        checkpoint: note(new, root(&other, new)),
    };
    for (old, new) in [(5, 5), (5, 9), (8, 20)] {
        let refusal = answer(&forked(old, new), held(old)).unwrap_err();
        assert_eq!((refusal.status(), refusal), (422, Refusal::Inconsistent(old)), "{old} to {new}");
    }
    let mut spoilt = request(5, 9);
    spoilt.proof[0] = Hash::ZERO;
    assert_eq!(answer(&spoilt, held(5)), Err(Refusal::Inconsistent(5)));
    let mut needless = request(0, 9);
    needless.proof.push(Hash::ZERO);
    assert_eq!(answer(&needless, None), Err(Refusal::Inconsistent(0)), "from nothing there is nothing to prove");
    let empty = Request { checkpoint: note(0, Hash::ZERO), ..request(0, 0) };
    let refusal = answer(&empty, None).unwrap_err();
    assert_eq!((refusal.status(), refusal), (422, Refusal::EmptyRoot));
}
