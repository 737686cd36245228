//! A proof for each leaf of a small log, and every rule of the file.

#![allow(clippy::unwrap_used)]

use super::{MAX_PROOF_BYTES, ProofError, TlogProof};
use crate::checkpoint::{Checkpoint, sign};
use crate::key::{CosigningKey, SigningKey};
use crate::policy::Policy;
use crate::tree::tests::Memory;
use crate::tree::{inclusion_proof, root_from};

const ORIGIN: &str = "guildhall.example/city";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

fn witness() -> CosigningKey {
    CosigningKey::from_seed("witness.example/w1", [9; 32])
}

fn policy() -> Policy {
    let text = format!("log {}\nwitness w1 {}\nquorum w1\n", log().vkey(), witness().vkey());
    Policy::parse(&text).unwrap()
}

fn proof(index: u64) -> TlogProof {
    let leaves = Memory::of(7);
    let root = root_from(&leaves, 7).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root };
    TlogProof {
        index,
        hashes: inclusion_proof(&leaves, 7, index).unwrap(),
        extra: None,
        checkpoint: sign(&checkpoint, &log()),
    }
}

#[test]
fn a_proof_has_the_lines_of_the_specification() {
    let proof = TlogProof { extra: Some(b"extra".to_vec()), ..proof(5) };
    let text = proof.format();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra ZXh0cmE=", "index 5"]);
    assert_eq!(lines[3..6], [proof.hashes[0].to_base64(), proof.hashes[1].to_base64(), proof.hashes[2].to_base64()]);
    assert_eq!(lines[6..9], ["", ORIGIN, "7"]);
    assert_eq!(TlogProof::parse(&text), Ok(proof));
}

#[test]
fn every_leaf_verifies_and_no_other_does() {
    let leaves = Memory::of(7);
    for index in 0..7 {
        let parsed = TlogProof::parse(&proof(index).format()).unwrap();
        assert_eq!(parsed, proof(index));
        for (position, leaf) in leaves.0.iter().enumerate() {
            let result = parsed.verify(leaf, &policy());
            if position as u64 == index {
                assert_eq!(result.unwrap().size, 7);
            } else {
                assert_eq!(result, Err(ProofError::NotIncluded));
            }
        }
    }
}

#[test]
fn a_proof_says_whether_it_is_witnessed() {
    let leaf = Memory::of(7).0[3];
    let mut proof = proof(3);
    assert!(!proof.examine(&leaf, &policy()).unwrap().witnessed);
    let text = proof.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n";
    proof.checkpoint.push_str(&witness().cosign(&text, 5));
    assert!(proof.examine(&leaf, &policy()).unwrap().witnessed);
}

#[test]
fn a_checkpoint_outside_the_policy_proves_nothing() {
    let leaf = Memory::of(7).0[3];
    let mut proof = proof(3);
    proof.checkpoint = proof.checkpoint.replacen("\n7\n", "\n8\n", 1);
    assert!(matches!(proof.verify(&leaf, &policy()), Err(ProofError::Checkpoint(_))));
}

#[test]
fn empty_extra_data_is_left_out() {
    let proof = TlogProof { extra: Some(Vec::new()), ..proof(0) };
    assert_eq!(TlogProof::parse(&proof.format()).unwrap().extra, None);
}

#[test]
fn a_malformed_proof_is_refused_with_its_rule() {
    let good = proof(5).format();
    let first = proof(5).hashes[0].to_base64();
    let hashes = format!("{first}\n").repeat(63);
    let cases = [
        (good.replacen("@v1", "@v2", 1), ProofError::Header),
        (good.replacen("c2sp", "\nc2sp", 1), ProofError::Header),
        (good.replacen("\n\n", "\n", 1).replacen("\n\n", "\n", 1), ProofError::NoCheckpoint),
        (good.replacen("index 5\n", "", 1), ProofError::Index),
        (good.replacen("index 5", "index 05", 1), ProofError::Index),
        (good.replacen("index 5", "index  5", 1), ProofError::Index),
        (good.replacen("index 5", "index -5", 1), ProofError::Index),
        (good.replacen("index 5", "index 9007199254740992", 1), ProofError::Index),
        (good.replacen("index 5", "extra \nindex 5", 1), ProofError::Extra),
        (good.replacen("index 5", "extra ?\nindex 5", 1), ProofError::Extra),
        (good.replacen("index 5", "extra AAAA\nextra AAAA\nindex 5", 1), ProofError::Index),
        (good.replacen("index 5", "index 5\nextra AAAA", 1), ProofError::Hash(1)),
        (good.replacen(&first, "AAAA", 1), ProofError::Hash(1)),
        (good.replacen(&first, first.trim_end_matches('='), 1), ProofError::Hash(1)),
        (good.replacen("index 5\n", &format!("index 5\n{hashes}"), 1), ProofError::TooManyHashes),
        (format!("{good}{}", "x".repeat(MAX_PROOF_BYTES)), ProofError::TooLong),
    ];
    for (text, error) in cases {
        let shown: String = text.chars().take(200).collect();
        assert_eq!(TlogProof::parse(&text), Err(error), "{shown}");
    }
    let unsigned = good.split('\u{2014}').next().unwrap();
    assert!(matches!(TlogProof::parse(unsigned), Err(ProofError::Note(_))));
}
