//! Capabilities by their rules, and by histories of random commands.
#![allow(clippy::unwrap_used)]

mod guilds;
mod histories;
mod words;

use super::command::*;
use super::event::FailureKind;
use super::kind::{CapabilityKind, Source};
use super::scope::Scope;
use super::verification::PRUNE_AFTER_DAYS;
use super::{Grant, Inventory};
use crate::citizen::command::{DeprovisionCitizen, ReinstateCitizen, SuspendCitizen};
use crate::city::command::AssignSource;
use crate::ids::{CitizenId, GrantId, Stream};
use crate::party::{CitizenKind, HolderId, Tier};
use crate::rejection::Code;
use crate::testing::{World, slug, text};
use crate::time::Time;
use crate::turn::{Outcome, State};

const DONE: Result<Outcome, Code> = Ok(Outcome::Done);
const AGAIN: Result<Outcome, Code> = Ok(Outcome::AlreadyDone);

/// A city whose skills belong to somebody.
fn shop() -> (World, CitizenId) {
    let mut world = World::new();
    let owner = world.human();
    let source = Source::FsSkills;
    assert_eq!(world.send(world.principal, AssignSource { source, owner: Some(owner) }), DONE);
    (world, owner)
}

fn inventory(world: &World, holder: impl Into<HolderId>) -> Inventory {
    match world.state_of(Stream::Inventory(holder.into())) {
        Some(State::Inventory(inventory)) => inventory.clone(),
        _ => Inventory::default(),
    }
}

fn skill(holder: impl Into<HolderId>, name: &str) -> GrantCapability {
    GrantCapability {
        holder: holder.into(),
        kind: CapabilityKind::Template,
        reference: name.parse().unwrap(),
        source: Source::FsSkills,
        scope: Scope::default(),
        delegable: true,
        expires_at: None,
    }
}

fn listed(holder: impl Into<HolderId>, name: &str) -> ImportCapability {
    ImportCapability {
        holder: holder.into(),
        kind: CapabilityKind::Template,
        reference: name.parse().unwrap(),
        source: Source::FsSkills,
        scope: Scope::default(),
        expires_at: None,
        details: None,
    }
}

fn revoke(holder: impl Into<HolderId>, grant: GrantId) -> RevokeGrant {
    RevokeGrant { holder: holder.into(), grant, reason: None }
}

fn hand_on(from: CitizenId, grant: GrantId, to: CitizenId) -> DelegateGrant {
    DelegateGrant { holder: from.into(), grant, to: to.into(), scope: None, delegable: true, expires_at: None }
}

fn found(holder: CitizenId, grant: GrantId, verdict: Verdict) -> RecordVerifications {
    RecordVerifications { findings: vec![Finding { holder: holder.into(), grant, verdict }], asked_at: None }
}

fn named(world: &World, holder: impl Into<HolderId>, name: &str) -> Option<GrantId> {
    inventory(world, holder).named(CapabilityKind::Template, &name.parse().unwrap()).map(Grant::id)
}

#[test]
fn the_owner_of_a_source_grants_and_nobody_else() {
    let (mut world, owner) = shop();
    let (ann, ben) = (world.human(), world.human());
    assert_eq!(world.send(ben, skill(ann, "weld")), Err(Code::NotTheSourceOwner));
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE);
    assert_eq!(world.send(owner, skill(ann, "weld")), AGAIN);
    let other = GrantCapability { delegable: false, ..skill(ann, "weld") };
    assert_eq!(world.send(owner, other), Err(Code::GrantExists));
    let role = GrantCapability { kind: CapabilityKind::GuildRole, ..skill(ann, "weld") };
    assert_eq!(world.send(owner, role), Err(Code::ComputedCapability));
    let token = GrantCapability { kind: CapabilityKind::Credential, ..skill(ann, "weld") };
    assert_eq!(world.send(owner, token), Err(Code::SourceMismatch));
    world.check_replay();
}

