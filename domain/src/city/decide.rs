//! Founding the city, its currencies and its roles; and what every room asks of the caller's tier.

use std::collections::BTreeSet;

use super::command::{AssignSource, DefineRole, FoundCity, RegisterAction, RegisterCurrency};
use super::event::CityEvent;
use super::policy::lowest_tier;
use super::state::{is_seed_role, seed_role};
use crate::citizen::event::CitizenEvent;
use crate::grant;
use crate::ids::{CitizenId, Stream};
use crate::key::event::KeyEvent;
use crate::money::MAX_SCALE;
use crate::party::{Actor, CitizenKind, Tier};
use crate::rejection::{Code, Rejection};
use crate::treasury;
use crate::treasury::event::Owner;
use crate::turn::{Outcome, Stop, Turn};

/// Most actions that the city says reads or writes of.
pub const MAX_REGISTERED_ACTIONS: usize = 10_000;

/// The first start: there is nobody yet who could permit it, so only the city itself asks, and only once.
pub fn found_city(turn: &mut Turn<'_>, command: &FoundCity) -> Result<Outcome, Stop> {
    if turn.context.permit.actor != Actor::System {
        return Err(Code::NotPermitted.into());
    }
    if turn.city()?.exists() {
        return Err(Code::CityFounded.into());
    }
    let principal = CitizenId::from_bits(turn.fresh_id());
    let citizen = Stream::Citizen(principal);
    turn.record(Stream::City, CityEvent::Founded { principal })?;
    let name = command.name.sealed();
    turn.record(citizen, CitizenEvent::Registered { kind: CitizenKind::Human, name, agent: None })?;
    treasury::open(turn, Owner::Citizen(principal))?;
    turn.record(citizen, CitizenEvent::RoleAssigned { role: seed_role(Tier::Principal) })?;
    grant::computed::role_assigned(turn, principal, &seed_role(Tier::Principal))?;
    let issued = KeyEvent::Issued {
        citizen: principal,
        verifier: command.verifier,
        actions: None,
        expires_at: None,
        replaces: None,
    };
    turn.record(Stream::Key(command.key), issued)?;
    turn.record(citizen, CitizenEvent::KeyAttached { key: command.key })?;
    Ok(Outcome::Done)
}

pub fn register_currency(turn: &mut Turn<'_>, command: &RegisterCurrency) -> Result<Outcome, Stop> {
    let RegisterCurrency { currency, scale } = command;
    if *scale > MAX_SCALE {
        return Err(Rejection::new(Code::ScaleTooLarge).field("scale").detail(scale).into());
    }
    match turn.city()?.currency_scale(currency) {
        Some(registered) if registered == *scale => Ok(Outcome::AlreadyDone),
        Some(registered) => {
            let detail = format!("{currency} has {registered} decimals");
            Err(Rejection::new(Code::CurrencyExists).field("scale").detail(detail).into())
        }
        None => {
            let event = CityEvent::CurrencyRegistered { currency: currency.clone(), scale: *scale };
            turn.record(Stream::City, event)?;
            Ok(Outcome::Done)
        }
    }
}

/// A defined role is never redefined: what an assignment gave yesterday, it gives tomorrow.
pub fn define_role(turn: &mut Turn<'_>, command: &DefineRole) -> Result<Outcome, Stop> {
    let DefineRole { role, tier, actions, mfa_required } = command;
    if is_seed_role(role) {
        return Err(Rejection::new(Code::RoleImmutable).field("role").detail(role).into());
    }
    not_above_caller(turn, Some(*tier))?;
    let actions = known_actions(actions)?;
    for action in &actions {
        holds(turn, action)?;
    }
    if let Some(defined) = turn.city()?.role(role) {
        let same = defined.tier == *tier
            && defined.mfa_required == *mfa_required
            && defined.actions.iter().map(AsRef::as_ref).eq(actions.iter().map(String::as_str));
        return if same {
            Ok(Outcome::AlreadyDone)
        } else {
            Err(Rejection::new(Code::RoleExists).field("role").detail(role).into())
        };
    }
    let actions = actions.into_iter().collect();
    let event = CityEvent::RoleDefined { role: role.clone(), tier: *tier, actions, mfa_required: *mfa_required };
    turn.record(Stream::City, event)?;
    Ok(Outcome::Done)
}

