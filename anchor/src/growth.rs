//! The right edge of everything that is published: entries go in, complete files come out.

use chain::Hash;
use chain::pack::{self, OwnedRecord, PackId};
use chain::tile::{self, BundleId, FULL_WIDTH, TILE_HEIGHT, TileId, tiles_for};
use chain::tree::{Frontier, leaf_hash};
use eventlog::Stored;

use crate::AnchorError;
use crate::files::Pending;
use crate::layout::Layout;

/// The tree of the log with its unfinished files: O(log n) hashes, and at most 255 entries.
#[derive(Debug, Clone, Default)]
pub struct Growth {
    frontier: Frontier,
    /// The unfinished tile of each level.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<Hash>,
    pack: Vec<OwnedRecord>,
    /// Paths of files that are full since the last call of [`Growth::take_full`].
    full: Vec<String>,
}

impl Growth {
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// What the published files of a tree of `size` leaves say about its right edge. The caller compares the root with
    /// a signed one: until then nothing read here is to be trusted.
    pub fn restore(layout: &Layout, size: u64) -> Result<Self, AnchorError> {
        let mut growth = Self::default();
        let partial = |id: &&TileId| id.width < FULL_WIDTH;
        for id in tiles_for(size).iter().filter(partial) {
            let level = usize::from(id.level);
            growth.levels.resize(growth.levels.len().max(level + 1), Vec::new());
            growth.levels[level] = layout.tile(id)?;
        }
        let (index, width) = (size / u64::from(FULL_WIDTH), size % u64::from(FULL_WIDTH));
        if let Some(width) = u16::try_from(width).ok().filter(|width| *width > 0) {
            growth.bundle = layout.bundle(&BundleId { index, width })?;
            growth.pack = layout.pack(&PackId { index, width })?;
        }
        let nodes = growth.edge();
        growth.frontier = Frontier::from_parts(size, nodes).ok_or_else(|| {
            AnchorError::unreadable("tile/", format!("the tiles do not make a tree of {size} entries"))
        })?;
        Ok(growth)
    }

    /// The nodes of the frontier, largest first: each unfinished tile is cut into complete subtrees.
    fn edge(&self) -> Vec<Hash> {
        let mut nodes = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (subtree, after) = rest.split_at(1 << rest.len().ilog2());
                let mut frontier = Frontier::new();
                subtree.iter().for_each(|hash| frontier.push(*hash));
                nodes.push(frontier.root());
                rest = after;
            }
        }
        nodes
    }

    /// Adds the next entry; files that are full now go to `out`.
    pub fn push(&mut self, layout: &Layout, entry: &Stored, out: &mut Vec<Pending>) {
        let position = self.size();
        self.bundle.push(entry.hash);
        self.pack.push(OwnedRecord { position, prev: entry.prev, bytes: entry.bytes.to_vec() });
        let levels = &mut self.levels;
        let mut finished = Vec::new();
        self.frontier.push_observed(leaf_hash(&entry.hash.0), |level, index, hash| {
            if level % TILE_HEIGHT != 0 {
                return;
            }
            let level = level / TILE_HEIGHT;
            let at = level as usize;
            if levels.len() <= at {
                levels.push(Vec::new());
            }
            levels[at].push(*hash);
            if levels[at].len() == usize::from(FULL_WIDTH) {
                let id = TileId {
                    level: u8::try_from(level).unwrap_or(u8::MAX),
                    index: index / u64::from(FULL_WIDTH),
                    width: FULL_WIDTH,
                };
                finished.push((id.path(), tile::encode_tile(&std::mem::take(&mut levels[at]))));
            }
        });
        if self.pack.len() == usize::from(FULL_WIDTH) {
            let index = position / u64::from(FULL_WIDTH);
            finished.push((
                BundleId { index, width: FULL_WIDTH }.path(),
                tile::encode_bundle(&std::mem::take(&mut self.bundle)),
            ));
            finished.push((PackId { index, width: FULL_WIDTH }.path(), encode(&std::mem::take(&mut self.pack))));
        }
        for (path, bytes) in finished {
            out.push(layout.pending(&path, bytes));
            self.full.push(path);
        }
    }

    /// The unfinished files as they stand.
    pub fn partial(&self, layout: &Layout) -> Vec<Pending> {
        let size = self.size();
        let mut files = Vec::new();
        for (level, hashes) in self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let nodes = size >> (TILE_HEIGHT as usize * level);
            let id = TileId {
                level: u8::try_from(level).unwrap_or(u8::MAX),
                index: nodes / u64::from(FULL_WIDTH),
                width: width(hashes.len()),
            };
            files.push(layout.pending(&id.path(), tile::encode_tile(hashes)));
        }
        if !self.bundle.is_empty() {
            let (index, width) = (size / u64::from(FULL_WIDTH), width(self.bundle.len()));
            files.push(layout.pending(&BundleId { index, width }.path(), tile::encode_bundle(&self.bundle)));
            files.push(layout.pending(&PackId { index, width }.path(), encode(&self.pack)));
        }
        files
    }

    /// Paths of full files whose partial ones are no longer needed.
    pub fn take_full(&mut self) -> Vec<String> {
        std::mem::take(&mut self.full)
    }
}

fn encode(records: &[OwnedRecord]) -> Vec<u8> {
    pack::encode(&records.iter().map(OwnedRecord::as_record).collect::<Vec<_>>())
}

fn width(count: usize) -> u16 {
    u16::try_from(count).expect("an unfinished run holds fewer than 256")
}
