//! Keeps the tree over the heads of all streams, from the published packs alone, and says when it is to be committed to.
//!
//! The tree stands where it was committed to last, so that every head can be proved under a root that the log has. What came since
//! waits beside it. Whatever is lost here is read again from the packs: nothing depends on it but the time of the next start.

pub(crate) mod state;

use std::collections::HashMap;
use std::path::PathBuf;

use chain::Hash;
use chain::entry::EntryView;
use chain::heads::{self, Commitment, Head, HeadProof, Heads};
use chain::pack::{PackId, packs_between};
use chain::tile::{BundleId, FULL_WIDTH};

use crate::AnchorError;
use crate::layout::Layout;
use crate::publisher::{OWN_STREAM, approximate};
use state::{Saved, State};

/// The type of the entry that commits to a root of heads.
pub(crate) const HEADS_COMMITTED: &str = "log.heads_committed.v1";

/// A commitment that the published log has, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnRecord {
    pub position: u64,
    pub commitment: Commitment,
}

/// The heads of all streams. Its methods read and write files: call them where blocking is allowed.
pub struct StreamHeads {
    origin: String,
    layout: Layout,
    state: State,
    /// As of the last commit.
    tree: Heads,
    saved: Saved,
    /// Where the log says so, as far as it was read.
    recorded: Option<u64>,
    /// Heads that moved since then.
    since: HashMap<Hash, Head>,
    /// Whether any but the log's own did.
    grown: bool,
    /// How much of the log was read, and the hash of the last entry that was.
    size: u64,
    last: Hash,
    /// Whether what was loaded was found to be of this log.
    compared: bool,
}

impl StreamHeads {
    /// Takes up what was saved in this folder. Damaged files are as good as none.
    pub fn open(folder: PathBuf, layout: Layout, origin: &str) -> Result<Self, AnchorError> {
        let (state, tree, saved) = State::load(folder, origin)?;
        Ok(Self {
            origin: origin.to_owned(),
            layout,
            state,
            tree,
            saved,
            recorded: None,
            since: HashMap::new(),
            grown: false,
            size: saved.as_of,
            last: saved.tip,
            compared: false,
        })
    }

    /// Reads the published entries up to `size`.
    pub fn read_to(&mut self, size: u64) -> Result<(), AnchorError> {
        if !self.compared {
            if self.saved.as_of > 0 && !self.is_of_this_log(size)? {
                tracing::warn!(as_of = self.saved.as_of, "the heads kept here are of another log: reading all packs");
                self.forget();
            }
            self.compared = true;
        }
        for id in packs_between(self.size, size) {
            self.read_pack(&id)?;
        }
        Ok(())
    }

    /// Whether a commitment is due: a head moved that is not the log's own, or the log does not have the last one.
    pub const fn is_due(&self) -> bool {
        self.grown || (self.saved.as_of > 0 && self.recorded.is_none())
    }

    /// Moves the tree to everything read, durably, and answers what the log shall say about it.
    pub fn commit(&mut self) -> Result<Commitment, AnchorError> {
        // Nothing is proved from a tree that stands between two commits. A crash, or a failure to save, leaves the one before.
        self.recorded = None;
        let changed: Vec<(Hash, Head)> = self.since.iter().map(|(key, head)| (*key, *head)).collect();
        changed.iter().for_each(|(key, head)| self.tree.set(*key, *head));
        let saved = Saved { as_of: self.size, tip: self.last, root: self.tree.root() };
        self.state.save(&saved, &changed, &self.tree)?;
        self.saved = saved;
        self.since = HashMap::new();
        self.grown = false;
        metrics::gauge!("guildhall_heads_as_of").set(approximate(saved.as_of));
        Ok(Commitment { as_of: saved.as_of, root: saved.root })
    }

    /// The proof of a stream's head, or of its having none, under the last commitment that the published log has.
    pub fn prove(&mut self, stream: &str) -> Option<(OnRecord, HeadProof)> {
        let on_record = self.on_record()?;
        Some((on_record, self.tree.prove(&heads::key(stream))))
    }

    /// The last commitment, if the published log has it, as far as it was read.
    pub fn on_record(&self) -> Option<OnRecord> {
        let commitment = Commitment { as_of: self.saved.as_of, root: self.saved.root };
        Some(OnRecord { position: self.recorded?, commitment })
    }

    /// The last entry that went into the tree is where it was.
    fn is_of_this_log(&self, size: u64) -> Result<bool, AnchorError> {
        if self.saved.as_of > size {
            return Ok(false);
        }
        let (last, full) = (self.saved.as_of - 1, u64::from(FULL_WIDTH));
        let index = last / full;
        let width = u16::try_from((size - index * full).min(full)).unwrap_or(FULL_WIDTH);
        let leaves = self.layout.bundle(&BundleId { index, width })?;
        Ok(usize::try_from(last % full).is_ok_and(|item| leaves.get(item) == Some(&self.saved.tip)))
    }

    fn forget(&mut self) {
        self.state.forget();
        (self.tree, self.saved) = (Heads::new(), Saved::default());
        (self.size, self.last) = (0, Hash::ZERO);
    }

    fn read_pack(&mut self, id: &PackId) -> Result<(), AnchorError> {
        let leaves = self.layout.bundle(&BundleId { index: id.index, width: id.width })?;
        for (record, leaf) in self.layout.pack(id)?.iter().zip(leaves) {
            if record.position < self.size {
                continue;
            }
            // A pack that rotted must not reach a root that the log then has for ever.
            let hash = record.as_record().entry_hash(&self.origin);
            let entry = EntryView::parse(&record.bytes).ok().filter(|_| hash == leaf);
            let entry = entry.ok_or(AnchorError::Damaged(record.position))?;
            if entry.stream != OWN_STREAM {
                self.grown = true;
            } else if entry.kind == HEADS_COMMITTED {
                self.hear(record.position, entry.data.get())?;
            }
            let (key, head) = (heads::key(&entry.stream), Head { version: entry.version, hash });
            if self.saved.as_of == 0 {
                // Nothing is proved from this tree yet, so that the heads of a whole log need not wait beside it.
                self.tree.set(key, head);
            } else {
                self.since.insert(key, head);
            }
            (self.size, self.last) = (record.position + 1, hash);
        }
        Ok(())
    }

    /// The log says what its heads are. One of another size than the last one here was made elsewhere, or is overtaken.
    fn hear(&mut self, position: u64, data: &str) -> Result<(), AnchorError> {
        let said: Commitment =
            serde_json::from_str(data).map_err(|error| AnchorError::unreadable(HEADS_COMMITTED, error))?;
        if self.saved.as_of == 0 || said.as_of != self.saved.as_of || !said.fits(position) {
            return Ok(());
        }
        if said.root != self.saved.root {
            return Err(AnchorError::unreadable(
                self.state.place(),
                format!(
                    "position {position} of the log commits to another root of the heads at size {} than these files; without them they are \
                     computed again from the packs",
                    said.as_of
                ),
            ));
        }
        self.recorded = Some(position);
        Ok(())
    }
}
