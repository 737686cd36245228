//! Figures by their formulas, and what is read from them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::evidence::*;
use super::super::questions::{Band, Claimant, Denied, denied, explained, shown};
use super::super::rating::{BOUND, Games, Rating, START_PHI, TAU, games, rating, update};
use super::super::score::{curve, lambda, nine, score, shares};
use super::super::{figures, figures_of, known};
use crate::ids::{CitizenId, EvidenceId, GuildId};
use crate::time::{DAY_MICROS, Time};

fn piece(kind: &str, weight: i64, scope: u128, at: i64) -> Evidence {
    Evidence {
        id: EvidenceId::from_bits(1),
        kind: serde_json::from_value(kind.into()).unwrap(),
        weight: Weight(weight),
        scope: GuildId::from_bits(scope),
        attested_by: CitizenId::from_bits(9),
        effective_at: Time::from_micros(at),
        recorded_at: Time::from_micros(at),
        disputed_at: None,
        reversed_at: None,
    }
}

type Names = BTreeSet<(Figure, Option<GuildId>)>;

/// Within one unit of the ninth place; of the volatility, within the tolerance of how it is found.
fn near(ours: &str, golden: &str, tolerance: f64) -> bool {
    (ours.parse::<f64>().unwrap() - golden.parse::<f64>().unwrap()).abs() <= tolerance
}

#[test]
fn the_golden_table_is_reproduced() {
    let mut evidence: BTreeMap<&str, Vec<Evidence>> = BTreeMap::new();
    let mut rows: BTreeMap<(&str, Time), Names> = BTreeMap::new();
    let scope = |name: &str| u128::from(name.as_bytes()[0]);
    for line in include_str!("../golden.txt").lines() {
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
                assert_eq!((row.figure, row.scope), (figure, place));
                assert_eq!(row.evidence.to_string(), **count, "{line}");
                assert!(near(&row.score, score, 1e-9), "{line}: {row:?}");
                // The paper's algorithm stops within 1e-6 of the logarithm of the volatility.
                let fits = near(&row.mu, mu, 1e-6) && near(&row.phi, phi, 1e-6) && near(&row.sigma, sigma, 1e-6);
                assert!(fits, "{line}: {row:?}");
                assert!(rows.entry((name, as_of)).or_default().insert((figure, place)), "{line}: twice");
            }
            other => panic!("{other:?}"),
        }
    }
    for ((name, as_of), golden) in &rows {
        let ours: BTreeSet<_> = figures(&evidence[name], *as_of).into_keys().collect();
        assert_eq!(ours, *golden, "{name} as of {as_of}: these rows and no others");
    }
    assert_eq!(rows.len(), 15, "every case at every time");
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

const START: i64 = 20_000 * DAY_MICROS;

fn days(days: i64) -> Time {
    Time::from_micros(START + days * DAY_MICROS)
}

fn endorsed(scope: u128, day: i64) -> Evidence {
    piece("peer_endorsed", 500, scope, days(day).micros())
}

#[test]
fn endorsements_alone_lift_nobody_above_the_beginning() {
    // All at once, one a month for years, and by more people every day.
    let floods: [Vec<Evidence>; 3] = [
        vec![endorsed(1, 0); 60],
        (0..60).map(|month| endorsed(1, month * 30)).collect(),
        (0..400).flat_map(|day| vec![endorsed(1, day); 1 + usize::try_from(day).unwrap() / 50]).collect(),
    ];
    for flood in floods {
        let last = flood.last().unwrap().effective_at;
        for later in [0, 30, 400] {
            let as_of = last.plus_days(later);
            assert!(rating(&flood, as_of).lower() < 0.0, "{} pieces, {later} days later", flood.len());
        }
        assert_eq!(games(&flood).iter().sum::<i64>(), 1500);
    }
    let two_scopes = [endorsed(1, 0), endorsed(1, 0), endorsed(1, 0), endorsed(1, 0), endorsed(2, 0)];
    assert_eq!(games(&two_scopes), [0, 500, 500, 500, 500], "the newest, in each scope");
    let work = [piece("task_completed", 1000, 1, days(0).micros()); 4];
    assert!(rating(&work, days(0)).lower() > 0.0, "work does");
}

#[test]
fn days_on_which_nothing_counts_are_empty_ones() {
    let buried: Vec<Evidence> = (0..6).map(|day| endorsed(1, day)).collect();
    assert_eq!(rating(&buried, days(9)), rating(&buried[3..], days(9)));
    assert_eq!(rating(&[], days(9)), Rating { mu: 0.0, phi: START_PHI, sigma: 0.06 });
    assert_eq!(Rating::START.lower().to_bits(), (-BOUND * START_PHI).to_bits());
}

#[test]
fn bands_count_games_and_not_pieces() {
    let band = |pieces: &[Evidence]| shown(pieces, days(0)).band;
    let work = |size: i64, number: usize| vec![piece("task_completed", size, 1, days(0).micros()); number];
    assert_eq!(band(&work(250, 19)), Band::New, "nineteen quarters are less than five games");
    assert_eq!(band(&work(250, 20)), Band::Proven);
    assert_eq!(band(&work(1500, 3)), Band::New);
    assert_eq!(band(&work(1500, 4)), Band::Proven, "four pieces are six games");
    assert_eq!(band(&vec![endorsed(1, 0); 100]), Band::New, "praise is no game beyond its limit");
    let mixed: Vec<_> =
        work(1500, 3).into_iter().chain(vec![piece("task_failed", -800, 1, days(0).micros()); 4]).collect();
    assert_eq!(band(&mixed), Band::Building);
}

