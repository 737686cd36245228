//! A server in this process over a city in a temporary directory, and callers of it.
#![allow(dead_code, clippy::unwrap_used)]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use guildhall::city::Open;
use guildhall::config::Settings;
use guildhall::http::{App, router};
use guildhall::serve::metrics_handle;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub struct Town {
    pub open: Open,
    pub router: Router,
    /// The first principal's key.
    pub key: String,
    pub principal: String,
    dir: TempDir,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn field(&self) -> &str {
        self.body["field"].as_str().unwrap_or_default()
    }

    /// The stream with the first event of this type.
    pub fn stream(&self, kind: &str) -> String {
        let entries = self.body["entries"].as_array().unwrap_or_else(|| panic!("no entries in {}", self.text));
        let entry =
            entries.iter().find(|entry| entry["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {}", self.text));
        entry["stream"].as_str().unwrap().to_owned()
    }

    pub fn position(&self) -> u64 {
        self.body["entries"].as_array().unwrap().last().unwrap()["position"].as_u64().unwrap()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(self.body["type"].as_str().is_some_and(|kind| kind.ends_with(code)));
        self
    }
}

impl Town {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_dir(&dir.path().join("data"));
        change(&mut settings);
        let open = Open::start(settings).await.unwrap();
        let first = open.first.as_ref().unwrap();
        let (key, principal) = (first.api_key.to_string(), first.citizen.to_string());
        let router = router(App::new(open.city.clone(), metrics_handle().unwrap()));
        Self { open, router, key, principal, dir }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body, text }
    }

    pub async fn post(&self, key: &str, path: &str, body: Value) -> Reply {
        self.post_with(key, path, body, &[]).await
    }

    pub async fn post_with(&self, key: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::post(format!("/v1{path}"))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn get(&self, key: &str, path: &str) -> Reply {
        let request = Request::get(format!("/v1{path}")).header("authorization", format!("Bearer {key}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Asks again what the log already knows, once the tables know it too.
    pub async fn get_after(&self, key: &str, path: &str, position: u64) -> Reply {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.get(key, &format!("{path}{mark}at_least={position}")).await
    }

    /// A citizen with these roles and a key.
    pub async fn citizen(&self, name: &str, roles: &[&str]) -> (String, String) {
        let registered = self.post(&self.key, "/citizens", json!({ "kind": "human", "name": name })).await.ok();
        let citizen = registered.stream("citizen.registered.v1");
        for role in roles {
            self.post(&self.key, &format!("/citizens/{citizen}/roles"), json!({ "role": role })).await.ok();
        }
        let issued = self.post(&self.key, "/keys", json!({ "citizen": citizen })).await.ok();
        (citizen, issued.body["api_key"].as_str().unwrap().to_owned())
    }

    pub async fn guild(&self, key: &str, slug: &str) -> String {
        let body = json!({ "slug": slug, "kind": "community", "name": format!("The {slug}") });
        self.post(key, "/guilds", body).await.ok().stream("guild.founded.v1")
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub async fn end(self) {
        let Self { open, router, dir, .. } = self;
        drop(router);
        open.close().await;
        drop(dir);
    }
}

/// The treasury of a guild or a citizen: the same ULID under another prefix.
pub fn treasury_of(owner: &str) -> String {
    format!("try_{}", owner.split_once('_').unwrap().1)
}
