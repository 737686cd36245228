//! The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): growing it, proving with it, checking proofs.
//!
//! A *node* is named by `(level, index)`: the root of the complete subtree over the leaves
//! `[index * 2^level, (index + 1) * 2^level)`. Level 0 holds the leaf hashes.

use crate::Hash;
use crate::hash::sha256;
use crate::text::MAX_SIZE;

/// `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

/// `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The right edge of a growing tree: one hash per complete subtree, largest first, so at most 54 of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// A frontier read back from storage: one hash per set bit of `size`, largest subtree first. `None` if the count
    /// is another, or the size is beyond [`MAX_SIZE`].
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Option<Frontier> {
        let count = usize::try_from(size.count_ones()).ok()?;
        (size <= MAX_SIZE && nodes.len() == count).then_some(Frontier { size, nodes })
    }

    /// What [`Frontier::from_parts`] takes.
    pub fn into_parts(self) -> (u64, Vec<Hash>) {
        (self.size, self.nodes)
    }

    /// The roots of the complete subtrees, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf_hash: Hash) {
        self.push_observed(leaf_hash, |_, _, _| ());
    }

    /// Appends one leaf hash and tells `observe` every node `(level, index, hash)` that it completes, the leaf first:
    /// what a writer of tiles needs.
    pub fn push_observed(&mut self, leaf_hash: Hash, mut observe: impl FnMut(u32, u64, &Hash)) {
        let mut hash = leaf_hash;
        let mut index = self.size;
        let mut level = 0;
        observe(level, index, &hash);
        while index & 1 == 1 {
            let left = self.nodes.pop().expect("there is one node per set bit of the size");
            hash = node_hash(&left, &hash);
            index >>= 1;
            level += 1;
            observe(level, index, &hash);
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it stands.
    pub fn root(&self) -> Hash {
        fold(&self.nodes)
    }
}

/// Joins the roots of complete subtrees, largest first, from the right.
fn fold(nodes: &[Hash]) -> Hash {
    match nodes.split_last() {
        None => empty_root(),
        Some((last, rest)) => rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// Where hashes of complete subtrees come from: tiles, as a rule, through [`crate::tile::TiledHashes`].
pub trait HashReader {
    /// Why a hash could not be had.
    type Error;

    /// The root of the complete subtree over `[index * 2^level, (index + 1) * 2^level)`. Only nodes that lie wholly
    /// within the tree are ever asked for.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the tree of the first `size` leaves.
pub fn root_from<R: HashReader>(reader: &R, size: u64) -> Result<Hash, R::Error> {
    range_root(reader, 0, size)
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling up to the root's child
/// (RFC 6962 section 2.1.1).
///
/// # Panics
/// If `index >= size`: nobody can prove a leaf that is not there.
pub fn inclusion_proof<R: HashReader>(reader: &R, size: u64, index: u64) -> Result<Vec<Hash>, R::Error> {
    assert!(index < size, "leaf {index} is not in a tree of {size} leaves");
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_root(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(reader, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 6962 section 2.1.2); empty if
/// `old` is 0 or equal to `new`.
///
/// # Panics
/// If `old > new`.
pub fn consistency_proof<R: HashReader>(reader: &R, old: u64, new: u64) -> Result<Vec<Hash>, R::Error> {
    assert!(old <= new, "a tree of {old} leaves is not a prefix of one of {new}");
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(range_root(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(reader, start, middle)?);
            start = middle;
        }
    }
    // The verifier holds the root of the whole old tree already; of a smaller subtree it does not.
    if start > 0 {
        proof.push(range_root(reader, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two strictly below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The root over `[start, end)`, where `start` is a multiple of the smallest power of two that is not below the
/// length: every range that splitting a tree produces.
fn range_root<R: HashReader>(reader: &R, start: u64, end: u64) -> Result<Hash, R::Error> {
    let mut nodes = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        nodes.push(reader.node(level, at >> level)?);
        at += 1 << level;
    }
    Ok(fold(&nodes))
}

/// Whether `proof` leads from `leaf`, a leaf hash, at `index` to `root` of the tree of `size` leaves (RFC 9162 section
/// 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `old` leaves with `old_root` is a prefix of the tree of `new` leaves with
/// `new_root` (RFC 9162 section 2.1.4.2). The tree without leaves is a prefix of every tree, with an empty proof.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == 0 {
        let new_fits = new > 0 || *new_root == empty_root();
        return proof.is_empty() && *old_root == empty_root() && new_fits;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    // A complete old tree is a node of the new one; its root, known to the verifier, stands for the first hash.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some(parts) => parts,
            None => return false,
        }
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
pub(crate) mod tests;
