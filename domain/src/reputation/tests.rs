//! Reputation by its formulas and its rules.
#![allow(clippy::unwrap_used, clippy::float_arithmetic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::command::*;
use super::evidence::*;
use super::figures;
use super::rating::{Games, Rating, TAU, update};
use super::score::{lambda, nine};
use super::state::Reputation;
use crate::citizen::command::AssignRole;
use crate::ids::{CitizenId, EvidenceId, GuildId, ReputationId, Stream};
use crate::party::Tier;
use crate::rejection::Code;
use crate::testing::{World, reference, slug};
use crate::text::Digest;
use crate::time::Time;
use crate::turn::{Outcome, State};

const DONE: Result<Outcome, Code> = Ok(Outcome::Done);

fn piece(kind: &str, weight: i64, scope: u128, at: i64) -> Evidence {
    Evidence {
        id: EvidenceId::from_bits(1),
        kind: serde_json::from_value(kind.into()).unwrap(),
        weight: Weight(weight),
        scope: GuildId::from_bits(scope),
        attested_by: CitizenId::from_bits(9),
        effective_at: Time::from_micros(at),
        recorded_at: Time::from_micros(at),
        disputed: false,
        reversed_at: None,
    }
}

/// Within one unit of the ninth place; of the volatility, within the tolerance of how it is found.
fn near(ours: &str, golden: &str, tolerance: f64) -> bool {
    (ours.parse::<f64>().unwrap() - golden.parse::<f64>().unwrap()).abs() <= tolerance
}

#[test]
fn the_golden_table_is_reproduced() {
    let mut evidence: BTreeMap<&str, Vec<Evidence>> = BTreeMap::new();
    let scope = |name: &str| u128::from(name.as_bytes()[0]);
    let mut rows = 0;
    for line in include_str!("golden.txt").lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        match parts.as_slice() {
            ["evidence", name, kind, weight, place, at] => {
                let piece = piece(kind, weight.parse().unwrap(), scope(place), at.parse().unwrap());
                evidence.entry(name).or_default().push(piece);
            }
            ["row", name, as_of, figure, place, count, score, mu, phi, sigma] => {
                let as_of = Time::from_micros(as_of.parse().unwrap());
                let figure: Figure = serde_json::from_value((*figure).into()).unwrap();
                let place = (*place != "-").then(|| GuildId::from_bits(scope(place)));
                let all = figures(&evidence[name], as_of);
                let row = &all[&(figure, place)];
                assert_eq!(row.evidence.to_string(), **count, "{line}");
                assert!(near(&row.score, score, 1e-9), "{line}: {row:?}");
                // The paper's algorithm stops within 1e-6 of the logarithm of the volatility.
                let fits = near(&row.mu, mu, 1e-6) && near(&row.phi, phi, 1e-6) && near(&row.sigma, sigma, 1e-6);
                assert!(fits, "{line}: {row:?}");
                rows += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(rows > 40, "{rows}");
}

#[test]
fn half_is_left_after_thirty_days_and_a_quarter_after_sixty() {
    let day = |days: i64| Time::from_micros(1_767_225_600_000_000 + days * 86_400_000_000);
    let one = [piece("task_completed", 1000, 1, day(0).micros())];
    let score = |days| figures(&one, day(days))[&(Figure::Reliability, None)].score.clone();
    assert_eq!((score(0), score(30), score(60)), ("1.000000000".into(), "0.500000000".into(), "0.250000000".into()));
    assert_eq!(format!("{:.4}", lambda()), "0.0231");
}

/// Glickman, "Example of the Glicko-2 system": a player of 1500 (deviation 200) against three others.
#[test]
fn the_worked_example_of_the_paper_is_reproduced() {
    let scale = 173.7178;
    let game = |rating: f64, deviation: f64, result: f64| Games {
        number: 1.0,
        opponent_mu: (rating - 1500.0) / scale,
        opponent_phi: deviation / scale,
        result,
    };
    let before = Rating { mu: 0.0, phi: 200.0 / scale, sigma: 0.06 };
    let games = [game(1400.0, 30.0, 1.0), game(1550.0, 100.0, 0.0), game(1700.0, 300.0, 0.0)];
    let after = update(before, &games, TAU);
    assert_eq!(format!("{:.4} {:.4}", after.mu, after.phi), "-0.2069 0.8722");
    // 0.059996: the paper prints five digits and rounds none.
    assert!((after.sigma - 0.059_996).abs() < 1e-6, "{}", after.sigma);
    let (rating, deviation) = (after.mu.mul_add(scale, 1500.0), after.phi * scale);
    assert!((rating - 1464.06).abs() < 0.02 && (deviation - 151.52).abs() < 0.01, "{rating} {deviation}");
}

#[test]
fn numbers_are_written_in_one_way() {
    assert_eq!([nine(-0.0), nine(0.5), nine(-1e-12)], ["0.000000000", "0.500000000", "0.000000000"]);
    // Exactly between two: to the even one.
    assert_eq!(nine(0.000_000_000_5), "0.000000001");
    assert_eq!(nine(2.0_f64.powi(-10)), "0.000976562");
}

proptest! {
    #[test]
    fn the_order_of_evidence_does_not_matter(
        pieces in proptest::collection::vec((0_usize..9, 1_i64..2000, 0_u128..3, 0_i64..5), 1..40),
        turns in 0_usize..40,
    ) {
        let kinds = ["task_completed", "task_failed", "task_abandoned", "verification_passed", "verification_failed",
            "audit_clean", "audit_violation", "peer_endorsed", "peer_flagged"];
        let day = 86_400_000_000_i64;
        let make = |(kind, size, scope, at): &(usize, i64, u128, i64)| {
            let sign = if kinds[*kind].ends_with("ed") && !kinds[*kind].ends_with("failed") && !kinds[*kind].ends_with("flagged") { 1 } else { -1 };
            piece(kinds[*kind], sign * size, *scope, 20_000 * day + at * day / 2)
        };
        let evidence: Vec<Evidence> = pieces.iter().map(make).collect();
        let mut turned = evidence.clone();
        turned.rotate_left(turns % evidence.len());
        turned.reverse();
        let as_of = Time::from_micros(20_010 * day);
        prop_assert_eq!(figures(&evidence, as_of), figures(&turned, as_of));
    }
}

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
    assert_eq!(hall.world.send(ann, Flag { to: ben, scope: hall.guild.into(), note: None }), DONE, "another opinion");
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
    let mut hall = Hall::new();
    let (ann, ben) = (hall.ann, hall.ben);
    hall.attest(hall.gate, ann).unwrap();
    hall.attest(hall.gate, ben).unwrap();
    hall.endorse(ann, ben).unwrap();
    hall.world.pass_days(91);
    hall.endorse(ben, ann).unwrap();
    assert_eq!(hall.weights(ann).pop().unwrap(), "0.500", "that was long ago");
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
