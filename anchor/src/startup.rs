//! Before the first command: is this database still the log whose checkpoints were signed?
//!
//! The tree is computed again over the stored hashes of all entries, up to every checkpoint that is known from outside the
//! database: the signing state, the published checkpoint, the newest anchor, and what reachable witnesses cosigned. A restored
//! backup, another database, entries removed or rewritten together with their hashes: all of them give another root. What this
//! does not see is an entry whose bytes were changed and whose hash was left alone: reading every byte takes minutes on a large log, so that is found by
//! whoever reads entries against their hashes (the replay, the auditor) and, for entries not published yet, by the publisher.

use std::time::Duration;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::tile::{BundleId, FULL_WIDTH};
use chain::tree::{Frontier, empty_root, leaf_hash};
use eventlog::{Failure, Log};
use serde::Serialize;

use crate::layout::Layout;
use crate::{AnchorError, Config, SigningKeys, Store, anchorer, genuine, signing};

/// Hashes read at a time.
const CHUNK: u64 = 65_536;

/// What is said of a store that does not answer.
pub(crate) const UNSEEN: &str =
    "the anchor store does not answer: the log was compared with what was signed here, and not with its anchors";

/// Whether commands may be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The log continues everything that was signed about it.
    Good,
    /// It does not, from this position on: only reading is safe.
    ReadOnly { position: u64, reason: String },
}

impl Verdict {
    /// Why no command may be accepted, if so.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Good => None,
            Self::ReadOnly { position, reason } => Some(format!("from position {position} on: {reason}")),
        }
    }
}

/// A checkpoint from outside the database, and where it was found.
pub(crate) struct Known {
    pub checkpoint: Checkpoint,
    pub whence: String,
}

/// How the log stands to its checkpoints, and what there was to see in the store.
pub(crate) struct Compared {
    pub verdict: Verdict,
    /// What lies under `anchors/` above the newest anchor and is none.
    pub strays: Vec<String>,
    /// Why the anchors were not looked at.
    pub unseen: Option<String>,
}

impl Compared {
    /// Something lies here that no key of this log signed: until somebody has looked, nothing is added to it. Only what this server
    /// wrote itself is taken so seriously: what lies in a store anybody may have put there who can write to it.
    fn strange(path: &str, what: &str) -> Self {
        let verdict =
            Verdict::ReadOnly { position: 0, reason: format!("{path} cannot be taken for this log's: {what}") };
        Self { verdict, strays: Vec::new(), unseen: None }
    }
}

/// The same comparison for a server that does not publish itself, because another one does from the same place.
pub async fn compare(
    config: &Config,
    log: &Log,
    keys: &SigningKeys,
    store: &dyn Store,
) -> Result<Verdict, AnchorError> {
    let layout = Layout::within(&config.data_dir);
    let signed = match signing::read(&config.data_dir.join("signing"), &keys.policy()) {
        Ok(signed) => signed.map(|(_, checkpoint)| checkpoint),
        Err(AnchorError::Unreadable { path, what }) => return Ok(Compared::strange(&path, &what).verdict),
        Err(error) => return Err(error),
    };
    let last = anchorer::last_known(&config.data_dir).await;
    let witnessed = config.witnessed(keys).await;
    let known = (signed.as_ref(), last.as_deref());
    let compared = check(log, &layout, (store, config.patience), keys, known, witnessed).await?;
    if let Some(why) = compared.unseen {
        tracing::warn!(why, "{UNSEEN}");
    }
    Ok(compared.verdict)
}

/// Compares the log with every checkpoint known from outside the database. The store is waited for as long as `patience` lasts, and listed from
/// the anchor `anchored` on, the last one that is known here.
pub(crate) async fn check(
    log: &Log,
    layout: &Layout,
    (store, patience): (&dyn Store, Duration),
    keys: &SigningKeys,
    (signed, anchored): (Option<&Checkpoint>, Option<&str>),
    witnessed: Vec<Known>,
) -> Result<Compared, AnchorError> {
    let mut known = Vec::new();
    if let Some(signed) = signed {
        known.push(Known { checkpoint: signed.clone(), whence: "the last signed checkpoint".to_owned() });
    }
    if let Some(note) = layout.checkpoint()? {
        let whence = "the published checkpoint";
        match checkpoint::open(&note, &keys.policy()) {
            Ok(checkpoint) => known.push(Known { checkpoint, whence: whence.to_owned() }),
            Err(error) => return Ok(Compared::strange(whence, &error.to_string())),
        }
    }
    let looking = tokio::time::timeout(patience, genuine::newest(store, keys, anchored)).await;
    let looked = looking.unwrap_or_else(|_| Err(no_answer(patience)));
    let (strays, unseen) = match looked {
        Ok(genuine::Newest { anchors, strays }) => {
            known.extend(anchors.into_iter().map(|newest| {
                let whence = format!("the anchor {}", newest.key);
                Known { checkpoint: newest.checkpoint, whence }
            }));
            (strays, None)
        }
        // What was signed here last is at least as new as what was anchored from here: a store that is away for an hour does not keep the
        // city closed. Without that memory the anchors are the only one there is.
        Err(AnchorError::Unreachable(why)) if signed.is_some() => {
            (Vec::new(), Some(format!("{}: {why}", store.place())))
        }
        Err(AnchorError::Unreachable(why)) => {
            return Err(AnchorError::Unreachable(format!(
                "{}: {why}; nothing that was signed before is kept here, so without its anchors this log cannot be told from an old or \
                 another one: bring the store back, or correct anchor.directory or anchor.s3, and start again",
                store.place()
            )));
        }
        Err(error) => return Err(error),
    };
    known.extend(witnessed);
    Ok(Compared { verdict: against(log, layout, known).await?, strays, unseen })
}

fn no_answer(patience: Duration) -> AnchorError {
    AnchorError::Unreachable(format!("no answer within {} s", patience.as_secs()))
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
