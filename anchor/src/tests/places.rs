//! One place anchors: what becomes of those that come back, of stores that are not theirs, and of clocks that go wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use eventlog::{Failure, Log, Recorder};
use serde_json::{Value, json};

use super::flaky::Flaky;
use super::shelf::Shelf;
use super::{Pen, held, published, service};
use crate::anchor_format::ANCHORED;
use crate::{AnchorError, Config, Directory, Row, Service, SigningKeys, Store as _, Verdict};

/// Does not record one of the anchors.
pub(super) struct Forgetful(pub Arc<Pen>, pub AtomicI64);

#[async_trait]
impl Recorder for Forgetful {
    async fn record(&self, kind: &str, data: Value) -> Result<u64, Failure> {
        if kind == ANCHORED && self.1.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(Failure::Unavailable("the database is gone".to_owned()));
        }
        self.0.record(kind, data).await
    }
}

/// What the log says was anchored.
async fn anchored(log: &Log) -> Vec<(u64, Value)> {
    let entries = log.read_stream("log", 0, 1000).await.unwrap();
    let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let entries = entries.filter(|entry| entry["type"] == ANCHORED);
    entries.map(|entry| (entry["data"]["seq"].as_u64().unwrap(), entry["data"]["sha256"].clone())).collect()
}

#[tokio::test]
async fn an_anchor_that_was_not_recorded_is_nobodys_second_of_its_number() {
    let (dir, one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = Pen::open(dir.path()).await;
    let place = async |place: &Path, fails: i64| {
        let store = Arc::new(Directory::new(dir.path().join("store")));
        let recorder = Arc::new(Forgetful(Arc::clone(&pen), AtomicI64::new(fails)));
        let service =
            Service::open(Config::new(place), pen.log.clone(), held(&pen.log).await, store, recorder).await.unwrap();
        assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
        service
    };
    pen.write(5, "a").await;
    let first = place(one.path(), 1).await;
    first.anchor_now().await.unwrap();
    pen.write(5, "b").await;
    first.anchor_now().await.unwrap_err();
    assert_eq!(anchored(&pen.log).await.len(), 1, "written, and not on record");

    // Another place goes on only when it is told to, and then after what is in the store.
    let second = place(two.path(), -1).await;
    let refused = second.anchor_now().await.unwrap_err();
    assert!(matches!(refused, AnchorError::Elsewhere), "{refused}");
    assert_eq!(second.adopt().await.unwrap().seq, 2, "after 1, which it puts on record");

    // The first one comes back with its own on its way: the same as on record, and not the last.
    drop((first, second));
    let first = place(one.path(), -1).await;
    assert!(matches!(first.anchor_now().await, Err(AnchorError::Elsewhere)));
    assert!(matches!(first.publish(true).await, Err(AnchorError::Elsewhere)), "nor does it sign");
    assert_eq!(first.adopt().await.unwrap().seq, 3);
    let second = place(two.path(), -1).await;
    assert!(matches!(second.anchor_now().await, Err(AnchorError::Elsewhere)));
    let recorded = anchored(&pen.log).await;
    assert_eq!(recorded.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let stored: Vec<_> = first
        .list()
        .await
        .unwrap()
        .into_iter()
        .filter_map(Row::anchor)
        .map(|one| (one.seq, json!(one.sha256)))
        .collect();
    assert_eq!(stored, recorded);
}

#[tokio::test]
async fn a_store_that_lost_its_anchors_is_an_alarm_and_signing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(5, "a").await;
    let anchored = service.anchor_now().await.unwrap();
    service.check_store().await.unwrap();
    assert_eq!(
        published(dir.path()).size,
        pen.log.head().await.unwrap().size,
        "what says that it was anchored is published"
    );
    let store = Directory::new(dir.path().join("store"));
    assert_eq!(crate::check_store(&pen.log, &store).await.unwrap(), Some(anchored));
    fs::rename(dir.path().join("store"), dir.path().join("unmounted")).unwrap();
    pen.write(5, "b").await;
    let refused = service.anchor_now().await.unwrap_err();
    assert!(refused.is_alarming() && refused.to_string().contains("is on record and is not there"), "{refused}");
    crate::check_store(&pen.log, &store).await.unwrap_err();
    assert_eq!(published(dir.path()).size, pen.log.head().await.unwrap().size);
    assert!(service.publish(true).await.unwrap());
    assert!(service.status().await.unwrap().trouble.unwrap().contains("anchoring: "));
    fs::rename(dir.path().join("unmounted"), dir.path().join("store")).unwrap();
    assert_eq!(service.anchor_now().await.unwrap().seq, 1);
    assert_eq!(service.status().await.unwrap().trouble, None);
}

#[tokio::test]
async fn an_anchor_recorded_before_stores_had_versions_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let store = Directory::new(dir.path().join("store"));
    let (key, bytes) = (crate::anchor_format::key(0, 5), b"an anchor".to_vec());
    let data = serde_json::json!({
        "seq": 0, "size": 5, "root": "44".repeat(32), "key": key, "sha256": chain::hash::sha256(&[&bytes]), "store": "directory"
    });
    pen.append("log", "log.anchored.v1", &[data]).await;
    let missing = crate::check_store(&pen.log, &store).await.unwrap_err();
    assert!(missing.to_string().contains("anchor 0 is on record"), "{missing}");
    let retention = crate::store::Retention::from(jiff::Timestamp::now(), 7, 30).unwrap();
    store.put(&key, bytes, retention).await.unwrap();
    assert_eq!(crate::check_store(&pen.log, &store).await.unwrap().unwrap().seq, 0);
}

