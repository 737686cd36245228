//! Whether a governance document makes sense: its shape, its currencies, and the ranks and people it names.

use super::governance::{Class, Delegation, Governance, Limit, Mandate, Ratifiers, Rule, SpendLimit, Tier};
use super::lockout::tiers;
use super::state::{Guild, MAX_PERIOD_DAYS};
use crate::ids::Slug;
use crate::money::{AmountText, BASIS_POINTS, Currency};
use crate::rejection::{Code, Rejection};
use crate::turn::{Stop, Turn};

/// Longest list inside a document.
pub const MAX_LIST: usize = 100;
pub const MAX_PROPOSAL_DAYS: u32 = 90;

/// Refuses a document that contradicts itself or speaks of currencies the city does not have.
pub fn check(turn: &Turn<'_>, governance: &Governance) -> Result<(), Stop> {
    distinct("classes", governance.classes.iter().map(|rule| rule.class))?;
    if !(1..=MAX_PROPOSAL_DAYS).contains(&governance.proposal_days) {
        return Err(invalid("proposal_days"));
    }
    check_tier(&governance.default, None)?;
    for rule in &governance.classes {
        check_tier(&rule.tier, Some(rule.class))?;
    }
    // Money is counted by these ids, so one id is one counter.
    let delegations = || tiers(governance).flat_map(delegations_of);
    let rules = || tiers(governance).flat_map(rules_of);
    distinct("delegations", delegations().map(|delegation| &delegation.id))?;
    distinct("rules", rules().map(|rule| &rule.id))?;
    distinct("mandates", governance.mandates.iter().map(|mandate| &mandate.id))?;
    for limits in delegations().map(|delegation| &delegation.limits).chain(rules().map(|rule| &rule.limits)) {
        check_spend_limits(turn, limits)?;
    }
    governance.mandates.iter().try_for_each(|mandate| check_mandate(turn, mandate))?;
    check_limits(turn, &governance.reservation_limits)
}

/// Refuses ranks the guild does not have, and deciders who are not there to decide.
pub fn check_named(guild: &Guild) -> Result<(), Rejection> {
    for rank in tiers(guild.governance()).flat_map(ranks_of) {
        if guild.rank_place(rank).is_none() {
            return Err(Rejection::new(Code::UnknownRank).detail(rank).field("governance"));
        }
    }
    for tier in tiers(guild.governance()) {
        let Tier::PrincipalOnly { decider } = tier else { continue };
        if !guild.active_member(*decider).is_some_and(super::state::Member::can_lead) {
            return Err(Rejection::new(Code::MemberNotActive).detail(decider).field("governance"));
        }
    }
    Ok(())
}

/// Every rank a document relies on is still there.
pub fn check_ranks_kept(guild: &Guild) -> Result<(), Rejection> {
    match tiers(guild.governance()).flat_map(ranks_of).find(|rank| guild.rank_place(rank).is_none()) {
        Some(rank) => Err(Rejection::new(Code::RankInUse).detail(rank).field("ranks")),
        None => Ok(()),
    }
}

fn invalid(what: &'static str) -> Stop {
    Rejection::new(Code::GovernanceInvalid).detail(what).field("governance").into()
}

fn distinct<T: Ord>(what: &'static str, items: impl Iterator<Item = T>) -> Result<(), Stop> {
    let mut items: Vec<_> = items.collect();
    let count = items.len();
    items.sort_unstable();
    items.dedup();
    if items.len() != count || count > MAX_LIST { Err(invalid(what)) } else { Ok(()) }
}

fn delegations_of(tier: &Tier) -> &[Delegation] {
    if let Tier::Delegated { delegations } = tier { delegations } else { &[] }
}

fn rules_of(tier: &Tier) -> &[Rule] {
    if let Tier::Automated { rules } = tier { rules } else { &[] }
}

