//! What was kept of a log, read back: for whoever has to make the log again from it.
//!
//! Invariants:
//! - Nothing is believed because of where it lies. The last root is that of the checkpoint that is aimed at, which a key of the policy signed
//!   and which every entry goes into. Of other keys only those count that the log's own rotations connect with it, at the sizes at which they
//!   were in force.
//! - Anchors are a chain of signed checkpoints: a gap in it, or a root that the entries do not give, is no archive; but what the policy's
//!   quorum cosigned outweighs what the log's key alone signed.
//! - What does not belong there is named and otherwise ignored: markers, further versions, what no key of the log signed, what lies beyond
//!   the aim.

mod chain_of_anchors;
mod judgement;
mod keys;
mod later;
mod packs;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chain::Hash;
use chain::checkpoint::{Checkpoint, CheckpointError};
use chain::key::VerifierKey;
use chain::note::{Note, NoteError};
use chain::policy::Policy;

use crate::genuine::stray;
use crate::layout::Layout;
use crate::store::Store;
use crate::{AnchorError, error::blocking};

pub use chain_of_anchors::Link;
pub use packs::{Again, First, Pass, Verified};

/// Files asked for at a time: a store at the other end of a country answers slowly, and all at once.
const AHEAD: usize = 16;

/// Where to look.
#[derive(Clone)]
pub struct Places {
    /// Where the log was anchored.
    pub store: Arc<dyn Store>,
    /// What a server published beside it, if that is still there: it may be newer than the last anchor.
    pub published: Option<Layout>,
    /// The checkpoint of an export, which says what the folder holds.
    pub checkpoint: Option<String>,
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
    /// Whether the policy's quorum cosigned it, which `none` always has.
    pub witnessed: bool,
    /// Whether there is a quorum, and it cosigned this: then the log's key alone says nothing against it.
    pub proven: bool,
    /// Whether somebody brought it.
    pub is_given: bool,
    pub whence: String,
}

impl Signed {
    /// Whether this is believed when the other one says something else.
    fn outweighs(&self, other: &Mark) -> bool {
        self.proven && (self.is_given || !other.proven)
    }
}

/// A root that the entries are compared with.
#[derive(Debug, Clone)]
struct Mark {
    /// The key of the anchor, or another place.
    whence: String,
    is_anchor: bool,
    size: u64,
    root: Hash,
    /// Whether a key of the policy signed it.
    is_known: bool,
    proven: bool,
}

/// A log as it was kept, up to one signed checkpoint.
pub struct Archive {
    places: Places,
    /// The checkpoint that is aimed at.
    pub aim: Signed,
    /// What may be its anchors, in the order of their keys.
    pub anchors: Vec<Link>,
    /// What somebody should look at, although nothing depends on it.
    pub remarks: Vec<String>,
    /// What the roots of the entries are compared with, shortest first.
    marks: Vec<Mark>,
    /// SHA-256 of the packs, as anchors list them.
    listed: HashMap<String, Vec<Hash>>,
    /// The keys of this log that the policy gives.
    keys: Vec<VerifierKey>,
    /// How far the published packs go, as far as is known.
    published_size: u64,
}

