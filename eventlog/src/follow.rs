//! Reading along: every entry once, in order, as soon as it is committed.

use std::time::Duration;

use chain::Hash;
use tokio::sync::watch;

use crate::{Failure, Log, Stored};

/// How long a commit of another server may go unnoticed.
const POLL: Duration = Duration::from_millis(100);
/// The same where nobody else can write: there, this process wakes its followers itself.
const ALONE: Duration = Duration::from_secs(5);

/// A reader that remembers where it is. Positions are dense and become visible in order, so "the next position" is all it needs.
pub struct Follower {
    log: Log,
    next: u64,
    /// The entry before it, once it was read.
    last: Option<Hash>,
    committed: watch::Receiver<u64>,
}

impl Follower {
    pub(crate) fn new(log: Log, next: u64, committed: watch::Receiver<u64>) -> Follower {
        Follower { log, next, last: None, committed }
    }

    /// The position of the next entry to be returned.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Waits for entries and returns up to `max` of them, never none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// A [`Failure`] leaves the position where it was: ask again. [`Failure::Diverged`] when the log ends before that position or
    /// holds another entry before it than was read there: it is not the log that was followed so far.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Stored>, Failure> {
        loop {
            // Marked as seen before reading: a commit between the read and the wait then ends the wait at once.
            self.committed.mark_unchanged();
            let entries = self.read(max.max(1)).await?;
            if let Some(newest) = entries.last() {
                self.next = newest.position + 1;
                self.last = Some(newest.hash);
                return Ok(entries);
            }
            let pause = if self.log.writes_alone() { ALONE } else { POLL };
            tokio::select! {
                _ = self.committed.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// New entries, if there are any. The entry before them is read along: without it, a log that has become shorter would look like one
    /// that does not grow, and one that was restored and grew again like the same one.
    async fn read(&mut self, max: usize) -> Result<Vec<Stored>, Failure> {
        let Some(before) = self.next.checked_sub(1) else { return self.log.read(0, max).await };
        let mut entries = self.log.read(before, max.saturating_add(1)).await?;
        let diverged = |what: &str| Err(Failure::Diverged { position: before, what: what.to_owned() });
        match (entries.first().map(|entry| entry.hash), self.last) {
            (None, _) => return diverged("it ends before what was read from it"),
            (Some(found), Some(known)) if found != known => return diverged("it holds another entry than was read"),
            (Some(found), _) => self.last = Some(found),
        }
        entries.remove(0);
        Ok(entries)
    }
}
