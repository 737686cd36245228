//! Reputation by its rules; by its formulas below.
#![allow(clippy::unwrap_used, clippy::float_arithmetic)]

mod formulas;

use std::collections::BTreeSet;

use super::command::*;
use super::event::{Attested, ReputationEvent};
use super::evidence::*;
use super::figures;
use super::opinions::MOST_OPINIONS;
use super::state::Reputation;
use crate::citizen::command::AssignRole;
use crate::event::Event;
use crate::guild::command::{FinalizeDissolution, InitiateDissolution, MarkDormant, WakeGuild};
use crate::ids::{CitizenId, EvidenceId, GuildId, ReputationId, Stream, TreasuryId};
use crate::money::{Account, Share};
use crate::party::Tier;
use crate::rejection::Code;
use crate::testing::{World, join, reference, slug};
use crate::text::Digest;
use crate::time::Time;
use crate::turn::{Outcome, State};

const DONE: Result<Outcome, Code> = Ok(Outcome::Done);

/// A guild with a gate, two members who answer for themselves, and a holder.
struct Hall {
    world: World,
    guild: GuildId,
    founder: CitizenId,
    gate: CitizenId,
    other_gate: CitizenId,
    ann: CitizenId,
    ben: CitizenId,
    works: u64,
}

impl Hall {
    fn new() -> Self {
        let mut world = World::new();
        let founder = world.human();
        let guild = world.guild(founder, "smiths");
        let mut gate = || {
            let gate = world.member(founder, guild, "member");
            world.send(world.principal, AssignRole { citizen: gate, role: slug("gate") }).unwrap();
            world.set_tier(gate, Tier::Gate);
            gate
        };
        let (gate, other_gate) = (gate(), gate());
        let (ann, ben) = (world.member(founder, guild, "member"), world.member(founder, guild, "member"));
        Self { world, guild, founder, gate, other_gate, ann, ben, works: 0 }
    }

    fn outcome(&mut self, holder: CitizenId, outcome: EvidenceType) -> AttestOutcome {
        self.works += 1;
        AttestOutcome {
            holder,
            outcome,
            scope: self.guild.into(),
            work: reference(self.works),
            stake: Stake::T3,
            proof: Digest([4; 32]),
            effective_at: None,
        }
    }

    fn attest(&mut self, by: CitizenId, holder: CitizenId) -> Result<Outcome, Code> {
        let outcome = self.outcome(holder, EvidenceType::TaskCompleted);
        self.world.send(by, outcome)
    }

    fn endorse(&mut self, from: CitizenId, to: CitizenId) -> Result<Outcome, Code> {
        self.world.send(from, Endorse { to, scope: self.guild.into(), note: None })
    }

    fn reputation(&self, citizen: CitizenId) -> Reputation {
        match self.world.state_of(Stream::Reputation(ReputationId::of(citizen))) {
            Some(State::Reputation(reputation)) => reputation.clone(),
            _ => Reputation::default(),
        }
    }

    fn weights(&self, citizen: CitizenId) -> Vec<String> {
        self.reputation(citizen).evidence().map(|piece| piece.weight.to_string()).collect()
    }
}

#[test]
fn a_gate_of_the_scope_attests_and_nobody_for_themselves() {
    let mut hall = Hall::new();
    let (gate, ann) = (hall.gate, hall.ann);
    assert_eq!(hall.attest(ann, hall.ben), Err(Code::NotPermitted), "no gate");
    assert_eq!(hall.attest(gate, gate), Err(Code::SameHousehold));
    let agent = hall.world.agent_of(gate);
    assert_eq!(hall.attest(gate, agent), Err(Code::SameHousehold), "nor for those they answer for");
    let stranger = hall.world.human();
    hall.world.set_tier(stranger, Tier::Gate);
    assert_eq!(hall.attest(stranger, ann), Err(Code::NotAMember), "of another scope");
    let outcome = hall.outcome(ann, EvidenceType::TaskCompleted);
    assert_eq!(hall.world.send(gate, outcome.clone()), DONE);
    assert_eq!(hall.world.send(hall.other_gate, outcome.clone()), Err(Code::OutcomeAttested), "once for ever");
    assert_eq!(hall.world.send(gate, AttestOutcome { outcome: EvidenceType::TaskFailed, ..outcome.clone() }), DONE);
    let opinion = AttestOutcome { outcome: EvidenceType::PeerEndorsed, ..outcome.clone() };
    assert_eq!(hall.world.send(gate, opinion), Err(Code::NotAnOutcome));
    let tomorrow = AttestOutcome {
        effective_at: Some(hall.world.now.plus_days(1)),
        ..hall.outcome(ann, EvidenceType::AuditClean)
    };
    assert_eq!(hall.world.send(gate, tomorrow), Err(Code::EffectiveInFuture));
    assert_eq!(hall.weights(ann), ["1.000", "-0.800"]);
    hall.world.check_replay();
}

