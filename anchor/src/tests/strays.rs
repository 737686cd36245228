//! What anybody can do who may write to a store: what no key of the log signed is named, and stops nothing.

use std::sync::Arc;

use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::note::SigningKey;

use super::shelf::Shelf;
use super::{ORIGIN, Pen, held, key};
use crate::anchor_format::{self, numbers};
use crate::{Anchor, AnchorError, Config, Directory, Row, Service, Store, Verdict};

async fn open(dir: &std::path::Path, pen: &Arc<Pen>, store: &Arc<dyn Store>) -> Service {
    let service =
        Service::open(Config::new(dir), pen.log.clone(), held(&pen.log).await, Arc::clone(store), pen.clone()).await;
    let service = service.unwrap();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    service
}

/// The key of an anchor like a real one, and its bytes: signed by this key, and with a root that the log never had.
pub(super) fn forged(seq: u64, size: u64, by: &SigningKey) -> (String, Vec<u8>) {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: sha256(&[b"another root"]) };
    let anchor = Anchor {
        at: "2026-07-04T09:10:00.000000Z".to_owned(),
        checkpoint: checkpoint::sign(&checkpoint, by),
        files: [].into(),
        heads: None,
        origin: ORIGIN.to_owned(),
        previous: None,
        seq,
        software: "test".to_owned(),
        time: None,
        v: 2,
    };
    (anchor_format::key(seq, size), anchor.to_bytes().unwrap().into_bytes())
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
        let strays = [
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
        assert_eq!((exported.anchors, exported.strays.len(), exported.missing.len()), (5, 4, 0), "{exported:?}");
        let survey = service.survey(true).await.unwrap();
        assert_eq!((survey.anchors, survey.missing.count, survey.strays.count), (5, 0, 4), "{survey:?}");
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
    std::fs::remove_file(dir.path().join("store").join(&second)).unwrap();
    let rows = service.list().await.unwrap();
    assert!(rows.contains(&Row::Missing { seq: 1, missing: true }) && rows.len() == 3, "{rows:?}");
    let exported = service.export(&dir.path().join("out"), true, &mut |_, _| {}).await.unwrap();
    assert_eq!(exported.anchors, 2);
    assert!(exported.missing.len() == 1 && exported.missing[0].contains(&second), "{exported:?}");
}