#[test]
fn nobody_gets_anything_who_is_not_active() {
    let (mut world, owner) = shop();
    let ann = world.human();
    assert_eq!(world.send(world.principal, SuspendCitizen { citizen: ann, reason: None }), DONE);
    assert_eq!(world.send(owner, skill(ann, "weld")), Err(Code::HolderNotActive));
    assert_eq!(world.send(owner, skill(CitizenId::from_bits(99), "weld")), Err(Code::CitizenNotFound));
}

#[test]
fn what_ended_can_be_granted_again_and_the_history_stays() {
    let (mut world, owner) = shop();
    let ann = world.human();
    world.send(owner, skill(ann, "weld")).unwrap();
    let first = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send(ann, revoke(ann, first)), DONE, "the holder may lay it down");
    assert_eq!(world.send(ann, revoke(ann, first)), AGAIN);
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE);
    let second = named(&world, ann, "weld").unwrap();
    assert_ne!(first, second);
    assert!(inventory(&world, ann).dead_since(first).is_some());
    world.check_replay();
}

#[test]
fn an_importer_does_not_bring_back_what_somebody_revoked_but_what_the_source_lost() {
    let (mut world, owner) = shop();
    let ann = world.human();
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), AGAIN);
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send_system(found(ann, grant, Verdict::Gone)), DONE);
    assert_eq!(world.inventory_types(), ["grant.orphaned.v1"]);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE, "it is there again");
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send(owner, revoke(ann, grant)), DONE);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld));
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE, "a person may");
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send_system(found(ann, grant, Verdict::Revoked)), DONE);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE, "the source's own word does not bind it");
}

#[test]
fn only_verifiers_verify_and_a_source_that_cannot_say_changes_nothing_for_a_day() {
    let (mut world, _) = shop();
    let (ann, service) = (world.human(), world.citizen(CitizenKind::Service));
    world.send(world.principal, listed(ann, "weld")).unwrap();
    let grant = named(&world, ann, "weld").unwrap();
    let silent = Verdict::Unknown(FailureKind::Unreachable);
    assert_eq!(world.send(world.principal, found(ann, grant, Verdict::Alive)), Err(Code::NotAVerifier));
    world.set_tier(service, Tier::Coordinator);
    assert_eq!(world.send(service, found(ann, grant, silent)), DONE);
    assert_eq!(world.inventory_types(), ["grant.verification_failed.v1"]);
    world.pass_days(2);
    assert_eq!(world.send(service, found(ann, grant, silent)), DONE);
    assert_eq!(world.inventory_types(), ["grant.verification_failed.v1", "grant.went_stale.v1"]);
    assert_eq!(inventory(&world, ann).grant(grant).map(|grant| (grant.stale, grant.failed_attempts)), Some((true, 2)));
    assert_eq!(world.send(service, found(ann, grant, silent)), DONE);
    assert_eq!(world.inventory_types(), ["grant.verification_failed.v1"], "stale once");
    assert_eq!(world.send(service, found(ann, grant, Verdict::Alive)), DONE);
    assert_eq!(inventory(&world, ann).grant(grant).map(|grant| (grant.stale, grant.failed_attempts)), Some((false, 0)));
    world.check_replay();
}

