//! Who joins, who changes whom, who goes: and who may not.

use super::hall::*;
use crate::citizen::command::{DeprovisionCitizen, ReinstateCitizen, SuspendCitizen};
use crate::guild::command::{AddMember, DefineRanks, FoundGuild, RenameGuild};
use crate::guild::default_ranks;
use crate::guild::event::{GuildKind, Rank};
use crate::guild::governance::Class;
use crate::ids::{GuildId, SquadId, Stream};
use crate::party::{CitizenKind, MemberId, MemberKind};
use crate::rejection::Code;
use crate::testing::{World, join, slug, text};
use crate::turn::State;

#[test]
fn founding_makes_the_caller_the_founder_and_opens_a_treasury() {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "masons");
    let types = ["guild.founded.v1", "guild.member_added.v1", "citizen.guild_joined.v1", "treasury.opened.v1"];
    assert_eq!(world.types(), types);
    let state = world.guild_state(guild);
    assert_eq!((state.active_founders(), state.members().len(), state.is_leaderless()), (1, 1, false));
    assert_eq!(state.slug(), Some(&slug("masons")));
    world.check_replay();
}

#[test]
fn a_slug_is_taken_once_and_for_ever() {
    let mut hall = hall();
    let again = |name: &str| FoundGuild {
        slug: slug(name),
        kind: GuildKind::Company,
        name: text("Other"),
        ranks: None,
        governance: None,
    };
    assert_eq!(hall.ben(again("masons")), Err(Code::SlugTaken));
    let heir = hall.world.human();
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    assert_eq!(hall.ann(hall.finalize()), DONE);
    assert_eq!(hall.ben(again("masons")), Err(Code::SlugTaken));
    assert_eq!(hall.ben(again("smiths")), DONE);
}

#[test]
fn a_guild_is_found_by_its_slug_and_a_missing_one_is_not_found() {
    let mut hall = hall();
    let by_slug = |name: &str| RenameGuild { guild: name.parse().unwrap(), name: text("New") };
    assert_eq!(hall.ann(by_slug("masons")), DONE);
    assert_eq!(hall.ann(by_slug("nobody")), Err(Code::GuildNotFound));
    let nowhere = RenameGuild { guild: GuildId::from_bits(5).into(), name: text("New") };
    assert_eq!(hall.ann(nowhere), Err(Code::GuildNotFound));
}

#[test]
fn only_humans_and_agents_hold_the_founder_rank() {
    let mut hall = hall();
    let service = hall.world.citizen(CitizenKind::Service);
    let found =
        FoundGuild { slug: slug("bots"), kind: GuildKind::Project, name: text("B"), ranks: None, governance: None };
    assert_eq!(hall.world.send(service, found), Err(Code::FounderKind));
    assert_eq!(hall.ann(join(hall.guild, service, "founder", None)), Err(Code::FounderKind));
    assert_eq!(hall.ann(join(hall.guild, service, "member", None)), DONE);
    assert_eq!(hall.ann(hall.rank(service, "founder")), Err(Code::FounderKind));
    let squad = MemberId::Squad(SquadId::from_bits(3));
    let add =
        |rank: &str| AddMember { guild: hall.guild.into(), member: squad, kind: None, rank: slug(rank), scopes: None };
    let (founder, member) = (add("founder"), add("member"));
    assert_eq!(hall.ann(founder), Err(Code::FounderKind));
    assert_eq!(hall.ann(member), DONE);
    let agent = hall.world.citizen(CitizenKind::Agent);
    assert_eq!(hall.ann(join(hall.guild, agent, "founder", None)), DONE);
}

#[test]
fn outsiders_and_members_without_the_scope_are_refused() {
    let mut hall = hall();
    let outsider = hall.world.human();
    assert_eq!(hall.world.send(outsider, hall.rename()), Err(Code::NotAMember));
    let member = hall.join("member");
    assert_eq!(hall.world.send(member, hall.rename()), Err(Code::MissingScope));
    let stranger = hall.world.human();
    assert_eq!(hall.world.send(member, hall.suspend(stranger)), Err(Code::MissingScope), "nothing is told before that");
    assert_eq!(hall.ann(hall.suspend(member)), DONE);
    assert_eq!(hall.world.send(member, hall.rename()), Err(Code::NotAMember));
    // Ben holds every scope, but Ann decides.
    assert_eq!(hall.ben(hall.rename()), Err(Code::NotTheDecider));
    assert_eq!(hall.ann(hall.rename()), DONE);
}

