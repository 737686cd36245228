//! A bounded memory of unwrapped subject keys, the oldest forgotten first.

use std::collections::{HashMap, VecDeque};

use super::SubjectKey;

const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(super) struct Cache {
    keys: HashMap<String, SubjectKey>,
    order: VecDeque<String>,
}

impl Cache {
    pub(super) fn get(&self, subject: &str) -> Option<SubjectKey> {
        self.keys.get(subject).cloned()
    }

    pub(super) fn put(&mut self, subject: &str, key: SubjectKey) {
        if self.keys.insert(subject.to_owned(), key).is_some() {
            return;
        }
        self.order.push_back(subject.to_owned());
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, subject: &str) {
        if self.keys.remove(subject).is_some() {
            self.order.retain(|known| known != subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_forgets_on_request() {
        let mut cache = Cache::default();
        for number in 0..CAPACITY + 5 {
            cache.put(&number.to_string(), SubjectKey::from_bytes([1; 32]));
        }
        assert_eq!((cache.keys.len(), cache.order.len()), (CAPACITY, CAPACITY));
        assert!(cache.get("4").is_none());
        assert!(cache.get("5").is_some());
        cache.remove("5");
        assert!(cache.get("5").is_none());
        assert_eq!(cache.order.len(), CAPACITY - 1);
    }
}
