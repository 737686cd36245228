//! Issuing, rotating and revoking keys.

#![allow(clippy::unwrap_used)]

use super::Key;
use super::command::*;
use super::decide::{MAX_KEYS, MAX_OVERLAP_SECONDS};
use crate::citizen::command::{AssignRole, DeprovisionCitizen, SuspendCitizen};
use crate::city::seed_role;
use crate::command::{Command, decide};
use crate::ids::{CitizenId, CommandId, KeyId, Stream};
use crate::party::{Actor, CitizenKind, Tier};
use crate::rejection::Code;
use crate::testing::World;
use crate::text::Digest;
use crate::time::Time;
use crate::turn::{Context, Outcome, Permit, State, Stop};

fn id(number: u128) -> KeyId {
    KeyId::from_bits(1000 + number)
}

fn key(world: &World, number: u128) -> &Key {
    match world.state_of(Stream::Key(id(number))) {
        Some(State::Key(key)) if key.exists() => key,
        other => panic!("no key {number}: {other:?}"),
    }
}

fn verifier(number: u128) -> Digest {
    let mut bytes = [3; 32];
    bytes[..16].copy_from_slice(&number.to_be_bytes());
    Digest(bytes)
}

fn issue(number: u128, citizen: CitizenId) -> IssueKey {
    IssueKey { key: id(number), verifier: verifier(number), citizen, actions: None, expires_at: None }
}

fn scoped(number: u128, citizen: CitizenId, actions: &[&str]) -> IssueKey {
    IssueKey { actions: Some(actions.iter().map(ToString::to_string).collect()), ..issue(number, citizen) }
}

fn until(number: u128, citizen: CitizenId, expires_at: Time) -> IssueKey {
    IssueKey { expires_at: Some(expires_at), ..issue(number, citizen) }
}

fn rotate(old: u128, number: u128, overlap_seconds: u32) -> RotateKey {
    RotateKey { old: id(old), key: id(number), verifier: verifier(number), overlap_seconds }
}

fn revoke(number: u128) -> RevokeKey {
    RevokeKey { key: id(number) }
}

fn of_tier(world: &mut World, tier: Tier) -> CitizenId {
    let citizen = world.human();
    world.send(world.principal, AssignRole { citizen, role: seed_role(tier) }).unwrap();
    world.set_tier(citizen, tier);
    citizen
}

/// Sends a command relying on one of the citizen's keys; nothing is kept.
fn through(world: &mut World, citizen: CitizenId, via: u128, command: impl Into<Command>) -> Result<Outcome, Code> {
    // Refused because there is none, but its stream is loaded from then on.
    for number in 90..100 {
        let _ = world.send(citizen, revoke(number));
    }
    let actor = Actor::Citizen { kind: CitizenKind::Human, id: citizen };
    let permit = Permit { actor, tier: Tier::Principal, via: Some(id(via)) };
    let context = Context { now: world.now, permit, command: CommandId::from_bits(1), seed: [0; 32] };
    match decide(world, &command.into(), &[], &context) {
        Ok(decision) => Ok(decision.outcome),
        Err(Stop::Rejected(rejection)) => Err(rejection.code),
        Err(Stop::Missing(missing)) => panic!("not loaded: {missing:?}"),
    }
}

#[test]
fn everybody_issues_keys_for_themselves() {
    let mut world = World::new();
    let human = of_tier(&mut world, Tier::Customer);
    assert_eq!(world.send(human, scoped(1, human, &["query.feed", "query.city"])), Ok(Outcome::Done));
    assert_eq!(world.types(), ["key.issued.v1", "citizen.key_attached.v1"]);
    assert!(key(&world, 1).allows("query.feed") && !key(&world, 1).allows("query.audit"));
    assert_eq!(key(&world, 1).citizen(), human);
    world.check_replay();
}

#[test]
fn a_coordinator_issues_and_revokes_keys_of_lower_tiers() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    let human = of_tier(&mut world, Tier::Gate);
    assert_eq!(world.send(coordinator, issue(1, human)), Ok(Outcome::Done));
    assert_eq!(world.send(coordinator, rotate(1, 2, 0)), Ok(Outcome::Done));
    assert_eq!(world.send(coordinator, revoke(2)), Ok(Outcome::Done));
}

#[test]
fn keys_of_an_equal_or_a_higher_tier_are_out_of_reach() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    for tier in [Tier::Coordinator, Tier::Principal] {
        let other = of_tier(&mut world, tier);
        let number = 10 + tier as u128;
        assert_eq!(world.send(coordinator, issue(number, other)), Err(Code::TierTooHigh));
        world.send(other, issue(number, other)).unwrap();
        assert_eq!(world.send(coordinator, rotate(number, 30, 0)), Err(Code::TierTooHigh));
        assert_eq!(world.send(coordinator, revoke(number)), Err(Code::TierTooHigh));
    }
}

