//! Registering citizens, the city acts that suspend and end them, and what they are trusted with.

use super::command::{
    AssignRole, DeprovisionCitizen, GrantAttestation, RegisterCitizen, ReinstateCitizen, SuspendCitizen, UnassignRole,
    WithdrawAttestation,
};
use super::event::{CitizenEvent, SuspensionCause};
use crate::city::decide::{follow_principal, holds, not_above_caller};
use crate::city::seed_role;
use crate::grant::computed as grant;
use crate::guild;
use crate::ids::{CitizenId, Slug, Stream};
use crate::key;
use crate::party::{CitizenKind, HolderId, Tier};
use crate::rejection::{Code, Rejection};
use crate::treasury;
use crate::treasury::event::Owner;
use crate::turn::{Outcome, Stop, Turn};

/// A newcomer starts with a treasury and the lowest role.
pub fn register(turn: &mut Turn<'_>, command: &RegisterCitizen) -> Result<Outcome, Stop> {
    let RegisterCitizen { kind, name, agent } = command;
    match (kind, agent) {
        (CitizenKind::Agent, None) => return Err(Rejection::new(Code::OperatorRequired).field("agent").into()),
        (CitizenKind::Human | CitizenKind::Service, Some(_)) => {
            return Err(Rejection::new(Code::OperatorForbidden).field("agent").into());
        }
        (CitizenKind::Agent, Some(facts)) => {
            // An agent answers for itself and for its operator, so giving somebody an agent is an act on them.
            act_on(turn, facts.operator)?;
            active_operator(turn, facts.operator)?;
        }
        (CitizenKind::Human | CitizenKind::Service, None) => {}
    }
    let id = CitizenId::from_bits(turn.fresh_id());
    let stream = Stream::Citizen(id);
    let registered = CitizenEvent::Registered { kind: *kind, name: name.sealed(), agent: agent.clone() };
    turn.record(stream, registered)?;
    treasury::open(turn, Owner::Citizen(id))?;
    turn.record(stream, CitizenEvent::RoleAssigned { role: seed_role(Tier::Observer) })?;
    grant::role_assigned(turn, id, &seed_role(Tier::Observer))?;
    if let Some(facts) = agent {
        turn.record(Stream::Citizen(facts.operator), CitizenEvent::AgentAttached { agent: id })?;
    }
    Ok(Outcome::Done)
}

/// An agent that was suspended with its operator can be suspended for its own sake too: then it stays when the operator returns.
pub fn suspend(turn: &mut Turn<'_>, command: &SuspendCitizen) -> Result<Outcome, Stop> {
    let id = command.citizen;
    act_on(turn, id)?;
    let citizen = turn.citizen(id)?;
    let active = citizen.is_active();
    if !active && citizen.suspension() != Some(SuspensionCause::Operator) {
        return Err(Rejection::new(Code::CitizenNotActive).field("citizen").into());
    }
    let reason = command.reason.as_ref().map(crate::text::Text::sealed);
    turn.record(Stream::Citizen(id), CitizenEvent::Suspended { cause: SuspensionCause::Direct, reason })?;
    if active {
        follow_suspension(turn, id)?;
        suspend_agents(turn, id)?;
    }
    Ok(Outcome::Done)
}

/// Lifts the suspension of a citizen and those that came with it; an agent suspended for its own sake stays.
pub fn reinstate(turn: &mut Turn<'_>, command: &ReinstateCitizen) -> Result<Outcome, Stop> {
    let id = command.citizen;
    act_on(turn, id)?;
    let citizen = turn.citizen(id)?;
    if citizen.suspension().is_none() {
        return Err(Rejection::new(Code::CitizenNotSuspended).field("citizen").into());
    }
    if let Some(operator) = citizen.operator() {
        active_operator(turn, operator)?;
    }
    lift(turn, id)?;
    let mut next = vec![id];
    while let Some(operator) = next.pop() {
        for agent in turn.citizen(operator)?.agents().clone() {
            if turn.citizen(agent)?.suspension() == Some(SuspensionCause::Operator) {
                lift(turn, agent)?;
                next.push(agent);
            }
        }
    }
    Ok(Outcome::Done)
}

/// The end of a citizen: their keys stop, their memberships end, their agents stop with them. Their money and history stay.
pub fn deprovision(turn: &mut Turn<'_>, command: &DeprovisionCitizen) -> Result<Outcome, Stop> {
    let id = command.citizen;
    act_on(turn, id)?;
    let citizen = turn.citizen(id)?.clone();
    let reason = command.reason.as_ref().map(crate::text::Text::sealed);
    turn.record(Stream::Citizen(id), CitizenEvent::Deprovisioned { reason })?;
    key::decide::revoke_all(turn, citizen.keys().iter().copied())?;
    for guild in citizen.guilds() {
        guild::city_remove(turn, *guild, id)?;
    }
    grant::end_all(turn, HolderId::Citizen(id))?;
    follow_principal(turn, id)?;
    // Whoever was suspended has taken their agents along already.
    if citizen.is_active() {
        suspend_agents(turn, id)?;
    }
    Ok(Outcome::Done)
}