#[test]
fn a_verifier_speaks_only_for_what_a_source_told_of() {
    let (mut world, owner) = shop();
    let (ann, ben) = (world.human(), world.human());
    let guild = world.guild(ann, "smiths");
    let lathe = format!("{guild}/lathe");
    let own = GrantCapability { source: Source::Guild(guild), kind: CapabilityKind::Tool, ..skill(ann, &lathe) };
    world.send(ann, own).unwrap();
    let lathe = inventory(&world, ann).of_kind(CapabilityKind::Tool).map(Grant::id).next().unwrap();
    let role = inventory(&world, ann).of_kind(CapabilityKind::GuildRole).map(Grant::id).next().unwrap();
    world.send(owner, skill(ann, "weld")).unwrap();
    let weld = named(&world, ann, "weld").unwrap();
    world.send(ann, hand_on(ann, weld, ben)).unwrap();
    let handed_on = named(&world, ben, "weld").unwrap();
    let silent = Verdict::Unknown(FailureKind::Unreachable);
    for (holder, grant) in [(ann, lathe), (ann, role), (ben, handed_on)] {
        for verdict in [Verdict::Alive, Verdict::Gone, Verdict::Revoked, Verdict::Expired, silent] {
            assert_eq!(world.send_system(found(holder, grant, verdict)), Err(Code::NothingToVerify), "{verdict:?}");
        }
    }
    assert_eq!(world.send_system(found(ann, weld, Verdict::Alive)), DONE);
    world.check_replay();
}

#[test]
fn what_got_narrower_at_the_source_arrives_and_what_got_wider_does_not() {
    let (mut world, _) = shop();
    let ann = world.human();
    let end = |world: &World, days| Some(world.now.plus_days(days));
    let read_only = Scope { read_only: true, ..Scope::default() };
    let terms = |world: &World| {
        let grant = named(world, ann, "weld").and_then(|id| inventory(world, ann).grant(id).cloned()).unwrap();
        (grant.scope, grant.expires_at)
    };
    world.send(world.principal, listed(ann, "weld")).unwrap();
    let (near, far) = (end(&world, 3), end(&world, 9));
    assert_eq!(world.send(world.principal, ImportCapability { expires_at: far, ..listed(ann, "weld") }), DONE);
    assert_eq!(world.inventory_types(), ["grant.attenuated.v1"]);
    assert_eq!(terms(&world), (Scope::default(), far));
    let both = ImportCapability { scope: read_only.clone(), expires_at: near, ..listed(ann, "weld") };
    assert_eq!(world.send(world.principal, both.clone()), DONE);
    assert_eq!(world.send(world.principal, both), AGAIN);
    for wider in [listed(ann, "weld"), ImportCapability { expires_at: far, ..listed(ann, "weld") }] {
        assert_eq!(world.send(world.principal, wider), AGAIN);
        assert_eq!(terms(&world), (read_only.clone(), near), "nobody can tell who narrowed it");
    }
    world.pass_days(4);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE, "its time was over: it is given anew");
    assert_eq!(terms(&world), (Scope::default(), None));
    world.check_replay();
}

#[test]
fn a_source_does_not_narrow_what_was_handed_on() {
    let (mut world, owner) = shop();
    let (ann, ben) = (world.human(), world.human());
    world.send(owner, skill(ann, "weld")).unwrap();
    let weld = named(&world, ann, "weld").unwrap();
    world.send(ann, hand_on(ann, weld, ben)).unwrap();
    let read_only = Scope { read_only: true, ..Scope::default() };
    assert_eq!(world.send(world.principal, ImportCapability { scope: read_only, ..listed(ben, "weld") }), AGAIN);
}

/// Somebody with twelve skills of which each has hundreds of grants below it.
fn a_wide_tree() -> (World, CitizenId, CitizenId) {
    let (mut world, owner) = shop();
    let ann = world.human();
    let people: Vec<CitizenId> = (0..900).map(|_| world.human()).collect();
    for number in 0..12 {
        let name = format!("skill-{number}");
        world.send(owner, skill(ann, &name)).unwrap();
        let grant = named(&world, ann, &name).unwrap();
        for person in &people {
            world.send(ann, hand_on(ann, grant, *person)).unwrap();
        }
    }
    (world, ann, people[0])
}

