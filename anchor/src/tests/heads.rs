//! Heads: grown in steps or at once they are the same; restarts, torn files and lost records change no root; a stream leaves alone.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use chain::Hash;
use chain::heads::{Commitment, Head, Heads, key as key_of};
use eventlog::{Failure, Log, Recorder};
use serde_json::{Value, json};

use super::{Pen, held, published, service};
use crate::heads::StreamHeads;
use crate::heads::state::{Saved, State};
use crate::{AnchorError, Config, Directory, Layout, Service};

const STREAMS: [&str; 4] = ["city", "guild", "treasury", "refusals"];

/// The heads at this size, from the log alone.
async fn heads_at(log: &Log, size: u64) -> (Heads, HashMap<String, Head>) {
    let mut last = HashMap::new();
    for entry in log.read(0, usize::try_from(size).unwrap()).await.unwrap() {
        last.insert(entry.stream, Head { version: entry.version, hash: entry.hash });
    }
    let mut heads = Heads::new();
    last.iter().for_each(|(stream, head)| heads.set(key_of(stream), *head));
    (heads, last)
}

/// What the log commits to: position and commitment.
async fn commitments(log: &Log) -> Vec<(u64, Commitment)> {
    let entries = log.read_stream("log", 0, 1000).await.unwrap();
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let all = entries.iter().map(|entry| (entry.position, read(&entry.bytes)));
    all.filter(|(_, entry)| entry["type"] == "log.heads_committed.v1")
        .map(|(position, entry)| (position, serde_json::from_value(entry["data"].clone()).unwrap()))
        .collect()
}

/// Every commitment is to what the log says the heads were, none is of a smaller size than the one before.
async fn all_are_right(log: &Log) -> usize {
    let all = commitments(log).await;
    let mut before = 0;
    for (position, commitment) in &all {
        assert!(commitment.fits(*position) && commitment.as_of >= before, "{commitment:?} at {position}");
        assert_eq!(heads_at(log, commitment.as_of).await.0.root(), commitment.root);
        before = commitment.as_of;
    }
    all.len()
}

fn kept(dir: &Path) -> StreamHeads {
    StreamHeads::open(dir.join("heads"), Layout::within(dir), super::ORIGIN).unwrap()
}

#[tokio::test]
async fn heads_are_committed_to_before_each_anchor_and_an_idle_city_appends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    for (round, stream) in STREAMS.iter().take(3).enumerate() {
        // A restart before each.
        let service = service(dir.path(), &pen).await;
        pen.append(stream, "x.y.v1", &[json!({"n": 1}), json!({"n": 2})]).await;
        pen.append("city", "x.y.v1", &[json!({"round": round})]).await;
        let anchored = service.anchor_now().await.unwrap();
        let (position, commitment) = *commitments(&pen.log).await.last().unwrap();
        assert_eq!(all_are_right(&pen.log).await, round + 1);
        assert!(anchored.size > position, "the anchor's checkpoint covers it");
        assert_eq!(commitment.as_of, position);
        let before = pen.log.head().await.unwrap().size;
        service.anchor_now().await.unwrap();
        assert_eq!(pen.log.head().await.unwrap().size, before + 1, "only that it was anchored");
    }
}

#[tokio::test]
async fn every_stream_is_proved_as_it_was_committed_to_and_others_are_proved_absent() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    for stream in STREAMS {
        pen.append(stream, "x.y.v1", &[json!({"n": 1}), json!({"n": 2})]).await;
    }
    service.anchor_now().await.unwrap();
    // Later than the commitment: not in the proofs.
    pen.append("city", "x.y.v1", &[json!({})]).await;
    service.publish(true).await.unwrap();
    let mut heads = kept(dir.path());
    heads.read_to(published(dir.path()).size).unwrap();
    for stream in STREAMS.into_iter().chain(["nobody"]) {
        let (on_record, proof) = heads.prove(stream).unwrap();
        let head = proof.verify(&key_of(stream), &on_record.commitment.root).unwrap();
        let (_, last) = heads_at(&pen.log, on_record.commitment.as_of).await;
        assert_eq!(head, last.get(stream).copied(), "{stream}");
    }
}

/// A state of a snapshot and a journal of three commits; answers the published size and the root of everything.
async fn grown(dir: &Path) -> (u64, Hash) {
    let pen = Pen::open(dir).await;
    let service = service(dir, &pen).await;
    for round in 0..4_u64 {
        for stream in &STREAMS[..2] {
            pen.append(stream, "x.y.v1", &[json!({"round": round})]).await;
        }
        service.anchor_now().await.unwrap();
    }
    pen.append("treasury", "x.y.v1", &[json!({"last": true})]).await;
    service.publish(true).await.unwrap();
    let size = published(dir).size;
    (size, heads_at(&pen.log, size).await.0.root())
}

