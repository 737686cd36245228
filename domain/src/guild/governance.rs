//! The governance document: who decides which class of action, and the standing mandates.

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, Slug};
use crate::money::{Account, AmountText, Currency};
use crate::party::MemberId;

/// The classes of guild action. A member's scopes are the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Membership,
    Finance,
    Charter,
    Work,
    Lifecycle,
    Governance,
}

impl Class {
    pub const ALL: [Self; 6] =
        [Self::Membership, Self::Finance, Self::Charter, Self::Work, Self::Lifecycle, Self::Governance];
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    /// Decides every class that has no rule of its own.
    pub default: Tier,
    /// Rules for single classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassTier>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mandates: Vec<Mandate>,
    /// Most that open proposals may hold together, per currency; unlisted = no limit beyond what is available.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservation_limits: Vec<Limit>,
    /// How long a proposal lives, in days (1 to 90).
    #[serde(default = "default_proposal_days")]
    pub proposal_days: u32,
}

pub const fn default_proposal_days() -> u32 {
    7
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassTier {
    pub class: Class,
    pub tier: Tier,
}

/// The four ways of deciding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tier", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tier {
    PrincipalOnly {
        decider: CitizenId,
    },
    /// `needed` of the active ratifiers must say yes.
    Consensus {
        ratifiers: Ratifiers,
        needed: u32,
    },
    Delegated {
        delegations: Vec<Delegation>,
    },
    Automated {
        rules: Vec<Rule>,
    },
}

/// Ratifiers by rank, by name, or both. Squads and services never ratify.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratifiers {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<Slug>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<CitizenId>,
}

/// A class handed to ranks or members, with money limits where money moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    pub id: Slug,
    pub class: Class,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<Slug>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberId>,
    /// Unlisted currency = 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<SpendLimit>,
}

/// Money limits of one currency: per action, per actor and per delegation within a rolling period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendLimit {
    pub currency: Currency,
    pub per_action: AmountText,
    pub per_actor: AmountText,
    pub total: AmountText,
    /// Rolling period in whole UTC days, today included (1 to 366).
    pub period_days: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub currency: Currency,
    pub amount: AmountText,
}

/// A declared rule of automated governance; it allows when everything it names holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: Slug,
    pub class: Class,
    /// Empty = any member with the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<Slug>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<SpendLimit>,
    /// Kinds of evidence the command must carry, each with a digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_evidence: Vec<Slug>,
    /// Lowest overall reputation of the caller in this guild. While none is recorded, the rule does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_reputation: Option<AmountText>,
}

/// A standing permission to pay one payee: at most a share of external inflows, or at most an amount, per period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandate {
    pub id: Slug,
    pub payee: Account,
    /// Share of what was deposited within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis_points: Option<u32>,
    /// Unlisted currency = no amount limit when `basis_points` is given, else 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maximum: Vec<Limit>,
    /// Rolling period in whole UTC days, today included (1 to 366).
    pub period_days: u32,
}

/// Evidence that travels with a command: what kind, and the digest of the thing itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub kind: Slug,
    pub digest: crate::text::Digest,
}

/// On what ground a governed action was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ground {
    Decider {
        citizen: CitizenId,
    },
    Proposal {
        proposal: crate::ids::ProposalId,
        yes: u32,
        no: u32,
    },
    Delegation {
        delegation: Slug,
        member: MemberId,
    },
    Rule {
        rule: Slug,
        member: MemberId,
        evidence: Vec<Evidence>,
    },
    Mandate {
        mandate: Slug,
        member: MemberId,
    },
    /// The parent guild's own governance, or a city principal (appointing a founder).
    Appointment {
        citizen: CitizenId,
    },
}

impl Delegation {
    pub fn covers(&self, member: MemberId, rank: &Slug) -> bool {
        self.ranks.contains(rank) || self.members.contains(&member)
    }
}

impl Rule {
    pub fn admits_rank(&self, rank: &Slug) -> bool {
        self.ranks.is_empty() || self.ranks.contains(rank)
    }
}
