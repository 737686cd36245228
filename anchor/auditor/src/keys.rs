//! Which of the log's keys signed what: every checkpoint carries a line of a key that was in force at its size.
//!
//! The policy says whom the auditor trusts, the log's own rotations say who came before and after. Both keys sign a rotation, so whoever
//! trusts one of them knows the other one from the log alone.

use std::io;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint, CheckpointError};
use chain::key::VerifierKey;
use chain::note::{Note, NoteError};
use chain::policy::Policy;
use chain::rotation::{History, fingerprint};
use chain::tile::{TileId, TiledHashes, decode_tile};
use chain::tree::root_from;

use crate::anchors;
use crate::inputs::Folder;
use crate::report::{Check, Finding, Report, SigningKey};
use crate::tiles::{FULL, Published};

/// Where a note is that was read, should it have to be read again.
#[derive(Debug, Clone)]
pub enum Place {
    /// The notes themselves: each has a line of a key that was in force.
    Here(Vec<Note>),
    /// An anchor's, and the size of the anchor before it.
    Anchor { key: String, since: u64 },
}

/// A note, and which of the policy's keys signed it.
#[derive(Debug, Clone)]
pub struct Signed {
    pub size: u64,
    /// How a finding speaks of it.
    pub whence: String,
    /// Fingerprints; none when it was signed by keys that the policy does not give.
    pub by: Vec<Hash>,
    pub place: Place,
}

/// What the entries say about the keys.
#[derive(Debug, Default)]
pub struct Told {
    pub history: History,
    /// Where a key was first spoken of.
    pub first: Option<u64>,
    /// The checkpoints that rotations speak of, with the position of the rotation.
    pub before: Vec<(u64, u64, Hash)>,
}

/// A checkpoint, whoever signed it.
pub struct Read {
    pub checkpoint: Checkpoint,
    /// Fingerprints of the policy's keys that signed it. None is no error yet: the log may say that another key was in force then.
    pub by: Vec<Hash>,
    /// Whether the policy's quorum cosigned it. True when the quorum is `none`.
    pub witnessed: bool,
}

/// Reads a checkpoint of a log of the policy.
pub fn read(note: &str, policy: &Policy) -> Result<Read, CheckpointError> {
    match checkpoint::examine(note, policy) {
        Ok(examined) => {
            let by = examined.signed.iter().map(|key| fingerprint(&key.vkey())).collect();
            Ok(Read { checkpoint: examined.checkpoint, by, witnessed: examined.witnessed })
        }
        Err(CheckpointError::NotSignedByLog(_) | CheckpointError::Note(NoteError::NoKnownKey)) => {
            let note = Note::parse(note)?;
            let witnessed = policy.quorum_met(&note, &note.text);
            Ok(Read { checkpoint: Checkpoint::parse_text(&note.text)?, by: Vec::new(), witnessed })
        }
        Err(error) => Err(error),
    }
}

/// The keys of an audit: what the policy trusts, and what was signed.
pub struct Keys<'a> {
    pub folder: &'a Folder,
    /// The policy's keys of this log.
    pub trusted: Vec<VerifierKey>,
    pub signed: Vec<Signed>,
}

impl Keys<'_> {
    /// Without the entries nobody knows which keys there were: then every note is the policy's, or nobody's.
    pub fn without_entries(&self, report: &mut Report) {
        report.not_checked.push("which signing keys were in force".to_owned());
        for signed in self.signed.iter().filter(|signed| signed.by.is_empty()) {
            report.add(signed.finding("no key that the policy gives the log signed it"));
        }
    }

    /// Judges everything that was signed, after all `size` entries were read.
    pub fn judge(&self, told: &Told, size: u64, report: &mut Report) -> io::Result<()> {
        let eras = told.history.eras();
        let trusted: Vec<Hash> = self.trusted.iter().map(|key| fingerprint(&key.vkey())).collect();
        if let Some(first) = told.first.filter(|_| !eras.iter().any(|era| trusted.contains(&era.fingerprint))) {
            let what = "the signing key that the log names is none that the policy gives for it";
            report.add(Finding::at(Check::Checkpoint, first, what));
            return Ok(());
        }
        let strangers =
            self.trusted.iter().zip(&trusted).filter(|(_, print)| !eras.iter().any(|era| era.fingerprint == **print));
        for (key, _) in strangers.filter(|_| !eras.is_empty()) {
            let what = format!("the policy gives the log the key {}, and no rotation leads to it", key.vkey());
            report.add(Finding::general(Check::Checkpoint, what));
        }
        for signed in &self.signed {
            if !self.counts(signed, &told.history)? {
                let what = format!("no key that was in force at size {} signed it", signed.size);
                report.add(signed.finding(&what));
            }
        }
        for (position, before, root) in &told.before {
            if self.root_at(*before, size)? != Some(*root) {
                let what = format!(
                    "it rotates the signing key after a checkpoint of {before} entries that this log never had"
                );
                report.add(Finding::at(Check::Checkpoint, *position, what));
            }
        }
        report.signing_keys = eras.iter().map(|era| SigningKey::of(era, &self.trusted)).collect();
        Ok(())
    }

    fn counts(&self, signed: &Signed, history: &History) -> io::Result<bool> {
        if history.eras().is_empty() {
            return Ok(!signed.by.is_empty());
        }
        if history.in_force(signed.size).any(|era| signed.by.contains(&era.fingerprint)) {
            return Ok(true);
        }
        // A key that the policy does not give, and that a rotation gives.
        let notes = match &signed.place {
            Place::Here(notes) => notes.clone(),
            Place::Anchor { key, .. } => anchors::notes(self.folder, key)?,
        };
        Ok(!notes.is_empty() && notes.iter().all(|note| history.signed(signed.size, note)))
    }

    /// The root at an earlier size, from tiles that this audit has compared with the entries.
    fn root_at(&self, before: u64, size: u64) -> io::Result<Option<Hash>> {
        let fetch = |id: &TileId| -> io::Result<Vec<Hash>> {
            let path = TileId { width: FULL, ..*id }.path();
            let tile = Published { folder: self.folder, path, width: id.width, check: Check::Tile, first: 0, span: 1 };
            let bytes = tile.read(|_, width| Some(usize::from(width) * 32))?.unwrap_or_default();
            decode_tile(id.width, &bytes).map_err(io::Error::other)
        };
        // A tile that is missing or damaged was found where it is.
        Ok(root_from(&TiledHashes::new(size, fetch), before).ok())
    }
}

impl Signed {
    fn finding(&self, what: &str) -> Finding {
        let what = format!("{}: {what}", self.whence);
        match &self.place {
            Place::Here(_) => Finding::general(Check::Checkpoint, what),
            Place::Anchor { since, .. } => Finding::within(Check::Anchor, *since, self.size.max(since + 1), what),
        }
    }
}
