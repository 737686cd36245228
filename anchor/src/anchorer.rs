//! Writes anchors: what was published, pinned in a store, each naming the one before.

mod putting;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::heads::Commitment;
use eventlog::Recorder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::anchor_format::{ANCHORED, Anchor, Anchored, Previous, Time, V, key, new_files, parse, read};
use crate::error::blocking;
use crate::files;
use crate::genuine::{self, Numbered};
use crate::layout::Layout;
use crate::signing_keys::SigningKeys;
use crate::store::{self, Kind, Lock, Retention, Store, Written};

/// Where in a data directory the staged anchor and the last finished one are kept.
pub(crate) const FOLDER: &str = "anchoring";

/// An anchor on its way: its key and its complete bytes. Made once, never again, so that every attempt writes the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Staged {
    key: String,
    body: String,
    /// The anchor is in the store; only the log does not say so yet.
    written: bool,
    /// What the log is going to say then: every attempt says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchored: Option<Anchored>,
}

/// An anchor that lacks only what others say about it, and the log's signature: it was not staged yet, and whoever asks about it may take their
/// time.
#[derive(Debug, Clone)]
pub struct Draft {
    pub anchor: Anchor,
    size: u64,
}

/// How long what is written has to be kept, in calendar years and some days more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub years: u16,
    pub margin_days: u16,
}

