//! The example log of FORMAT.md, from the bytes of two entries to a proof: the document and the code say the same.

#![allow(clippy::unwrap_used)]

use crate::Hash;
use crate::checkpoint::{Checkpoint, sign};
use crate::entry::entry_hash;
use crate::hash::sha256;
use crate::note::{CosigningKey, SigningKey};
use crate::pack::{PackId, Record, decode, encode};
use crate::policy::Policy;
use crate::proof::TlogProof;
use crate::tile::{encode_bundle, encode_tile};
use crate::tree::{Frontier, leaf_hash};

const ORIGIN: &str = "guildhall.example/city";
const FULL: &[u8] = include_bytes!("../vectors/entry/full.json");
const SMALLEST: &[u8] = include_bytes!("../vectors/entry/smallest.json");
const ROOT: &str = "eff833f30aec8486002f93810ef0f22f294ff75f2a0282eeacc845ac80ea646c";
const NOTE: &str = "guildhall.example/city\n2\n7/gz8wrshIYAL5OBDvDyLylP918qAoLurMhFrIDqZGw=\n\n\
\u{2014} guildhall.example/city tg/7S3IgWEz1ttgJZ4c2b3g6ZQpq+m+IpU44uIke/bzZ4E6RpQBHK6180n9Rew9Lh2k7pRBgPQy27XOY1u1Mi3ZbEgk=\n\
\u{2014} witness.example/w1 JLXZ/gAAAABqSMuQyqU63M/dYuDMr6uI7b1DcJJDnPLYrNb5+s1j58JIs2EMGO4EV2nl66kk3dzL4JCt8iGTvKinGcf+CWX/GOxbDg==\n";

fn entry_hashes() -> [Hash; 2] {
    [entry_hash(ORIGIN, &Hash::ZERO, FULL), entry_hash(ORIGIN, &Hash::ZERO, SMALLEST)]
}

#[test]
fn the_files_of_the_example_log_are_these_bytes() {
    let records = [
        Record { position: 0, prev: Hash::ZERO, bytes: FULL },
        Record { position: 1, prev: Hash::ZERO, bytes: SMALLEST },
    ];
    let pack = encode(&records);
    assert_eq!(pack.len(), 992);
    assert_eq!(sha256(&[&pack]).to_hex(), "bbc21d99daeb1cb35ff7171c001183ab5f5c42bb272b231631149cdc2f2632b8");
    assert_eq!(decode(&PackId { index: 0, width: 2 }, &pack).unwrap(), records);
    assert_eq!(records.map(|record| record.entry_hash(ORIGIN)), entry_hashes());
    let leaves = entry_hashes().map(|data| leaf_hash(data.as_bytes()));
    let tile = encode_tile(&leaves);
    assert_eq!(sha256(&[&tile]).to_hex(), "6422a281d8835ad7aad4a249e747fcc94909d67ebbe44143f74b361598ba9258");
    let bundle = encode_bundle(&entry_hashes());
    assert_eq!(bundle.len(), 68);
    assert_eq!(bundle[34..36], [0, 32]);
}

#[test]
fn the_example_checkpoint_and_proof_hold() {
    let leaves = entry_hashes().map(|data| leaf_hash(data.as_bytes()));
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    assert_eq!(frontier.root().to_hex(), ROOT);

    let log = SigningKey::from_seed(ORIGIN, [7; 32]);
    let witness = CosigningKey::from_seed("witness.example/w1", [9; 32]);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 2, root: frontier.root() };
    let note = sign(&checkpoint, &log) + &witness.cosign(&checkpoint.to_text(), 1_783_155_600);
    assert_eq!(note, NOTE);

    let text = format!("c2sp.org/tlog-proof@v1\nindex 1\ndw1uZ4sy5qCYNutzq3guif5G/4r7dIDXTjuLAsSNg3k=\n\n{NOTE}");
    let policy = format!("log {}\nwitness w1 {}\nquorum w1\n", log.vkey(), witness.vkey());
    let examined = TlogProof::parse(&text).unwrap().examine(&leaves[1], &Policy::parse(&policy).unwrap()).unwrap();
    assert_eq!(examined.checkpoint, checkpoint);
    assert!(examined.witnessed);
}
