//! Publishing and anchoring a real log on SQLite, with a crash or an attack between every two steps.

#![allow(clippy::unwrap_used)]

mod anchors;
mod archive;
mod flaky;
mod heads;
mod intruders;
mod keys;
mod mirrors;
mod patience;
mod places;
mod retired;
mod shelf;
mod strays;
mod surveys;
mod witnesses;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use chain::Hash;
use chain::checkpoint;
use chain::entry::{self, Entry, entry_hash};
use chain::note::SigningKey;
use chain::policy::Policy;
use chain::tree::{Frontier, leaf_hash, verify_consistency};
use eventlog::{Append, Failure, Location, Log, LogConfig, Recorder, Stored, Writer};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::files::Pending;
use crate::growth::Growth;
use crate::signer::{InMemory, Signer};
use crate::store::{Kind, Object, Page, Retention, Written};
use crate::{AnchorError, Config, Directory, Layout, Row, Service, SigningKeys, Store, Verdict};

const ORIGIN: &str = "guildhall.example/test";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

fn policy() -> Policy {
    crate::keys::policy(&[key().verifier()], None).unwrap()
}

/// The keys of a log that has this one, and asks nobody to witness.
async fn held(log: &Log) -> Arc<SigningKeys> {
    held_by(log, &[7], None).await
}

/// The keys of these seeds.
async fn held_by(log: &Log, seeds: &[u8], witnesses: Option<&str>) -> Arc<SigningKeys> {
    let signers = seeds.iter().map(|seed| signer(*seed)).collect();
    SigningKeys::open(log, signers, witnesses).await.unwrap()
}

fn signer(seed: u8) -> Arc<dyn Signer> {
    Arc::new(InMemory::new(SigningKey::from_seed(ORIGIN, [seed; 32]), "memory"))
}

/// Version and hash of the last entry of each stream.
type Tips = HashMap<String, (u64, Hash)>;

/// A log with its one writer, which also records what the anchors record.
struct Pen {
    log: Log,
    writer: Mutex<(Writer, Tips)>,
}

impl Pen {
    async fn open(dir: &Path) -> Arc<Self> {
        let config = LogConfig {
            location: Location::Sqlite { dir: dir.to_owned() },
            origin: ORIGIN.to_owned(),
            allow_unsafe: false,
            allow_owner: false,
            create: true,
        };
        let log = Log::open(config).await.unwrap();
        let writer = log.writer().await.unwrap();
        Arc::new(Self { log, writer: Mutex::new((writer, HashMap::new())) })
    }

    async fn append(&self, stream: &str, kind: &str, all: &[Value]) -> u64 {
        let (writer, tips) = &mut *self.writer.lock().await;
        let batch = writer.begin().await.unwrap();
        let (size, at) = (batch.head().size, batch.now());
        let mut entries = Vec::new();
        for (position, data) in (size..).zip(all) {
            let (version, prev) = tips.get(stream).map_or((0, Hash::ZERO), |tip| (tip.0 + 1, tip.1));
            let entry = Entry {
                stream: stream.to_owned(),
                version,
                kind: kind.to_owned(),
                at: jiff::Timestamp::from_microsecond(at).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
                actor: entry::Actor { kind: "system".to_owned(), id: "guildhall".to_owned() },
                via: "system".to_owned(),
                on_behalf_of: None,
                cause: None,
                command: format!("cmd_{position}"),
                nonce: u128::from(position).to_be_bytes(),
                data: data.clone(),
                sealed: None,
            };
            let bytes = entry.to_bytes().unwrap();
            let hash = entry_hash(ORIGIN, &prev, &bytes);
            tips.insert(stream.to_owned(), (version, hash));
            entries.push(Stored { position, stream: stream.to_owned(), version, prev, hash, bytes: bytes.into() });
        }
        batch.commit(Append { at, entries, ..Append::default() }).await.unwrap();
        size
    }

    /// Appends so many entries that differ by `salt`.
    async fn write(&self, count: u64, salt: &str) {
        let denied =
            |number| json!({"action": "guild.found", "code": "not_permitted", "count": number, "credential": salt});
        let all: Vec<Value> = (1..=count).map(denied).collect();
        for batch in all.chunks(500) {
            self.append("refusals", "refusal.denied.v1", batch).await;
        }
    }
}

