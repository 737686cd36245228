//! Anchors: what was written where nobody can rewrite it, each naming the one before and every file new since then.

use std::collections::BTreeMap;
use std::io;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::hash::sha256;
use chain::heads::Commitment;
use chain::note::Note;
use chain::policy::Policy;
use chain::rotation::fingerprint;
use serde::{Deserialize, Serialize};
use timestamp::{GenTime, Roots};

use crate::checkpoints::Promise;
use crate::inputs::Folder;
use crate::keys;
use crate::report::{Check, Finding};
use crate::row;
use crate::survey;
use crate::times::{self, Seen};

/// The content of an anchor, canonical JSON (FORMAT.md section 9.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    pub at: String,
    /// The signed note.
    pub checkpoint: String,
    /// SHA-256 of every tile, bundle and pack that is new or wider since the previous anchor.
    pub files: BTreeMap<String, Hash>,
    /// The root over the heads of all streams that the log has committed to.
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
    /// What somebody else's clock says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    pub v: u64,
}

/// The anchor before: its key and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub key: String,
    pub sha256: Hash,
    /// The store's name of what was written, which is also what the log records of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A time-stamp token in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    pub token: String,
}

/// What the audit keeps of an anchor until the tree has grown to its size.
#[derive(Debug, Clone)]
pub struct Known {
    pub key: String,
    pub seq: u64,
    /// Its own word.
    pub at: String,
    pub size: u64,
    pub root: Hash,
    pub heads: Option<Commitment>,
    pub time: Seen,
    /// SHA-256 of the anchor's bytes.
    pub sha256: Hash,
    /// Fingerprints of the policy's keys that signed it and its checkpoint.
    pub by: Vec<Hash>,
    /// Whether the policy's quorum cosigned it.
    pub witnessed: bool,
    /// What it says that the store calls the anchor before it.
    pub previous_version: Option<String>,
    /// The size of the anchor before it.
    pub since: u64,
}

/// `anchors/<seq, 20 digits>-<size, 20 digits>.json`.
pub fn key(seq: u64, size: u64) -> String {
    format!("anchors/{seq:020}-{size:020}.json")
}

/// Reads one anchor again, for its list of files.
pub fn files(folder: &Folder, key: &str) -> io::Result<BTreeMap<String, Hash>> {
    let bytes = folder.read(key)?.unwrap_or_default();
    // What does not parse was found when the chain was checked.
    Ok(serde_json::from_slice::<Anchor>(&bytes).map(|anchor| anchor.files).unwrap_or_default())
}

/// Reads one anchor again, for its checkpoint.
pub fn checkpoint(folder: &Folder, key: &str) -> io::Result<Option<String>> {
    let bytes = folder.read(key)?.unwrap_or_default();
    Ok(serde_json::from_slice::<Anchor>(&bytes).map(|anchor| anchor.checkpoint).ok())
}

/// Reads one anchor again, for what a key of the log has to have signed: the checkpoint, and all of it. None for what is no anchor.
pub fn notes(folder: &Folder, key: &str) -> io::Result<Vec<Note>> {
    let bytes = folder.read(key)?.unwrap_or_default();
    let Ok(anchor) = parse(&bytes) else { return Ok(Vec::new()) };
    let notes = (Note::parse(&anchor.checkpoint), anchor.note());
    Ok(if let (Ok(checkpoint), Ok(whole)) = notes { vec![checkpoint, whole] } else { Vec::new() })
}

impl Anchor {
    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        chain::canonical::to_bytes(&value).map_err(|error| error.to_string())
    }

    /// What the log signs: SHA-256 of all of it but the signature.
    pub fn unsigned(&self) -> Result<Hash, String> {
        let unsigned = Self { signature: String::new(), ..self.clone() };
        Ok(sha256(&[&unsigned.to_bytes()?]))
    }

    /// The signed note that its signature lines make.
    fn note(&self) -> Result<Note, String> {
        chain::anchor::note(&self.origin, &self.unsigned()?, &self.signature).map_err(|error| error.to_string())
    }
}

/// An object that can be an anchor: it stands under the name that its content gives, and keys that the policy gives signed it and its
/// checkpoint, or neither. Whether it belongs to the chain the others say.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub known: Known,
    pub origin: String,
    pub previous: Option<Previous>,
    /// What is wrong with its time token.
    time: Option<String>,
}

/// An object that is no anchor, whatever the others say.
#[derive(Debug, Clone)]
pub struct Stray {
    pub key: String,
    pub why: String,
    /// The log, the size and the root that a key of the policy signed in it all the same.
    pub signed: Option<Checkpoint>,
}

