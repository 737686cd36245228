//! What anybody can do who may write to a store: what no key of the log signed is named, and stops nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::note::SigningKey;

use serde_json::Value;

use super::archive::read_with;
use super::places::Forgetful;
use super::shelf::Shelf;
use super::{ORIGIN, Pen, held, key, policy};
use crate::anchor_format::{self, new_files, numbers};
use crate::archive::{Archive, First, Places, Wanted};
use crate::{Anchor, AnchorError, Config, Directory, Previous, Row, Service, Store, Verdict};

async fn open(dir: &Path, pen: &Arc<Pen>, store: &Arc<dyn Store>) -> Service {
    let service =
        Service::open(Config::new(dir), pen.log.clone(), held(&pen.log).await, Arc::clone(store), pen.clone()).await;
    let service = service.unwrap();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    service
}

/// The key of an anchor like a real one, and its bytes: signed by this key, and with a root that the log never had.
pub(super) fn forged(seq: u64, size: u64, by: &SigningKey) -> (String, Vec<u8>) {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: sha256(&[b"another root"]) };
    let mut anchor = Anchor {
        at: "2026-07-04T09:10:00.000000Z".to_owned(),
        checkpoint: checkpoint::sign(&checkpoint, by),
        files: [].into(),
        heads: None,
        origin: ORIGIN.to_owned(),
        previous: None,
        seq,
        signature: String::new(),
        software: "test".to_owned(),
        time: None,
        v: anchor_format::V,
    };
    sign(&mut anchor, by);
    (anchor_format::key(seq, size), anchor.to_bytes().unwrap().into_bytes())
}

/// What anybody can make of an anchor: its checkpoint, which is public, in another one of this number that names `before`.
fn wrapped(around: &[u8], before: &[u8], seq: u64) -> (String, Vec<u8>) {
    let mut anchor: Anchor = serde_json::from_slice(around).unwrap();
    let size = anchor.checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let key = match serde_json::from_slice::<Anchor>(before) {
        Ok(before) => anchor_format::key(before.seq, size),
        Err(_) => "anchors/none".to_owned(),
    };
    (anchor.seq, anchor.files) = (seq, [].into());
    anchor.previous = Some(Previous { key, sha256: sha256(&[before]), version: None });
    sign(&mut anchor, &SigningKey::from_seed(ORIGIN, [9; 32]));
    (anchor_format::key(seq, size), anchor.to_bytes().unwrap().into_bytes())
}

/// Has this key sign it, as the log does.
pub(super) fn sign(anchor: &mut Anchor, by: &SigningKey) {
    anchor.signature = by.sign(&chain::anchor::text(&anchor.origin, &anchor.unsigned().unwrap()));
}

async fn lay(store: &Arc<dyn Store>, key: &str, bytes: &[u8]) {
    let retention = crate::store::Retention::from(jiff::Timestamp::now(), 7, 30).unwrap();
    store.put(key, bytes.to_vec(), retention).await.unwrap();
}

