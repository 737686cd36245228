//! Everything that was anchored is looked for, in the store and in mirrors, not only what is newest.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::shelf::Shelf;
use super::{Pen, held};
use crate::mirror::Carrier;
use crate::{Config, Directory, Layout, Mirror, Row, Service, Store, Verdict};

/// A log with four anchors in this store.
async fn anchored(dir: &Path, store: Arc<dyn Store>) -> (Arc<Pen>, Service) {
    let pen = Pen::open(dir).await;
    let service = Service::open(Config::new(dir), pen.log.clone(), held(&pen.log).await, store, pen.clone()).await;
    let service = service.unwrap();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    for (count, salt) in [(10, "a"), (3000, "b"), (300, "c"), (5, "d")] {
        pen.write(count, salt).await;
        service.anchor_now().await.unwrap();
    }
    (pen, service)
}

async fn key_of(service: &Service, seq: usize) -> String {
    service.list().await.unwrap().into_iter().filter_map(Row::anchor).nth(seq).unwrap().key
}

/// How many files are below a folder.
fn count(root: &Path) -> u64 {
    let entries = fs::read_dir(root).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn everything_that_was_anchored_and_is_gone_is_missed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let (_pen, service) = anchored(dir.path(), Arc::new(Directory::new(&place))).await;
    let whole = service.survey(false).await.unwrap();
    assert!(whole.is_clean() && whole.anchors == 4, "{whole:?}");
    assert_eq!(whole.files, count(&place.join("tile")) + count(&place.join("pack")));

    let second = key_of(&service, 1).await;
    fs::remove_file(place.join(&second)).unwrap();
    fs::remove_file(place.join("tile/0/003")).unwrap();
    let few = service.survey(false).await.unwrap();
    assert_eq!((few.anchors, few.files, few.missing.count), (3, whole.files - 1, 2), "{few:?}");
    assert!(few.missing.first[0].contains(&second) && few.missing.first[1].contains("tile/0/003"), "{few:?}");
    fs::remove_dir_all(place.join("tile")).unwrap();
    fs::remove_dir_all(place.join("pack")).unwrap();
    let none = service.survey(false).await.unwrap();
    assert_eq!((none.anchors, none.files, none.missing.count), (3, 0, whole.files + 1));
    assert_eq!(service.status().await.unwrap().survey, Some(none));
    // It takes nothing from what is anchored from now on.
    assert_eq!(service.anchor_now().await.unwrap().seq, 4);
}

#[tokio::test]
async fn markers_and_other_versions_over_anything_are_found_and_nothing_is_fetched_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let (_pen, service) = anchored(dir.path(), shelf.clone()).await;
    shelf.gets.lock().unwrap().clear();
    let whole = service.survey(false).await.unwrap();
    assert!(whole.is_clean() && whole.anchors == 4 && whole.files + 4 == shelf.keys().len() as u64, "{whole:?}");
    assert_eq!(*shelf.gets.lock().unwrap(), Vec::<String>::new(), "a listing tells it all");

    let second = key_of(&service, 1).await;
    shelf.lay(&second, None);
    shelf.lay(&second, Some(b"forged"));
    shelf.lay("pack/002", None);
    shelf.lay("tile/0/001", Some(b"other bytes"));
    let covered = service.survey(false).await.unwrap();
    assert_eq!((covered.missing.count, covered.strays.count), (0, 4), "{covered:?}");
    let said = covered.strays.first.join("\n");
    for what in [format!("{second}: a delete marker"), "pack/002: a delete marker".into(), "tile/0/001: version".into()]
    {
        assert!(said.contains(&what), "{said}");
    }
    assert_eq!(service.status().await.unwrap().strays.len(), 4);

    // Past the lock: another object in the place of the anchor, and a pack of which only a marker is left.
    shelf.destroy(&second);
    shelf.lay(&second, Some(b"forged"));
    shelf.destroy("pack/003");
    shelf.lay("pack/003", None);
    let destroyed = service.survey(false).await.unwrap();
    assert_eq!(destroyed.missing.count, 2, "{destroyed:?}");
    assert!(destroyed.missing.first[0].contains(&second) && destroyed.missing.first[1].contains("pack/003"));
}