#[test]
fn the_end_of_a_holder_is_never_too_much_at_once() {
    let (mut world, ann, ben) = a_wide_tree();
    let skills = |world: &World, of: CitizenId| inventory(world, of).of_kind(CapabilityKind::Template).count();
    assert_eq!((skills(&world, ann), skills(&world, ben)), (12, 12));
    let grants: Vec<GrantId> = inventory(&world, ann).of_kind(CapabilityKind::Template).map(Grant::id).collect();
    let expire = |grant| ExpireGrant { holder: ann.into(), grant };
    assert_eq!(world.send_system(expire(grants[0])), Err(Code::GrantNotExpired));
    assert_eq!(world.send(world.principal, DeprovisionCitizen { citizen: ann, reason: None }), DONE);
    assert_eq!(inventory(&world, ann).of_kind(CapabilityKind::DataAccess).count(), 0, "what is the city's own is over");
    let left = skills(&world, ann);
    assert!((1..12).contains(&left), "{left}: as much as there is room for");
    // The workers end the rest, one by one.
    for grant in grants {
        world.send_system(expire(grant)).unwrap();
    }
    assert_eq!((skills(&world, ann), skills(&world, ben)), (0, 0));
    assert!(inventory(&world, ann).living().is_empty());
    world.check_replay();
}

#[test]
fn what_is_handed_on_is_never_wider_and_a_chain_has_five_grants() {
    let (mut world, owner) = shop();
    let people: Vec<CitizenId> = (0..6).map(|_| world.human()).collect();
    let narrow = Scope { rate_limit: Some("10/h".parse().unwrap()), ..Scope::default() };
    world.send(owner, GrantCapability { scope: narrow.clone(), ..skill(people[0], "weld") }).unwrap();
    let mut grant = named(&world, people[0], "weld").unwrap();
    let wide = DelegateGrant { scope: Some(Scope::default()), ..hand_on(people[0], grant, people[1]) };
    assert_eq!(world.send(people[0], wide), Err(Code::ScopeWider));
    assert_eq!(world.send(people[1], hand_on(people[0], grant, people[1])), Err(Code::NotTheHolder));
    for pair in people[..5].windows(2) {
        assert_eq!(world.send(pair[0], hand_on(pair[0], grant, pair[1])), DONE);
        grant = named(&world, pair[1], "weld").unwrap();
    }
    assert_eq!(world.send(people[4], hand_on(people[4], grant, people[5])), Err(Code::DelegationTooDeep));
    assert_eq!(world.send(people[4], hand_on(people[4], grant, people[0])), Err(Code::DelegationTooDeep));
    let second = named(&world, people[1], "weld").unwrap();
    assert_eq!(world.send(people[1], hand_on(people[1], second, people[0])), Err(Code::GrantExists), "no circle");
    let wider = AttenuateGrant { holder: people[1].into(), grant: second, scope: Scope::default(), expires_at: None };
    assert_eq!(world.send(people[1], wider), Err(Code::ScopeWider));
    assert_eq!(world.send(people[0], revoke(people[1], second)), DONE, "whoever handed it on takes it back");
    for holder in &people[1..5] {
        assert_eq!(named(&world, *holder, "weld"), None, "everything below ended in the same append");
    }
    assert!(named(&world, people[0], "weld").is_some());
    assert!(inventory(&world, people[0]).living().values().all(|grant| grant.children.is_empty()));
    world.check_replay();
}

#[test]
fn time_ends_a_grant_whether_or_not_anybody_recorded_it() {
    let (mut world, owner) = shop();
    let ann = world.human();
    let end = world.now.plus_days(3);
    world.send(owner, GrantCapability { expires_at: Some(end), ..skill(ann, "weld") }).unwrap();
    let grant = named(&world, ann, "weld").unwrap();
    let expire = || ExpireGrant { holder: ann.into(), grant };
    assert_eq!(world.send_system(expire()), Err(Code::GrantNotExpired));
    world.pass_days(4);
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE, "it makes room");
    assert_eq!(world.inventory_types(), ["grant.expired.v1", "grant.granted.v1"]);
    assert_eq!(world.send_system(expire()), AGAIN);
    let prune = || PruneGrant { holder: ann.into(), grant };
    assert_eq!(world.send_system(prune()), Err(Code::GrantNotPrunable));
    world.pass_days(PRUNE_AFTER_DAYS);
    assert_eq!(world.send_system(prune()), DONE);
    assert_eq!(world.send_system(prune()), AGAIN);
    world.check_replay();
}

