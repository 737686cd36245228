//! Proofs a second: that an entry is in the log, from published tiles, and where a stream ends, from the tree of heads in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anchor::{CachedTiles, Layout, Prover};
use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::heads::{Head, Heads, key};
use chain::note::SigningKey;
use chain::tile::{encode_tile, tiles_for};
use chain::tree::{Frontier, leaf_hash, node_hash};

use crate::{floor, grown};

const ORIGIN: &str = "guildhall.example/bench";
/// Entries, and streams.
const SIZE: u64 = 1_000_000;
const MOVED: u64 = 10_000;
const LANES: u64 = 2;
const SECONDS: u64 = 3;

pub fn proofs() {
    println!("\nproofs at {SIZE} entries and {SIZE} streams; load {}", floor::load());
    of_heads();
    of_entries();
}

fn of_heads() {
    let resident = || grown::resident(std::process::id(), "VmRSS");
    let before = resident();
    let keys: Vec<Hash> = (0..SIZE).map(|number| key(&format!("try_{number:026}"))).collect();
    let with_keys = resident();
    let head = |version: u64| Head { version, hash: sha256(&[&version.to_be_bytes()]) };
    let started = Instant::now();
    let mut heads = Heads::new();
    keys.iter().for_each(|key| heads.set(*key, head(0)));
    let set = started.elapsed();
    let root = heads.root();
    println!("{:>24} {set:.2?}, then the root {:.2?}: {root}", "tree of heads", started.elapsed() - set);
    println!("{:>24} {before} before, {with_keys} with the keys alone, {} with the tree", "memory", resident());
    let started = Instant::now();
    for number in 0..MOVED {
        heads.set(keys[usize::try_from(number * 97).unwrap()], head(number + 1));
    }
    heads.root();
    println!("{:>24} {:.2?}", "root after 10,000 moved", started.elapsed());
    let (started, mut made) = (Instant::now(), 0_u64);
    while started.elapsed() < Duration::from_secs(SECONDS) {
        for key in keys.iter().skip(usize::try_from(made % SIZE).unwrap()).step_by(1013).take(500) {
            heads.prove(key);
            made += 1;
        }
    }
    per_second("proofs of heads", made, started.elapsed());
}

fn of_entries() {
    let dir = tempfile::tempdir().unwrap();
    publish(dir.path());
    let layout = Layout::within(dir.path());
    let (prover, tiles) = (Prover::new(layout.clone()), CachedTiles::new(layout));
    let whole = |position: u64| drop(prover.prove(position).unwrap().unwrap());
    lanes("whole .tlog-proofs", &whole);
    lanes("paths, uncached", &|position| drop(prover.inclusion(position, SIZE).unwrap()));
    lanes("paths, cached tiles", &|position| drop(tiles.inclusion(position, SIZE).unwrap()));
}

/// Proves positions all over the log, in two threads.
fn lanes(what: &str, prove: &(impl Fn(u64) + Sync)) {
    let started = Instant::now();
    let lane = |lane: u64| {
        let mut made = 0;
        while started.elapsed() < Duration::from_secs(SECONDS) {
            prove((made * LANES + lane) * 7919 % SIZE);
            made += 1;
        }
        made
    };
    let made: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        all.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    per_second(what, made, started.elapsed());
}

/// The tiles and the checkpoint of a log of so many entries, without the entries.
fn publish(dir: &Path) {
    let layout = Layout::within(dir);
    let mut frontier = Frontier::new();
    let mut levels: Vec<Vec<Hash>> =
        vec![(0..SIZE).map(|number| leaf_hash(&sha256(&[&number.to_be_bytes()]).0)).collect()];
    levels[0].iter().for_each(|leaf| frontier.push(*leaf));
    for tile in tiles_for(SIZE) {
        while levels.len() <= usize::from(tile.level) {
            let mut nodes = levels.last().unwrap().clone();
            for _ in 0..8 {
                nodes = nodes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            }
            levels.push(nodes);
        }
        let first = usize::try_from(tile.index * 256).unwrap();
        let hashes = &levels[usize::from(tile.level)][first..first + usize::from(tile.width)];
        let path = layout.place(&tile.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, encode_tile(hashes)).unwrap();
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: SIZE, root: frontier.root() };
    let note = checkpoint::sign(&checkpoint, &SigningKey::from_seed(ORIGIN, [7; 32]));
    std::fs::write(layout.place("checkpoint"), note).unwrap();
}

fn per_second(what: &str, made: u64, took: Duration) {
    println!("{what:>24} {:>10.0}/s", made as f64 / took.as_secs_f64());
}
