//! The way to the witnesses: plain requests with a limit on time and length, from the settings of `[witness]`.

use std::sync::Arc;
use std::time::Duration;

use anchor::{Carrier, Reply, Witnesses};
use anyhow::Context as _;
use async_trait::async_trait;
use chain::witness::MAX_REQUEST_BYTES;

use crate::config::Settings;

/// How long a witness may take. Publishing does not wait that long; a late cosignature is added when it comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The witnesses that the settings name, if they name any.
pub fn of(settings: &Settings) -> anyhow::Result<Option<Witnesses>> {
    let Some(path) = &settings.witness.policy else { return Ok(None) };
    let policy = std::fs::read_to_string(path).with_context(|| format!("reading witness.policy {}", path.display()))?;
    sources::prepare_tls();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .tcp_nodelay(true)
        // An address is a promise of who answers there.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("guildhall/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let deadline = Duration::from_millis(settings.witness.deadline_ms);
    Ok(Some(Witnesses { policy, carrier: Arc::new(Http { client }), deadline }))
}

#[derive(Debug)]
struct Http {
    client: reqwest::Client,
}

#[async_trait]
impl Carrier for Http {
    async fn post(&self, url: &str, body: String) -> Result<Reply, String> {
        let request = self.client.post(url).header("content-type", "text/plain; charset=utf-8").body(body);
        read(request).await
    }

    async fn get(&self, url: &str) -> Result<Reply, String> {
        read(self.client.get(url)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Reply, String> {
    let failed =
        |error: reqwest::Error| if error.is_timeout() { "no answer in time".to_owned() } else { words(&error) };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_REQUEST_BYTES {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8(body).map_err(|_| "its answer is no text".to_owned())?;
    Ok(Reply { status, body })
}

/// The innermost reason: the outer ones repeat the address.
fn words(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    format!("it cannot be reached: {inner}")
}
