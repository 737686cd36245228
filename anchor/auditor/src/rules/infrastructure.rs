//! Rules of what the machinery itself records: anchors written, and attempts refused.

use serde::Deserialize;

use chain::Hash;
use chain::heads::Commitment;

use super::values::Stream;
use super::{Entry, Notes, World, events};

events! {
    "log.anchored.v1" => Anchored(AnchoredData), [], "sequence numbers without a gap, sizes never shrinking, nothing anchored that was not there yet";
    "log.heads_committed.v1" => HeadsCommitted(Commitment), [], "the root over the heads of all streams, recomputed; of no size that was not there yet";
    "log.secrets_named.v1" => SecretsNamed(SecretsNamed), [], "fingerprints of the city's secrets; the same whenever they are named";
    "refusal.denied.v1" => Denied(Denied), [], "says who tried; changes nothing, so only its shape is held";
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredData {
    seq: u64,
    size: u64,
    root: Hash,
    key: String,
    sha256: Hash,
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

/// The newest anchor that the log speaks of, and the secrets that it names.
#[derive(Debug, Default)]
pub struct Anchored {
    last: Option<AnchoredData>,
    position: u64,
    secrets: Option<SecretsNamed>,
}

impl Anchored {
    /// Where the log speaks of its newest anchor, under which key, and with which digest.
    pub fn newest(&self) -> Option<(u64, String, Hash)> {
        let last = self.last.as_ref()?;
        // The name that the format gives it, not one that the log chose.
        Some((self.position, crate::anchors::key(last.seq, last.size), last.sha256))
    }
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
    anchored.position = entry.position;
}
