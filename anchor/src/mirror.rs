//! Stores of other owners: every anchor and the files it lists are carried there, behind the first store and never in its way.
//!
//! An anchor is put after its files, and anchors in their order. So the newest anchor of this log in a mirror is all that has to be known to
//! go on. Whether everything before it is still there is another question, which a survey answers: what a mirror lost is carried there again.

use std::fmt;
use std::sync::Arc;

use chain::Hash;
use chain::hash::sha256;
use eventlog::Log;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use crate::AnchorError;
use crate::anchor_format::{self, Anchor};
use crate::anchorer::Keep;
use crate::error::blocking;
use crate::genuine;
use crate::layout::Layout;
use crate::on_record::Records;
use crate::publisher::approximate;
use crate::signing_keys::SigningKeys;
use crate::store::{self, Object, Retention, Store};
use crate::survey::{Round, Scope, Survey};

/// Files on their way to a mirror at a time.
const IN_FLIGHT: usize = 16;

/// A store that is to have everything that the first one has.
#[derive(Clone)]
pub struct Mirror {
    pub name: String,
    pub store: Arc<dyn Store>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({})", self.name)
    }
}

/// How far a mirror is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorStatus {
    pub name: String,
    pub store: &'static str,
    pub place: String,
    pub guarantee: &'static str,
    /// The newest anchor there; missing while there is none, or nobody could look.
    pub newest: Option<u64>,
    /// Anchors that are on record and newer than that; all of them while nobody could look.
    pub behind: u64,
    pub trouble: Option<String>,
    /// What the last look at everything there found, before what was missing was carried again; missing until there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survey: Option<Survey>,
}

/// Carries what is missing to one mirror.
pub struct Carrier {
    mirror: Mirror,
    first: Arc<dyn Store>,
    log: Log,
    layout: Layout,
    keys: Arc<SigningKeys>,
    keep_for: Keep,
    clock: fn() -> String,
    place: Mutex<Option<Place>>,
    state: watch::Sender<State>,
}

/// How far this process has come with a mirror. Nothing at all until somebody has looked there.
struct Place {
    /// How many anchors were brought there.
    brought: u64,
    records: Records,
}

#[derive(Default, Clone)]
struct State {
    newest: Option<u64>,
    trouble: Option<String>,
    /// Why what it lost could not all be carried again.
    lost: Option<String>,
    survey: Option<Survey>,
}

impl Carrier {
    pub fn new(
        mirror: Mirror,
        first: Arc<dyn Store>,
        (log, layout, keys): (Log, Layout, Arc<SigningKeys>),
        (keep_for, clock): (Keep, fn() -> String),
    ) -> Self {
        let (place, state) = (Mutex::new(None), watch::Sender::default());
        Self { mirror, first, log, layout, keys, keep_for, clock, place, state }
    }

    /// Beside a first store whose newest anchor is `first`.
    pub fn status(&self, first: Option<u64>) -> MirrorStatus {
        let (state, store) = (self.state.borrow().clone(), &self.mirror.store);
        let count = |newest: Option<u64>| newest.map_or(0, |seq| seq + 1);
        MirrorStatus {
            name: self.mirror.name.clone(),
            store: store.kind().as_str(),
            place: store.place(),
            guarantee: store.guarantee(),
            newest: state.newest,
            behind: count(first).saturating_sub(count(state.newest)),
            trouble: state.trouble.or(state.lost),
            survey: state.survey,
        }
    }

    /// Carries everything that is new, in order. What failed is said once, and stays in the status until it went well.
    pub async fn carry(&self) -> Result<(), AnchorError> {
        let ended = self.try_carry().await;
        self.note(ended, |state| &mut state.trouble)
    }

    /// Looks whether everything that was brought there is still there, and carries again what is not.
    pub async fn mend(&self) -> Result<(), AnchorError> {
        let ended = self.try_mend().await;
        self.note(ended, |state| &mut state.lost)
    }

    fn note(
        &self,
        result: Result<(), AnchorError>,
        place: impl Fn(&mut State) -> &mut Option<String>,
    ) -> Result<(), AnchorError> {
        let trouble = result.as_ref().err().map(ToString::to_string);
        let mut was = None;
        self.state.send_modify(|state| was = std::mem::replace(place(state), trouble.clone()));
        if let Err(error) = &result {
            metrics::counter!("guildhall_mirror_failures_total", "mirror" => self.mirror.name.clone()).increment(1);
            if was != trouble {
                tracing::error!(mirror = self.mirror.name, %error, alarm = true, "a mirror of the anchors falls behind");
            }
        }
        result
    }

    async fn try_carry(&self) -> Result<(), AnchorError> {
        let mut place = self.place.lock().await;
        if place.is_none() {
            *place = Some(self.look().await?);
        }
        let Some(Place { brought, records }) = place.as_mut() else { return Ok(()) };
        while let Some(next) = records.peek().await?.cloned() {
            if next.seq >= *brought {
                self.carry_one(&next.key).await?;
                *brought = next.seq + 1;
                self.state.send_modify(|state| state.newest = Some(next.seq));
            }
            records.next().await?;
        }
        Ok(())
    }

