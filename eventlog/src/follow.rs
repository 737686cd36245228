//! Reading along: every entry once, in order, as soon as it is committed.

use std::time::Duration;

use tokio::sync::watch;

use crate::{Failure, Log, Stored};

/// How long a commit of another server may go unnoticed.
const POLL: Duration = Duration::from_millis(100);

/// A reader that remembers where it is. Positions are dense and become visible in order, so "the next position" is all it needs.
pub struct Follower {
    log: Log,
    next: u64,
    committed: watch::Receiver<u64>,
}

impl Follower {
    pub(crate) fn new(log: Log, next: u64, committed: watch::Receiver<u64>) -> Follower {
        Follower { log, next, committed }
    }

    /// The position of the next entry to be returned.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Waits for entries and returns up to `max` of them, never none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// A [`Failure`] leaves the position where it was: ask again.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Stored>, Failure> {
        loop {
            // Marked as seen before reading: a commit between the read and the wait then ends the wait at once.
            self.committed.mark_unchanged();
            let entries = self.log.read(self.next, max.max(1)).await?;
            if !entries.is_empty() {
                self.next += entries.len() as u64;
                return Ok(entries);
            }
            tokio::select! {
                _ = self.committed.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}
