//! The governance document as the auditor reads it: who decides which class, and whether a recorded ground fits it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::values::{Account, Amount, CitizenId, Currency, Digest, Limit, Member, ProposalId, Slug};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Membership,
    Finance,
    Charter,
    Work,
    Lifecycle,
    Governance,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Governance {
    default: Tier,
    #[serde(default)]
    classes: Vec<ClassTier>,
    #[serde(default)]
    pub mandates: Vec<Mandate>,
    #[serde(default)]
    reservation_limits: Vec<IgnoredAny>,
    proposal_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassTier {
    class: Class,
    tier: Tier,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "tier", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tier {
    PrincipalOnly { decider: CitizenId },
    Consensus { ratifiers: Ratifiers, needed: u32 },
    Delegated { delegations: Vec<Delegation> },
    Automated { rules: Vec<Rule> },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratifiers {
    #[serde(default)]
    pub ranks: Vec<Slug>,
    #[serde(default)]
    pub members: Vec<CitizenId>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    pub id: Slug,
    pub class: Class,
    #[serde(default)]
    pub ranks: Vec<Slug>,
    #[serde(default)]
    pub members: Vec<Member>,
    #[serde(default)]
    pub limits: Vec<SpendLimit>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "sums over rolling periods would need the history; the single action is checked")]
pub struct SpendLimit {
    currency: Currency,
    per_action: Limit,
    per_actor: Limit,
    total: Limit,
    period_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "reputation is not recorded yet")]
pub struct Rule {
    pub id: Slug,
    pub class: Class,
    #[serde(default)]
    pub ranks: Vec<Slug>,
    #[serde(default)]
    pub limits: Vec<SpendLimit>,
    #[serde(default)]
    pub required_evidence: Vec<Slug>,
    required_reputation: Option<Limit>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "sums over rolling periods would need the history; the mandate's name is checked")]
pub struct Mandate {
    pub id: Slug,
    payee: Account,
    basis_points: Option<u32>,
    #[serde(default)]
    maximum: Vec<IgnoredAny>,
    period_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Evidence {
    pub kind: Slug,
    digest: Digest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub enum Ground {
    Decider { citizen: CitizenId },
    Proposal { proposal: ProposalId, yes: u32, no: u32 },
    Delegation { delegation: Slug, member: Member },
    Rule { rule: Slug, member: Member, evidence: Vec<Evidence> },
    Mandate { mandate: Slug, member: Member },
    Appointment { citizen: CitizenId },
}

/// Money that a decision commits.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    pub currency: Currency,
    pub amount: Amount,
}

impl Governance {
    pub fn tier(&self, class: Class) -> &Tier {
        self.classes.iter().find(|entry| entry.class == class).map_or(&self.default, |entry| &entry.tier)
    }

    /// Ratifiers and how many of them it takes, where a class is decided by consensus.
    pub fn consensus(&self, class: Class) -> Option<(&Ratifiers, u32)> {
        match self.tier(class) {
            Tier::Consensus { ratifiers, needed } => Some((ratifiers, *needed)),
            _ => None,
        }
    }

    /// Whether there is a mandate of that name.
    pub fn names_a_mandate(&self, id: &Slug) -> bool {
        self.mandates.iter().any(|mandate| mandate.id == *id)
    }
}

/// Whether a single spend is within the limits; a currency that is not listed has the limit zero.
pub fn within(limits: &[SpendLimit], spend: Option<&Spend>) -> bool {
    spend.is_none_or(|spend| {
        limits.iter().any(|limit| limit.currency == spend.currency && limit.per_action.allows(spend.amount))
    })
}