/// What lies under `anchors/`, in the order of keys.
#[derive(Debug, Default)]
pub struct Under {
    pub candidates: Vec<Candidate>,
    pub strays: Vec<Stray>,
}

/// An anchor beside the chain: another one has its number there.
#[derive(Debug, Clone)]
pub struct Aside {
    pub known: Known,
    /// SHA-256 of the one that it names as the one before it.
    pub previous: Option<Hash>,
    /// The key of that other one.
    pub instead: String,
}

/// The anchors of a log as they follow each other.
#[derive(Debug, Default)]
pub struct Chain {
    pub known: Vec<Known>,
    pub aside: Vec<Aside>,
    pub strays: Vec<Stray>,
    pub findings: Vec<Finding>,
}

/// Reads everything under `anchors/` but what was never finished.
pub fn under(folder: &Folder, policy: &Policy, roots: Option<&Roots>) -> io::Result<Under> {
    let mut under = Under::default();
    for name in folder.names("anchors")?.into_iter().filter(|name| !survey::is_unfinished(name)) {
        let key = format!("anchors/{name}");
        let read = match folder.read(&key)? {
            Some(bytes) => judge(&key, &bytes, policy, roots),
            None => Err(Stray { key, why: "it was not opened".to_owned(), signed: None }),
        };
        match read {
            Ok(candidate) => under.candidates.push(candidate),
            Err(stray) => under.strays.push(stray),
        }
    }
    Ok(under)
}

/// What this object is by itself.
fn judge(path: &str, bytes: &[u8], policy: &Policy, roots: Option<&Roots>) -> Result<Candidate, Stray> {
    let stray = |why: String, signed| Stray { key: path.to_owned(), why, signed };
    let (anchor, keys::Read { checkpoint, mut by, witnessed }) = read(bytes, policy).map_err(|why| stray(why, None))?;
    let signed = (!by.is_empty()).then(|| checkpoint.clone());
    let signers = anchor.note().and_then(|note| {
        chain::anchor::signers(&note, &anchor.origin, policy).map_err(|error| format!("its signature: {error}"))
    });
    let signers = match signers {
        Ok(signers) => signers,
        Err(why) => return Err(stray(why, signed)),
    };
    by.retain(|print| signers.iter().any(|key| fingerprint(&key.vkey()) == *print));
    if signed.is_some() && by.is_empty() {
        return Err(stray("only its checkpoint is signed, which anybody can copy".to_owned(), signed));
    }
    if signed.is_none() && !signers.is_empty() {
        return Err(stray("the key that signed it did not sign its checkpoint".to_owned(), None));
    }
    if path != key(anchor.seq, checkpoint.size) {
        return Err(stray("the name is not that of its sequence number and size".to_owned(), signed));
    }
    if anchor.origin != checkpoint.origin {
        return Err(stray("its checkpoint is of another log than it says".to_owned(), signed));
    }
    let (seen, time) = match times::see(&anchor, roots) {
        Ok(seen) => (seen, None),
        Err(what) => (Seen::Refused, Some(what)),
    };
    let Anchor { seq, at, heads, previous, .. } = anchor;
    let Checkpoint { size, root, origin } = checkpoint;
    let previous_version = previous.as_ref().and_then(|named| named.version.clone());
    let (key, sha256) = (path.to_owned(), sha256(&[bytes]));
    let known =
        Known { key, seq, at, size, root, heads, time: seen, sha256, by, witnessed, previous_version, since: 0 };
    Ok(Candidate { known, origin, previous, time })
}

