//! Tiles and entry bundles of C2SP tlog-tiles: names, bytes, and where a node of the tree stands in them.
//!
//! A tile at level `L` holds up to 256 consecutive nodes of tree level `8 * L`. A bundle holds the leaf data of up to
//! 256 consecutive positions.

use crate::Hash;
use crate::text::{MAX_SIZE, parse_decimal};
use crate::tree::{HashReader, node_hash};

/// Hashes in a full tile, records in a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// Tree levels that one tile spans.
pub const TILE_HEIGHT: u32 = 8;

/// Bundles, and packs, of the largest log.
pub(crate) const MAX_RUNS: u64 = MAX_SIZE >> TILE_HEIGHT;

/// The highest tile level that a path may name.
pub const MAX_TILE_LEVEL: u8 = 63;

/// Names one tile: `tile/<L>/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    pub level: u8,
    pub index: u64,
    /// Hashes in it, 1 to 256; below 256 the tile is partial.
    pub width: u16,
}

/// Names one entry bundle: `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    pub index: u64,
    /// Records in it, 1 to 256; below 256 the bundle is partial.
    pub width: u16,
}

/// Why bytes are not a tile or a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    #[error("{length} bytes are not a tile of width {width}, 32 bytes a hash")]
    TileLength { width: u16, length: usize },
    #[error("record {record} of the bundle is not 32 bytes of leaf data after its length")]
    Record { record: usize },
    #[error("a bundle holds 1 to 256 records")]
    BundleWidth,
}

impl TileId {
    /// The path below the log's prefix.
    pub fn path(&self) -> String {
        numbered_path(&format!("tile/{}", self.level), self.index, self.width)
    }

    /// Reads exactly what [`TileId::path`] writes.
    pub fn parse(path: &str) -> Option<TileId> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = u8::try_from(parse_decimal(level)?).ok()?;
        let (index, width) = parse_numbered(rest)?;
        let id = TileId { level, index, width };
        (level <= MAX_TILE_LEVEL && id.path() == path).then_some(id)
    }
}

impl BundleId {
    /// The path below the log's prefix.
    pub fn path(&self) -> String {
        numbered_path("tile/entries", self.index, self.width)
    }

    /// Reads exactly what [`BundleId::path`] writes.
    pub fn parse(path: &str) -> Option<BundleId> {
        let (index, width) = parse_numbered(path.strip_prefix("tile/entries/")?)?;
        let id = BundleId { index, width };
        (index < MAX_RUNS && id.path() == path).then_some(id)
    }

    /// The first position it holds.
    pub fn first_position(&self) -> u64 {
        self.index * u64::from(FULL_WIDTH)
    }
}

/// All tiles of the tree of `size` leaves, level by level.
pub fn tiles_for(size: u64) -> Vec<TileId> {
    tiles_between(0, size)
}

/// The tiles of the tree of `new` leaves that the tree of `old` leaves does not have: new ones and wider ones.
pub fn tiles_between(old: u64, new: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    let (mut old_nodes, mut new_nodes, mut level) = (old, new, 0);
    while new_nodes > 0 {
        tiles.extend(ranges_between(old_nodes, new_nodes).map(|(index, width)| TileId { level, index, width }));
        old_nodes >>= TILE_HEIGHT;
        new_nodes >>= TILE_HEIGHT;
        level += 1;
    }
    tiles
}

/// All bundles of a log of `size` entries.
pub fn bundles_for(size: u64) -> Vec<BundleId> {
    bundles_between(0, size)
}

/// The bundles of a log of `new` entries that a log of `old` entries does not have: new ones and wider ones.
pub fn bundles_between(old: u64, new: u64) -> Vec<BundleId> {
    ranges_between(old, new).map(|(index, width)| BundleId { index, width }).collect()
}

/// `(index, width)` of each aligned run of 256 that grows when a sequence grows from `old` to `new`.
pub(crate) fn ranges_between(old: u64, new: u64) -> impl Iterator<Item = (u64, u16)> {
    let full = u64::from(FULL_WIDTH);
    // An unchanged sequence has no run that grows, even when its last run is partial.
    let first = if old >= new { new.div_ceil(full) } else { old / full };
    (first..new.div_ceil(full)).map(move |index| (index, width_at(index, new)))
}

/// The width of run `index` in a sequence of `length`, which reaches into it.
fn width_at(index: u64, length: u64) -> u16 {
    let rest = length - index * u64::from(FULL_WIDTH);
    u16::try_from(rest).map_or(FULL_WIDTH, |rest| rest.min(FULL_WIDTH))
}

/// The bytes of a tile: its hashes one after the other.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile of `width`.
pub fn decode_tile(width: u16, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    if bytes.len() != usize::from(width) * 32 {
        return Err(TileError::TileLength { width, length: bytes.len() });
    }
    Ok(bytes.chunks_exact(32).filter_map(Hash::from_slice).collect())
}

