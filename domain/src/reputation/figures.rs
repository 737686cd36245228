//! All rows of a holder, from their evidence.

use std::collections::BTreeMap;

use super::event::Row;
use super::evidence::{Evidence, Figure};
use super::rating::rating;
use super::score::{nine, score};
use crate::ids::GuildId;
use crate::time::Time;

/// Rows by figure and scope; an absent scope is the global row.
pub type Figures = BTreeMap<(Figure, Option<GuildId>), Row>;

/// Everything that the evidence known at `as_of` says then.
pub fn figures<'a>(evidence: impl IntoIterator<Item = &'a Evidence>, as_of: Time) -> Figures {
    let mut known: Vec<Evidence> = evidence.into_iter().filter(|piece| piece.counts_at(as_of)).copied().collect();
    // Pieces that are alike in all three are equal terms: which of them is first changes nothing.
    known.sort_by_key(|piece| (piece.effective_at, piece.kind, piece.weight));
    let mut scopes: BTreeMap<GuildId, Vec<Evidence>> = BTreeMap::new();
    for piece in &known {
        scopes.entry(piece.scope).or_default().push(*piece);
    }
    let mut figures = Figures::new();
    let everywhere = std::iter::once((None, &known));
    for (scope, here) in everywhere.chain(scopes.iter().map(|(scope, here)| (Some(*scope), here))) {
        figures.extend(Figure::ALL.into_iter().filter_map(|figure| {
            let counted: Vec<Evidence> = here.iter().filter(|piece| figure.counts(piece.kind)).copied().collect();
            let row = row(figure, scope, &counted, as_of)?;
            Some(((figure, scope), row))
        }));
    }
    figures
}

/// None without evidence.
fn row(figure: Figure, scope: Option<GuildId>, counted: &[Evidence], as_of: Time) -> Option<Row> {
    if counted.is_empty() {
        return None;
    }
    let rating = rating(counted, as_of);
    Some(Row {
        figure,
        scope,
        evidence: counted.len() as u64,
        score: nine(score(figure, counted, as_of)),
        mu: nine(rating.mu),
        phi: nine(rating.phi),
        sigma: nine(rating.sigma),
    })
}
