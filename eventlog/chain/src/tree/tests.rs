//! The published vectors of Certificate Transparency, and every proof of small trees against the definitions.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use super::{
    Frontier, HashReader, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root_from,
    verify_consistency, verify_inclusion,
};
use crate::Hash;
use crate::hash::sha256;

/// The eight leaves that every RFC 6962 implementation is tested with.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const N01: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const LEAF_0: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
const LEAF_1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const LEAF_4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N4567: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

/// Leaf hashes in memory, answering for nodes straight from the definition.
pub(crate) struct Memory(pub Vec<Hash>);

impl Memory {
    pub(crate) fn of(count: u64) -> Memory {
        Memory((0..count).map(|position| leaf_hash(&position.to_be_bytes())).collect())
    }
}

impl HashReader for Memory {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let start = usize::try_from(index << level).unwrap();
        Ok(definition(&self.0[start..start + (1 << level)]))
    }
}

/// MTH of RFC 6962, written exactly as it stands there.
pub(crate) fn definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&definition(&leaves[..k]), &definition(&leaves[k..]))
        }
    }
}

fn published() -> Memory {
    Memory(LEAVES.iter().map(|data| leaf_hash(data)).collect())
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_hex).collect()
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = hash.0;
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash(bytes)
}

#[test]
fn the_published_roots_hold() {
    let leaves = published();
    let mut frontier = Frontier::new();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(frontier.root().to_hex(), *root, "size {size}");
        assert_eq!(root_from(&leaves, size as u64).unwrap().to_hex(), *root, "size {size}");
        if let Some(leaf) = leaves.0.get(size) {
            frontier.push(*leaf);
        }
    }
    assert_eq!(empty_root().to_hex(), ROOTS[0]);
}

#[test]
fn the_published_inclusion_proofs_hold() {
    let leaves = published();
    let cases: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[LEAF_1, N01, N4567]),
        (5, 8, &[LEAF_4, N67, ROOTS[4]]),
        (2, 3, &[ROOTS[2]]),
        (1, 5, &[LEAF_0, N01, LEAF_4]),
    ];
    for (index, size, expected) in cases {
        let proof = inclusion_proof(&leaves, size, index).unwrap();
        assert_eq!(hexes(&proof), expected, "leaf {index} of {size}");
    }
}

#[test]
fn the_published_consistency_proofs_hold() {
    let leaves = published();
    let cases: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[LEAF_1, N01, N4567]), (6, 8, &[N45, N67, ROOTS[4]]), (2, 5, &[N01, LEAF_4])];
    for (old, new, expected) in cases {
        let proof = consistency_proof(&leaves, old, new).unwrap();
        assert_eq!(hexes(&proof), expected, "{old} to {new}");
    }
}

#[test]
fn a_frontier_agrees_with_the_definition_at_every_size() {
    let leaves = Memory::of(300);
    let mut frontier = Frontier::new();
    for size in 0..=300u64 {
        let expected = definition(&leaves.0[..usize::try_from(size).unwrap()]);
        assert_eq!(frontier.root(), expected, "size {size}");
        assert_eq!(root_from(&leaves, size).unwrap(), expected, "size {size}");
        assert_eq!(frontier.size(), size);
        let (stored_size, stored_nodes) = frontier.clone().into_parts();
        assert_eq!(Frontier::from_parts(stored_size, stored_nodes), Some(frontier.clone()));
        if size < 300 {
            frontier.push(leaves.0[usize::try_from(size).unwrap()]);
        }
    }
}

