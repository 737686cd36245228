//! How a log changes its signing key: a statement that both keys sign, and which keys are in force at which size.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::key::{Algorithm, VerifierKey};
use crate::note::Note;
use crate::text::{from_base64, to_base64};

/// The first line of what both keys sign. A checkpoint has three lines and a receipt another first one.
pub const HEADER: &str = "guildhall/key-rotation/v1";
/// The type of the entry whose data is a [`Rotation`].
pub const ROTATED: &str = "log.key_rotated.v1";
/// The type of the entry whose data is a [`Retirement`].
pub const RETIRED: &str = "log.key_retired.v1";

/// From one key to the next. From the entry that holds this on both are in force, until the older one is retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The vkey that is in force.
    pub from: String,
    /// The vkey that comes into force beside it.
    pub to: String,
    /// A checkpoint of this log from before, with an entry at least: without it the statement could be moved into another history of the
    /// same name.
    pub size: u64,
    pub root: Hash,
    /// Base64 of the Ed25519 signatures by both over [`text`].
    pub by_from: String,
    pub by_to: String,
}

/// The end of the older key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// Its vkey.
    pub key: String,
}

/// Why a rotation or a retirement does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("a key of a rotation is an Ed25519 key of this log")]
    NotOfThisLog,
    #[error("it speaks of a checkpoint that was not there yet")]
    Early,
    #[error("it speaks of the empty log, which every history begins with")]
    Empty,
    #[error("it rotates from a key that is not in force")]
    NotInForce,
    #[error("it rotates while an earlier rotation has not ended")]
    Overlap,
    #[error("it rotates to a key that this log has had before")]
    Again,
    #[error("the signature of the {0} key does not verify")]
    Signature(&'static str),
    #[error("it retires a key that is not the older one of two in force")]
    NotTheOlder,
}

/// What both keys sign: header, origin, both keys, and size and root of the checkpoint, every line with its newline.
pub fn text(origin: &str, from: &str, to: &str, size: u64, root: &Hash) -> String {
    format!("{HEADER}\n{origin}\n{from}\n{to}\n{size}\n{}\n", root.to_base64())
}

/// SHA-256 of a vkey, as a log names the key that it begins with.
pub fn fingerprint(vkey: &str) -> Hash {
    crate::hash::sha256(&[vkey.as_bytes()])
}

impl Rotation {
    /// The statement with both signatures over [`text`].
    pub fn signed(from: String, to: String, (size, root): (u64, Hash), by_from: &[u8; 64], by_to: &[u8; 64]) -> Self {
        Self { from, to, size, root, by_from: to_base64(by_from), by_to: to_base64(by_to) }
    }

    /// Checks both keys and both signatures; answers with the keys.
    pub fn verify(&self, origin: &str) -> Result<(VerifierKey, VerifierKey), RotationError> {
        let (from, to) = (key_of(origin, &self.from)?, key_of(origin, &self.to)?);
        let text = text(origin, &self.from, &self.to, self.size, &self.root);
        for (key, signature, which) in [(&from, &self.by_from, "old"), (&to, &self.by_to, "new")] {
            let signature = from_base64(signature).ok_or(RotationError::Signature(which))?;
            if !key.verify_raw(text.as_bytes(), &signature) {
                return Err(RotationError::Signature(which));
            }
        }
        Ok((from, to))
    }
}

/// The Ed25519 key of this log that a vkey is.
pub fn key_of(origin: &str, vkey: &str) -> Result<VerifierKey, RotationError> {
    let key = VerifierKey::parse(vkey).map_err(|_| RotationError::NotOfThisLog)?;
    if key.algorithm() == Algorithm::Ed25519 && key.name() == origin {
        Ok(key)
    } else {
        Err(RotationError::NotOfThisLog)
    }
}

/// One key of a log, and the sizes at which its signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Era {
    pub fingerprint: Hash,
    /// Unknown of the first key as long as the log only names its fingerprint.
    pub key: Option<VerifierKey>,
    /// The first size.
    pub from: u64,
    /// One past the last size.
    pub until: Option<u64>,
}

impl Era {
    pub fn covers(&self, size: u64) -> bool {
        self.from <= size && self.until.is_none_or(|until| size < until)
    }
}

/// The keys that a log had one after the other, as its own entries tell it, which are given in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    eras: Vec<Era>,
}

impl History {
    /// All keys, oldest first. Empty as long as the log has named none.
    pub fn eras(&self) -> &[Era] {
        &self.eras
    }

    /// The keys in force at a size, oldest first: one, or two while they overlap.
    pub fn in_force(&self, size: u64) -> impl DoubleEndedIterator<Item = &Era> {
        self.eras.iter().filter(move |era| era.covers(size))
    }

    /// Whether a key that was in force at this size signed the note. Of the first key that is known only after a rotation has given it.
    pub fn signed(&self, size: u64, note: &Note) -> bool {
        let verifies = |key: &VerifierKey| {
            let mut lines = note.signatures.iter().filter(|line| line.is_by(key)).peekable();
            lines.peek().is_some() && lines.all(|line| key.verify_raw(note.text.as_bytes(), &line.signature))
        };
        self.in_force(size).filter_map(|era| era.key.as_ref()).any(verifies)
    }

    /// The log names the key that it begins with. Said again, it changes nothing.
    pub fn name(&mut self, fingerprint: Hash) {
        if self.eras.is_empty() {
            self.eras.push(Era { fingerprint, key: None, from: 0, until: None });
        }
    }

    /// The entry at `position` holds this rotation. Whether its checkpoint is one of this log is for the caller to see.
    pub fn rotate(&mut self, origin: &str, position: u64, rotation: &Rotation) -> Result<(), RotationError> {
        let (from, to) = rotation.verify(origin)?;
        if rotation.size > position {
            return Err(RotationError::Early);
        }
        if rotation.size == 0 {
            return Err(RotationError::Empty);
        }
        let (old, new) = (fingerprint(&rotation.from), fingerprint(&rotation.to));
        if old == new || self.eras.iter().any(|era| era.fingerprint == new) {
            return Err(RotationError::Again);
        }
        // A log that never named its first key names it with its first rotation.
        let mut eras = self.eras.clone();
        if eras.is_empty() {
            eras.push(Era { fingerprint: old, key: None, from: 0, until: None });
        }
        if eras.iter().filter(|era| era.until.is_none()).count() > 1 {
            return Err(RotationError::Overlap);
        }
        let last = eras.last_mut().filter(|era| era.fingerprint == old && era.until.is_none());
        last.ok_or(RotationError::NotInForce)?.key = Some(from);
        eras.push(Era { fingerprint: new, key: Some(to), from: position + 1, until: None });
        self.eras = eras;
        Ok(())
    }

    /// The entry at `position` holds this retirement.
    pub fn retire(&mut self, position: u64, retirement: &Retirement) -> Result<(), RotationError> {
        let gone = fingerprint(&retirement.key);
        let older = self.eras.len().checked_sub(2).and_then(|index| self.eras.get_mut(index));
        let older = older.filter(|era| era.until.is_none() && era.fingerprint == gone);
        older.ok_or(RotationError::NotTheOlder)?.until = Some(position + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