#[tokio::test]
async fn a_store_that_is_not_this_logs_is_not_adopted() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    let first = service(dir.path(), &pen).await;
    first.anchor_now().await.unwrap();
    let elsewhere = service(other.path(), &pen).await;
    assert!(matches!(elsewhere.publish(true).await, Err(AnchorError::Elsewhere)));
    let refused = elsewhere.adopt().await.unwrap_err();
    assert!(refused.to_string().contains("anchor 0 is on record, and none is here"), "{refused}");
    // The memory of a place can be lost as well.
    drop(first);
    fs::remove_file(dir.path().join("anchoring/last.json")).unwrap();
    let first = service(dir.path(), &pen).await;
    assert!(matches!(first.publish(true).await, Err(AnchorError::Elsewhere)));
    assert_eq!(first.adopt().await.unwrap().seq, 1);
}

#[tokio::test]
async fn anchors_are_in_the_order_of_their_times_whatever_clocks_say() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let store = Arc::new(Directory::new(dir.path().join("store")));
    let mut times = Vec::new();
    for clock in
        [|| "2030-01-01T00:00:00.000000Z".to_owned(), || "2029-01-01T00:00:00.000000Z".to_owned(), crate::anchorer::now]
    {
        let config = Config { clock, ..Config::new(dir.path()) };
        let (store, recorder) = (Arc::<Directory>::clone(&store), Arc::<Pen>::clone(&pen));
        let service = Service::open(config, pen.log.clone(), held(&pen.log).await, store, recorder).await.unwrap();
        service.startup_check().await.unwrap();
        pen.write(1, "a").await;
        service.anchor_now().await.unwrap();
        times = service.list().await.unwrap().into_iter().filter_map(Row::anchor).map(|anchor| anchor.at).collect();
    }
    assert_eq!(times, ["2030-01-01T00:00:00.000000Z"; 3]);
}

