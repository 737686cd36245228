//! What an anchor carries, what becomes of one that failed at any step, when the next is due, and what making it costs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chain::Hash;
use chain::hash::sha256;
use chain::note::SigningKey;
use serde_json::Value;
use timestamp::{Answered, Fault, Roots, Stamp};
use tokio::sync::{Notify, watch};

use super::flaky::{Fails, Flaky};
use super::strays::{forged, sign};
use super::{Pen, held, key, policy, published, service};
use crate::anchor_format::{self, new_files};
use crate::{
    Anchor, AnchorError, Authority, Config, Directory, Service, Store, TimeFailure, TimeSource, Verdict, WrongClock,
};

async fn open(config: Config, pen: &Arc<Pen>, store: Arc<dyn Store>) -> Result<Service, AnchorError> {
    let service = Service::open(config, pen.log.clone(), held(&pen.log).await, store, pen.clone()).await?;
    match service.startup_check().await? {
        Verdict::Good => Ok(service),
        Verdict::ReadOnly { reason, .. } => panic!("{reason}"),
    }
}

fn directory(dir: &Path) -> Directory {
    Directory::new(dir.join("store"))
}

fn anchor(dir: &Path, key: &str) -> Anchor {
    serde_json::from_slice(&fs::read(dir.join("store").join(key)).unwrap()).unwrap()
}