#[test]
fn below_coordinator_nobody_touches_keys_of_others() {
    let mut world = World::new();
    let gate = of_tier(&mut world, Tier::Gate);
    let human = of_tier(&mut world, Tier::Customer);
    assert_eq!(world.send(gate, issue(1, human)), Err(Code::NotPermitted));
    world.send(human, issue(1, human)).unwrap();
    assert_eq!(world.send(gate, rotate(1, 2, 0)), Err(Code::NotPermitted));
    assert_eq!(world.send(gate, revoke(1)), Err(Code::NotPermitted));
}

#[test]
fn a_key_issued_again_alike_is_already_done() {
    let mut world = World::new();
    let human = world.human();
    let issue = scoped(1, human, &["query.city"]);
    assert_eq!(world.send(human, issue.clone()), Ok(Outcome::Done));
    assert_eq!(world.send(human, issue.clone()), Ok(Outcome::AlreadyDone));
    world.send(human, revoke(1)).unwrap();
    assert_eq!(world.send(human, issue), Err(Code::KeyExists), "what was revoked does not come back");
}

#[test]
fn a_key_id_is_used_once() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    world.send(human, issue(2, human)).unwrap();
    assert_eq!(world.send(human, scoped(1, human, &["query.city"])), Err(Code::KeyExists));
    assert_eq!(world.send(human, rotate(1, 2, 0)), Err(Code::KeyExists));
}

#[test]
fn a_key_is_scoped_to_actions_that_exist() {
    let mut world = World::new();
    let human = world.human();
    assert_eq!(world.send(human, scoped(1, human, &["city.fly"])), Err(Code::UnknownAction));
}

#[test]
fn a_key_is_not_issued_for_the_past() {
    let mut world = World::new();
    let human = world.human();
    let now = world.now;
    assert_eq!(world.send(human, until(1, human, now)), Err(Code::ExpiryInPast));
}

#[test]
fn a_citizen_who_is_not_active_gets_no_key_but_can_lose_one() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    world.send(world.principal, SuspendCitizen { citizen: human, reason: None }).unwrap();
    assert_eq!(world.send(world.principal, issue(2, human)), Err(Code::CitizenNotActive));
    assert_eq!(world.send(world.principal, rotate(1, 2, 0)), Err(Code::CitizenNotActive));
    assert_eq!(world.send(world.principal, revoke(1)), Ok(Outcome::Done));
}

#[test]
fn a_rotated_key_works_until_its_overlap_ends() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, scoped(1, human, &["query.city"])).unwrap();
    assert_eq!(world.send(human, rotate(1, 2, 60)), Ok(Outcome::Done));
    assert_eq!(world.types(), ["key.retired.v1", "key.issued.v1", "citizen.key_attached.v1"]);
    assert!(key(&world, 1).is_living(world.now.plus_seconds(59)));
    assert!(!key(&world, 1).is_living(world.now.plus_seconds(60)));
    assert_eq!(key(&world, 2).actions(), key(&world, 1).actions(), "the successor has the same scope");
    assert_eq!(key(&world, 2).replaces(), Some(id(1)));
    assert_eq!(world.send(human, rotate(1, 2, 60)), Ok(Outcome::AlreadyDone));
    world.check_replay();
}

#[test]
fn a_key_with_an_end_does_not_outlive_it_by_rotating() {
    let mut world = World::new();
    let human = world.human();
    let end = world.now.plus_days(1);
    world.send(human, until(1, human, end)).unwrap();
    world.send(human, rotate(1, 2, MAX_OVERLAP_SECONDS)).unwrap();
    assert_eq!(key(&world, 1).expires_at(), Some(end));
    assert_eq!(key(&world, 2).expires_at(), Some(end));
}

#[test]
fn an_overlap_is_at_most_seven_days() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    assert_eq!(world.send(human, rotate(1, 2, MAX_OVERLAP_SECONDS + 1)), Err(Code::OverlapTooLong));
    assert_eq!(world.send(human, rotate(1, 2, MAX_OVERLAP_SECONDS)), Ok(Outcome::Done));
}

#[test]
fn a_dead_key_has_no_successor() {
    let mut world = World::new();
    let human = world.human();
    let end = world.now.plus_days(1);
    world.send(human, until(1, human, end)).unwrap();
    world.send(human, issue(2, human)).unwrap();
    world.send(human, revoke(2)).unwrap();
    world.pass_days(1);
    for dead in [1, 2] {
        assert_eq!(world.send(human, rotate(dead, 3, 0)), Err(Code::KeyNotActive));
    }
}

#[test]
fn a_key_is_replaced_once() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    world.send(human, rotate(1, 2, 60)).unwrap();
    assert_eq!(world.send(human, rotate(1, 3, 60)), Err(Code::KeyRetired));
}

