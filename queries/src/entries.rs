//! Entries of the log itself: by position, by stream, and one alone.

use eventlog::{Failure, Log, Stored};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Page, PageRequest, QueryError, Result};

/// An entry with its exact bytes, which are JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub position: u64,
    pub stream: String,
    pub version: u64,
    /// The hash of the stream's previous entry.
    pub prev: String,
    pub entry_hash: String,
    pub entry: Box<RawValue>,
}

impl Entry {
    fn read(stored: Stored) -> Result<Self> {
        let corrupt =
            |error: serde_json::Error| Failure::Corrupt(format!("the entry at position {}: {error}", stored.position));
        let entry = serde_json::from_slice(&stored.bytes).map_err(corrupt)?;
        Ok(Self {
            position: stored.position,
            stream: stored.stream,
            version: stored.version,
            prev: stored.prev.to_hex(),
            entry_hash: stored.hash.to_hex(),
            entry,
        })
    }
}

/// The feed: all entries in order; the cursor is the last position that was read.
pub async fn feed(log: &Log, request: &PageRequest) -> Result<Page<Entry>> {
    let stored = log.read(first(request)?, request.limit() as usize + 1).await?;
    page(stored, request, |entry| entry.position.to_string())
}

/// One stream in order; the cursor is the last version that was read.
pub async fn of_stream(log: &Log, stream: &str, request: &PageRequest) -> Result<Page<Entry>> {
    let stored = log.read_stream(stream, first(request)?, request.limit() as usize + 1).await?;
    page(stored, request, |entry| entry.version.to_string())
}

/// The entry at one position, if the log is that long.
pub async fn at(log: &Log, position: u64) -> Result<Option<Entry>> {
    if i64::try_from(position).is_err() {
        return Ok(None);
    }
    let stored = log.read(position, 1).await?;
    stored.into_iter().next().map(Entry::read).transpose()
}

/// What comes after the cursor.
fn first(request: &PageRequest) -> Result<u64> {
    let Some(after) = request.after() else { return Ok(0) };
    let last: i64 = after.parse().map_err(|_| QueryError::Cursor)?;
    // -1 is the cursor before everything, so that a follower can start with one.
    u64::try_from(last.saturating_add(1)).map_err(|_| QueryError::Cursor)
}

fn page(stored: Vec<Stored>, request: &PageRequest, cursor: impl Fn(&Entry) -> String) -> Result<Page<Entry>> {
    let entries: Vec<Entry> = stored.into_iter().map(Entry::read).collect::<Result<_>>()?;
    Ok(Page::cut(entries, request.limit(), cursor))
}
