//! Names, bytes and places of tiles, against the tree itself.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BundleId, TileError, TileId, TiledError, TiledHashes, bundles_between, bundles_for, decode_bundle, decode_tile,
    encode_bundle, encode_tile, place_of, tiles_between, tiles_for,
};
use crate::Hash;
use crate::tree::tests::Memory;
use crate::tree::{Frontier, HashReader, inclusion_proof, root_from, verify_inclusion};

fn tile(level: u8, index: u64, width: u16) -> TileId {
    TileId { level, index, width }
}

/// The hashes of every tile of a tree, from the definition.
fn tiles_of(leaves: &Memory, size: u64) -> BTreeMap<TileId, Vec<Hash>> {
    tiles_for(size)
        .into_iter()
        .map(|id| {
            let level = u32::from(id.level) * 8;
            let first = id.index * 256;
            let nodes = first..first + u64::from(id.width);
            (id, nodes.map(|index| leaves.node(level, index).unwrap()).collect())
        })
        .collect()
}

#[test]
fn a_tile_path_is_the_one_of_the_specification() {
    let cases = [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(0, 999, 256), "tile/0/999"),
        (tile(0, 1000, 256), "tile/0/x001/000"),
        (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(1, 17, 112), "tile/1/017.p/112"),
        (tile(63, 1_234_067, 1), "tile/63/x001/x234/067.p/1"),
        (tile(0, u64::MAX, 255), "tile/0/x018/x446/x744/x073/x709/x551/615.p/255"),
    ];
    for (id, path) in cases {
        assert_eq!(id.path(), path);
        assert_eq!(TileId::parse(path), Some(id));
    }
    let bundle = BundleId { index: 1_234_067, width: 9 };
    assert_eq!(bundle.path(), "tile/entries/x001/x234/067.p/9");
    assert_eq!(BundleId::parse(&bundle.path()), Some(bundle));
    assert_eq!(bundle.first_position(), 315_921_152);
}

#[test]
fn a_second_spelling_of_a_path_is_refused() {
    for path in [
        "",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/001",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/X001/067",
        "tile/0/000/",
        "tile/0//000",
        "/tile/0/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/+01",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1.p/1",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/000",
        "tiles/0/000",
    ] {
        assert_eq!(TileId::parse(path), None, "{path}");
    }
    for path in ["tile/entries/0", "tile/entries/000.p/256", "tile/0/000", "tile/entries/x000/000"] {
        assert_eq!(BundleId::parse(path), None, "{path}");
    }
}

#[test]
fn the_tiles_of_a_size_are_those_of_the_specification() {
    assert!(tiles_for(0).is_empty());
    assert_eq!(tiles_for(1), [tile(0, 0, 1)]);
    assert_eq!(tiles_for(256), [tile(0, 0, 256), tile(1, 0, 1)]);
    let tiles = tiles_for(70_000);
    let count = |level: u8, width: u16| tiles.iter().filter(|id| id.level == level && id.width == width).count();
    assert_eq!((count(0, 256), count(0, 112)), (273, 1));
    assert_eq!((count(1, 256), count(1, 17), count(2, 1)), (1, 1, 1));
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(bundles_for(70_000).len(), 274);
    assert_eq!(bundles_for(70_000).last(), Some(&BundleId { index: 273, width: 112 }));
}

#[test]
fn growth_lists_exactly_the_tiles_that_are_new_or_wider() {
    for (old, new) in [(0, 0), (0, 5), (5, 5), (5, 6), (255, 256), (256, 256), (256, 257), (300, 70_000)] {
        let before: BTreeSet<TileId> = tiles_for(old).into_iter().collect();
        let expected: Vec<TileId> = tiles_for(new).into_iter().filter(|id| !before.contains(id)).collect();
        assert_eq!(tiles_between(old, new), expected, "{old} to {new}");
        let before: BTreeSet<BundleId> = bundles_for(old).into_iter().collect();
        let expected: Vec<BundleId> = bundles_for(new).into_iter().filter(|id| !before.contains(id)).collect();
        assert_eq!(bundles_between(old, new), expected, "{old} to {new}");
    }
}

