//! Consensus: proposals, votes, and what takes effect when.

use super::hall::*;
use crate::citizen::command::SuspendCitizen;
use crate::guild::Status;
use crate::guild::command::*;
use crate::guild::governance::{Class, Governance, Limit};
use crate::ids::{Stream, TreasuryId};
use crate::party::CitizenKind;
use crate::rejection::Code;
use crate::testing::{World, currency, join, money, text};
use crate::treasury::command::FreezeTreasury;
use crate::turn::State;

fn usd(hall: &Hall) -> (i128, i128) {
    match hall.world.state_of(Stream::Treasury(hall.treasury())) {
        Some(State::Treasury(treasury)) => {
            let dollars = currency("USD");
            let balance = treasury.balances().into_iter().find(|(code, _)| *code == dollars);
            let balance = balance.map_or(0, |(_, amount)| amount.minor());
            (balance, balance - treasury.available(&dollars))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_governed_command_waits_for_votes_and_takes_effect_with_the_deciding_one() {
    let mut hall = both_agree();
    let proposal = World::proposal(hall.world.send(hall.ann, hall.rename()));
    assert_eq!(hall.world.types(), ["guild.proposal_opened.v1", "guild.proposal_voted.v1"]);
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    let types = ["guild.proposal_voted.v1", "guild.decided.v1", "guild.renamed.v1", "guild.proposal_closed.v1"];
    assert_eq!(hall.world.types(), types);
    assert_eq!(hall.ending(), "passed");
    assert_eq!(hall.ben(hall.ratify(proposal)), Err(Code::ProposalNotOpen));
    hall.world.check_replay();
}

#[test]
fn proposing_counts_as_a_vote_only_for_a_ratifier() {
    let mut hall = both_agree();
    let cat = hall.world.human();
    let proposal = World::proposal(hall.ann(join(hall.guild, cat, "coordinator", Some(vec![Class::Charter]))));
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    let proposal = World::proposal(hall.world.send(cat, hall.rename()));
    assert_eq!(hall.world.types(), ["guild.proposal_opened.v1"]);
    assert_eq!(hall.world.send(cat, hall.ratify(proposal)), Err(Code::NotARatifier));
    assert_eq!(hall.ann(hall.ratify(proposal)), DONE);
    assert_eq!(hall.ann(hall.ratify(proposal)), ALREADY);
    assert_eq!(hall.open(), 1);
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert_eq!(hall.open(), 0);
}

#[test]
fn a_proposal_that_its_proposer_decides_takes_effect_at_once() {
    let mut hall = hall_under(|_| document(consensus(&["founder"], 1)));
    let renamed = hall.ann(hall.rename());
    World::proposal(renamed);
    assert!(hall.world.types().contains(&"guild.renamed.v1".to_owned()));
    assert_eq!(hall.open(), 0);
}

#[test]
fn a_vote_can_be_changed_until_it_decides_and_rejections_close_what_cannot_pass() {
    let mut hall = both_agree();
    let cat = hall.world.human();
    let third = World::proposal(hall.ann(join(hall.guild, cat, "founder", None)));
    assert_eq!(hall.ben(hall.ratify(third)), DONE);
    let proposal = World::proposal(hall.ann(hall.rename()));
    assert_eq!(hall.ann(hall.reject(proposal)), DONE);
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert_eq!(hall.ben(hall.reject(proposal)), DONE);
    assert_eq!(hall.ending(), "rejected");
    assert_eq!(hall.open(), 0);
}

#[test]
fn an_effect_refused_keeps_the_vote_and_gives_the_money_back() {
    let mut hall = both_agree();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let proposal = World::proposal(hall.ann(hall.pay(1, "60.00", None)));
    assert_eq!(usd(&hall), (10_000, 6_000));
    let freeze = FreezeTreasury { treasury: hall.treasury(), reason: text("odd"), as_city: true };
    assert_eq!(hall.city(freeze), DONE);
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert_eq!(hall.ending(), "failed(treasury_frozen)");
    let types = ["guild.proposal_voted.v1", "treasury.hold_released.v1", "guild.proposal_closed.v1"];
    assert_eq!(hall.world.types(), types);
    assert_eq!(usd(&hall), (10_000, 0));
    hall.world.check_replay();
}

#[test]
fn proposing_a_spend_sets_the_money_aside_and_the_deciding_vote_pays_it() {
    let mut hall = both_agree();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let first = World::proposal(hall.ann(hall.pay(1, "60.00", None)));
    assert_eq!(hall.ann(hall.pay(2, "60.00", None)), Err(Code::InsufficientFunds));
    assert_eq!(hall.ben(hall.ratify(first)), DONE);
    assert_eq!(usd(&hall), (4_000, 0));
    let second = World::proposal(hall.ann(hall.pay(3, "40.00", None)));
    assert_eq!(usd(&hall), (4_000, 4_000));
    assert_eq!(hall.ben(hall.reject(second)), DONE);
    assert_eq!(usd(&hall), (4_000, 0));
    hall.world.check_replay();
}

#[test]
fn open_proposals_reserve_no_more_than_the_guild_allows() {
    let mut hall = hall_under(|_| Governance {
        reservation_limits: vec![Limit { currency: currency("USD"), amount: money("50") }],
        ..document(consensus(&["founder"], 2))
    });
    hall.world.fund(hall.treasury(), "USD", "100.00");
    World::proposal(hall.ann(hall.pay(1, "30.00", None)));
    assert_eq!(hall.ann(hall.pay(2, "20.01", None)), Err(Code::ReservationLimit));
    World::proposal(hall.ann(hall.pay(3, "20.00", None)));
}

#[test]
fn what_would_be_refused_now_is_not_proposed() {
    let mut hall = both_agree();
    assert_eq!(hall.ann(hall.reinstate(hall.ben)), Err(Code::MemberNotSuspended));
    assert_eq!(hall.ann(hall.suspend(hall.ben)), Err(Code::TooFewRatifiers));
    assert_eq!(hall.ann(hall.set(document(consensus(&["founder"], 3)))), Err(Code::TooFewRatifiers));
    assert_eq!(hall.open(), 0);
}

#[test]
fn only_the_proposer_withdraws_and_only_time_expires() {
    let mut hall = both_agree();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let proposal = World::proposal(hall.ann(hall.pay(1, "60.00", None)));
    let withdraw = WithdrawProposal { guild: hall.guild.into(), proposal };
    assert_eq!(hall.ben(withdraw.clone()), Err(Code::NotTheProposer));
    assert_eq!(hall.world.send_system(hall.expire(proposal)), Err(Code::ProposalNotExpired));
    assert_eq!(hall.ann(withdraw.clone()), DONE);
    assert_eq!(hall.ending(), "withdrawn");
    assert_eq!(usd(&hall), (10_000, 0));
    assert_eq!(hall.ann(withdraw), Err(Code::ProposalNotOpen));
    let proposal = World::proposal(hall.ann(hall.pay(2, "60.00", None)));
    hall.world.pass_days(7);
    let end = hall.world.now;
    hall.world.now = crate::Time::from_micros(end.micros() - 1);
    assert_eq!(hall.world.send_system(hall.expire(proposal)), Err(Code::ProposalNotExpired));
    hall.world.now = end;
    assert_eq!(hall.ben(hall.ratify(proposal)), Err(Code::ProposalExpired));
    assert_eq!(hall.ben(hall.reject(proposal)), Err(Code::ProposalExpired));
    assert_eq!(hall.ann(WithdrawProposal { guild: hall.guild.into(), proposal }), Err(Code::ProposalExpired));
    assert_eq!(usd(&hall), (10_000, 6_000), "held money comes back with the event");
    assert_eq!(hall.world.send_system(hall.expire(proposal)), DONE);
    assert_eq!(hall.ending(), "expired");
    assert_eq!(usd(&hall), (10_000, 0));
    assert_eq!(hall.world.send_system(hall.expire(proposal)), Err(Code::ProposalNotOpen));
    hall.world.check_replay();
}

#[test]
fn only_what_votes_decide_about_can_be_proposed() {
    let mut hall = hall_under(|hall| except(consensus(&["founder"], 2), Class::Charter, only(hall.ann)));
    let propose = |command: crate::Command| Propose { guild: hall.guild.into(), command: Box::new(command) };
    let (leave, rename) = (propose(hall.leave().into()), propose(hall.rename().into()));
    let nested = propose(propose(hall.sleep().into()).into());
    let sleep = propose(hall.sleep().into());
    let freeze = FreezeTreasury { treasury: hall.treasury(), reason: text("odd"), as_city: true };
    let freeze = propose(freeze.into());
    let other = hall.world.guild(hall.ann, "smiths");
    let elsewhere = Propose { guild: hall.guild.into(), command: Box::new(MarkDormant { guild: other.into() }.into()) };
    let theirs = withdraw(TreasuryId::of_guild(other), 1, "1", None);
    let theirs = Propose { guild: hall.guild.into(), command: Box::new(theirs.into()) };
    let mine = withdraw(TreasuryId::of_citizen(hall.ann), 1, "1", None);
    let mine = Propose { guild: hall.guild.into(), command: Box::new(mine.into()) };
    assert_eq!(hall.ann(leave), Err(Code::NotGoverned));
    assert_eq!(hall.ann(nested), Err(Code::NotGoverned));
    assert_eq!(hall.ann(rename), Err(Code::NotUnderConsensus));
    assert_eq!(hall.ann(elsewhere), Err(Code::OtherGuild));
    assert_eq!(hall.ann(theirs), Err(Code::OtherGuild));
    assert_eq!(hall.ann(mine), Err(Code::OtherGuild));
    hall.world.set_tier(hall.ann, crate::party::Tier::Principal);
    assert_eq!(hall.ann(freeze), Err(Code::NotUnderConsensus));
    let proposal = World::proposal(hall.ann(sleep));
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert_eq!(hall.status(), Status::Dormant);
}

#[test]
fn changing_the_governance_resting_and_ending_void_what_else_is_open() {
    let heir_of = |hall: &mut Hall| hall.world.human();
    for what in 0..3 {
        let mut hall = both_agree();
        let heir = heir_of(&mut hall);
        hall.world.fund(hall.treasury(), "USD", "100.00");
        World::proposal(hall.ann(hall.pay(1, "60.00", None)));
        World::proposal(hall.ann(hall.rename()));
        let ending: crate::Command = match what {
            0 => hall.set(document(consensus(&["founder", "gate"], 2))).into(),
            1 => hall.sleep().into(),
            _ => hall.dissolve(heir).into(),
        };
        let proposal = World::proposal(hall.ann(ending));
        assert_eq!(hall.open(), 3);
        assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
        assert_eq!(hall.open(), 0);
        assert_eq!(hall.ending(), "voided");
        assert_eq!(usd(&hall), (10_000, 0));
        hall.world.check_replay();
    }
}

#[test]
fn a_vote_goes_with_its_ratifier_and_does_not_come_back() {
    let mut hall = hall();
    let cat = hall.join("founder");
    assert_eq!(hall.ann(hall.set(document(consensus(&["founder"], 2)))), DONE);
    let proposal = World::proposal(hall.world.send(cat, hall.rename()));
    assert_eq!(hall.city(SuspendCitizen { citizen: cat, reason: None }), DONE);
    assert_eq!(hall.state().proposal(proposal).unwrap().votes.len(), 0);
    let back = crate::citizen::command::ReinstateCitizen { citizen: cat };
    assert_eq!(hall.city(back), DONE);
    assert_eq!(hall.ann(hall.ratify(proposal)), DONE);
    assert_eq!(hall.open(), 1, "one vote of two");
    assert_eq!(hall.world.send(cat, hall.ratify(proposal)), DONE);
    assert_eq!(hall.open(), 0);
    hall.world.check_replay();
}

#[test]
fn a_city_act_voids_what_can_no_longer_be_decided_and_gives_the_money_back() {
    let mut hall = both_agree();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let proposal = World::proposal(hall.ann(hall.pay(1, "60.00", None)));
    assert_eq!(hall.city(SuspendCitizen { citizen: hall.ben, reason: None }), DONE);
    assert_eq!(hall.ending(), "voided");
    assert_eq!(usd(&hall), (10_000, 0));
    assert_eq!(hall.ann(hall.ratify(proposal)), Err(Code::ProposalNotOpen));
    hall.world.check_replay();
}

#[test]
fn a_member_who_goes_can_put_a_proposal_out_of_reach() {
    let mut hall = hall();
    let cat = hall.join("founder");
    assert_eq!(hall.ann(hall.set(document(consensus(&["founder"], 2)))), DONE);
    let proposal = World::proposal(hall.ann(hall.rename()));
    assert_eq!(hall.ben(hall.reject(proposal)), DONE);
    assert_eq!(hall.open(), 1);
    assert_eq!(hall.world.send(cat, hall.leave()), DONE);
    assert_eq!(hall.ending(), "voided");
    assert_eq!(hall.open(), 0);
}

#[test]
fn a_proposal_survives_the_removal_of_those_who_passed_it() {
    let mut hall = hall();
    let [cat, dan] = ["founder", "founder"].map(|rank| hall.join(rank));
    assert_eq!(hall.ann(hall.set(document(consensus(&["founder"], 2)))), DONE);
    let proposal = World::proposal(hall.ann(hall.remove(hall.ben)));
    for against in [cat, dan] {
        assert_eq!(hall.world.send(against, hall.reject(proposal)), DONE);
    }
    // Ben himself decides; without his vote and with two against, it would be out of reach.
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert_eq!(hall.ending(), "passed");
    assert!(hall.state().active_member(hall.ben).is_none());
    hall.world.check_replay();
}

#[test]
fn squads_and_services_never_ratify() {
    let mut hall = hall();
    let service = hall.world.citizen(CitizenKind::Service);
    assert_eq!(hall.ann(join(hall.guild, service, "gate", Some(Class::ALL.to_vec()))), DONE);
    let cat = hall.join("gate");
    let gates = except(only(hall.ann), Class::Charter, consensus(&["gate"], 1));
    assert_eq!(hall.ann(hall.set(gates)), DONE);
    let proposal = World::proposal(hall.ann(hall.rename()));
    assert_eq!(hall.world.send(service, hall.ratify(proposal)), Err(Code::NotARatifier));
    assert_eq!(hall.ann(hall.ratify(proposal)), Err(Code::NotARatifier));
    assert_eq!(hall.ann(hall.remove(cat)), Err(Code::TooFewRatifiers), "the service does not count");
    assert_eq!(hall.world.send(cat, hall.ratify(proposal)), DONE);
}

#[test]
fn a_guild_keeps_a_hundred_proposals_open_at_most() {
    let mut hall = both_agree();
    for _ in 0..100 {
        World::proposal(hall.ann(hall.rename()));
    }
    assert_eq!(hall.ann(hall.rename()), Err(Code::TooManyProposals));
}

#[test]
fn a_hold_under_consensus_stands_on_its_own_once_it_passed() {
    let mut hall = both_agree();
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let expires_at = hall.world.now.plus_days(30);
    let hold = super::scenarios::hold(hall.treasury(), "60.00", expires_at);
    let proposal = World::proposal(hall.ann(hold));
    assert_eq!(hall.ben(hall.ratify(proposal)), DONE);
    assert!(hall.world.types().contains(&"treasury.hold_confirmed.v1".to_owned()));
    assert_eq!(usd(&hall), (10_000, 6_000));
    hall.world.check_replay();
}

#[test]
fn votes_work_where_a_resting_guild_needs_them() {
    let mut hall = both_agree();
    let sleep = World::proposal(hall.ann(hall.sleep()));
    assert_eq!(hall.ben(hall.ratify(sleep)), DONE);
    assert_eq!(hall.ann(hall.rename()), Err(Code::GuildDormant));
    let propose = Propose { guild: hall.guild.into(), command: Box::new(hall.rename().into()) };
    assert_eq!(hall.ann(propose), Err(Code::GuildDormant));
    let wake = World::proposal(hall.ann(hall.wake()));
    assert_eq!(hall.ben(hall.reject(wake)), DONE);
    let wake = World::proposal(hall.ann(hall.wake()));
    assert_eq!(hall.ben(hall.ratify(wake)), DONE);
    assert_eq!(hall.status(), Status::Active);
}
