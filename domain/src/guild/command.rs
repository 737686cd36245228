//! What can be asked of a guild.

use serde::{Deserialize, Serialize};

use super::event::{GuildKind, Rank};
use super::governance::{Class, Governance};
use crate::command::Command;
use crate::ids::{GuildRef, ProposalId, Slug, TreasuryId};
use crate::money::Share;
use crate::party::{MemberId, MemberKind};
use crate::text::{Digest, Text};

/// Every struct is one command; the fields are what a caller sends.
macro_rules! command {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* })*
    };
}
pub(crate) use command;

command! {
    /// Founds a guild; the caller becomes its first founder. Without ranks the default list, without governance the caller alone decides.
    FoundGuild {
        slug: Slug,
        kind: GuildKind,
        name: Text,
        #[serde(default, skip_serializing_if = "Option::is_none")] ranks: Option<Vec<Rank>>,
        #[serde(default, skip_serializing_if = "Option::is_none")] governance: Option<Box<Governance>>,
    }
    RenameGuild { guild: GuildRef, name: Text }
    ProposeParent { guild: GuildRef, parent: GuildRef }
    /// Sent to the parent: takes the child that proposed it.
    AcceptChild { guild: GuildRef, child: GuildRef }
    DetachChild { guild: GuildRef, child: GuildRef }
    AmendCharter { guild: GuildRef, digest: Digest, location: Text }
    DefineRanks { guild: GuildRef, ranks: Vec<Rank> }
    AddMember {
        guild: GuildRef,
        member: MemberId,
        /// Checked against the citizen's own kind when given.
        #[serde(default, skip_serializing_if = "Option::is_none")] kind: Option<MemberKind>,
        rank: Slug,
        #[serde(default, skip_serializing_if = "Option::is_none")] scopes: Option<Vec<Class>>,
    }
    ChangeRank { guild: GuildRef, member: MemberId, rank: Slug }
    /// Absent scopes = the rank's defaults.
    SetScopes {
        guild: GuildRef,
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")] scopes: Option<Vec<Class>>,
    }
    SuspendMember {
        guild: GuildRef,
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    ReinstateMember { guild: GuildRef, member: MemberId }
    /// The caller leaves.
    LeaveGuild { guild: GuildRef }
    RemoveMember {
        guild: GuildRef,
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    MarkDormant { guild: GuildRef }
    WakeGuild { guild: GuildRef }
    InitiateDissolution { guild: GuildRef, shares: Vec<Share>, fallback: TreasuryId }
    CancelDissolution { guild: GuildRef }
    FinalizeDissolution { guild: GuildRef }
    SetGovernance { guild: GuildRef, governance: Box<Governance> }
    /// Proposes a governed command of a class under consensus; sending that command directly does the same.
    Propose { guild: GuildRef, command: Box<Command> }
    Ratify { guild: GuildRef, proposal: ProposalId }
    RejectProposal { guild: GuildRef, proposal: ProposalId }
    WithdrawProposal { guild: GuildRef, proposal: ProposalId }
    ExpireProposal { guild: GuildRef, proposal: ProposalId }
    /// For a leaderless guild only, by its parent guild's governance or a city principal.
    AppointFounder { guild: GuildRef, member: MemberId, #[serde(default)] as_parent: bool }
}