#[tokio::test]
async fn files_torn_at_any_byte_or_with_any_byte_changed_give_the_same_root() {
    let dir = tempfile::tempdir().unwrap();
    let (size, root) = grown(dir.path()).await;
    let (snapshot, journal) = (dir.path().join("heads/snapshot"), dir.path().join("heads/journal"));
    let (whole, changes) = (fs::read(&snapshot).unwrap(), fs::read(&journal).unwrap());
    assert!(changes.len() > 3 * 112, "the journal has several blocks: {} bytes", changes.len());
    let again = |what: &str| {
        let mut heads = kept(dir.path());
        heads.read_to(size).unwrap();
        assert_eq!(heads.commit().unwrap(), Commitment { as_of: size, root }, "{what}");
        // And what this wrote over the damage is whole.
        let (_, mut tree, saved) = State::load(dir.path().join("heads"), super::ORIGIN).unwrap();
        assert_eq!((tree.root(), saved.as_of), (root, size), "{what}");
    };
    for length in 0..=changes.len() {
        fs::write(&snapshot, &whole).unwrap();
        fs::write(&journal, &changes[..length]).unwrap();
        again(&format!("a journal of {length} bytes"));
    }
    for place in (0..changes.len()).step_by(7) {
        let mut bad = changes.clone();
        bad[place] ^= 1;
        fs::write(&snapshot, &whole).unwrap();
        fs::write(&journal, &bad).unwrap();
        again(&format!("byte {place} of the journal changed"));
    }
    for place in (0..whole.len()).step_by(7) {
        let mut bad = whole.clone();
        bad[place] ^= 1;
        fs::write(&snapshot, if place % 2 == 0 { &bad[..] } else { &whole[..place] }).unwrap();
        fs::write(&journal, &changes).unwrap();
        again(&format!("the snapshot damaged at byte {place}"));
    }
}

#[tokio::test]
async fn a_journal_of_the_snapshot_before_is_not_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let (size, root) = grown(dir.path()).await;
    let folder = dir.path().join("heads");
    let old = fs::read(folder.join("journal")).unwrap();
    let (mut state, mut tree, _) = State::load(folder.clone(), super::ORIGIN).unwrap();
    // A new snapshot, of other heads; then a crash before the old journal is emptied.
    tree.set(key_of("city"), Head { version: 77, hash: Hash([7; 32]) });
    let saved = Saved { as_of: 5, tip: Hash([9; 32]), root: tree.root() };
    state.forget();
    state.save(&saved, &[], &tree).unwrap();
    fs::write(folder.join("journal"), old).unwrap();
    let (_, mut loaded, found) = State::load(folder, super::ORIGIN).unwrap();
    assert_eq!((loaded.root(), found), (tree.root(), saved));
    // Its tip is no entry of this log: it is all read again.
    let mut heads = kept(dir.path());
    heads.read_to(size).unwrap();
    assert_eq!(heads.commit().unwrap(), Commitment { as_of: size, root });
}

#[test]
fn a_journal_as_long_as_its_snapshot_becomes_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, mut tree, _) = State::load(dir.path().to_owned(), super::ORIGIN).unwrap();
    let mut lengths = Vec::new();
    for round in 1..=4_u64 {
        let changed: Vec<(Hash, Head)> =
            (0..6000).map(|n| (key_of(&format!("s{n}")), Head { version: round, hash: Hash::ZERO })).collect();
        changed.iter().for_each(|(key, head)| tree.set(*key, *head));
        let saved = Saved { as_of: round, tip: Hash::ZERO, root: tree.root() };
        state.save(&saved, &changed, &tree).unwrap();
        let length = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        lengths.push((length("snapshot"), length("journal")));
        let (again, mut loaded, found) = State::load(dir.path().to_owned(), super::ORIGIN).unwrap();
        assert_eq!((loaded.root(), found), (tree.root(), saved));
        state = again;
    }
    let block = 80 + 72 * 6000 + 32;
    assert_eq!(lengths, [(block, 0), (block, block), (block, 2 * block), (block, 0)]);
}

/// Fails to record heads so many times.
struct Forgetful(Arc<Pen>, AtomicI64);

#[async_trait]
impl Recorder for Forgetful {
    async fn record(&self, kind: &str, data: Value) -> Result<u64, Failure> {
        if kind == "log.heads_committed.v1" && self.1.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(Failure::Unavailable("the database is gone".to_owned()));
        }
        self.0.record(kind, data).await
    }
}

#[tokio::test]
async fn what_was_saved_and_not_said_is_said_the_next_time_and_anchors_go_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.append("city", "x.y.v1", &[json!({})]).await;
    let recorder = Arc::new(Forgetful(Arc::clone(&pen), AtomicI64::new(2)));
    for (commits, words) in [(0, true), (0, true), (1, false)] {
        // Each time a new process, as after a crash between the two.
        let store = Arc::new(Directory::new(dir.path().join("store")));
        let service =
            Service::open(Config::new(dir.path()), pen.log.clone(), held(&pen.log).await, store, recorder.clone())
                .await
                .unwrap();
        service.startup_check().await.unwrap();
        service.anchor_now().await.unwrap();
        assert_eq!(all_are_right(&pen.log).await, commits);
        let trouble = service.status().await.unwrap().trouble;
        assert_eq!(trouble.is_some_and(|trouble| trouble.contains("committing to heads")), words);
    }
}

