//! For those who run the server: is it alive, does it take commands, and its numbers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::problem::{Problem, readiness};
use super::{App, Fresh, guard};

/// Tables further behind than this make a server not ready.
const MAX_LAG: u64 = 10_000;

/// The process answers.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Whether commands are taken and questions answered with something recent.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let city = &app.city;
    let head = city.log.head().await;
    let reached = city.views_reached();
    let lag = head.as_ref().ok().map(|head| head.size.saturating_sub(reached));
    let read_only = city.pipeline.read_only();
    let stopping = city.is_stopping();
    let writing = city.pipeline.is_writing();
    let ready = lag.is_some_and(|lag| lag <= MAX_LAG) && read_only.is_none() && writing && !stopping;
    let body = json!({
        "ready": ready,
        "log": if head.is_ok() { "reachable" } else { "unreachable" },
        "lag": lag,
        "read_only": read_only,
        "writing": writing,
        "stopping": stopping,
        // It takes commands all the same, and they are dated by it.
        "wrong_clock": city.anchoring.wrong_clock(),
        "uptime_seconds": app.started.elapsed().as_secs(),
    });
    (readiness(ready), Json(body)).into_response()
}

/// Prometheus text. To this machine without a credential, to others with one for `admin.metrics`.
pub async fn metrics(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    if !is_local(&request) {
        guard::admit(&app, request.headers(), "admin.metrics", Fresh::Head).await?;
    }
    app.city.measure().await;
    let text = app.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// A connection from this machine that nobody passed on for somebody else.
fn is_local(request: &Request) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for"].iter().any(|name| request.headers().contains_key(*name));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    !forwarded && peer.is_some_and(|ConnectInfo(address)| address.ip().is_loopback())
}