#[test]
fn joining_is_checked_against_the_citizen() {
    let mut hall = hall();
    let cat = hall.world.human();
    let wrong = AddMember { kind: Some(MemberKind::Agent), ..join(hall.guild, cat, "member", None) };
    assert_eq!(hall.ann(wrong), Err(Code::MemberKindMismatch));
    assert_eq!(hall.ann(join(hall.guild, cat, "wizard", None)), Err(Code::UnknownRank));
    assert_eq!(hall.city(SuspendCitizen { citizen: cat, reason: None }), DONE);
    assert_eq!(hall.ann(join(hall.guild, cat, "member", None)), Err(Code::CitizenNotActive));
    assert_eq!(hall.city(ReinstateCitizen { citizen: cat }), DONE);
    let right = AddMember { kind: Some(MemberKind::Human), ..join(hall.guild, cat, "member", None) };
    assert_eq!(hall.ann(right.clone()), DONE);
    assert_eq!(hall.ann(right), Err(Code::MemberExists));
    let types = ["guild.decided.v1", "guild.member_added.v1", "citizen.guild_joined.v1"];
    let dan = hall.world.human();
    assert_eq!(hall.ann(join(hall.guild, dan, "member", None)), DONE);
    assert_eq!(hall.world.types(), types);
}

#[test]
fn a_removed_member_cannot_rejoin_alone_but_can_be_let_in_again() {
    let mut hall = hall();
    let cat = hall.join("coordinator");
    assert_eq!(hall.ann(hall.remove(cat)), DONE);
    assert_eq!(hall.world.types()[2], "citizen.guild_left.v1");
    let again = join(hall.guild, cat, "member", None);
    assert_eq!(hall.world.send(cat, again.clone()), Err(Code::MemberRemoved));
    assert_eq!(hall.ann(hall.remove(cat)), Err(Code::MemberNotFound));
    assert_eq!(hall.ann(again), DONE);
    assert_eq!(hall.state().active_member(cat).unwrap().rank, slug("member"));
    // Whoever left is no member either; nothing but that stands in the way.
    assert_eq!(hall.world.send(cat, hall.leave()), DONE);
    assert_eq!(hall.world.send(cat, join(hall.guild, cat, "member", None)), Err(Code::NotAMember));
    assert_eq!(hall.world.send(cat, hall.leave()), Err(Code::NotAMember));
    hall.world.check_replay();
}

#[test]
fn nobody_touches_a_rank_at_or_above_their_own() {
    let mut hall = hall_under(|_| document(rules_for_everything()));
    let [cat, dan, eve] = ["coordinator", "coordinator", "builder"].map(|rank| hall.join(rank));
    let newcomer = hall.world.human();
    let guild = hall.guild;
    let mut cat_sends = |command: crate::Command| hall.world.send(cat, command);
    assert_eq!(cat_sends(join(guild, newcomer, "coordinator", None).into()), Err(Code::RankTooHigh));
    assert_eq!(cat_sends(join(guild, newcomer, "founder", None).into()), Err(Code::RankTooHigh));
    assert_eq!(cat_sends(join(guild, newcomer, "gate", None).into()), DONE);
    for refused in [
        crate::Command::from(hall.suspend(dan)),
        hall.remove(hall.ann).into(),
        hall.rank(dan, "member").into(),
        hall.rank(eve, "coordinator").into(),
        hall.scopes(dan, Some(&[])).into(),
    ] {
        assert_eq!(hall.world.send(cat, refused.clone()), Err(Code::RankTooHigh), "{refused:?}");
    }
    assert_eq!(hall.world.send(cat, hall.rank(eve, "operator")), DONE);
    assert_eq!(hall.world.send(cat, hall.suspend(eve)), DONE);
    // A founder may, of another founder too.
    assert_eq!(hall.ben(hall.suspend(hall.ann)), DONE);
    assert_eq!(hall.world.send(cat, hall.reinstate(hall.ann)), Err(Code::RankTooHigh));
}