#[async_trait]
impl Recorder for Pen {
    async fn record(&self, kind: &str, data: Value) -> Result<u64, Failure> {
        Ok(self.append("log", kind, &[data]).await)
    }
}

async fn service(dir: &Path, pen: &Arc<Pen>) -> Service {
    let store = Arc::new(Directory::new(dir.join("store")));
    let recorder: Arc<dyn Recorder> = pen.clone();
    let service =
        Service::open(Config::new(dir), pen.log.clone(), held(&pen.log).await, store, recorder).await.unwrap();
    assert!(service.publish(true).await.is_err(), "not before the check");
    service.startup_check().await.unwrap();
    service
}

fn published(dir: &Path) -> checkpoint::Checkpoint {
    checkpoint::open(&fs::read_to_string(dir.join("public/checkpoint")).unwrap(), &policy()).unwrap()
}

async fn root_of(log: &Log, size: u64) -> Hash {
    let mut frontier = Frontier::new();
    for entry in log.read(0, usize::try_from(size).unwrap()).await.unwrap() {
        frontier.push(leaf_hash(&entry.hash.0));
    }
    frontier.root()
}

#[tokio::test]
async fn what_is_in_the_log_is_published_and_every_entry_proved() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    assert!(!service.publish(false).await.unwrap());
    let mut last: Option<checkpoint::Checkpoint> = None;
    for count in [1, 254, 1, 1, 300, 700] {
        pen.write(count, "a").await;
        assert!(service.publish(false).await.unwrap());
        assert!(!service.publish(false).await.unwrap());
        let now = published(dir.path());
        assert_eq!(now.root, root_of(&pen.log, now.size).await);
        if let Some(last) = &last {
            let proof = service.prover().consistency(last.size, now.size).unwrap();
            assert!(verify_consistency(last.size, &last.root, now.size, &now.root, &proof));
        }
        last = Some(now);
    }
    let prover = service.prover();
    for entry in pen.log.read(0, 2000).await.unwrap().iter().step_by(97) {
        let proof = prover.prove(entry.position).unwrap().unwrap().what;
        proof.verify(&leaf_hash(&entry.hash.0), &policy()).unwrap();
        let receipt = prover.receipt(entry.position).unwrap().unwrap().what;
        assert_eq!(receipt.entry.as_bytes(), &entry.bytes[..]);
    }
    assert!(prover.prove(1257).unwrap().is_none());
    // The partial files of runs that are full are gone; those of the newest size are there.
    assert!(!dir.path().join("public/tile/0/000.p").exists());
    assert!(dir.path().join("public/tile/0/004.p/233").exists());
}

#[tokio::test]
async fn the_right_edge_comes_back_from_files_at_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(1200, "a").await;
    let entries = pen.log.read(0, 1200).await.unwrap();
    let layout = Layout::within(dir.path());
    let mut whole = Growth::default();
    let mut files: Vec<Pending> = Vec::new();
    for entry in &entries {
        whole.push(&layout, entry, &mut files);
        if entry.position % 83 == 0 || entry.position % 256 == 255 {
            files.extend(whole.partial(&layout));
            crate::files::publish(&files).unwrap();
            files.clear();
            let again = Growth::restore(&layout, whole.size()).unwrap();
            assert_eq!((again.size(), again.root()), (whole.size(), whole.root()));
            let (ours, theirs) = (whole.partial(&layout), again.partial(&layout));
            assert!(
                ours.iter().zip(&theirs).all(|(a, b)| a.path == b.path && a.bytes == b.bytes)
                    && ours.len() == theirs.len()
            );
        }
    }
}

