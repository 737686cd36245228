//! A published log of any size without a city behind it, with the proofs that our own code makes, for verifiers that others wrote.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::path::Path;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::key::SigningKey;
use chain::proof::TlogProof;
use chain::tile::{BundleId, TileId, bundles_for, encode_bundle, encode_tile, tiles_for};
use chain::tree::{Frontier, HashReader, consistency_proof, inclusion_proof, leaf_hash, root_from};

/// The tree over these entry hashes, with every node at hand.
pub struct Tree {
    entries: Vec<Hash>,
    nodes: HashMap<(u32, u64), Hash>,
}

impl Tree {
    pub fn of(entries: Vec<Hash>) -> Self {
        let mut nodes = HashMap::new();
        let mut frontier = Frontier::new();
        for entry in &entries {
            frontier.push_observed(leaf_hash(&entry.0), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        Self { entries, nodes }
    }

    pub fn root(&self, size: u64) -> Hash {
        root_from(self, size).unwrap_or_else(|never| match never {})
    }

    /// Writes the tiles and bundles of a log of this size.
    pub fn lay(&self, folder: &Path, size: u64) {
        let run = |index: u64, width: u16| index * 256..index * 256 + u64::from(width);
        for TileId { level, index, width } in tiles_for(size) {
            let hashes: Vec<Hash> = run(index, width).map(|at| self.nodes[&(8 * u32::from(level), at)]).collect();
            write(folder, &TileId { level, index, width }.path(), &encode_tile(&hashes));
        }
        for BundleId { index, width } in bundles_for(size) {
            let hashes: Vec<Hash> = run(index, width).map(|at| self.entries[usize::try_from(at).unwrap()]).collect();
            write(folder, &BundleId { index, width }.path(), &encode_bundle(&hashes));
        }
    }

    /// Writes these signed checkpoints by their sizes, proofs of inclusion in each, and of each being a prefix of the later ones.
    pub fn prove(&self, folder: &Path, notes: &BTreeMap<u64, String>) {
        for (size, note) in notes {
            write(folder, &format!("checkpoints/{size}"), note.as_bytes());
            for index in [0, size / 2, size - 1] {
                let hashes = inclusion_proof(self, *size, index).unwrap_or_else(|never| match never {});
                let proof = TlogProof { index, hashes, extra: None, checkpoint: note.clone() };
                write(folder, &format!("proofs/{index}-{size}.tlog-proof"), proof.format().as_bytes());
            }
            for old in notes.keys().filter(|old| *old <= size) {
                let hashes = consistency_proof(self, *old, *size).unwrap_or_else(|never| match never {});
                let lines: String = hashes.iter().map(|hash| hash.to_base64() + "\n").collect();
                let proof = format!("old {old}\n{lines}\n{note}");
                write(folder, &format!("proofs/{old}-{size}.consistency"), proof.as_bytes());
            }
        }
    }
}

impl HashReader for Tree {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        Ok(self.nodes[&(level, index)])
    }
}

/// A whole log of invented entries, published at each of these sizes; what is in the folder is described in `tests/foreign/README.md`.
pub fn lay_log(folder: &Path, key: &SigningKey, sizes: &[u64]) -> Tree {
    let most = sizes.iter().copied().max().unwrap_or(0);
    let tree = Tree::of((0..most).map(|position| chain::hash::sha256(&[&position.to_be_bytes()])).collect());
    let sign = |size: u64| {
        let checkpoint = Checkpoint { origin: key.name().to_owned(), size, root: tree.root(size) };
        (size, checkpoint::sign(&checkpoint, key))
    };
    sizes.iter().for_each(|size| tree.lay(folder, *size));
    tree.prove(folder, &sizes.iter().copied().map(sign).collect());
    write(folder, "key", key.vkey().as_bytes());
    tree
}

pub fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