/// The bytes of a bundle: before each leaf data its length, 32, as big-endian `u16`.
pub fn encode_bundle(leaf_data: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(leaf_data.len() * 34);
    for data in leaf_data {
        bytes.extend_from_slice(&[0, 32]);
        bytes.extend_from_slice(&data.0);
    }
    bytes
}

/// The leaf data of a bundle of 1 to 256 records; ours are 32 bytes each, and anything else is refused.
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    if bytes.is_empty() || bytes.len() > usize::from(FULL_WIDTH) * 34 {
        return Err(TileError::BundleWidth);
    }
    bytes
        .chunks(34)
        .enumerate()
        .map(|(record, chunk)| {
            chunk.strip_prefix(&[0, 32]).and_then(Hash::from_slice).ok_or(TileError::Record { record })
        })
        .collect()
}

/// Where a node stands: `count` hashes of `tile` from `offset` on join to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePlace {
    pub tile: TileId,
    pub offset: usize,
    pub count: usize,
}

/// The place of node `(level, index)` in the tiles of the tree of `size` leaves; `None` if the node does not lie
/// wholly within that tree.
pub fn place_of(level: u32, index: u64, size: u64) -> Option<NodePlace> {
    let tile_level = u8::try_from(level / TILE_HEIGHT).ok()?;
    let inner = level % TILE_HEIGHT;
    let nodes = size.checked_shr(level - inner)?;
    let first = index.checked_mul(1 << inner)?;
    if first.checked_add(1 << inner)? > nodes {
        return None;
    }
    let full = u64::from(FULL_WIDTH);
    let tile_index = first / full;
    let tile = TileId { level: tile_level, index: tile_index, width: width_at(tile_index, nodes) };
    Some(NodePlace { tile, offset: usize::try_from(first % full).ok()?, count: 1 << inner })
}

impl NodePlace {
    /// The node, from the hashes of its tile; `None` if there are too few of them.
    pub fn node_in(&self, hashes: &[Hash]) -> Option<Hash> {
        let hashes = hashes.get(self.offset..self.offset.checked_add(self.count)?)?;
        Some(join(hashes))
    }
}

/// The root over a power-of-two number of sibling hashes.
fn join(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&join(left), &join(right))
        }
    }
}

/// Why a node cannot be had from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TiledError<E> {
    #[error("tile {path}: {error}")]
    Fetch { path: String, error: E },
    #[error("tile {path} holds too few hashes")]
    Short { path: String },
    #[error("node {index} of level {level} does not lie within the tree")]
    Outside { level: u32, index: u64 },
}

/// Answers for the nodes of the tree of `size` leaves from its tiles. `fetch` gives the decoded hashes of a tile and
/// may give them from a cache; it may give more than the width asked for (a full tile in place of a partial one).
pub struct TiledHashes<F> {
    size: u64,
    fetch: F,
}

impl<F> TiledHashes<F> {
    /// Reads the tree of `size` leaves through `fetch`.
    pub fn new(size: u64, fetch: F) -> TiledHashes<F> {
        TiledHashes { size, fetch }
    }
}

impl<F, T, E> HashReader for TiledHashes<F>
where
    F: Fn(&TileId) -> Result<T, E>,
    T: AsRef<[Hash]>,
{
    type Error = TiledError<E>;

    fn node(&self, level: u32, index: u64) -> Result<Hash, TiledError<E>> {
        let place = place_of(level, index, self.size).ok_or(TiledError::Outside { level, index })?;
        let hashes = (self.fetch)(&place.tile).map_err(|error| TiledError::Fetch { path: place.tile.path(), error })?;
        place.node_in(hashes.as_ref()).ok_or_else(|| TiledError::Short { path: place.tile.path() })
    }
}

/// `<prefix>/<N in groups of three digits, all but the last with an x>[.p/<width>]`.
pub(crate) fn numbered_path(prefix: &str, index: u64, width: u16) -> String {
    let digits = index.to_string();
    let length = digits.len().next_multiple_of(3);
    let padded = format!("{digits:0>length$}");
    let mut path = prefix.to_owned();
    for start in (0..length).step_by(3) {
        path.push_str(if start + 3 < length { "/x" } else { "/" });
        path.push_str(&padded[start..start + 3]);
    }
    if width < FULL_WIDTH {
        path.push_str(&format!(".p/{width}"));
    }
    path
}

/// Reads index and width; the caller writes them again and compares, which refuses every second spelling.
pub(crate) fn parse_numbered(rest: &str) -> Option<(u64, u16)> {
    let (groups, width) = match rest.split_once(".p/") {
        None => (rest, FULL_WIDTH),
        Some((groups, width)) => {
            let width = u16::try_from(parse_decimal(width)?).ok()?;
            if !(1..FULL_WIDTH).contains(&width) {
                return None;
            }
            (groups, width)
        }
    };
    let mut index: u64 = 0;
    for group in groups.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group).as_bytes();
        if digits.len() != 3 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        index = index.checked_mul(1000)?.checked_add(value)?;
    }
    Some((index, width))
}

#[cfg(test)]
mod tests;
