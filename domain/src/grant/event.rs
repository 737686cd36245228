//! What can have happened to the capabilities of one holder, in the holder's inventory stream.

use serde::{Deserialize, Serialize};

use super::kind::{CapabilityKind, CapabilityRef, Source};
use super::scope::Scope;
use crate::ids::{CitizenId, GrantId};
use crate::party::{HolderId, HolderKind};
use crate::text::Sealed;
use crate::time::Time;

/// Another holder's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub holder: HolderId,
    pub grant: GrantId,
}

/// What a grant is when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    pub grant: GrantId,
    pub holder: HolderId,
    pub holder_kind: HolderKind,
    pub kind: CapabilityKind,
    #[serde(rename = "ref")]
    pub reference: CapabilityRef,
    pub source: Source,
    #[serde(default)]
    pub scope: Scope,
    pub delegable: bool,
    /// Absent: the city, as a consequence of something else, or an importer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<CitizenId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// The grant it was delegated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Link>,
    /// The source itself said so just now: counts as verified.
    pub verified: bool,
    /// Further fields that an importer met, as one sealed document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Sealed>,
}

/// Who took a grant away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Somebody: importers leave it so.
    Actor,
    /// The source says so.
    Source,
    /// The grant above it ended.
    Ancestor,
    /// The membership or role assignment it followed from ended, or its holder did.
    City,
}

/// What a source could not be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or none of the answers that a source gives.
    Unreachable,
    TimedOut,
    /// The source refused the city's own credential.
    Unauthorized,
    RateLimited,
    /// The answer was not what the source is documented to say.
    Malformed,
    /// The address is one that the city does not call.
    Forbidden,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum GrantEvent {
    #[serde(rename = "grant.granted.v1")]
    Granted(Box<Granted>),
    /// In the streams of the grant above and of the first one of the chain: somebody else's grant hangs on it.
    #[serde(rename = "grant.delegated.v1")]
    Delegated { grant: GrantId, child: Link },
    /// In the stream of the grant above: those below it ended by themselves.
    #[serde(rename = "grant.delegation_ended.v1")]
    DelegationEnded { grant: GrantId, children: Vec<Link> },
    #[serde(rename = "grant.attenuated.v1")]
    Attenuated {
        grant: GrantId,
        scope: Scope,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
        /// The source itself said so.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        told: bool,
    },
    #[serde(rename = "grant.reverification_requested.v1")]
    ReverificationRequested { grant: GrantId },
    /// The source has it, as of now.
    #[serde(rename = "grant.verified.v1")]
    Verified { grant: GrantId },
    /// The source could not say; what is known stays as it is.
    #[serde(rename = "grant.verification_failed.v1")]
    VerificationFailed { grant: GrantId, failure: FailureKind },
    /// Not verified within the freshness window, because the source could not say.
    #[serde(rename = "grant.went_stale.v1")]
    WentStale { grant: GrantId },
    #[serde(rename = "grant.revoked.v1")]
    Revoked {
        grant: GrantId,
        by: EndedBy,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "grant.expired.v1")]
    Expired { grant: GrantId, by: EndedBy },
    /// The source does not know it any more.
    #[serde(rename = "grant.orphaned.v1")]
    Orphaned { grant: GrantId, by: EndedBy },
    /// It had ended, by its source or with its time: importers are not to give it back.
    #[serde(rename = "grant.withheld.v1")]
    Withheld {
        grant: GrantId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    /// Thirty days dead: out of the table; the log keeps it.
    #[serde(rename = "grant.pruned.v1")]
    Pruned { grant: GrantId },
}

impl GrantEvent {
    /// The grant that it happened to.
    pub fn grant(&self) -> GrantId {
        match self {
            Self::Granted(begun) => begun.grant,
            Self::Delegated { grant, .. }
            | Self::DelegationEnded { grant, .. }
            | Self::Attenuated { grant, .. }
            | Self::ReverificationRequested { grant }
            | Self::Verified { grant }
            | Self::VerificationFailed { grant, .. }
            | Self::WentStale { grant }
            | Self::Revoked { grant, .. }
            | Self::Expired { grant, .. }
            | Self::Orphaned { grant, .. }
            | Self::Withheld { grant, .. }
            | Self::Pruned { grant } => *grant,
        }
    }
}