#[tokio::test]
async fn the_logs_own_entries_are_no_growth_but_ride_along() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(3, "a").await;
    assert!(service.publish(false).await.unwrap());
    pen.append("log", "log.noted.v1", &[json!({})]).await;
    assert!(!service.publish(false).await.unwrap());
    assert_eq!(published(dir.path()).size, 3);
    assert!(service.publish(true).await.unwrap(), "the heartbeat covers them");
    assert_eq!(published(dir.path()).size, 4);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_files_end_whatever_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    {
        let service = service(dir.path(), &pen).await;
        pen.write(600, "a").await;
        service.publish(false).await.unwrap();
        let again = Service::open(
            Config::new(dir.path()),
            pen.log.clone(),
            held(&pen.log).await,
            Arc::new(Directory::new(dir.path())),
            pen.clone(),
        )
        .await;
        assert!(matches!(again, Err(AnchorError::Locked(_))), "two processes never sign from one place");
    }
    // Died after signing, before showing.
    fs::remove_file(dir.path().join("public/checkpoint")).unwrap();
    {
        let service = service(dir.path(), &pen).await;
        assert_eq!(published(dir.path()).size, 600);
        // Died after writing files, before signing: they lie there already.
        pen.write(200, "b").await;
        service.publish(false).await.unwrap();
    }
    let state = dir.path().join("signing/signed.json");
    let (newer, checkpoint) = (fs::read(&state).unwrap(), fs::read(dir.path().join("public/checkpoint")).unwrap());
    fs::remove_dir_all(dir.path().join("public")).unwrap();
    fs::remove_dir_all(dir.path().join("packs")).unwrap();
    {
        // Everything published is gone: it is made again, byte for byte.
        let service = service(dir.path(), &pen).await;
        assert!(service.publish(false).await.unwrap());
        assert_eq!(fs::read(dir.path().join("public/checkpoint")).unwrap(), checkpoint);
        assert_eq!(fs::read(&state).unwrap(), newer);
    }
}

/// A second log of the same name whose entries differ from position `same` on.
async fn other_log(dir: &Path, same: u64, more: u64) -> Arc<Pen> {
    let pen = Pen::open(dir).await;
    pen.write(same, "a").await;
    pen.write(more, "z").await;
    pen
}

#[tokio::test]
async fn a_restored_backup_makes_the_server_read_only_and_names_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    {
        let service = service(dir.path(), &pen).await;
        assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
        pen.write(500, "a").await;
        service.anchor_now().await.unwrap();
        pen.write(100, "b").await;
        service.publish(false).await.unwrap();
        assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = other_log(&elsewhere.path().join("backup"), 450, 0).await;
    let forked = other_log(&elsewhere.path().join("forked"), 450, 400).await;
    for (pen, position, words) in [(&backup, 450, "was a backup restored?"), (&forked, 450, "are not those that")] {
        let service = service(dir.path(), pen).await;
        match service.startup_check().await.unwrap() {
            Verdict::ReadOnly { position: found, reason } => {
                // Times differ between the two logs, so already the first entry does.
                assert!(found == position || found == 0, "{found}");
                assert!(reason.contains(words), "{reason}");
            }
            Verdict::Good => panic!("a log that is not the signed one was accepted"),
        }
        let store = Directory::new(dir.path().join("store"));
        let beside =
            crate::compare(&Config::new(dir.path()), &pen.log, held(&pen.log).await.as_ref(), &store).await.unwrap();
        assert!(matches!(beside, Verdict::ReadOnly { .. }), "a server beside the publisher sees it too");
        let refused = service.publish(true).await.unwrap_err();
        assert!(refused.to_string().contains("signing is refused"), "{refused}");
        assert!(service.publish(true).await.is_err(), "and stays refused");
        assert_eq!(published(dir.path()).size, 602, "nothing was signed");
    }
    // Without signing state and publication, the newest anchor alone still knows.
    for gone in ["signing", "public", "packs"] {
        fs::remove_dir_all(dir.path().join(gone)).unwrap();
    }
    let service = service(dir.path(), &backup).await;
    assert!(
        matches!(service.startup_check().await.unwrap(), Verdict::ReadOnly { reason, .. } if reason.contains("the anchor anchors/"))
    );
}

#[tokio::test]
async fn anchors_name_each_other_and_every_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(10, "a").await;
    let first = service.anchor_now().await.unwrap();
    pen.write(300, "b").await;
    let second = service.anchor_now().await.unwrap();
    let third = service.anchor_now().await.unwrap();
    assert_eq!((first.seq, second.seq, third.seq), (0, 1, 2));
    // Each records itself, and before it the heads if one moved: entries for the next.
    assert_eq!((first.size, second.size, third.size), (11, 313, 314));
    let listed = service.list().await.unwrap().into_iter().filter_map(Row::anchor);
    assert_eq!(listed.map(|anchor| anchor.size).collect::<Vec<_>>(), [11, 313, 314]);
    let store = dir.path().join("store");
    let anchor: crate::Anchor = serde_json::from_slice(&fs::read(store.join(&second.key)).unwrap()).unwrap();
    assert_eq!(anchor.previous.unwrap().sha256, first.sha256);
    for (path, digest) in anchor.files {
        assert_eq!(chain::hash::sha256(&[&fs::read(store.join(&path)).unwrap()]), digest, "{path}");
    }
    let status = service.status().await.unwrap();
    assert_eq!((status.published, status.size, status.trouble), (315, 315, None));
    assert_eq!(status.anchored, Some(third));
}

