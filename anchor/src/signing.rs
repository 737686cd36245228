//! What was signed last, kept outside the database: a database can be restored to the past, this file is not.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use chain::checkpoint::{self, Checkpoint};
use chain::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::files;

/// The file's name in the signing folder.
const FILE: &str = "signed.json";

/// The last signed checkpoint, and under which epoch of the database it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    pub epoch: i64,
    /// The signed note.
    pub note: String,
}

/// The signing state; its lock is held for life, so that two processes never sign from one place.
pub struct SigningState {
    path: PathBuf,
    last: Option<(Signed, Checkpoint)>,
    _lock: File,
}

impl SigningState {
    /// Opens the state in this folder.
    ///
    /// # Errors
    /// [`AnchorError::Locked`] when another process has it open; [`AnchorError::Unreadable`] when what it holds was not
    /// signed by a key of `policy`.
    pub fn open(folder: &Path, policy: &Policy) -> Result<Self, AnchorError> {
        files::make_folder(folder)?;
        let lock_path = folder.join("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(AnchorError::file(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AnchorError::Locked(lock_path)),
            Err(TryLockError::Error(error)) => return Err(AnchorError::file(lock_path)(error)),
        }
        let last = read(folder, policy)?;
        Ok(Self { path: folder.join(FILE), last, _lock: lock })
    }

    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.last.as_ref().map(|last| &last.1)
    }

    pub fn note(&self) -> Option<&str> {
        self.last.as_ref().map(|last| last.0.note.as_str())
    }

    pub fn epoch(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| last.0.epoch)
    }

    /// Remembers what is about to be shown to the world.
    pub fn remember(&mut self, signed: Signed, checkpoint: Checkpoint) -> Result<(), AnchorError> {
        let bytes = serde_json::to_vec_pretty(&signed).expect("a text and a number");
        files::replace(&self.path, &bytes)?;
        self.last = Some((signed, checkpoint));
        Ok(())
    }
}

/// What the state in this folder says, for somebody who does not sign.
pub fn read(folder: &Path, policy: &Policy) -> Result<Option<(Signed, Checkpoint)>, AnchorError> {
    let path = folder.join(FILE);
    let Some(bytes) = files::read(&path)? else { return Ok(None) };
    let unreadable = |error: &dyn std::fmt::Display| AnchorError::unreadable(path.display().to_string(), error);
    let signed: Signed = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    let opened = checkpoint::open(&signed.note, policy).map_err(|error| unreadable(&error))?;
    Ok(Some((signed, opened)))
}