/// Follows the chain of anchors of this log: order, links, times. The files they list are checked as the tree grows.
///
/// None covers more than `size` entries; `beyond` says what is wrong with one that does. What is not in the chain says nothing about what is.
pub fn chain(under: Under, origin: &str, (size, beyond): (u64, &str)) -> Chain {
    let Under { candidates, mut strays } = under;
    let (own, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| candidate.origin == origin);
    let stray = |one: Candidate, why: &str| Stray { key: one.known.key, why: why.to_owned(), signed: None };
    strays.extend(others.into_iter().map(|other| stray(other, "it belongs to another log")));
    let (own, unknown) = row::counting(own);
    let why = "no key that the policy gives signed it, and no anchor that one signed leads to it";
    strays.extend(unknown.into_iter().map(|unknown| stray(unknown, why)));
    let mut places = row::chain(&own).into_iter().peekable();
    let mut chain = Chain { strays, ..Chain::default() };
    let (mut beside, mut previous, mut seen) = (Vec::new(), None, None);
    for (place, candidate) in own.into_iter().enumerate() {
        if places.next_if_eq(&place).is_none() {
            beside.push(candidate);
            continue;
        }
        let last = chain.known.last();
        let since = last.map_or(0, |last| last.size);
        let Candidate { mut known, previous: named, time, .. } = candidate;
        let mut wrong = Vec::new();
        if named.map(|named| (named.key, named.sha256)) != previous {
            wrong.push("it does not name the anchor before it by key and hash".to_owned());
        }
        wrong.extend(follows(last, &known));
        if known.size > size {
            wrong.push(format!("it covers {} entries, more than {size}; {beyond}", known.size));
        }
        wrong.extend(time);
        wrong.extend(goes_back(&known.time, &mut seen));
        let place = |what: String| {
            let what = format!("{}: {what}", known.key.escape_debug());
            Finding::within(Check::Anchor, since, size.max(since + 1), what)
        };
        chain.findings.extend(wrong.into_iter().map(place));
        previous = Some((known.key.clone(), known.sha256));
        known.since = since;
        chain.known.push(known);
    }
    for Candidate { known, previous, .. } in beside {
        let previous = previous.map(|named| named.sha256);
        let instead = chain.known.iter().find(|other| other.seq == known.seq).map(|other| other.key.clone());
        chain.aside.push(Aside { known, previous, instead: instead.unwrap_or_default() });
    }
    chain
}

impl Stray {
    /// The checkpoint of this log in it that a key of the policy signed all the same.
    pub fn promise(&self, origin: &str) -> Option<Promise> {
        let signed = self.signed.as_ref().filter(|signed| signed.origin == origin)?;
        Some(Promise { size: signed.size, root: signed.root, whence: self.key.clone() })
    }

    pub fn finding(&self) -> Finding {
        Finding::general(Check::Anchor, format!("{}: {}: a stray", self.key.escape_debug(), self.why))
    }
}

impl Aside {
    pub fn finding(&self) -> Finding {
        let what = format!("{}: the chain has {} in its place: a stray", self.known.key, self.instead);
        Finding::general(Check::Anchor, what)
    }

    /// It is the log's after all; the other one is not.
    pub fn in_its_place(&self, why: &str) -> String {
        format!("{}: it stands in the place of {}, {why}: a stray", self.instead, self.known.key)
    }
}

/// Whether somebody saw it before one that they saw before it.
fn goes_back(time: &Seen, seen: &mut Option<GenTime>) -> Option<String> {
    let Seen::At(at, _) = time else { return None };
    let before = seen.replace(*at).filter(|before| before.unix_seconds() > at.unix_seconds())?;
    Some(format!("its time token is of {at}, that of an anchor before it of {before}"))
}

/// What is wrong with an anchor beside the one before it.
fn follows(last: Option<&Known>, anchor: &Known) -> Vec<String> {
    let (mut wrong, size) = (Vec::new(), anchor.size);
    let expected = last.map_or(0, |last| last.seq + 1);
    if anchor.seq != expected {
        wrong.push(format!("anchor {expected} is missing before it"));
    }
    let Some(last) = last else { return wrong };
    // Both are canonical times, which sort as texts.
    if anchor.at < last.at {
        wrong.push(format!("it says it was made at {}, before the one before it", anchor.at));
    }
    if size < last.size {
        wrong.push(format!("it covers {size} entries, the one before it {}", last.size));
    }
    wrong
}

/// Reads an anchor, whoever signed its checkpoint.
pub fn parse(bytes: &[u8]) -> Result<Anchor, String> {
    chain::canonical::check(bytes).map_err(|error| format!("it is not canonical JSON: {error}"))?;
    let anchor: Anchor = serde_json::from_slice(bytes).map_err(|error| format!("it is not an anchor: {error}"))?;
    if anchor.v != 3 {
        return Err(format!("anchor format {} is unknown", anchor.v));
    }
    if anchor.signature.is_empty() {
        return Err("it is not signed".to_owned());
    }
    // Null is no way to leave a key out.
    if anchor.to_bytes()? != bytes {
        return Err("it has a key without a value".to_owned());
    }
    if !chain::canonical::is_canonical_time(&anchor.at) {
        return Err("its time is not canonical".to_owned());
    }
    Ok(anchor)
}

fn read(bytes: &[u8], policy: &Policy) -> Result<(Anchor, keys::Read), String> {
    let anchor = parse(bytes)?;
    let opened = keys::read(&anchor.checkpoint, policy).map_err(|error| format!("its checkpoint: {error}"))?;
    Ok((anchor, opened))
}