pub fn assign_source(turn: &mut Turn<'_>, command: &AssignSource) -> Result<Outcome, Stop> {
    let AssignSource { source, owner } = command;
    if !source.is_imported() {
        return Err(Rejection::new(Code::SourceMismatch).field("source").into());
    }
    if let Some(owner) = owner
        && !turn.citizen(*owner)?.is_active()
    {
        return Err(Rejection::new(Code::CitizenNotActive).field("owner").into());
    }
    if turn.city()?.source_owner(*source) == *owner {
        return Ok(Outcome::AlreadyDone);
    }
    turn.record(Stream::City, CityEvent::SourceAssigned { source: *source, owner: *owner })?;
    Ok(Outcome::Done)
}

/// Registering again with another effect changes it: an action that was thought to read and writes is mended here.
pub fn register_action(turn: &mut Turn<'_>, command: &RegisterAction) -> Result<Outcome, Stop> {
    let RegisterAction { kind, action, effect } = command;
    match turn.city()?.registered_effect(*kind, action) {
        Some(known) if known == *effect => return Ok(Outcome::AlreadyDone),
        None if turn.city()?.registered_actions() >= MAX_REGISTERED_ACTIONS => {
            return Err(Code::TooManyActions.into());
        }
        _ => {}
    }
    let event = CityEvent::ActionRegistered { kind: *kind, action: action.clone(), effect: *effect };
    turn.record(Stream::City, event)?;
    Ok(Outcome::Done)
}

/// The actions in order and once each, all of them from the closed list.
pub fn known_actions(actions: &[String]) -> Result<BTreeSet<String>, Stop> {
    match actions.iter().find(|action| lowest_tier(action).is_none()) {
        // What is not on the list was typed by somebody, so the answer names its place and not its text.
        Some(unknown) => {
            let place = actions.iter().position(|action| action == unknown).unwrap_or_default();
            Err(Rejection::new(Code::UnknownAction).field("actions").detail(format!("number {place}, from 0")).into())
        }
        None => Ok(actions.iter().cloned().collect()),
    }
}

/// Refuses what reaches above the caller's own tier.
pub fn not_above_caller(turn: &Turn<'_>, tier: Option<Tier>) -> Result<(), Stop> {
    if tier > Some(turn.context.permit.tier) { Err(Code::TierTooHigh.into()) } else { Ok(()) }
}

/// Refuses when the caller could not take this action themselves.
pub fn holds(turn: &Turn<'_>, action: &str) -> Result<(), Stop> {
    let by_tier = lowest_tier(action).is_some_and(|lowest| lowest <= turn.context.permit.tier);
    if by_tier || turn.city()?.permits(turn.citizen(turn.caller()?)?, action) {
        return Ok(());
    }
    Err(Rejection::new(Code::ActionNotHeld).field("actions").detail(action).into())
}

/// Reaction to whatever changes a citizen's status or roles: keeps the city's list of active principals true, and
/// refuses to empty it. A command that takes principals away adds none, so the first empty moment is also the last.
pub fn follow_principal(turn: &mut Turn<'_>, id: CitizenId) -> Result<(), Stop> {
    let city = turn.city()?;
    let citizen = turn.citizen(id)?;
    let active = citizen.is_active() && city.tier_of(citizen) == Some(Tier::Principal);
    if active == city.principals().contains(&id) {
        return Ok(());
    }
    turn.record(Stream::City, CityEvent::PrincipalChanged { citizen: id, active })?;
    if turn.city()?.principals().is_empty() {
        return Err(Code::LastPrincipal.into());
    }
    Ok(())
}
