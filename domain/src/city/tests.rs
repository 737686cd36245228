//! Founding, currencies, roles, and the table of actions.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::City;
use super::command::{DefineRole, FoundCity, RegisterCurrency};
use super::policy::{POLICY, lowest_tier};
use super::state::seed_role;
use crate::citizen::command::AssignRole;
use crate::command::Command;
use crate::ids::{CitizenId, KeyId, Stream};
use crate::party::Tier;
use crate::rejection::Code;
use crate::testing::{World, currency, slug, text};
use crate::text::Digest;
use crate::turn::{Outcome, State};

fn city(world: &World) -> &City {
    match world.state_of(Stream::City) {
        Some(State::City(city)) => city,
        other => panic!("no city: {other:?}"),
    }
}

fn found() -> FoundCity {
    FoundCity { name: text("Ada"), key: KeyId::from_bits(2), verifier: Digest([2; 32]) }
}

fn role(name: &str, tier: Tier, actions: &[&str]) -> DefineRole {
    DefineRole {
        role: slug(name),
        tier,
        actions: actions.iter().map(ToString::to_string).collect(),
        mfa_required: false,
    }
}

fn citizen_of_tier(world: &mut World, tier: Tier) -> CitizenId {
    let citizen = world.human();
    world.send(world.principal, AssignRole { citizen, role: seed_role(tier) }).unwrap();
    world.set_tier(citizen, tier);
    citizen
}

#[test]
fn founding_registers_the_first_principal_with_a_treasury_and_a_key() {
    let world = World::new();
    let types: Vec<_> = world.log.iter().map(|(_, event, _)| event.to_parts().0).take(7).collect();
    let expected = [
        "city.founded.v1",
        "citizen.registered.v1",
        "treasury.opened.v1",
        "citizen.role_assigned.v1",
        "grant.granted.v1",
        "key.issued.v1",
        "citizen.key_attached.v1",
    ];
    assert_eq!(types, expected);
    assert!(city(&world).exists());
    assert_eq!(city(&world).principals().iter().collect::<Vec<_>>(), [&world.principal]);
    world.check_replay();
}

#[test]
fn a_city_is_founded_once() {
    let mut world = World::new();
    assert_eq!(world.send_system(found()), Err(Code::CityFounded));
}

#[test]
fn no_citizen_founds_a_city_not_even_a_principal() {
    let mut world = World::new();
    assert_eq!(world.send(world.principal, found()), Err(Code::NotPermitted));
}

#[test]
fn a_currency_registered_again_alike_is_already_done() {
    let mut world = World::new();
    let register = RegisterCurrency { currency: currency("JPY"), scale: 0 };
    assert_eq!(world.send(world.principal, register.clone()), Ok(Outcome::Done));
    assert_eq!(world.send(world.principal, register), Ok(Outcome::AlreadyDone));
    assert_eq!(city(&world).currency_scale(&currency("JPY")), Some(0));
}

#[test]
fn a_currency_registered_again_with_another_scale_is_refused() {
    let mut world = World::new();
    let again = RegisterCurrency { currency: currency("USD"), scale: 3 };
    assert_eq!(world.send(world.principal, again), Err(Code::CurrencyExists));
    assert_eq!(city(&world).currency_scale(&currency("USD")), Some(2));
}

#[test]
fn a_currency_has_at_most_eighteen_decimals() {
    let mut world = World::new();
    let eighteen = RegisterCurrency { currency: currency("ETH"), scale: 18 };
    assert_eq!(world.send(world.principal, eighteen), Ok(Outcome::Done));
    let nineteen = RegisterCurrency { currency: currency("WEI"), scale: 19 };
    assert_eq!(world.send(world.principal, nineteen), Err(Code::ScaleTooLarge));
}

#[test]
fn every_tier_has_a_seed_role_of_its_name_and_none_can_be_redefined() {
    let mut world = World::new();
    for tier in Tier::ALL {
        let name = seed_role(tier);
        assert_eq!(serde_json::to_value(tier).unwrap(), name.as_str());
        assert_eq!(city(&world).role(&name).unwrap().tier, tier);
        let redefine = role(name.as_str(), Tier::Observer, &[]);
        assert_eq!(world.send(world.principal, redefine), Err(Code::RoleImmutable));
    }
}

#[test]
fn a_role_defined_again_alike_is_already_done_whatever_the_order_of_its_actions() {
    let mut world = World::new();
    let define = role("teller", Tier::Partner, &["query.audit", "citizen.register", "query.audit"]);
    assert_eq!(world.send(world.principal, define), Ok(Outcome::Done));
    let again = role("teller", Tier::Partner, &["citizen.register", "query.audit"]);
    assert_eq!(world.send(world.principal, again), Ok(Outcome::AlreadyDone));
    world.check_replay();
}

#[test]
fn a_role_of_that_name_with_another_content_is_refused() {
    let mut world = World::new();
    world.send(world.principal, role("teller", Tier::Partner, &[])).unwrap();
    for other in [role("teller", Tier::Worker, &[]), role("teller", Tier::Partner, &["query.audit"])] {
        assert_eq!(world.send(world.principal, other), Err(Code::RoleExists));
    }
}

#[test]
fn nobody_defines_a_role_above_their_own_tier() {
    let mut world = World::new();
    let coordinator = citizen_of_tier(&mut world, Tier::Coordinator);
    assert_eq!(world.send(coordinator, role("crown", Tier::Principal, &[])), Err(Code::TierTooHigh));
    assert_eq!(world.send(coordinator, role("clerk", Tier::Coordinator, &[])), Ok(Outcome::Done));
}

#[test]
fn nobody_defines_a_role_with_an_action_they_may_not_take() {
    let mut world = World::new();
    let coordinator = citizen_of_tier(&mut world, Tier::Coordinator);
    let minter = role("minter", Tier::Worker, &["city.register_currency"]);
    assert_eq!(world.send(coordinator, minter.clone()), Err(Code::ActionNotHeld));
    // A role that lists the action is enough to hand it on.
    world.send(world.principal, role("mint-master", Tier::Worker, &["city.register_currency"])).unwrap();
    world.send(world.principal, AssignRole { citizen: coordinator, role: slug("mint-master") }).unwrap();
    assert_eq!(world.send(coordinator, minter), Ok(Outcome::Done));
}

#[test]
fn a_role_lists_only_actions_that_exist() {
    let mut world = World::new();
    let define = role("wizard", Tier::Worker, &["query.audit", "city.fly"]);
    assert_eq!(world.send(world.principal, define), Err(Code::UnknownAction));
}

#[test]
fn the_table_lists_every_command_in_its_order_then_the_questions_and_nothing_twice() {
    let names: Vec<_> = POLICY.iter().map(|(name, _)| *name).collect();
    assert_eq!(names[..Command::ACTIONS.len()], *Command::ACTIONS, "city/policy.rs follows the table in command.rs");
    let rest = &names[Command::ACTIONS.len()..];
    assert!(rest.iter().all(|name| name.starts_with("query.") || name.starts_with("admin.")), "{rest:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn what_is_not_listed_is_denied_to_everybody() {
    let world = World::new();
    let Some(State::Citizen(principal)) = world.state_of(Stream::Citizen(world.principal)) else { panic!() };
    assert_eq!(lowest_tier("city.fly"), None);
    assert!(!city(&world).permits(principal, "city.fly"));
    assert!(POLICY.iter().all(|(action, _)| city(&world).permits(principal, action)));
}