/// Every anchor in the folder of a store, in the order of their keys: each names the one before, and there is no other of its number.
fn chain_in(store: &Path) -> Vec<Anchor> {
    let mut names: Vec<_> = fs::read_dir(store.join("anchors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let mut before: Option<(String, Hash)> = None;
    let mut anchors = Vec::new();
    for (seq, name) in names.iter().enumerate() {
        let (path, bytes) = (format!("anchors/{name}"), fs::read(store.join("anchors").join(name)).unwrap());
        let (anchor, _) = anchor_format::read(&path, &bytes, &policy()).unwrap();
        assert_eq!(anchor.seq, seq as u64, "{names:?}");
        let named = anchor.previous.as_ref().map(|previous| (previous.key.clone(), previous.sha256));
        assert_eq!(named, before, "{path}");
        for (file, digest) in &anchor.files {
            assert_eq!(sha256(&[&fs::read(store.join(file)).unwrap()]), *digest, "{file}");
        }
        before = Some((path, sha256(&[&bytes])));
        anchors.push(anchor);
    }
    anchors
}

/// Numbers and hashes of the anchors that the log speaks of, twice in a row counted once.
async fn on_record(pen: &Pen) -> Vec<(u64, String)> {
    let entries = pen.log.read_stream("log", 0, 10_000).await.unwrap();
    let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let entries = entries.filter(|entry| entry["type"] == anchor_format::ANCHORED);
    let said =
        |entry: Value| (entry["data"]["seq"].as_u64().unwrap(), entry["data"]["sha256"].as_str().unwrap().to_owned());
    let mut all: Vec<_> = entries.map(said).collect();
    all.dedup();
    all
}

#[tokio::test]
async fn an_anchor_names_the_heads_that_the_log_has_committed_to() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(10, "a").await;
    let first = service.anchor_now().await.unwrap();
    let anchor = anchor(dir.path(), &first.key);
    assert_eq!((anchor.v, anchor.time), (3, None));
    let committed = pen.log.read_stream("log", 0, 10).await.unwrap();
    let committed: Value = serde_json::from_slice(&committed[0].bytes).unwrap();
    assert_eq!(committed["type"], "log.heads_committed.v1");
    assert_eq!(serde_json::to_value(anchor.heads.unwrap()).unwrap(), committed["data"]);
}

#[test]
fn an_anchor_has_one_spelling_and_the_logs_signature_over_all_of_it() {
    let (_, good) = forged(1, 20, &key());
    let read = |bytes: &[u8]| anchor_format::read("anchors/y", bytes, &policy()).map(|_| ());
    read(&good).unwrap();
    let changed = |name: &str, value: Value| {
        let mut anchor: Value = serde_json::from_slice(&good).unwrap();
        anchor[name] = value;
        chain::canonical::to_bytes(&anchor).unwrap()
    };
    let stranger = SigningKey::from_seed(super::ORIGIN, [9; 32]);
    let by_stranger = {
        let mut anchor: Anchor = serde_json::from_slice(&good).unwrap();
        sign(&mut anchor, &stranger);
        anchor.to_bytes().unwrap().into_bytes()
    };
    let spaced = [&good[..], b"\n"].concat();
    let mut seen = 0;
    for (bytes, words) in [
        (changed("v", 2.into()), "it is an anchor of version 2"),
        (changed("signature", "".into()), "it is not signed"),
        (changed("signature", "no line".into()), "a note ends with a newline"),
        (by_stranger, "which anybody can copy"),
        (spaced, "it is not canonical JSON"),
        (changed("at", "2026-07-04T09:10:00.000001Z".into()), "does not verify"),
        (changed("files", serde_json::json!({"pack/000": sha256(&[b"x"])})), "does not verify"),
        (changed("previous", serde_json::json!({"key": "anchors/x", "sha256": sha256(&[b"x"])})), "does not verify"),
        (changed("seq", 2.into()), "does not verify"),
        (changed("software", "another".into()), "does not verify"),
        (changed("heads", serde_json::json!({"as_of": 1, "root": sha256(&[b"x"])})), "does not verify"),
        (changed("time", serde_json::json!({"token": "AA=="})), "does not verify"),
    ] {
        let why = read(&bytes).unwrap_err().to_string();
        assert!(why.contains(words), "expected {words:?} in {why}");
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// Answers nobody until it is let go, and then says that it is away.
#[derive(Debug, Default)]
struct Away {
    hangs: bool,
    go: Notify,
}

#[async_trait]
impl Authority for Away {
    fn place(&self) -> String {
        "http://time.example".to_owned()
    }

    fn verify(&self, _: &[u8], _: Hash) -> Result<Stamp, Fault> {
        Err(Fault::Signature)
    }

    async fn stamp(&self, _: Hash) -> Result<Answered, TimeFailure> {
        if self.hangs {
            self.go.notified().await;
        }
        Err(TimeFailure::Unreachable { place: self.place(), what: "away".to_owned() })
    }
}

#[tokio::test]
async fn an_authority_that_is_away_stops_nothing_unless_it_is_required() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    let with = |required: bool| {
        let time = Some(TimeSource { authority: Arc::new(Away::default()), required, wrong_clock: WrongClock::Refuse });
        open(Config { time, ..Config::new(dir.path()) }, &pen, Arc::new(directory(dir.path())))
    };
    let service = with(false).await.unwrap();
    let first = service.anchor_now().await.unwrap();
    assert_eq!(anchor(dir.path(), &first.key).time, None);
    let status = service.status().await.unwrap();
    let time = status.time.unwrap();
    assert!(time.trouble.unwrap().contains("http://time.example: away") && time.newest.is_none());
    assert_eq!(status.trouble, None, "nothing is wrong with the anchor");
    drop(service);

    let strict = with(true).await.unwrap();
    let refused = strict.anchor_now().await.unwrap_err();
    assert!(matches!(refused, AnchorError::Time(_)), "{refused}");
    assert!(!dir.path().join("anchoring/staged.json").exists());
    assert!(strict.status().await.unwrap().trouble.unwrap().contains("no anchor is written without a time token"));
    pen.write(5, "b").await;
    assert!(strict.publish(false).await.unwrap(), "signing goes on");
    drop(strict);
    assert_eq!(with(false).await.unwrap().anchor_now().await.unwrap().seq, 1, "no number was lost");
    assert_eq!(chain_in(&dir.path().join("store")).len(), 2);
}

#[tokio::test]
async fn nobody_waits_for_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    let away = Arc::new(Away { hangs: true, go: Notify::new() });
    let authority: Arc<dyn Authority> = away.clone();
    let time = Some(TimeSource { authority, required: false, wrong_clock: WrongClock::Refuse });
    let config = Config { time, ..Config::new(dir.path()) };
    let service = Arc::new(open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap());
    let asking = Arc::clone(&service);
    let anchoring = tokio::spawn(async move { asking.anchor_now().await });
    while !dir.path().join("public/checkpoint").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    pen.write(5, "b").await;
    let published = tokio::time::timeout(Duration::from_secs(20), service.publish(false)).await;
    assert!(published.expect("signing does not wait").unwrap());
    tokio::time::timeout(Duration::from_secs(20), service.status()).await.expect("nor does the status").unwrap();
    assert!(!anchoring.is_finished());
    away.go.notify_one();
    assert_eq!(anchoring.await.unwrap().unwrap().seq, 0);
}

/// Says of everything that it was seen at 2026-11-28T02:56:54Z.
#[derive(Debug)]
struct Seeing;

#[async_trait]
impl Authority for Seeing {
    fn place(&self) -> String {
        "http://time.example".to_owned()
    }

    fn verify(&self, _: &[u8], _: Hash) -> Result<Stamp, Fault> {
        Err(Fault::Signature)
    }

    async fn stamp(&self, _: Hash) -> Result<Answered, TimeFailure> {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("timestamp/vectors");
        let read = |name: &str| fs::read(vectors.join(name)).unwrap();
        let (token, roots) = (read("accept/direct.der"), Roots::from_pem(&read("root.pem")).unwrap());
        let stamp = timestamp::verify(&token, sha256(&[&read("stamped.json")]).as_bytes(), &roots).unwrap();
        Ok(Answered { token, stamp })
    }
}

#[tokio::test]
async fn a_clock_is_wrong_by_more_than_a_minute_and_an_anchor_held_up_by_the_one_before_it_is_not() {
    let pen_in = async |clock: fn() -> String, wrong_clock: WrongClock| {
        let dir = tempfile::tempdir().unwrap();
        let pen = Pen::open(dir.path()).await;
        pen.write(5, "a").await;
        let time = Some(TimeSource { authority: Arc::new(Seeing), required: false, wrong_clock });
        let config = Config { time, clock, ..Config::new(dir.path()) };
        let anchored = open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap().anchor_now().await;
        (anchored.map(|anchored| anchor(dir.path(), &anchored.key).time.is_some()), dir, pen)
    };
    let (right, two_minutes) =
        (|| "2026-11-28T02:57:40.000000Z".to_owned(), || "2026-11-28T02:58:54.000000Z".to_owned());
    assert!(pen_in(right, WrongClock::Refuse).await.0.unwrap());
    let refused = pen_in(two_minutes, WrongClock::Refuse).await.0.unwrap_err();
    assert!(matches!(refused, AnchorError::Clock(_)) && refused.is_alarming(), "{refused}");
    assert!(pen_in(two_minutes, WrongClock::Warn).await.0.unwrap(), "auditors take it, who allow five");

    // The anchor before it was made by a clock that was six minutes ahead: this one is no older, and has no token.
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    for (seq, clock, asks) in
        [(0, (|| "2026-11-28T03:02:54.000000Z".to_owned()) as fn() -> String, false), (1, right, true)]
    {
        pen.write(5, "a").await;
        let source = TimeSource { authority: Arc::new(Seeing), required: false, wrong_clock: WrongClock::Refuse };
        let config = Config { time: asks.then_some(source), clock, ..Config::new(dir.path()) };
        let service = open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap();
        let anchored = service.anchor_now().await.unwrap();
        assert_eq!((anchored.seq, anchor(dir.path(), &anchored.key).time), (seq, None));
        if let Some(time) = service.time() {
            assert!(time.trouble.unwrap().contains("the anchor before this one says") && time.wrong_clock.is_none());
        }
    }
}

/// Says that this server's clock is wrong, and then nothing any more.
#[derive(Debug, Default)]
struct FallsSilent(AtomicBool);

#[async_trait]
impl Authority for FallsSilent {
    fn place(&self) -> String {
        "http://time.example".to_owned()
    }

    fn verify(&self, _: &[u8], _: Hash) -> Result<Stamp, Fault> {
        Err(Fault::Signature)
    }

    async fn stamp(&self, imprint: Hash) -> Result<Answered, TimeFailure> {
        if self.0.swap(true, Ordering::Relaxed) {
            return Err(TimeFailure::Unreachable { place: self.place(), what: "away".to_owned() });
        }
        Seeing.stamp(imprint).await
    }
}

#[tokio::test]
async fn an_authority_that_falls_silent_does_not_take_back_that_the_clock_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    let authority = Arc::new(FallsSilent::default());
    let time = Some(TimeSource { authority, required: false, wrong_clock: WrongClock::Refuse });
    let config = Config { time, clock: || "2026-11-30T02:56:54.000000Z".to_owned(), ..Config::new(dir.path()) };
    let service = open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap();
    service.anchor_now().await.unwrap_err();
    let refused = service.anchor_now().await.unwrap_err();
    assert!(matches!(refused, AnchorError::Clock(_)), "nor does it make an anchor good: {refused}");
    let time = service.time().unwrap();
    assert!(time.trouble.unwrap().contains("away"));
    assert!(time.wrong_clock.is_some_and(|told| told.contains("2026-11-30")));
}

