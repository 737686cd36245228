//! What the log says about its own anchors and locks, for those who look in from outside: the newest of it, read once.

use std::collections::{BTreeMap, VecDeque};

use chain::entry::EntryView;
use eventlog::{Failure, Log};
use serde_json::Value;

/// Anchors that are shown.
const SHOWN: usize = 100;
const PAGE: usize = 1000;

/// Grows with the stream `log`; what it holds is public: keys of objects, hashes, outcomes.
#[derive(Debug, Default)]
pub struct OnRecord {
    read: u64,
    /// The data of the newest anchors, oldest first, with the time and position of the entry that records each.
    pub anchors: VecDeque<Value>,
    /// The newest attempt on each store's lock.
    pub locks: BTreeMap<String, Value>,
}

impl OnRecord {
    /// Reads on where it ended.
    pub async fn catch_up(&mut self, log: &Log) -> Result<(), Failure> {
        loop {
            let entries = log.read_stream("log", self.read, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            for entry in &entries {
                let corrupt = || Failure::Corrupt(format!("position {} cannot be read", entry.position));
                let view = EntryView::parse(&entry.bytes).map_err(|_| corrupt())?;
                let mut data: Value = serde_json::from_str(view.data.get()).map_err(|_| corrupt())?;
                data["at"] = Value::from(view.at.to_string());
                data["position"] = entry.position.into();
                self.take(&view.kind, data);
            }
            self.read = last.version + 1;
        }
    }

    fn take(&mut self, kind: &str, data: Value) {
        // Whatever the version: what it says more is shown too.
        if kind.starts_with("log.anchored.") {
            // Recorded twice after a crash, word for word.
            self.anchors.retain(|known| known["seq"] != data["seq"]);
            self.anchors.push_back(data);
            if self.anchors.len() > SHOWN {
                self.anchors.pop_front();
            }
        } else if kind.starts_with("log.lock_tried.") {
            let store = data["store"].as_str().unwrap_or("store").to_owned();
            self.locks.insert(store, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_anchors_are_kept_once_each_and_the_newest_lock_of_each_store() {
        let mut record = OnRecord::default();
        for seq in 0..SHOWN + 5 {
            record.take("log.anchored.v1", json!({ "seq": seq }));
        }
        record.take("log.anchored.v9", json!({ "seq": SHOWN + 4, "mode": "COMPLIANCE" }));
        assert_eq!(record.anchors.len(), SHOWN);
        assert_eq!(record.anchors[0]["seq"], 5);
        assert_eq!(record.anchors[SHOWN - 1]["mode"], "COMPLIANCE");
        for verdict in ["proven", "yielded"] {
            record.take("log.lock_tried.v1", json!({ "store": "s3-object-lock", "verdict": verdict }));
        }
        record.take("log.secrets_named.v1", json!({}));
        assert_eq!(record.locks["s3-object-lock"]["verdict"], "yielded");
        assert_eq!(record.locks.len(), 1);
    }
}
