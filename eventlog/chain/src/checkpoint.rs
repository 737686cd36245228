//! C2SP checkpoints: what a log says about its tree, as the text of a signed note.

use crate::Hash;
use crate::entry::is_valid_origin;
use crate::note::{self, Algorithm, Note, NoteError, SigningKey, VerifierKey};
use crate::policy::Policy;
use crate::text::parse_size;
use crate::tree::empty_root;

/// A log's name, the number of its leaves, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// A checkpoint with what its signatures amount to under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    pub checkpoint: Checkpoint,
    /// Whether the policy's quorum cosigned it. True when the quorum is `none`.
    pub witnessed: bool,
    /// Key name and time (Unix seconds) of every valid cosignature of a witness of the policy.
    pub cosigned: Vec<(String, u64)>,
    /// The keys of the log that signed it; never empty.
    pub signed: Vec<VerifierKey>,
}

/// Why a note is not a checkpoint of a log that the policy knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the note: {0}")]
    Note(#[from] NoteError),
    #[error("a checkpoint is three lines: origin, size, root")]
    Lines,
    #[error("an origin is 1 to 128 of a-z 0-9 . / -")]
    Origin,
    #[error("the size is not a decimal number of at most 2^53 without leading zeros")]
    Size,
    #[error("the root is not 32 bytes of standard base64")]
    Root,
    #[error("a tree without leaves has the root SHA-256 of nothing")]
    EmptyRoot,
    #[error("the policy knows no log {0}")]
    UnknownOrigin(String),
    #[error("no key that the policy gives the log {0} signed the checkpoint")]
    NotSignedByLog(String),
}

impl Checkpoint {
    /// The text that is signed, with its final newline.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads exactly what [`Checkpoint::to_text`] writes; extension lines are refused.
    pub fn parse_text(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        if !is_valid_origin(origin) {
            return Err(CheckpointError::Origin);
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size: parse_size(size).ok_or(CheckpointError::Size)?,
            root: Hash::from_base64(root).ok_or(CheckpointError::Root)?,
        })
    }
}

/// The checkpoint as a note with the log's signature.
///
/// # Panics
/// If the key's name is not the checkpoint's origin: every verifier would refuse the note.
pub fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> String {
    assert_eq!(key.name(), checkpoint.origin, "a log signs with the key of its own name");
    note::sign(&checkpoint.to_text(), key)
}

/// Opens a checkpoint of a log of the policy: its origin is the name of one of the policy's logs, a key of that log
/// signed it, and no line of a key that the policy knows fails. The quorum is NOT required here, because an
/// unwitnessed checkpoint is still the log's word; whoever needs witnesses calls [`examine`].
pub fn open(note: &str, policy: &Policy) -> Result<Checkpoint, CheckpointError> {
    examine(note, policy).map(|examined| examined.checkpoint)
}

/// Like [`open`], and says whether the quorum cosigned, and which witnesses did.
pub fn examine(note: &str, policy: &Policy) -> Result<Examined, CheckpointError> {
    let note = Note::parse(note)?;
    let checkpoint = Checkpoint::parse_text(&note.text)?;
    if checkpoint.size == 0 && checkpoint.root != empty_root() {
        return Err(CheckpointError::EmptyRoot);
    }
    let origin = &checkpoint.origin;
    if !policy.logs.iter().any(|log| log.name() == origin) {
        return Err(CheckpointError::UnknownOrigin(origin.clone()));
    }
    let keys: Vec<&VerifierKey> = policy.keys().collect();
    let verified = note.verify_by(&keys)?;
    let by = |key: &&VerifierKey| {
        verified
            .by
            .iter()
            .any(|by| by.algorithm == Algorithm::Ed25519 && by.name == key.name() && by.key_id == key.key_id())
    };
    let signed: Vec<VerifierKey> = policy.logs.iter().filter(|log| log.name() == origin).filter(by).cloned().collect();
    if signed.is_empty() {
        return Err(CheckpointError::NotSignedByLog(origin.clone()));
    }
    let cosigned = verified.by.iter().filter_map(|key| key.cosigned_at.map(|time| (key.name.clone(), time))).collect();
    let witnessed = policy.quorum_met(&note, &note.text);
    Ok(Examined { checkpoint, witnessed, cosigned, signed })
}

#[cfg(test)]
mod tests;
