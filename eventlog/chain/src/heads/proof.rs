//! The proof that a stream has a head, or none, under a root of heads.

use serde::{Deserialize, Serialize};

use super::{Head, is_right, leaf_hash, node_hash};
use crate::Hash;

/// Bits of a key, and so the most siblings of a proof.
const BITS: usize = 256;

/// The way from the root to where the key's leaf is, or would be. JSON; nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadProof {
    /// From the root's child down to the sibling of where the way ends.
    pub siblings: Vec<Hash>,
    /// The stream's head: the way ends at its leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// The way ends at the leaf of another stream. Without both it ends where no leaf is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<OtherHead>,
}

/// The leaf that stands alone where the key's would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherHead {
    pub key: Hash,
    pub version: u64,
    pub hash: Hash,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("a proof has at most 256 siblings")]
    TooDeep,
    #[error("a proof names the stream's head or another's, not both")]
    Both,
    #[error("the other head does not stand where this stream's would")]
    Elsewhere,
    #[error("the siblings do not lead to the root of heads")]
    NotTheRoot,
}

impl HeadProof {
    pub(super) fn ending_at(siblings: Vec<Hash>, key: &Hash, leaf: Option<&(Hash, Head)>) -> Self {
        let (mut head, mut other) = (None, None);
        match leaf {
            Some((found, there)) if found == key => head = Some(*there),
            Some((key, Head { version, hash })) => {
                other = Some(OtherHead { key: *key, version: *version, hash: *hash });
            }
            None => {}
        }
        Self { siblings, head, other }
    }

    /// The head that the tree with this root has under `key`, or that it has none.
    ///
    /// # Errors
    /// When it proves neither.
    pub fn verify(&self, key: &Hash, root: &Hash) -> Result<Option<Head>, HeadError> {
        let depth = self.siblings.len();
        if depth > BITS {
            return Err(HeadError::TooDeep);
        }
        let end = match (&self.head, &self.other) {
            (Some(_), Some(_)) => return Err(HeadError::Both),
            (Some(head), None) => leaf_hash(key, head),
            (None, Some(other)) => {
                let beside = (0..depth).all(|bit| is_right(key, bit) == is_right(&other.key, bit));
                if !beside || other.key == *key {
                    return Err(HeadError::Elsewhere);
                }
                leaf_hash(&other.key, &Head { version: other.version, hash: other.hash })
            }
            (None, None) => Hash::ZERO,
        };
        let top = self.siblings.iter().enumerate().rev().fold(end, |below, (bit, sibling)| {
            if is_right(key, bit) { node_hash(sibling, &below) } else { node_hash(&below, sibling) }
        });
        if top == *root { Ok(self.head) } else { Err(HeadError::NotTheRoot) }
    }
}
