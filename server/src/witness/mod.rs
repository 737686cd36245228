//! `guildhall witness run`: the witness protocol over HTTP. A process of its own that needs no city and no database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchor::witness::{Answer, Witness, WitnessError};
use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chain::policy::{Policy, PolicyRule};
use chain::witness::{MAX_REQUEST_BYTES, Refusal, SIZE_TYPE};
use tokio::net::TcpListener;
use tower_http::timeout::TimeoutLayer;

use crate::http::listener;
use crate::serve::told_to_stop;

const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 1024;
const TEXT: &str = "text/plain; charset=utf-8";

/// What a witness runs with.
pub struct Setup {
    pub policy: PathBuf,
    pub dir: PathBuf,
    pub key: PathBuf,
    pub listen: std::net::SocketAddr,
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(setup: Setup) -> anyhow::Result<()> {
    let Setup { policy, dir, key, listen } = setup;
    let text = std::fs::read_to_string(&policy).with_context(|| format!("reading {}", policy.display()))?;
    let logs = match Policy::parse(&text) {
        Ok(policy) => policy.logs,
        // The only log that it watched is one to be watched no more: what was cosigned of it is still shown.
        Err(error) if error.rule == PolicyRule::NoLog => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("the policy {}", policy.display())),
    };
    let witness = Witness::open(&dir, &key, &logs, unix_time)?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let stop = told_to_stop()?;
    println!("witness {}", witness.vkey());
    for log in &logs {
        println!("for {}", log.name());
    }
    if logs.is_empty() {
        println!("for no log: nothing is cosigned, and what was is shown");
    }
    println!("http://{}", listener.local_addr()?);
    listener::serve(listener, router(Arc::new(witness)), CONNECTIONS, stop).await;
    Ok(())
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{log}/checkpoint", get(checkpoint))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    // Once begun it is settled, also when the caller has gone: swap and answer belong together.
    let settled = tokio::task::spawn_blocking(move || match std::str::from_utf8(&body) {
        Ok(body) => witness.add_checkpoint(body),
        Err(_) => Ok(Answer::Refused(Refusal::NoCheckpoint)),
    });
    match settled.await {
        Ok(Ok(Answer::Cosigned(line))) => text(StatusCode::OK, TEXT, line),
        Ok(Ok(Answer::Refused(Refusal::Holds(size)))) => text(StatusCode::CONFLICT, SIZE_TYPE, format!("{size}\n")),
        Ok(Ok(Answer::Refused(refusal))) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            if let Refusal::Inconsistent(_) = refusal {
                tracing::error!(%refusal, alarm = true, "a log showed a tree that does not continue the one before");
            }
            text(status, TEXT, format!("{refusal}\n"))
        }
        Ok(Err(error)) => unavailable(&error),
        Err(error) => {
            tracing::error!(%error, "a request was not settled");
            text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "this was not settled\n".to_owned())
        }
    }
}

async fn checkpoint(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response {
    let shown = tokio::task::spawn_blocking(move || witness.cosigned(&format!("{log}/checkpoint"))).await;
    match shown {
        Ok(Ok(Some(note))) => text(StatusCode::OK, TEXT, note),
        Ok(Ok(None)) => text(StatusCode::NOT_FOUND, TEXT, "nothing of such a log was cosigned here\n".to_owned()),
        Ok(Err(error)) => unavailable(&error),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "this could not be read\n".to_owned()),
    }
}

fn unavailable(error: &WitnessError) -> Response {
    tracing::error!(%error, alarm = true, "this witness does not cosign");
    text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "this witness cannot cosign now\n".to_owned())
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
