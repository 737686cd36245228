//! Stores of other owners: every anchor and the files it lists are carried there, behind the first store and never in its way.
//!
//! An anchor is put after its files, and anchors in their order. So what the newest anchor in a mirror is, is all that has to be known
//! to go on, and the mirror itself says it: a crash anywhere leaves nothing that could be wrong.

use std::fmt;
use std::sync::Arc;

use chain::Hash;
use chain::hash::sha256;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use crate::AnchorError;
use crate::anchor_format::{self, Anchor};
use crate::anchorer::Keep;
use crate::error::blocking;
use crate::layout::Layout;
use crate::signing_keys::SigningKeys;
use crate::store::{Retention, Store, keys, keys_after};

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
    /// Anchors that the first store has and this one has not; all of them while nobody could look.
    pub behind: u64,
    pub trouble: Option<String>,
}

/// Carries what is missing to one mirror.
pub struct Carrier {
    mirror: Mirror,
    first: Arc<dyn Store>,
    layout: Layout,
    keys: Arc<SigningKeys>,
    keep_for: Keep,
    clock: fn() -> String,
    /// The key of the newest anchor there. Nothing at all until somebody has looked.
    newest: Mutex<Option<Option<String>>>,
    state: watch::Sender<State>,
}

#[derive(Default, Clone)]
struct State {
    newest: Option<u64>,
    trouble: Option<String>,
}

impl Carrier {
    pub fn new(
        mirror: Mirror,
        first: Arc<dyn Store>,
        (layout, keys): (Layout, Arc<SigningKeys>),
        (keep_for, clock): (Keep, fn() -> String),
    ) -> Self {
        let (newest, state) = (Mutex::new(None), watch::Sender::default());
        Self { mirror, first, layout, keys, keep_for, clock, newest, state }
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
            trouble: state.trouble,
        }
    }

    /// Carries everything that is missing, in order. What failed is said once, and stays in the status until it went well.
    pub async fn carry(&self) -> Result<(), AnchorError> {
        let result = self.try_carry().await;
        let trouble = result.as_ref().err().map(ToString::to_string);
        let mut was = None;
        self.state.send_modify(|state| was = std::mem::replace(&mut state.trouble, trouble.clone()));
        if let Err(error) = &result {
            metrics::counter!("guildhall_mirror_failures_total", "mirror" => self.mirror.name.clone()).increment(1);
            if was != trouble {
                tracing::error!(mirror = self.mirror.name, %error, alarm = true, "a mirror of the anchors falls behind");
            }
        }
        result
    }

    async fn try_carry(&self) -> Result<(), AnchorError> {
        let mut newest = self.newest.lock().await;
        if newest.is_none() {
            *newest = Some(self.look().await?);
        }
        let after = newest.clone().flatten();
        for key in keys_after(self.first.as_ref(), "anchors/", after.as_deref()).await? {
            let seq = self.carry_one(&key).await?;
            *newest = Some(Some(key));
            self.state.send_modify(|state| state.newest = Some(seq));
        }
        Ok(())
    }

    /// The newest anchor there. It is in the first store as well, or this is the mirror of something else.
    async fn look(&self) -> Result<Option<String>, AnchorError> {
        let Some(key) = keys(self.mirror.store.as_ref(), "anchors/").await?.pop() else { return Ok(None) };
        let there = self.expect(self.mirror.store.as_ref(), &key).await?;
        let here = self.first.get(&key, None).await?.map(|object| object.bytes);
        if here.as_ref() != Some(&there) {
            return Err(AnchorError::Store(format!(
                "the mirror {} has an anchor {key} that the first store has not: it belongs to another log, or to another history",
                self.mirror.name
            )));
        }
        let (anchor, _) = anchor_format::read(&key, &there, &self.keys.policy())?;
        self.state.send_modify(|state| state.newest = Some(anchor.seq));
        Ok(Some(key))
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
        self.mirror.store.put(key, bytes, retention).await?;
        tracing::info!(mirror = self.mirror.name, seq = anchor.seq, "mirrored");
        Ok(anchor.seq)
    }

    async fn put_files(&self, anchor: &Anchor, retention: Retention) -> Result<(), AnchorError> {
        let puts: Vec<_> = anchor
            .files
            .iter()
            .map(|(path, digest)| async move {
                let bytes = self.file(path, *digest).await?;
                self.mirror.store.put(path, bytes, retention).await.map(|_| ())
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
            None => self.expect(self.first.as_ref(), path).await?,
        };
        if sha256(&[&bytes]) == digest {
            Ok(bytes)
        } else {
            Err(AnchorError::Store(format!("{path} holds other bytes than were anchored")))
        }
    }

    async fn expect(&self, store: &dyn Store, key: &str) -> Result<Vec<u8>, AnchorError> {
        let object = store.get(key, None).await?;
        Ok(object.ok_or_else(|| AnchorError::Store(format!("{key} is listed and cannot be read")))?.bytes)
    }
}