#[tokio::test]
async fn published_files_are_compared_and_never_replaced_by_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let running = service(dir.path(), &pen).await;
    pen.write(300, "a").await;
    running.publish(false).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = Pen::open(&other.path().join("second")).await;
    second.write(400, "z").await;
    let swapped = crate::publisher::Publisher::open(
        second.log.clone(),
        held(&pen.log).await,
        Layout::within(dir.path()),
        crate::signing::SigningState::open(&other.path().join("signing"), &policy()).unwrap(),
    );
    let mut swapped = swapped.await.unwrap();
    swapped.compared(None);
    let mut seat = second.log.take_seat().await.unwrap().unwrap();
    let error = swapped.publish(&mut seat, true).await.unwrap_err();
    assert!(matches!(error, AnchorError::Rewritten { .. }), "published files are compared, not replaced: {error}");
}

/// A store that fails at a chosen moment.
struct Failing {
    inside: Directory,
    puts_left: AtomicI64,
    lists: bool,
}

#[async_trait]
impl Store for Failing {
    fn kind(&self) -> Kind {
        self.inside.kind()
    }

    fn place(&self) -> String {
        self.inside.place()
    }

    fn guarantee(&self) -> &'static str {
        self.inside.guarantee()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        if self.puts_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(AnchorError::Store("the network is away".to_owned()));
        }
        self.inside.put(key, bytes, retention).await
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        self.inside.get(key, version).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        if !self.lists {
            return Err(AnchorError::Unreachable("the network is away".to_owned()));
        }
        self.inside.page(prefix, after).await
    }
}

#[tokio::test]
async fn an_anchor_that_failed_anywhere_is_finished_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(300, "a").await;
    let mut expected: Option<Vec<u8>> = None;
    for puts in 0..12 {
        let store = Arc::new(Failing {
            inside: Directory::new(dir.path().join("store")),
            puts_left: AtomicI64::new(puts),
            lists: true,
        });
        let service = Service::open(Config::new(dir.path()), pen.log.clone(), held(&pen.log).await, store, pen.clone())
            .await
            .unwrap();
        service.startup_check().await.unwrap();
        let result = service.anchor_now().await;
        let staged = fs::read(dir.path().join("anchoring/staged.json"))
            .map(|staged| serde_json::from_slice::<Value>(&staged).unwrap());
        if let Some(staged) = staged.ok().filter(|staged| staged["key"] == crate::anchor_format::key(0, 301)) {
            let body = staged["body"].as_str().unwrap().as_bytes().to_vec();
            assert_eq!(*expected.get_or_insert_with(|| body.clone()), body, "never rebuilt");
        }
        if result.is_ok() {
            break;
        }
    }
    let stored = fs::read(dir.path().join("store").join(crate::anchor_format::key(0, 301))).unwrap();
    assert_eq!(Some(stored), expected);
    assert!(!dir.path().join("anchoring/staged.json").exists());
}

#[tokio::test]
async fn a_store_that_is_away_keeps_a_city_closed_only_where_nothing_else_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(5, "a").await;
    service(dir.path(), &pen).await.anchor_now().await.unwrap();
    let open = async || {
        let inside = Directory::new(dir.path().join("store"));
        let store = Arc::new(Failing { inside, puts_left: AtomicI64::new(0), lists: false });
        Service::open(Config::new(dir.path()), pen.log.clone(), held(&pen.log).await, store, pen.clone()).await.unwrap()
    };
    let remembers = open().await;
    assert_eq!(remembers.startup_check().await.unwrap(), Verdict::Good);
    assert!(matches!(remembers.publish(true).await, Err(AnchorError::Unreachable(_))), "it waits, and tries again");
    drop(remembers);
    fs::remove_dir_all(dir.path().join("signing")).unwrap();
    let forgot = open().await.startup_check().await.unwrap_err();
    assert!(matches!(forgot, AnchorError::Unreachable(_)) && !forgot.is_alarming(), "{forgot}");
}