#[test]
fn opinions_need_something_of_ones_own_and_time_between_them() {
    let mut hall = Hall::new();
    let (gate, ann, ben) = (hall.gate, hall.ann, hall.ben);
    assert_eq!(hall.endorse(ann, ben), Err(Code::NoEvidenceOfOwn));
    hall.attest(gate, ann).unwrap();
    assert_eq!(hall.endorse(ann, ann), Err(Code::SameHousehold));
    assert_eq!(hall.endorse(ann, ben), DONE);
    assert_eq!(hall.endorse(ann, ben), Err(Code::OpinionGiven));
    hall.world.pass_days(31);
    assert_eq!(hall.endorse(ann, ben), DONE);
    assert_eq!(hall.weights(ben), ["0.500", "0.500"]);
    let flag = Flag { to: ben, scope: hall.guild.into(), note: None };
    assert_eq!(hall.world.send(ann, flag.clone()), Err(Code::OpinionGiven), "of one kind or the other");
    hall.world.pass_days(30);
    assert_eq!(hall.world.send(ann, flag), DONE);
    assert_eq!(hall.endorse(ann, ben), Err(Code::OpinionGiven));
    hall.world.check_replay();
}

#[test]
fn nobody_speaks_of_more_than_a_hundred_in_a_month() {
    let mut hall = Hall::new();
    let (gate, ann) = (hall.gate, hall.ann);
    hall.attest(gate, ann).unwrap();
    let crowd: Vec<CitizenId> = (0..=MOST_OPINIONS).map(|_| hall.world.human()).collect();
    for one in &crowd[1..] {
        assert_eq!(hall.endorse(ann, *one), DONE);
    }
    assert_eq!(hall.endorse(ann, crowd[0]), Err(Code::TooManyOpinions));
    hall.world.pass_days(30);
    assert_eq!(hall.endorse(ann, crowd[0]), DONE);
    hall.world.check_replay();
}

#[test]
fn what_no_rule_asks_for_any_more_is_forgotten() {
    let mut hall = Hall::new();
    let (gate, ann, ben) = (hall.gate, hall.ann, hall.ben);
    hall.attest(gate, ann).unwrap();
    for _ in 0..40 {
        assert_eq!(hall.endorse(ann, ben), DONE);
        let stranger = hall.world.human();
        assert_eq!(hall.endorse(ann, stranger), DONE);
        hall.world.pass_days(30);
    }
    let size = |citizen| format!("{:?}", hall.reputation(citizen).opinions()).len();
    assert!(size(ann) < 1000 && size(ben) < 1000, "{} {}", size(ann), size(ben));
    hall.world.check_replay();
}

#[test]
fn a_scope_is_an_active_guild() {
    let mut hall = Hall::new();
    let (gate, ann, ben, founder) = (hall.gate, hall.ann, hall.ben, hall.founder);
    hall.attest(gate, ann).unwrap();
    let evidence = hall.reputation(ann).evidence().next().unwrap().id;
    let guild = || hall.guild.into();
    let (fallback, flag) = (TreasuryId::of_citizen(founder), Flag { to: ben, scope: guild(), note: None });
    let shares = vec![Share { to: Account::Treasury(fallback), basis_points: 10_000 }];
    let steps: [(crate::Command, Code); 3] = [
        (MarkDormant { guild: guild() }.into(), Code::GuildDormant),
        (InitiateDissolution { guild: guild(), shares, fallback }.into(), Code::GuildDissolving),
        (FinalizeDissolution { guild: guild() }.into(), Code::GuildDissolved),
    ];
    for (step, code) in steps {
        assert_eq!(hall.world.send(founder, step), DONE);
        assert_eq!(hall.attest(gate, ann), Err(code));
        assert_eq!(hall.endorse(ann, ben), Err(code));
        assert_eq!(hall.world.send(ann, flag.clone()), Err(code));
        if code == Code::GuildDormant {
            hall.world.send(founder, WakeGuild { guild: hall.guild.into() }).unwrap();
        }
    }
    // What was said there stays open to question.
    assert_eq!(hall.world.send(ann, DisputeEvidence { holder: ann, piece: evidence, reason: None }), DONE);
    let other = hall.other_gate;
    assert_eq!(hall.world.send(other, ReverseEvidence { holder: ann, piece: evidence, reason: None }), DONE);
    hall.world.check_replay();
}