impl Archive {
    /// Reads the anchors and all checkpoints, and settles how far the log can be made again. No entry is looked at.
    ///
    /// # Errors
    /// [`AnchorError::Unreadable`] names the checkpoint that will not do.
    pub async fn open(places: Places, policy: &Policy, wanted: Wanted) -> Result<Self, AnchorError> {
        let found = chain_of_anchors::read(places.store.as_ref(), policy, wanted.size).await?;
        let chain_of_anchors::Found { mut links, packs: listed, mut signed, mut remarks } = found;
        let mut beside = Vec::new();
        let mut published_size = 0;
        if let Some(layout) = places.published.clone() {
            let notes = blocking(move || Ok([layout.checkpoint()?, layout.witnessed()?])).await?;
            let names = ["the published checkpoint", "the published witnessed checkpoint"];
            for (note, name) in notes.into_iter().zip(names) {
                published_size = published_size.max(note.as_deref().map_or(0, size_of));
                beside.extend(note.and_then(|note| read_note(&note, name, policy, &mut remarks)));
            }
        }
        let given = places.notes.iter().map(|note| given(note, policy)).collect::<Result<Vec<_>, _>>()?;
        if let Some(note) = &places.checkpoint {
            let is_outweighed = given.iter().any(|given| given.proven);
            beside.extend(of_export(note, policy, wanted, is_outweighed, &mut remarks)?);
        }
        // In this order: of several that are as good the last one counts.
        beside.extend(given);
        let origin = whose(policy, &signed, &beside)?;
        signed.extend(beside.iter().cloned());
        signed.retain(|signed| signed.checkpoint.origin == origin);
        beside.retain(|signed| signed.checkpoint.origin == origin);
        links.retain(|link| {
            let is_ours = link.origin == origin;
            if !is_ours {
                remarks.push(stray(&link.key, &format!("it is an anchor of the log {}", link.origin)));
            }
            is_ours
        });
        let aim = settle(signed, wanted, &mut remarks)?;
        let size = aim.checkpoint.size;
        let beyond = links.iter().filter(|link| link.size > size && !link.by.is_empty()).count();
        if beyond > 0 {
            remarks.push(format!("{beyond} anchors cover more than {size} entries: what they add is left behind"));
        }
        let mut marks: Vec<Mark> = links.iter().map(Mark::of_anchor).chain(beside.iter().map(Mark::of_note)).collect();
        marks.retain(|mark| mark.size <= size);
        marks.sort_by_key(|mark| mark.size);
        let keys = policy.logs.iter().filter(|key| key.name() == origin).cloned().collect();
        Ok(Self { places, aim, anchors: links, remarks, marks, listed, keys, published_size })
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
    pub fn verify(&self, first: First) -> Pass<'_> {
        Pass::new(self, first)
    }

    /// Which copies to try first, one after the other: where there are two places, either may hold packs that somebody made up, and
    /// only the last root says so.
    pub fn orders(&self) -> &'static [First] {
        if self.places.published.is_some() { &[First::Store, First::Published] } else { &[First::Store] }
    }

    /// Reads the entries from position `from` on once more, after all of them were verified; `digests` are what [`Pass::finish`] gave.
    pub fn again<'a>(&'a self, digests: &'a [Hash], from: u64) -> Again<'a> {
        Again::new(self, digests, from)
    }
}

impl Mark {
    fn of_anchor(link: &Link) -> Self {
        Self {
            whence: link.key.clone(),
            is_anchor: true,
            size: link.size,
            root: link.root,
            is_known: !link.by.is_empty(),
            proven: link.proven,
        }
    }

    fn of_note(signed: &Signed) -> Self {
        let Checkpoint { size, root, .. } = signed.checkpoint;
        let (whence, proven) = (signed.whence.clone(), signed.proven);
        Self { whence, is_anchor: false, size, root, is_known: true, proven }
    }
}

