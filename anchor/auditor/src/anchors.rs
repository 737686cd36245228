//! Anchors: what was written where nobody can rewrite it, each naming the one before and every file new since then.

use std::collections::BTreeMap;
use std::io;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::hash::sha256;
use chain::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::inputs::Folder;
use crate::keys;
use crate::report::{Check, Finding};
use crate::survey;

/// The content of an anchor, canonical JSON (FORMAT.md section 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    pub at: String,
    /// The signed note.
    pub checkpoint: String,
    /// SHA-256 of every tile, bundle and pack that is new or wider since the previous anchor.
    pub files: BTreeMap<String, Hash>,
    pub origin: String,
    /// Absent only in the first anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    pub seq: u64,
    pub software: String,
    pub v: u64,
}

/// The anchor before: its key and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub key: String,
    pub sha256: Hash,
}

/// What the audit keeps of an anchor until the tree has grown to its size.
#[derive(Debug, Clone)]
pub struct Known {
    pub key: String,
    pub seq: u64,
    pub size: u64,
    pub root: Hash,
    /// SHA-256 of the anchor's bytes.
    pub sha256: Hash,
    /// Fingerprints of the policy's keys that signed its checkpoint.
    pub by: Vec<Hash>,
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

/// Checks the chain of anchors: names, order, links, signatures. The files they list are checked as the tree grows.
pub fn chain(folder: &Folder, policy: &Policy, origin: &str, size: u64) -> io::Result<(Vec<Known>, Vec<Finding>)> {
    let mut findings = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    let mut previous: Option<Previous> = None;
    let mut made_at = String::new();
    for name in folder.names("anchors")?.into_iter().filter(|name| !survey::is_unfinished(name)) {
        let path = format!("anchors/{name}");
        let bytes = folder.read(&path)?.unwrap_or_default();
        let since = known.last().map_or(0, |last| last.size);
        let mut fault = |what: String| {
            findings.push(Finding::within(
                Check::Anchor,
                since,
                size.max(since + 1),
                format!("{}: {what}", path.escape_debug()),
            ))
        };
        let anchor = match read(&bytes, policy, origin) {
            Ok(anchor) => anchor,
            Err(what) => {
                fault(what);
                previous = Some(Previous { key: path, sha256: sha256(&[&bytes]) });
                continue;
            }
        };
        if path != key(anchor.0.seq, anchor.1.size) {
            fault("the name is not that of its sequence number and size".to_owned());
        }
        let expected = known.last().map_or(0, |last| last.seq + 1);
        if anchor.0.seq != expected {
            fault(format!("anchor {expected} is missing before it"));
        }
        if anchor.0.previous != previous {
            fault("it does not name the anchor before it by key and hash".to_owned());
        }
        // Both are canonical times, which sort as texts.
        if anchor.0.at < made_at {
            fault(format!("it says it was made at {}, before the one before it", anchor.0.at));
        }
        made_at.clone_from(&anchor.0.at);
        if anchor.1.size < since {
            fault(format!("it covers {} entries, the one before it {since}", anchor.1.size));
        }
        if anchor.1.size > size {
            fault(format!("it covers {} entries, the checkpoint only {size}: the log was cut", anchor.1.size));
        }
        let sha256 = sha256(&[&bytes]);
        previous = Some(Previous { key: path.clone(), sha256 });
        let (seq, Checkpoint { size, root, .. }) = (anchor.0.seq, anchor.1);
        known.push(Known { key: path, seq, size, root, sha256, by: anchor.2, since });
    }
    Ok((known, findings))
}

fn read(bytes: &[u8], policy: &Policy, origin: &str) -> Result<(Anchor, Checkpoint, Vec<Hash>), String> {
    chain::canonical::check(bytes).map_err(|error| format!("it is not canonical JSON: {error}"))?;
    let anchor: Anchor = serde_json::from_slice(bytes).map_err(|error| format!("it is not an anchor: {error}"))?;
    if anchor.v != 1 {
        return Err(format!("anchor format {} is unknown", anchor.v));
    }
    if !chain::canonical::is_canonical_time(&anchor.at) {
        return Err("its time is not canonical".to_owned());
    }
    let (opened, by) = keys::read(&anchor.checkpoint, policy).map_err(|error| format!("its checkpoint: {error}"))?;
    if anchor.origin != origin || opened.origin != origin {
        return Err("it belongs to another log".to_owned());
    }
    Ok((anchor, opened, by))
}