#[tokio::test]
async fn what_no_key_of_the_log_signed_is_named_and_stops_nothing() {
    let stranger = SigningKey::from_seed(ORIGIN, [9; 32]);
    for kind in ["directory", "versions"] {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store: Arc<dyn Store> = match kind {
            "directory" => Arc::new(Directory::new(dir.path().join("store"))),
            _ => Arc::new(Shelf::default()),
        };
        let pen = Pen::open(dir.path()).await;
        let service = open(dir.path(), &pen, &store).await;
        for salt in ["a", "b"] {
            pen.write(20, salt).await;
            service.anchor_now().await.unwrap();
        }
        let (likely, bytes) = forged(2, 5000, &stranger);
        let moved = service.list().await.unwrap().into_iter().find_map(Row::anchor).unwrap().key;
        let moved = store.get(&moved, None).await.unwrap().unwrap().bytes;
        let newest = service.list().await.unwrap().into_iter().filter_map(Row::anchor).next_back().unwrap();
        let newest = store.get(&newest.key, None).await.unwrap().unwrap().bytes;
        // Around the newest checkpoint: in place of the next two anchors, and above all there are.
        let (next, next_bytes) = wrapped(&newest, &newest, 2);
        let (second, second_bytes) = wrapped(&newest, &next_bytes, 3);
        let (above, above_bytes) = wrapped(&newest, b"nothing", 99);
        let strays = [
            (next.as_str(), next_bytes),
            (second.as_str(), second_bytes),
            (above.as_str(), above_bytes),
            ("anchors/zzz", b"no anchor".to_vec()),
            ("anchors/00000000000000000005-00000000000000000099.json", b"{}".to_vec()),
            (likely.as_str(), bytes),
            // One of this log, under the name of another.
            ("anchors/00000000000000000009-00000000000000000099.json", moved),
        ];
        for (key, bytes) in &strays {
            lay(&store, key, bytes).await;
        }
        pen.write(5, "c").await;
        assert_eq!(service.anchor_now().await.unwrap().seq, 2, "{kind}: anchoring goes on");
        drop(service);

        // A start names them; a place that takes over, a list and an export pass over them.
        let service = open(dir.path(), &pen, &store).await;
        let said = service.status().await.unwrap().strays.join("\n");
        for (key, _) in strays.iter().filter(|(key, _)| numbers(key).is_none_or(|(seq, _)| seq > 2)) {
            assert!(said.contains(key), "{kind}: {key} is not in {said}");
        }
        assert_eq!(service.anchor_now().await.unwrap().seq, 3);
        drop(service);
        let service = open(other.path(), &pen, &store).await;
        assert!(matches!(service.publish(true).await, Err(AnchorError::Elsewhere)));
        assert_eq!(service.adopt().await.unwrap().seq, 4, "{kind}: and so does another place");
        let rows = service.list().await.unwrap();
        let stray = |row: &Row| if let Row::Stray { key, .. } = row { Some(key.clone()) } else { None };
        let mut named: Vec<_> = strays.iter().map(|(key, _)| (*key).to_owned()).collect();
        named.sort_unstable();
        assert_eq!(rows.iter().filter_map(stray).collect::<Vec<_>>(), named);
        assert!(!rows.iter().any(|row| matches!(row, Row::Missing { .. })), "{rows:?}");
        let numbers: Vec<_> = rows.into_iter().filter_map(Row::anchor).map(|anchor| anchor.seq).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        let out = other.path().join("export");
        let exported = service.export(&out, true, &mut |_, _| {}).await.unwrap();
        assert_eq!((exported.anchors, exported.strays.len(), exported.missing.len()), (5, 7, 0), "{exported:?}");
        let survey = service.survey(true).await.unwrap();
        assert_eq!((survey.anchors, survey.missing.count, survey.strays.count), (5, 0, 7), "{survey:?}");
        // And so does whoever makes the log again.
        let places = Places { store: Arc::clone(&store), published: None, checkpoint: None, notes: Vec::new() };
        let (archive, _, verified) = read_with(places, &policy(), Wanted::default()).await.unwrap();
        let said = [&archive.remarks[..], &verified.remarks[..]].concat().join("\n");
        assert_eq!((verified.anchors, verified.unbroken), (5, true), "{said}");
        assert!(strays.iter().all(|(key, _)| said.contains(key)), "{said}");
    }
}

#[tokio::test]
async fn what_a_key_of_the_log_signed_and_the_log_contradicts_closes_the_city() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Shelf::default());
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    pen.write(20, "a").await;
    service.anchor_now().await.unwrap();
    let (name, bytes) = forged(1, 10, &key());
    lay(&store, &name, &bytes).await;
    // Beside strays, whatever their names.
    lay(&store, "anchors/00000000000000000007-00000000000000000099.json", b"{}").await;
    let verdict = service.startup_check().await.unwrap();
    let Verdict::ReadOnly { reason, .. } = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains(&name), "{reason}");
    assert!(service.anchor_now().await.is_err(), "nothing is signed either");
}

