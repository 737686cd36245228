//! What can have happened to a guild.

use serde::{Deserialize, Serialize};

use super::governance::{Class, Governance, Ground};
use crate::command::Command;
use crate::ids::{CitizenId, GuildId, HoldId, ProposalId, Slug, TreasuryId};
use crate::money::{Amount, Currency, Share};
use crate::party::{MemberId, MemberKind};
use crate::rejection::Code;
use crate::text::{Digest, Sealed};
use crate::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuildKind {
    Company,
    Project,
    Community,
    MetaGuild,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    pub name: Slug,
    /// What members of this rank may do when their membership names no scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Class>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    Yes,
    No,
}

/// How a proposal ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ending {
    Passed,
    /// The votes were there, the effect was refused.
    Failed {
        code: String,
    },
    Rejected,
    Expired,
    Withdrawn,
    Voided,
}

impl Ending {
    pub fn failed(code: Code) -> Self {
        Self::Failed { code: code.as_str().to_owned() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum GuildEvent {
    #[serde(rename = "guild.founded.v1")]
    Founded { slug: Slug, kind: GuildKind, name: Sealed, ranks: Vec<Rank>, governance: Box<Governance> },
    #[serde(rename = "guild.renamed.v1")]
    Renamed { name: Sealed },
    #[serde(rename = "guild.parent_proposed.v1")]
    ParentProposed { parent: GuildId },
    /// In the parent's stream.
    #[serde(rename = "guild.child_accepted.v1")]
    ChildAccepted { child: GuildId },
    /// In the child's stream, same append.
    #[serde(rename = "guild.parent_set.v1")]
    ParentSet { parent: GuildId },
    #[serde(rename = "guild.child_detached.v1")]
    ChildDetached { child: GuildId },
    #[serde(rename = "guild.parent_cleared.v1")]
    ParentCleared { parent: GuildId },
    #[serde(rename = "guild.charter_amended.v1")]
    CharterAmended { version: u32, digest: Digest, location: Sealed },
    #[serde(rename = "guild.ranks_defined.v1")]
    RanksDefined { ranks: Vec<Rank> },
    #[serde(rename = "guild.member_added.v1")]
    MemberAdded {
        member: MemberId,
        kind: MemberKind,
        rank: Slug,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<Vec<Class>>,
    },
    #[serde(rename = "guild.rank_changed.v1")]
    RankChanged { member: MemberId, rank: Slug },
    #[serde(rename = "guild.scopes_set.v1")]
    ScopesSet {
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<Vec<Class>>,
    },
    #[serde(rename = "guild.member_suspended.v1")]
    MemberSuspended {
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "guild.member_reinstated.v1")]
    MemberReinstated { member: MemberId },
    /// The city suspended the citizen: a state beside the guild's own.
    #[serde(rename = "guild.member_city_suspended.v1")]
    MemberCitySuspended { member: MemberId },
    #[serde(rename = "guild.member_city_reinstated.v1")]
    MemberCityReinstated { member: MemberId },
    #[serde(rename = "guild.member_left.v1")]
    MemberLeft { member: MemberId },
    #[serde(rename = "guild.member_removed.v1")]
    MemberRemoved {
        member: MemberId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed>,
    },
    #[serde(rename = "guild.became_leaderless.v1")]
    BecameLeaderless {},
    /// A founder is active again and the governance can be changed: the flag is lifted.
    #[serde(rename = "guild.leadership_restored.v1")]
    LeadershipRestored {},
    /// Joins or is raised to the founder rank with every scope, whatever the membership was; lifts `leaderless`.
    #[serde(rename = "guild.founder_appointed.v1")]
    FounderAppointed { member: MemberId, kind: MemberKind, by: CitizenId },
    #[serde(rename = "guild.marked_dormant.v1")]
    MarkedDormant {},
    #[serde(rename = "guild.woken.v1")]
    Woken {},
    #[serde(rename = "guild.dissolution_initiated.v1")]
    DissolutionInitiated { shares: Vec<Share>, fallback: TreasuryId },
    #[serde(rename = "guild.dissolution_cancelled.v1")]
    DissolutionCancelled {},
    #[serde(rename = "guild.dissolved.v1")]
    Dissolved {},
    #[serde(rename = "guild.governance_set.v1")]
    GovernanceSet { governance: Box<Governance> },
    #[serde(rename = "guild.proposal_opened.v1")]
    ProposalOpened {
        proposal: ProposalId,
        proposer: CitizenId,
        class: Class,
        /// What takes effect when it passes; its texts are sealed.
        command: Box<Command>,
        expires_at: Time,
        /// Money set aside until it ends: in which treasury, which hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<HoldId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserved: Option<Spend>,
    },
    #[serde(rename = "guild.proposal_voted.v1")]
    ProposalVoted { proposal: ProposalId, voter: CitizenId, vote: Vote },
    #[serde(rename = "guild.proposal_closed.v1")]
    ProposalClosed { proposal: ProposalId, ending: Ending },
    /// Every governed action that took effect, and on what ground: the governance log.
    #[serde(rename = "guild.decided.v1")]
    Decided {
        action: String,
        class: Class,
        ground: Ground,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spend: Option<Spend>,
    },
}

/// Money that a decision commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    pub currency: Currency,
    pub amount: Amount,
}
