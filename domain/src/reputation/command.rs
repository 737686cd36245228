//! What can be asked about reputation. No command sets a score.

use serde::{Deserialize, Serialize};

use super::evidence::{EvidenceType, Stake};
use crate::guild::command::command;
use crate::ids::{CitizenId, EvidenceId, GuildRef};
use crate::text::{Digest, Reference, Text};
use crate::time::Time;

command! {
    /// A gate of the scope says how a piece of work ended. The same work says the same of somebody once, for ever.
    AttestOutcome {
        holder: CitizenId,
        outcome: EvidenceType,
        scope: GuildRef,
        work: Reference,
        stake: Stake,
        /// Of what proves it.
        proof: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
    }
    /// A member of the scope who has shown something there speaks for another.
    Endorse {
        to: CitizenId,
        scope: GuildRef,
        #[serde(default, skip_serializing_if = "Option::is_none")] note: Option<Text>,
    }
    /// The same, against another.
    Flag {
        to: CitizenId,
        scope: GuildRef,
        #[serde(default, skip_serializing_if = "Option::is_none")] note: Option<Text>,
    }
    /// The holder says that a piece of evidence is wrong. It counts until it is reversed.
    DisputeEvidence {
        holder: CitizenId,
        /// Of evidence; that word itself is what any governed command carries.
        piece: EvidenceId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    /// A gate other than the attester takes disputed evidence back.
    ReverseEvidence {
        holder: CitizenId,
        /// Of evidence; that word itself is what any governed command carries.
        piece: EvidenceId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    /// Puts on record what the evidence says at a time that is not in the future.
    RecomputeReputation { holder: CitizenId, as_of: Time }
}