#[test]
fn bytes_of_tiles_and_bundles_come_back() {
    let hashes = Memory::of(256).0;
    for width in [1u16, 255, 256] {
        let part = &hashes[..usize::from(width)];
        assert_eq!(decode_tile(width, &encode_tile(part)).unwrap(), part);
        assert_eq!(decode_bundle(&encode_bundle(part)).unwrap(), part);
    }
    assert_eq!(encode_tile(&hashes).len(), 8192);
    assert_eq!(encode_bundle(&hashes[..1])[..2], [0, 32]);
}

#[test]
fn damaged_tiles_and_bundles_are_refused() {
    let hashes = Memory::of(257).0;
    let bytes = encode_tile(&hashes[..3]);
    assert!(decode_tile(2, &bytes).is_err());
    assert!(decode_tile(3, &bytes[..95]).is_err());
    assert_eq!(decode_bundle(&[]), Err(TileError::BundleWidth));
    assert_eq!(decode_bundle(&encode_bundle(&hashes)), Err(TileError::BundleWidth));
    let bytes = encode_bundle(&hashes[..2]);
    assert_eq!(decode_bundle(&bytes[..67]), Err(TileError::Record { record: 1 }));
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decode_bundle(&longer), Err(TileError::Record { record: 2 }));
    let mut other_length = bytes;
    other_length[1] = 31;
    assert_eq!(decode_bundle(&other_length), Err(TileError::Record { record: 0 }));
}

#[test]
fn a_node_has_its_place_in_the_tile_below_it() {
    let place = place_of(0, 69_999, 70_000).unwrap();
    assert_eq!((place.tile, place.offset, place.count), (tile(0, 273, 112), 111, 1));
    let place = place_of(7, 1, 70_000).unwrap();
    assert_eq!((place.tile, place.offset, place.count), (tile(0, 0, 256), 128, 128));
    let place = place_of(8, 272, 70_000).unwrap();
    assert_eq!((place.tile, place.offset, place.count), (tile(1, 1, 17), 16, 1));
    let place = place_of(16, 0, 70_000).unwrap();
    assert_eq!((place.tile, place.offset, place.count), (tile(2, 0, 1), 0, 1));
    assert_eq!(place_of(0, 70_000, 70_000), None);
    assert_eq!(place_of(8, 273, 70_000), None);
    assert_eq!(place_of(17, 0, 70_000), None);
    assert_eq!(place_of(64, 0, u64::MAX), None);
    assert_eq!(place_of(7, u64::MAX, u64::MAX), None);
}

#[test]
fn proofs_from_tiles_verify_against_the_frontier() {
    let leaves = Memory::of(1000);
    let mut frontier = Frontier::new();
    for leaf in &leaves.0 {
        frontier.push(*leaf);
    }
    let tiles = tiles_of(&leaves, 1000);
    let reader = TiledHashes::new(1000, |id: &TileId| tiles.get(id).ok_or("missing"));
    let root = root_from(&reader, 1000).unwrap();
    assert_eq!(root, frontier.root());
    for index in [0, 1, 255, 256, 511, 767, 768, 999] {
        let proof = inclusion_proof(&reader, 1000, index).unwrap();
        let leaf = leaves.0[usize::try_from(index).unwrap()];
        assert!(verify_inclusion(&leaf, index, 1000, &proof, &root), "leaf {index}");
    }
}

#[test]
fn a_missing_or_short_tile_is_named() {
    let missing = TiledHashes::new(10, |_: &TileId| Err::<Vec<Hash>, &str>("not there"));
    let error = root_from(&missing, 10).unwrap_err();
    assert_eq!(error.to_string(), "tile tile/0/000.p/10: not there");
    let short = TiledHashes::new(10, |_: &TileId| Ok::<Vec<Hash>, &str>(Vec::new()));
    assert!(matches!(root_from(&short, 10), Err(TiledError::Short { .. })));
    assert!(matches!(short.node(0, 10), Err(TiledError::Outside { .. })));
}
