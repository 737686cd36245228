//! Writes anchors: what was published, pinned in a store, each naming the one before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::pack::{PackId, packs_between};
use chain::policy::Policy;
use chain::tile::{BundleId, TileId, bundles_between, tiles_between};
use eventlog::Recorder;
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::error::blocking;
use crate::files;
use crate::layout::Layout;
use crate::store::Store;

/// The content of an anchor (FORMAT.md section 9), written as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// When it was made, by this server's clock: a claim, not a proof.
    pub at: String,
    /// The signed note.
    pub checkpoint: String,
    /// SHA-256 of every tile, bundle and pack that is new or wider since the previous anchor.
    pub files: BTreeMap<String, Hash>,
    pub origin: String,
    /// Absent only in the first anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    pub seq: u64,
    pub software: String,
    pub v: u64,
}

/// The anchor before: its key, and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub key: String,
    pub sha256: Hash,
}

/// The type of the entry that says so.
pub(crate) const ANCHORED: &str = "log.anchored.v1";

/// An anchor that was written: what the log says about it in `log.anchored.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchored {
    pub seq: u64,
    pub size: u64,
    pub root: Hash,
    pub key: String,
    pub sha256: Hash,
    /// The kind of store.
    pub store: String,
}

/// One anchor in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub key: String,
    pub seq: u64,
    pub size: u64,
    pub at: String,
    pub sha256: Hash,
}

/// An anchor on its way: its key and its complete bytes. Made once, never again, so that every attempt writes the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Staged {
    key: String,
    body: String,
    /// The anchor is in the store; only the log does not say so yet.
    written: bool,
}

/// `anchors/<seq, 20 digits>-<size, 20 digits>.json`.
pub fn key(seq: u64, size: u64) -> String {
    format!("anchors/{seq:020}-{size:020}.json")
}

/// The one who anchors.
pub struct Anchorer {
    store: Arc<dyn Store>,
    layout: Layout,
    policy: Policy,
    recorder: Arc<dyn Recorder>,
    software: String,
    clock: fn() -> String,
    /// Where the staged anchor and the last finished one are kept.
    folder: PathBuf,
    last: Option<Anchored>,
    staged: Option<Staged>,
}

impl Anchorer {
    /// Takes up what an earlier run left: the last anchor, and one that was on its way.
    pub async fn open(
        store: Arc<dyn Store>,
        layout: Layout,
        policy: Policy,
        recorder: Arc<dyn Recorder>,
        software: String,
        clock: fn() -> String,
        folder: PathBuf,
    ) -> Result<Self, AnchorError> {
        let place = folder.clone();
        let (last, staged) =
            blocking(move || Ok((load(&place.join("last.json"))?, load(&place.join("staged.json"))?))).await?;
        Ok(Self { store, layout, policy, recorder, software, clock, folder, last, staged })
    }

