//! Scores and ratings from evidence, worked out again from the formulas of FORMAT.md.
#![allow(
    clippy::float_arithmetic,
    reason = "the formulas are ones of real numbers; libm gives the same bits everywhere"
)]

use std::collections::BTreeMap;

use super::{DAY, Figure, Kind, Piece, Row};
use crate::rules::values::GuildId;

const START_PHI: f64 = 350.0 / 173.7178;
const START_SIGMA: f64 = 0.06;
const TAU: f64 = 0.5;
/// Most of endorsements in one scope: of what is left of them in a score, and of games in a rating (in thousandths).
const MOST_ENDORSED: f64 = 1.5;
const MOST_ENDORSED_GAMES: i64 = 1500;

const fn of(kind: Kind) -> Option<Figure> {
    match kind {
        Kind::TaskCompleted | Kind::TaskFailed | Kind::TaskAbandoned => Some(Figure::Reliability),
        Kind::VerificationPassed | Kind::VerificationFailed => Some(Figure::Quality),
        Kind::AuditClean | Kind::AuditViolation => Some(Figure::Compliance),
        Kind::PeerEndorsed | Kind::PeerFlagged => None,
    }
}

/// Every row that the evidence gives as of a time.
pub fn all(evidence: &[Piece], as_of: i64) -> BTreeMap<(Figure, Option<GuildId>), Row> {
    let counts =
        |piece: &&Piece| piece.recorded_at <= as_of && piece.reversed_at.is_none_or(|reversed| reversed > as_of);
    let mut known: Vec<&Piece> = evidence.iter().filter(counts).collect();
    known.sort_by_key(|piece| (piece.effective_at, piece.kind, piece.weight, piece.scope));
    let mut scopes: BTreeMap<GuildId, Vec<&Piece>> = BTreeMap::new();
    for piece in &known {
        scopes.entry(piece.scope).or_default().push(piece);
    }
    let mut rows = BTreeMap::new();
    let everywhere = std::iter::once((None, &known));
    for (scope, here) in everywhere.chain(scopes.iter().map(|(scope, here)| (Some(*scope), here))) {
        for figure in [Figure::Compliance, Figure::Overall, Figure::Quality, Figure::Reliability] {
            let counts = |piece: &&&Piece| figure == Figure::Overall || of(piece.kind) == Some(figure);
            let counted: Vec<&Piece> = here.iter().filter(counts).copied().collect();
            if counted.is_empty() {
                continue;
            }
            let (mu, phi, sigma) = rating(&counted, as_of);
            let row = Row {
                figure,
                scope,
                evidence: counted.len() as u64,
                score: nine(score(figure, &counted, as_of)),
                mu: nine(mu),
                phi: nine(phi),
                sigma: nine(sigma),
            };
            rows.insert((figure, scope), row);
        }
    }
    rows
}

