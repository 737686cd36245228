//! Entries read and understood ahead of the one who folds them.

use eventlog::{Failure, Log};
use futures::{Stream, StreamExt as _};

use crate::recorded::{Recorded, decode_all};

/// Entries folded at once: large enough for set-based writing to pay, small enough to be held several times.
const BATCH: u64 = if cfg!(test) { 90 } else { 10_000 };
/// Batches being read and decoded while one is written.
const AHEAD: usize = 2;

/// The entries from `from` up to and not including `until`, in order, in batches.
pub(super) fn read(
    log: &Log,
    from: u64,
    until: u64,
) -> impl Stream<Item = Result<Vec<Recorded>, Failure>> + Send + 'static {
    let log = log.clone();
    let starts = futures::stream::iter((from..until).step_by(BATCH as usize));
    // Spawned, so that reading goes on while the one who folds is busy.
    let batches = starts.map(move |start| tokio::spawn(batch(log.clone(), start, BATCH.min(until - start))));
    batches
        .buffered(AHEAD)
        .map(|joined| joined.unwrap_or_else(|error| Err(Failure::System(format!("replay: {error}")))))
}

/// Exactly these entries; the log gives fewer at once when they are large.
async fn batch(log: Log, start: u64, count: u64) -> Result<Vec<Recorded>, Failure> {
    let mut stored = Vec::new();
    while (stored.len() as u64) < count {
        let have = stored.len() as u64;
        let more = log.read(start + have, (count - have) as usize).await?;
        if more.is_empty() {
            return Err(Failure::Corrupt(format!("the log ends before position {}", start + count)));
        }
        stored.extend(more);
    }
    let decoded = tokio::task::spawn_blocking(move || decode_all(&stored)).await;
    Ok(decoded.map_err(|error| Failure::System(format!("replay: {error}")))??)
}
