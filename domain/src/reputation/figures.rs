//! All rows of a holder, from their evidence.

use std::collections::BTreeMap;

use super::event::Row;
use super::evidence::{Evidence, Figure};
use super::rating::rating;
use super::score::{nine, scopes, score};
use crate::ids::GuildId;
use crate::time::Time;

/// Rows by figure and scope; an absent scope is the global row.
pub type Figures = BTreeMap<(Figure, Option<GuildId>), Row>;

/// Everything that the evidence known at `as_of` says then.
pub fn figures<'a>(evidence: impl IntoIterator<Item = &'a Evidence>, as_of: Time) -> Figures {
    let mut known: Vec<Evidence> = evidence.into_iter().filter(|piece| piece.counts_at(as_of)).copied().collect();
    // Pieces that are alike in all three are equal terms: which of them is first changes nothing.
    known.sort_by_key(|piece| (piece.effective_at, piece.kind, piece.weight));
    let mut figures = Figures::new();
    let all = std::iter::once(None).chain(scopes(&known).into_iter().map(Some));
    for scope in all {
        let here: Vec<Evidence> =
            known.iter().filter(|piece| scope.is_none_or(|scope| piece.scope == scope)).copied().collect();
        for figure in Figure::ALL {
            let counted: Vec<Evidence> = here.iter().filter(|piece| figure.counts(piece.kind)).copied().collect();
            if counted.is_empty() {
                continue;
            }
            let rating = rating(&counted, as_of);
            let row = Row {
                figure,
                scope,
                evidence: counted.len() as u64,
                score: nine(score(figure, &counted, as_of)),
                mu: nine(rating.mu),
                phi: nine(rating.phi),
                sigma: nine(rating.sigma),
            };
            figures.insert((figure, scope), row);
        }
    }
    figures
}