#[tokio::test]
async fn an_anchor_that_was_asked_for_while_one_was_due_is_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    let away = Arc::new(Away { hangs: true, go: Notify::new() });
    let time = Some(TimeSource { authority: away.clone(), required: false, wrong_clock: WrongClock::Refuse });
    let config = Config { time, checkpoint_every: Duration::from_millis(20), ..Config::new(dir.path()) };
    let service = Arc::new(open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap());
    let asking = Arc::clone(&service);
    let asked = tokio::spawn(async move { asking.anchor_now().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A start: nothing was anchored yet, so one is due. It waits for its turn.
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn(Arc::clone(&service).run(stopped));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!asked.is_finished());
    for _ in 0..50 {
        away.go.notify_one();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked.await.unwrap().unwrap().seq, 0);
    stop.send_replace(true);
    worker.await.unwrap();
    assert_eq!(chain_in(&dir.path().join("store")).len(), 1);
}

/// A store that fails at call k of an anchor, for all k, and is there again afterwards: one chain, no number twice, all of it on record.
async fn one_chain_wherever_it_fails(how: Fails) {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(300, "a").await;
    let mut failures = 0;
    for calls in 0.. {
        pen.write(1, "b").await;
        let store = Arc::new(Flaky::failing_after(directory(dir.path()), i64::MAX, how));
        let failed = match open(Config::new(dir.path()), &pen, store.clone()).await {
            Ok(service) => {
                store.fail_after(calls);
                service.anchor_now().await.is_err()
            }
            Err(error) => panic!("{error}"),
        };
        failures += u32::from(failed);
        // The process dies with it; the next one finds what it left.
        let service = open(Config::new(dir.path()), &pen, Arc::new(directory(dir.path()))).await.unwrap();
        service.anchor_now().await.unwrap();
        if !failed {
            break;
        }
    }
    assert!(failures > 10, "only {failures} calls were cut off");
    let anchors = chain_in(&dir.path().join("store"));
    let recorded = on_record(&pen).await;
    assert_eq!(recorded.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (0..anchors.len() as u64).collect::<Vec<_>>());
    for (anchor, (_, digest)) in anchors.iter().skip(1).zip(&recorded) {
        assert_eq!(anchor.previous.as_ref().unwrap().sha256.to_string(), *digest);
    }
}

