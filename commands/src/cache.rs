//! A bounded memory of stream states at the head, the least recently used forgotten first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ids::Stream;
use domain::turn::State;

use crate::entries::Tip;

/// Most streams kept in memory.
const CAPACITY: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Known {
    pub state: Arc<State>,
    pub tip: Tip,
    /// Moved by reading, so that what decisions look at stays.
    used: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Cache {
    streams: HashMap<Stream, Known>,
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
        self.streams.insert(stream, Known { state, tip, used: AtomicU64::new(self.clock) });
    }

    pub(crate) fn clear(&mut self) {
        self.streams.clear();
    }

    /// Between batches: when there are too many, the least recently used quarter goes at once.
    pub(crate) fn trim(&mut self) {
        if self.streams.len() <= CAPACITY {
            return;
        }
        let mut ages: Vec<u64> = self.streams.values().map(|known| known.used.load(Ordering::Relaxed)).collect();
        let (_, &mut oldest_kept, _) = ages.select_nth_unstable(self.streams.len() - CAPACITY * 3 / 4);
        self.streams.retain(|_, known| known.used.load(Ordering::Relaxed) >= oldest_kept);
    }
}
