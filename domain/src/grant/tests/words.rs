//! What actors said of a capability outlives the grant they said it of: a source that comes and goes undoes none of it.

use super::*;

fn read_only() -> Scope {
    Scope { read_only: true, ..Scope::default() }
}

fn terms(world: &World, holder: CitizenId) -> (Scope, Option<Time>) {
    let grant = named(world, holder, "weld").and_then(|id| inventory(world, holder).grant(id).cloned()).unwrap();
    (grant.scope, grant.expires_at)
}

fn attenuate(world: &World, holder: CitizenId, scope: Scope, expires_at: Option<Time>) -> AttenuateGrant {
    let grant = named(world, holder, "weld").unwrap();
    AttenuateGrant { holder: holder.into(), grant, scope, expires_at }
}

/// The source ends what a holder has.
fn lose(world: &mut World, holder: CitizenId, verdict: Verdict) {
    let grant = named(world, holder, "weld").unwrap();
    assert_eq!(world.send_system(found(holder, grant, verdict)), DONE);
    assert_eq!(named(world, holder, "weld"), None);
}

#[test]
fn what_somebody_narrowed_stays_narrow_however_often_the_source_comes_and_goes() {
    for verdict in [Verdict::Gone, Verdict::Revoked, Verdict::Expired] {
        let (mut world, owner) = shop();
        let ann = world.human();
        let end = Some(world.now.plus_days(9));
        world.send(world.principal, listed(ann, "weld")).unwrap();
        let narrower = attenuate(&world, ann, read_only(), end);
        assert_eq!(world.send(owner, narrower), DONE);
        for _ in 0..2 {
            lose(&mut world, ann, verdict);
            assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE, "it is there again");
            assert_eq!(terms(&world, ann), (read_only(), end), "{verdict:?}");
            assert_eq!(world.send(world.principal, listed(ann, "weld")), AGAIN);
        }
        lose(&mut world, ann, verdict);
        world.pass_days(10);
        assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld), "the end is over meanwhile");
        assert_eq!(world.send(owner, skill(ann, "weld")), DONE, "who may say so gives all of it again");
        lose(&mut world, ann, verdict);
        assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
        assert_eq!(terms(&world, ann), (Scope::default(), None));
        world.check_replay();
    }
}

#[test]
fn what_the_source_itself_narrowed_comes_back_as_the_source_has_it() {
    let (mut world, owner) = shop();
    let ann = world.human();
    let (near, far) = (Some(world.now.plus_days(3)), Some(world.now.plus_days(9)));
    let told = |scope: Scope, expires_at| ImportCapability { scope, expires_at, ..listed(ann, "weld") };
    world.send(world.principal, told(read_only(), near)).unwrap();
    lose(&mut world, ann, Verdict::Gone);
    world.send(world.principal, told(Scope::default(), far)).unwrap();
    assert_eq!(terms(&world, ann), (Scope::default(), far), "nobody here said anything");
    // Of the two, only the actor's word is kept: and of what they left as it was, nothing.
    let actions = |names: &[&str]| Some(names.iter().map(|name| name.parse().unwrap()).collect());
    let use_only = Scope { allow_actions: actions(&["use"]), ..Scope::default() };
    let narrower = attenuate(&world, ann, use_only.clone(), None);
    world.send(owner, narrower).unwrap();
    assert_eq!(world.send(world.principal, told(read_only(), near)), DONE);
    lose(&mut world, ann, Verdict::Revoked);
    world.send(world.principal, listed(ann, "weld")).unwrap();
    assert_eq!(terms(&world, ann), (use_only.clone(), None));
    lose(&mut world, ann, Verdict::Gone);
    world.send(world.principal, told(read_only(), far)).unwrap();
    assert_eq!(terms(&world, ann), (Scope { read_only: true, ..use_only }, far), "the source gives less than was left");
    world.check_replay();
}

#[test]
fn an_end_of_the_source_before_that_of_an_actor_lifts_nothing() {
    let (mut world, owner) = shop();
    let ann = world.human();
    let (near, far) = (Some(world.now.plus_days(3)), Some(world.now.plus_days(9)));
    world.send(world.principal, listed(ann, "weld")).unwrap();
    let narrower = attenuate(&world, ann, read_only(), far);
    world.send(owner, narrower).unwrap();
    world.send(world.principal, ImportCapability { expires_at: near, ..listed(ann, "weld") }).unwrap();
    world.pass_days(4);
    assert_eq!(
        world.send(world.principal, listed(ann, "weld")),
        DONE,
        "it makes room, and nobody recorded its end before"
    );
    assert_eq!(terms(&world, ann), (read_only(), far));
    world.check_replay();
}

#[test]
fn what_was_given_with_limits_is_imported_within_them() {
    let (mut world, owner) = shop();
    let ann = world.human();
    let slow = Scope { rate_limit: Some("60/m".parse().unwrap()), ..Scope::default() };
    world.send(owner, GrantCapability { scope: slow.clone(), ..skill(ann, "weld") }).unwrap();
    lose(&mut world, ann, Verdict::Gone);
    world.send(world.principal, listed(ann, "weld")).unwrap();
    assert_eq!(terms(&world, ann).0, slow);
    // Neither of two rates is the narrower one: what comes back is within both.
    lose(&mut world, ann, Verdict::Gone);
    let burst = Scope { rate_limit: Some("1/s".parse().unwrap()), ..Scope::default() };
    world.send(world.principal, ImportCapability { scope: burst.clone(), ..listed(ann, "weld") }).unwrap();
    let scope = terms(&world, ann).0;
    assert!(scope.is_within(&slow) && scope.is_within(&burst), "{scope:?}");
    world.check_replay();
}

