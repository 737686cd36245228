//! What the log itself says about its anchors and about the lock of their store.

use std::collections::VecDeque;

use chain::entry::EntryView;
use chain::pack::packs_for;
use eventlog::Log;
use jiff::Timestamp;

use crate::AnchorError;
use crate::anchor_format::{ANCHORED, ANCHORED_V1, Anchored};
use crate::anchorer;
use crate::layout::Layout;
use crate::signing_keys::STREAM;
use crate::store::Store;

/// Entries read at a time.
const PAGE: usize = 1000;

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
        while let Some(page) = read(log, &mut self.read).await? {
            if let Some((anchored, at)) = page.into_iter().next_back() {
                (self.newest, self.at) = (Some(anchored), at);
            }
        }
        Ok(self.newest.as_ref())
    }

    /// The newest one's number, and when it was put on record.
    pub async fn last(&mut self, log: &Log) -> Result<Option<(u64, Timestamp)>, AnchorError> {
        let seq = self.newest(log).await?.map(|newest| newest.seq);
        Ok(seq.zip(self.at))
    }
}

/// The anchors that the log speaks of, one after the other, each once.
pub(crate) struct Records {
    log: Log,
    read: u64,
    waiting: VecDeque<Anchored>,
    next: u64,
}

impl Records {
    pub fn of(log: &Log) -> Self {
        Self { log: log.clone(), read: 0, waiting: VecDeque::new(), next: 0 }
    }

    /// One more than the last number.
    pub fn seen(&self) -> u64 {
        self.next
    }

    /// The next one; asked again once the log has grown.
    pub async fn next(&mut self) -> Result<Option<Anchored>, AnchorError> {
        self.fill().await?;
        let next = self.waiting.pop_front();
        self.next = next.as_ref().map_or(self.next, |next| next.seq + 1);
        Ok(next)
    }

    /// The same, and it stays the next one.
    pub async fn peek(&mut self) -> Result<Option<&Anchored>, AnchorError> {
        self.fill().await?;
        Ok(self.waiting.front())
    }

    async fn fill(&mut self) -> Result<(), AnchorError> {
        loop {
            // What was put on record once more is the same, word for word.
            while self.waiting.front().is_some_and(|anchored| anchored.seq < self.next) {
                self.waiting.pop_front();
            }
            if !self.waiting.is_empty() {
                return Ok(());
            }
            match read(&self.log, &mut self.read).await? {
                Some(page) => self.waiting.extend(page.into_iter().map(|(anchored, _)| anchored)),
                None => return Ok(()),
            }
        }
    }
}

/// What the next entries of the log's own stream say about anchors; nothing at its end.
async fn read(log: &Log, from: &mut u64) -> Result<Option<Vec<(Anchored, Option<Timestamp>)>>, AnchorError> {
    let entries = log.read_stream("log", *from, PAGE).await?;
    let Some(last) = entries.last() else { return Ok(None) };
    let mut said = Vec::new();
    for entry in &entries {
        said.extend(said_by(entry.position, &entry.bytes)?);
    }
    *from = last.version + 1;
    Ok(Some(said))
}

/// The anchor that an entry speaks of, if it is one that does, and when.
fn said_by(position: u64, bytes: &[u8]) -> Result<Option<(Anchored, Option<Timestamp>)>, AnchorError> {
    let entry = EntryView::parse(bytes).map_err(|_| AnchorError::Damaged(position))?;
    if entry.stream != STREAM || (entry.kind != ANCHORED && entry.kind != ANCHORED_V1) {
        return Ok(None);
    }
    let anchored = serde_json::from_str(entry.data.get());
    let anchored = anchored.map_err(|error| AnchorError::unreadable(ANCHORED, error))?;
    Ok(Some((anchored, entry.at.parse().ok())))
}

/// The newest anchor that the published entries below this size speak of. Reads from the end, a pack at a time.
pub(crate) fn published(layout: &Layout, size: u64) -> Result<Option<Anchored>, AnchorError> {
    for id in packs_for(size).iter().rev() {
        let records = layout.pack(id)?;
        for record in records.iter().rev() {
            if let Some((anchored, _)) = said_by(record.position, &record.bytes)? {
                return Ok(Some(anchored));
            }
        }
    }
    Ok(None)
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
