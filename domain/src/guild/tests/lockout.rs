//! What no command may leave behind.

use super::hall::*;
use crate::citizen::command::SuspendCitizen;
use crate::guild::command::FoundGuild;
use crate::guild::event::{GuildKind, Rank};
use crate::guild::governance::*;
use crate::rejection::Code;
use crate::testing::{World, money, slug, text};

#[test]
fn the_last_active_founder_neither_leaves_nor_is_suspended_nor_demoted() {
    let mut hall = hall_under(|hall| document(only(hall.ben)));
    let (ann, ben) = (hall.ann, hall.ben);
    assert_eq!(hall.ben(hall.suspend(ann)), DONE);
    assert_eq!(hall.ben(hall.leave()), Err(Code::LastFounder));
    assert_eq!(hall.ben(hall.reinstate(ann)), DONE);
    assert_eq!(hall.ann(hall.leave()), DONE);
    assert_eq!(hall.ben(hall.leave()), Err(Code::LastFounder));
    assert_eq!(hall.state().active_founders(), 1);
    assert!(hall.state().active_member(ben).is_some());
}

#[test]
fn the_decider_of_governance_cannot_go_before_it_is_changed() {
    let mut hall = hall();
    assert_eq!(hall.ann(hall.leave()), Err(Code::GovernanceLockedOut));
    assert_eq!(hall.ann(hall.set(document(only(hall.ben)))), DONE);
    assert_eq!(hall.ann(hall.leave()), DONE);
}

#[test]
fn ratifiers_stay_as_many_as_are_needed() {
    let mut hall = hall();
    let gates = [hall.join("gate"), hall.join("gate"), hall.join("gate")];
    let two_gates = except(only(hall.ann), Class::Work, consensus(&["gate"], 2));
    assert_eq!(hall.ann(hall.set(two_gates)), DONE);
    assert_eq!(hall.world.send(gates[0], hall.leave()), DONE);
    assert_eq!(hall.world.send(gates[1], hall.leave()), Err(Code::TooFewRatifiers));
    for command in [
        crate::Command::from(hall.suspend(gates[1])),
        hall.remove(gates[1]).into(),
        hall.rank(gates[1], "builder").into(),
    ] {
        assert_eq!(hall.ann(command), Err(Code::TooFewRatifiers));
    }
    // What a city act left short is no reason to refuse everything else.
    assert_eq!(hall.city(SuspendCitizen { citizen: gates[1], reason: None }), DONE);
    assert_eq!(hall.ann(hall.rename()), DONE);
    hall.join("builder");
    let cat = hall.join("gate");
    assert_eq!(hall.ann(hall.suspend(cat)), Err(Code::TooFewRatifiers));
}

#[test]
fn a_document_that_nobody_could_change_again_is_refused() {
    let mut hall = hall();
    let cat = hall.join_with("member", &[]);
    let governance = |tier| except(only(hall.ann), Class::Governance, tier);
    let mut trusted = rule("trusted", Class::Governance, &[], Vec::new());
    trusted.required_reputation = Some(money("1"));
    let mut for_gates = rule("gates", Class::Governance, &[], Vec::new());
    for_gates.ranks = vec![slug("gate")];
    let work_only = delegation("work", Class::Work, &[hall.ann], Vec::new());
    for locked in [
        governance(only(cat)),
        governance(Tier::Delegated { delegations: vec![delegation("all", Class::Governance, &[cat], Vec::new())] }),
        document(Tier::Delegated { delegations: vec![work_only] }),
        governance(Tier::Automated { rules: vec![trusted, for_gates] }),
    ] {
        let set = hall.set(locked);
        assert_eq!(hall.ann(set.clone()), Err(Code::GovernanceLockedOut), "{set:?}");
    }
}

#[test]
fn losing_the_last_scope_for_governance_is_a_lock_out_too() {
    let mut hall = hall();
    let only_governance = Rank { name: slug("founder"), scopes: vec![] };
    let found = FoundGuild {
        slug: slug("smiths"),
        kind: GuildKind::Project,
        name: text("S"),
        ranks: Some(vec![only_governance]),
        governance: None,
    };
    assert_eq!(hall.ben(found), Err(Code::GovernanceLockedOut));
    let delegated =
        Tier::Delegated { delegations: vec![delegation("all", Class::Governance, &[hall.ben], Vec::new())] };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Governance, delegated))), DONE);
    assert_eq!(hall.ann(hall.scopes(hall.ben, Some(&[Class::Work]))), Err(Code::GovernanceLockedOut));
}

#[test]
fn a_guild_is_not_founded_in_a_state_it_could_not_be_brought_into() {
    let mut world = World::new();
    let ann = world.human();
    let found = FoundGuild {
        slug: slug("smiths"),
        kind: GuildKind::Project,
        name: text("S"),
        ranks: None,
        governance: Some(Box::new(document(consensus(&["founder"], 2)))),
    };
    assert_eq!(world.send(ann, found.clone()), Err(Code::TooFewRatifiers));
    let by_other = FoundGuild { governance: Some(Box::new(document(only(world.principal)))), ..found };
    assert_eq!(world.send(ann, by_other), Err(Code::MemberNotActive));
}

#[test]
fn whoever_rests_can_be_woken() {
    let mut hall = hall();
    let cat = hall.join_with("member", &[]);
    let nobody = except(only(hall.ann), Class::Lifecycle, only(cat));
    assert_eq!(hall.ann(hall.set(nobody)), DONE);
    assert_eq!(hall.ann(hall.sleep()), Err(Code::NotTheDecider));
    let dan = hall.join_with("coordinator", &[Class::Lifecycle]);
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Lifecycle, only(dan)))), DONE);
    assert_eq!(hall.world.send(dan, hall.sleep()), DONE);
    assert_eq!(hall.world.send(dan, hall.leave()), Err(Code::GovernanceLockedOut));
    assert_eq!(hall.world.send(dan, hall.wake()), DONE);
    assert_eq!(hall.world.send(dan, hall.leave()), DONE);
}
