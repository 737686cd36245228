//! Cloudflare R2 as far as anchors need it: no versions, no locks on objects, rules of the bucket that refuse to delete and to overwrite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use worm::{Bucket, Credentials};

/// A bucket whose rules lock what lies under these prefixes.
#[derive(Default)]
pub struct R2 {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    rules: Mutex<Vec<&'static str>>,
    /// Does as the request says although it told the caller that somebody was faster: an answer that was lost.
    pub loses_answers: Mutex<bool>,
}

type Shared = State<Arc<R2>>;

impl R2 {
    /// Serves it, and names the bucket.
    pub async fn serve(rules: &[&'static str]) -> (Arc<Self>, Bucket, Credentials) {
        let r2 = Arc::new(Self { rules: Mutex::new(rules.to_vec()), ..Self::default() });
        let routes = Router::new()
            .route("/worm", get(list))
            .route("/worm/", get(list))
            .route("/worm/{*key}", put(write).get(read).delete(delete))
            .with_state(Arc::clone(&r2));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let bucket = Bucket { endpoint, region: "auto".into(), name: "worm".into(), prefix: String::new() };
        let credentials = Credentials { key_id: "id".into(), secret: "secret".to_owned().into(), session_token: None };
        (r2, bucket, credentials)
    }

    /// An administrator of the account takes the rules away.
    pub fn remove_rules(&self) {
        self.rules.lock().unwrap().clear();
    }

    fn locks(&self, key: &str) -> bool {
        self.rules.lock().unwrap().iter().any(|prefix| key.starts_with(prefix))
    }
}

fn refused(status: StatusCode, code: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    (status, [("content-type", "application/xml")], body).into_response()
}

async fn write(State(r2): Shared, Path(key): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    // R2 knows none of these, and says so.
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-object-lock")) {
        return refused(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    }
    let mut objects = r2.objects.lock().unwrap();
    if objects.contains_key(&key) {
        if r2.locks(&key) {
            return refused(StatusCode::FORBIDDEN, "ObjectLockedByBucketPolicy");
        }
        if headers.contains_key("if-none-match") {
            return refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
    }
    objects.insert(key, body.to_vec());
    if *r2.loses_answers.lock().unwrap() {
        return refused(StatusCode::FORBIDDEN, "ObjectLockedByBucketPolicy");
    }
    StatusCode::OK.into_response()
}

async fn read(State(r2): Shared, Path(key): Path<String>) -> Response {
    match r2.objects.lock().unwrap().get(&key) {
        Some(bytes) => bytes.clone().into_response(),
        None => refused(StatusCode::NOT_FOUND, "NoSuchKey"),
    }
}

async fn delete(State(r2): Shared, Path(key): Path<String>) -> Response {
    let mut objects = r2.objects.lock().unwrap();
    if objects.contains_key(&key) && r2.locks(&key) {
        return refused(StatusCode::FORBIDDEN, "ObjectLockedByBucketPolicy");
    }
    objects.remove(&key);
    StatusCode::NO_CONTENT.into_response()
}

/// Two keys a page: whoever forgets to turn it is found out.
async fn list(State(r2): Shared, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let part = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let (prefix, after) = (part("prefix"), part("continuation-token").max(part("start-after")));
    let objects = r2.objects.lock().unwrap();
    let found: Vec<&String> = objects.keys().filter(|key| key.starts_with(&prefix) && **key > after).collect();
    let page = &found[..found.len().min(2)];
    let keys: String = page.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
    let next = page.last().filter(|_| found.len() > 2);
    let next = next.map(|key| format!("<NextContinuationToken>{key}</NextContinuationToken>")).unwrap_or_default();
    let more = found.len() > 2;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>{more}</IsTruncated>{next}{keys}</ListBucketResult>"
    );
    ([("content-type", "application/xml")], body).into_response()
}