#[tokio::test]
async fn a_commitment_of_the_log_to_another_root_stops_further_ones_until_the_files_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.append("city", "x.y.v1", &[json!({})]).await;
    service.anchor_now().await.unwrap();
    let (_, good) = commitments(&pen.log).await[0];
    pen.append("log", "log.heads_committed.v1", &[json!({"as_of": good.as_of, "root": Hash([1; 32])})]).await;
    pen.append("city", "x.y.v1", &[json!({})]).await;
    service.anchor_now().await.unwrap();
    let trouble = service.status().await.unwrap().trouble.unwrap();
    assert!(trouble.contains("commits to another root"), "{trouble}");
    assert_eq!(commitments(&pen.log).await.len(), 2, "nothing more was said about heads");
    drop(service);
    fs::remove_dir_all(dir.path().join("heads")).unwrap();
    let service = super::service(dir.path(), &pen).await;
    service.anchor_now().await.unwrap();
    let (position, newest) = *commitments(&pen.log).await.last().unwrap();
    assert_eq!(newest.root, heads_at(&pen.log, newest.as_of).await.0.root());
    assert!(newest.fits(position));
}

#[tokio::test]
async fn another_place_goes_on_with_newer_commitments_whatever_files_it_has() {
    let (dir, one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = Pen::open(dir.path()).await;
    let open = async |place: &Path| {
        let store = Arc::new(Directory::new(dir.path().join("store")));
        let service =
            Service::open(Config::new(place), pen.log.clone(), held(&pen.log).await, store, pen.clone()).await.unwrap();
        service.startup_check().await.unwrap();
        service
    };
    pen.append("city", "x.y.v1", &[json!({})]).await;
    let first = open(one.path()).await;
    first.anchor_now().await.unwrap();
    drop(first);
    pen.append("guild", "x.y.v1", &[json!({})]).await;
    // Without any heads of its own, then back at the first place with old ones.
    let second = open(two.path()).await;
    assert!(matches!(second.anchor_now().await, Err(AnchorError::Elsewhere)));
    second.adopt().await.unwrap();
    drop(second);
    pen.append("city", "x.y.v1", &[json!({})]).await;
    let first = open(one.path()).await;
    first.adopt().await.unwrap();
    assert_eq!(all_are_right(&pen.log).await, 3);
    // Heads of another log of the same name in the folder: known by its last entry.
    drop(first);
    let other = tempfile::tempdir().unwrap();
    grown(other.path()).await;
    for file in ["snapshot", "journal"] {
        fs::copy(other.path().join("heads").join(file), one.path().join("heads").join(file)).unwrap();
    }
    pen.append("city", "x.y.v1", &vec![json!({}); 30]).await;
    let first = open(one.path()).await;
    first.anchor_now().await.unwrap();
    assert_eq!(all_are_right(&pen.log).await, 4);
}

#[tokio::test]
async fn a_pack_that_rotted_reaches_no_root() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.append("city", "x.y.v1", &[json!({"n": 1}), json!({"n": 2})]).await;
    service.publish(true).await.unwrap();
    let pack = dir.path().join("packs/pack/000.p/2");
    let text = String::from_utf8_lossy(&fs::read(&pack).unwrap()).into_owned();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[text.len() - text.chars().rev().collect::<String>().find("ytic").unwrap() - 1] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let error = service.commit_heads().await.unwrap_err();
    assert!(matches!(error, AnchorError::Damaged(1)), "{error}");
    assert!(commitments(&pen.log).await.is_empty());
}

#[tokio::test]
async fn a_stream_is_exported_alone_and_into_no_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.append("city", "x.y.v1", &[json!({"n": 1}), json!({"n": 2})]).await;
    pen.write(300, "a").await;
    pen.append("city", "x.y.v1", &[json!({"n": 3})]).await;
    let file = dir.path().join("city.jsonl");
    let exported = service.export_stream("city", &file).await.unwrap();
    assert_eq!((exported.entries, exported.as_of), (3, 303));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3]["position"], 302);
    assert_eq!(text.len() as u64, exported.bytes);
    let refused = service.export_stream("city", &file).await.unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    let nobody = service.export_stream("nobody", &dir.path().join("nobody.jsonl")).await.unwrap();
    assert_eq!((nobody.entries, nobody.as_of), (0, 303), "nothing new was committed to for it");
    assert_eq!(commitments(&pen.log).await.len(), 1);
    assert!(!dir.path().join("city.jsonl.new").exists());
}
