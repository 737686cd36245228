//! How large a published file can be, told from its name alone (FORMAT.md section 9.1): who finds a larger one knows without reading it that
//! it is none.

use crate::entry::MAX_ENTRY_BYTES;
use crate::note::MAX_NOTE_BYTES;
use crate::pack::PackId;
use crate::text::{MAX_SIZE, parse_decimal};
use crate::tile::{BundleId, FULL_WIDTH, TileId};

/// Position, `prev` and length before an entry in a pack, and the longest entry.
const RECORD: u64 = 44 + MAX_ENTRY_BYTES as u64;
/// All of an anchor but its list of files: a note whose characters are all escaped, a time token, and what is short.
const ANCHOR: u64 = 4 << 20;
/// What its list of files takes for each entry: three names with their hashes, of at most 120 bytes each, for 256 of them, and little above.
const LISTED: u64 = 2;

/// A full pack of the longest entries. No file of a log is larger.
pub const LARGEST: u64 = FULL_WIDTH as u64 * RECORD;

/// The most bytes that the file of this path can have. Nothing for a path that no log has.
pub fn most_bytes(path: &str) -> Option<u64> {
    if let Some(name) = path.strip_prefix("anchors/") {
        return (!name.ends_with(".new")).then(|| anchor(name));
    }
    if path == "checkpoint" {
        return Some(MAX_NOTE_BYTES as u64);
    }
    let items = |width: u16, bytes: u64| u64::from(width) * bytes;
    let tile = TileId::parse(path).map(|id| items(id.width, 32));
    let bundle = || BundleId::parse(path).map(|id| items(id.width, 34));
    let pack = || PackId::parse(path).map(|id| items(id.width, RECORD));
    tile.or_else(bundle).or_else(pack)
}

/// By the size that its name gives. What has no such name is none, and may have what one without files has.
fn anchor(name: &str) -> u64 {
    let size = name.strip_suffix(".json").and_then(|name| name.split_once('-')).map(|(_, size)| size);
    let size = size.and_then(|size| parse_decimal(size.trim_start_matches('0')));
    let size = size.filter(|size| *size <= MAX_SIZE).unwrap_or(0);
    size.saturating_mul(LISTED).saturating_add(ANCHOR).min(LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::packs_for;
    use crate::tile::{bundles_for, tiles_for};

    fn named(size: u64) -> String {
        format!("anchors/{:020}-{size:020}.json", 7)
    }

    #[test]
    fn every_kind_of_file_has_its_limit() {
        for (path, most) in [
            ("checkpoint", Some(1 << 20)),
            ("tile/0/000", Some(8192)),
            ("tile/2/x001/x234/067.p/3", Some(96)),
            ("tile/entries/000", Some(8704)),
            ("tile/entries/000.p/2", Some(68)),
            ("pack/000", Some(268_446_720)),
            ("pack/000.p/1", Some(1_048_620)),
            ("anchors/junk", Some(4 << 20)),
            ("anchors/junk.json.new", None),
            ("tile/0/0", None),
            ("policy", None),
            ("video", None),
        ] {
            assert_eq!(most_bytes(path), most, "{path}");
        }
        assert_eq!(most_bytes(&named(0)), Some(4 << 20));
        assert_eq!(most_bytes(&named(70_000)), Some((4 << 20) + 140_000));
        assert_eq!(most_bytes(&named(u64::MAX)), Some(4 << 20), "no log has such a size");
        assert_eq!(most_bytes(&named(1 << 53)), Some(LARGEST));
    }

    #[test]
    fn the_first_anchor_of_a_log_may_list_all_its_files() {
        for size in [1_u64, 255, 256, 70_000, 1_000_000, (1 << 20) + 255] {
            let tiles = tiles_for(size).into_iter().map(|id| id.path());
            let bundles = bundles_for(size).into_iter().map(|id| id.path());
            let packs = packs_for(size).into_iter().map(|id| id.path());
            // Two pairs of quotes, a colon, a comma, and the hash.
            let listed: u64 = tiles.chain(bundles).chain(packs).map(|path| path.len() as u64 + 70).sum();
            // Partial ones are few: one of each kind, and of each level.
            assert!(listed <= LISTED * size + 4096, "{size}: {listed}");
        }
    }
}
