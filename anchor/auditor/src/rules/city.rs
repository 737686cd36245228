//! Rules of the city itself: its founding, its currencies, its roles, its principals.

use serde::Deserialize;

use super::grant::{CapabilityKind, Source};
use super::values::{CitizenId, Currency, Slug};
use super::{Notes, World, events};

/// One per tier, under its name, from the lowest.
const SEED_ROLES: [(&str, Tier); 9] = [
    ("observer", Tier::Observer),
    ("customer", Tier::Customer),
    ("partner", Tier::Partner),
    ("worker", Tier::Worker),
    ("knight", Tier::Knight),
    ("builder", Tier::Builder),
    ("gate", Tier::Gate),
    ("coordinator", Tier::Coordinator),
    ("principal", Tier::Principal),
];

events! {
    "city.founded.v1" => Founded(Founded), [], "once, first in the stream, by a citizen registered in the same act";
    "city.currency_registered.v1" => CurrencyRegistered(CurrencyRegistered), [], "one scale of 0 to 18 per code, for ever";
    "city.role_defined.v1" => RoleDefined(RoleDefined), [], "once per name, never a seed role";
    "city.principal_changed.v1" => PrincipalChanged(PrincipalChanged), [], "the city never loses its last principal";
    "city.source_assigned.v1" => SourceAssigned(SourceAssigned), [], "an imported source; its owner is registered";
    "city.action_registered.v1" => ActionRegistered(ActionRegistered), [], "an action has one effect at a time";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founded {
    principal: CitizenId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrencyRegistered {
    currency: Currency,
    scale: u8,
}

/// From the lowest to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Observer,
    Customer,
    Partner,
    Worker,
    Knight,
    Builder,
    Gate,
    Coordinator,
    Principal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct RoleDefined {
    role: Slug,
    tier: Tier,
    actions: Vec<String>,
    mfa_required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalChanged {
    citizen: CitizenId,
    active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceAssigned {
    source: Source,
    owner: Option<CitizenId>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Read,
    Write,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct ActionRegistered {
    kind: CapabilityKind,
    action: Box<str>,
    effect: Effect,
}

/// Whether a role of this name can be held.
pub fn role_exists(world: &World, role: &Slug) -> bool {
    tier_of_role(world, role).is_some()
}

fn tier_of_role(world: &World, role: &Slug) -> Option<Tier> {
    let seed = SEED_ROLES.iter().find(|(name, _)| *name == role.as_str()).map(|(_, tier)| *tier);
    seed.or_else(|| world.roles.get(role).copied())
}

/// The highest tier among a citizen's roles, if they have any.
pub fn tier_of(world: &World, citizen: CitizenId) -> Option<Tier> {
    let roles = world.citizens.get(&citizen).map(|citizen| &citizen.roles);
    roles.into_iter().flatten().filter_map(|role| tier_of_role(world, role)).max()
}

pub fn apply(event: &Event, world: &mut World, notes: &mut Notes) {
    match event {
        Event::Founded(Founded { principal }) => {
            notes.expect(!world.founded, || "the city is founded twice".to_owned());
            world.founded = true;
            world.principals.insert(*principal);
            world.act.registered.push((notes.position, *principal));
        }
        Event::CurrencyRegistered(CurrencyRegistered { currency, scale }) => {
            notes.expect(*scale <= 18, || format!("{currency} has {scale} decimals, more than 18"));
            let known = world.currencies.insert(*currency, *scale);
            notes.expect(known.is_none(), || format!("the currency {currency} is registered twice"));
        }
        Event::RoleDefined(RoleDefined { role, tier, .. }) => {
            let exists = role_exists(world, role);
            notes.expect(!exists, || format!("the role {role} is defined twice"));
            if !exists {
                world.roles.insert(role.clone(), *tier);
            }
        }
        Event::SourceAssigned(SourceAssigned { source, owner }) => {
            notes.expect(source.is_imported(), || "a source that is not imported has an owner".to_owned());
            let known = owner.is_none_or(|owner| world.citizens.contains_key(&owner));
            notes.expect(known, || "the owner of a source is not registered".to_owned());
        }
        Event::ActionRegistered(_) => {}
        Event::PrincipalChanged(PrincipalChanged { citizen, active: true }) => {
            notes
                .expect(world.citizens.contains_key(citizen), || format!("{citizen} is a principal but not a citizen"));
            world.principals.insert(*citizen);
        }
        Event::PrincipalChanged(PrincipalChanged { citizen, active: false }) => {
            let was = world.principals.remove(citizen);
            notes.expect(was, || format!("{citizen} stops being a principal without having been one"));
            world.act.principal_left = true;
        }
    }
}
