//! A share for every credential: a bucket of requests that fills again at a steady pace.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most credentials remembered; those whose bucket is full again are forgotten first.
const MAX_BUCKETS: usize = 100_000;

pub struct Buckets<K> {
    /// Time that one request costs.
    cost: Duration,
    /// Time that a full bucket holds.
    room: Duration,
    /// When each bucket will be full again.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub fn new(per_second: u32, burst: u32) -> Self {
        let cost = Duration::from_secs(1) / per_second.max(1);
        Self { cost, room: cost * burst.max(1), full_at: Mutex::default() }
    }

    /// Takes one request out of the bucket, or says how long to wait for one.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        // Whatever a panic elsewhere left behind, the map is only a count.
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.entry(key).or_insert(now);
        let after = (*full_at).max(now) + self.cost;
        let limit = now + self.room;
        if after > limit {
            return Err(after - limit);
        }
        *full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_pace_counts() {
        let (buckets, start) = (Buckets::new(10, 5), Instant::now());
        for _ in 0..5 {
            assert!(buckets.take("a", start).is_ok());
        }
        let wait = buckets.take("a", start).expect_err("the bucket is empty");
        assert!(wait <= Duration::from_millis(100) && !wait.is_zero());
        assert!(buckets.take("b", start).is_ok(), "others have their own");
        assert!(buckets.take("a", start + wait).is_ok());
        assert!(buckets.take("a", start + wait).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let (buckets, start) = (Buckets::new(1000, 1), Instant::now());
        for key in 0..2 * MAX_BUCKETS {
            let now = start + Duration::from_millis(key as u64);
            assert!(buckets.take(key, now).is_ok());
        }
        assert!(buckets.full_at.lock().expect("no panic").len() <= MAX_BUCKETS);
    }
}
