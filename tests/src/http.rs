//! A caller over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::courier::{Courier, Reply, Who, address};

#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    pub base: String,
    principal: Who,
}

/// What any client needs before its first request.
pub fn prepare() {
    sources::prepare_tls();
}

impl Http {
    pub fn new(base: &str, principal: Who) -> Self {
        prepare();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(40)).tcp_nodelay(true).build().unwrap();
        Self { client, base: base.to_owned(), principal }
    }

    /// The same caller at another server.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Sends a command; an error is the connection's, and says nothing about whether the command was settled.
    pub async fn attempt(&self, who: &Who, action: &str, body: Value, key: Option<&str>) -> reqwest::Result<Reply> {
        let (path, body) = address(action, body);
        let mut request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&who.0).json(&body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body = response.text().await?;
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        Ok(Reply { replayed, ..Reply::of(status, body) })
    }

    /// Asks a question; the status and what was answered.
    pub async fn get(&self, who: &Who, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).bearer_auth(&who.0).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The answer to a question, which must be one.
    #[track_caller]
    pub fn ok(&self, who: &Who, path: &str) -> impl Future<Output = Value> + Send {
        let (caller, asked) = (std::panic::Location::caller(), self.get_owned(who, path));
        let path = path.to_owned();
        async move {
            let (status, body) = asked.await;
            assert_eq!(status, 200, "{caller}: GET {path}: {body}");
            body
        }
    }

    fn get_owned(&self, who: &Who, path: &str) -> impl Future<Output = (u16, Value)> + Send + use<> {
        let (http, who, path) = (self.clone(), who.clone(), path.to_owned());
        async move { http.get(&who, &path).await }
    }
}

impl Courier for Http {
    async fn send(&self, who: &Who, action: &str, body: Value, key: Option<&str>) -> Reply {
        let shown = body.to_string();
        self.attempt(who, action, body, key).await.unwrap_or_else(|error| panic!("{action} {shown}: {error}"))
    }

    fn principal(&self) -> Who {
        self.principal.clone()
    }

    async fn issue_key(&self, citizen: &str) -> Who {
        let issued = self.ask(&self.principal, "key.issue", json!({"citizen": citizen})).await.accepted();
        Who(issued.body["api_key"].as_str().unwrap_or_else(|| panic!("no key in {}", issued.body)).to_owned())
    }
}
