//! Glicko-2 (Glickman, "Example of the Glicko-2 system", 2013): how good, and how sure we are.
#![allow(clippy::float_arithmetic, reason = "the formula is one of real numbers; libm gives the same bits everywhere")]

use std::collections::BTreeMap;

use super::evidence::{Evidence, EvidenceType};
use crate::ids::GuildId;
use crate::time::Time;

/// What a rating is before any evidence: 350 on Glicko's own scale.
pub const START_PHI: f64 = 350.0 / 173.7178;
pub const START_SIGMA: f64 = 0.06;
pub const TAU: f64 = 0.5;
/// Games against somebody who is out of reach tell next to nothing.
const LEAST_INFORMATION: f64 = 1e-9;
const TOLERANCE: f64 = 1e-6;
const MOST_STEPS: u32 = 100;
/// What lies between the rating and its bounds, in deviations.
pub const BOUND: f64 = 1.5;
/// Most games that endorsements are in one scope, in thousandths. Alone they lift no lower bound to zero, however many and however often.
const MOST_ENDORSED: i64 = 1500;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    pub mu: f64,
    pub phi: f64,
    pub sigma: f64,
}

impl Rating {
    pub const START: Self = Self { mu: 0.0, phi: START_PHI, sigma: START_SIGMA };

    pub fn lower(&self) -> f64 {
        self.mu - BOUND * self.phi
    }

    pub fn upper(&self) -> f64 {
        self.mu + BOUND * self.phi
    }
}

/// So many games of one kind within a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Games {
    pub number: f64,
    pub opponent_mu: f64,
    pub opponent_phi: f64,
    /// 1 won, 0 lost.
    pub result: f64,
}

fn g(phi: f64) -> f64 {
    1.0 / libm::sqrt(1.0 + 3.0 * phi * phi / (core::f64::consts::PI * core::f64::consts::PI))
}

fn expected(mu: f64, games: &Games) -> f64 {
    1.0 / (1.0 + libm::exp(-g(games.opponent_phi) * (mu - games.opponent_mu)))
}

/// A period with games (steps 3 to 8 of the paper). Nobody is less sure, or more erratic, than somebody of whom nothing is known: with many
/// games a day, won and lost in turn, every day surprises, and without bounds one would outdo the other for ever.
pub fn update(rating: Rating, games: &[Games], tau: f64) -> Rating {
    let Rating { mu, phi, sigma } = rating;
    let (mut information, mut surprise) = (0.0, 0.0);
    for one in games {
        let (g, e) = (g(one.opponent_phi), expected(mu, one));
        information += one.number * g * g * e * (1.0 - e);
        surprise += one.number * g * (one.result - e);
    }
    let v = 1.0 / libm::fmax(information, LEAST_INFORMATION);
    let sigma = libm::fmin(volatility(phi, sigma, v, v * surprise, tau), START_SIGMA);
    let before = libm::sqrt(phi * phi + sigma * sigma);
    let phi = libm::fmin(1.0 / libm::sqrt(1.0 / (before * before) + 1.0 / v), START_PHI);
    Rating { mu: mu + phi * phi * surprise, phi, sigma }
}

/// Step 5: the Illinois algorithm.
fn volatility(phi: f64, sigma: f64, v: f64, delta: f64, tau: f64) -> f64 {
    let a = libm::log(sigma * sigma);
    let f = |x: f64| {
        let e = libm::exp(x);
        let d = phi * phi + v + e;
        e * (delta * delta - phi * phi - v - e) / (2.0 * d * d) - (x - a) / (tau * tau)
    };
    let mut low = a;
    let mut high = if delta * delta > phi * phi + v {
        libm::log(delta * delta - phi * phi - v)
    } else {
        let mut k = 1.0;
        while f(a - k * tau) < 0.0 && k < 1000.0 {
            k += 1.0;
        }
        a - k * tau
    };
    let (mut f_low, mut f_high) = (f(low), f(high));
    let mut steps = 0;
    while libm::fabs(high - low) > TOLERANCE && steps < MOST_STEPS {
        let middle = low + (low - high) * f_low / (f_high - f_low);
        let f_middle = f(middle);
        if f_middle * f_high <= 0.0 {
            (low, f_low) = (high, f_high);
        } else {
            f_low /= 2.0;
        }
        (high, f_high) = (middle, f_middle);
        steps += 1;
    }
    libm::exp(low / 2.0)
}

/// So many periods without games: less sure, and never less than at the start.
pub fn rest(rating: Rating, periods: i64) -> Rating {
    if periods <= 0 {
        return rating;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of days")]
    let grown = libm::sqrt(rating.phi * rating.phi + periods as f64 * rating.sigma * rating.sigma);
    Rating { phi: libm::fmin(grown, START_PHI), ..rating }
}

/// How many games each piece is, in thousandths: what it weighs, except that in each scope only the newest endorsements count.
///
/// The oldest would not do: whoever is endorsed early could not be endorsed again. Neither would those that have decayed least: what is
/// old would count in full again, and waiting would be a way around the limit.
pub fn games(evidence: &[Evidence]) -> Vec<i64> {
    let mut left: BTreeMap<GuildId, i64> = BTreeMap::new();
    let mut games: Vec<i64> = evidence
        .iter()
        .rev()
        .map(|piece| {
            let size = piece.weight.0.saturating_abs();
            if piece.kind != EvidenceType::PeerEndorsed {
                return size;
            }
            let left = left.entry(piece.scope).or_insert(MOST_ENDORSED);
            let counted = size.min(*left);
            *left -= counted;
            counted
        })
        .collect();
    games.reverse();
    games
}

/// The rating from evidence in its order: periods are UTC days from that of the first game, the last one ends at `as_of`.
pub fn rating(evidence: &[Evidence], as_of: Time) -> Rating {
    let games = games(evidence);
    let played: Vec<(i64, Games)> = evidence
        .iter()
        .zip(games)
        .filter(|(_, number)| *number > 0)
        .map(|(piece, number)| (piece.effective_at.day(), against_nobody(number, piece.weight.0 > 0)))
        .collect();
    let Some((first, _)) = played.first() else { return Rating::START };
    let (mut rating, mut next) = (Rating::START, *first);
    for period in played.chunk_by(|(one, _), (other, _)| one == other) {
        let day = period[0].0;
        rating = rest(rating, day - next);
        let games: Vec<Games> = period.iter().map(|(_, games)| *games).collect();
        rating = update(rating, &games, TAU);
        next = day + 1;
    }
    rest(rating, as_of.day() + 1 - next)
}

#[expect(clippy::cast_precision_loss, reason = "at most a million thousandths")]
fn against_nobody(thousandths: i64, won: bool) -> Games {
    let number = thousandths as f64 / 1000.0;
    Games { number, opponent_mu: 0.0, opponent_phi: 0.0, result: if won { 1.0 } else { 0.0 } }
}
