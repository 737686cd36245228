//! Registering, suspending and ending citizens; roles and attestations.

#![allow(clippy::unwrap_used)]

use super::Citizen;
use super::command::*;
use super::event::{AgentFacts, SuspensionCause};
use crate::city::command::DefineRole;
use crate::city::seed_role;
use crate::guild::command::{LeaveGuild, SuspendMember};
use crate::ids::{CitizenId, KeyId, Stream};
use crate::key::command::IssueKey;
use crate::party::{CitizenKind, MemberId, Tier};
use crate::rejection::Code;
use crate::testing::{World, currency, join, slug, text};
use crate::text::Digest;
use crate::turn::{Outcome, State};

fn citizen(world: &World, id: CitizenId) -> &Citizen {
    match world.state_of(Stream::Citizen(id)) {
        Some(State::Citizen(citizen)) => citizen,
        other => panic!("no citizen {id}: {other:?}"),
    }
}

fn active_principals(world: &World) -> Vec<CitizenId> {
    match world.state_of(Stream::City) {
        Some(State::City(city)) => city.principals().iter().copied().collect(),
        other => panic!("no city: {other:?}"),
    }
}

fn raise(world: &mut World, citizen: CitizenId, tier: Tier) {
    world.send(world.principal, AssignRole { citizen, role: seed_role(tier) }).unwrap();
    world.set_tier(citizen, tier);
}

fn of_tier(world: &mut World, tier: Tier) -> CitizenId {
    let citizen = world.human();
    raise(world, citizen, tier);
    citizen
}

fn suspend(citizen: CitizenId) -> SuspendCitizen {
    SuspendCitizen { citizen, reason: Some(text("for a while")) }
}

fn reinstate(citizen: CitizenId) -> ReinstateCitizen {
    ReinstateCitizen { citizen }
}

fn deprovision(citizen: CitizenId) -> DeprovisionCitizen {
    DeprovisionCitizen { citizen, reason: None }
}

fn assign(citizen: CitizenId, role: &str) -> AssignRole {
    AssignRole { citizen, role: slug(role) }
}

fn unassign(citizen: CitizenId, role: &str) -> UnassignRole {
    UnassignRole { citizen, role: slug(role) }
}

fn grant(citizen: CitizenId, code: &str) -> GrantAttestation {
    GrantAttestation { citizen, source: slug("bank"), currency: currency(code) }
}

fn withdraw(citizen: CitizenId, code: &str) -> WithdrawAttestation {
    WithdrawAttestation { citizen, source: slug("bank"), currency: currency(code) }
}

fn register(kind: CitizenKind, operator: Option<CitizenId>) -> RegisterCitizen {
    let facts = |operator| AgentFacts { operator, model_family: slug("model-x"), instructions: Digest([7; 32]) };
    RegisterCitizen { kind, name: text("somebody"), agent: operator.map(facts) }
}

/// A citizen nobody ever registered, whose stream is known to be empty.
const NOBODY: CitizenId = CitizenId::from_bits(404);

#[test]
fn a_newcomer_gets_a_treasury_and_the_lowest_role() {
    let mut world = World::new();
    let service = world.citizen(CitizenKind::Service);
    assert_eq!(world.types(), ["citizen.registered.v1", "treasury.opened.v1", "citizen.role_assigned.v1"]);
    assert!(citizen(&world, service).is_active());
    assert_eq!(citizen(&world, service).kind(), CitizenKind::Service);
    assert_eq!(citizen(&world, service).roles().iter().collect::<Vec<_>>(), [&slug("observer")]);
    world.check_replay();
}

#[test]
fn an_agent_is_listed_by_its_operator() {
    let mut world = World::new();
    let operator = world.human();
    let agent = world.agent_of(operator);
    assert_eq!(world.types().last().unwrap(), "citizen.agent_attached.v1");
    assert!(citizen(&world, operator).agents().contains(&agent));
    assert_eq!(citizen(&world, agent).operator(), Some(operator));
    assert_eq!(citizen(&world, agent).agent_facts().unwrap().model_family, slug("model-x"));
}

#[test]
fn an_agent_without_an_operator_is_refused() {
    let mut world = World::new();
    assert_eq!(world.send(world.principal, register(CitizenKind::Agent, None)), Err(Code::OperatorRequired));
}

#[test]
fn only_an_agent_has_an_operator() {
    let mut world = World::new();
    for kind in [CitizenKind::Human, CitizenKind::Service] {
        let register = register(kind, Some(world.principal));
        assert_eq!(world.send(world.principal, register), Err(Code::OperatorForbidden));
    }
}