fn nine(number: f64) -> Box<str> {
    let text = format!("{number:.9}");
    if text == "-0.000000000" { "0.000000000".into() } else { text.into() }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn worth(piece: &Piece, as_of: i64) -> f64 {
    let age_days = (as_of - piece.effective_at) as f64 / 86_400_000_000.0;
    let left = libm::exp(-(core::f64::consts::LN_2 / 30.0) * age_days);
    piece.weight as f64 / 1000.0 * left
}

fn score(figure: Figure, counted: &[&Piece], as_of: i64) -> f64 {
    let sum = |figure: Figure| {
        counted.iter().filter(|piece| of(piece.kind) == Some(figure)).fold(0.0, |sum, piece| sum + worth(piece, as_of))
    };
    if figure != Figure::Overall {
        return sum(figure);
    }
    let (mut endorsed, mut flagged): (BTreeMap<GuildId, f64>, f64) = (BTreeMap::new(), 0.0);
    for piece in counted {
        match piece.kind {
            Kind::PeerEndorsed => *endorsed.entry(piece.scope).or_default() += libm::fabs(worth(piece, as_of)),
            Kind::PeerFlagged => flagged += libm::fabs(worth(piece, as_of)),
            _ => {}
        }
    }
    let endorsed = endorsed.into_values().fold(0.0, |sum, here| sum + libm::fmin(here, MOST_ENDORSED));
    0.4 * sum(Figure::Reliability) + 0.4 * sum(Figure::Quality) + 0.2 * sum(Figure::Compliance) + 0.5 * endorsed
        - 0.5 * flagged
}

/// The thousandths of games that count of each piece: all of most, and of endorsements what the newer ones of their scope leave.
fn played(counted: &[&Piece]) -> Vec<i64> {
    let mut newer: BTreeMap<GuildId, i64> = BTreeMap::new();
    let mut played = vec![0; counted.len()];
    for (place, piece) in counted.iter().enumerate().rev() {
        played[place] = piece.weight.abs();
        if piece.kind == Kind::PeerEndorsed {
            let before = newer.entry(piece.scope).or_default();
            *before += piece.weight;
            let over = (*before - MOST_ENDORSED_GAMES).max(0);
            played[place] = (piece.weight - over).max(0);
        }
    }
    played
}

#[expect(clippy::cast_precision_loss, reason = "numbers of days and games")]
fn rating(counted: &[&Piece], as_of: i64) -> (f64, f64, f64) {
    let (mut mu, mut phi, mut sigma) = (0.0, START_PHI, START_SIGMA);
    let mut days: BTreeMap<i64, Vec<(i64, bool)>> = BTreeMap::new();
    for (piece, games) in counted.iter().zip(played(counted)).filter(|(_, games)| *games > 0) {
        days.entry(piece.effective_at.div_euclid(DAY)).or_default().push((games, piece.weight > 0));
    }
    let rest = |phi: f64, sigma: f64, days: i64| {
        if days > 0 { libm::fmin(libm::sqrt(phi * phi + days as f64 * sigma * sigma), START_PHI) } else { phi }
    };
    let Some(mut next) = days.keys().next().copied() else { return (mu, phi, sigma) };
    for (day, games) in days {
        phi = rest(phi, sigma, day - next);
        let e = 1.0 / (1.0 + libm::exp(-(mu - 0.0)));
        let (mut information, mut surprise) = (0.0, 0.0);
        for (thousandths, won) in games {
            let n = thousandths as f64 / 1000.0;
            let s = if won { 1.0 } else { 0.0 };
            information += n * e * (1.0 - e);
            surprise += n * (s - e);
        }
        let v = 1.0 / libm::fmax(information, 1e-9);
        sigma = libm::fmin(volatility(phi, sigma, v, v * surprise), START_SIGMA);
        let before = libm::sqrt(phi * phi + sigma * sigma);
        phi = libm::fmin(1.0 / libm::sqrt(1.0 / (before * before) + 1.0 / v), START_PHI);
        mu += phi * phi * surprise;
        next = day + 1;
    }
    (mu, rest(phi, sigma, as_of.div_euclid(DAY) + 1 - next), sigma)
}

/// The Illinois algorithm of the paper, to 1e-6, in at most 100 steps.
fn volatility(phi: f64, sigma: f64, v: f64, delta: f64) -> f64 {
    let a = libm::log(sigma * sigma);
    let f = |x: f64| {
        let e = libm::exp(x);
        let d = phi * phi + v + e;
        e * (delta * delta - phi * phi - v - e) / (2.0 * d * d) - (x - a) / (TAU * TAU)
    };
    let mut low = a;
    let mut high = if delta * delta > phi * phi + v {
        libm::log(delta * delta - phi * phi - v)
    } else {
        let mut k = 1.0;
        while f(a - k * TAU) < 0.0 && k < 1000.0 {
            k += 1.0;
        }
        a - k * TAU
    };
    let (mut f_low, mut f_high) = (f(low), f(high));
    for _ in 0..100 {
        if libm::fabs(high - low) <= 1e-6 {
            break;
        }
        let middle = low + (low - high) * f_low / (f_high - f_low);
        let f_middle = f(middle);
        if f_middle * f_high <= 0.0 {
            (low, f_low) = (high, f_high);
        } else {
            f_low /= 2.0;
        }
        (high, f_high) = (middle, f_middle);
    }
    libm::exp(low / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::{Piece, all};
    use crate::rules::reputation::Figure;
    use crate::rules::values::{CitizenId, GuildId};

    /// The table that was worked out apart from every code, beside the rules of the city.
    const GOLDEN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../domain/src/reputation/golden.txt"));

    type Names = BTreeSet<(Figure, Option<GuildId>)>;

    fn near(ours: &str, golden: &str) -> bool {
        (ours.parse::<f64>().unwrap() - golden.parse::<f64>().unwrap()).abs() <= 1e-6
    }

    #[test]
    fn the_golden_table_is_reproduced() {
        let scope = |name: &str| GuildId { 0: u128::from(name.as_bytes()[0]) };
        let word = |word: &str| serde_json::Value::String(word.to_owned());
        let mut evidence: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
        let mut golden: BTreeMap<(&str, i64), Names> = BTreeMap::new();
        for line in GOLDEN.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            match parts.as_slice() {
                ["evidence", name, kind, weight, place, at] => evidence.entry(name).or_default().push(Piece {
                    kind: serde_json::from_value(word(kind)).unwrap(),
                    weight: weight.parse().unwrap(),
                    scope: scope(place),
                    by: CitizenId { 0: 9 },
                    effective_at: at.parse().unwrap(),
                    recorded_at: at.parse().unwrap(),
                    disputed: false,
                    reversed_at: None,
                }),
                ["row", name, as_of, figure, place, count, score, mu, phi, sigma] => {
                    let as_of: i64 = as_of.parse().unwrap();
                    let figure: Figure = serde_json::from_value(word(figure)).unwrap();
                    let name_of_row = (figure, (*place != "-").then(|| scope(place)));
                    let rows = all(&evidence[name], as_of);
                    let row = &rows[&name_of_row];
                    assert_eq!(row.evidence.to_string(), **count, "{line}");
                    let fits = near(&row.score, score) && near(&row.mu, mu);
                    assert!(fits && near(&row.phi, phi) && near(&row.sigma, sigma), "{line}: {row:?}");
                    golden.entry((name, as_of)).or_default().insert(name_of_row);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(golden.len() > 10);
        for ((name, as_of), rows) in golden {
            assert_eq!(all(&evidence[name], as_of).into_keys().collect::<BTreeSet<_>>(), rows, "{name} as of {as_of}");
        }
    }
}
