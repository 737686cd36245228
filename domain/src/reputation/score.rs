//! Scores that decay: half after thirty days.
#![allow(clippy::float_arithmetic, reason = "the formula is one of real numbers; libm gives the same bits everywhere")]

use std::collections::BTreeMap;

use super::evidence::{Evidence, EvidenceType, Figure};
use crate::ids::GuildId;
use crate::time::Time;

/// Days after which a piece of evidence counts half.
pub const HALF_LIFE_DAYS: f64 = 30.0;
/// Most that endorsements count for in one scope, decayed.
const MOST_ENDORSED: f64 = 1.5;
/// What endorsements and flags are of the overall figure.
const ENDORSED: f64 = 0.5;
const FLAGGED: f64 = 0.5;
const DAY_MICROS: f64 = 86_400_000_000.0;

/// ln 2 over the half-life, per day: not the half-life.
pub fn lambda() -> f64 {
    core::f64::consts::LN_2 / HALF_LIFE_DAYS
}

/// What is left of one after that time.
pub fn decay(from: Time, to: Time) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 for any age that counts")]
    let age_days = (to.micros() - from.micros()) as f64 / DAY_MICROS;
    libm::exp(-lambda() * age_days)
}

#[expect(clippy::cast_precision_loss, reason = "at most a million thousandths")]
fn weight(evidence: &Evidence) -> f64 {
    evidence.weight.0 as f64 / 1000.0
}

/// The score of one figure from evidence in its order.
pub fn score(figure: Figure, evidence: &[Evidence], as_of: Time) -> f64 {
    let mut sums = Sums::default();
    for piece in evidence {
        sums.add(piece, as_of);
    }
    sums.score(figure)
}

/// The score of one figure at times in their order, from evidence in its order: what happened since the time before is added to what
/// is left of it.
pub fn curve(figure: Figure, evidence: &[Evidence], times: impl IntoIterator<Item = Time>) -> Vec<f64> {
    let (mut sums, mut rest, mut before) = (Sums::default(), evidence.iter().peekable(), None);
    let mut at = |time: Time| {
        if let Some(before) = before.replace(time) {
            sums.shrink(decay(before, time));
        }
        while let Some(piece) = rest.next_if(|piece| piece.effective_at <= time) {
            sums.add(piece, time);
        }
        sums.score(figure)
    };
    times.into_iter().map(&mut at).collect()
}

/// How much of a figure's score each piece is: together they are the score. Endorsements beyond the limit share what it leaves.
pub fn shares(figure: Figure, evidence: &[Evidence], as_of: Time) -> Vec<f64> {
    let mut sums = Sums::default();
    for piece in evidence {
        sums.add(piece, as_of);
    }
    let part = |piece: &Evidence| {
        let worth = weight(piece) * decay(piece.effective_at, as_of);
        match piece.kind {
            kind if !figure.counts(kind) => 0.0,
            _ if figure != Figure::Overall => worth,
            EvidenceType::PeerEndorsed => {
                let here = sums.endorsed.get(&piece.scope).copied().unwrap_or(0.0);
                ENDORSED * worth * if here > MOST_ENDORSED { MOST_ENDORSED / here } else { 1.0 }
            }
            EvidenceType::PeerFlagged => FLAGGED * worth,
            kind => kind.figure().map_or(0.0, share_of) * worth,
        }
    };
    evidence.iter().map(part).collect()
}

/// What a figure is of the overall one.
const fn share_of(figure: Figure) -> f64 {
    match figure {
        Figure::Reliability | Figure::Quality => 0.4,
        Figure::Compliance => 0.2,
        Figure::Overall => 1.0,
    }
}

/// What was added up so far, figure by figure.
#[derive(Default)]
struct Sums {
    reliability: f64,
    quality: f64,
    compliance: f64,
    /// By scope: each has its own limit.
    endorsed: BTreeMap<GuildId, f64>,
    flagged: f64,
}

impl Sums {
    fn add(&mut self, piece: &Evidence, as_of: Time) {
        let worth = weight(piece) * decay(piece.effective_at, as_of);
        match (piece.kind.figure(), piece.kind) {
            (Some(Figure::Reliability), _) => self.reliability += worth,
            (Some(Figure::Quality), _) => self.quality += worth,
            (Some(Figure::Compliance), _) => self.compliance += worth,
            (_, EvidenceType::PeerEndorsed) => *self.endorsed.entry(piece.scope).or_default() += libm::fabs(worth),
            _ => self.flagged += libm::fabs(worth),
        }
    }

    fn shrink(&mut self, left: f64) {
        let single = [&mut self.reliability, &mut self.quality, &mut self.compliance, &mut self.flagged];
        for sum in single.into_iter().chain(self.endorsed.values_mut()) {
            *sum *= left;
        }
    }

    fn score(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Reliability => self.reliability,
            Figure::Quality => self.quality,
            Figure::Compliance => self.compliance,
            Figure::Overall => {
                let endorsed = self.endorsed.values().fold(0.0, |sum, here| sum + libm::fmin(*here, MOST_ENDORSED));
                share_of(Figure::Reliability) * self.reliability
                    + share_of(Figure::Quality) * self.quality
                    + share_of(Figure::Compliance) * self.compliance
                    + ENDORSED * endorsed
                    - FLAGGED * self.flagged
            }
        }
    }
}

/// Nine places, half to even; zero has no sign.
pub fn nine(number: f64) -> String {
    let text = format!("{number:.9}");
    if text == "-0.000000000" { "0.000000000".to_owned() } else { text }
}