#[test]
fn an_operator_is_an_active_citizen() {
    let mut world = World::new();
    let operator = world.human();
    let agent = register(CitizenKind::Agent, Some(operator));
    world.send(world.principal, suspend(operator)).unwrap();
    assert_eq!(world.send(world.principal, agent.clone()), Err(Code::OperatorNotActive));
    world.send(world.principal, deprovision(operator)).unwrap();
    assert_eq!(world.send(world.principal, agent), Err(Code::CitizenDeprovisioned));
    let nobody = register(CitizenKind::Agent, Some(NOBODY));
    assert_eq!(world.send(world.principal, nobody), Err(Code::CitizenNotFound));
}

#[test]
fn nobody_gives_an_agent_to_an_operator_above_their_own_tier() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    let agent = register(CitizenKind::Agent, Some(world.principal));
    assert_eq!(world.send(coordinator, agent), Err(Code::TierTooHigh));
}

#[test]
fn suspending_an_operator_suspends_its_agents_and_theirs() {
    let mut world = World::new();
    let operator = world.human();
    let agent = world.agent_of(operator);
    let helper = world.agent_of(agent);
    world.send(world.principal, suspend(operator)).unwrap();
    assert_eq!(citizen(&world, operator).suspension(), Some(SuspensionCause::Direct));
    assert_eq!(citizen(&world, agent).suspension(), Some(SuspensionCause::Operator));
    assert_eq!(citizen(&world, helper).suspension(), Some(SuspensionCause::Operator));
    world.send(world.principal, reinstate(operator)).unwrap();
    assert!([operator, agent, helper].iter().all(|id| citizen(&world, *id).is_active()));
    world.check_replay();
}

#[test]
fn reinstating_an_operator_lifts_only_what_came_with_its_suspension() {
    let mut world = World::new();
    let operator = world.human();
    let before = world.agent_of(operator);
    let during = world.agent_of(operator);
    let helper = world.agent_of(during);
    world.send(world.principal, suspend(before)).unwrap();
    world.send(world.principal, suspend(operator)).unwrap();
    world.send(world.principal, suspend(during)).unwrap();
    world.send(world.principal, reinstate(operator)).unwrap();
    for stays in [before, during] {
        assert_eq!(citizen(&world, stays).suspension(), Some(SuspensionCause::Direct));
    }
    assert_eq!(citizen(&world, helper).suspension(), Some(SuspensionCause::Operator), "its operator is not back");
    world.send(world.principal, reinstate(during)).unwrap();
    assert!(citizen(&world, helper).is_active());
}

#[test]
fn an_agent_is_not_reinstated_before_its_operator() {
    let mut world = World::new();
    let operator = world.human();
    let agent = world.agent_of(operator);
    world.send(world.principal, suspend(operator)).unwrap();
    assert_eq!(world.send(world.principal, reinstate(agent)), Err(Code::OperatorNotActive));
}

#[test]
fn a_suspended_citizen_cannot_be_suspended_again() {
    let mut world = World::new();
    let human = world.human();
    world.send(world.principal, suspend(human)).unwrap();
    assert_eq!(world.send(world.principal, suspend(human)), Err(Code::CitizenNotActive));
}

#[test]
fn an_active_citizen_cannot_be_reinstated() {
    let mut world = World::new();
    let human = world.human();
    assert_eq!(world.send(world.principal, reinstate(human)), Err(Code::CitizenNotSuspended));
}

#[test]
fn suspension_reaches_every_guild_and_so_does_its_end() {
    let mut world = World::new();
    let founder = world.human();
    let guilds = [world.guild(founder, "masons"), world.guild(founder, "weavers")];
    let operator = world.human();
    let agent = world.agent_of(operator);
    for guild in guilds {
        for member in [operator, agent] {
            world.send(founder, join(guild, member, "member", None)).unwrap();
        }
    }
    assert_eq!(citizen(&world, agent).guilds().len(), 2);
    let of = |world: &World, kind: &str| world.types().iter().filter(|found| *found == kind).count();
    world.send(world.principal, suspend(operator)).unwrap();
    assert_eq!(of(&world, "guild.member_city_suspended.v1"), 4);
    world.send(world.principal, reinstate(operator)).unwrap();
    assert_eq!(of(&world, "guild.member_city_reinstated.v1"), 4);
    world.check_replay();
}

#[test]
fn a_guilds_own_suspension_outlives_the_citys() {
    let mut world = World::new();
    let founder = world.human();
    let guild = world.guild(founder, "masons");
    let member = world.member(founder, guild, "member");
    let inside = SuspendMember { guild: guild.into(), member: MemberId::Citizen(member), reason: None };
    world.send(founder, inside).unwrap();
    world.send(world.principal, suspend(member)).unwrap();
    world.send(world.principal, reinstate(member)).unwrap();
    assert!(!world.types().contains(&"guild.member_reinstated.v1".to_owned()));
    assert!(citizen(&world, member).guilds().contains(&guild));
}

