//! What was kept of a log, read back: for whoever has to make the log again from it.
//!
//! Invariants:
//! - Nothing is believed because of where it lies. Anchors are a chain of signed checkpoints, packs give their roots, and the last root is
//!   that of the checkpoint that is aimed at, which a key of the policy signed. Of other keys only those count that the log's own rotations
//!   connect with it, at the sizes at which they were in force.
//! - What does not belong there is named and otherwise ignored: markers, further versions, what lies beyond the aim.

mod chain_of_anchors;
mod keys;
mod packs;

use std::sync::Arc;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::policy::Policy;

use crate::layout::Layout;
use crate::store::Store;
use crate::{AnchorError, error::blocking};

pub use chain_of_anchors::Link;
pub use packs::{Again, Pass, Verified};

/// Files asked for at a time: a store at the other end of a country answers slowly, and all at once.
const AHEAD: usize = 16;

/// Where to look.
#[derive(Clone)]
pub struct Places {
    /// Where the log was anchored.
    pub store: Arc<dyn Store>,
    /// What a server published beside it, if that is still there: it may be newer than the last anchor.
    pub published: Option<Layout>,
    /// Notes that somebody else kept.
    pub notes: Vec<String>,
}

/// How far the log is to be made again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Exactly so far; otherwise as far as a checkpoint reaches.
    pub size: Option<u64>,
    /// Only a checkpoint counts that the policy's quorum cosigned.
    pub witnessed: bool,
}

/// A signed checkpoint, and where it was found.
#[derive(Debug, Clone)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub note: String,
    /// Fingerprints of the policy's keys that signed it.
    pub by: Vec<Hash>,
    pub witnessed: bool,
    pub whence: String,
}

/// A log as it was kept, up to one signed checkpoint.
pub struct Archive {
    places: Places,
    /// The checkpoint that is aimed at.
    pub aim: Signed,
    /// The anchors that were read, a chain without a gap.
    pub anchors: Vec<Link>,
    /// What somebody should look at, although nothing depends on it.
    pub remarks: Vec<String>,
}

impl Archive {
    /// Reads the chain of anchors and all checkpoints, and settles how far the log can be made again. No entry is looked at.
    ///
    /// # Errors
    /// [`AnchorError::Unreadable`] names the file that cannot be what it should be; an anchor that is missing is named by its number.
    pub async fn open(places: Places, policy: &Policy, wanted: Wanted) -> Result<Self, AnchorError> {
        let mut chain = chain_of_anchors::read(places.store.as_ref(), policy, wanted.size).await?;
        let mut signed = std::mem::take(&mut chain.newest);
        if let Some(layout) = places.published.clone() {
            let notes = blocking(move || Ok([layout.checkpoint()?, layout.witnessed()?])).await?;
            let names = ["the published checkpoint", "the published witnessed checkpoint"];
            for (note, name) in notes.into_iter().zip(names) {
                signed.extend(note.and_then(|note| read_note(&note, name, policy, &mut chain.remarks)));
            }
        }
        for note in &places.notes {
            let given = keys::examine(note, "the checkpoint that was given", policy)
                .map_err(|error| AnchorError::unreadable("the checkpoint that was given", error))?;
            signed.push(given);
        }
        let aim = settle(signed, wanted, &mut chain.remarks)?;
        let Checkpoint { size, origin, .. } = &aim.checkpoint;
        if let Some(other) = chain.links.iter().find(|link| link.origin != *origin) {
            return Err(AnchorError::unreadable(
                &other.key,
                format!("it is of the log {}, not {origin}", other.origin),
            ));
        }
        let newer = chain.links.iter().find(|link| link.size > *size && link.by.is_empty());
        if let Some(newer) = newer.filter(|_| wanted.size.is_none()) {
            return Err(AnchorError::unreadable(
                &newer.key,
                format!(
                    "no key that the policy gives signed it: if the log rotated its key, the policy has to give the newest one; if it is a \
                     thief's, say which size is the last good one (the newest that the policy knows is {size})"
                ),
            ));
        }
        let beyond = chain.links.iter().filter(|link| link.size > *size).count();
        if beyond > 0 {
            chain
                .remarks
                .push(format!("{beyond} anchors cover more than {size} entries: what they add is left behind"));
        }
        Ok(Self { places, aim, anchors: chain.links, remarks: chain.remarks })
    }

    pub fn origin(&self) -> &str {
        &self.aim.checkpoint.origin
    }

    pub fn size(&self) -> u64 {
        self.aim.checkpoint.size
    }

    pub fn root(&self) -> Hash {
        self.aim.checkpoint.root
    }

    /// Reads every entry once and checks it, from position 0 up to the aim.
    pub fn verify(&self) -> Pass<'_> {
        Pass::new(self)
    }

    /// Reads the entries from position `from` on once more, after all of them were verified; `digests` are what [`Pass::finish`] gave.
    pub fn again<'a>(&'a self, digests: &'a [Hash], from: u64) -> Again<'a> {
        Again::new(self, digests, from)
    }
}

/// A note beside the anchors is a help: one that cannot be read is no reason to do without them.
fn read_note(note: &str, whence: &str, policy: &Policy, remarks: &mut Vec<String>) -> Option<Signed> {
    match keys::examine(note, whence, policy) {
        Ok(signed) => Some(signed),
        Err(error) => {
            remarks.push(format!("{whence} is not used: {error}"));
            None
        }
    }
}

/// The checkpoint to aim at: the longest that will do.
fn settle(signed: Vec<Signed>, wanted: Wanted, remarks: &mut Vec<String>) -> Result<Signed, AnchorError> {
    let fits = |signed: &Signed| {
        wanted.size.is_none_or(|size| signed.checkpoint.size == size) && (signed.witnessed || !wanted.witnessed)
    };
    let longest = signed.iter().max_by_key(|signed| signed.checkpoint.size).cloned();
    let mut fitting: Vec<Signed> = signed.into_iter().filter(fits).collect();
    // Of several of one size the last: notes that somebody brings come after those that lay here.
    fitting.sort_by_key(|signed| signed.checkpoint.size);
    let Some(aim) = fitting.pop() else {
        let cosigned = if wanted.witnessed { " that the quorum of the policy cosigned" } else { "" };
        let what = match (wanted.size, longest) {
            (_, None) => "no checkpoint of this log is there".to_owned(),
            (Some(size), Some(longest)) => {
                format!(
                    "no checkpoint of exactly {size} entries{cosigned} is there; the longest one here has {}",
                    longest.checkpoint.size
                )
            }
            (None, Some(_)) => format!("no checkpoint{cosigned} is there"),
        };
        return Err(AnchorError::unreadable("anchors/", what));
    };
    let other = fitting
        .iter()
        .find(|other| other.checkpoint.size == aim.checkpoint.size && other.checkpoint.root != aim.checkpoint.root);
    if let Some(other) = other {
        let what = format!(
            "its root of {} entries is another than that of {}: the log was forked",
            aim.checkpoint.size, other.whence
        );
        return Err(AnchorError::unreadable(aim.whence, what));
    }
    if let Some(longest) = longest.filter(|longest| longest.checkpoint.size > aim.checkpoint.size) {
        remarks.push(format!(
            "{} covers {} entries: those from position {} on are left behind",
            longest.whence, longest.checkpoint.size, aim.checkpoint.size
        ));
    }
    Ok(aim)
}
