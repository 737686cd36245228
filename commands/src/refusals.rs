//! Who tried and was refused is part of the audit: the first at once, a flood as one summary a minute.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long equal refusals are counted before they are recorded together.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Most different refusals counted at once; further ones are counted as "other".
const MAX_KINDS: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct What {
    credential: String,
    action: String,
    code: String,
}

struct Count {
    since: Instant,
    more: u64,
}

#[derive(Default)]
pub(crate) struct Refusals {
    counts: HashMap<What, Count>,
}

impl Refusals {
    /// Notes one refusal; answers the data to record now, when it is the first of its kind in the window.
    pub(crate) fn note(&mut self, credential: &str, action: &str, code: &str, now: Instant) -> Option<Value> {
        let mut what = What { credential: credential.to_owned(), action: action.to_owned(), code: code.to_owned() };
        if !self.counts.contains_key(&what) && self.counts.len() >= MAX_KINDS {
            what = What { credential: "other".to_owned(), action: "other".to_owned(), code: code.to_owned() };
        }
        if let Some(count) = self.counts.get_mut(&what) {
            count.more += 1;
            return None;
        }
        let data = data(&what, 1);
        self.counts.insert(what, Count { since: now, more: 0 });
        Some(data)
    }

    /// The summaries of windows that have ended (all of them when `all`).
    pub(crate) fn due(&mut self, now: Instant, all: bool) -> Vec<Value> {
        let mut summaries = Vec::new();
        self.counts.retain(|what, count| {
            let ended = all || now.duration_since(count.since) >= WINDOW;
            if ended && count.more > 0 {
                summaries.push(data(what, count.more));
            }
            !ended
        });
        summaries
    }
}

fn data(what: &What, count: u64) -> Value {
    json!({ "action": what.action, "code": what.code, "count": count, "credential": what.credential })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_recorded_at_once_and_the_flood_as_one() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        assert!(refusals.note("key_1", "guild.found", "not_permitted", start).is_some());
        for _ in 0..500 {
            assert!(refusals.note("key_1", "guild.found", "not_permitted", start).is_none());
        }
        assert!(refusals.due(start, false).is_empty());
        assert_eq!(refusals.due(start + WINDOW, false)[0]["count"], 500);
        assert!(refusals.note("key_1", "guild.found", "not_permitted", start + WINDOW).is_some());
    }

    #[test]
    fn memory_is_bounded_whatever_callers_send() {
        let mut refusals = Refusals::default();
        for number in 0..5 * MAX_KINDS {
            refusals.note(&number.to_string(), "guild.found", "not_permitted", Instant::now());
        }
        assert!(refusals.counts.len() <= MAX_KINDS + 1);
    }
}
