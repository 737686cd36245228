//! What the log itself says about its anchors and about the lock of their store.

use eventlog::Log;
use jiff::Timestamp;
use serde_json::Value;

use crate::AnchorError;
use crate::anchor_format::{ANCHORED, ANCHORED_V1, Anchored};
use crate::anchorer;
use crate::store::Store;

/// The anchors that the log speaks of, as far as its own stream was read.
#[derive(Default)]
pub struct OnRecord {
    read: u64,
    newest: Option<Anchored>,
    /// When the log said so.
    at: Option<Timestamp>,
}

impl OnRecord {
    /// The newest one. Reads on where it ended: whoever waits for the seat asks every second.
    pub async fn newest(&mut self, log: &Log) -> Result<Option<&Anchored>, AnchorError> {
        loop {
            let entries = log.read_stream("log", self.read, 1000).await?;
            let Some(last) = entries.last() else { return Ok(self.newest.as_ref()) };
            for entry in &entries {
                let entry: Value =
                    serde_json::from_slice(&entry.bytes).map_err(|_| AnchorError::Damaged(entry.position))?;
                if entry["type"] == ANCHORED || entry["type"] == ANCHORED_V1 {
                    let anchored = serde_json::from_value(entry["data"].clone());
                    self.at = entry["at"].as_str().and_then(|at| at.parse().ok());
                    self.newest = Some(anchored.map_err(|error| AnchorError::unreadable(ANCHORED, error))?);
                }
            }
            self.read = last.version + 1;
        }
    }

    /// The newest one's number, and when it was put on record.
    pub async fn last(&mut self, log: &Log) -> Result<Option<(u64, Timestamp)>, AnchorError> {
        let seq = self.newest(log).await?.map(|newest| newest.seq);
        Ok(seq.zip(self.at))
    }
}

/// Whether this store has the newest anchor that the log speaks of; answers with it.
///
/// # Errors
/// [`AnchorError::Store`] when it has not.
pub async fn check_store(log: &Log, store: &dyn Store) -> Result<Option<Anchored>, AnchorError> {
    let mut on_record = OnRecord::default();
    let newest = on_record.newest(log).await?;
    if let Some(recorded) = newest {
        anchorer::find(store, recorded).await?;
    }
    Ok(newest.cloned())
}
