//! Proofs and receipts from published files: the database is not asked.

use std::collections::BTreeMap;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::note::Note;
use chain::pack::{OwnedRecord, PackId};
use chain::proof::TlogProof;
use chain::tile::{FULL_WIDTH, TileId, TiledHashes};
use chain::tree::{consistency_proof, inclusion_proof};
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::layout::Layout;

/// A receipt that carries its entry (FORMAT.md section 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryReceipt {
    pub origin: String,
    pub position: u64,
    pub prev: Hash,
    /// The exact bytes of the entry.
    pub entry: String,
    /// A `.tlog-proof` file.
    pub proof: String,
    /// Texts behind the commitments, for a party who may read them: path to text and salt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub opened: BTreeMap<String, OpenedText>,
}

/// A sealed text, opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedText {
    pub text: String,
    pub salt: Hash,
}

/// What was proved, and whether the checkpoint that it leads to is witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved<T> {
    pub what: T,
    /// Whether the quorum of the log's own policy cosigned it; false when no quorum is asked for.
    pub witnessed: bool,
}

/// Answers from the publication folder. Its methods read files: call them where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Prover {
    layout: Layout,
}

impl Prover {
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// The newest published checkpoint, opened without a policy: it is our own.
    pub fn checkpoint(&self) -> Result<Option<(Checkpoint, String)>, AnchorError> {
        opened(self.layout.checkpoint()?)
    }

    /// The proof that `position` is in the log: under the newest witnessed checkpoint when that covers it, else under the newest;
    /// nothing while none does.
    pub fn prove(&self, position: u64) -> Result<Option<Proved<TlogProof>>, AnchorError> {
        let covers = |(checkpoint, _): &(Checkpoint, String)| position < checkpoint.size;
        let (witnessed, newest) = match opened(self.layout.witnessed()?)?.filter(covers) {
            Some(newest) => (true, newest),
            None => match self.checkpoint()?.filter(covers) {
                Some(newest) => (false, newest),
                None => return Ok(None),
            },
        };
        let (Checkpoint { size, .. }, note) = newest;
        let hashes = self.inclusion(position, size)?;
        Ok(Some(Proved { what: TlogProof { index: position, hashes, extra: None, checkpoint: note }, witnessed }))
    }

    /// The audit path of `position` in the tree of `size` entries.
    ///
    /// # Panics
    /// If `position >= size`.
    pub fn inclusion(&self, position: u64, size: u64) -> Result<Vec<Hash>, AnchorError> {
        let tiles = TiledHashes::new(size, |id: &TileId| self.layout.tile(id));
        inclusion_proof(&tiles, size, position).map_err(|error| AnchorError::unreadable("tile/", error))
    }

    /// The proof that the tree of `old` entries is the beginning of the tree of `new`.
    ///
    /// # Panics
    /// If `old > new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, AnchorError> {
        let tiles = TiledHashes::new(new, |id: &TileId| self.layout.tile(id));
        consistency_proof(&tiles, old, new).map_err(|error| AnchorError::unreadable("tile/", error))
    }

    /// The published entry at a position.
    pub fn entry(&self, position: u64) -> Result<Option<OwnedRecord>, AnchorError> {
        let size = self.checkpoint()?.map_or(0, |(checkpoint, _)| checkpoint.size);
        if position >= size {
            return Ok(None);
        }
        let full = u64::from(FULL_WIDTH);
        let index = position / full;
        let width = u16::try_from((size - index * full).min(full)).unwrap_or(FULL_WIDTH);
        let records = self.layout.pack(&PackId { index, width })?;
        Ok(records.into_iter().find(|record| record.position == position))
    }

    /// The receipt of a position with its entry, for those who may see it; nothing while no checkpoint covers it.
    pub fn receipt(&self, position: u64) -> Result<Option<Proved<EntryReceipt>>, AnchorError> {
        let (Some(proved), Some(record)) = (self.prove(position)?, self.entry(position)?) else { return Ok(None) };
        let origin = self.checkpoint()?.map(|(checkpoint, _)| checkpoint.origin).unwrap_or_default();
        let entry = String::from_utf8(record.bytes).map_err(|error| AnchorError::unreadable("pack/", error))?;
        let proof = proved.what.format();
        let what = EntryReceipt { origin, position, prev: record.prev, entry, proof, opened: BTreeMap::new() };
        Ok(Some(Proved { what, witnessed: proved.witnessed }))
    }
}

fn opened(note: Option<String>) -> Result<Option<(Checkpoint, String)>, AnchorError> {
    let Some(note) = note else { return Ok(None) };
    let unreadable = |error: &dyn std::fmt::Display| AnchorError::unreadable("checkpoint", error);
    let text = Note::parse(&note).map_err(|error| unreadable(&error))?.text;
    let checkpoint = Checkpoint::parse_text(&text).map_err(|error| unreadable(&error))?;
    Ok(Some((checkpoint, note)))
}
