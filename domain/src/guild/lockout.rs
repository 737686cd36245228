//! What no guild command may leave behind: no founder, too few ratifiers, or no way to change the governance again.

use std::sync::Arc;

use super::event::GuildEvent;
use super::governance::{Class, Governance, Tier};
use super::state::{Guild, Member, Status};
use crate::ids::{CitizenId, GuildId, Stream};
use crate::party::MemberId;
use crate::rejection::{Code, Rejection};
use crate::turn::{Stop, Turn};

/// Every tier a document holds.
pub fn tiers(governance: &Governance) -> impl Iterator<Item = &Tier> {
    std::iter::once(&governance.default).chain(governance.classes.iter().map(|rule| &rule.tier))
}

/// Whether an active member could bring about a decision of this class, alone or with others who are there.
pub fn has_path(guild: &Guild, class: Class) -> bool {
    let someone = |may: &dyn Fn(MemberId, &Member) -> bool| {
        guild.members.iter().any(|(id, member)| {
            matches!(id, MemberId::Citizen(_))
                && member.is_active()
                && guild.holds_scope(member, class)
                && may(*id, member)
        })
    };
    match guild.tier(class) {
        Tier::PrincipalOnly { decider } => someone(&|id, _| id == MemberId::Citizen(*decider)),
        Tier::Consensus { ratifiers, needed } => guild.active_ratifiers(ratifiers) >= *needed && someone(&|_, _| true),
        Tier::Delegated { delegations } => someone(&|id, member| {
            delegations.iter().any(|delegation| delegation.class == class && delegation.covers(id, &member.rank))
        }),
        // A rule that asks for reputation may never match, so it is no path.
        Tier::Automated { rules } => someone(&|_, member| {
            rules
                .iter()
                .any(|rule| rule.class == class && rule.required_reputation.is_none() && rule.admits_rank(&member.rank))
        }),
    }
}

/// Whether the guild is led: an active founder, and a path to change the governance. In a resting or ending guild that
/// path begins with waking it or calling the end off.
pub fn is_led(guild: &Guild) -> bool {
    guild.active_founders() > 0 && needed_paths(guild).iter().all(|class| has_path(guild, *class))
}

/// The classes somebody must be able to decide, or the guild could never be changed again.
pub(super) const fn needed_paths(guild: &Guild) -> &'static [Class] {
    match guild.status() {
        Status::Active => &[Class::Governance],
        Status::Dormant | Status::Dissolving => &[Class::Governance, Class::Lifecycle],
        Status::Dissolved => &[],
    }
}

/// Whether nothing happened that leadership depends on.
pub(super) fn untouched(before: &Guild, after: &Guild) -> bool {
    let same_document = match (&before.governance, &after.governance) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    };
    same_document
        && before.members.ptr_eq(&after.members)
        && Arc::ptr_eq(&before.ranks, &after.ranks)
        && before.status == after.status
}

/// Refuses what makes the guild worse than it was. A city act may have left it short: then whatever does not make
/// it shorter is allowed, or nothing could mend it. `None` when the guild was just founded.
pub fn check(before: Option<&Guild>, after: &Guild) -> Result<(), Rejection> {
    if after.status == Status::Dissolved {
        return Ok(());
    }
    if after.active_founders() == 0 && before.is_none_or(|before| before.active_founders() > 0) {
        return Err(Rejection::new(Code::LastFounder));
    }
    let same_document = |before: &&Guild| match (&before.governance, &after.governance) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after) || before == after,
        _ => false,
    };
    let same = before.filter(same_document);
    for tier in tiers(after.governance()) {
        let Tier::Consensus { ratifiers, needed } = tier else { continue };
        let now = after.active_ratifiers(ratifiers);
        if now < *needed && same.is_none_or(|before| now < before.active_ratifiers(ratifiers)) {
            return Err(Rejection::new(Code::TooFewRatifiers).detail(format!("{now} of {needed}")));
        }
    }
    for class in needed_paths(after) {
        let had = |before: &Guild| has_path(before, *class);
        let same_status = same.filter(|before| before.status == after.status || *class == Class::Governance);
        if !has_path(after, *class) && same_status.is_none_or(had) {
            return Err(Rejection::new(Code::GovernanceLockedOut));
        }
    }
    Ok(())
}

/// Records when the guild lost its leadership, or has it again.
pub fn note_leadership(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    if state.status == Status::Dissolved {
        return Ok(());
    }
    let event = match (state.is_leaderless(), is_led(state)) {
        (false, false) => GuildEvent::BecameLeaderless {},
        (true, true) => GuildEvent::LeadershipRestored {},
        _ => return Ok(()),
    };
    turn.record(Stream::Guild(guild), event)
}

/// Who a guild falls back to when its document names nobody who is left.
pub fn sole_decider(before: &Governance, decider: CitizenId) -> Governance {
    Governance { default: Tier::PrincipalOnly { decider }, classes: Vec::new(), ..before.clone() }
}
