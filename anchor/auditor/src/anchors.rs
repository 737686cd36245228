//! Anchors: what was written where nobody can rewrite it, each naming the one before and every file new since then.

use std::collections::BTreeMap;
use std::io;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::hash::sha256;
use chain::heads::Commitment;
use chain::policy::Policy;
use serde::{Deserialize, Serialize};
use timestamp::{GenTime, Roots};

use crate::inputs::Folder;
use crate::keys;
use crate::report::{Check, Finding};
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
    /// From version 2 on: the root over the heads of all streams that the log has committed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Commitment>,
    pub origin: String,
    /// Absent only in the first anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    pub seq: u64,
    pub software: String,
    /// From version 2 on: what somebody else's clock says.
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
    /// From version 2 on: the store's name of what was written, which is also what the log records of it.
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
    /// Fingerprints of the policy's keys that signed its checkpoint.
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

/// Reads one anchor again, for its note.
pub fn note(folder: &Folder, key: &str) -> io::Result<Option<String>> {
    let bytes = folder.read(key)?.unwrap_or_default();
    Ok(serde_json::from_slice::<Anchor>(&bytes).map(|anchor| anchor.checkpoint).ok())
}

/// Checks the chain of anchors: names, order, links, signatures, times. The files they list are checked as the tree grows.
///
/// None covers more than `size` entries; `beyond` says what is wrong with one that does.
pub fn chain(
    folder: &Folder,
    policy: &Policy,
    origin: &str,
    (size, beyond): (u64, &str),
    roots: Option<&Roots>,
) -> io::Result<(Vec<Known>, Vec<Finding>)> {
    let mut findings = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    let mut previous: Option<(String, Hash)> = None;
    let mut seen: Option<GenTime> = None;
    for name in folder.names("anchors")?.into_iter().filter(|name| !survey::is_unfinished(name)) {
        let path = format!("anchors/{name}");
        let bytes = folder.read(&path)?.unwrap_or_default();
        let sha256 = sha256(&[&bytes]);
        let since = known.last().map_or(0, |last| last.size);
        let mut fault = |what: String| {
            let what = format!("{}: {what}", path.escape_debug());
            findings.push(Finding::within(Check::Anchor, since, size.max(since + 1), what));
        };
        let (anchor, keys::Read { checkpoint, by, witnessed }) = match read(&bytes, policy, origin) {
            Ok(read) => read,
            Err(what) => {
                fault(what);
                previous = Some((path, sha256));
                continue;
            }
        };
        if path != key(anchor.seq, checkpoint.size) {
            fault("the name is not that of its sequence number and size".to_owned());
        }
        if anchor.previous.as_ref().map(|named| (named.key.clone(), named.sha256)) != previous {
            fault("it does not name the anchor before it by key and hash".to_owned());
        }
        follows(known.last(), &anchor, checkpoint.size).into_iter().for_each(&mut fault);
        if checkpoint.size > size {
            fault(format!("it covers {} entries, more than {size}; {beyond}", checkpoint.size));
        }
        let time = times::see(&anchor, roots).unwrap_or_else(|what| {
            fault(what);
            Seen::Refused
        });
        if let Seen::At(at, _) = &time {
            if let Some(before) = seen.filter(|before| before.unix_seconds() > at.unix_seconds()) {
                fault(format!("its time token is of {at}, that of an anchor before it of {before}"));
            }
            seen = Some(*at);
        }
        previous = Some((path.clone(), sha256));
        let Anchor { seq, at, heads, previous: named, .. } = anchor;
        let Checkpoint { size, root, .. } = checkpoint;
        let previous_version = named.and_then(|named| named.version);
        known.push(Known {
            key: path,
            seq,
            at,
            size,
            root,
            heads,
            time,
            sha256,
            by,
            witnessed,
            previous_version,
            since,
        });
    }
    Ok((known, findings))
}

/// What is wrong with an anchor of this size beside the one before it.
fn follows(last: Option<&Known>, anchor: &Anchor, size: u64) -> Vec<String> {
    let mut wrong = Vec::new();
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
    let of_version_2 = anchor.heads.is_some()
        || anchor.time.is_some()
        || anchor.previous.as_ref().is_some_and(|previous| previous.version.is_some());
    match anchor.v {
        1 if of_version_2 => return Err("it has keys that version 1 has not".to_owned()),
        1 | 2 => {}
        other => return Err(format!("anchor format {other} is unknown")),
    }
    if !chain::canonical::is_canonical_time(&anchor.at) {
        return Err("its time is not canonical".to_owned());
    }
    Ok(anchor)
}

fn read(bytes: &[u8], policy: &Policy, origin: &str) -> Result<(Anchor, keys::Read), String> {
    let anchor = parse(bytes)?;
    let opened = keys::read(&anchor.checkpoint, policy).map_err(|error| format!("its checkpoint: {error}"))?;
    if anchor.origin != origin || opened.checkpoint.origin != origin {
        return Err("it belongs to another log".to_owned());
    }
    Ok((anchor, opened))
}