#[test]
fn a_key_revoked_twice_is_already_done() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    assert_eq!(world.send(human, revoke(1)), Ok(Outcome::Done));
    assert_eq!(world.types(), ["key.revoked.v1", "citizen.key_detached.v1"]);
    assert_eq!(world.send(human, revoke(1)), Ok(Outcome::AlreadyDone));
}

#[test]
fn a_key_that_was_never_issued_is_not_found() {
    let mut world = World::new();
    assert_eq!(world.send(world.principal, revoke(404)), Err(Code::KeyNotFound));
    assert_eq!(world.send(world.principal, rotate(404, 1, 0)), Err(Code::KeyNotFound));
}

#[test]
fn a_scoped_credential_makes_no_wider_key_for_anybody() {
    let mut world = World::new();
    let me = world.principal;
    let other = world.human();
    world.send(me, scoped(1, me, &["key.issue", "key.rotate", "query.city"])).unwrap();
    world.send(me, issue(2, me)).unwrap();
    for citizen in [me, other] {
        assert_eq!(through(&mut world, me, 1, issue(90, citizen)), Err(Code::KeyTooWide));
        assert_eq!(through(&mut world, me, 1, scoped(90, citizen, &["query.audit"])), Err(Code::KeyTooWide));
        assert_eq!(through(&mut world, me, 1, scoped(90, citizen, &["query.city"])), Ok(Outcome::Done));
    }
    // Whoever rotates learns the successor's secret, so rotating is issuing.
    assert_eq!(through(&mut world, me, 1, rotate(2, 90, 0)), Err(Code::KeyTooWide));
    assert_eq!(through(&mut world, me, 1, rotate(1, 90, 0)), Ok(Outcome::Done));
    assert_eq!(through(&mut world, me, 2, issue(90, me)), Ok(Outcome::Done));
}

#[test]
fn a_credential_with_an_end_makes_no_key_that_outlives_it() {
    let mut world = World::new();
    let me = world.principal;
    let end = world.now.plus_days(2);
    world.send(me, until(1, me, end)).unwrap();
    assert_eq!(through(&mut world, me, 1, issue(90, me)), Err(Code::KeyTooWide));
    assert_eq!(through(&mut world, me, 1, until(90, me, end.plus_seconds(1))), Err(Code::KeyTooWide));
    assert_eq!(through(&mut world, me, 1, until(90, me, end)), Ok(Outcome::Done));
}

#[test]
fn a_citizen_has_a_bounded_number_of_living_keys_and_dead_ones_make_room() {
    let mut world = World::new();
    let human = world.human();
    let end = world.now.plus_days(1);
    world.send(human, until(0, human, end)).unwrap();
    for number in 1..MAX_KEYS as u128 {
        world.send(human, issue(number, human)).unwrap();
    }
    assert_eq!(world.send(human, issue(500, human)), Err(Code::TooManyKeys));
    world.pass_days(1);
    assert_eq!(world.send(human, issue(500, human)), Ok(Outcome::Done));
    assert_eq!(world.types(), ["citizen.key_detached.v1", "key.issued.v1", "citizen.key_attached.v1"]);
    assert_eq!(world.send(human, issue(501, human)), Err(Code::TooManyKeys));
    world.send(human, revoke(500)).unwrap();
    assert_eq!(world.send(human, issue(501, human)), Ok(Outcome::Done));
    world.check_replay();
}

#[test]
fn a_key_of_a_deprovisioned_citizen_is_gone_at_once() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    world.send(world.principal, DeprovisionCitizen { citizen: human, reason: None }).unwrap();
    assert!(!key(&world, 1).is_living(world.now));
    assert_eq!(world.send(world.principal, revoke(1)), Ok(Outcome::AlreadyDone));
}

#[test]
fn a_recovered_key_is_the_only_one_and_only_the_city_gives_it() {
    let mut world = World::new();
    let human = world.human();
    world.send(human, issue(1, human)).unwrap();
    world.send(human, until(2, human, world.now.plus_seconds(60))).unwrap();
    let recover = RecoverKey { key: id(3), verifier: verifier(3), citizen: human };
    assert_eq!(world.send(world.principal, recover.clone()), Err(Code::NotPermitted), "not even a principal");
    assert_eq!(world.send_system(recover.clone()), Ok(Outcome::Done));
    assert!(key(&world, 1).is_revoked() && key(&world, 2).is_revoked() && key(&world, 3).is_living(world.now));
    assert_eq!(world.send_system(recover.clone()), Ok(Outcome::AlreadyDone));
    let other = RecoverKey { verifier: verifier(9), ..recover.clone() };
    assert_eq!(world.send_system(other), Err(Code::KeyExists));
    world.check_replay();
    world.send(world.principal, SuspendCitizen { citizen: human, reason: None }).unwrap();
    let next = RecoverKey { key: id(4), ..recover };
    assert_eq!(world.send_system(next), Err(Code::CitizenNotActive));
}
