//! HTTP: one table of addresses, and nothing answers without a permit except what the table lists as open.
//!
//! Invariants:
//! - A handler below `/v1` is only ever reached through [`guard::admit`], with the action that its row of the table names.
//! - Status codes are known to `problem.rs` alone.
//! - Nothing a caller typed, and no secret, goes into logs or metrics: they know addresses by their row.

mod asked;
pub mod command;
mod feed;
mod guard;
mod json;
mod keys;
pub mod listener;
mod observe;
mod opened;
mod ops;
mod page;
pub mod problem;
mod questions;
mod rate;
pub mod routes;
mod slugs;
mod standing;
mod statics;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use domain::ids::KeyId;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::city::City;
use asked::Asked;
pub use keys::fresh_key_id;
use problem::Problem;
use rate::Buckets;
use routes::{ASSERTIONS, COMMANDS, CommandRoute, QUESTIONS, QuestionRoute};
pub use standing::{Fresh, Refusal, Standing, now};

/// Keys looked for at a time, of the many connections there are for reading.
const LOOKUPS: usize = 4;
/// Requests that may wait for that.
const WAITING: usize = 256;

/// What every handler needs.
pub struct App {
    pub city: Arc<City>,
    rates: Buckets<KeyId>,
    /// One bucket for everybody without a good key: their addresses are a proxy's, or theirs to choose.
    strangers: Buckets<()>,
    /// Turns for those whose key is not in memory and has to be looked for.
    lookups: Semaphore,
    /// Places to wait for such a turn.
    waiting: Semaphore,
    feeds: Arc<Semaphore>,
    /// What `/audit` shows.
    shown: page::Glass,
    metrics: PrometheusHandle,
    started: Instant,
}

impl App {
    pub fn new(city: Arc<City>, metrics: PrometheusHandle) -> Arc<Self> {
        let limits = &city.settings.limits;
        Arc::new(Self {
            rates: Buckets::new(limits.requests_per_second, limits.burst),
            strangers: Buckets::new(limits.strangers_per_second, limits.strangers_per_second),
            lookups: Semaphore::new(LOOKUPS),
            waiting: Semaphore::new(WAITING),
            feeds: Arc::new(Semaphore::new(limits.feeds)),
            shown: page::Glass::default(),
            metrics,
            started: Instant::now(),
            city,
        })
    }
}

/// Everything this server answers.
pub fn router(app: Arc<App>) -> Router {
    let mut v1 = Router::new();
    for route in COMMANDS {
        v1 = v1.route(route.path, command_route(route));
    }
    for route in QUESTIONS {
        v1 = v1.route(route.path, question_route(route));
    }
    for route in ASSERTIONS {
        v1 = v1.route(route.path, assertion_route(route));
    }
    Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(ops::health))
        .route("/readyz", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .route("/checkpoint", get(statics::checkpoint))
        .route("/tile/{*path}", get(statics::tile))
        .route("/policy", get(page::policy))
        .route("/proof/{position}", get(page::proof))
        .route("/audit", get(page::page))
        .route("/audit.json", get(page::state))
        .route("/audit/{file}", get(page::file))
        .fallback(|| async { Problem::new(problem::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::new(problem::METHOD_NOT_ALLOWED) })
        .layer(CatchPanicLayer::custom(|_| Problem::new(problem::INTERNAL).into_response()))
        .layer(middleware::from_fn(observe::observe))
        .layer(middleware::map_response(plain_headers))
        .with_state(app)
}

type PathParams = Result<RawPathParams, RawPathParamsRejection>;

fn command_route(route: &'static CommandRoute) -> MethodRouter<Arc<App>> {
    post(move |State(app): State<Arc<App>>, path: PathParams, headers: HeaderMap, body: Body| async move {
        let settled = async {
            let path = path.map_err(|_| Problem::invalid("path", "an address is UTF-8 behind its percent signs"))?;
            let caller = guard::admit(&app, &headers, route.action, Fresh::WriterAsksAgain).await?;
            command::settle(&app, route, caller, &path, &headers, body).await
        };
        in_time(&app, settled).await
    })
}

fn question_route(route: &'static QuestionRoute) -> MethodRouter<Arc<App>> {
    get(
        move |State(app): State<Arc<App>>, path: PathParams, RawQuery(query): RawQuery, headers: HeaderMap| async move {
            let answered = async {
                let path =
                    path.map_err(|_| Problem::invalid("path", "an address is UTF-8 behind its percent signs"))?;
                let caller = guard::admit(&app, &headers, route.action, Fresh::Head).await?;
                let mut asked = Asked::new(Arc::clone(&app), caller, &path, query.as_deref(), headers)?;
                asked.wait().await?;
                (route.answer)(asked).await
            };
            in_time(&app, answered).await
        },
    )
}

fn assertion_route(route: &'static QuestionRoute) -> MethodRouter<Arc<App>> {
    post(move |State(app): State<Arc<App>>, path: PathParams, headers: HeaderMap, body: Body| async move {
        let answered = async {
            let path = path.map_err(|_| Problem::invalid("path", "an address is UTF-8 behind its percent signs"))?;
            let caller = guard::admit(&app, &headers, route.action, Fresh::Head).await?;
            let fields = command::read_fields(&app, &headers, body).await?;
            let mut asked = Asked::new(Arc::clone(&app), caller, &path, None, headers)?;
            asked.with_fields(fields)?;
            asked.wait().await?;
            (route.answer)(asked).await
        };
        in_time(&app, answered).await
    })
}

/// A command that is cut off here is still settled: its answer waits under its idempotency key.
async fn in_time(app: &App, work: impl Future<Output = Result<Response, Problem>>) -> Result<Response, Problem> {
    let limit = app.city.settings.request_timeout();
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Problem::new(problem::TOO_SLOW).retry_after(limit)))
}

async fn plain_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