#[tokio::test]
async fn a_store_that_holds_something_else_is_an_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(10, "a").await;
    service.anchor_now().await.unwrap();
    // A full file of the tree has one name for ever, and a folder one file of a name: no other size of the log is a way round it.
    let taken = dir.path().join("store/tile/0/000");
    fs::write(&taken, "something else").unwrap();
    // Nor do unfinished ones that are taken as well make the log grow for nothing.
    fs::create_dir_all(dir.path().join("store/tile/0/001.p")).unwrap();
    for width in 1..256 {
        fs::write(dir.path().join(format!("store/tile/0/001.p/{width}")), "something else").unwrap();
    }
    pen.write(300, "b").await;
    let error = service.anchor_now().await.unwrap_err();
    let place = dir.path().join("store").display().to_string();
    for words in ["tile/0/000 holds other bytes", &place, "remove it", "docs/recovery.md"] {
        assert!(error.is_alarming() && error.to_string().contains(words), "{error}");
    }
    assert!(service.status().await.unwrap().trouble.unwrap().contains("tile/0/000"));
    let size = pen.log.head().await.unwrap().size;
    for _ in 0..3 {
        service.anchor_now().await.unwrap_err();
    }
    assert!(pen.log.head().await.unwrap().size <= size + 1, "the log does not grow for nothing");
    pen.write(1, "c").await;
    assert!(service.publish(false).await.unwrap(), "signing goes on");
    fs::remove_file(&taken).unwrap();
    fs::remove_dir_all(dir.path().join("store/tile/0/001.p")).unwrap();
    assert_eq!(service.anchor_now().await.unwrap().seq, 2, "after what was on its way");
    assert!(service.survey(true).await.unwrap().is_clean());
}

#[tokio::test]
async fn an_export_has_everything_at_one_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(300, "a").await;
    service.anchor_now().await.unwrap();
    pen.write(400, "b").await;
    service.anchor_now().await.unwrap();
    pen.write(5, "c").await;
    service.publish(false).await.unwrap();
    let out = std::env::var_os("GUILDHALL_KEEP_EXPORT").map_or_else(|| dir.path().join("export"), Into::into);
    let exported = service.export(&out, true, &mut |_, _| ()).await.unwrap();
    assert_eq!((exported.size, exported.anchors), (709, 2));
    for path in ["policy", "checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/entries/002.p/197", "pack/002.p/197"] {
        assert!(out.join(path).exists(), "{path}");
    }
    // The same again into the same folder changes nothing; another log's does not go in.
    service.export(&out, true, &mut |_, _| ()).await.unwrap();
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("holiday.jpg"), "x").unwrap();
    assert!(service.export(&foreign, true, &mut |_, _| ()).await.is_err(), "somebody else's folder stays as it is");
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
    let bare = service.export(&dir.path().join("bare"), false, &mut |_, _| ()).await.unwrap();
    assert!(!bare.with_packs && !dir.path().join("bare/pack").exists());
}

#[tokio::test]
async fn the_worker_publishes_and_anchors_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let mut config = Config::new(dir.path());
    config.checkpoint_every = std::time::Duration::from_millis(20);
    let store = Arc::new(Directory::new(dir.path().join("store")));
    let service =
        Arc::new(Service::open(config, pen.log.clone(), held(&pen.log).await, store, pen.clone()).await.unwrap());
    service.startup_check().await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn(Arc::clone(&service).run(stopped));
    pen.write(20, "a").await;
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if service.status().await.unwrap().anchored.is_some() {
            break;
        }
    }
    pen.write(20, "b").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    stop.send_replace(true);
    worker.await.unwrap();
    let status = service.status().await.unwrap();
    assert_eq!(status.published, 42);
    assert_eq!(status.anchored.unwrap().seq, 0, "the second one is not due yet");
}

/// `cargo test --release -p guildhall-anchor -- --ignored --nocapture a_million`
#[tokio::test]
#[ignore = "a measurement, not a check: run it alone, in release"]
async fn a_million_entries_are_published_and_compared_at_this_rate() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let padding = "x".repeat(300);
    for _ in 0..20 {
        pen.write(50_000, &padding).await;
    }
    {
        let service = service(dir.path(), &pen).await;
        let started = std::time::Instant::now();
        service.publish(false).await.unwrap();
        println!("published a million entries in {:.2?}", started.elapsed());
    }
    let service = service(dir.path(), &pen).await;
    let started = std::time::Instant::now();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    println!("compared a million entries in {:.2?}", started.elapsed());
}