#[tokio::test]
async fn whoever_takes_the_keys_of_the_next_anchor_does_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let store: Arc<dyn Store> = shelf.clone();
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    pen.write(20, "a").await;
    service.anchor_now().await.unwrap();
    // The sizes that come next, and one that is taken right before it is written.
    let size = pen.log.head().await.unwrap().size;
    for next in size..size + 4 {
        shelf.lay(&anchor_format::key(1, next), Some(b"{}"));
    }
    *shelf.faster.lock().unwrap() = Some(("anchors/", b"faster".to_vec()));
    let second = service.anchor_now().await.unwrap();
    assert_eq!(second.seq, 1);
    assert!(second.size > size + 4, "{second:?}");
    assert!(!dir.path().join("anchoring/staged.json").exists());
    drop(service);
    let service = open(dir.path(), &pen, &store).await;
    assert_eq!(service.anchor_now().await.unwrap().seq, 2);
    let survey = service.survey(true).await.unwrap();
    assert_eq!((survey.anchors, survey.missing.count, survey.strays.count), (3, 0, 5), "{survey:?}");
}

#[tokio::test]
async fn a_file_that_is_larger_than_its_kind_can_be_is_a_stray_and_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::new(dir.path().join("store")));
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    pen.write(20, "a").await;
    let anchored = service.anchor_now().await.unwrap();
    drop(service);
    let huge = |path: &str| {
        let path = dir.path().join("store").join(path);
        let _ = std::fs::remove_file(&path);
        std::fs::File::create(path).unwrap().set_len(3 << 30).unwrap();
    };
    let key = "anchors/00000000000000000009-00000000000000000099.json";
    huge(key);
    let service = open(dir.path(), &pen, &store).await;
    let words = format!("{key}: it is 3221225472 bytes long, and such a file has 4194502 at most: it was not read");
    let strays = service.status().await.unwrap().strays;
    assert!(strays.contains(&words), "{strays:?}");
    pen.write(5, "b").await;
    assert_eq!(service.anchor_now().await.unwrap().seq, 1, "anchoring goes on");
    // One in the place of what was anchored is missed by whoever reads everything.
    let pack = format!("pack/000.p/{}", anchored.size);
    huge(&pack);
    let survey = service.survey(true).await.unwrap();
    assert!(survey.missing.first.contains(&format!("{pack}: it holds other bytes than were anchored")), "{survey:?}");
}

#[tokio::test]
async fn a_number_that_is_missing_is_named_in_the_list_and_in_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::new(dir.path().join("store")));
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    for salt in ["a", "b", "c"] {
        pen.write(20, salt).await;
        service.anchor_now().await.unwrap();
    }
    let rows = service.list().await.unwrap();
    let second = rows.into_iter().filter_map(Row::anchor).nth(1).unwrap().key;
    fs::remove_file(dir.path().join("store").join(&second)).unwrap();
    let rows = service.list().await.unwrap();
    assert!(rows.contains(&Row::Missing { seq: 1, missing: true }) && rows.len() == 3, "{rows:?}");
    let exported = service.export(&dir.path().join("out"), true, &mut |_, _| {}).await.unwrap();
    assert_eq!(exported.anchors, 2);
    assert!(exported.missing.len() == 1 && exported.missing[0].contains(&second), "{exported:?}");
}

/// The names of all files that are new in a log of any of these sizes.
fn names(old: u64, sizes: std::ops::Range<u64>) -> BTreeSet<String> {
    sizes.flat_map(|size| new_files(old, size)).collect()
}