fn rules_for_everything() -> crate::guild::governance::Tier {
    let rules = Class::ALL.iter().enumerate().map(|(n, class)| rule(&format!("rule-{n}"), *class, &[], Vec::new()));
    crate::guild::governance::Tier::Automated { rules: rules.collect() }
}

#[test]
fn nobody_grants_scopes_they_lack() {
    let mut hall = hall_under(|_| document(rules_for_everything()));
    let cat = hall.join_with("coordinator", &[Class::Membership]);
    let dan = hall.world.human();
    let with = |scopes: &[Class]| join(hall.guild, dan, "member", Some(scopes.to_vec()));
    let (finance, membership) = (with(&[Class::Finance]), with(&[Class::Membership]));
    assert_eq!(hall.world.send(cat, finance), Err(Code::ScopeNotHeld));
    assert_eq!(hall.world.send(cat, join(hall.guild, dan, "gate", None)), Err(Code::ScopeNotHeld), "a rank's default");
    assert_eq!(hall.world.send(cat, membership), DONE);
    assert_eq!(hall.world.send(cat, hall.scopes(dan, Some(&[Class::Work]))), Err(Code::ScopeNotHeld));
    assert_eq!(hall.world.send(cat, hall.scopes(dan, Some(&[]))), DONE);
    assert_eq!(hall.world.send(cat, hall.scopes(dan, Some(&[]))), ALREADY);
    // What the rank gives by default was not granted before, so raising grants it.
    assert_eq!(hall.ann(hall.scopes(dan, None)), DONE);
    assert_eq!(hall.world.send(cat, hall.rank(dan, "builder")), Err(Code::ScopeNotHeld));
    assert_eq!(hall.world.send(cat, hall.rank(dan, "advisor")), DONE);
    assert_eq!(hall.world.send(cat, hall.rank(dan, "advisor")), ALREADY);
}

#[test]
fn nobody_changes_their_own_membership() {
    let mut hall = hall();
    let ann = hall.ann;
    for own in [
        crate::Command::from(hall.rank(ann, "member")),
        hall.scopes(ann, Some(&[])).into(),
        hall.suspend(ann).into(),
        hall.remove(ann).into(),
    ] {
        assert_eq!(hall.ann(own.clone()), Err(Code::OwnMembership), "{own:?}");
    }
}

#[test]
fn members_who_are_not_there_or_not_suspended_are_named_so() {
    let mut hall = hall();
    let stranger = hall.world.human();
    for command in [
        crate::Command::from(hall.rank(stranger, "member")),
        hall.scopes(stranger, None).into(),
        hall.suspend(stranger).into(),
        hall.reinstate(stranger).into(),
        hall.remove(stranger).into(),
    ] {
        assert_eq!(hall.ann(command), Err(Code::MemberNotFound));
    }
    let cat = hall.join("member");
    assert_eq!(hall.ann(hall.rank(cat, "wizard")), Err(Code::UnknownRank));
    assert_eq!(hall.ann(hall.reinstate(cat)), Err(Code::MemberNotSuspended));
    assert_eq!(hall.ann(hall.suspend(cat)), DONE);
    assert_eq!(hall.ann(hall.suspend(cat)), ALREADY);
    assert_eq!(hall.ann(hall.reinstate(cat)), DONE);
}

#[test]
fn a_suspended_member_can_still_leave() {
    let mut hall = hall();
    let cat = hall.join("member");
    assert_eq!(hall.ann(hall.suspend(cat)), DONE);
    assert_eq!(hall.world.send(cat, hall.leave()), DONE);
    assert!(hall.state().member(MemberId::Citizen(cat)).is_none());
}

#[test]
fn the_city_s_suspension_stands_beside_the_guild_s_own() {
    let mut hall = hall();
    let cat = hall.join("member");
    assert_eq!(hall.city(SuspendCitizen { citizen: cat, reason: None }), DONE);
    assert!(hall.world.types().contains(&"guild.member_city_suspended.v1".to_owned()));
    assert_eq!(hall.ann(hall.suspend(cat)), DONE);
    assert_eq!(hall.city(ReinstateCitizen { citizen: cat }), DONE);
    assert!(hall.state().active_member(cat).is_none(), "the guild's own suspension stays");
    assert_eq!(hall.ann(hall.reinstate(cat)), DONE);
    assert!(hall.state().active_member(cat).is_some());
    assert_eq!(hall.city(DeprovisionCitizen { citizen: cat, reason: None }), DONE);
    assert!(hall.state().member(MemberId::Citizen(cat)).is_none());
    match hall.world.state_of(Stream::Citizen(cat)) {
        Some(State::Citizen(citizen)) => assert!(citizen.guilds().is_empty()),
        other => panic!("{other:?}"),
    }
    hall.world.check_replay();
}