fn ranks_of(tier: &Tier) -> Vec<&Slug> {
    match tier {
        Tier::PrincipalOnly { .. } => Vec::new(),
        Tier::Consensus { ratifiers, .. } => ratifiers.ranks.iter().collect(),
        Tier::Delegated { delegations } => delegations.iter().flat_map(|delegation| &delegation.ranks).collect(),
        Tier::Automated { rules } => rules.iter().flat_map(|rule| &rule.ranks).collect(),
    }
}

fn check_tier(tier: &Tier, class: Option<Class>) -> Result<(), Stop> {
    match tier {
        Tier::PrincipalOnly { .. } => Ok(()),
        Tier::Consensus { ratifiers, needed } => check_ratifiers(ratifiers, *needed),
        Tier::Delegated { delegations } => {
            let elsewhere = |delegation: &&Delegation| class.is_some_and(|class| class != delegation.class);
            if delegations.is_empty() || delegations.iter().any(|delegation| elsewhere(&delegation)) {
                return Err(invalid("delegations"));
            }
            delegations.iter().try_for_each(|delegation| {
                distinct("delegation ranks", delegation.ranks.iter())?;
                distinct("delegation members", delegation.members.iter())?;
                let nobody = delegation.ranks.is_empty() && delegation.members.is_empty();
                if nobody { Err(invalid("a delegation to nobody")) } else { Ok(()) }
            })
        }
        Tier::Automated { rules } => {
            if rules.is_empty() || rules.iter().any(|rule| class.is_some_and(|class| class != rule.class)) {
                return Err(invalid("rules"));
            }
            rules.iter().try_for_each(|rule| {
                distinct("rule ranks", rule.ranks.iter())?;
                distinct("required evidence", rule.required_evidence.iter())
            })
        }
    }
}

fn check_ratifiers(ratifiers: &Ratifiers, needed: u32) -> Result<(), Stop> {
    distinct("ratifier ranks", ratifiers.ranks.iter())?;
    distinct("ratifiers", ratifiers.members.iter())?;
    // With ranks M is whoever holds them; the number of those there are is checked against the roster.
    let most = if ratifiers.ranks.is_empty() { ratifiers.members.len() } else { usize::MAX };
    let needed = usize::try_from(needed).unwrap_or(usize::MAX);
    if needed == 0 || needed > most { Err(invalid("needed")) } else { Ok(()) }
}

fn check_period(days: u32) -> Result<(), Stop> {
    if (1..=MAX_PERIOD_DAYS).contains(&days) { Ok(()) } else { Err(invalid("period_days")) }
}

fn check_amount(turn: &Turn<'_>, currency: &Currency, amount: AmountText) -> Result<(), Stop> {
    let unknown = || Rejection::new(Code::UnknownCurrency).detail(currency).field("governance");
    let scale = turn.city()?.currency_scale(currency).ok_or_else(unknown)?;
    let amount = amount.at_scale(scale).map_err(|no| no.field("governance"))?;
    if amount.minor() < 0 { Err(invalid("a limit below zero")) } else { Ok(()) }
}

fn check_spend_limits(turn: &Turn<'_>, limits: &[SpendLimit]) -> Result<(), Stop> {
    distinct("limits", limits.iter().map(|limit| &limit.currency))?;
    limits.iter().try_for_each(|limit| {
        check_period(limit.period_days)?;
        let amounts = [limit.per_action, limit.per_actor, limit.total];
        amounts.into_iter().try_for_each(|amount| check_amount(turn, &limit.currency, amount))
    })
}

fn check_limits(turn: &Turn<'_>, limits: &[Limit]) -> Result<(), Stop> {
    distinct("limits", limits.iter().map(|limit| &limit.currency))?;
    limits.iter().try_for_each(|limit| check_amount(turn, &limit.currency, limit.amount))
}

fn check_mandate(turn: &Turn<'_>, mandate: &Mandate) -> Result<(), Stop> {
    check_period(mandate.period_days)?;
    let empty = mandate.basis_points.is_none() && mandate.maximum.is_empty();
    let outside = mandate.basis_points.is_some_and(|points| points == 0 || points > BASIS_POINTS);
    if empty || outside {
        return Err(invalid("mandate"));
    }
    check_limits(turn, &mandate.maximum)
}
