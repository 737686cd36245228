//! A key that is retired by now, in other hands: whoever has it can choose the size, and with it the time at which it was in force.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chain::note::SigningKey;

use super::archive::{read_by, rotated};
use super::strays::{forged, sign};
use super::{ORIGIN, Pen, held_by, key};
use crate::anchor_format::{self, numbers};
use crate::archive::Wanted;
use crate::mirror::Carrier;
use crate::{Anchor, Config, Directory, Layout, Mirror, Row, Service, Store, Verdict};

async fn open(dir: &Path, at: &Path, pen: &Arc<Pen>) -> Service {
    let store: Arc<dyn Store> = Arc::new(Directory::new(dir.join("store")));
    let keys = held_by(&pen.log, &[8], None).await;
    Service::open(Config::new(at), pen.log.clone(), keys, store, pen.clone()).await.unwrap()
}

fn anchors(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir.join("store/anchors"))
        .unwrap()
        .map(|entry| format!("anchors/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.sort_unstable();
    names
}

/// An anchor of this number around the log's first checkpoint, that goes on from its newest one, signed by the retired key.
fn laid(dir: &Path, seq: u64) -> (String, Vec<u8>) {
    laid_around(dir, 0, seq, &key())
}

/// The same around the checkpoint of another anchor, signed by this key.
fn laid_around(dir: &Path, place: usize, seq: u64, by: &SigningKey) -> (String, Vec<u8>) {
    let all = anchors(dir);
    let read = |key: &String| fs::read(dir.join("store").join(key)).unwrap();
    let newest = all.last().unwrap();
    let mut anchor: Anchor = serde_json::from_slice(&read(&all[place])).unwrap();
    let size = numbers(&all[place]).unwrap().1;
    (anchor.seq, anchor.files) = (seq, [].into());
    let sha256 = chain::hash::sha256(&[&read(newest)]);
    anchor.previous = Some(crate::Previous { key: newest.clone(), sha256, version: None });
    sign(&mut anchor, by);
    (anchor_format::key(seq, size), anchor.to_bytes().unwrap().into_bytes())
}

#[tokio::test]
async fn what_a_retired_key_signs_about_its_time_is_nothing_new() {
    let (dir, pen) = rotated().await;
    let dir = dir.path();
    let honest = anchors(dir);
    let next = honest.len() as u64;
    let (_, first_size) = numbers(&honest[0]).unwrap();
    let strays = [
        laid(dir, next),
        laid(dir, next + 1),
        laid(dir, (1 << 53) - 1),
        // With another root, of a size of which the log has an anchor and of one of which it has none.
        forged(next + 2, first_size, &key()),
        forged(next + 3, first_size - 1, &key()),
    ];
    for (name, bytes) in &strays {
        fs::write(dir.join("store").join(name), bytes).unwrap();
    }
    // What was kept is read back, whichever keys the policy gives.
    for seeds in [&[8][..], &[7, 8]] {
        let (_, verified) = read_by(dir, seeds, Wanted::default()).await.unwrap();
        let said = verified.remarks.join("\n");
        assert_eq!((verified.anchors, verified.unbroken), (honest.len(), true), "{said}");
        assert!(strays.iter().all(|(name, _)| said.contains(name)), "{said}");
    }
    // The city goes on, here and at another place.
    let service = open(dir, dir, &pen).await;
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    pen.write(5, "on").await;
    assert_eq!(service.anchor_now().await.unwrap().seq, next);
    drop(service);
    let elsewhere = tempfile::tempdir().unwrap();
    let service = open(dir, elsewhere.path(), &pen).await;
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    service.publish(true).await.unwrap_err();
    assert_eq!(service.adopt().await.unwrap().seq, next + 1);
    let out = elsewhere.path().join("export");
    let exported = service.export(&out, true, &mut |_, _| {}).await.unwrap();
    assert_eq!((exported.anchors, exported.strays.len()), (next + 2, strays.len()), "{exported:?}");
    let named = service.survey(true).await.unwrap();
    assert_eq!((named.missing.count, named.strays.count), (0, strays.len() as u64), "{named:?}");
}

#[tokio::test]
async fn a_mirror_is_brought_what_is_new_beside_what_a_retired_key_signed() {
    let (dir, pen) = rotated().await;
    let dir = dir.path();
    let mirror = Arc::new(Directory::new(dir.join("mirror")));
    let first = Arc::new(Directory::new(dir.join("store")));
    let (config, keys) = (Config::new(dir), held_by(&pen.log, &[8], None).await);
    let what = (pen.log.clone(), Layout::within(dir), keys);
    let there = Mirror { name: "other".to_owned(), store: mirror.clone() };
    let carrier = Carrier::new(there.clone(), first.clone(), what.clone(), (config.keep, config.clock));
    carrier.carry().await.unwrap();
    let (name, bytes) = laid(dir, anchors(dir).len() as u64);
    fs::write(dir.join("mirror").join(name), bytes).unwrap();
    let service = open(dir, dir, &pen).await;
    service.startup_check().await.unwrap();
    pen.write(5, "on").await;
    let newest = service.anchor_now().await.unwrap();
    let carrier = Carrier::new(there, first, what, (config.keep, config.clock));
    carrier.carry().await.unwrap();
    assert!(dir.join("mirror").join(&newest.key).exists());
}

#[tokio::test]
async fn an_anchor_of_more_than_is_published_is_named_by_an_export() {
    let (dir, _pen) = rotated().await;
    let dir = dir.path();
    let number = anchors(dir).len() as u64;
    let (name, bytes) = forged(number, 5000, &SigningKey::from_seed(ORIGIN, [8; 32]));
    fs::write(dir.join("store").join(&name), bytes).unwrap();
    let (layout, store) = (Layout::within(dir), Directory::new(dir.join("store")));
    let out = dir.join("evidence");
    let exported = crate::export(&layout, Some((&store, None)), &out, true, &mut |_, _| {}).await.unwrap();
    assert_eq!(exported.beyond.iter().map(|beyond| (&*beyond.key, beyond.size)).collect::<Vec<_>>(), [(&*name, 5000)]);
}

#[tokio::test]
async fn what_is_no_file_under_the_name_of_an_anchor_is_a_stray() {
    let (dir, pen) = rotated().await;
    let dir = dir.path();
    let count = anchors(dir).len() as u64;
    let (link, pipe) = (anchor_format::key(count, 5000), anchor_format::key(count + 1, 5000));
    symlink("/nowhere/at/all", dir.join("store").join(&link)).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("store").join(&pipe)).status().unwrap().success());
    let (_, verified) = read_by(dir, &[8], Wanted::default()).await.unwrap();
    assert_eq!(verified.anchors as u64, count);
    let service = open(dir, dir, &pen).await;
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    pen.write(5, "on").await;
    service.anchor_now().await.unwrap();
    let strays: Vec<_> = service
        .list()
        .await
        .unwrap()
        .into_iter()
        .filter_map(|row| if let Row::Stray { key, .. } = row { Some(key) } else { None })
        .collect();
    assert_eq!(strays, [link, pipe]);
}