#[tokio::test]
async fn a_store_that_fails_before_any_call_ends_in_one_chain() {
    one_chain_wherever_it_fails(Fails::Before).await;
}

#[tokio::test]
async fn a_store_that_fails_after_any_call_ends_in_one_chain() {
    one_chain_wherever_it_fails(Fails::After).await;
}

#[tokio::test]
async fn an_idle_log_is_anchored_all_the_same_and_a_restart_does_not_postpone_it() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(300, "a").await;
    service(dir.path(), &pen).await.anchor_now().await.unwrap();
    // No process lives long enough to see a heartbeat go by.
    for _ in 0..12 {
        let config = Config {
            checkpoint_every: Duration::from_millis(20),
            anchor_every: Duration::from_secs(3600),
            heartbeat: Duration::from_millis(1500),
            ..Config::new(dir.path())
        };
        let service = Arc::new(open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap());
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn(Arc::clone(&service).run(stopped));
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.send_replace(true);
        worker.await.unwrap();
    }
    let anchors = chain_in(&dir.path().join("store"));
    assert!((3..=6).contains(&anchors.len()), "{} anchors in six seconds", anchors.len());
    // Nothing but what the log says of the anchor before: the last tile, its bundle, its pack.
    assert!(anchors[1..].iter().all(|anchor| anchor.files.len() <= 4), "{anchors:?}");
    assert_eq!(on_record(&pen).await.len(), anchors.len());
}

#[tokio::test]
async fn an_anchor_reads_what_is_new_and_lists_nothing_but_its_own_number() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let store = Arc::new(Flaky::counting(directory(dir.path())));
    let service = open(Config::new(dir.path()), &pen, store.clone()).await.unwrap();
    // A chain of some length, and a log that is long beside what comes.
    for salt in 0..30 {
        pen.write(if salt == 0 { 30_000 } else { 1 }, &salt.to_string()).await;
        service.anchor_now().await.unwrap();
    }
    let old = published(dir.path()).size;
    // Whatever is full and not at the right edge is not there any more: nobody may want it.
    for folder in ["public/tile/0", "public/tile/entries", "packs/pack"] {
        for index in 0..old / 256 - 1 {
            fs::remove_file(dir.path().join(folder).join(format!("{index:03}"))).unwrap();
        }
    }
    pen.write(1000, "new").await;
    let before = service.status().await.unwrap().anchored.unwrap().size;
    store.forget();
    let anchored = service.anchor_now().await.unwrap();
    let files = new_files(before, anchored.size).len();
    assert!(files < 3 * (1000 / 256 + 2) + 4, "{files} files of 1,000 entries");
    assert_eq!(store.count("put"), files + 1, "each file once, and the anchor");
    assert!(store.count("get") <= 4, "{:?}", store.asked.lock().unwrap());
    assert!(*store.listed.lock().unwrap() <= 4, "{:?}", store.asked.lock().unwrap());
    let listed =
        store.asked.lock().unwrap().iter().filter(|(call, prefix)| *call == "page" && prefix == "anchors/").count();
    assert_eq!(listed, 0, "the chain is not listed");
}

#[tokio::test]
async fn an_anchor_that_nobody_would_read_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let config = Config { software: "x".repeat(5 << 20), ..Config::new(dir.path()) };
    let service = open(config, &pen, Arc::new(directory(dir.path()))).await.unwrap();
    pen.write(5, "a").await;
    let refused = service.anchor_now().await.unwrap_err().to_string();
    assert!(refused.contains("more than readers take"), "{refused}");
    assert!(!dir.path().join("store/anchors").exists() && !dir.path().join("anchoring/staged.json").exists());
}
