//! A bounded memory of stream states at the head, the least recently used forgotten first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ids::Stream;
use domain::turn::State;

use crate::entries::Tip;

/// Most that is kept in memory: so many streams, or fewer that are heavy.
const CAPACITY: usize = 100_000;
/// Pieces of evidence that take as much room as most streams as a whole.
const PIECES: usize = 5;

fn weight(state: &State) -> usize {
    match state {
        State::Reputation(reputation) => 1 + reputation.evidence().len() / PIECES,
        _ => 1,
    }
}

#[derive(Debug)]
pub(crate) struct Known {
    pub state: Arc<State>,
    pub tip: Tip,
    weight: usize,
    /// Moved by reading, so that what decisions look at stays.
    used: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Cache {
    streams: HashMap<Stream, Known>,
    /// Of all states, as they were when they were put here.
    weight: usize,
    clock: u64,
}

impl Cache {
    pub(crate) fn get(&self, stream: Stream) -> Option<&Known> {
        let known = self.streams.get(&stream)?;
        known.used.store(self.clock, Ordering::Relaxed);
        Some(known)
    }

    pub(crate) fn get_mut(&mut self, stream: Stream) -> Option<&mut Known> {
        self.streams.get_mut(&stream)
    }

    pub(crate) fn put(&mut self, stream: Stream, state: Arc<State>, tip: Tip) {
        self.clock += 1;
        let weight = weight(&state);
        let known = Known { state, tip, weight, used: AtomicU64::new(self.clock) };
        let before = self.streams.insert(stream, known).map_or(0, |before| before.weight);
        self.weight = self.weight + weight - before;
    }

    pub(crate) fn clear(&mut self) {
        self.streams.clear();
        self.weight = 0;
    }

    /// Between batches: when there is too much, the least recently used quarter goes at once.
    pub(crate) fn trim(&mut self) {
        if self.weight <= CAPACITY {
            return;
        }
        let mut ages: Vec<(u64, usize)> =
            self.streams.values().map(|known| (known.used.load(Ordering::Relaxed), known.weight)).collect();
        ages.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        let mut kept = 0;
        let oldest_kept = ages.into_iter().take_while(|(_, weight)| {
            kept += weight;
            kept <= CAPACITY * 3 / 4
        });
        let oldest_kept = oldest_kept.last().map_or(self.clock, |(used, _)| used);
        self.streams.retain(|_, known| known.used.load(Ordering::Relaxed) >= oldest_kept);
        self.weight = self.streams.values().map(|known| known.weight).sum();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use domain::ids::{CitizenId, EvidenceId, GuildId, ReputationId};
    use domain::reputation::Reputation;
    use domain::reputation::event::ReputationEvent;
    use domain::reputation::evidence::{EvidenceType, Weight};
    use domain::time::Time;

    use super::*;

    fn reputation(pieces: u128) -> Arc<State> {
        let mut reputation = Reputation::default();
        for piece in 0..pieces {
            let recorded = ReputationEvent::EvidenceRecorded {
                evidence: EvidenceId::from_bits(piece),
                holder: CitizenId::from_bits(1),
                kind: EvidenceType::AuditClean,
                weight: Weight(200),
                scope: GuildId::from_bits(1),
                attested_by: CitizenId::from_bits(2),
                effective_at: Time::from_micros(1),
                stake: None,
                work_lookup: None,
                work: None,
                proof: None,
                note: None,
            };
            reputation.evolve(&recorded, Time::from_micros(2));
        }
        Arc::new(State::Reputation(reputation))
    }

    #[test]
    fn heavy_streams_are_fewer_and_the_last_used_stay() {
        let mut cache = Cache::default();
        let stream = |number: u128| Stream::Reputation(ReputationId::from_bits(number));
        let heavy = reputation(500);
        for number in 0..1_000 {
            cache.put(stream(number), Arc::clone(&heavy), Tip::NONE);
            cache.put(stream(number), Arc::clone(&heavy), Tip::NONE);
            cache.get(stream(0)).unwrap();
            cache.trim();
            assert!(cache.weight <= CAPACITY && cache.get(stream(number)).is_some());
        }
        assert!(cache.streams.len() < 1_000 && cache.get(stream(0)).is_some() && cache.get(stream(1)).is_none());
        assert_eq!(cache.weight, cache.streams.len() * 101);
    }
}
