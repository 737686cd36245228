//! A bounded memory of rows: two generations, of which the older is dropped when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;

/// Remembers at least the `capacity` keys that were used last, and at most twice as many.
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    capacity: usize,
    /// Everything that was ever put in is still here.
    complete: bool,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// `complete`: what is not in the cache is nowhere, until something had to be dropped.
    pub(crate) fn new(capacity: usize, complete: bool) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity, complete }
    }

    /// Keeps a key from being dropped next.
    pub(crate) fn touch(&mut self, key: &K) {
        if let Some(value) = self.old.remove(key) {
            self.young.insert(key.clone(), value);
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn forget(&mut self, key: &K) {
        self.complete = false;
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.complete = false;
        self.young.clear();
        self.old.clear();
    }

    /// Whether an unknown key is certainly nowhere.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Drops what was not used lately, if there is too much.
    pub(crate) fn shrink(&mut self) {
        if self.young.len() > self.capacity {
            self.complete &= self.old.is_empty();
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_size_is_bounded() {
        let mut cache = Cache::new(10, true);
        for key in 0..1000 {
            cache.touch(&0);
            cache.put(key, key);
            cache.shrink();
        }
        assert_eq!(cache.get(&0), Some(&0));
        assert_eq!(cache.get(&1), None);
        assert!(!cache.is_complete());
        assert!(cache.young.len() + cache.old.len() <= 22);
    }
}
