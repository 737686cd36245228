//! `/audit`: a page for whoever wants to see what stands behind this log, and to check a receipt with their own browser.
//!
//! Invariants:
//! - It is files and public state: no key is asked for, nobody's name is shown, and nothing comes from another host.
//! - The check trusts nothing that the server says: it starts from a policy and from tiles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::problem::{NOT_FOUND, Problem};
use super::questions::receipts;
use super::{App, guard};
use crate::city::OnRecord;

const HTML: &str = include_str!("audit.html");
const FILES: [(&str, &str, &str); 4] = [
    ("style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("verify.js", "text/javascript; charset=utf-8", include_str!("verify.js")),
];
/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// However many look, the log is asked this often.
const FRESH: Duration = Duration::from_secs(1);

/// What is shown, as it was found last.
#[derive(Default)]
pub struct Shown {
    record: OnRecord,
    state: Option<(Instant, Value)>,
}

/// `GET /audit`
pub async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, HTML).into_response()
}

/// `GET /audit/{file}`
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| Problem::new(NOT_FOUND))?;
    Ok(([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")], *text).into_response())
}

/// `GET /audit.json`: state in numbers, hashes and outcomes.
pub async fn state(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let mut shown = app.shown.lock().await;
    let fresh = shown.state.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, state)| state.clone());
    let state = match fresh {
        Some(state) => state,
        None => {
            let state = look(&app, &mut shown.record).await?;
            shown.state = Some((Instant::now(), state.clone()));
            state
        }
    };
    Ok(([(header::CACHE_CONTROL, "no-cache")], axum::Json(state)).into_response())
}

async fn look(app: &App, record: &mut OnRecord) -> Result<Value, Problem> {
    let city = &app.city;
    record.catch_up(&city.log).await?;
    let head = city.log.head().await?;
    let standing = city.anchoring.standing().await?;
    let mut store = json!(standing.store);
    let with_age = |data: &Value| {
        let mut data = data.clone();
        let age = data["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        data["age_seconds"] = age.map(|at| jiff::Timestamp::now().duration_since(at).as_secs().max(0)).into();
        data
    };
    let locks: serde_json::Map<String, Value> =
        record.locks.iter().map(|(store, tried)| (store.clone(), with_age(tried))).collect();
    if store["lock"].is_object() {
        store["lock"] = with_age(&store["lock"]);
    }
    if store["time"]["newest"].is_object() {
        store["time"]["newest"] = with_age(&store["time"]["newest"]);
    }
    Ok(json!({
        "origin": head.origin,
        "key": city.keys.newest().map(|key| key.vkey()),
        "version": env!("CARGO_PKG_VERSION"),
        "size": head.size,
        "read_only": city.pipeline.read_only().is_some(),
        "checkpoint": standing.checkpoint,
        "quorum": standing.quorum,
        "witnesses": standing.witnesses,
        "store": store,
        "anchors": record.anchors.iter().map(with_age).collect::<Vec<_>>(),
        "locks": locks,
    }))
}

/// `GET /policy`: the log's keys and the witnesses that it asks. Whoever checks the log has a policy from somebody they trust.
pub async fn policy(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    receipts::here(&app.city)?;
    let text = app.city.anchoring.policy().await?.ok_or_else(|| Problem::new(NOT_FOUND))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], text)
        .into_response())
}

/// `GET /proof/{position}`: that an entry is in the log, without the entry.
pub async fn proof(State(app): State<Arc<App>>, Path(position): Path<String>) -> Result<Response, Problem> {
    guard::stranger(&app)?;
    let position = position.parse().map_err(|_| Problem::invalid("position", "a position is a decimal number"))?;
    receipts::bare(&app.city, position).await
}

/// What every look shares.
pub type Glass = Mutex<Shown>;
