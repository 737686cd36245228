//! Rules of what the machinery itself records: anchors written, and attempts refused.

use serde::Deserialize;

use chain::Hash;
use chain::heads::Commitment;

use super::values::Stream;
use super::{Entry, Notes, World, events};

events! {
    "log.anchored.v1" => Anchored(AnchoredData), [], "sequence numbers without a gap, sizes never shrinking, nothing anchored that was not there yet; the anchor is there, with this root and these bytes";
    "log.heads_committed.v1" => HeadsCommitted(Commitment), [], "the root over the heads of all streams, recomputed; of no size that was not there yet";
    "log.secrets_named.v1" => SecretsNamed(SecretsNamed), [], "fingerprints of the city's secrets; the same whenever they are named; the signing key is one of the policy's";
    "refusal.denied.v1" => Denied(Denied), [], "says who tried; changes nothing, so only its shape is held";
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
    /// SHA-256 of the vkey.
    SigningKey(Hash),
}

/// The newest anchor that the log speaks of, and the secrets that it names.
#[derive(Debug, Default)]
pub struct Anchored {
    last: Option<AnchoredData>,
    secrets: Option<SecretsNamed>,
    /// Made at these positions, and not yet compared with what is outside.
    pub claims: Vec<(u64, Claim)>,
}

pub fn apply(event: &Event, stream: &Stream, entry: &Entry, world: &mut World, notes: &mut Notes) {
    match (event, stream) {
        (Event::Anchored(data), Stream::Log) => anchored(data, entry, &mut world.anchored, notes),
        (Event::HeadsCommitted(said), Stream::Log) => {
            notes.expect(said.as_of <= entry.position, || {
                format!("it commits to heads at size {}, which was not there yet", said.as_of)
            });
        }
        (Event::SecretsNamed(named), Stream::Log) => {
            // Two servers that start on an empty log may both name them.
            let known = world.anchored.secrets.get_or_insert_with(|| named.clone());
            notes.expect(known == named, || "other secrets are named than before".to_owned());
            world.anchored.claims.extend(named.signing_key.map(|key| (entry.position, Claim::SigningKey(key))));
        }
        (Event::Denied(_), Stream::Refusals) => {}
        _ => notes.add(format!("an event of the machinery in the stream {stream}")),
    }
}

fn anchored(data: &AnchoredData, entry: &Entry, anchored: &mut Anchored, notes: &mut Notes) {
    notes.expect(data.size <= entry.position, || format!("anchor {} covers entries that were not there yet", data.seq));
    if let Some(last) = &anchored.last {
        // A crash between recording and remembering makes the same anchor be recorded twice.
        let again = last == data;
        let next = data.seq == last.seq + 1 && data.size >= last.size;
        notes.expect(again || next, || format!("anchor {} follows anchor {}", data.seq, last.seq));
    }
    notes.expect(data.key == crate::anchors::key(data.seq, data.size), || {
        format!("anchor {} has another key than its own", data.seq)
    });
    anchored.last = Some(data.clone());
    anchored.claims.push((entry.position, Claim::Anchored(data.clone())));
}
