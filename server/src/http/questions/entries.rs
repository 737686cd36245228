//! The log itself: pages of entries, by position and by stream, as exact bytes and as what they say.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chain::Hash;
use eventlog::Stored;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::asked::{Asked, json};
use crate::http::problem::Problem;

/// Streams of no aggregate.
const MACHINERY: [&str; 2] = ["log", "refusals"];

/// One entry as it is shown.
#[derive(Serialize)]
pub struct Shown<'a> {
    position: u64,
    entry_hash: Hash,
    prev: Hash,
    /// The exact bytes that were hashed, in base64.
    bytes: String,
    /// The same, parsed.
    entry: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    pub fn of(stored: &'a Stored) -> Self {
        Self {
            position: stored.position,
            entry_hash: stored.hash,
            prev: stored.prev,
            bytes: STANDARD.encode(&stored.bytes),
            entry: serde_json::from_slice(&stored.bytes).ok(),
        }
    }

    /// The event's type.
    pub fn kind(&self) -> String {
        let entry = self.entry.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        entry.as_ref().and_then(|entry| entry["type"].as_str()).unwrap_or("unknown").to_owned()
    }
}

#[derive(Serialize)]
struct Page<'a> {
    entries: Vec<Shown<'a>>,
    /// Where the next page begins.
    next: u64,
}

/// `GET /v1/entries?from=&limit=`
pub async fn entries(mut asked: Asked) -> Result<Response, Problem> {
    let from = asked.take::<u64>("from")?.unwrap_or(0);
    let limit = asked.limit()?;
    asked.nothing_else()?;
    let found = asked.app.city.log.read(from, limit as usize).await?;
    let next = found.last().map_or(from, |last| last.position + 1);
    json(&Page { entries: found.iter().map(Shown::of).collect(), next })
}

/// `GET /v1/streams/{stream}/entries?from=&limit=`: `from` is a version.
pub async fn of_stream(mut asked: Asked) -> Result<Response, Problem> {
    let stream: String = asked.path("stream")?;
    if !MACHINERY.contains(&stream.as_str()) {
        asked.path::<domain::ids::Stream>("stream")?;
    }
    let from = asked.take::<u64>("from")?.unwrap_or(0);
    let limit = asked.limit()?;
    asked.nothing_else()?;
    let found = asked.app.city.log.read_stream(&stream, from, limit as usize).await?;
    let next = found.last().map_or(from, |last| last.version + 1);
    json(&Page { entries: found.iter().map(Shown::of).collect(), next })
}
