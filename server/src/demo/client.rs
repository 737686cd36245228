//! The demo as any other caller: a small HTTP client that retries safely, because every command carries a key.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// Attempts before a server that stays busy counts as broken.
const ATTEMPTS: u32 = 20;

/// One entry that a command wrote.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub stream: String,
    pub position: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub data: Value,
}

/// The answer to an accepted command.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    pub outcome: String,
    #[serde(default)]
    pub proposal: Option<String>,
    pub entries: Vec<Entry>,
    /// Everything else: the receipt, a new key.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl Answer {
    /// The stream that holds the first event of this type.
    pub fn stream_of(&self, kind: &str) -> anyhow::Result<&str> {
        let entry = self.entries.iter().find(|entry| entry.kind == kind);
        entry.map(|entry| entry.stream.as_str()).with_context(|| format!("the answer holds no {kind}"))
    }

    pub fn wrote(&self, kind: &str) -> bool {
        self.entries.iter().any(|entry| entry.kind == kind)
    }
}

pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(base: String) -> anyhow::Result<Self> {
        sources::prepare_tls();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).tcp_nodelay(true).build()?;
        Ok(Self { http, base })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a command under an idempotency key, again and again while the server is busy: the key makes that safe.
    ///
    /// # Errors
    /// What the server refused, in its own words.
    pub async fn command(&self, credential: &str, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let url = format!("{}/v1{path}", self.base);
        for _ in 0..ATTEMPTS {
            let request = self.http.post(&url).bearer_auth(credential).header("Idempotency-Key", key).json(body);
            let response = request.send().await.with_context(|| format!("POST {path}"))?;
            let status = response.status();
            if let Some(pause) = pause(&response) {
                tokio::time::sleep(pause).await;
                continue;
            }
            let text = response.text().await?;
            if !status.is_success() {
                bail!("POST {path} {body}: {}", refusal(status, &text));
            }
            return serde_json::from_str(&text).with_context(|| format!("POST {path} was answered with {text}"));
        }
        bail!("POST {path}: the server stays busy")
    }

    /// Asks a question.
    pub async fn query(&self, credential: &str, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}/v1{path}", self.base);
        let response =
            self.http.get(&url).bearer_auth(credential).send().await.with_context(|| format!("GET {path}"))?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("GET {path}: {}", refusal(status, &text));
        }
        serde_json::from_str(&text).with_context(|| format!("GET {path} was answered with {text}"))
    }
}

/// How long to wait before trying again, when trying again makes sense at all.
fn pause(response: &reqwest::Response) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Duration::from_secs(seconds.unwrap_or(1)))
}

fn refusal(status: StatusCode, text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    match (problem["code"].as_str(), problem["title"].as_str()) {
        (Some(code), Some(title)) => format!("{status} {code}: {title} {}", problem["detail"].as_str().unwrap_or("")),
        _ => format!("{status} {text}"),
    }
}
