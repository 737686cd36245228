//! The heads of all streams under one hash: a sparse Merkle tree keyed by the streams' names (FORMAT.md section 11).
//!
//! A subtree without a leaf is [`Hash::ZERO`], one with a single leaf is that leaf, any other joins its two halves: so a tree is as
//! deep as its keys have to be told apart, and the same heads give the same root in whatever order they came.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::hash::sha256;

mod proof;
#[cfg(test)]
mod tests;

pub use proof::{HeadError, HeadProof, OtherHead};

/// Levels of which every node is kept. What is below has sixteen leaves when there are a million, and is computed when it is needed:
/// that costs microseconds, keeping it would cost as much memory again as the leaves.
const KEPT: usize = 16;
/// The subtrees below the kept levels.
const BUCKETS: usize = 1 << KEPT;

/// How many entries may follow `as_of` before the entry that commits to it; one that comes later commits to nothing.
pub const WINDOW: u64 = 65_536;

/// The last entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub version: u64,
    /// The entry hash.
    pub hash: Hash,
}

/// What `log.heads_committed.v1` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// The heads are those over the positions before this one.
    pub as_of: u64,
    pub root: Hash,
}

impl Commitment {
    /// Whether the entry at this position can commit to it: not before everything it speaks of, and not long after.
    pub const fn fits(&self, position: u64) -> bool {
        self.as_of <= position && position - self.as_of < WINDOW
    }
}

/// Where a stream's head stands: SHA-256 of its name.
pub fn key(stream: &str) -> Hash {
    sha256(&[stream.as_bytes()])
}

/// The leaf of a head.
pub fn leaf_hash(key: &Hash, head: &Head) -> Hash {
    sha256(&[b"guildhall/head/v1\n", &key.0, &head.version.to_be_bytes(), &head.hash.0])
}

/// The node over two subtrees, of which at least one has two leaves or both have one.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[b"guildhall/heads/v1\n", &left.0, &right.0])
}

/// Bit `depth` of a key, from the top: whether it is in the right half.
fn is_right(key: &Hash, depth: usize) -> bool {
    key.0[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// A key and its head.
type Leaf = (Hash, Head);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    None,
    One,
    More,
}

#[derive(Debug, Clone, Copy)]
struct Subtree {
    hash: Hash,
    leaves: Leaves,
}

impl Subtree {
    const EMPTY: Self = Self { hash: Hash::ZERO, leaves: Leaves::None };

    fn join(left: Self, right: Self) -> Self {
        match (left.leaves, right.leaves) {
            (Leaves::None, Leaves::None | Leaves::One) => right,
            (Leaves::One, Leaves::None) => left,
            _ => Self { hash: node_hash(&left.hash, &right.hash), leaves: Leaves::More },
        }
    }

    /// Over leaves in the order of their keys, whose first `depth` bits are the same.
    fn over(leaves: &[Leaf], depth: usize) -> Self {
        match leaves {
            [] => Self::EMPTY,
            [(key, head)] => Self { hash: leaf_hash(key, head), leaves: Leaves::One },
            _ => {
                let (left, right) = halves(leaves, depth);
                Self::join(Self::over(left, depth + 1), Self::over(right, depth + 1))
            }
        }
    }
}

fn halves(leaves: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.partition_point(|(key, _)| !is_right(key, depth)))
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    /// In the order of their keys.
    leaves: Vec<Leaf>,
    /// Whether its node is not that of its leaves.
    stale: bool,
}

/// The tree over all heads. Setting a head costs no hash; the next root or proof costs one path for each bucket that changed.
#[derive(Debug, Clone)]
pub struct Heads {
    buckets: Vec<Bucket>,
    /// Node 1 is the root, nodes `2i` and `2i + 1` are the halves of node `i`, and bucket `b` is node `BUCKETS + b`.
    nodes: Vec<Subtree>,
    stale: Vec<usize>,
    len: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            buckets: vec![Bucket::default(); BUCKETS],
            nodes: vec![Subtree::EMPTY; 2 * BUCKETS],
            stale: Vec::new(),
            len: 0,
        }
    }
}

impl Heads {
    /// The tree without heads.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many streams have a head.
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every key with its head, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.buckets.iter().flat_map(|bucket| &bucket.leaves)
    }

    pub fn get(&self, key: &Hash) -> Option<Head> {
        let leaves = &self.buckets[bucket_of(key)].leaves;
        let found = leaves.binary_search_by(|(there, _)| there.cmp(key)).ok()?;
        Some(leaves[found].1)
    }

    /// Sets the head of a stream.
    pub fn set(&mut self, key: Hash, head: Head) {
        let number = bucket_of(&key);
        let bucket = &mut self.buckets[number];
        match bucket.leaves.binary_search_by(|(there, _)| there.cmp(&key)) {
            Ok(found) => bucket.leaves[found].1 = head,
            Err(place) => {
                if bucket.leaves.len() == bucket.leaves.capacity() {
                    // Doubling would leave a third of all memory empty.
                    bucket.leaves.reserve_exact(2 + bucket.leaves.len() / 8);
                }
                bucket.leaves.insert(place, (key, head));
                self.len += 1;
            }
        }
        if !std::mem::replace(&mut bucket.stale, true) {
            self.stale.push(number);
        }
    }

    /// The root over the heads as they are.
    pub fn root(&mut self) -> Hash {
        self.settle();
        self.nodes[1].hash
    }

    /// The proof of a stream's head, or that it has none.
    pub fn prove(&mut self, key: &Hash) -> HeadProof {
        self.settle();
        let mut siblings = Vec::new();
        let mut node = 1;
        while node < BUCKETS && self.nodes[node].leaves == Leaves::More {
            let below = 2 * node + usize::from(is_right(key, siblings.len()));
            siblings.push(self.nodes[below ^ 1].hash);
            node = below;
        }
        let mut leaves = self.leaves_below(node);
        while leaves.len() > 1 {
            let (left, right) = halves(leaves, siblings.len());
            let (ours, other) = if is_right(key, siblings.len()) { (right, left) } else { (left, right) };
            siblings.push(Subtree::over(other, siblings.len() + 1).hash);
            leaves = ours;
        }
        HeadProof::ending_at(siblings, key, leaves.first())
    }

    /// The leaves of a bucket, or of a node above the buckets that has at most one.
    fn leaves_below(&self, mut node: usize) -> &[Leaf] {
        while node < BUCKETS {
            node *= 2;
            node += usize::from(self.nodes[node].leaves == Leaves::None);
        }
        &self.buckets[node - BUCKETS].leaves
    }

    /// Computes what changed, level by level, so that no node is computed twice.
    fn settle(&mut self) {
        let mut changed = std::mem::take(&mut self.stale);
        changed.sort_unstable();
        for number in &mut changed {
            let bucket = &mut self.buckets[*number];
            bucket.stale = false;
            *number += BUCKETS;
            self.nodes[*number] = Subtree::over(&bucket.leaves, KEPT);
        }
        for _ in 0..KEPT {
            changed.iter_mut().for_each(|node| *node /= 2);
            changed.dedup();
            for node in &changed {
                self.nodes[*node] = Subtree::join(self.nodes[2 * node], self.nodes[2 * node + 1]);
            }
        }
    }
}

fn bucket_of(key: &Hash) -> usize {
    usize::from(u16::from_be_bytes([key.0[0], key.0[1]]))
}