#[test]
fn a_no_that_comes_after_the_end_counts_all_the_same() {
    let (mut world, owner) = shop();
    let (ann, ben) = (world.human(), world.human());
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    assert_eq!(world.send_system(found(ann, grant, Verdict::Revoked)), DONE);
    assert_eq!(world.send(ben, revoke(ann, grant)), Err(Code::NotTheGranter));
    assert_eq!(world.send(owner, revoke(ann, grant)), DONE);
    assert_eq!(world.inventory_types(), ["grant.withheld.v1"]);
    assert_eq!(world.send(owner, revoke(ann, grant)), AGAIN);
    assert_eq!(world.send(ben, revoke(ann, grant)), Err(Code::NotTheGranter), "before and after");
    assert_eq!(world.send(world.principal, listed(ann, "weld")), Err(Code::Withheld));
    assert_eq!(world.send(owner, skill(ann, "weld")), DONE, "whoever has the source's authority lifts it");

    // The source flickers, and whoever means to take it away names the grant before: nothing is said to be done that is not.
    assert_eq!(world.send(world.principal, listed(ben, "weld")), DONE);
    let first = named(&world, ben, "weld").unwrap();
    assert_eq!(world.send_system(found(ben, first, Verdict::Gone)), DONE);
    assert_eq!(world.send(world.principal, listed(ben, "weld")), DONE);
    assert_eq!(world.send(owner, revoke(ben, first)), Err(Code::GrantExists));
    world.check_replay();
}

#[test]
fn a_guild_that_holds_it_says_so_as_it_would_of_what_lives() {
    let (mut world, _) = shop();
    let (ann, ben) = (world.human(), world.human());
    let guild = world.guild(ann, "smiths");
    let cat = world.member(ann, guild, "member");
    assert_eq!(world.send(world.principal, listed(guild, "weld")), DONE);
    let grant = named(&world, guild, "weld").unwrap();
    let gone = Finding { holder: guild.into(), grant, verdict: Verdict::Gone };
    assert_eq!(world.send_system(RecordVerifications { findings: vec![gone], asked_at: None }), DONE);
    assert_eq!(world.send(ben, revoke(guild, grant)), Err(Code::NotAMember));
    assert!(world.send(cat, revoke(guild, grant)).is_err(), "not every member speaks for it");
    assert_eq!(world.send(ann, revoke(guild, grant)), DONE);
    assert_eq!(world.send(world.principal, listed(guild, "weld")), Err(Code::Withheld));
    world.check_replay();
}

#[test]
fn whoever_asked_before_it_was_there_does_not_end_it() {
    let (mut world, _) = shop();
    let ann = world.human();
    let asked_at = Some(world.now);
    world.pass_days(1);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    let late = |verdict| RecordVerifications { asked_at, ..found(ann, grant, verdict) };
    assert_eq!(world.send_system(late(Verdict::Gone)), AGAIN);
    assert_eq!(named(&world, ann, "weld"), Some(grant));
    let now = RecordVerifications { asked_at: Some(world.now), ..found(ann, grant, Verdict::Gone) };
    assert_eq!(world.send_system(now), DONE);
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    let revoked = RecordVerifications { asked_at, ..found(ann, grant, Verdict::Revoked) };
    assert_eq!(world.send_system(revoked), DONE, "what a source took away it took away");
    world.check_replay();
}

#[test]
fn two_who_ask_at_once_and_hear_nothing_tried_once() {
    let (mut world, _) = shop();
    let ann = world.human();
    assert_eq!(world.send(world.principal, listed(ann, "weld")), DONE);
    let grant = named(&world, ann, "weld").unwrap();
    let silent = |asked_at| RecordVerifications {
        asked_at: Some(asked_at),
        ..found(ann, grant, Verdict::Unknown(FailureKind::Unreachable))
    };
    let attempts = |world: &World| inventory(world, ann).grant(grant).map(|grant| grant.failed_attempts);
    world.pass_days(1);
    let both = world.now;
    world.pass_days(1);
    assert_eq!(world.send_system(silent(both)), DONE);
    assert_eq!(world.send_system(silent(both)), AGAIN);
    assert_eq!(attempts(&world), Some(1));
    assert_eq!(world.send_system(silent(world.now)), DONE, "asked since");
    assert_eq!(attempts(&world), Some(2));
    assert_eq!(world.send_system(found(ann, grant, Verdict::Alive)), DONE);
    assert_eq!(world.send_system(silent(both)), AGAIN, "it was answered since");
    assert_eq!(attempts(&world), Some(0));
    world.check_replay();
}

#[test]
fn people_do_not_say_what_a_source_has() {
    let (mut world, owner) = shop();
    let (ann, coordinator) = (world.human(), world.human());
    world.set_tier(coordinator, Tier::Coordinator);
    for holder in [ann, coordinator] {
        assert_eq!(world.send(coordinator, listed(holder, "weld")), Err(Code::NotTheSourceOwner));
    }
    assert_eq!(world.send(owner, listed(ann, "weld")), DONE);
    let service = world.citizen(CitizenKind::Service);
    assert_eq!(world.send(service, listed(ann, "mill")), DONE);
}
