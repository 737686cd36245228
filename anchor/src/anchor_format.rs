//! What an anchor is made of, and what the log says about it.

use std::collections::BTreeMap;

use chain::Hash;
use chain::anchor::signers;
use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::heads::Commitment;
use chain::note::Note;
use chain::pack::{PackId, packs_between};
use chain::policy::Policy;
use chain::tile::{BundleId, TileId, bundles_between, tiles_between};
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::store::Mode;

/// The version that is written. Those before it were not signed, and are not read any more.
pub(crate) const V: u64 = 3;

/// The content of an anchor (FORMAT.md section 9.2), written as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// When it was made, by this server's clock: a claim, not a proof.
    pub at: String,
    /// The signed note.
    pub checkpoint: String,
    /// SHA-256 of every tile, bundle and pack that is new or wider since the previous anchor.
    pub files: BTreeMap<String, Hash>,
    /// The newest commitment to the heads of all streams that the checkpoint covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Commitment>,
    pub origin: String,
    /// Absent only in the first anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    pub seq: u64,
    /// Signature lines, as a note has them, of the log's keys over all of it but these.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
    pub software: String,
    /// What an authority with another clock says about everything above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    pub v: u64,
}

/// The anchor before: its key, the hash of its bytes, and what the store calls the version that was written, where it has versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub key: String,
    pub sha256: Hash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A time-stamp token (RFC 3161), in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    pub token: String,
}

impl Anchor {
    /// Its canonical JSON.
    pub(crate) fn to_bytes(&self) -> Result<String, AnchorError> {
        let unreadable = |error: &dyn std::fmt::Display| AnchorError::unreadable("an anchor to be written", error);
        let value = serde_json::to_value(self).map_err(|error| unreadable(&error))?;
        let bytes = chain::canonical::to_bytes(&value).map_err(|error| unreadable(&error))?;
        String::from_utf8(bytes).map_err(|error| unreadable(&error))
    }

    /// What an authority is asked to stamp: all of it but the token, and the signature that is over both.
    pub(crate) fn imprint(&self) -> Result<Hash, AnchorError> {
        Self { time: None, ..self.clone() }.unsigned()
    }

    /// What the log signs: all of it but the signature.
    pub(crate) fn unsigned(&self) -> Result<Hash, AnchorError> {
        let unsigned = Self { signature: String::new(), ..self.clone() };
        Ok(sha256(&[unsigned.to_bytes()?.as_bytes()]))
    }

    /// The signed note that its signature lines make.
    pub(crate) fn note(&self) -> Result<Note, AnchorError> {
        chain::anchor::note(&self.origin, &self.unsigned()?, &self.signature)
            .map_err(|error| AnchorError::unreadable("the signature of an anchor", error))
    }

    /// The DER of its token.
    pub(crate) fn token(&self) -> Option<Vec<u8>> {
        self.time.as_ref().and_then(|time| chain::text::from_base64(&time.token))
    }
}

/// The type of the entry that says so.
pub(crate) const ANCHORED: &str = "log.anchored.v2";
/// The type it had when stores had no versions and no locks; nothing else is different.
pub(crate) const ANCHORED_V1: &str = "log.anchored.v1";

/// An anchor that was written: what the log says about it.
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
    /// The name of the version that was written, where a store has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the store locks it, and until when, as it says itself; where it has locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<String>,
}

impl Anchored {
    /// Whether both speak of the same anchor. An attempt that was repeated may know it by another version.
    pub fn is(&self, other: &Self) -> bool {
        (self.seq, self.size, self.root, &self.key, self.sha256, &self.store)
            == (other.seq, other.size, other.root, &other.key, other.sha256, &other.store)
    }
}

/// One anchor in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub key: String,
    pub seq: u64,
    pub size: u64,
    pub at: String,
    /// Whether it carries a time token.
    pub stamped: bool,
    pub sha256: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<String>,
    /// What lies beside it in the store and does not belong there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<String>,
}

