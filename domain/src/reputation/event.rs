//! What can have happened to a citizen's reputation, in its own stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::{EvidenceType, Figure, Stake, Weight};
use crate::ids::{CitizenId, EvidenceId, GuildId};
use crate::text::{Digest, Sealed};
use crate::time::Time;

/// The score and the rating of one figure in one scope, or over all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub figure: Figure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<GuildId>,
    /// How many pieces it is made from.
    pub evidence: u64,
    /// Decimals of nine places.
    pub score: String,
    pub mu: String,
    pub phi: String,
    pub sigma: String,
}

/// A row by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    pub figure: Figure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<GuildId>,
}

/// Of [`ReputationEvent::EvidenceRecorded`] what figures are made from; read from its data, the rest is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Attested {
    pub evidence: EvidenceId,
    pub kind: EvidenceType,
    pub weight: Weight,
    pub scope: GuildId,
    pub attested_by: CitizenId,
    pub effective_at: Time,
}

impl Attested {
    /// The event's type.
    pub const TYPE: &str = "reputation.evidence_recorded.v1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "nearly all that happens is of the largest kind")]
pub enum ReputationEvent {
    /// Somebody else attested it.
    #[serde(rename = "reputation.evidence_recorded.v1")]
    EvidenceRecorded {
        evidence: EvidenceId,
        holder: CitizenId,
        kind: EvidenceType,
        weight: Weight,
        scope: GuildId,
        attested_by: CitizenId,
        effective_at: Time,
        /// Of work: what was at stake, which work it was (keyed), and the digest of what proves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stake: Option<Stake>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work_lookup: Option<Digest>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Sealed>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Digest>,
        /// Of an opinion, sealed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<Sealed>,
    },
    /// In the stream of whoever gave it: an opinion of somebody.
    #[serde(rename = "reputation.opinion_given.v1")]
    OpinionGiven { giver: CitizenId, to: CitizenId, kind: EvidenceType, scope: GuildId },
    #[serde(rename = "reputation.evidence_disputed.v1")]
    EvidenceDisputed {
        evidence: EvidenceId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "reputation.evidence_reversed.v1")]
    EvidenceReversed {
        evidence: EvidenceId,
        by: CitizenId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    /// What the evidence says, as of a time.
    #[serde(rename = "reputation.recomputed.v1")]
    Recomputed {
        holder: CitizenId,
        as_of: Time,
        /// Shared with the state that remembers them.
        rows: Arc<[Row]>,
        /// Rows that were on record and have no evidence any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<Gone>,
    },
}
