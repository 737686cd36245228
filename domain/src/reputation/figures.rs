//! All rows of a holder, from their evidence.

use std::collections::BTreeMap;

use super::event::Row;
use super::evidence::{AsOf, Evidence, Figure};
use super::rating::rating;
use super::score::{nine, score};
use crate::ids::GuildId;
use crate::time::Time;

/// Rows by figure and scope; an absent scope is the global row.
pub type Figures = BTreeMap<(Figure, Option<GuildId>), Row>;

/// Evidence that counts, in its order; `scope` absent = all.
pub fn known<'a>(
    evidence: impl IntoIterator<Item = &'a Evidence>,
    scope: Option<GuildId>,
    as_of: AsOf,
) -> Vec<Evidence> {
    let counts = |piece: &&Evidence| as_of.counts(piece) && scope.is_none_or(|scope| piece.scope == scope);
    let mut known: Vec<Evidence> = evidence.into_iter().filter(counts).copied().collect();
    // Pieces that are alike in all four are equal terms: which of them is first changes nothing.
    known.sort_by_key(|piece| (piece.effective_at, piece.kind, piece.weight, piece.scope));
    known
}

/// Everything that the evidence known at `as_of` says then.
pub fn figures<'a>(evidence: impl IntoIterator<Item = &'a Evidence>, as_of: Time) -> Figures {
    figures_of(&known(evidence, None, AsOf::Recorded(as_of)), as_of)
}

/// Everything that evidence which is [`known`] says at a time.
pub fn figures_of(known: &[Evidence], as_of: Time) -> Figures {
    let mut scopes: BTreeMap<GuildId, Vec<Evidence>> = BTreeMap::new();
    for piece in known {
        scopes.entry(piece.scope).or_default().push(*piece);
    }
    let mut figures = Figures::new();
    let everywhere = std::iter::once((None, known));
    for (scope, here) in everywhere.chain(scopes.iter().map(|(scope, here)| (Some(*scope), here.as_slice()))) {
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