#[tokio::test]
async fn bytes_that_were_changed_are_found_by_reading_them() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let (_pen, service) = anchored(dir.path(), Arc::new(Directory::new(&place))).await;
    let path = place.join("pack/001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert!(service.survey(false).await.unwrap().is_clean(), "it is there");
    let read = service.survey(true).await.unwrap();
    assert_eq!(read.missing.count, 1);
    assert!(read.missing.first[0].contains("pack/001: it holds other bytes"), "{read:?}");
    // An anchor in a folder is always read: nothing else tells it from another.
    let first = place.join(key_of(&service, 0).await);
    let changed = fs::read_to_string(&first).unwrap().replace(r#""seq":0"#, r#""seq":7"#);
    fs::remove_file(&first).unwrap();
    fs::write(&first, changed).unwrap();
    assert_eq!(service.survey(false).await.unwrap().missing.count, 1);
}

#[tokio::test]
async fn what_a_mirror_lost_is_missed_and_carried_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let (pen, service) = anchored(dir.path(), Arc::new(Directory::new(&place))).await;
    let first: Arc<dyn Store> = Arc::new(Directory::new(&place));
    let there = dir.path().join("mirror");
    let mirror = Mirror { name: "other-owner".to_owned(), store: Arc::new(Directory::new(&there)) };
    let config = Config::new(dir.path());
    let what = (pen.log.clone(), Layout::within(dir.path()), held(&pen.log).await);
    let carrier = Carrier::new(mirror, first, what, (config.keep, config.clock));
    carrier.mend().await.unwrap();
    carrier.carry().await.unwrap();
    let whole = count(&there);
    assert_eq!(whole, count(&place));

    let kept = fs::read(place.join("pack/001")).unwrap();
    // Only tiles and packs, of which the newest anchor says nothing; then an anchor in the middle; then everything.
    fs::remove_dir_all(there.join("tile")).unwrap();
    fs::remove_file(there.join("pack/001")).unwrap();
    carrier.carry().await.unwrap();
    assert!(count(&there) < whole, "carrying on does not look back");
    carrier.mend().await.unwrap();
    assert_eq!(count(&there), whole);
    let status = carrier.status(Some(3));
    assert_eq!((status.newest, status.behind, status.trouble), (Some(3), 0, None));
    assert!(status.survey.unwrap().missing.count > 10, "and it says what was missing");
    fs::remove_file(there.join(key_of(&service, 1).await)).unwrap();
    carrier.mend().await.unwrap();
    assert_eq!(count(&there), whole);
    assert_eq!(carrier.status(Some(3)).survey.unwrap().missing.count, 1);
    fs::remove_dir_all(&there).unwrap();
    carrier.mend().await.unwrap();
    assert_eq!(carrier.status(Some(3)).behind, 4, "it is empty");
    carrier.carry().await.unwrap();
    assert_eq!(count(&there), whole);
    // What both lost is said, and what is new is carried all the same.
    for lost in [&there, &place, &dir.path().join("packs")] {
        fs::remove_file(lost.join("pack/001")).unwrap();
    }
    carrier.mend().await.unwrap_err();
    carrier.carry().await.unwrap();
    assert!(carrier.status(Some(3)).trouble.unwrap().contains("pack/001"));
    fs::write(place.join("pack/001"), &kept).unwrap();
    carrier.mend().await.unwrap();
    assert_eq!(carrier.status(Some(3)).trouble, None);
    // Nobody's anchor in a mirror holds it up.
    fs::write(there.join("anchors/zzz"), "no anchor").unwrap();
    pen.write(5, "e").await;
    service.anchor_now().await.unwrap();
    carrier.mend().await.unwrap();
    carrier.carry().await.unwrap();
    let status = carrier.status(Some(4));
    assert_eq!((status.behind, status.trouble), (0, None));
    assert_eq!(status.survey.unwrap().strays.count, 1);
}

#[tokio::test]
async fn whoever_lays_thousands_there_is_counted_and_not_read_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let (_pen, service) = anchored(dir.path(), shelf.clone()).await;
    for number in 100..1400 {
        shelf.lay(&crate::anchor_format::key(number, 99), Some(b"{}"));
    }
    shelf.lay("pack/002", Some(b"other bytes"));
    shelf.gets.lock().unwrap().clear();
    let survey = service.survey(false).await.unwrap();
    assert_eq!((survey.missing.count, survey.strays.count), (0, 1301), "{:?}", survey.strays.first.last());
    assert_eq!(survey.strays.first.len(), 100, "the others are only counted");
    let read = shelf.gets.lock().unwrap().len();
    assert!(read <= 1001, "{read} objects were read");
}

#[tokio::test]
async fn what_lies_over_an_anchor_in_a_mirror_does_not_keep_its_files_from_being_carried_again() {
    let dir = tempfile::tempdir().unwrap();
    let place: Arc<dyn Store> = Arc::new(Directory::new(dir.path().join("store")));
    let (pen, service) = anchored(dir.path(), Arc::clone(&place)).await;
    let there = Arc::new(Shelf::default());
    let mirror = Mirror { name: "other-owner".to_owned(), store: there.clone() };
    let config = Config::new(dir.path());
    let what = (pen.log.clone(), Layout::within(dir.path()), held(&pen.log).await);
    let carrier = Carrier::new(mirror, place, what, (config.keep, config.clock));
    // Somebody was first under a name of the tree, and lays something over an anchor.
    there.lay("pack/001", Some(b"not the city's"));
    carrier.mend().await.unwrap();
    carrier.carry().await.unwrap();
    there.lay(&key_of(&service, 1).await, Some(b"not the city's"));
    there.destroy("tile/0/001");
    carrier.mend().await.unwrap();
    let survey = carrier.status(Some(3)).survey.unwrap();
    assert_eq!((survey.missing.count, survey.strays.count), (1, 2), "{survey:?}");
    carrier.mend().await.unwrap();
    let survey = carrier.status(Some(3)).survey.unwrap();
    assert_eq!((survey.missing.count, survey.strays.count), (0, 2), "{survey:?}");
}