#[test]
fn deprovisioning_ends_keys_and_memberships_and_suspends_agents() {
    let mut world = World::new();
    let founder = world.human();
    let guild = world.guild(founder, "masons");
    let member = world.member(founder, guild, "member");
    let agent = world.agent_of(member);
    let key = KeyId::from_bits(77);
    let issue = IssueKey { key, verifier: Digest([9; 32]), citizen: member, actions: None, expires_at: None };
    world.send(world.principal, issue).unwrap();
    world.send(world.principal, deprovision(member)).unwrap();
    assert!(citizen(&world, member).is_deprovisioned());
    assert!(citizen(&world, member).guilds().is_empty() && citizen(&world, member).keys().is_empty());
    assert_eq!(citizen(&world, agent).suspension(), Some(SuspensionCause::Operator));
    let Some(State::Key(key)) = world.state_of(Stream::Key(key)) else { panic!("no key") };
    assert!(key.is_revoked());
    assert_eq!(world.send(world.principal, reinstate(agent)), Err(Code::OperatorNotActive));
    world.check_replay();
}

#[test]
fn a_guild_that_was_left_is_not_touched_by_the_citizens_end() {
    let mut world = World::new();
    let founder = world.human();
    let guild = world.guild(founder, "masons");
    let member = world.member(founder, guild, "member");
    world.send(member, LeaveGuild { guild: guild.into() }).unwrap();
    world.send(world.principal, deprovision(member)).unwrap();
    assert_eq!(world.types(), ["citizen.deprovisioned.v1"]);
}

#[test]
fn nothing_is_done_to_a_citizen_who_was_deprovisioned() {
    let mut world = World::new();
    let gone = world.human();
    world.send(world.principal, deprovision(gone)).unwrap();
    let principal = world.principal;
    let refused = Err(Code::CitizenDeprovisioned);
    assert_eq!(world.send(principal, suspend(gone)), refused);
    assert_eq!(world.send(principal, reinstate(gone)), refused);
    assert_eq!(world.send(principal, deprovision(gone)), refused);
    assert_eq!(world.send(principal, assign(gone, "worker")), refused);
    assert_eq!(world.send(principal, unassign(gone, "observer")), refused);
    assert_eq!(world.send(principal, grant(gone, "USD")), refused);
    assert_eq!(world.send(principal, withdraw(gone, "USD")), refused);
}

#[test]
fn nothing_is_done_to_a_citizen_who_was_never_registered() {
    let mut world = World::new();
    for refused in [world.send(world.principal, suspend(NOBODY)), world.send(world.principal, assign(NOBODY, "worker"))]
    {
        assert_eq!(refused, Err(Code::CitizenNotFound));
    }
}

#[test]
fn nobody_acts_on_a_citizen_of_a_higher_tier() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    let principal = world.principal;
    let refused = Err(Code::TierTooHigh);
    assert_eq!(world.send(coordinator, suspend(principal)), refused);
    assert_eq!(world.send(coordinator, reinstate(principal)), refused);
    assert_eq!(world.send(coordinator, deprovision(principal)), refused);
    assert_eq!(world.send(coordinator, assign(principal, "worker")), refused);
    assert_eq!(world.send(coordinator, unassign(principal, "principal")), refused);
    assert_eq!(world.send(coordinator, grant(principal, "USD")), refused);
    assert_eq!(world.send(coordinator, withdraw(principal, "USD")), refused);
    let equal = of_tier(&mut world, Tier::Coordinator);
    assert_eq!(world.send(coordinator, suspend(equal)), Ok(Outcome::Done));
}

#[test]
fn the_last_active_principal_stays() {
    let mut world = World::new();
    let first = world.principal;
    let refused = Err(Code::LastPrincipal);
    assert_eq!(world.send(first, suspend(first)), refused);
    assert_eq!(world.send(first, deprovision(first)), refused);
    assert_eq!(world.send(first, unassign(first, "principal")), refused);
    let second = of_tier(&mut world, Tier::Principal);
    world.send(second, suspend(first)).unwrap();
    assert_eq!(active_principals(&world), [second], "a suspended principal does not count");
    assert_eq!(world.send(second, deprovision(second)), refused);
    world.send(second, reinstate(first)).unwrap();
    assert_eq!(world.send(second, deprovision(second)), Ok(Outcome::Done));
    world.check_replay();
}

#[test]
fn an_agent_principal_does_not_outlast_its_operator() {
    let mut world = World::new();
    let first = world.principal;
    let agent = world.agent_of(first);
    raise(&mut world, agent, Tier::Principal);
    assert_eq!(active_principals(&world).len(), 2);
    assert_eq!(world.send(first, suspend(first)), Err(Code::LastPrincipal));
}

