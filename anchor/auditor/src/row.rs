//! Which of the anchors that lie in a folder are its chain: the row in which as many as can be continue the one before.
//!
//! Whoever has a key of the log can lay an anchor around a checkpoint that it signed long ago, under a number of their choice. That it names
//! the one before by hash they can arrange, that another one names it they cannot.

use std::collections::{HashMap, HashSet};

use chain::Hash;

use crate::anchors::Candidate;

/// How good a row is: how many in it continue the one before, then how many there are.
type Rank = (usize, usize);

/// Those that a key of the policy signed, and those that they lead to by hash, which older keys may have signed; and the others. Where none is
/// signed, none is told from the others. They are given in the order of their keys.
pub fn counting(anchors: Vec<Candidate>) -> (Vec<Candidate>, Vec<Candidate>) {
    if anchors.iter().all(|anchor| anchor.known.by.is_empty()) {
        return (anchors, Vec::new());
    }
    let mut named: HashSet<(u64, Hash)> = HashSet::new();
    let counts = |anchor: &Candidate, named: &HashSet<(u64, Hash)>| {
        !anchor.known.by.is_empty() || named.contains(&(anchor.known.seq, anchor.known.sha256))
    };
    // From the end: what continues another one has the next number.
    for anchor in anchors.iter().rev() {
        if counts(anchor, &named)
            && let (Some(previous), Some(before)) = (&anchor.previous, anchor.known.seq.checked_sub(1))
        {
            named.insert((before, previous.sha256));
        }
    }
    anchors.into_iter().partition(|anchor| counts(anchor, &named))
}

/// The places of those that are the chain, in their order. They are given in the order of their keys.
pub fn chain(anchors: &[Candidate]) -> Vec<usize> {
    let places: HashMap<&str, usize> =
        anchors.iter().enumerate().map(|(place, anchor)| (anchor.known.key.as_str(), place)).collect();
    // For each the best row that ends with it, as its rank and the place before.
    let mut ends: Vec<(Rank, Option<usize>)> = Vec::with_capacity(anchors.len());
    // Where the best row ends over all smaller numbers.
    let mut best: Option<usize> = None;
    for number in anchors.chunk_by(|one, next| one.known.seq == next.known.seq) {
        let first = ends.len();
        for anchor in number {
            let mut before = best;
            let mut rank = best.map_or((0, 0), |best| ends[best].0);
            let named = anchor.previous.as_ref().and_then(|named| places.get(named.key.as_str()));
            if let Some(&place) = named.filter(|place| continues(anchor, &anchors[**place])) {
                let (continued, members) = ends[place].0;
                // Its number is one more, so it stands before.
                if (continued + 1, members) > rank {
                    (before, rank) = (Some(place), (continued + 1, members));
                }
            }
            ends.push(((rank.0, rank.1 + 1), before));
        }
        // Of equal ones the last by name.
        for place in first..ends.len() {
            if best.is_none_or(|best| ends[place].0 >= ends[best].0) {
                best = Some(place);
            }
        }
    }
    let mut chain: Vec<usize> = std::iter::successors(best, |place| ends[*place].1).collect();
    chain.reverse();
    chain
}

/// Whether it names this one, by key and hash, as the one before it.
fn continues(anchor: &Candidate, before: &Candidate) -> bool {
    let named = anchor.previous.as_ref().is_some_and(|named| named.sha256 == before.known.sha256);
    named && anchor.origin == before.origin && before.known.seq.checked_add(1) == Some(anchor.known.seq)
}
