//! Rest, end, and getting a founder again.

use super::hall::*;
use crate::citizen::command::{DeprovisionCitizen, ReinstateCitizen, SuspendCitizen};
use crate::guild::Status;
use crate::guild::command::*;
use crate::guild::governance::{Class, Tier};
use crate::ids::{GuildId, SquadId, Stream, TreasuryId};
use crate::money::{Account, Share};
use crate::party::{CitizenKind, MemberId};
use crate::rejection::Code;
use crate::testing::{World, currency, join, text};
use crate::treasury::command::{CaptureHold, FreezeTreasury, ReleaseHold};
use crate::turn::State;

fn balance(world: &World, treasury: TreasuryId) -> i128 {
    match world.state_of(Stream::Treasury(treasury)) {
        Some(State::Treasury(treasury)) => treasury.available(&currency("USD")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dormant_guild_refuses_all_but_waking_leaving_and_giving_back() {
    let mut hall = hall();
    let cat = hall.join("member");
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let hold = super::scenarios::hold(hall.treasury(), "10.00", hall.world.now.plus_days(9));
    assert_eq!(hall.ann(hold.clone()), DONE);
    let placed = super::scenarios::last_hold(&hall.world);
    assert_eq!(hall.ann(hall.wake()), Err(Code::GuildNotDormant));
    assert_eq!(hall.ann(hall.sleep()), DONE);
    let heir = hall.world.human();
    for command in [
        crate::Command::from(hall.rename()),
        hall.sleep().into(),
        hall.suspend(cat).into(),
        hall.set(document(only(hall.ben))).into(),
        hall.dissolve(heir).into(),
        hall.finalize().into(),
        hold.into(),
        hall.pay(1, "1", None).into(),
        super::scenarios::capture(hall.treasury(), placed, "1.00").into(),
    ] {
        assert_eq!(hall.ann(command.clone()), Err(Code::GuildDormant), "{command:?}");
    }
    let teller = hall.world.human();
    let grant = crate::citizen::command::GrantAttestation {
        citizen: teller,
        source: crate::testing::slug("bank"),
        currency: currency("USD"),
    };
    assert_eq!(hall.city(grant), DONE);
    assert_eq!(hall.world.send(teller, super::scenarios::deposit(hall.treasury(), 77)), Err(Code::GuildDormant));
    assert_eq!(hall.ann(ReleaseHold { treasury: hall.treasury(), hold: placed }), DONE);
    assert_eq!(hall.world.send(cat, hall.leave()), DONE);
    assert_eq!(hall.ann(hall.wake()), DONE);
    assert_eq!(hall.ann(hall.rename()), DONE);
}

#[test]
fn a_dissolving_guild_only_winds_up() {
    let mut hall = hall();
    let cat = hall.join("member");
    let heir = hall.world.human();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    assert_eq!(hall.ann(super::scenarios::hold(hall.treasury(), "10.00", hall.world.now.plus_days(9))), DONE);
    let placed = super::scenarios::last_hold(&hall.world);
    let cancel = CancelDissolution { guild: hall.guild.into() };
    assert_eq!(hall.ann(cancel.clone()), Err(Code::GuildNotDissolving));
    assert_eq!(hall.ann(hall.finalize()), Err(Code::GuildNotDissolving));
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    for command in [
        crate::Command::from(hall.rename()),
        hall.sleep().into(),
        hall.wake().into(),
        join(hall.guild, heir, "member", None).into(),
        hall.dissolve(heir).into(),
        hall.pay(1, "1", None).into(),
    ] {
        assert_eq!(hall.ann(command.clone()), Err(Code::GuildDissolving), "{command:?}");
    }
    assert_eq!(hall.ann(hall.finalize()), Err(Code::HoldsOpen));
    let capture: CaptureHold = super::scenarios::capture(hall.treasury(), placed, "4.00");
    assert_eq!(hall.ann(capture), DONE);
    assert_eq!(hall.world.send(cat, hall.leave()), DONE);
    assert_eq!(hall.ann(cancel), DONE);
    assert_eq!(hall.ann(hall.rename()), DONE);
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    assert_eq!(hall.ann(hall.finalize()), DONE);
    assert_eq!(hall.status(), Status::Dissolved);
    assert_eq!(balance(&hall.world, TreasuryId::of_citizen(heir)), 9_600);
    for command in [crate::Command::from(hall.rename()), hall.leave().into(), hall.wake().into()] {
        assert_eq!(hall.ann(command), Err(Code::GuildDissolved));
    }
    hall.world.check_replay();
}

#[test]
fn the_end_comes_after_everything_else_and_leaves_the_parent() {
    let mut hall = hall();
    let heir = hall.world.human();
    let parent = hall.world.guild(hall.ann, "city-hall");
    assert_eq!(hall.ann(ProposeParent { guild: hall.guild.into(), parent: parent.into() }), DONE);
    assert_eq!(hall.ann(AcceptChild { guild: parent.into(), child: hall.guild.into() }), DONE);
    let parent_ends = InitiateDissolution { guild: parent.into(), ..hall.dissolve(heir) };
    assert_eq!(hall.ann(parent_ends), Err(Code::LivingChildren));
    assert_eq!(hall.ann(hall.set(document(consensus(&["founder"], 2)))), DONE);
    for command in [crate::Command::from(hall.dissolve(heir)), hall.finalize().into()] {
        let proposal = World::proposal(hall.ann(command));
        assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    }
    let of_guild = |(stream, event, _): &(Stream, crate::Event, crate::Time)| {
        (*stream == Stream::Guild(hall.guild)).then(|| event.to_parts().0)
    };
    let types: Vec<_> = hall.world.recorded().iter().filter_map(of_guild).collect();
    assert_eq!(types.last().map(String::as_str), Some("guild.dissolved.v1"), "{types:?}");
    assert!(hall.world.guild_state(parent).children().is_empty());
    hall.world.check_replay();
}

#[test]
fn a_city_act_on_a_member_changes_nothing_in_a_dissolved_guild() {
    let mut hall = hall();
    let heir = hall.world.human();
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    assert_eq!(hall.ann(hall.finalize()), DONE);
    let entries = |hall: &Hall| hall.world.log.iter().filter(|entry| entry.0 == Stream::Guild(hall.guild)).count();
    let before = entries(&hall);
    assert_eq!(hall.city(SuspendCitizen { citizen: hall.ann, reason: None }), DONE);
    assert_eq!(hall.city(DeprovisionCitizen { citizen: hall.ben, reason: None }), DONE);
    assert_eq!(entries(&hall), before);
}

#[test]
fn receivers_exist_share_everything_and_are_somebody_else() {
    let mut hall = hall();
    let heir = hall.world.human();
    let plan = hall.dissolve(heir);
    let with = |to: Account, points: u32| InitiateDissolution {
        shares: vec![Share { to, basis_points: points }],
        ..plan.clone()
    };
    let own = Account::Treasury(hall.treasury());
    let heirs = Account::Treasury(TreasuryId::of_citizen(heir));
    assert_eq!(hall.ann(with(heirs, 9_999)), Err(Code::SharesNotWhole));
    assert_eq!(hall.ann(with(own, 10_000)), Err(Code::ReceiverIsSelf));
    assert_eq!(hall.ann(with(Account::External, 10_000)), Err(Code::TreasuryNotFound));
    let nowhere = Account::Treasury(TreasuryId::from_bits(4));
    assert_eq!(hall.ann(with(nowhere, 10_000)), Err(Code::TreasuryNotFound));
    let to_self = InitiateDissolution { fallback: hall.treasury(), ..plan.clone() };
    assert_eq!(hall.ann(to_self), Err(Code::ReceiverIsSelf));
    let sleeper = hall.world.guild(hall.ann, "sleepers");
    assert_eq!(hall.ann(MarkDormant { guild: sleeper.into() }), DONE);
    let to_sleeper = InitiateDissolution { fallback: TreasuryId::of_guild(sleeper), ..plan.clone() };
    assert_eq!(hall.ann(to_sleeper), Err(Code::FallbackCannotReceive));
    let freeze = FreezeTreasury { treasury: TreasuryId::of_citizen(heir), reason: text("odd"), as_city: true };
    assert_eq!(hall.city(freeze), DONE);
    assert_eq!(hall.ann(plan), Err(Code::FallbackCannotReceive));
}

#[test]
fn shares_of_receivers_who_cannot_take_them_go_to_the_fallback() {
    let mut hall = hall();
    let (heir, other) = (hall.world.human(), hall.world.human());
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let frozen = TreasuryId::of_citizen(other);
    let share = |to, basis_points| Share { to: Account::Treasury(to), basis_points };
    let fallback = TreasuryId::of_citizen(heir);
    let plan =
        InitiateDissolution { shares: vec![share(fallback, 3_000), share(frozen, 7_000)], ..hall.dissolve(heir) };
    assert_eq!(hall.ann(plan), DONE);
    assert_eq!(hall.city(FreezeTreasury { treasury: frozen, reason: text("odd"), as_city: true }), DONE);
    assert_eq!(hall.ann(hall.finalize()), DONE);
    assert_eq!((balance(&hall.world, fallback), balance(&hall.world, frozen)), (10_000, 0));
}

/// The only founder, who decides everything, is suspended by the city.
fn leaderless() -> (World, GuildId, crate::ids::CitizenId) {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "masons");
    assert_eq!(world.send(world.principal, SuspendCitizen { citizen: ann, reason: None }), DONE);
    assert!(world.types().contains(&"guild.became_leaderless.v1".to_owned()));
    (world, guild, ann)
}

fn appoint(guild: GuildId, member: MemberId, as_parent: bool) -> AppointFounder {
    AppointFounder { guild: guild.into(), member, as_parent }
}

#[test]
fn a_city_act_makes_a_guild_leaderless_and_undoing_it_leads_it_again() {
    let (mut world, guild, ann) = leaderless();
    assert!(world.guild_state(guild).is_leaderless());
    assert_eq!(world.send(world.principal, ReinstateCitizen { citizen: ann }), DONE);
    assert!(world.types().contains(&"guild.leadership_restored.v1".to_owned()));
    assert!(!world.guild_state(guild).is_leaderless());
    world.check_replay();
}

#[test]
fn a_city_principal_appoints_a_founder_to_a_leaderless_guild_only() {
    let (mut world, guild, ann) = leaderless();
    let cat = world.human();
    let member = MemberId::Citizen(cat);
    assert_eq!(world.send(cat, appoint(guild, member, false)), Err(Code::NotPermitted));
    assert_eq!(world.send(cat, appoint(guild, member, true)), Err(Code::NotAChild));
    let service = MemberId::Citizen(world.citizen(CitizenKind::Service));
    assert_eq!(world.send(world.principal, appoint(guild, service, false)), Err(Code::FounderKind));
    let squad = MemberId::Squad(SquadId::from_bits(1));
    assert_eq!(world.send(world.principal, appoint(guild, squad, false)), Err(Code::FounderKind));
    assert_eq!(world.send(world.principal, appoint(guild, MemberId::Citizen(ann), false)), Err(Code::CitizenNotActive));
    assert_eq!(world.send(world.principal, appoint(guild, member, false)), DONE);
    let types =
        ["guild.decided.v1", "guild.founder_appointed.v1", "citizen.guild_joined.v1", "guild.governance_set.v1"];
    assert_eq!(world.types(), types);
    assert_eq!(*world.guild_state(guild).tier(Class::Governance), Tier::PrincipalOnly { decider: cat });
    assert_eq!(world.send(world.principal, appoint(guild, member, false)), Err(Code::GuildNotLeaderless));
    let rename = RenameGuild { guild: guild.into(), name: text("New") };
    assert_eq!(world.send(cat, rename), DONE);
    // Whoever comes back finds a guild that others lead.
    assert_eq!(world.send(world.principal, ReinstateCitizen { citizen: ann }), DONE);
    assert_eq!(world.guild_state(guild).active_founders(), 2);
    world.check_replay();
}

#[test]
fn a_parent_appoints_by_its_own_governance() {
    let mut parent = both_agree();
    let (ann, ben) = (parent.ann, parent.ben);
    let world = &mut parent.world;
    let eve = world.human();
    let child = world.guild(eve, "bakers");
    assert_eq!(world.send(eve, ProposeParent { guild: child.into(), parent: parent.guild.into() }), DONE);
    let accept = AcceptChild { guild: parent.guild.into(), child: child.into() };
    let proposal = World::proposal(world.send(ann, accept));
    assert_eq!(world.send(ben, Ratify { guild: parent.guild.into(), proposal }), DONE);
    assert_eq!(world.send(world.principal, DeprovisionCitizen { citizen: eve, reason: None }), DONE);
    assert!(world.guild_state(child).is_leaderless());
    let cat = world.human();
    assert_eq!(world.send(cat, appoint(child, MemberId::Citizen(cat), true)), Err(Code::NotAMember));
    let proposal = World::proposal(world.send(ann, appoint(child, MemberId::Citizen(cat), true)));
    assert!(world.guild_state(child).is_leaderless());
    assert_eq!(world.send(ben, Ratify { guild: parent.guild.into(), proposal }), DONE);
    assert!(!world.guild_state(child).is_leaderless());
    assert_eq!(world.guild_state(child).active_founders(), 1);
    world.check_replay();
}

#[test]
fn a_leaderless_guild_neither_rests_nor_ends() {
    let mut hall = hall();
    let cat = hall.join_with("coordinator", &[Class::Lifecycle, Class::Charter]);
    let tier = except(only(hall.ann), Class::Lifecycle, only(cat));
    assert_eq!(hall.ann(hall.set(tier)), DONE);
    for founder in [hall.ann, hall.ben] {
        assert_eq!(hall.city(SuspendCitizen { citizen: founder, reason: None }), DONE);
    }
    assert!(hall.state().is_leaderless());
    assert_eq!(hall.world.send(cat, hall.sleep()), Err(Code::GuildLeaderless));
    assert_eq!(hall.world.send(cat, hall.dissolve(cat)), Err(Code::GuildLeaderless));
}

#[test]
fn a_resting_guild_that_lost_its_founder_gets_another_who_can_wake_it() {
    let mut hall = hall();
    assert_eq!(hall.ann(hall.remove(hall.ben)), DONE);
    assert_eq!(hall.ann(hall.sleep()), DONE);
    assert_eq!(hall.city(DeprovisionCitizen { citizen: hall.ann, reason: None }), DONE);
    let cat = hall.world.human();
    assert_eq!(hall.city(hall.appoint(cat, false)), DONE);
    assert_eq!(hall.world.send(cat, hall.wake()), DONE);
}

#[test]
fn a_guild_without_founders_is_leaderless_though_its_governance_could_be_changed() {
    let mut hall = hall();
    let cat = hall.join_with("coordinator", &[Class::Governance]);
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Governance, only(cat)))), DONE);
    assert_eq!(hall.city(SuspendCitizen { citizen: hall.ann, reason: None }), DONE);
    assert!(!hall.state().is_leaderless());
    assert_eq!(hall.city(SuspendCitizen { citizen: hall.ben, reason: None }), DONE);
    assert!(hall.state().is_leaderless());
    assert_eq!(hall.city(hall.appoint(cat, false)), DONE);
    assert!(!hall.world.types().contains(&"guild.governance_set.v1".to_owned()), "the document still works");
}

#[test]
fn a_resting_guild_that_nobody_can_wake_is_leaderless_though_it_has_founders() {
    let mut hall = hall();
    let dan = hall.join_with("coordinator", &[Class::Lifecycle]);
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Lifecycle, only(dan)))), DONE);
    assert_eq!(hall.world.send(dan, hall.sleep()), DONE);
    assert_eq!(hall.city(DeprovisionCitizen { citizen: dan, reason: None }), DONE);
    assert!(hall.state().is_leaderless());
    assert_eq!(hall.city(hall.appoint(hall.ben, false)), DONE);
    assert_eq!(hall.ben(hall.wake()), DONE);
    assert!(!hall.state().is_leaderless());
}

#[test]
fn ending_is_no_way_around_a_freeze() {
    let mut hall = hall();
    let heir = hall.world.human();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    let freeze = FreezeTreasury { treasury: hall.treasury(), reason: text("odd"), as_city: true };
    assert_eq!(hall.city(freeze), DONE);
    assert_eq!(hall.ann(hall.finalize()), Err(Code::TreasuryFrozen));
}