#[test]
fn the_first_reason_that_holds_is_given() {
    let active = Claimant { is_active: true, open_claims: 0 };
    let busy = Claimant { open_claims: 2, ..active };
    let gone = Claimant { is_active: false, ..busy };
    let violation = [piece("audit_violation", -3000, 1, days(0).micros())];
    let proven = vec![piece("task_completed", 1000, 1, days(0).micros()); 5];
    let because = |known: &[Evidence], claimant, day| denied(known, claimant, 0.0, days(day));
    assert_eq!(because(&violation, gone, 0), Some(Denied::HolderNotActive));
    assert_eq!(because(&violation, busy, 7), Some(Denied::CoolingOff));
    assert_eq!(because(&violation, busy, 8), Some(Denied::BelowThreshold), "a violation makes nobody new");
    assert_eq!(because(&[], busy, 0), Some(Denied::NewcomerCap));
    assert_eq!(because(&[], Claimant { open_claims: 1, ..active }, 0), Some(Denied::NoEvidenceHere));
    assert_eq!(because(&proven[1..], busy, 0), Some(Denied::NewcomerCap), "four games");
    assert_eq!(because(&proven, busy, 0), None);
    assert_eq!(denied(&proven, active, 3.0, days(0)), Some(Denied::BelowThreshold));
}

fn mixed(pieces: &[(usize, i64, u128, i64)]) -> Vec<Evidence> {
    const KINDS: [&str; 9] = [
        "task_completed",
        "verification_passed",
        "audit_clean",
        "peer_endorsed",
        "peer_endorsed",
        "task_failed",
        "verification_failed",
        "audit_violation",
        "peer_flagged",
    ];
    let make = |(kind, size, scope, at): &(usize, i64, u128, i64)| {
        let sign = if *kind < 5 { 1 } else { -1 };
        piece(KINDS[*kind], sign * size, *scope, START + at * DAY_MICROS / 2)
    };
    known(&pieces.iter().map(make).collect::<Vec<_>>(), None, AsOf::Recorded(days(1000)))
}

#[test]
fn the_two_times_of_evidence_are_two_questions() {
    let late = Evidence { recorded_at: days(20), ..piece("task_completed", 1000, 1, START) };
    let taken_back =
        Evidence { reversed_at: Some(days(30)), ..piece("verification_passed", 1000, 1, START + 10 * DAY_MICROS) };
    let both = [late, taken_back];
    let of = |as_of| known(&both, None, as_of).into_iter().map(|piece| piece.kind).collect::<Vec<_>>();
    for (day, recorded, effective) in [
        (5, vec![], vec![late.kind]),
        (15, vec![taken_back.kind], vec![late.kind]),
        (25, vec![late.kind, taken_back.kind], vec![late.kind]),
        (35, vec![late.kind], vec![late.kind]),
    ] {
        assert_eq!(of(AsOf::Recorded(days(day))), recorded, "{day}");
        assert_eq!(of(AsOf::Effective(days(day))), effective, "{day}");
    }
    let told = |as_of| explained(&both, None, Figure::Overall, as_of).into_iter().filter_map(|piece| piece.reversed_at);
    assert_eq!(told(AsOf::Recorded(days(15))).count(), 0);
    assert_eq!(told(AsOf::Effective(days(15))).collect::<Vec<_>>(), [days(30)]);
    // Decayed to the time that is asked about.
    let row = &figures_of(&known(&both, None, AsOf::Effective(days(30))), days(30))[&(Figure::Reliability, None)];
    assert_eq!(row.score, "0.500000000");
}

#[test]
fn what_happened_to_a_piece_later_was_not_known_then() {
    let told = Evidence {
        disputed_at: Some(days(20)),
        reversed_at: Some(days(30)),
        ..piece("task_completed", 1000, 1, START)
    };
    let at = |day| {
        explained(&[told], None, Figure::Overall, AsOf::Recorded(days(day)))
            .into_iter()
            .map(|piece| (piece.disputed, piece.reversed_at, piece.effective == nine(0.0) && piece.moved == nine(0.0)))
    };
    assert_eq!(at(10).collect::<Vec<_>>(), [(false, None, false)]);
    assert_eq!(at(20).collect::<Vec<_>>(), [(true, None, false)]);
    assert_eq!(at(30).collect::<Vec<_>>(), [(true, Some(days(30)), true)], "it is told, and is worth nothing");
}

proptest! {
    #[test]
    fn what_each_piece_moved_is_the_score_together(
        pieces in proptest::collection::vec((0_usize..9, 1_i64..2000, 0_u128..3, 0_i64..90), 1..60),
    ) {
        let evidence = mixed(&pieces);
        for figure in Figure::ALL {
            let sum: f64 = shares(figure, &evidence, days(50)).iter().sum();
            prop_assert!((sum - score(figure, &evidence, days(50))).abs() < 1e-9);
        }
        let listed = explained(&evidence, None, Figure::Overall, AsOf::Recorded(days(50)));
        prop_assert_eq!(listed.len(), evidence.len());
    }

    #[test]
    fn a_curve_is_the_score_at_each_of_its_times(
        pieces in proptest::collection::vec((0_usize..9, 1_i64..2000, 0_u128..3, 0_i64..90), 1..60),
    ) {
        let evidence = mixed(&pieces);
        for figure in Figure::ALL {
            let times: Vec<Time> = (-3..50).map(days).collect();
            for (time, point) in times.iter().zip(curve(figure, &evidence, times.iter().copied())) {
                let by_then: Vec<Evidence> =
                    evidence.iter().filter(|piece| piece.effective_at <= *time).copied().collect();
                prop_assert!((point - score(figure, &by_then, *time)).abs() < 1e-9);
            }
        }
    }
}