pub fn assign_role(turn: &mut Turn<'_>, command: &AssignRole) -> Result<Outcome, Stop> {
    let AssignRole { citizen: id, role } = command;
    act_on(turn, *id)?;
    own_role(turn, role)?;
    // A low role may list high actions, so the tier alone does not say what an assignment hands on.
    let actions = turn.city()?.role(role).map(|role| role.actions.clone()).unwrap_or_default();
    for action in &actions {
        holds(turn, action)?;
    }
    active(turn, *id)?;
    if turn.citizen(*id)?.roles().contains(role) {
        return Ok(Outcome::AlreadyDone);
    }
    turn.record(Stream::Citizen(*id), CitizenEvent::RoleAssigned { role: role.clone() })?;
    grant::role_assigned(turn, *id, role)?;
    follow_principal(turn, *id)?;
    Ok(Outcome::Done)
}

pub fn unassign_role(turn: &mut Turn<'_>, command: &UnassignRole) -> Result<Outcome, Stop> {
    let UnassignRole { citizen: id, role } = command;
    act_on(turn, *id)?;
    own_role(turn, role)?;
    if !turn.citizen(*id)?.roles().contains(role) {
        return Ok(Outcome::AlreadyDone);
    }
    turn.record(Stream::Citizen(*id), CitizenEvent::RoleUnassigned { role: role.clone() })?;
    grant::role_unassigned(turn, *id, role)?;
    follow_principal(turn, *id)?;
    Ok(Outcome::Done)
}

pub fn grant_attestation(turn: &mut Turn<'_>, command: &GrantAttestation) -> Result<Outcome, Stop> {
    let GrantAttestation { citizen: id, source, currency } = command;
    act_on(turn, *id)?;
    active(turn, *id)?;
    if turn.city()?.currency_scale(currency).is_none() {
        return Err(Rejection::new(Code::UnknownCurrency).field("currency").detail(currency).into());
    }
    if turn.citizen(*id)?.may_attest(source, currency) {
        return Ok(Outcome::AlreadyDone);
    }
    let granted = CitizenEvent::AttestationGranted { source: source.clone(), currency: currency.clone() };
    turn.record(Stream::Citizen(*id), granted)?;
    Ok(Outcome::Done)
}

/// Needs no active citizen: taking trust away is never too late.
pub fn withdraw_attestation(turn: &mut Turn<'_>, command: &WithdrawAttestation) -> Result<Outcome, Stop> {
    let WithdrawAttestation { citizen: id, source, currency } = command;
    act_on(turn, *id)?;
    if !turn.citizen(*id)?.may_attest(source, currency) {
        return Ok(Outcome::AlreadyDone);
    }
    let withdrawn = CitizenEvent::AttestationWithdrawn { source: source.clone(), currency: currency.clone() };
    turn.record(Stream::Citizen(*id), withdrawn)?;
    Ok(Outcome::Done)
}

/// Nobody acts on a citizen of a higher tier than their own, and nobody acts on one who is gone.
fn act_on(turn: &Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    let citizen = turn.citizen(id)?;
    not_above_caller(turn, turn.city()?.tier_of(citizen))?;
    if citizen.is_deprovisioned() {
        return Err(Rejection::new(Code::CitizenDeprovisioned).detail(id).into());
    }
    Ok(())
}

fn active(turn: &Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    if turn.citizen(id)?.is_active() {
        return Ok(());
    }
    Err(Rejection::new(Code::CitizenNotActive).field("citizen").detail(id).into())
}

fn active_operator(turn: &Turn<'_>, operator: CitizenId) -> Result<(), Stop> {
    if turn.citizen(operator)?.is_active() {
        return Ok(());
    }
    Err(Rejection::new(Code::OperatorNotActive).detail(operator).into())
}

/// The role exists and is not above the caller's own tier.
fn own_role(turn: &Turn<'_>, role: &Slug) -> Result<(), Stop> {
    match turn.city()?.role(role) {
        Some(defined) => not_above_caller(turn, Some(defined.tier)),
        None => Err(Rejection::new(Code::RoleNotFound).field("role").detail(role).into()),
    }
}

/// Suspends the active agents of a citizen, and theirs in turn. The city does this whatever the agents' own tiers are:
/// nobody is left to answer for them.
fn suspend_agents(turn: &mut Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    // A list and not recursion: how long a chain of operators gets is for callers to choose.
    let mut next = vec![id];
    while let Some(operator) = next.pop() {
        for agent in turn.citizen(operator)?.agents().clone() {
            if turn.citizen(agent)?.is_active() {
                let suspended = CitizenEvent::Suspended { cause: SuspensionCause::Operator, reason: None };
                turn.record(Stream::Citizen(agent), suspended)?;
                follow_suspension(turn, agent)?;
                next.push(agent);
            }
        }
    }
    Ok(())
}

/// What follows when a citizen stops being active, in the city and in every guild of theirs.
fn follow_suspension(turn: &mut Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    follow_principal(turn, id)?;
    for guild in turn.citizen(id)?.guilds().clone() {
        guild::city_suspend(turn, guild, id)?;
    }
    Ok(())
}

fn lift(turn: &mut Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    turn.record(Stream::Citizen(id), CitizenEvent::Reinstated {})?;
    follow_principal(turn, id)?;
    for guild in turn.citizen(id)?.guilds().clone() {
        guild::city_reinstate(turn, guild, id)?;
    }
    Ok(())
}
