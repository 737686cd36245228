//! Scores and ratings from evidence, worked out again from the formulas of FORMAT.md.
#![allow(
    clippy::float_arithmetic,
    reason = "the formulas are ones of real numbers; libm gives the same bits everywhere"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::{DAY, Figure, Kind, Piece, Row};
use crate::rules::values::GuildId;

const START_PHI: f64 = 350.0 / 173.7178;
const TAU: f64 = 0.5;

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
    known.sort_by_key(|piece| (piece.effective_at, piece.kind, piece.weight));
    let scopes: BTreeSet<GuildId> = known.iter().map(|piece| piece.scope).collect();
    let mut rows = BTreeMap::new();
    for scope in std::iter::once(None).chain(scopes.into_iter().map(Some)) {
        for figure in [Figure::Compliance, Figure::Overall, Figure::Quality, Figure::Reliability] {
            let inside = |piece: &&&Piece| scope.is_none_or(|scope| piece.scope == scope);
            let counted: Vec<&Piece> = known
                .iter()
                .filter(inside)
                .filter(|piece| figure == Figure::Overall || of(piece.kind) == Some(figure))
                .copied()
                .collect();
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
    let scopes: BTreeSet<GuildId> = counted.iter().map(|piece| piece.scope).collect();
    let (mut endorsed, mut flagged) = (0.0, 0.0);
    for scope in scopes {
        let mut here = 0.0;
        for piece in counted.iter().filter(|piece| piece.scope == scope) {
            match piece.kind {
                Kind::PeerEndorsed => here += libm::fabs(worth(piece, as_of)),
                Kind::PeerFlagged => flagged += libm::fabs(worth(piece, as_of)),
                _ => {}
            }
        }
        endorsed += libm::fmin(here, 1.5);
    }
    0.4 * sum(Figure::Reliability) + 0.4 * sum(Figure::Quality) + 0.2 * sum(Figure::Compliance) + 0.5 * endorsed
        - 0.5 * flagged
}

#[expect(clippy::cast_precision_loss, reason = "numbers of days and games")]
fn rating(counted: &[&Piece], as_of: i64) -> (f64, f64, f64) {
    let (mut mu, mut phi, mut sigma) = (0.0, START_PHI, 0.06);
    let mut days: BTreeMap<i64, Vec<&Piece>> = BTreeMap::new();
    for piece in counted {
        days.entry(piece.effective_at.div_euclid(DAY)).or_default().push(piece);
    }
    let rest = |phi: f64, sigma: f64, days: i64| {
        if days > 0 { libm::fmin(libm::sqrt(phi * phi + days as f64 * sigma * sigma), START_PHI) } else { phi }
    };
    let mut next = days.keys().next().copied().unwrap_or(0);
    for (day, pieces) in days {
        phi = rest(phi, sigma, day - next);
        let e = 1.0 / (1.0 + libm::exp(-(mu - 0.0)));
        let (mut information, mut surprise) = (0.0, 0.0);
        for piece in pieces {
            let n = piece.weight.unsigned_abs() as f64 / 1000.0;
            let s = if piece.weight > 0 { 1.0 } else { 0.0 };
            information += n * e * (1.0 - e);
            surprise += n * (s - e);
        }
        let v = 1.0 / information;
        sigma = volatility(phi, sigma, v, v * surprise);
        let before = libm::sqrt(phi * phi + sigma * sigma);
        phi = 1.0 / libm::sqrt(1.0 / (before * before) + 1.0 / v);
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
