//! `reputation_scores` and `reputation_ratings`: what was computed last; one row per holder, figure and scope, and one over all scopes.

use domain::ids::{CitizenId, GuildId};
use domain::reputation::event::{Gone, ReputationEvent, Row};
use domain::reputation::evidence::Figure;
use domain::reputation::rating::BOUND;
use domain::reputation::score::{lambda, nine};
use domain::time::Time;

use crate::field::word;
use crate::record::record;
use crate::sheet::Sheet;

record! {
    /// `decay_rate` is lambda, per day: ln 2 over the half-life, and not the half-life.
    Score in "reputation_scores" by (row_id: String) {
        holder: CitizenId,
        figure: String,
        scope: Option<GuildId>,
        value: String,
        decay_rate: String,
        evidence: u64,
        as_of: Time,
    }
}

record! {
    Rating in "reputation_ratings" by (row_id: String) {
        holder: CitizenId,
        figure: String,
        scope: Option<GuildId>,
        mu: String,
        phi: String,
        sigma: String,
        lower_bound: String,
        upper_bound: String,
        as_of: Time,
    }
}

/// What a row is found by: its holder, its figure, and its scope or that it has none.
fn row_id(holder: CitizenId, figure: Figure, scope: Option<GuildId>) -> String {
    format!("{holder}/{}/{}", word(&figure), scope.map_or("*".to_owned(), |scope| scope.to_string()))
}

pub(super) fn fold(scores: &mut Sheet<Score>, ratings: &mut Sheet<Rating>, event: &ReputationEvent) {
    let ReputationEvent::Recomputed { holder, as_of, rows, gone } = event else { return };
    for Gone { figure, scope } in gone {
        let key = (row_id(*holder, *figure, *scope),);
        scores.remove(&key);
        ratings.remove(&key);
    }
    for row in rows {
        let id = row_id(*holder, row.figure, row.scope);
        // Asked for first: it may be there from the last time.
        scores.get(&(id.clone(),));
        ratings.get(&(id.clone(),));
        scores.put(score(id.clone(), *holder, row, *as_of));
        ratings.put(rating(id, *holder, row, *as_of));
    }
}

fn score(row_id: String, holder: CitizenId, row: &Row, as_of: Time) -> Score {
    Score {
        row_id,
        holder,
        figure: word(&row.figure),
        scope: row.scope,
        value: row.score.clone(),
        decay_rate: nine(lambda()),
        evidence: row.evidence,
        as_of,
    }
}

fn rating(row_id: String, holder: CitizenId, row: &Row, as_of: Time) -> Rating {
    let (lower_bound, upper_bound) = bounds(row);
    Rating {
        row_id,
        holder,
        figure: word(&row.figure),
        scope: row.scope,
        mu: row.mu.clone(),
        phi: row.phi.clone(),
        sigma: row.sigma.clone(),
        lower_bound,
        upper_bound,
        as_of,
    }
}

/// From the decimals on record, so that whoever has those gets the same.
#[allow(clippy::float_arithmetic, reason = "the bounds are sums of two numbers")]
fn bounds(row: &Row) -> (String, String) {
    let (mu, phi): (f64, f64) = (row.mu.parse().unwrap_or(0.0), row.phi.parse().unwrap_or(0.0));
    (nine(mu - BOUND * phi), nine(mu + BOUND * phi))
}
