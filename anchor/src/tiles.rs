//! Tiles in memory, with every node inside them: for who proves much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chain::Hash;
use chain::tile::{TileId, place_of};
use chain::tree::{HashReader, inclusion_proof, node_hash};

use crate::AnchorError;
use crate::layout::Layout;

/// Tiles kept, 16 kB each.
const KEPT: usize = 1024;

/// The published tiles. A proof asks for many nodes of few tiles: a tile is read once, and its nodes are computed once.
#[derive(Debug)]
pub struct CachedTiles {
    layout: Layout,
    tiles: Mutex<HashMap<TileId, Arc<Nodes>>>,
}

/// The nodes of one tile: its hashes, then their parents, up to eight levels above.
type Nodes = Vec<Vec<Hash>>;

impl CachedTiles {
    pub fn new(layout: Layout) -> Self {
        Self { layout, tiles: Mutex::default() }
    }

    /// The audit path of `position` in the tree of `size` entries.
    ///
    /// # Panics
    /// If `position >= size`.
    pub fn inclusion(&self, position: u64, size: u64) -> Result<Vec<Hash>, AnchorError> {
        inclusion_proof(&Sized { tiles: self, size }, size, position)
    }

    fn nodes(&self, id: &TileId) -> Result<Arc<Nodes>, AnchorError> {
        if let Some(nodes) = self.tiles.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Arc::clone(nodes));
        }
        let mut nodes = vec![self.layout.tile(id)?];
        while let Some(below) = nodes.last().filter(|below| below.len() > 1) {
            let level = below.chunks_exact(2).filter_map(|pair| Some(node_hash(pair.first()?, pair.get(1)?))).collect();
            nodes.push(level);
        }
        let nodes = Arc::new(nodes);
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if tiles.len() >= KEPT {
            // The upper ones are few and soon back.
            tiles.clear();
        }
        tiles.insert(*id, Arc::clone(&nodes));
        Ok(nodes)
    }
}

/// The tiles as the tree of one size.
struct Sized<'a> {
    tiles: &'a CachedTiles,
    size: u64,
}

impl HashReader for Sized<'_> {
    type Error = AnchorError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, AnchorError> {
        let outside = || AnchorError::unreadable("tile/", format!("node {index} of level {level} is not in the tree"));
        let place = place_of(level, index, self.size).ok_or_else(outside)?;
        let nodes = self.tiles.nodes(&place.tile)?;
        let inner = place.count.ilog2() as usize;
        nodes.get(inner).and_then(|nodes| nodes.get(place.offset >> inner)).copied().ok_or_else(outside)
    }
}