    /// Where to go on: after the newest anchor there. It is on record, or in the first store as well; otherwise this is the mirror of something else.
    async fn look(&self) -> Result<Place, AnchorError> {
        let mut place = Place { brought: 0, records: Records::of(&self.log) };
        let newest = genuine::newest(self.mirror.store.as_ref(), &self.keys, None).await?;
        for stray in &newest.strays {
            tracing::error!(mirror = self.mirror.name, %stray, alarm = true, "somebody put something into a mirror of the anchors");
        }
        // None by a key in force: then everything is brought once more, which writes nothing anew.
        let Some(newest) = newest.anchor() else { return Ok(place) };
        let (seq, digest) = (newest.anchor.seq, sha256(&[&newest.object.bytes]));
        let mut is_known = false;
        while let Some(recorded) = place.records.peek().await? {
            if recorded.seq > seq {
                break;
            }
            is_known = recorded.seq == seq && recorded.sha256 == digest;
            place.records.next().await?;
        }
        if !is_known {
            let here = self.first.get(&newest.key, None).await?;
            is_known = here.is_some_and(|here| here.bytes == newest.object.bytes);
        }
        if !is_known {
            return Err(AnchorError::Store(format!(
                "the mirror {} has an anchor {} that is neither on record nor in the first store: it belongs to another log, or to another \
                 history",
                self.mirror.name, newest.key
            )));
        }
        place.brought = seq + 1;
        self.state.send_modify(|state| state.newest = Some(seq));
        Ok(place)
    }

    async fn try_mend(&self) -> Result<(), AnchorError> {
        let mut place = self.place.lock().await;
        // Somebody else's mirror since the last time is not written to either.
        *place = None;
        let looked = self.look().await?;
        let newest = looked.brought.checked_sub(1);
        *place = Some(looked);
        self.state.send_modify(|state| state.newest = newest);
        let scope = Scope { read: false, brought: newest.map_or(Some(0), |newest| Some(newest + 1)) };
        let mut round = Round::new(&self.log, &self.keys, self.mirror.store.as_ref(), scope, (self.clock)());
        let mut failed = None;
        while let Some(lacks) = round.next().await? {
            for lack in lacks {
                match self.carry_one(&lack.key).await {
                    Ok(seq) => tracing::warn!(mirror = self.mirror.name, seq, "carried again"),
                    // The first store may have lost it as well: the others are carried all the same.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        let survey = round.survey();
        self.say(&survey);
        self.state.send_modify(|state| state.survey = Some(survey));
        failed.map_or(Ok(()), Err)
    }

    fn say(&self, survey: &Survey) {
        let (mirror, Survey { missing, strays, .. }) = (self.mirror.name.clone(), survey);
        metrics::gauge!("guildhall_mirror_missing", "mirror" => mirror.clone()).set(approximate(missing.count));
        let was = self.state.borrow().survey.clone().unwrap_or_default();
        for missing in missing.first.iter().filter(|missing| !was.missing.first.contains(missing)) {
            tracing::error!(mirror, %missing, alarm = true, "a mirror lost what it had");
        }
        for stray in strays.first.iter().filter(|stray| !was.strays.first.contains(stray)) {
            tracing::error!(mirror, %stray, alarm = true, "somebody put something into a mirror of the anchors");
        }
    }

    async fn carry_one(&self, key: &str) -> Result<u64, AnchorError> {
        let bytes = self.expect(self.first.as_ref(), key).await?;
        let (anchor, _) = anchor_format::read(key, &bytes, &self.keys.policy())?;
        let now = (self.clock)().parse::<Timestamp>();
        let now = now.map_err(|error| AnchorError::unreadable("this server's clock", error))?;
        let retention = Retention::from(now, self.keep_for.years, self.keep_for.margin_days)?;
        // A crash here leaves files that the next run finds to be the same.
        self.put_files(&anchor, retention).await?;
        // The anchor says that everything before it is there.
        let store = self.mirror.store.as_ref();
        match store.put(key, bytes.clone(), retention).await {
            // It is there, and somebody has laid something over it since: it still stands for its key.
            Err(AnchorError::OtherBytes(_))
                if store.get(key, None).await?.is_some_and(|there| there.bytes == bytes) =>
            {
                store.put_listed(key, bytes, retention).await?
            }
            written => written?,
        };
        tracing::info!(mirror = self.mirror.name, seq = anchor.seq, "mirrored");
        Ok(anchor.seq)
    }

    async fn put_files(&self, anchor: &Anchor, retention: Retention) -> Result<(), AnchorError> {
        let puts: Vec<_> = anchor
            .files
            .iter()
            .map(|(path, digest)| async move {
                let bytes = self.file(path, *digest).await?;
                match self.mirror.store.put_listed(path, bytes, retention).await {
                    Err(AnchorError::OtherBytes(path)) => {
                        Err(AnchorError::Occupied { path, place: self.mirror.store.place() })
                    }
                    written => written.map(|_| ()),
                }
            })
            .collect();
        stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    /// What was anchored under this path: from here if it still is that, else from the first store.
    async fn file(&self, path: &str, digest: Hash) -> Result<Vec<u8>, AnchorError> {
        let (layout, wanted) = (self.layout.clone(), path.to_owned());
        let here = blocking(move || Ok(layout.read(&wanted).ok().flatten())).await?;
        let bytes = match here.filter(|bytes| sha256(&[bytes]) == digest) {
            Some(bytes) => bytes,
            None => read(store::get_listed(self.first.as_ref(), path, digest).await?, path)?,
        };
        if sha256(&[&bytes]) == digest {
            Ok(bytes)
        } else {
            Err(AnchorError::Store(format!("{path} holds other bytes than were anchored")))
        }
    }

    async fn expect(&self, store: &dyn Store, key: &str) -> Result<Vec<u8>, AnchorError> {
        read(store.get(key, None).await?, key)
    }
}

fn read(object: Option<Object>, key: &str) -> Result<Vec<u8>, AnchorError> {
    Ok(object.ok_or_else(|| AnchorError::Store(format!("{key} is listed and cannot be read")))?.bytes)
}
