//! Before the first command: is this database still the log whose checkpoints were signed?
//!
//! The tree is computed again over the stored hashes of all entries, up to every checkpoint that is known from outside the
//! database: the signing state, the published checkpoint, the newest anchor, and what reachable witnesses cosigned. A restored
//! backup, another database, entries removed or rewritten together with their hashes: all of them give another root. What this
//! does not see is an entry whose bytes were changed and whose hash was left alone: reading every byte takes minutes on a large log, so that is found by
//! whoever reads entries against their hashes (the replay, the auditor) and, for entries not published yet, by the publisher.

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::policy::Policy;
use chain::tile::{BundleId, FULL_WIDTH};
use chain::tree::{Frontier, empty_root, leaf_hash};
use eventlog::{Failure, Log};
use serde::Serialize;

use crate::layout::Layout;
use crate::{AnchorError, Config, SigningKeys, Store, anchor_format, signing};

/// Hashes read at a time.
const CHUNK: u64 = 65_536;

/// Whether commands may be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The log continues everything that was signed about it.
    Good,
    /// It does not, from this position on: only reading is safe.
    ReadOnly { position: u64, reason: String },
}

/// A checkpoint from outside the database, and where it was found.
pub(crate) struct Known {
    pub checkpoint: Checkpoint,
    pub whence: String,
}

/// The same comparison for a server that does not publish itself, because another one does from the same place.
pub async fn compare(
    config: &Config,
    log: &Log,
    keys: &SigningKeys,
    store: &dyn Store,
) -> Result<Verdict, AnchorError> {
    let layout = Layout::within(&config.data_dir);
    let policy = keys.policy();
    let signed = match signing::read(&config.data_dir.join("signing"), &policy) {
        Ok(signed) => signed.map(|(_, checkpoint)| checkpoint),
        Err(AnchorError::Unreadable { path, what }) => return Ok(strange(&path, &what)),
        Err(error) => return Err(error),
    };
    let witnessed = config.witnessed(keys).await;
    check(log, &layout, store, &policy, signed.as_ref(), witnessed).await
}

/// Something lies there that this key did not sign: until somebody has looked, nothing is added to it.
fn strange(path: &str, what: &str) -> Verdict {
    Verdict::ReadOnly { position: 0, reason: format!("{path} cannot be taken for this log's: {what}") }
}

/// Compares the log with every checkpoint known from outside the database.
pub(crate) async fn check(
    log: &Log,
    layout: &Layout,
    store: &dyn Store,
    policy: &Policy,
    signed: Option<&Checkpoint>,
    witnessed: Vec<Known>,
) -> Result<Verdict, AnchorError> {
    let mut known = match known(layout, store, policy, signed).await {
        Ok(known) => known,
        Err(AnchorError::Unreadable { path, what }) => return Ok(strange(&path, &what)),
        Err(error) => return Err(error),
    };
    known.extend(witnessed);
    against(log, layout, known).await
}

/// Compares the log with these checkpoints.
pub(crate) async fn against(log: &Log, layout: &Layout, mut known: Vec<Known>) -> Result<Verdict, AnchorError> {
    known.sort_by_key(|known| known.checkpoint.size);
    let head = log.head().await?;
    let mut frontier = Frontier::new();
    let mut agreed = 0;
    for known in &known {
        let Checkpoint { size, root, .. } = known.checkpoint;
        if head.size < size {
            let reason = format!(
                "{} covers {size} entries, the log has only {}: was a backup restored?",
                known.whence, head.size
            );
            return Ok(Verdict::ReadOnly { position: head.size, reason });
        }
        grow(log, &mut frontier, size).await?;
        let found = if size == 0 { empty_root() } else { frontier.root() };
        if found != root {
            let position = first_difference(log, layout, agreed, size).await?.unwrap_or(agreed);
            let reason = format!(
                "the first {size} entries are not those that {} covers: their root is {found}, not {root}",
                known.whence
            );
            return Ok(Verdict::ReadOnly { position, reason });
        }
        agreed = size;
    }
    Ok(Verdict::Good)
}

async fn known(
    layout: &Layout,
    store: &dyn Store,
    policy: &Policy,
    signed: Option<&Checkpoint>,
) -> Result<Vec<Known>, AnchorError> {
    let mut known: Vec<Known> = Vec::new();
    let mut add = |checkpoint: Checkpoint, whence: String| known.push(Known { checkpoint, whence });
    if let Some(signed) = signed {
        add(signed.clone(), "the last signed checkpoint".to_owned());
    }
    if let Some(note) = layout.checkpoint()? {
        let opened = checkpoint::open(&note, policy)
            .map_err(|error| AnchorError::unreadable("the published checkpoint", error))?;
        add(opened, "the published checkpoint".to_owned());
    }
    match newest_anchor(store, policy).await {
        Ok(Some((key, opened))) => add(opened, format!("the anchor {key}")),
        Ok(None) => {}
        // What was signed here last is at least as new as what was anchored from here: a store that is away for an hour does not keep the
        // city closed. Without that memory the anchors are the only one there is.
        Err(error @ AnchorError::Unreachable(_)) if signed.is_some() => {
            tracing::warn!(%error, "the log is compared with what was signed here, and not with its anchors");
        }
        Err(error) => return Err(error),
    }
    Ok(known)
}

async fn newest_anchor(store: &dyn Store, policy: &Policy) -> Result<Option<(String, Checkpoint)>, AnchorError> {
    let Some(key) = crate::store::keys(store, "anchors/").await?.pop() else { return Ok(None) };
    let bytes = store.get(&key, None).await?.map(|object| object.bytes).unwrap_or_default();
    let (_, opened) = anchor_format::read(&key, &bytes, policy)?;
    Ok(Some((key, opened)))
}

/// Extends the tree to `size` leaves from the log.
async fn grow(log: &Log, frontier: &mut Frontier, size: u64) -> Result<(), AnchorError> {
    while frontier.size() < size {
        let from = frontier.size();
        for hash in hashes(log, from, (from + CHUNK).min(size)).await? {
            frontier.push(leaf_hash(&hash.0));
        }
    }
    Ok(())
}

/// The stored hashes of `[from, to)`, all of them.
async fn hashes(log: &Log, from: u64, to: u64) -> Result<Vec<Hash>, AnchorError> {
    let count = usize::try_from(to - from).unwrap_or(usize::MAX);
    let hashes = log.hashes(from, count).await?;
    if hashes.len() == count {
        Ok(hashes)
    } else {
        Err(Failure::Corrupt(format!("entries are missing between positions {from} and {to}")).into())
    }
}

/// The first position whose stored hash is not the published one. Only asked once something is wrong.
async fn first_difference(log: &Log, layout: &Layout, from: u64, to: u64) -> Result<Option<u64>, AnchorError> {
    let full = u64::from(FULL_WIDTH);
    for index in from / full..to.div_ceil(full) {
        let first = index * full;
        let width = u16::try_from((to - first).min(full)).unwrap_or(FULL_WIDTH);
        // Without the published file nothing finer can be said than the size at which the roots still agreed.
        let Ok(published) = layout.bundle(&BundleId { index, width }) else { return Ok(None) };
        let stored = hashes(log, first, first + u64::from(width)).await?;
        if let Some(at) = stored.iter().zip(&published).position(|(stored, published)| stored != published) {
            return Ok(Some(first + at as u64));
        }
    }
    Ok(None)
}
