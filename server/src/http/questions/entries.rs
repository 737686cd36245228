//! The log itself: pages of entries, by position and by stream, as exact bytes and as what they say.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chain::Hash;
use domain::ids::ReputationId;
use domain::party::Tier;
use domain::turn::Permit;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// The same, parsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a RawValue>,
    /// This caller does not see what it says, only that it is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withheld: bool,
}

/// Whether a caller sees what an entry says: numbers of somebody's reputation are theirs, and the city's gate's.
pub fn may_see(permit: &Permit, stream: &str) -> bool {
    let own = |holder: ReputationId| permit.actor.citizen().map(ReputationId::of) == Some(holder);
    permit.tier >= Tier::Gate || stream.parse().map_or(true, own)
}

impl<'a> Shown<'a> {
    pub fn to(permit: &Permit, stored: &'a Stored) -> Self {
        let seen = may_see(permit, &stored.stream);
        Self {
            position: stored.position,
            entry_hash: stored.hash,
            prev: stored.prev,
            bytes: seen.then(|| STANDARD.encode(&stored.bytes)),
            entry: seen.then(|| serde_json::from_slice(&stored.bytes).ok()).flatten(),
            withheld: !seen,
        }
    }

    /// The event's type.
    pub fn kind(&self) -> String {
        let entry = self.entry.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let unseen = if self.withheld { "withheld" } else { "unknown" };
        entry.as_ref().and_then(|entry| entry["type"].as_str()).unwrap_or(unseen).to_owned()
    }
}

#[derive(Serialize)]
struct Page<'a> {
    entries: Vec<Shown<'a>>,
    /// Where the next page begins.
    next: u64,
}

fn shown<'a>(asked: &Asked, found: &'a [Stored]) -> Vec<Shown<'a>> {
    found.iter().map(|stored| Shown::to(&asked.caller.permit, stored)).collect()
}

/// `GET /v1/entries?from=&limit=`
pub async fn entries(mut asked: Asked) -> Result<Response, Problem> {
    let from = asked.take::<u64>("from")?.unwrap_or(0);
    let limit = asked.limit()?;
    asked.nothing_else()?;
    let found = asked.app.city.log.read(from, limit as usize).await?;
    let next = found.last().map_or(from, |last| last.position + 1);
    json(&Page { entries: shown(&asked, &found), next })
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
    json(&Page { entries: shown(&asked, &found), next })
}