#[test]
fn every_role_of_tier_principal_makes_a_principal() {
    let mut world = World::new();
    let crown = DefineRole { role: slug("crown"), tier: Tier::Principal, actions: Vec::new(), mfa_required: true };
    world.send(world.principal, crown).unwrap();
    let human = world.human();
    world.send(world.principal, assign(human, "crown")).unwrap();
    assert_eq!(world.types(), ["citizen.role_assigned.v1", "city.principal_changed.v1"]);
    assert!(active_principals(&world).contains(&human));
    world.send(world.principal, unassign(human, "crown")).unwrap();
    assert_eq!(active_principals(&world), [world.principal]);
}

#[test]
fn a_role_assigned_twice_or_unassigned_twice_is_already_done() {
    let mut world = World::new();
    let human = world.human();
    assert_eq!(world.send(world.principal, assign(human, "builder")), Ok(Outcome::Done));
    assert_eq!(world.send(world.principal, assign(human, "builder")), Ok(Outcome::AlreadyDone));
    assert_eq!(world.send(world.principal, unassign(human, "builder")), Ok(Outcome::Done));
    assert_eq!(world.send(world.principal, unassign(human, "builder")), Ok(Outcome::AlreadyDone));
}

#[test]
fn a_role_that_nobody_defined_is_not_found() {
    let mut world = World::new();
    let human = world.human();
    assert_eq!(world.send(world.principal, assign(human, "wizard")), Err(Code::RoleNotFound));
    assert_eq!(world.send(world.principal, unassign(human, "wizard")), Err(Code::RoleNotFound));
}

#[test]
fn nobody_assigns_or_unassigns_a_role_above_their_own_tier() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    let human = world.human();
    for above in [coordinator, human] {
        assert_eq!(world.send(coordinator, assign(above, "principal")), Err(Code::TierTooHigh));
        assert_eq!(world.send(coordinator, unassign(above, "principal")), Err(Code::TierTooHigh));
    }
    assert_eq!(world.send(coordinator, assign(human, "coordinator")), Ok(Outcome::Done));
}

#[test]
fn nobody_assigns_a_low_role_that_lists_an_action_they_may_not_take() {
    let mut world = World::new();
    let coordinator = of_tier(&mut world, Tier::Coordinator);
    let actions = vec!["admin.replay".to_owned()];
    let define = DefineRole { role: slug("night-shift"), tier: Tier::Worker, actions, mfa_required: false };
    world.send(world.principal, define).unwrap();
    assert_eq!(world.send(coordinator, assign(coordinator, "night-shift")), Err(Code::ActionNotHeld));
    assert_eq!(world.send(world.principal, assign(coordinator, "night-shift")), Ok(Outcome::Done));
}

#[test]
fn a_suspended_citizen_gets_neither_roles_nor_trust_but_can_lose_both() {
    let mut world = World::new();
    let human = world.human();
    let principal = world.principal;
    world.send(principal, assign(human, "builder")).unwrap();
    world.send(principal, grant(human, "USD")).unwrap();
    world.send(principal, suspend(human)).unwrap();
    assert_eq!(world.send(principal, assign(human, "worker")), Err(Code::CitizenNotActive));
    assert_eq!(world.send(principal, grant(human, "EUR")), Err(Code::CitizenNotActive));
    assert_eq!(world.send(principal, unassign(human, "builder")), Ok(Outcome::Done));
    assert_eq!(world.send(principal, withdraw(human, "USD")), Ok(Outcome::Done));
}

#[test]
fn attestation_is_per_source_and_currency() {
    let mut world = World::new();
    let human = world.human();
    let principal = world.principal;
    assert_eq!(world.send(principal, grant(human, "USD")), Ok(Outcome::Done));
    assert_eq!(world.send(principal, grant(human, "USD")), Ok(Outcome::AlreadyDone));
    let teller = citizen(&world, human);
    assert!(teller.may_attest(&slug("bank"), &currency("USD")));
    assert!(!teller.may_attest(&slug("bank"), &currency("EUR")));
    assert!(!teller.may_attest(&slug("cash"), &currency("USD")));
    assert_eq!(world.send(principal, withdraw(human, "USD")), Ok(Outcome::Done));
    assert_eq!(world.send(principal, withdraw(human, "USD")), Ok(Outcome::AlreadyDone));
    assert!(!citizen(&world, human).may_attest(&slug("bank"), &currency("USD")));
}

#[test]
fn nobody_attests_a_currency_that_is_not_registered() {
    let mut world = World::new();
    let human = world.human();
    assert_eq!(world.send(world.principal, grant(human, "XAU")), Err(Code::UnknownCurrency));
}
