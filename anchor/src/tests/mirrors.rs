//! Mirrors: they delay nothing, miss nothing when they come back, and take nothing of another history.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::flaky::{Fails, Flaky};
use super::{Pen, held, policy, service};
use crate::mirror::Carrier;
use crate::{AnchorError, Config, Directory, Layout, Mirror, Service, Store};

async fn carrier(dir: &Path, pen: &Pen, store: Arc<dyn Store>) -> Carrier {
    let config = Config::new(dir);
    let mirror = Mirror { name: "other-owner".to_owned(), store };
    let first = Arc::new(Directory::new(dir.join("store")));
    Carrier::new(
        mirror,
        first,
        (pen.log.clone(), Layout::within(dir), held(&pen.log).await),
        (config.keep, config.clock),
    )
}

/// Every file below a folder.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if let Ok(bytes) = fs::read(&path) {
                // What was being written when its writer was killed may just be getting its name.
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    if root.exists() {
        walk(root, root, &mut found);
    }
    found
}

/// A log with three anchors.
async fn anchored(dir: &Path) -> Arc<Pen> {
    let pen = Pen::open(dir).await;
    let service = service(dir, &pen).await;
    for (count, salt) in [(10, "a"), (300, "b"), (5, "c")] {
        pen.write(count, salt).await;
        service.anchor_now().await.unwrap();
    }
    pen
}

#[tokio::test]
async fn a_mirror_killed_after_any_call_goes_on_where_it_was_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pen = anchored(dir.path()).await;
    // Not everything is where it was published: what is gone comes from the first store.
    fs::remove_file(dir.path().join("packs/pack/000")).unwrap();
    for how in [Fails::Before, Fails::After] {
        let place = dir.path().join(format!("mirror-{how:?}"));
        let mut cut = 0;
        for calls in 1.. {
            let store = Arc::new(Flaky::failing_after(Directory::new(&place), calls, how));
            let carrier = carrier(dir.path(), &pen, store.clone()).await;
            if carrier.carry().await.is_ok() {
                break;
            }
            cut += 1;
            // Whatever anchor is there has everything that it lists.
            let there = files(&place);
            for (key, bytes) in there.iter().filter(|(key, _)| key.starts_with("anchors/") && !key.ends_with(".new")) {
                let (anchor, _) = crate::anchor_format::read(key, bytes, &policy()).unwrap();
                assert!(anchor.files.keys().all(|path| there.contains_key(path)), "{key}");
            }
        }
        assert!(cut > 3, "only {cut} runs were cut off");
        assert_eq!(files(&place), files(&dir.path().join("store")));
    }
}

#[tokio::test]
async fn a_mirror_that_is_down_delays_nothing_and_is_behind_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let place = dir.path().join("mirror");
    let mirror = Arc::new(Flaky::failing_after(Directory::new(&place), 0, Fails::Before));
    let config = Config {
        checkpoint_every: Duration::from_millis(20),
        mirrors: vec![Mirror { name: "other-owner".to_owned(), store: mirror.clone() }],
        ..Config::new(dir.path())
    };
    let store = Arc::new(Directory::new(dir.path().join("store")));
    let service =
        Arc::new(Service::open(config, pen.log.clone(), held(&pen.log).await, store, pen.clone()).await.unwrap());
    service.startup_check().await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn(Arc::clone(&service).carry_to_mirrors(stopped));
    for salt in ["a", "b", "c"] {
        pen.write(100, salt).await;
        service.anchor_now().await.unwrap();
    }
    let until = async |pleases: &dyn Fn(&crate::MirrorStatus) -> bool| {
        for _ in 0..1000 {
            let status = service.status().await.unwrap().mirrors.remove(0);
            if pleases(&status) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", service.status().await.unwrap().mirrors);
    };
    until(&|mirror| mirror.behind == 3 && mirror.newest.is_none() && mirror.trouble.is_some()).await;
    assert_eq!(service.status().await.unwrap().trouble, None, "it is the mirror's trouble");
    mirror.mend();
    until(&|mirror| mirror.behind == 0 && mirror.newest == Some(2) && mirror.trouble.is_none()).await;
    // What is anchored from now on follows at once.
    pen.write(100, "d").await;
    service.anchor_now().await.unwrap();
    until(&|mirror| mirror.newest == Some(3)).await;
    stop.send_replace(true);
    worker.await.unwrap();
    assert_eq!(files(&place), files(&dir.path().join("store")));
}

#[tokio::test]
async fn a_mirror_of_another_history_is_not_written_to() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pen = anchored(dir.path()).await;
    anchored(other.path()).await;
    let there = other.path().join("store");
    let before = files(&there);
    let carrier = carrier(dir.path(), &pen, Arc::new(Directory::new(&there))).await;
    let refused = carrier.carry().await.unwrap_err();
    assert!(refused.is_alarming() && refused.to_string().contains("another history"), "{refused}");
    assert!(carrier.status(Some(2)).trouble.unwrap().contains("another history"));
    assert_eq!(files(&there), before);
}

#[tokio::test]
async fn what_no_longer_is_what_was_anchored_is_not_carried() {
    let dir = tempfile::tempdir().unwrap();
    let pen = anchored(dir.path()).await;
    for place in ["packs", "store"] {
        let path = dir.path().join(place).join("pack/000");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "something else").unwrap();
    }
    let mirror = dir.path().join("mirror");
    let carrier = carrier(dir.path(), &pen, Arc::new(Directory::new(&mirror))).await;
    let refused = carrier.carry().await.unwrap_err();
    assert!(matches!(refused, AnchorError::Store(_)) && refused.to_string().contains("pack/000"), "{refused}");
    assert!(files(&mirror).keys().filter(|key| key.starts_with("anchors/")).count() == 1, "the first needs none of it");
}