    /// Whether the newest anchor on record was made here, so that the next one can be: it is the last one of this place's memory, or
    /// the one that was on its way. With none on record, the store must be as empty as this memory.
    pub async fn goes_on_from(&self, recorded: Option<&Anchored>) -> Result<bool, AnchorError> {
        let Some(recorded) = recorded else {
            return Ok(self.last.is_some() || self.staged.is_some() || self.store.list("anchors").await?.is_empty());
        };
        let on_its_way = self
            .staged
            .as_ref()
            .is_some_and(|staged| staged.key == recorded.key && sha256(&[staged.body.as_bytes()]) == recorded.sha256);
        if on_its_way {
            return Ok(true);
        }
        // The one after the last may be ours, on its way; another's says that it went on from another place.
        let own = self.staged.as_ref().map_or("", |staged| &staged.key);
        let free = match &self.last {
            Some(last) if last == recorded => self.number_is_free(last.seq + 1, own).await,
            Some(last) if last.seq == recorded.seq + 1 => self.number_is_free(last.seq, &last.key).await,
            _ => Err(AnchorError::Elsewhere),
        };
        match free {
            Ok(()) => Ok(true),
            Err(AnchorError::Elsewhere) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The database lost that the last anchor was recorded: it is recorded again, before the next one.
    pub async fn record_last(&self, recorded: Option<&Anchored>) -> Result<(), AnchorError> {
        let next = recorded.map_or(0, |recorded| recorded.seq + 1);
        match &self.last {
            Some(last) if last.seq == next => self.put_on_record(last).await,
            _ => Ok(()),
        }
    }

    /// Makes this the place where anchoring goes on: after the newest anchor in the store, which is put on record if it is not yet.
    /// What was on its way here and lost is dropped.
    ///
    /// # Errors
    /// When the store is not the one that the anchors on record are in.
    pub async fn adopt(&mut self, recorded: Option<&Anchored>) -> Result<Option<Anchored>, AnchorError> {
        let newest = self.newest_in_store().await?;
        let other =
            |what: String| AnchorError::Store(format!("{what}: is this the store that this log is anchored in?"));
        match (&newest, recorded) {
            (None, Some(recorded)) => {
                return Err(other(format!("anchor {} is on record, and none is here", recorded.seq)));
            }
            (Some(newest), Some(recorded))
                if newest.seq < recorded.seq || (newest.seq == recorded.seq && newest != recorded) =>
            {
                return Err(other(format!("anchor {} is on record, and not here", recorded.seq)));
            }
            (Some(newest), _) => {
                let next = recorded.map_or(0, |recorded| recorded.seq + 1);
                if newest.seq > next {
                    return Err(other(format!("anchors {next} to {} are here, and not on record", newest.seq)));
                }
                if newest.seq == next {
                    self.put_on_record(newest).await?;
                }
            }
            (None, None) => {}
        }
        self.remember(newest.clone()).await?;
        Ok(newest)
    }

    pub fn last(&self) -> Option<&Anchored> {
        self.last.as_ref()
    }

    /// Finishes what is on its way, then anchors `note`. A crash between any two steps is repaired by the next call.
    pub async fn anchor(&mut self, note: &str) -> Result<Anchored, AnchorError> {
        if let Some(staged) = self.staged.clone() {
            self.finish(staged).await?;
        }
        // Stage: sequence number, key and complete bytes are durable before the first write. A crash before this leaves
        // nothing; a crash after it makes the next run write exactly these bytes under exactly this key.
        let staged = self.prepare(note).await?;
        self.keep(&staged).await?;
        self.finish(staged).await
    }

    /// Every anchor in the store.
    pub async fn list(&self) -> Result<Vec<Listed>, AnchorError> {
        let mut listed = Vec::new();
        for key in self.store.list("anchors").await? {
            let bytes = self.store.get(&key).await?.unwrap_or_default();
            let (anchor, checkpoint) = read(&key, &bytes, &self.policy)?;
            listed.push(Listed {
                key,
                seq: anchor.seq,
                size: checkpoint.size,
                at: anchor.at,
                sha256: sha256(&[&bytes]),
            });
        }
        Ok(listed)
    }

    /// The store has no other anchor of this number.
    async fn number_is_free(&self, seq: u64, own: &str) -> Result<(), AnchorError> {
        let prefix = format!("anchors/{seq:020}-");
        let taken = self.store.list("anchors").await?.into_iter().any(|key| key.starts_with(&prefix) && key != own);
        if taken { Err(AnchorError::Elsewhere) } else { Ok(()) }
    }

    /// The newest anchor in the store.
    async fn newest_in_store(&self) -> Result<Option<Anchored>, AnchorError> {
        let Some(key) = self.store.list("anchors").await?.pop() else { return Ok(None) };
        let bytes = self.store.get(&key).await?.unwrap_or_default();
        let (anchor, checkpoint) = read(&key, &bytes, &self.policy)?;
        Ok(Some(self.anchored(&key, anchor.seq, &checkpoint, &bytes)))
    }

    fn anchored(&self, key: &str, seq: u64, checkpoint: &Checkpoint, bytes: &[u8]) -> Anchored {
        Anchored {
            seq,
            size: checkpoint.size,
            root: checkpoint.root,
            key: key.to_owned(),
            sha256: sha256(&[bytes]),
            store: self.store.name().to_owned(),
        }
    }

    async fn prepare(&self, note: &str) -> Result<Staged, AnchorError> {
        let unreadable = |error: &dyn std::fmt::Display| AnchorError::unreadable("checkpoint", error);
        let checkpoint = checkpoint::open(note, &self.policy).map_err(|error| unreadable(&error))?;
        let (seq, old) = self.last.as_ref().map_or((0, 0), |last| (last.seq + 1, last.size));
        if checkpoint.size < old {
            return Err(AnchorError::Fork(format!("{} entries after {old} were anchored", checkpoint.size)));
        }
        let layout = self.layout.clone();
        let paths = new_files(old, checkpoint.size);
        let digests = blocking(move || {
            paths
                .into_iter()
                .map(|path| layout.expect(&path).map(|bytes| (path, sha256(&[&bytes]))))
                .collect::<Result<_, _>>()
        });
        let anchor = Anchor {
            at: self.next_time().await?,
            checkpoint: note.to_owned(),
            files: digests.await?,
            origin: checkpoint.origin,
            previous: self.last.as_ref().map(|last| Previous { key: last.key.clone(), sha256: last.sha256 }),
            seq,
            software: self.software.clone(),
            v: 1,
        };
        let value = serde_json::to_value(&anchor).map_err(|error| unreadable(&error))?;
        let body = chain::canonical::to_bytes(&value).map_err(|error| unreadable(&error))?;
        let body = String::from_utf8(body).map_err(|error| unreadable(&error))?;
        Ok(Staged { key: key(seq, checkpoint.size), body, written: false })
    }

    /// This server's clock; but anchors are in the order of their times, whichever server makes them and whatever its clock says.
    async fn next_time(&self) -> Result<String, AnchorError> {
        let Some(last) = &self.last else { return Ok((self.clock)()) };
        let bytes = self.store.get(&last.key).await?.unwrap_or_default();
        let (previous, _) = read(&last.key, &bytes, &self.policy)?;
        // Both are canonical times, which sort as texts.
        Ok((self.clock)().max(previous.at))
    }

    /// Everything after staging; every step may already have been done by a run that died.
    async fn finish(&mut self, mut staged: Staged) -> Result<Anchored, AnchorError> {
        let (anchor, checkpoint) = read(&staged.key, staged.body.as_bytes(), &self.policy)?;
        let anchored = self.anchored(&staged.key, anchor.seq, &checkpoint, staged.body.as_bytes());
        if !staged.written {
            // Files before the anchor that lists them: an anchor in the store never speaks of something that is not. A crash
            // here leaves files that the next run finds to be the same.
            for path in anchor.files.keys() {
                let (layout, wanted) = (self.layout.clone(), path.clone());
                let bytes = blocking(move || layout.expect(&wanted)).await?;
                self.store.put(path, bytes).await?;
            }
            // Nobody else's of this number: two keys of one number differ in the size, and would both be kept for ever.
            self.number_is_free(anchor.seq, &staged.key).await?;
            // Write, and read back: a store that says yes and keeps nothing is found out now, not in seven years.
            self.store.put(&staged.key, staged.body.clone().into_bytes()).await?;
            let back = self.store.get(&staged.key).await?;
            if back.as_deref() != Some(staged.body.as_bytes()) {
                return Err(AnchorError::Store(format!("{} does not read back", staged.key)));
            }
            // A crash before this writes and reads once more, the same bytes under the same key.
            staged.written = true;
            self.keep(&staged).await?;
        }
        // Record: a crash between the log and our memory records the same anchor twice, word for word; readers know that.
        self.put_on_record(&anchored).await?;
        self.remember(Some(anchored.clone())).await?;
        metrics::counter!("guildhall_anchors_total").increment(1);
        tracing::info!(seq = anchored.seq, size = anchored.size, key = anchored.key, "anchored");
        Ok(anchored)
    }

    async fn put_on_record(&self, anchored: &Anchored) -> Result<(), AnchorError> {
        let data = serde_json::to_value(anchored).map_err(|error| AnchorError::unreadable(&anchored.key, error))?;
        self.recorder.record(ANCHORED, data).await?;
        Ok(())
    }

    /// The last anchor, with nothing on its way after it.
    async fn remember(&mut self, last: Option<Anchored>) -> Result<(), AnchorError> {
        let (place, bytes) = (self.folder.clone(), last.as_ref().map(to_json));
        blocking(move || {
            if let Some(bytes) = bytes {
                files::replace(&place.join("last.json"), &bytes)?;
            }
            // Still staged after a crash here: finishing it again records it again, and nothing else.
            let staged = place.join("staged.json");
            match std::fs::remove_file(&staged) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AnchorError::file(staged)(error)),
                _ => Ok(()),
            }
        })
        .await?;
        (self.last, self.staged) = (last, None);
        Ok(())
    }