#[tokio::test]
async fn a_high_number_around_an_old_checkpoint_hides_no_anchor_that_covers_more() {
    let (dir, pen) = rotated().await;
    let dir = dir.path();
    let newer = SigningKey::from_seed(ORIGIN, [8; 32]);
    let next = anchors(dir).len() as u64;
    let (hidden, bytes) = forged(next, 5000, &newer);
    let (above, above_bytes) = laid_around(dir, anchors(dir).len() - 1, next + 1, &newer);
    fs::write(dir.join("store").join(&hidden), bytes).unwrap();
    fs::write(dir.join("store").join(above), above_bytes).unwrap();
    let verdict = open(dir, dir, &pen).await.startup_check().await.unwrap();
    assert!(verdict.refusal().is_some_and(|reason| reason.contains(&hidden)), "the log was longer");
}

#[tokio::test]
async fn nothing_goes_on_from_an_anchor_that_covers_less_than_the_one_on_record() {
    let (dir, pen) = rotated().await;
    let dir = dir.path();
    let (name, bytes) = laid_around(dir, 1, anchors(dir).len() as u64, &SigningKey::from_seed(ORIGIN, [8; 32]));
    fs::write(dir.join("store").join(&name), bytes).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let service = open(dir, elsewhere.path(), &pen).await;
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    let refused = service.adopt().await.unwrap_err().to_string();
    assert!(refused.contains(&name) && refused.contains("covers less"), "{refused}");
}

#[tokio::test]
async fn a_line_of_a_key_that_the_log_never_had_makes_another_object_of_an_anchor() {
    let (dir, pen) = rotated().await;
    let keys = held_by(&pen.log, &[8], None).await;
    let newest = dir.path().join("store").join(anchors(dir.path()).pop().unwrap());
    let mut anchor: Anchor = serde_json::from_slice(&fs::read(newest).unwrap()).unwrap();
    keys.open_anchor(&anchor).unwrap();
    let text = chain::anchor::text(ORIGIN, &anchor.unsigned().unwrap());
    anchor.signature.push_str(&SigningKey::from_seed(ORIGIN, [9; 32]).sign(&text));
    let why = keys.open_anchor(&anchor).unwrap_err();
    assert!(why.contains("a key that this log never had"), "{why}");
}
