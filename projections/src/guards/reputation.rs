//! `reputation_scores` and `reputation_ratings`: what was computed last; one row per holder, figure and scope, and one over all scopes.

use domain::ids::{CitizenId, GuildId};
use domain::reputation::event::{Gone, ReputationEvent, Row};
use domain::reputation::evidence::Figure;
use domain::reputation::rating::BOUND;
use domain::reputation::score::{lambda, nine};
use domain::time::Time;

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
    format!("{holder}/{}/{}", figure.word(), scope.map_or("*".to_owned(), |scope| scope.to_string()))
}

pub(super) fn fold(scores: &mut Sheet<Score>, ratings: &mut Sheet<Rating>, event: &ReputationEvent) {
    let ReputationEvent::Recomputed { holder, as_of, rows, gone } = event else { return };
    for Gone { figure, scope } in gone {
        let key = (row_id(*holder, *figure, *scope),);
        scores.remove(&key);
        ratings.remove(&key);
    }
    let ids: Vec<String> = rows.iter().map(|row| row_id(*holder, row.figure, row.scope)).collect();
    // Asked for first: they may be there from the last time.
    for id in &ids {
        let key = (id.clone(),);
        scores.get(&key);
        ratings.get(&key);
    }
    if scores.is_waiting() || ratings.is_waiting() {
        // All of this is folded again, and until then counts for nothing.
        return;
    }
    let decay_rate = nine(lambda());
    for (id, row) in ids.into_iter().zip(rows.iter()) {
        scores.put(score(id.clone(), *holder, row, &decay_rate, *as_of));
        ratings.put(rating(id, *holder, row, *as_of));
    }
}

fn score(row_id: String, holder: CitizenId, row: &Row, decay_rate: &str, as_of: Time) -> Score {
    Score {
        row_id,
        holder,
        figure: row.figure.word().to_owned(),
        scope: row.scope,
        value: row.score.clone(),
        decay_rate: decay_rate.to_owned(),
        evidence: row.evidence,
        as_of,
    }
}

fn rating(row_id: String, holder: CitizenId, row: &Row, as_of: Time) -> Rating {
    let (lower_bound, upper_bound) = bounds(row);
    Rating {
        row_id,
        holder,
        figure: row.figure.word().to_owned(),
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