/// How many entries a note covers, whoever signed it; nothing for one that cannot be read.
fn size_of(note: &str) -> u64 {
    let checkpoint = Note::parse(note).ok().and_then(|note| Checkpoint::parse_text(&note.text).ok());
    checkpoint.map_or(0, |checkpoint| checkpoint.size)
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

/// A note that somebody brought is one to go by, or they are told why not.
fn given(note: &str, policy: &Policy) -> Result<Signed, AnchorError> {
    let whence = "the checkpoint that was given";
    match keys::examine(note, whence, policy) {
        Ok(signed) => Ok(Signed { is_given: true, ..signed }),
        Err(error @ (CheckpointError::NotSignedByLog(_) | CheckpointError::Note(NoteError::NoKnownKey))) => {
            Err(AnchorError::unreadable(
                whence,
                format!(
                    "{error}: where the log rotated its key, the policy has to give the one that was in force at size {}",
                    size_of(note)
                ),
            ))
        }
        Err(error) => Err(AnchorError::unreadable(whence, error)),
    }
}

/// The checkpoint of an export is the word on what the folder holds: it holds, or the folder does not; unless it says more than is asked
/// for, or somebody brought a better word.
fn of_export(
    note: &str,
    policy: &Policy,
    wanted: Wanted,
    is_outweighed: bool,
    remarks: &mut Vec<String>,
) -> Result<Option<Signed>, AnchorError> {
    let whence = "the checkpoint of the export";
    if is_outweighed || wanted.size.is_some_and(|size| size < size_of(note)) {
        return Ok(read_note(note, whence, policy, remarks));
    }
    let signed = keys::examine(note, whence, policy).map_err(|error| AnchorError::unreadable(whence, error))?;
    Ok(Some(signed))
}

/// Which log this is: the only one that the policy gives; or else the one that the notes beside the anchors are of, or the only one that
/// has anchors here.
fn whose(policy: &Policy, anchored: &[Signed], beside: &[Signed]) -> Result<String, AnchorError> {
    let trusted: BTreeSet<&str> = policy.logs.iter().map(VerifierKey::name).collect();
    let told = beside.last().map(|signed| BTreeSet::from([signed.checkpoint.origin.as_str()]));
    let candidates = if trusted.len() == 1 {
        trusted
    } else {
        told.unwrap_or_else(|| anchored.iter().map(|signed| signed.checkpoint.origin.as_str()).collect())
    };
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next()) {
        (Some(origin), None) => Ok(origin.to_owned()),
        (None, _) => Err(nothing_signed("no checkpoint of a log that the policy gives is there".to_owned())),
        (Some(one), Some(other)) => Err(nothing_signed(format!(
            "checkpoints of several logs that the policy gives are there, of {one} and {other}: take a policy that gives the one to be \
             made again"
        ))),
    }
}

fn nothing_signed(what: String) -> AnchorError {
    AnchorError::unreadable("anchors/", what)
}

/// The checkpoint to aim at: the longest that will do.
fn settle(signed: Vec<Signed>, wanted: Wanted, remarks: &mut Vec<String>) -> Result<Signed, AnchorError> {
    let fits = |signed: &Signed| {
        wanted.size.is_none_or(|size| signed.checkpoint.size == size) && (signed.witnessed || !wanted.witnessed)
    };
    let longest = signed.iter().max_by_key(|signed| signed.checkpoint.size).cloned();
    let mut fitting: Vec<Signed> = signed.into_iter().filter(fits).collect();
    // Of several of one size what is proved, and then what somebody brings.
    fitting.sort_by_key(|signed| (signed.checkpoint.size, signed.proven, signed.is_given));
    let Some(aim) = fitting.pop() else {
        let cosigned = if wanted.witnessed { " that the quorum of the policy cosigned" } else { "" };
        let what = match (wanted.size, longest) {
            (None, None) => "no checkpoint of this log is there".to_owned(),
            (None, Some(_)) => format!("no checkpoint{cosigned} is there"),
            (Some(size), longest) => {
                let longest = longest.map_or_else(|| "none".to_owned(), |longest| longest.checkpoint.size.to_string());
                format!(
                    "no checkpoint of exactly {size} entries{cosigned} is there; the longest one that a key of the policy signed: {longest}. \
                     Where the log rotated its key, the policy has to give the one that was in force at that size"
                )
            }
        };
        return Err(nothing_signed(what));
    };
    if let Some(longest) = longest.filter(|longest| longest.checkpoint.size > aim.checkpoint.size) {
        remarks.push(format!(
            "{} covers {} entries: those from position {} on are left behind",
            longest.whence, longest.checkpoint.size, aim.checkpoint.size
        ));
    }
    Ok(aim)
}
