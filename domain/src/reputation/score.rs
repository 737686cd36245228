//! Scores that decay: half after thirty days.
#![allow(clippy::float_arithmetic, reason = "the formula is one of real numbers; libm gives the same bits everywhere")]

use super::evidence::{Evidence, EvidenceType, Figure};
use crate::ids::GuildId;
use crate::time::Time;

/// Days after which a piece of evidence counts half.
pub const HALF_LIFE_DAYS: f64 = 30.0;
/// Most that endorsements count for in one scope.
const MOST_ENDORSED: f64 = 1.5;
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

/// The score of one figure from evidence in its order; `scope` absent = all scopes.
pub fn score(figure: Figure, evidence: &[Evidence], as_of: Time) -> f64 {
    let sum = |figure: Figure| {
        let counted = evidence.iter().filter(|piece| piece.kind.figure() == Some(figure));
        counted.fold(0.0, |sum, piece| sum + weight(piece) * decay(piece.effective_at, as_of))
    };
    if figure != Figure::Overall {
        return sum(figure);
    }
    let (mut endorsed, mut flagged) = (0.0, 0.0);
    for scope in scopes(evidence) {
        let mut here = 0.0;
        for piece in evidence.iter().filter(|piece| piece.scope == scope) {
            let part = libm::fabs(weight(piece)) * decay(piece.effective_at, as_of);
            match piece.kind {
                EvidenceType::PeerEndorsed => here += part,
                EvidenceType::PeerFlagged => flagged += part,
                _ => {}
            }
        }
        endorsed += libm::fmin(here, MOST_ENDORSED);
    }
    0.4 * sum(Figure::Reliability) + 0.4 * sum(Figure::Quality) + 0.2 * sum(Figure::Compliance) + 0.5 * endorsed
        - 0.5 * flagged
}

/// The scopes of some evidence, in the order of their ids.
pub fn scopes(evidence: &[Evidence]) -> std::collections::BTreeSet<GuildId> {
    evidence.iter().map(|piece| piece.scope).collect()
}

/// Nine places, half to even; zero has no sign.
pub fn nine(number: f64) -> String {
    let text = format!("{number:.9}");
    if text == "-0.000000000" { "0.000000000".to_owned() } else { text }
}