/// One line about what lies under `anchors/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Row {
    Anchor(Listed),
    /// A number that no anchor of the store has, although later ones are there or it is on record.
    Missing {
        seq: u64,
        missing: bool,
    },
    /// An object that was not put there for this log, and why it was not.
    Stray {
        key: String,
        stray: String,
    },
}

impl Row {
    /// The anchor, if it is one.
    pub fn anchor(self) -> Option<Listed> {
        match self {
            Self::Anchor(listed) => Some(listed),
            Self::Missing { .. } | Self::Stray { .. } => None,
        }
    }
}

/// `anchors/<seq, 20 digits>-<size, 20 digits>.json`.
pub fn key(seq: u64, size: u64) -> String {
    format!("anchors/{seq:020}-{size:020}.json")
}

/// The number and the size that a key names; nothing for one that no anchor can have.
pub fn numbers(name: &str) -> Option<(u64, u64)> {
    let (seq, size) = name.strip_prefix("anchors/")?.strip_suffix(".json")?.split_once('-')?;
    let (seq, size) = (seq.parse().ok()?, size.parse().ok()?);
    (key(seq, size) == name).then_some((seq, size))
}

/// Paths of the files that a log of `new` entries has and one of `old` has not.
pub fn new_files(old: u64, new: u64) -> Vec<String> {
    let tiles = tiles_between(old, new).iter().map(TileId::path).collect::<Vec<_>>();
    let bundles = bundles_between(old, new).iter().map(BundleId::path).collect::<Vec<_>>();
    let packs = packs_between(old, new).iter().map(PackId::path).collect::<Vec<_>>();
    [tiles, bundles, packs].concat()
}

/// Reads an anchor, whoever signed it: only its one spelling, so that nobody makes another object of the same content.
pub fn parse(key: &str, bytes: &[u8]) -> Result<Anchor, AnchorError> {
    let anchor: Anchor = serde_json::from_slice(bytes).map_err(|error| AnchorError::unreadable(key, error))?;
    if anchor.v != V {
        return Err(AnchorError::unreadable(key, format!("it is an anchor of version {}, and {V} is known", anchor.v)));
    }
    if anchor.signature.is_empty() {
        return Err(AnchorError::unreadable(key, "it is not signed"));
    }
    if anchor.to_bytes()?.as_bytes() != bytes {
        return Err(AnchorError::unreadable(key, "it is not canonical JSON"));
    }
    Ok(anchor)
}

/// Reads an anchor that a key of the policy signed, and opens its checkpoint.
pub fn read(key: &str, bytes: &[u8], policy: &Policy) -> Result<(Anchor, Checkpoint), AnchorError> {
    let anchor = parse(key, bytes)?;
    let unreadable = |error: &dyn std::fmt::Display| AnchorError::unreadable(key, error);
    let checkpoint = checkpoint::open(&anchor.checkpoint, policy).map_err(|error| unreadable(&error))?;
    let by = signers(&anchor.note()?, &anchor.origin, policy).map_err(|error| unreadable(&error))?;
    if by.is_empty() { Err(unreadable(&NOT_SIGNED)) } else { Ok((anchor, checkpoint)) }
}

/// Why something around a true checkpoint is none.
pub(crate) const NOT_SIGNED: &str = "no key of this log signed more of it than its checkpoint, which anybody can copy";

/// The checkpoint that an anchor of this log speaks of, whoever signed it.
pub fn checkpoint_of(key: &str, bytes: &[u8], origin: &str) -> Result<Checkpoint, AnchorError> {
    let anchor = parse(key, bytes)?;
    let note = Note::parse(&anchor.checkpoint).map_err(|error| AnchorError::unreadable(key, error))?;
    let checkpoint = Checkpoint::parse_text(&note.text).map_err(|error| AnchorError::unreadable(key, error))?;
    if checkpoint.origin == origin { Ok(checkpoint) } else { Err(AnchorError::unreadable(key, "it is of another log")) }
}
