//! The tree of heads against its definition, the vectors, and everything that is no proof.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    heads: Vec<Named>,
    root: Hash,
    proofs: Vec<Proved>,
}

#[derive(Deserialize)]
struct Named {
    stream: String,
    version: u64,
    hash: Hash,
}

#[derive(Deserialize)]
struct Proved {
    stream: String,
    proof: HeadProof,
}

#[test]
fn the_vectors_hold() {
    let vectors = [
        include_str!("../../vectors/heads/none.json"),
        include_str!("../../vectors/heads/one.json"),
        include_str!("../../vectors/heads/three.json"),
        include_str!("../../vectors/heads/alike.json"),
        include_str!("../../vectors/heads/many.json"),
    ];
    for vector in vectors {
        let vector: Vector = serde_json::from_str(vector).unwrap();
        let mut heads = Heads::new();
        for Named { stream, version, hash } in &vector.heads {
            heads.set(key(stream), Head { version: *version, hash: *hash });
        }
        assert_eq!(heads.root(), vector.root);
        for Proved { stream, proof } in &vector.proofs {
            assert_eq!(heads.prove(&key(stream)), *proof, "{stream}");
            assert_eq!(proof.verify(&key(stream), &vector.root).unwrap(), heads.get(&key(stream)), "{stream}");
        }
    }
}

/// Keys that have to be told apart at every depth: some differ in their first bits, some in their last.
fn keys() -> impl Strategy<Value = Hash> {
    (any::<[u8; 32]>(), 0..32_usize).prop_map(|(mut key, same)| {
        key[..same].fill(0xA5);
        Hash(key)
    })
}

fn heads() -> impl Strategy<Value = Head> {
    (0..1_u64 << 53, any::<[u8; 32]>()).prop_map(|(version, hash)| Head { version, hash: Hash(hash) })
}

/// The definition, word for word.
fn definition(leaves: &BTreeMap<Hash, Head>, depth: usize) -> Hash {
    if leaves.is_empty() {
        return Hash::ZERO;
    }
    if leaves.len() == 1 {
        let (key, head) = leaves.first_key_value().unwrap();
        return leaf_hash(key, head);
    }
    let half =
        |side| leaves.iter().filter(|(key, _)| is_right(key, depth) == side).map(|(key, head)| (*key, *head)).collect();
    node_hash(&definition(&half(false), depth + 1), &definition(&half(true), depth + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn grown_in_steps_it_is_the_tree_of_the_definition(
        steps in prop::collection::vec(prop::collection::vec((keys(), heads()), 0..12), 1..6)
    ) {
        let (mut grown, mut all) = (Heads::new(), BTreeMap::new());
        for step in steps {
            for (key, head) in step {
                grown.set(key, head);
                // Moved once more before the next root, as streams do.
                grown.set(key, Head { version: head.version + 1, ..head });
                all.insert(key, Head { version: head.version + 1, ..head });
            }
            prop_assert_eq!(grown.root(), definition(&all, 0));
            prop_assert_eq!(grown.len(), all.len());
            prop_assert!(grown.iter().map(|(key, head)| (*key, *head)).eq(all.clone()));
        }
    }

    #[test]
    fn every_key_is_proved_there_or_not_there_and_no_flipped_bit_passes(
        there in prop::collection::btree_map(keys(), heads(), 0..24),
        absent in prop::collection::vec(keys(), 4),
        flip in any::<prop::sample::Index>(),
    ) {
        let mut tree = Heads::new();
        there.iter().for_each(|(key, head)| tree.set(*key, *head));
        let root = tree.root();
        for key in there.keys().chain(&absent) {
            let proof = tree.prove(key);
            prop_assert_eq!(proof.verify(key, &root), Ok(there.get(key).copied()));
            let text = serde_json::to_string(&proof).unwrap();
            prop_assert_eq!(&serde_json::from_str::<HeadProof>(&text).unwrap(), &proof);
            // No other key, and no other root.
            let mut other = *key;
            other.0[flip.index(32)] ^= 1 << flip.index(8);
            let claims = proof.verify(&other, &root);
            prop_assert!(claims.is_err() || (claims == Ok(None) && !there.contains_key(&other)));
            let mut other = root;
            other.0[flip.index(32)] ^= 1 << flip.index(8);
            prop_assert!(proof.verify(key, &other).is_err());
        }
        let all: Vec<&Hash> = there.keys().chain(&absent).collect();
        let key = all[flip.index(all.len())];
        let proof = tree.prove(key);
        for bad in flipped(&proof, flip) {
            prop_assert!(bad.verify(key, &root).is_err(), "{:?} instead of {:?}", bad, proof);
        }
    }
}

/// The proof with one bit changed at each of its places, and with a sibling more, less, or exchanged.
fn flipped(proof: &HeadProof, at: prop::sample::Index) -> Vec<HeadProof> {
    let (byte, bit) = (at.index(32), 1 << at.index(8));
    let mut all = Vec::new();
    let mut change = |how: &mut dyn FnMut(&mut HeadProof)| {
        let mut bad = proof.clone();
        how(&mut bad);
        if bad != *proof {
            all.push(bad);
        }
    };
    for sibling in 0..proof.siblings.len() {
        change(&mut |bad| bad.siblings[sibling].0[byte] ^= bit);
        change(&mut |bad| bad.siblings.swap(0, sibling));
    }
    change(&mut |bad| bad.siblings.push(Hash::ZERO));
    change(&mut |bad| bad.siblings.truncate(proof.siblings.len().saturating_sub(1)));
    change(&mut |bad| bad.head.iter_mut().for_each(|head| head.hash.0[byte] ^= bit));
    change(&mut |bad| bad.head.iter_mut().for_each(|head| head.version ^= u64::from(bit)));
    change(&mut |bad| bad.head = None);
    change(&mut |bad| bad.other.iter_mut().for_each(|other| other.hash.0[byte] ^= bit));
    change(&mut |bad| bad.other.iter_mut().for_each(|other| other.key.0[byte] ^= bit));
    change(&mut |bad| bad.other.iter_mut().for_each(|other| other.version ^= u64::from(bit)));
    change(&mut |bad| bad.other = None);
    all
}

#[test]
fn a_head_and_another_head_at_once_are_refused_and_so_is_a_way_too_long() {
    let mut tree = Heads::new();
    let (ours, other) = (key("ours"), key("other"));
    let head = Head { version: 0, hash: Hash([1; 32]) };
    tree.set(ours, head);
    tree.set(other, head);
    let root = tree.root();
    let mut proof = tree.prove(&ours);
    proof.other = Some(OtherHead { key: other, version: 0, hash: head.hash });
    assert_eq!(proof.verify(&ours, &root), Err(HeadError::Both));
    proof.head = None;
    assert_eq!(proof.verify(&other, &root), Err(HeadError::Elsewhere), "a stream is not beside itself");
    let deep = HeadProof { siblings: vec![Hash::ZERO; 257], head: None, other: None };
    assert_eq!(deep.verify(&ours, &root), Err(HeadError::TooDeep));
}

#[test]
fn a_commitment_fits_between_what_it_speaks_of_and_the_end_of_the_window() {
    let commitment = Commitment { as_of: 10, root: Hash::ZERO };
    let fits = [9, 10, 9 + WINDOW, 10 + WINDOW].map(|position| commitment.fits(position));
    assert_eq!(fits, [false, true, true, false]);
}