#[test]
fn those_who_praise_each_other_in_a_circle_count_a_quarter() {
    for length in 2..=5 {
        let mut hall = Hall::new();
        let mut people = vec![hall.ann, hall.ben];
        while people.len() < length {
            people.push(hall.world.member(hall.founder, hall.guild, "member"));
        }
        for person in &people {
            hall.attest(hall.gate, *person).unwrap();
        }
        for (index, person) in people.iter().enumerate().take(length - 1) {
            assert_eq!(hall.endorse(*person, people[index + 1]), DONE);
        }
        assert_eq!(hall.endorse(people[length - 1], people[0]), DONE);
        let closing = hall.weights(people[0]).pop().unwrap();
        assert_eq!(closing, if length <= 4 { "0.125" } else { "0.500" }, "a circle of {length}");
    }
    for (days, closing) in [(90, "0.125"), (91, "0.500")] {
        let mut hall = Hall::new();
        let (ann, ben) = (hall.ann, hall.ben);
        hall.attest(hall.gate, ann).unwrap();
        hall.attest(hall.gate, ben).unwrap();
        hall.endorse(ann, ben).unwrap();
        hall.world.pass_days(days);
        hall.endorse(ben, ann).unwrap();
        assert_eq!(hall.weights(ann).pop().unwrap(), closing, "after {days} days");
    }
}

#[test]
fn praise_that_comes_back_in_another_guild_is_a_circle_too() {
    let mut hall = Hall::new();
    let (gate, ann, ben, founder) = (hall.gate, hall.ann, hall.ben, hall.founder);
    let other = hall.world.guild(founder, "coopers");
    for citizen in [gate, ben] {
        hall.world.send(founder, join(other, citizen, "member", None)).unwrap();
    }
    hall.attest(gate, ann).unwrap();
    hall.endorse(ann, ben).unwrap();
    hall.guild = other;
    hall.attest(gate, ben).unwrap();
    assert_eq!(hall.endorse(ben, ann), DONE);
    assert_eq!(hall.weights(ann).pop().unwrap(), "0.125");
    hall.world.check_replay();
}

#[test]
fn evidence_counts_until_another_gate_reverses_what_its_holder_disputes() {
    let mut hall = Hall::new();
    let (gate, other, ann) = (hall.gate, hall.other_gate, hall.ann);
    let failed = hall.outcome(ann, EvidenceType::TaskFailed);
    hall.world.send(gate, failed).unwrap();
    let evidence = hall.reputation(ann).evidence().next().unwrap().id;
    let reverse = || ReverseEvidence { holder: ann, piece: evidence, reason: None };
    let dispute = || DisputeEvidence { holder: ann, piece: evidence, reason: None };
    assert_eq!(hall.world.send(other, reverse()), Err(Code::NotDisputed));
    assert_eq!(hall.world.send(hall.ben, dispute()), Err(Code::NotTheHolder));
    assert_eq!(hall.world.send(ann, dispute()), DONE);
    assert_eq!(hall.world.send(ann, dispute()), Ok(Outcome::AlreadyDone));
    assert_eq!(hall.world.send(gate, reverse()), Err(Code::SameHousehold), "not whoever attested it");
    assert_eq!(hall.world.send(hall.ben, reverse()), Err(Code::NotPermitted));
    let before = hall.world.now;
    assert_eq!(figures(hall.reputation(ann).evidence(), before).len(), 4, "it counts until then");
    hall.world.pass_days(1);
    assert_eq!(hall.world.send(other, reverse()), DONE);
    assert!(figures(hall.reputation(ann).evidence(), hall.world.now).is_empty());
    assert_eq!(figures(hall.reputation(ann).evidence(), before).len(), 4, "as of then it still does");
    hall.world.check_replay();
}

#[test]
fn only_the_city_computes_and_the_same_twice_is_nothing() {
    let mut hall = Hall::new();
    let (gate, ann) = (hall.gate, hall.ann);
    let recompute = |as_of| RecomputeReputation { holder: ann, as_of };
    let now = hall.world.now;
    assert_eq!(hall.world.send_system(recompute(now)), Ok(Outcome::AlreadyDone), "of nothing comes nothing");
    hall.attest(gate, ann).unwrap();
    assert_eq!(hall.world.send(hall.world.principal, recompute(now)), Err(Code::NotPermitted));
    assert_eq!(hall.world.send_system(recompute(now.plus_days(1))), Err(Code::AsOfInFuture));
    assert_eq!(hall.world.send_system(recompute(now)), DONE);
    assert_eq!(hall.world.send_system(recompute(now)), Ok(Outcome::AlreadyDone));
    let earlier = Time::from_micros(now.micros() - 1);
    assert_eq!(hall.world.send_system(recompute(earlier)), Ok(Outcome::AlreadyDone));
    let computed = hall.reputation(ann).computed().unwrap().clone();
    let named: BTreeSet<_> = computed.rows.iter().map(|row| (row.figure, row.scope.is_some())).collect();
    let expected =
        [Figure::Reliability, Figure::Overall].into_iter().flat_map(|figure| [(figure, false), (figure, true)]);
    assert_eq!(named, expected.collect());
    hall.world.now = Time::from_micros(now.micros() + 1_000_000);
    assert_eq!(hall.world.send_system(recompute(hall.world.now)), Ok(Outcome::AlreadyDone), "a second moves nothing");
    hall.world.pass_days(1);
    assert_eq!(hall.world.send_system(recompute(hall.world.now)), DONE, "a day does");
    hall.world.check_replay();
}