fn ranks(list: &[(&str, &[Class])]) -> Vec<Rank> {
    list.iter().map(|(name, scopes)| Rank { name: slug(name), scopes: scopes.to_vec() }).collect()
}

#[test]
fn a_list_of_ranks_says_everything_once() {
    let mut hall = hall();
    let long: Vec<_> = (0..65).map(|n| Rank { name: slug(&format!("rank-{n}")), scopes: Vec::new() }).collect();
    let twice = ranks(&[("founder", &Class::ALL), ("founder", &[])]);
    let scopes = ranks(&[("founder", &[Class::Work, Class::Work])]);
    for bad in [Vec::new(), long, twice, scopes] {
        assert_eq!(hall.ann(DefineRanks { guild: hall.guild.into(), ranks: bad }), Err(Code::RanksInvalid));
    }
    assert_eq!(hall.ann(DefineRanks { guild: hall.guild.into(), ranks: default_ranks() }), ALREADY);
}

#[test]
fn a_rank_in_use_by_members_or_by_the_governance_cannot_be_removed() {
    let mut hall = hall_under(|hall| except(only(hall.ann), Class::Work, consensus(&["founder", "gate"], 1)));
    let cat = hall.join("builder");
    let define = |ranks: Vec<Rank>| DefineRanks { guild: hall.guild.into(), ranks };
    let no_builder = define(ranks(&[("founder", &Class::ALL), ("gate", &[])]));
    let no_gate = define(ranks(&[("founder", &Class::ALL), ("builder", &[])]));
    let fine = define(ranks(&[("founder", &Class::ALL), ("builder", &[Class::Work]), ("gate", &[])]));
    assert_eq!(hall.ann(no_builder), Err(Code::RankInUse));
    assert_eq!(hall.ann(no_gate), Err(Code::RankInUse));
    assert_eq!(hall.ann(fine), DONE);
    assert_eq!(hall.ann(hall.rank(cat, "member")), Err(Code::UnknownRank));
}

#[test]
fn ranks_are_edited_by_the_same_rules_as_memberships() {
    let mut hall = hall_under(|_| document(rules_for_everything()));
    let cat = hall.join_with("coordinator", &[Class::Charter, Class::Membership, Class::Finance, Class::Work]);
    let service = hall.world.citizen(CitizenKind::Service);
    assert_eq!(hall.ann(join(hall.guild, service, "operator", None)), DONE);
    let guild = hall.guild;
    let with = |edit: &dyn Fn(&mut Vec<Rank>)| {
        let mut ranks = default_ranks();
        edit(&mut ranks);
        DefineRanks { guild: guild.into(), ranks }
    };
    let above = with(&|ranks| ranks[0].scopes = vec![Class::Governance]);
    let own = with(&|ranks| ranks[1].scopes = Vec::new());
    let grants = with(&|ranks| ranks[3].scopes = vec![Class::Lifecycle]);
    let below = with(&|ranks| ranks[3].scopes = vec![Class::Finance]);
    assert_eq!(hall.world.send(cat, above), Err(Code::RankTooHigh));
    assert_eq!(hall.world.send(cat, own), Err(Code::RankTooHigh));
    assert_eq!(hall.world.send(cat, grants), Err(Code::ScopeNotHeld));
    assert_eq!(hall.world.send(cat, below), DONE);
    let founders = with(&|ranks| ranks[0].scopes = vec![Class::Governance, Class::Charter]);
    assert_eq!(hall.ann(founders), Err(Code::OwnMembership));
    let operators_first = with(&|ranks| ranks.swap(0, 4));
    assert_eq!(hall.ann(operators_first), Err(Code::FounderKind));
}
