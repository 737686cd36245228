//! What can have happened to a citizen.

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, GuildId, KeyId, Slug};
use crate::money::Currency;
use crate::party::CitizenKind;
use crate::text::{Digest, Sealed};

/// What only an agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFacts {
    pub operator: CitizenId,
    pub model_family: Slug,
    pub instructions: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspensionCause {
    Direct,
    /// Came with the operator's; lifted with it.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum CitizenEvent {
    #[serde(rename = "citizen.registered.v1")]
    Registered {
        kind: CitizenKind,
        name: Sealed,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentFacts>,
    },
    /// In the operator's stream.
    #[serde(rename = "citizen.agent_attached.v1")]
    AgentAttached { agent: CitizenId },
    #[serde(rename = "citizen.suspended.v1")]
    Suspended {
        cause: SuspensionCause,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "citizen.reinstated.v1")]
    Reinstated {},
    #[serde(rename = "citizen.deprovisioned.v1")]
    Deprovisioned {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "citizen.role_assigned.v1")]
    RoleAssigned { role: Slug },
    #[serde(rename = "citizen.role_unassigned.v1")]
    RoleUnassigned { role: Slug },
    /// May attest inflows of this currency from this source.
    #[serde(rename = "citizen.attestation_granted.v1")]
    AttestationGranted { source: Slug, currency: Currency },
    #[serde(rename = "citizen.attestation_withdrawn.v1")]
    AttestationWithdrawn { source: Slug, currency: Currency },
    /// Reactions to membership, so that city acts find every guild.
    #[serde(rename = "citizen.guild_joined.v1")]
    GuildJoined { guild: GuildId },
    #[serde(rename = "citizen.guild_left.v1")]
    GuildLeft { guild: GuildId },
    /// In the citizen's stream: a key of theirs.
    #[serde(rename = "citizen.key_attached.v1")]
    KeyAttached { key: KeyId },
    /// In the citizen's stream: a key of theirs was revoked, or was seen to have expired.
    #[serde(rename = "citizen.key_detached.v1")]
    KeyDetached { key: KeyId },
}