#[tokio::test]
async fn a_copy_of_the_place_does_not_give_a_number_again_that_the_store_has() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = Pen::open(dir.path()).await;
    let store = Arc::new(Directory::new(dir.path().join("store")));
    let open = async |place: &Path, fails: i64| {
        let recorder = Arc::new(Forgetful(Arc::clone(&pen), AtomicI64::new(fails)));
        let store = Arc::<Directory>::clone(&store);
        let service =
            Service::open(Config::new(place), pen.log.clone(), held(&pen.log).await, store, recorder).await.unwrap();
        service.startup_check().await.unwrap();
        service
    };
    pen.write(5, "a").await;
    let place = open(dir.path(), 1).await;
    place.anchor_now().await.unwrap();
    for folder in ["signing", "anchoring", "public", "packs"] {
        copy_dir(&dir.path().join(folder), &copy.path().join(folder));
    }
    pen.write(5, "b").await;
    place.anchor_now().await.unwrap_err();
    drop(place);
    pen.write(5, "c").await;
    let copied = open(copy.path(), -1).await;
    assert!(matches!(copied.anchor_now().await, Err(AnchorError::Elsewhere)), "the store has an anchor 1 already");
    assert_eq!(copied.adopt().await.unwrap().seq, 2);
    assert_eq!(anchored(&pen.log).await.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn whoever_takes_over_remembers_the_version_that_is_on_record() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = Pen::open(dir.path()).await;
    let shelf = Arc::new(Shelf::default());
    let open = async |place: &Path, fails: i64| {
        let recorder = Arc::new(Forgetful(Arc::clone(&pen), AtomicI64::new(fails)));
        let (store, keys) = (Arc::<Shelf>::clone(&shelf), held(&pen.log).await);
        let service = Service::open(Config::new(place), pen.log.clone(), keys, store, recorder).await.unwrap();
        assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
        service
    };
    pen.write(5, "a").await;
    let first = open(dir.path(), 1).await;
    let written = first.anchor_now().await.unwrap();
    // An earlier attempt left the same bytes, kept for too short a time, so that they were written once more.
    let before = |key: &str| shelf.lay_before(key, &shelf.bytes(key));
    assert_ne!(Some(before(&written.key)), written.version);
    let second = open(other.path(), -1).await;
    let after = second.adopt().await.unwrap();
    let previous = shelf.anchor(&after.key).previous.unwrap();
    assert_eq!((&previous.key, &previous.version), (&written.key, &written.version), "as the log calls it");

    // The same of what this place wrote and the log does not say yet.
    drop((first, second));
    let third = open(other.path(), 0).await;
    third.anchor_now().await.unwrap_err();
    let wrote = shelf.keys().into_iter().rfind(|key| key.starts_with("anchors/")).unwrap();
    let version = shelf.oldest(&wrote);
    before(&wrote);
    let newest = third.adopt().await.unwrap();
    let previous = shelf.anchor(&newest.key).previous.unwrap();
    assert_eq!((previous.key, previous.version.as_deref()), (wrote, Some(version.as_str())));
}

#[tokio::test]
async fn a_start_lists_from_the_last_anchor_that_it_knows_and_sees_what_is_newer_or_gone() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let store = Arc::new(Flaky::counting(Directory::new(dir.path().join("store"))));
    let open = async || {
        let (store, keys) = (Arc::<Flaky>::clone(&store), held(&pen.log).await);
        Service::open(Config::new(dir.path()), pen.log.clone(), keys, store, pen.clone()).await.unwrap()
    };
    let service = open().await;
    service.startup_check().await.unwrap();
    let mut newest = None;
    for salt in 0..30 {
        pen.write(2, &salt.to_string()).await;
        newest = Some(service.anchor_now().await.unwrap());
    }
    drop(service);
    store.forget();
    let service = open().await;
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    assert_eq!((*store.listed.lock().unwrap(), store.count("get")), (0, 1), "{:?}", store.asked.lock().unwrap());
    let beside = |keys: Arc<SigningKeys>| {
        let (config, log, store) = (Config::new(dir.path()), pen.log.clone(), Arc::clone(&store));
        async move { crate::compare(&config, &log, &keys, store.as_ref()).await.unwrap() }
    };
    store.forget();
    assert_eq!(beside(held(&pen.log).await).await, Verdict::Good);
    assert_eq!(*store.listed.lock().unwrap(), 0, "nor does a server beside it");

    // What came after it counts: by a key of the log, and not what anybody put there.
    let place = dir.path().join("store");
    fs::write(place.join("anchors/zzz"), "{}").unwrap();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    let (name, bytes) = super::strays::forged(30, 20, &super::key());
    fs::write(place.join(&name), bytes).unwrap();
    let refusal = service.startup_check().await.unwrap().refusal();
    assert!(refusal.is_some_and(|reason| reason.contains(&name)));
    fs::remove_file(place.join(&name)).unwrap();
    // And where the last one is gone, the one before it does.
    fs::remove_file(place.join(&newest.unwrap().key)).unwrap();
    let (name, bytes) = super::strays::forged(29, 20, &super::key());
    fs::write(place.join(&name), bytes).unwrap();
    let refusal = service.startup_check().await.unwrap().refusal();
    assert!(refusal.is_some_and(|reason| reason.contains(&name)));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if path.is_dir() {
            copy_dir(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
