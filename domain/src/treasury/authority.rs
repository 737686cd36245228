//! Who may decide about a treasury: its guild's governance, or the citizen who owns it.

use crate::command::Command;
use crate::guild::govern::{self, Ruling, SpendRequest};
use crate::guild::governance::Class;
use crate::ids::{CitizenId, TreasuryId};
use crate::rejection::{Code, Rejection};
use crate::turn::{Mode, Outcome, Stop, Turn};

use super::event::Owner;

pub(super) fn owner_of(turn: &Turn<'_>, treasury: TreasuryId) -> Result<Owner, Stop> {
    let owner = turn.treasury(treasury)?.owner();
    Ok(owner.expect("a treasury that exists was opened for an owner"))
}

/// Runs the effect when the treasury's side decides so now; answers with the proposal when votes decide later.
pub(super) fn governed(
    turn: &mut Turn<'_>,
    treasury: TreasuryId,
    command: &Command,
    spend: Option<SpendRequest>,
    effect: impl FnOnce(&mut Turn<'_>) -> Result<Outcome, Stop>,
) -> Result<Outcome, Stop> {
    match owner_of(turn, treasury)? {
        Owner::Guild(guild) => match govern::govern(turn, guild, command, spend)? {
            Ruling::Go => effect(turn),
            Ruling::Proposed(guild, proposal) => Ok(Outcome::Proposed(guild, proposal)),
        },
        Owner::Citizen(owner) => {
            by_owner(turn, owner)?;
            // Mandates stand in a governance document, and a citizen has none.
            if spend.is_some_and(|spend| spend.mandate.is_some()) {
                return Err(Rejection::new(Code::MandateNotFound).field("mandate").into());
            }
            effect(turn)
        }
    }
}

/// An act that needs no decision of governance, only somebody who handles this treasury's money.
pub(super) fn own_act(turn: &Turn<'_>, treasury: TreasuryId, command: &Command) -> Result<(), Stop> {
    match owner_of(turn, treasury)? {
        Owner::Guild(guild) => {
            govern::require_scope(turn, guild, Class::Finance)?;
            govern::check_status(turn, guild, command)
        }
        Owner::Citizen(owner) => by_owner(turn, owner),
    }
}

/// Whether the caller handles this treasury's money at all; asked before an answer that would tell an outsider something.
pub(super) fn handles(turn: &Turn<'_>, treasury: TreasuryId) -> Result<(), Stop> {
    match (turn.mode, owner_of(turn, treasury)?) {
        // The votes were counted before.
        (Mode::Effect(_), Owner::Guild(_)) => Ok(()),
        (_, Owner::Guild(guild)) => govern::require_scope(turn, guild, Class::Finance),
        (_, Owner::Citizen(owner)) => by_owner(turn, owner),
    }
}

/// The status of the guild on the other side of an act, which asks nothing of its members.
pub(super) fn status_allows(turn: &Turn<'_>, treasury: TreasuryId, command: &Command) -> Result<(), Stop> {
    match owner_of(turn, treasury)? {
        Owner::Guild(guild) => govern::check_status(turn, guild, command),
        Owner::Citizen(_) => Ok(()),
    }
}

/// Whether money may arrive there now.
pub(super) fn can_receive(turn: &Turn<'_>, treasury: TreasuryId) -> Result<(), Stop> {
    let closed = || Rejection::new(Code::TreasuryClosed).detail(treasury);
    if turn.treasury(treasury)?.is_closed() {
        return Err(closed().into());
    }
    match owner_of(turn, treasury)? {
        Owner::Guild(guild) => govern::can_receive(turn, guild),
        Owner::Citizen(citizen) if turn.citizen(citizen)?.is_deprovisioned() => Err(closed().into()),
        Owner::Citizen(_) => Ok(()),
    }
}

/// Whether whoever answers for this citizen, or anybody else they answer for, owns the treasury or can spend from it: an agent is its
/// operator's hand.
pub(super) fn household_spends_from(turn: &Turn<'_>, treasury: TreasuryId, citizen: CitizenId) -> Result<bool, Stop> {
    let mut household = vec![operated_by(turn, citizen)?];
    while let Some(one) = household.pop() {
        if spends_from(turn, treasury, one)? {
            return Ok(true);
        }
        household.extend(turn.citizen(one)?.agents());
    }
    Ok(false)
}

/// Whoever answers for this citizen in the end.
fn operated_by(turn: &Turn<'_>, mut citizen: CitizenId) -> Result<CitizenId, Stop> {
    // It ends: an operator is registered before its agent.
    while let Some(operator) = turn.citizen(citizen)?.operator() {
        citizen = operator;
    }
    Ok(citizen)
}

/// Whether this citizen owns the treasury or can spend from it.
fn spends_from(turn: &Turn<'_>, treasury: TreasuryId, citizen: CitizenId) -> Result<bool, Stop> {
    match owner_of(turn, treasury)? {
        Owner::Guild(guild) => govern::spends_from(turn, guild, citizen),
        Owner::Citizen(owner) => Ok(owner == citizen),
    }
}

fn by_owner(turn: &Turn<'_>, owner: CitizenId) -> Result<(), Stop> {
    // A guild's votes never reach into a citizen's purse.
    if turn.mode != Mode::Asked || turn.caller()? != owner {
        return Err(Code::NotTheOwner.into());
    }
    if turn.citizen(owner)?.is_active() { Ok(()) } else { Err(Code::ActorNotActive.into()) }
}