#[tokio::test]
async fn whoever_was_first_under_a_name_of_the_tree_does_not_hold_up_anchoring_where_there_are_versions() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let store: Arc<dyn Store> = shelf.clone();
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    pen.write(20, "a").await;
    let first = service.anchor_now().await.unwrap();
    // Unfinished files of the sizes that come next, and full ones.
    for name in names(first.size, first.size + 1..first.size + 9).into_iter().chain(names(0, 256..257)) {
        shelf.lay(&name, Some(b"not the city's"));
    }
    let second = service.anchor_now().await.unwrap();
    assert!(second.size <= first.size + 2, "no other size was needed: {second:?}");
    pen.write(600, "b").await;
    let third = service.anchor_now().await.unwrap();
    let survey = service.survey(true).await.unwrap();
    let taken = |old, new| new_files(old, new).iter().filter(|name| shelf.count(name) > 1).count() as u64;
    let strays = taken(first.size, second.size) + taken(second.size, third.size);
    assert!(strays >= 6, "{strays}");
    assert_eq!((survey.anchors, survey.missing.count, survey.strays.count), (3, 0, strays), "{survey:?}");
    // It is theirs that is named, and not the city's.
    assert!(survey.strays.first.iter().all(|stray| stray.contains("holds other bytes")), "{survey:?}");
    let named = survey.strays.first.iter().find(|stray| stray.starts_with("pack/000: ")).unwrap();
    assert!(named.contains(&format!("version {} ", shelf.oldest("pack/000"))), "{named}");
    // And the log comes back from this store alone.
    let places = Places { store, published: None, checkpoint: None, notes: Vec::new() };
    let archive = Archive::open(places, &policy(), Wanted::default()).await.unwrap();
    let mut pass = archive.verify(First::Store);
    let mut entries = 0;
    while let Some(read) = pass.next().await.unwrap() {
        entries += read.len() as u64;
    }
    pass.finish().await.unwrap();
    assert_eq!(entries, third.size);
}

#[tokio::test]
async fn an_unfinished_file_that_somebody_was_first_with_is_written_at_another_size() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::new(dir.path().join("store")));
    let pen = Pen::open(dir.path()).await;
    let service = open(dir.path(), &pen, &store).await;
    pen.write(20, "a").await;
    let first = service.anchor_now().await.unwrap();
    for name in names(first.size, first.size + 1..first.size + 4) {
        lay(&store, &name, b"not the city's").await;
    }
    let second = service.anchor_now().await.unwrap();
    assert!(second.seq == 1 && second.size >= first.size + 4, "{second:?}");
    assert_eq!(service.status().await.unwrap().trouble, None);
    assert!(service.survey(true).await.unwrap().missing.count == 0);
}

/// Forgets that the anchor on its way was written, as a process does that dies before it is on disk; answers with its key and its bytes.
fn unwritten(dir: &Path) -> (String, Vec<u8>) {
    let path = dir.join("anchoring/staged.json");
    let mut staged: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let known = (staged["key"].as_str().unwrap().to_owned(), staged["body"].as_str().unwrap().as_bytes().to_vec());
    staged["written"] = false.into();
    staged.as_object_mut().unwrap().remove("anchored");
    fs::write(path, staged.to_string()).unwrap();
    known
}

#[tokio::test]
async fn what_was_on_its_way_when_somebody_took_or_covered_its_key_holds_nothing_up() {
    for was_written in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::default());
        let store: Arc<dyn Store> = shelf.clone();
        let pen = Pen::open(dir.path()).await;
        let recorder = Arc::new(Forgetful(Arc::clone(&pen), AtomicI64::new(1)));
        let config = Config::new(dir.path());
        let keys = held(&pen.log).await;
        let service = Service::open(config, pen.log.clone(), keys, Arc::clone(&store), recorder).await.unwrap();
        service.startup_check().await.unwrap();
        pen.write(20, "a").await;
        service.anchor_now().await.unwrap();
        pen.write(20, "b").await;
        service.anchor_now().await.unwrap_err();
        drop(service);
        let (key, bytes) = unwritten(dir.path());
        if !was_written {
            shelf.destroy(&key);
        }
        shelf.lay(&key, Some(b"{}"));
        let service = open(dir.path(), &pen, &store).await;
        let second = service.anchor_now().await.unwrap();
        assert_eq!(
            second.seq,
            if was_written { 2 } else { 1 },
            "what was written is finished, what was not is dropped"
        );
        assert!(!dir.path().join("anchoring/staged.json").exists());
        let rows = service.list().await.unwrap().into_iter().filter_map(Row::anchor);
        let mine = rows.into_iter().find(|row| row.key == key);
        assert_eq!(mine.map(|row| row.sha256), was_written.then(|| sha256(&[&bytes])));
        let survey = service.survey(true).await.unwrap();
        assert_eq!((survey.missing.count, survey.strays.count), (0, 1), "{survey:?}");
    }
}
