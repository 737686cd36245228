//! Rules of what the machinery itself records: anchors written, and attempts refused.

use serde::Deserialize;

use chain::Hash;
use chain::heads::Commitment;
use chain::rotation::{Retirement, Rotation};

use super::continued::{self, Continued};
use super::lock::{self, LockTried};
use super::values::{Stream, Time};
use super::{Entry, Notes, World, events, signing};
use crate::keys::Told;
use crate::locks::Locks;

events! {
    "log.anchored.v1" => AnchoredV1(AnchoredV1), [], "sequence numbers without a gap, sizes never shrinking, nothing anchored that was not there yet; the anchor is there, with this root and these bytes";
    "log.anchored.v2" => Anchored(AnchoredData), [], "the same, and a lock that is complete or absent";
    "log.continued.v1" => Continued(Box<Continued>), [], "first of all entries; the checkpoint is one of the log, size and root it names, signed if the policy knows that log; as many entries as it says follow, none of the stream log";
    "log.lock_tried.v1" => LockTried(Box<LockTried>), [], "controls and attempts are those that are tried; the verdict, derived again from them, is the one that it says";
    "log.heads_committed.v1" => HeadsCommitted(Commitment), [], "the root over the heads of all streams, recomputed; of no size that was not there yet";
    "log.secrets_named.v1" => SecretsNamed(SecretsNamed), [], "fingerprints of the city's secrets; the same whenever they are named; rotations lead from the signing key to one of the policy's";
    "log.key_rotated.v1" => KeyRotated(Box<Rotation>), [], "both keys sign it, it leads on from the key in force to one that is new, and from a checkpoint that this log had; every checkpoint has a line of a key in force at its size";
    "log.key_retired.v1" => KeyRetired(Retirement), [], "the older one of two keys in force";
    "refusal.denied.v1" => Denied(Denied), [], "says who tried; changes nothing, so only its shape is held";
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredV1 {
    seq: u64,
    size: u64,
    root: Hash,
    key: String,
    sha256: Hash,
    store: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredData {
    pub seq: u64,
    pub size: u64,
    pub root: Hash,
    key: String,
    pub sha256: Hash,
    store: String,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub mode: Option<Mode>,
    #[serde(default)]
    pub retain_until: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Compliance,
    Governance,
}

impl From<AnchoredV1> for AnchoredData {
    fn from(data: AnchoredV1) -> Self {
        let AnchoredV1 { seq, size, root, key, sha256, store } = data;
        Self { seq, size, root, key, sha256, store, version: None, mode: None, retain_until: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsNamed {
    pepper: Hash,
    master_key: Hash,
    #[serde(default)]
    signing_key: Option<Hash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Denied {
    action: String,
    code: String,
    count: u64,
    credential: String,
}

/// What the log says about something outside of it, which the entries alone cannot show.
#[derive(Debug)]
pub enum Claim {
    Anchored(AnchoredData),
    Continued(Box<Continued>),
}

/// The newest anchor that the log speaks of, and the secrets that it names.
#[derive(Debug, Default)]
pub struct Anchored {
    last: Option<AnchoredData>,
    secrets: Option<SecretsNamed>,
    /// The log that this one continues.
    pub continued: Option<Box<Continued>>,
    /// Made at these positions, and not yet compared with what is outside.
    pub claims: Vec<(u64, Claim)>,
    pub keys: Told,
    pub locks: Locks,
}

pub fn apply(event: &Event, stream: &Stream, entry: &Entry, world: &mut World, notes: &mut Notes) {
    continued::not_carried(world.anchored.continued.as_deref(), entry, notes);
    match (event, stream) {
        (Event::Continued(said), Stream::Log) => {
            continued::continued(said, entry, notes);
            if entry.position == 0 {
                world.anchored.continued = Some(said.clone());
                world.anchored.claims.push((entry.position, Claim::Continued(said.clone())));
            }
        }
        (Event::AnchoredV1(data), Stream::Log) => anchored(&data.clone().into(), entry, &mut world.anchored, notes),
        (Event::Anchored(data), Stream::Log) => anchored(data, entry, &mut world.anchored, notes),
        (Event::LockTried(tried), Stream::Log) => {
            lock::tried(tried, entry, &mut world.anchored.locks, notes);
        }
        (Event::HeadsCommitted(said), Stream::Log) => {
            notes.expect(said.as_of <= entry.position, || {
                format!("it commits to heads at size {}, which was not there yet", said.as_of)
            });
        }
        (Event::SecretsNamed(named), Stream::Log) => {
            // Two servers that start on an empty log may both name them.
            let known = world.anchored.secrets.get_or_insert_with(|| named.clone());
            notes.expect(known == named, || "other secrets are named than before".to_owned());
            if let Some(key) = named.signing_key {
                signing::named(key, entry, &mut world.anchored.keys);
            }
        }
        (Event::KeyRotated(rotation), Stream::Log) => {
            signing::rotated(rotation, entry, &mut world.anchored.keys, notes);
        }
        (Event::KeyRetired(retirement), Stream::Log) => {
            signing::retired(retirement, entry, &mut world.anchored.keys, notes);
        }
        (Event::Denied(_), Stream::Refusals) => {}
        _ => notes.add(format!("an event of the machinery in the stream {stream}")),
    }
}

fn anchored(data: &AnchoredData, entry: &Entry, anchored: &mut Anchored, notes: &mut Notes) {
    notes.expect(data.size <= entry.position, || format!("anchor {} covers entries that were not there yet", data.seq));
    // A crash between recording and remembering makes the same anchor be recorded twice.
    let again = anchored.last.as_ref() == Some(data);
    if !again {
        anchored.locks.anchored(data, entry.at);
    }
    if let Some(last) = &anchored.last {
        let next = data.seq == last.seq + 1 && data.size >= last.size;
        notes.expect(again || next, || format!("anchor {} follows anchor {}", data.seq, last.seq));
    }
    notes.expect(data.mode.is_some() == data.retain_until.is_some(), || {
        format!("anchor {} is locked in a mode without a date, or until a date without a mode", data.seq)
    });
    notes.expect(data.key == crate::anchors::key(data.seq, data.size), || {
        format!("anchor {} has another key than its own", data.seq)
    });
    anchored.last = Some(data.clone());
    anchored.claims.push((entry.position, Claim::Anchored(data.clone())));
}