    async fn keep(&mut self, staged: &Staged) -> Result<(), AnchorError> {
        self.staged = Some(staged.clone());
        let (path, bytes) = (self.folder.join("staged.json"), to_json(staged));
        blocking(move || files::replace(&path, &bytes)).await
    }
}

/// Paths of the files that a log of `new` entries has and one of `old` has not.
pub fn new_files(old: u64, new: u64) -> Vec<String> {
    let tiles = tiles_between(old, new).iter().map(TileId::path).collect::<Vec<_>>();
    let bundles = bundles_between(old, new).iter().map(BundleId::path).collect::<Vec<_>>();
    let packs = packs_between(old, new).iter().map(PackId::path).collect::<Vec<_>>();
    [tiles, bundles, packs].concat()
}

/// Whether the store has this anchor as it was recorded.
///
/// # Errors
/// [`AnchorError::Store`] when it has not.
pub async fn is_stored(store: &dyn Store, recorded: &Anchored) -> Result<(), AnchorError> {
    let found = store.get(&recorded.key).await?;
    if found.is_some_and(|bytes| sha256(&[&bytes]) == recorded.sha256) {
        return Ok(());
    }
    Err(AnchorError::Store(format!(
        "anchor {} is on record and is not there: the store was emptied or replaced, or is not mounted",
        recorded.seq
    )))
}

/// Reads an anchor and opens its checkpoint.
pub fn read(key: &str, bytes: &[u8], policy: &Policy) -> Result<(Anchor, Checkpoint), AnchorError> {
    let anchor: Anchor = serde_json::from_slice(bytes).map_err(|error| AnchorError::unreadable(key, error))?;
    let checkpoint =
        checkpoint::open(&anchor.checkpoint, policy).map_err(|error| AnchorError::unreadable(key, error))?;
    Ok((anchor, checkpoint))
}

fn load<T: for<'de> Deserialize<'de>>(path: &std::path::Path) -> Result<Option<T>, AnchorError> {
    let bytes = files::read(path)?;
    bytes
        .map(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| AnchorError::unreadable(path.display().to_string(), error))
        })
        .transpose()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, numbers and hashes")
}

/// This server's clock, in the one spelling of times.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