#[test]
fn a_frontier_reports_every_complete_node_once() {
    let leaves = Memory::of(70);
    let mut frontier = Frontier::new();
    let mut seen = Vec::new();
    for leaf in &leaves.0 {
        frontier.push_observed(*leaf, |level, index, hash| {
            assert_eq!(*hash, leaves.node(level, index).unwrap());
            seen.push((level, index));
        });
    }
    let mut expected: Vec<(u32, u64)> =
        (0..7).flat_map(|level| (0..70u64 >> level).map(move |index| (level, index))).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_frontier_with_the_wrong_parts_is_refused() {
    let node = leaf_hash(b"x");
    assert_eq!(Frontier::from_parts(3, vec![node]), None);
    assert_eq!(Frontier::from_parts(0, vec![node]), None);
    assert_eq!(Frontier::from_parts((1 << 53) + 1, vec![node, node]), None);
    assert!(Frontier::from_parts(1 << 53, vec![node]).is_some());
}

#[test]
fn every_inclusion_proof_holds_and_every_tampered_one_is_refused() {
    let leaves = Memory::of(70);
    for size in 1..=70u64 {
        let root = root_from(&leaves, size).unwrap();
        for index in 0..size {
            let leaf = leaves.0[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(&leaves, size, index).unwrap();
            let what = format!("leaf {index} of {size}");
            assert!(verify_inclusion(&leaf, index, size, &proof, &root), "{what}");
            for bit in [0, 255] {
                assert!(!verify_inclusion(&flipped(&leaf, bit), index, size, &proof, &root));
                assert!(!verify_inclusion(&leaf, index, size, &proof, &flipped(&root, bit)));
            }
            for position in 0..proof.len() {
                let mut tampered = proof.clone();
                tampered[position] = flipped(&tampered[position], position * 7);
                assert!(!verify_inclusion(&leaf, index, size, &tampered, &root), "{what}");
                let mut shorter = proof.clone();
                shorter.remove(position);
                assert!(!verify_inclusion(&leaf, index, size, &shorter, &root), "{what}");
            }
            let mut longer = proof.clone();
            longer.push(root);
            assert!(!verify_inclusion(&leaf, index, size, &longer, &root), "{what}");
            for other in (0..size).filter(|other| *other != index) {
                assert!(!verify_inclusion(&leaf, other, size, &proof, &root), "{what} as {other}");
            }
            assert!(!verify_inclusion(&leaf, size, size, &proof, &root), "{what} beyond the end");
        }
    }
    assert!(!verify_inclusion(&empty_root(), 0, 0, &[], &empty_root()));
}

#[test]
fn every_consistency_proof_holds_and_every_tampered_one_is_refused() {
    let leaves = Memory::of(70);
    let roots: Vec<Hash> = (0..=70).map(|size| root_from(&leaves, size).unwrap()).collect();
    let root = |size: u64| &roots[usize::try_from(size).unwrap()];
    for new in 0..=70u64 {
        for old in 0..=new {
            let proof = consistency_proof(&leaves, old, new).unwrap();
            let check = |proof: &[Hash]| verify_consistency(old, root(old), new, root(new), proof);
            let what = format!("{old} to {new}");
            assert!(check(&proof), "{what}");
            for position in 0..proof.len() {
                let mut tampered = proof.clone();
                tampered[position] = flipped(&tampered[position], position * 7);
                assert!(!check(&tampered), "{what}: tampered at {position}");
                let mut shorter = proof.clone();
                shorter.remove(position);
                assert!(!check(&shorter), "{what}: without {position}");
            }
            let mut longer = proof.clone();
            longer.push(*root(new));
            assert!(!check(&longer), "{what}: longer");
            if old > 0 {
                let other_old = flipped(root(old), 3);
                assert!(!verify_consistency(old, &other_old, new, root(new), &proof), "{what}");
                let other_new = flipped(root(new), 3);
                assert!(!verify_consistency(old, root(old), new, &other_new, &proof), "{what}");
            }
            if old < new {
                assert!(!verify_consistency(new, root(new), old, root(old), &proof), "{what}");
            }
        }
    }
}

#[test]
fn a_fork_cannot_be_proved_consistent() {
    let honest = Memory::of(40);
    let mut forked = Memory::of(60);
    forked.0[17] = leaf_hash(b"rewritten");
    let old_root = root_from(&honest, 40).unwrap();
    let new_root = root_from(&forked, 60).unwrap();
    let proof = consistency_proof(&forked, 40, 60).unwrap();
    assert!(!verify_consistency(40, &old_root, 60, &new_root, &proof));
}

#[test]
fn the_empty_tree_has_one_root() {
    let root = leaf_hash(b"x");
    assert!(verify_consistency(0, &empty_root(), 5, &root, &[]));
    assert!(!verify_consistency(0, &root, 5, &root, &[]));
    assert!(!verify_consistency(0, &empty_root(), 0, &root, &[]));
    assert!(!verify_consistency(0, &empty_root(), 5, &root, &[root]));
}
