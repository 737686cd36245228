//! What can be read from evidence without a figure on record: bands, reasons why not, and what moved a score by how much.
#![allow(clippy::float_arithmetic, reason = "a bound is a sum of two numbers")]

use serde::Serialize;

use super::evidence::{AsOf, Evidence, EvidenceType, Figure};
use super::figures::known;
use super::rating::{Rating, games, rating};
use super::score::{decay, nine, shares};
use crate::ids::{CitizenId, EvidenceId, GuildId};
use crate::time::{DAY_MICROS, Time};

/// Games below which somebody is new, in thousandths.
const NEWCOMER_GAMES: i64 = 5000;
/// Most that somebody new has claimed at a time.
const NEWCOMER_CLAIMS: u32 = 2;
const ACTIVE_DAYS: i64 = 30;
/// Days after a violation in which nothing is claimed in its scope.
const COOLING_DAYS: i64 = 7;

/// What everybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Fewer than five games.
    New,
    /// Not surely above a beginner yet.
    Building,
    Proven,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub band: Band,
    pub active: bool,
    pub cooling_off: bool,
}

/// Why somebody cannot claim: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    HolderNotActive,
    CoolingOff,
    NewcomerCap,
    NoEvidenceHere,
    BelowThreshold,
}

/// What else is known of somebody who would claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    pub is_active: bool,
    /// What they have claimed and not finished.
    pub open_claims: u32,
}

/// A piece of evidence: what it weighs, what is left of that, and how much of the figure it is. All of these together are the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub evidence: EvidenceId,
    pub kind: EvidenceType,
    pub scope: GuildId,
    pub weight: String,
    pub effective: String,
    pub moved: String,
    pub attested_by: CitizenId,
    pub effective_at: Time,
    pub recorded_at: Time,
    pub disputed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reversed_at: Option<Time>,
}

fn within(at: Time, days: i64, as_of: Time) -> bool {
    as_of.micros() - at.micros() <= days * DAY_MICROS
}

pub fn is_cooling_off(known: &[Evidence], as_of: Time) -> bool {
    known
        .iter()
        .any(|piece| piece.kind == EvidenceType::AuditViolation && within(piece.effective_at, COOLING_DAYS, as_of))
}

/// Fewer games than it takes to be known: for games as for ratings only so many endorsements of a scope count.
fn is_new(known: &[Evidence]) -> bool {
    games(known).iter().sum::<i64>() < NEWCOMER_GAMES
}

/// Somebody new, of whom no violation is known.
fn is_newcomer(known: &[Evidence]) -> bool {
    is_new(known) && !known.iter().any(|piece| piece.kind == EvidenceType::AuditViolation)
}

/// What everybody may know of evidence that is [`known`].
pub fn shown(known: &[Evidence], as_of: Time) -> Shown {
    let band = if is_new(known) {
        Band::New
    } else if rating(known, as_of).lower() >= 0.0 {
        Band::Proven
    } else {
        Band::Building
    };
    let active = known.iter().any(|piece| within(piece.effective_at, ACTIVE_DAYS, as_of));
    Shown { band, active, cooling_off: is_cooling_off(known, as_of) }
}

/// Why the holder of evidence that is [`known`] in a scope cannot claim what asks for this much, if so.
pub fn denied(known: &[Evidence], claimant: Claimant, threshold: f64, as_of: Time) -> Option<Denied> {
    if !claimant.is_active {
        Some(Denied::HolderNotActive)
    } else if is_cooling_off(known, as_of) {
        Some(Denied::CoolingOff)
    } else if is_newcomer(known) && claimant.open_claims >= NEWCOMER_CLAIMS {
        Some(Denied::NewcomerCap)
    } else if known.is_empty() {
        Some(Denied::NoEvidenceHere)
    } else if rating(known, as_of).lower() >= threshold {
        None
    } else {
        // Also what is no number reaches nothing.
        Some(Denied::BelowThreshold)
    }
}

/// The overall rating of evidence that is [`known`].
pub fn overall(known: &[Evidence], as_of: Time) -> Rating {
    rating(known, as_of)
}

/// Every piece that the time includes with what it is worth, the last recorded first: ids begin with their time. One that was taken
/// back is worth nothing any more; `scope` absent = all.
pub fn explained<'a>(
    evidence: impl IntoIterator<Item = &'a Evidence>,
    scope: Option<GuildId>,
    figure: Figure,
    as_of: AsOf,
) -> Vec<Explained> {
    let included = |piece: &&Evidence| as_of.includes(piece) && scope.is_none_or(|scope| piece.scope == scope);
    let included: Vec<Evidence> = evidence.into_iter().filter(included).copied().collect();
    let known = known(&included, None, as_of);
    let shares = shares(figure, &known, as_of.time());
    let reversed = included.iter().filter(|piece| !as_of.counts(piece)).map(|piece| (piece, 0.0));
    let all = known.iter().zip(shares).chain(reversed).filter(|(piece, _)| figure.counts(piece.kind));
    let explain = |(piece, moved): (&Evidence, f64)| {
        #[expect(clippy::cast_precision_loss, reason = "at most a million thousandths")]
        let weight = if as_of.counts(piece) { piece.weight.0 as f64 / 1000.0 } else { 0.0 };
        Explained {
            evidence: piece.id,
            kind: piece.kind,
            scope: piece.scope,
            weight: piece.weight.to_string(),
            effective: nine(weight * decay(piece.effective_at, as_of.time())),
            moved: nine(moved),
            attested_by: piece.attested_by,
            effective_at: piece.effective_at,
            recorded_at: piece.recorded_at,
            // What happened to it later was not known then.
            disputed: as_of.told(piece.disputed_at).is_some(),
            reversed_at: as_of.told(piece.reversed_at),
        }
    };
    let mut explained: Vec<Explained> = all.map(explain).collect();
    explained.sort_by_key(|piece| std::cmp::Reverse(piece.evidence));
    explained
}
