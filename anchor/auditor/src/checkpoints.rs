//! Signed promises about sizes and roots: each must be what the entries give at that size.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::note::Note;
use chain::policy::Policy;

use crate::anchors::Known;
use crate::keys::{self, Place, Signed};

/// A size at which somebody signed a root, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    pub size: u64,
    pub root: Hash,
    /// How a finding speaks of it.
    pub whence: String,
}

impl Promise {
    pub fn of(anchor: &Known) -> Self {
        Self { size: anchor.size, root: anchor.root, whence: anchor.key.clone() }
    }
}

/// The checkpoint remembered from an earlier audit, if there was one.
pub fn remembered(path: &Path, policy: &Policy) -> Result<Option<(Checkpoint, Signed)>, String> {
    match fs::read_to_string(path) {
        Ok(note) => {
            let read = keys::read(&note, policy).map_err(|error| format!("{}: {error}", path.display()))?;
            let keys::Read { checkpoint, by, .. } = read;
            let whence = "the remembered checkpoint".to_owned();
            let notes = Note::parse(&note).into_iter().collect();
            let signed = Signed { size: checkpoint.size, whence, by, place: Place::Here(notes) };
            Ok(Some((checkpoint, signed)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Remembers a checkpoint for the next audit. Written beside and renamed: a crash leaves the old memory or the new one.
pub fn remember(path: &Path, note: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
