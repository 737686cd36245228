//! Glicko-2 (Glickman, "Example of the Glicko-2 system", 2013): how good, and how sure we are.
#![allow(clippy::float_arithmetic, reason = "the formula is one of real numbers; libm gives the same bits everywhere")]

use super::evidence::Evidence;
use crate::time::Time;

/// What a rating is before any evidence: 350 on Glicko's own scale.
pub const START_PHI: f64 = 350.0 / 173.7178;
pub const START_SIGMA: f64 = 0.06;
pub const TAU: f64 = 0.5;
const TOLERANCE: f64 = 1e-6;
const MOST_STEPS: u32 = 100;
/// What lies between the rating and its bounds, in deviations.
pub const BOUND: f64 = 1.5;

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

/// A period with games (steps 3 to 8 of the paper).
pub fn update(rating: Rating, games: &[Games], tau: f64) -> Rating {
    let Rating { mu, phi, sigma } = rating;
    let (mut information, mut surprise) = (0.0, 0.0);
    for one in games {
        let (g, e) = (g(one.opponent_phi), expected(mu, one));
        information += one.number * g * g * e * (1.0 - e);
        surprise += one.number * g * (one.result - e);
    }
    let v = 1.0 / information;
    let sigma = volatility(phi, sigma, v, v * surprise, tau);
    let before = libm::sqrt(phi * phi + sigma * sigma);
    let phi = 1.0 / libm::sqrt(1.0 / (before * before) + 1.0 / v);
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
    #[expect(clippy::cast_precision_loss, reason = "a number of days")]
    let grown = libm::sqrt(rating.phi * rating.phi + periods as f64 * rating.sigma * rating.sigma);
    Rating { phi: libm::fmin(grown, START_PHI), ..rating }
}

/// The rating from evidence in its order: periods are UTC days from that of the first piece, the last one ends at `as_of`.
pub fn rating(evidence: &[Evidence], as_of: Time) -> Rating {
    let Some(first) = evidence.first() else { return Rating::START };
    let mut rating = Rating::START;
    let mut next = first.effective_at.day();
    let mut rest_of = evidence;
    while let Some(piece) = rest_of.first() {
        let day = piece.effective_at.day();
        let length = rest_of.iter().take_while(|piece| piece.effective_at.day() == day).count();
        let (today, later) = rest_of.split_at(length);
        if day > next {
            rating = self::rest(rating, day - next);
        }
        let games: Vec<Games> = today.iter().map(games).collect();
        rating = update(rating, &games, TAU);
        (next, rest_of) = (day + 1, later);
    }
    let last = as_of.day() + 1;
    if last > next { self::rest(rating, last - next) } else { rating }
}

#[expect(clippy::cast_precision_loss, reason = "at most a million thousandths")]
fn games(piece: &Evidence) -> Games {
    let number = piece.weight.0.unsigned_abs() as f64 / 1000.0;
    Games { number, opponent_mu: 0.0, opponent_phi: 0.0, result: if piece.weight.0 > 0 { 1.0 } else { 0.0 } }
}