#[test]
fn only_the_source_that_was_told_no_says_yes_again() {
    let (mut world, owner) = shop();
    let ann = world.human();
    world.send(world.principal, listed(ann, "weld")).unwrap();
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send(owner, revoke(ann, grant)), DONE);
    let city = GrantCapability { source: Source::City, ..skill(ann, "weld") };
    assert_eq!(world.send(world.principal, city), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld));
    assert_eq!(world.send(world.principal, revoke(ann, grant)), DONE);
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send_system(found(ann, grant, Verdict::Gone)), DONE);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld), "the city's no stands");
    world.check_replay();
}

#[test]
fn an_end_that_somebody_set_is_not_undone_by_the_next_import() {
    let (mut world, owner) = shop();
    let (ann, ben, cat) = (world.human(), world.human(), world.human());
    let end = Some(world.now.plus_days(1));
    for person in [ann, ben] {
        world.send(world.principal, listed(person, "weld")).unwrap();
    }
    world.send(world.principal, ImportCapability { expires_at: end, ..listed(cat, "weld") }).unwrap();
    for person in [ann, ben] {
        let grant = named(&world, person, "weld").unwrap();
        let narrower = AttenuateGrant { holder: person.into(), grant, scope: Scope::default(), expires_at: end };
        assert_eq!(world.send(owner, narrower), DONE);
    }
    world.pass_days(2);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld), "over, and not on record yet");
    let grant = named(&world, ben, "weld").unwrap();
    assert_eq!(world.send_system(ExpireGrant { holder: ben.into(), grant }), DONE);
    assert_eq!(world.send(world.principal, listed(ben, "weld")), Err(Code::Withheld));
    assert_eq!(world.send(world.principal, listed(cat, "weld")), DONE, "that end was the source's own word");
    assert_eq!(world.send(owner, skill(ben, "weld")), DONE);
    world.check_replay();
}

#[test]
fn nothing_is_handed_on_below_a_grant_whose_time_is_over() {
    let (mut world, owner) = shop();
    let people: Vec<CitizenId> = (0..3).map(|_| world.human()).collect();
    world.send(owner, skill(people[0], "weld")).unwrap();
    let first = named(&world, people[0], "weld").unwrap();
    world.send(people[0], hand_on(people[0], first, people[1])).unwrap();
    let end = Some(world.now.plus_days(1));
    let sooner = AttenuateGrant { holder: people[0].into(), grant: first, scope: Scope::default(), expires_at: end };
    assert_eq!(world.send(owner, sooner), DONE);
    world.pass_days(2);
    let second = named(&world, people[1], "weld").unwrap();
    assert_eq!(world.send(people[1], hand_on(people[1], second, people[2])), Err(Code::GrantNotLiving));
}

#[test]
fn whoever_is_above_in_a_chain_takes_back_what_came_down_from_theirs() {
    let (mut world, owner) = shop();
    let people: Vec<CitizenId> = (0..4).map(|_| world.human()).collect();
    world.send(owner, skill(people[0], "weld")).unwrap();
    for pair in people.windows(2) {
        let grant = named(&world, pair[0], "weld").unwrap();
        assert_eq!(world.send(pair[0], hand_on(pair[0], grant, pair[1])), DONE);
    }
    let last = named(&world, people[3], "weld").unwrap();
    let second = named(&world, people[1], "weld").unwrap();
    assert_eq!(world.send(people[3], revoke(people[1], second)), Err(Code::NotTheGranter), "not from below");
    assert_eq!(world.send(people[0], revoke(people[3], last)), DONE);
    world.check_replay();
}
