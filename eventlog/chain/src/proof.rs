//! C2SP tlog-proof files (`c2sp.org/tlog-proof@v1`): one leaf, its audit path, and the checkpoint it leads to.

use crate::Hash;
use crate::checkpoint::{self, Checkpoint, CheckpointError, Examined};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};
use crate::policy::Policy;
use crate::text::{MAX_SIZE, from_base64, parse_size, to_base64};
use crate::tree::verify_inclusion;

/// The first line of every proof.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest audit path of any tree.
pub const MAX_HASHES: usize = 63;

/// The longest proof: a note, and as much again for what stands before it.
pub const MAX_PROOF_BYTES: usize = 2 * MAX_NOTE_BYTES;

/// A proof that a leaf is in a log, as it stands in a `.tlog-proof` file; nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The position.
    pub index: u64,
    /// The audit path, from the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// Opaque and NOT authenticated; never empty.
    pub extra: Option<Vec<u8>>,
    /// The checkpoint, a whole signed note.
    pub checkpoint: String,
}

/// Why a text is not a proof, or a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("a proof is at most 2 MiB")]
    TooLong,
    #[error("the first line is not c2sp.org/tlog-proof@v1")]
    Header,
    #[error("the extra data is not `extra` and some bytes in standard base64")]
    Extra,
    #[error("the index is not `index` and a decimal number below 2^53 without leading zeros")]
    Index,
    #[error("hash {0} is not 32 bytes of standard base64")]
    Hash(usize),
    #[error("a proof has at most 63 hashes")]
    TooManyHashes,
    #[error("no empty line before the checkpoint")]
    NoCheckpoint,
    #[error("the checkpoint note: {0}")]
    Note(#[from] NoteError),
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the hashes do not lead from the leaf to the root of the checkpoint")]
    NotIncluded,
}

impl TlogProof {
    /// The text of the file.
    pub fn format(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            text.push_str(&format!("extra {}\n", to_base64(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads exactly what [`TlogProof::format`] writes.
    pub fn parse(text: &str) -> Result<TlogProof, ProofError> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(ProofError::TooLong);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Header);
        }
        let extra = match lines.peek().copied().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(base64) => {
                lines.next();
                let bytes = from_base64(base64).filter(|bytes| !bytes.is_empty());
                Some(bytes.ok_or(ProofError::Extra)?)
            }
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_size)
            .filter(|index| *index < MAX_SIZE)
            .ok_or(ProofError::Index)?;
        let mut hashes = Vec::new();
        for (number, line) in lines.enumerate() {
            if number >= MAX_HASHES {
                return Err(ProofError::TooManyHashes);
            }
            hashes.push(Hash::from_base64(line).ok_or(ProofError::Hash(number + 1))?);
        }
        Note::parse(checkpoint)?;
        Ok(TlogProof { index, hashes, extra, checkpoint: checkpoint.to_owned() })
    }

    /// Whether the leaf with this LEAF HASH ([`crate::tree::leaf_hash`] of the entry hash) is at `index` in a tree
    /// that a log of the policy signed. As with [`checkpoint::open`], the quorum is not required; whoever needs
    /// witnesses calls [`TlogProof::examine`].
    pub fn verify(&self, leaf_hash: &Hash, policy: &Policy) -> Result<Checkpoint, ProofError> {
        self.examine(leaf_hash, policy).map(|examined| examined.checkpoint)
    }

    /// Like [`TlogProof::verify`], and says whether the quorum cosigned, and which witnesses did.
    pub fn examine(&self, leaf_hash: &Hash, policy: &Policy) -> Result<Examined, ProofError> {
        let examined = checkpoint::examine(&self.checkpoint, policy)?;
        let Checkpoint { size, root, .. } = &examined.checkpoint;
        if !verify_inclusion(leaf_hash, self.index, *size, &self.hashes, root) {
            return Err(ProofError::NotIncluded);
        }
        Ok(examined)
    }
}

#[cfg(test)]
mod tests;