/// The one who anchors.
pub struct Anchorer {
    store: Arc<dyn Store>,
    layout: Layout,
    keys: Arc<SigningKeys>,
    recorder: Arc<dyn Recorder>,
    software: String,
    clock: fn() -> String,
    keep_for: Keep,
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
        keys: Arc<SigningKeys>,
        recorder: Arc<dyn Recorder>,
        (software, clock, keep_for): (String, fn() -> String, Keep),
        folder: PathBuf,
    ) -> Result<Self, AnchorError> {
        let place = folder.clone();
        let (last, staged) =
            blocking(move || Ok((load(&place.join("last.json"))?, load(&place.join("staged.json"))?))).await?;
        Ok(Self { store, layout, keys, recorder, software, clock, keep_for, folder, last, staged })
    }

    /// Whether the newest anchor on record was made here, so that the next one can be: it is the last one of this place's memory, or
    /// the one that was on its way. With none on record, the store must be as empty as this memory.
    pub async fn goes_on_from(&self, recorded: Option<&Anchored>) -> Result<bool, AnchorError> {
        let Some(recorded) = recorded else {
            return Ok(self.last.is_some()
                || self.staged.is_some()
                || genuine::newest(self.store.as_ref(), &self.keys, None).await?.anchors.is_empty());
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
            Some(last) if last.is(recorded) => self.number_is_free(last.seq + 1, own).await,
            Some(last) if last.seq == recorded.seq + 1 => self.number_is_free(last.seq, &last.key).await,
            _ => Err(AnchorError::Elsewhere),
        };
        match free {
            // What somebody else put there is no other place's anchor.
            Ok(()) | Err(AnchorError::Taken(_)) => Ok(true),
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
        let newest = self.newest_in_store(recorded).await?;
        let other =
            |what: String| AnchorError::Store(format!("{what}: is this the store that this log is anchored in?"));
        match (&newest, recorded) {
            (None, Some(recorded)) => {
                return Err(other(format!("anchor {} is on record, and none is here", recorded.seq)));
            }
            (Some(newest), Some(recorded))
                if newest.seq < recorded.seq || (newest.seq == recorded.seq && !newest.is(recorded)) =>
            {
                return Err(other(format!("anchor {} is on record, and not here", recorded.seq)));
            }
            (Some(newest), Some(recorded)) if newest.size < recorded.size => {
                return Err(other(format!("{} is here, and covers less than what is on record", newest.key)));
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

    /// Finishes what is on its way, then makes the next anchor, over `note`.
    pub async fn draft(&mut self, note: &str, heads: Option<Commitment>) -> Result<Draft, AnchorError> {
        if let Some(staged) = self.staged.clone() {
            self.finish(staged).await?;
        }
        let checkpoint = checkpoint::open(note, &self.keys.policy())
            .map_err(|error| AnchorError::unreadable("checkpoint", error))?;
        let (seq, old) = self.last.as_ref().map_or((0, 0), |last| (last.seq + 1, last.size));
        if checkpoint.size < old {
            return Err(AnchorError::Fork(format!("{} entries after {old} were anchored", checkpoint.size)));
        }
        self.number_is_free(seq, &key(seq, checkpoint.size)).await?;
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
            heads,
            origin: checkpoint.origin,
            previous: self.previous(),
            seq,
            signature: String::new(),
            software: self.software.clone(),
            time: None,
            v: V,
        };
        Ok(Draft { anchor, size: checkpoint.size })
    }

    /// Writes an anchor, with its time token if there is one. A crash between any two steps is repaired by the next draft.
    pub async fn anchor(&mut self, draft: Draft, token: Option<Vec<u8>>) -> Result<Anchored, AnchorError> {
        let Draft { mut anchor, size } = draft;
        // While others were asked nobody else may have anchored: they would have done so from another place.
        if self.staged.is_some() || anchor.previous != self.previous() {
            return Err(AnchorError::Elsewhere);
        }
        anchor.time = token.map(|token| Time { token: chain::text::to_base64(&token) });
        let anchor = self.keys.sign_anchor(size, anchor).await?;
        // Stage: sequence number, key and complete bytes are durable before the first write. A crash before this leaves
        // nothing, and a token that nobody needs; a crash after it makes the next run write exactly these bytes under exactly this key.
        let staged = Staged { key: key(anchor.seq, size), body: anchor.to_bytes()?, written: false, anchored: None };
        if staged.body.len() as u64 > store::most_bytes(&staged.key) {
            let what = format!("{} would have {} bytes, more than readers take", staged.key, staged.body.len());
            return Err(AnchorError::unreadable("an anchor to be written", what));
        }
        self.keep(&staged).await?;
        self.finish(staged).await
    }

    fn previous(&self) -> Option<Previous> {
        self.last.as_ref().map(|last| Previous {
            key: last.key.clone(),
            sha256: last.sha256,
            version: last.version.clone(),
        })
    }

    /// The store has no other anchor of this number, and nobody took the key of this one.
    async fn number_is_free(&self, seq: u64, own: &str) -> Result<(), AnchorError> {
        let Numbered { anchors, versions } = genuine::of_number(self.store.as_ref(), seq, &self.keys).await?;
        if anchors.iter().any(|anchor| anchor.key != own) {
            return Err(AnchorError::Elsewhere);
        }
        let is_there = versions.iter().any(|version| version.key == own && !version.marker);
        if is_there && anchors.is_empty() { Err(AnchorError::Taken(own.to_owned())) } else { Ok(()) }
    }

    /// The newest anchor in the store, as the log or this place knows it, if they do: an attempt that was repeated left several versions, and the
    /// one that was kept for long enough need not be the oldest.
    async fn newest_in_store(&self, recorded: Option<&Anchored>) -> Result<Option<Anchored>, AnchorError> {
        let known = recorded.map(|recorded| recorded.key.as_str());
        let newest = genuine::newest(self.store.as_ref(), &self.keys, known).await?.anchor();
        let written_here = self.staged.as_ref().and_then(|staged| staged.anchored.as_ref());
        Ok(newest.map(|newest| {
            let found = newest.recorded(self.store.kind());
            let known = [recorded, self.last.as_ref(), written_here].into_iter().flatten();
            known.into_iter().find(|known| known.is(&found)).cloned().unwrap_or(found)
        }))
    }

    /// This server's clock; but anchors are in the order of their times, whichever server makes them and whatever its clock says.
    async fn next_time(&self) -> Result<String, AnchorError> {
        let Some(last) = &self.last else { return Ok((self.clock)()) };
        let previous = self.store.get(&last.key, last.version.as_deref()).await?;
        let previous = previous.ok_or_else(|| AnchorError::Store(format!("{} cannot be read", last.key)))?;
        let previous = parse(&last.key, &previous.bytes)?;
        // Both are canonical times, which sort as texts.
        Ok((self.clock)().max(previous.at))
    }

    /// Everything after staging; every step may already have been done by a run that died.
    async fn finish(&mut self, mut staged: Staged) -> Result<Anchored, AnchorError> {
        let (anchor, checkpoint) = read(&staged.key, staged.body.as_bytes(), &self.keys.policy())?;
        if !staged.written {
            let now = (self.clock)().parse::<Timestamp>();
            let now = now.map_err(|error| AnchorError::unreadable("this server's clock", error))?;
            let retention = Retention::from(now, self.keep_for.years, self.keep_for.margin_days)?;
            // Files before the anchor that lists them: an anchor in the store never speaks of something that is not. A crash
            // here leaves files that the next run finds to be the same.
            match self.put_files(&anchor, retention).await {
                // What is unfinished has another name at another size. Nothing is on record about what was staged, unless it got further before.
                Err(AnchorError::OtherBytes(path))
                    if putting::is_unfinished(&path) && !self.is_there(anchor.seq, &staged.key).await? =>
                {
                    self.remember(self.last.clone()).await?;
                    return Err(AnchorError::Taken(path));
                }
                Err(AnchorError::OtherBytes(path)) => {
                    return Err(AnchorError::Occupied { path, place: self.store.place() });
                }
                written => written?,
            }
            let written = self.put_anchor(anchor.seq, &staged, retention).await;
            if matches!(written, Err(AnchorError::Taken(_))) {
                // What was staged can never be written. Nothing is on record about it, and its number goes to the next.
                self.remember(self.last.clone()).await?;
            }
            let Written { version, lock, .. } = written?;
            staged.written = true;
            let bytes = staged.body.as_bytes();
            staged.anchored =
                Some(anchored(self.store.kind(), (&staged.key, anchor.seq, &checkpoint), bytes, (version, lock)));
            self.keep(&staged).await?;
        }
        let bytes = staged.body.as_bytes();
        let anchored = staged.anchored.unwrap_or_else(|| {
            anchored(self.store.kind(), (&staged.key, anchor.seq, &checkpoint), bytes, (None, None))
        });
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

/// What the log says of an anchor in such a store.
pub(crate) fn anchored(
    kind: Kind,
    (key, seq, checkpoint): (&str, u64, &Checkpoint),
    bytes: &[u8],
    (version, lock): (Option<String>, Option<Lock>),
) -> Anchored {
    Anchored {
        seq,
        size: checkpoint.size,
        root: checkpoint.root,
        key: key.to_owned(),
        sha256: sha256(&[bytes]),
        store: kind.as_str().to_owned(),
        version,
        mode: lock.map(|lock| lock.mode),
        retain_until: lock.map(|lock| canonical(lock.until)),
    }
}

/// An anchor as it was found in its store.
pub struct Found {
    pub bytes: Vec<u8>,
    /// What lies beside it and does not belong there.
    pub strays: Vec<String>,
}

/// Reads an anchor back, which must be there as it was recorded.
///
/// # Errors
/// [`AnchorError::Store`] when it is not.
pub async fn find(store: &dyn Store, recorded: &Anchored) -> Result<Found, AnchorError> {
    let found = store.get(&recorded.key, recorded.version.as_deref()).await?;
    let Some(found) = found.filter(|found| sha256(&[&found.bytes]) == recorded.sha256) else {
        return Err(AnchorError::Store(format!(
            "anchor {} is on record and is not there: the store was emptied or replaced, or is not mounted",
            recorded.seq
        )));
    };
    let mut strays = store::strays(store, &recorded.key, recorded.sha256).await?;
    // Canonical times, which sort as texts.
    let kept = found.lock.map(|lock| (lock.mode, canonical(lock.until)));
    let is_kept = kept.is_some_and(|(mode, until)| Some(mode) == recorded.mode && Some(until) >= recorded.retain_until);
    if recorded.mode.is_some() && !is_kept {
        strays.push(format!("{}: it is locked for less than when it was written", recorded.key));
    }
    Ok(Found { bytes: found.bytes, strays })
}

/// The key of the last anchor that this place remembers. A memory that cannot be read is none: then more is listed.
pub(crate) async fn last_known(data_dir: &Path) -> Option<String> {
    let path = data_dir.join(FOLDER).join("last.json");
    let last: Option<Anchored> = blocking(move || load(&path)).await.ok().flatten();
    last.map(|last| last.key)
}

fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, AnchorError> {
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
    canonical(Timestamp::now())
}

/// The one spelling of times.
pub fn canonical(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