#[test]
fn what_is_attested_while_figures_are_computed_is_computed_next() {
    let mut hall = Hall::new();
    let (gate, ann) = (hall.gate, hall.ann);
    let recompute = |as_of| RecomputeReputation { holder: ann, as_of };
    hall.attest(gate, ann).unwrap();
    let begun = hall.world.now;
    hall.world.now = Time::from_micros(begun.micros() + 1_000_000);
    let meanwhile = hall.outcome(ann, EvidenceType::AuditClean);
    hall.world.send(gate, meanwhile).unwrap();
    hall.world.now = Time::from_micros(begun.micros() + 2_000_000);
    assert_eq!(hall.world.send_system(recompute(begun)), DONE);
    assert!(hall.reputation(ann).computed().unwrap().outdated, "one piece is newer than that");
    assert_eq!(hall.world.send_system(recompute(hall.world.now)), DONE);
    assert!(!hall.reputation(ann).computed().unwrap().outdated);
    // In the same instant, but after it.
    hall.attest(gate, ann).unwrap();
    assert!(hall.reputation(ann).computed().unwrap().outdated);
    hall.world.check_replay();
}

/// Rows that have nothing behind them any more are named, and no others.
#[test]
fn rows_without_evidence_are_gone() {
    let mut hall = Hall::new();
    let (gate, other, ann) = (hall.gate, hall.other_gate, hall.ann);
    let clean = hall.outcome(ann, EvidenceType::AuditClean);
    hall.world.send(gate, clean).unwrap();
    hall.attest(gate, ann).unwrap();
    hall.world.send_system(RecomputeReputation { holder: ann, as_of: hall.world.now }).unwrap();
    let piece = hall.reputation(ann).evidence().next().unwrap().id;
    hall.world.send(ann, DisputeEvidence { holder: ann, piece, reason: None }).unwrap();
    hall.world.send(other, ReverseEvidence { holder: ann, piece, reason: None }).unwrap();
    hall.world.pass_days(1);
    hall.world.send_system(RecomputeReputation { holder: ann, as_of: hall.world.now }).unwrap();
    let gone = hall.world.find(|_, event| match event {
        Event::Reputation(ReputationEvent::Recomputed { gone, .. }) => Some(gone.clone()),
        _ => None,
    });
    let gone: BTreeSet<_> = gone.unwrap().into_iter().map(|row| (row.figure, row.scope)).collect();
    assert_eq!(gone, BTreeSet::from([(Figure::Compliance, None), (Figure::Compliance, Some(hall.guild))]));
    hall.world.check_replay();
}

#[test]
fn what_was_worked_out_ahead_is_what_would_be_and_counts_until_something_happens() {
    let mut hall = Hall::new();
    let (gate, ann, by) = (hall.gate, hall.ann, hall.other_gate);
    hall.attest(gate, ann).unwrap();
    hall.attest(gate, ann).unwrap();
    let (plain, now) = (hall.reputation(ann), hall.world.now);
    let first = *plain.evidence().next().unwrap();
    let attested = Attested {
        evidence: EvidenceId::from_bits(7),
        kind: EvidenceType::TaskFailed,
        weight: Weight(-400),
        scope: first.scope,
        attested_by: by,
        effective_at: now,
    };
    let reversed = ReputationEvent::EvidenceReversed { evidence: first.id, by, reason: None };
    let happenings: [&dyn Fn(&mut Reputation); 3] =
        [&|_| (), &|state| state.attest(&attested, now), &|state| state.evolve(&reversed, now)];
    let mut seen = BTreeSet::new();
    for happens in happenings {
        let (mut plain, mut ahead) = (plain.clone(), plain.clone());
        ahead.reckon_ahead(now);
        happens(&mut plain);
        happens(&mut ahead);
        for as_of in [now, Time::from_micros(now.micros() + 1)] {
            assert_eq!(ahead.rows_at(as_of), plain.rows_at(as_of));
        }
        seen.insert(format!("{:?}", ahead.rows_at(now)));
    }
    assert_eq!(seen.len(), 3, "each of these says something else");
}
