//! How the anchor writes about the log into the log, without knowing the one writer.

use async_trait::async_trait;

use crate::Failure;

/// Appends an entry of the log's own (`log.*`) to the log's own stream.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Records `kind` with `data`. When this returns, the entry is durable at the position returned.
    async fn record(&self, kind: &str, data: serde_json::Value) -> Result<u64, Failure>;
}
