//! `ghl:workflows`: the automation service's list over HTTP, page by page, within limits and with patience.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::grant::event::FailureKind;
use domain::grant::kind::CapabilityKind;
use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use serde_json::{Map as Fields, Value};

use crate::address::{Outside, is_outside};
use crate::map::Web;
use crate::{About, Life, Listed, Map, Place, Sink, Unlisted, details, reference};

const VERSION: &str = "2021-07-28";
const PAGE: usize = 100;
const MAX_PAGES: usize = 10_000;
const MAX_BODY: usize = 8 << 20;
/// Attempts at one page, when the service asks for patience or fails.
const ATTEMPTS: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn list(map: &Map, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Web(web) = &map.place else { return Ok(()) };
    let service = Service::open(web)?;
    let mut seen = HashSet::new();
    let mut next = Some(service.page(0)?);
    for number in 0..MAX_PAGES {
        let Some(url) = next.take() else { return Ok(()) };
        let place = format!("page {}", number + 1);
        let page = service.get(&url).await?;
        sink.still_heard()?;
        let workflows = match page.get("workflows") {
            Some(Value::Array(workflows)) => workflows,
            _ => return Err(Unlisted::new(FailureKind::Malformed, place, "has no list of workflows")),
        };
        let before = seen.len();
        for (index, workflow) in workflows.iter().enumerate() {
            let place = format!("{place}, workflow {}", index + 1);
            match read(workflow, &place) {
                Ok(listed) => {
                    if seen.insert(listed.reference.to_string()) {
                        sink.listed(listed).await;
                    }
                }
                Err(what) => sink.wrong(place, what, about(workflow)).await,
            }
        }
        if workflows.is_empty() {
            return Ok(());
        }
        if seen.len() == before && workflows.iter().any(|workflow| read(workflow, "").is_ok()) {
            return Err(Unlisted::new(FailureKind::Malformed, place, "repeats what was listed already"));
        }
        next = match page.get("meta").and_then(|meta| meta.get("nextPageUrl")).and_then(Value::as_str) {
            Some(link) => Some(service.own(link)?),
            None if workflows.len() >= PAGE => Some(service.page((number + 1) * PAGE)?),
            None => None,
        };
    }
    Err(Unlisted::new(FailureKind::Malformed, web.url.as_str(), "has no last page"))
}

fn about(workflow: &Value) -> About {
    let id = workflow.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    id.map_or(About::Anything, About::named)
}

fn read(workflow: &Value, place: &str) -> Result<Listed, String> {
    let fields = workflow.as_object().ok_or("is no object")?;
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(_) => Err(format!("{name} is no text, or empty")),
        None => Err(format!("{name} is missing")),
    };
    // Whoever edits a workflow names it: the name is nobody's holder.
    let (id, _) = (text("id")?, text("name")?);
    let life = match text("status")? {
        "published" | "active" => Life::Living,
        "draft" | "inactive" => Life::Revoked,
        _ => return Err("status is not published, active, draft or inactive".to_owned()),
    };
    let kept: Fields<String, Value> = fields
        .iter()
        .filter(|(name, _)| *name != "id" && *name != "status")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Ok(Listed {
        names: vec![id.to_owned()],
        whose: None,
        kind: CapabilityKind::Automation,
        reference: reference(id)?,
        life,
        expires_at: None,
        read_only: false,
        details: details::document(kept),
        place: place.to_owned(),
    })
}

struct Service {
    client: Client,
    base: Url,
    location: String,
    token: String,
}

/// One answer, or why there is none; with a wait if it is worth asking again.
enum Asked {
    Page(Value),
    Again(Option<Duration>, Unlisted),
    No(Unlisted),
}

impl Service {
    fn open(web: &Web) -> Result<Self, Unlisted> {
        let forbidden = |what: &str| Unlisted::new(FailureKind::Forbidden, &web.url, what);
        let mut base: Url = web.url.parse().map_err(|_| forbidden("is no URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !base.username().is_empty() {
            return Err(forbidden("is no plain http or https address"));
        }
        if base.scheme() == "http" && !web.allow_private {
            return Err(forbidden("would send the token in clear: https, or allow_private = true"));
        }
        // A name is looked at when it is looked up; an address in its own right is not looked up.
        let literal = base.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !web.allow_private && literal.is_some_and(|address| !is_outside(address)) {
            return Err(forbidden("lies inside a private network; allow_private = true calls it"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let token = std::env::var(&web.credential_env)
            .map_err(|_| Unlisted::new(FailureKind::Unauthorized, &web.credential_env, "is not set"))?;
        let mut builder = Client::builder()
            .timeout(Duration::from_secs(web.timeout_seconds))
            // Whoever answers may not send us elsewhere, where nobody looked first.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if !web.allow_private {
            builder = builder.dns_resolver(Arc::new(Outside));
        }
        crate::prepare_tls();
        let client = builder.build().map_err(|error| Unlisted::unreachable(&web.url, error))?;
        Ok(Self { client, base, location: web.location.clone(), token })
    }

    fn page(&self, skip: usize) -> Result<Url, Unlisted> {
        let mut url = self.base.join("workflows/").map_err(|error| Unlisted::unreachable(&self.base, error))?;
        url.query_pairs_mut()
            .append_pair("locationId", &self.location)
            .append_pair("skip", &skip.to_string())
            .append_pair("limit", &PAGE.to_string());
        Ok(url)
    }

    /// A link to the next page leads to the same service: it gets the same token.
    fn own(&self, link: &str) -> Result<Url, Unlisted> {
        let url = self.base.join(link).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| Unlisted::new(FailureKind::Forbidden, "nextPageUrl", "leads to another service"))
    }

    async fn get(&self, url: &Url) -> Result<Value, Unlisted> {
        let mut wait = Duration::from_millis(200);
        for attempt in 1.. {
            match self.ask(url).await {
                Asked::Page(page) => return Ok(page),
                Asked::No(unlisted) => return Err(unlisted),
                Asked::Again(_, unlisted) if attempt == ATTEMPTS => return Err(unlisted),
                Asked::Again(asked, unlisted) => {
                    let pause = asked.unwrap_or(wait);
                    if pause > LONGEST_WAIT {
                        return Err(unlisted);
                    }
                    tokio::time::sleep(pause).await;
                    wait *= 2;
                }
            }
        }
        unreachable!("the last attempt answers")
    }

    async fn ask(&self, url: &Url) -> Asked {
        let place = url.path();
        let request = self
            .client
            .get(url.clone())
            .bearer_auth(&self.token)
            .header("Version", VERSION)
            .header(header::ACCEPT, "application/json");
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(place, &error),
        };
        let status = response.status();
        let unlisted = |kind, what: String| Unlisted::new(kind, place, what);
        match status {
            StatusCode::OK => match body(response).await {
                Ok(page) => Asked::Page(page),
                Err(Broken::Answer(what)) => Asked::No(unlisted(FailureKind::Malformed, what.to_owned())),
                Err(Broken::Off(kind)) => Asked::Again(None, unlisted(kind, "the answer broke off".to_owned())),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Asked::No(unlisted(
                FailureKind::Unauthorized,
                format!("the service answers {status} to this credential"),
            )),
            StatusCode::TOO_MANY_REQUESTS => {
                let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = after.and_then(patience);
                Asked::Again(after, unlisted(FailureKind::RateLimited, "the service asks for patience".to_owned()))
            }
            status if status.is_server_error() => {
                Asked::Again(None, unlisted(FailureKind::Unreachable, format!("the service answers {status}")))
            }
            status => Asked::No(unlisted(FailureKind::Malformed, format!("the service answers {status}"))),
        }
    }
}

/// The cause and never the URL, which may hold more than an address.
fn failed(place: &str, error: &reqwest::Error) -> Asked {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = cause.to_string();
    if error.is_timeout() {
        return Asked::Again(None, Unlisted::new(FailureKind::TimedOut, place, "no answer in time"));
    }
    if what.contains("private networks") {
        return Asked::No(Unlisted::new(FailureKind::Forbidden, place, what));
    }
    Asked::Again(None, Unlisted::unreachable(place, what))
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn patience(retry_after: &str) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(retry_after.trim()).ok()?.timestamp();
    // A date that is over asks for nothing.
    Some(Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// Why an answer is none.
enum Broken {
    Answer(&'static str),
    /// Before its end.
    Off(FailureKind),
}

/// The JSON of an answer.
async fn body(response: Response) -> Result<Value, Broken> {
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Broken::Off(if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Unreachable })
        })?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(Broken::Answer("the answer is longer than 8 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|_| Broken::Answer("the answer is no whole JSON"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::Router;
    use axum::extract::Query;
    use axum::http::HeaderMap;
    use axum::response::IntoResponse as _;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{Item, Wrong};

    /// What the service answers to the next requests, in order; the last one again and again.
    type Script = Vec<(u16, &'static str, String)>;

    /// A variable of every environment; what it holds is the token.
    const TOKEN: &str = "HOME";

    async fn serve(script: Script) -> String {
        let script = Arc::new(Mutex::new(script));
        let answer = move |Query(query): Query<BTreeMap<String, String>>, headers: HeaderMap| {
            let script = Arc::clone(&script);
            async move {
                assert_eq!(headers["version"], VERSION);
                assert_eq!(headers["authorization"], format!("Bearer {}", std::env::var(TOKEN).unwrap()));
                assert!(query.contains_key("locationId") || query.contains_key("cursor"), "{query:?}");
                let (status, retry_after, body) = {
                    let mut script = script.lock().unwrap();
                    if script.len() > 1 { script.remove(0) } else { script[0].clone() }
                };
                let status = StatusCode::from_u16(status).unwrap();
                if status == StatusCode::REQUEST_TIMEOUT {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                (status, [("retry-after", retry_after), ("location", "http://127.0.0.1:9/elsewhere")], body)
                    .into_response()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/workflows/", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn map(url: &str, allow_private: bool) -> Map {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.toml");
        let text = format!(
            "url = '{url}'\nlocation = 'loc'\ncredential_env = '{TOKEN}'\nallow_private = {allow_private}\ntimeout_seconds = 1"
        );
        std::fs::write(&path, text).unwrap();
        Map::read(domain::grant::kind::Source::GhlWorkflows, &path).unwrap()
    }

    async fn listed(script: Script) -> (Result<(), Unlisted>, Vec<String>) {
        list_at(&serve(script).await, true).await
    }

    async fn list_at(url: &str, allow_private: bool) -> (Result<(), Unlisted>, Vec<String>) {
        let (sender, mut items) = mpsc::channel(1000);
        let done = list(&map(url, allow_private), &Sink::new(sender)).await;
        let tell = |item: Item| match item {
            Item::Listed(listed) => format!("{} {:?}", listed.reference, listed.life),
            Item::Wrong(Wrong { place, what, about }) => format!("{place}: {what}; {about:?}"),
        };
        (done, std::iter::from_fn(|| items.try_recv().ok()).map(tell).collect())
    }

    fn page(range: std::ops::Range<u32>, meta: Value) -> String {
        let workflows: Vec<Value> =
            range.map(|number| json!({"id": format!("w{number}"), "name": "n", "status": "published"})).collect();
        json!({"workflows": workflows, "meta": meta}).to_string()
    }

    fn ok(body: String) -> (u16, &'static str, String) {
        (200, "", body)
    }

    #[tokio::test]
    async fn pages_are_followed_by_number_and_by_link() {
        let (done, items) = listed(vec![ok(page(0..100, json!({}))), ok(page(100..130, json!({})))]).await;
        done.unwrap();
        assert_eq!(items.len(), 130);
        let next = json!({"nextPageUrl": "/workflows/?cursor=2"});
        let (done, items) = listed(vec![ok(page(0..2, next)), ok(page(2..3, json!({})))]).await;
        done.unwrap();
        assert_eq!(items, ["w0 Living", "w1 Living", "w2 Living"]);
    }

    #[tokio::test]
    async fn a_workflow_that_is_wrong_costs_itself() {
        let body = json!({"workflows": [
            {"id": "a", "name": "x", "status": "draft"}, {"id": 7, "name": "x", "status": "active"}, {"id": "c", "name": "x", "status": "odd"}, 3,
        ]});
        let (done, items) = listed(vec![ok(body.to_string())]).await;
        done.unwrap();
        assert_eq!(items[0], "a Revoked");
        assert_eq!(items[1], "page 1, workflow 2: id is no text, or empty; Anything");
        assert!(items[2].contains("status is not") && items[2].ends_with("Refs([c])"), "{items:?}");
        assert!(items[3].ends_with("is no object; Anything"), "{items:?}");
    }

    #[tokio::test]
    async fn each_way_in_which_a_service_fails_is_told_apart() {
        for (script, kind) in [
            (vec![(401, "", String::new())], FailureKind::Unauthorized),
            (vec![(403, "", String::new())], FailureKind::Unauthorized),
            (vec![(404, "", String::new())], FailureKind::Malformed),
            (vec![(422, "", String::new())], FailureKind::Malformed),
            (vec![ok(format!("{{\"workflows\":[],\"more\":\"{}\"}}", "x".repeat(MAX_BODY)))], FailureKind::Malformed),
            (vec![(302, "", String::new())], FailureKind::Malformed),
            (vec![(429, "3600", String::new())], FailureKind::RateLimited),
            (vec![(503, "", String::new())], FailureKind::Unreachable),
            (vec![(408, "", String::new())], FailureKind::TimedOut),
            (vec![ok("{\"workflows\":[{\"id\":".to_owned())], FailureKind::Malformed),
            (vec![ok("{}".to_owned())], FailureKind::Malformed),
            (vec![ok(page(0..100, json!({})))], FailureKind::Malformed),
            (
                vec![ok(page(0..1, json!({"nextPageUrl": "https://elsewhere.example/workflows/"})))],
                FailureKind::Forbidden,
            ),
        ] {
            let (done, _) = listed(script.clone()).await;
            let status = script[0].0;
            assert_eq!(done.unwrap_err().kind, kind, "{status}: {:.100}", script[0].2);
        }
        let (closed, _) = list_at("http://127.0.0.1:9", true).await;
        assert_eq!(closed.unwrap_err().kind, FailureKind::Unreachable);
    }

    #[tokio::test]
    async fn a_service_that_asks_for_patience_gets_it() {
        let started = std::time::Instant::now();
        let (done, items) =
            listed(vec![(429, "2", String::new()), (502, "", String::new()), ok(page(0..1, json!({})))]).await;
        done.unwrap();
        assert_eq!(items, ["w0 Living"]);
        assert!(started.elapsed() >= Duration::from_secs(2), "as long as it asked for: {:?}", started.elapsed());
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_by_a_date() {
        assert_eq!(patience(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(patience("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = patience("Wed, 21 Oct 2105 07:28:00 GMT").unwrap();
        assert!(soon > Duration::from_secs(365 * 86_400), "{soon:?}");
        assert_eq!(patience("later"), None);
    }

    /// Answers with these bytes, one connection after the other, the last ones again and again; then hangs up, or hangs.
    async fn raw(answers: Vec<String>, hangs: bool) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = &answers[number.min(answers.len() - 1)];
                stream.write_all(answer.as_bytes()).await.unwrap();
                if hangs {
                    open.push(stream);
                }
            }
        });
        url
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_asked_for_again_and_never_believed() {
        let answer = |length: usize, body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let whole = page(0..2, json!({}));
        let half = answer(whole.len(), &whole[..whole.len() / 2]);
        let (done, items) = list_at(&raw(vec![half.clone()], false).await, true).await;
        assert_eq!((done.unwrap_err().kind, items.len()), (FailureKind::Unreachable, 0));
        let (done, items) = list_at(&raw(vec![half.clone(), answer(whole.len(), &whole)], false).await, true).await;
        done.unwrap();
        assert_eq!(items.len(), 2);
        let (done, items) = list_at(&raw(vec![half], true).await, true).await;
        assert_eq!((done.unwrap_err().kind, items.len()), (FailureKind::TimedOut, 0), "it hangs in the middle");
    }

    #[tokio::test]
    async fn pages_that_overlap_are_listed_once_and_pages_that_repeat_are_no_list() {
        let next = |page| json!({"nextPageUrl": format!("/workflows/?cursor={page}")});
        let overlapping = vec![ok(page(0..3, next(2))), ok(page(2..5, json!({})))];
        let (done, items) = listed(overlapping).await;
        done.unwrap();
        assert_eq!(items.len(), 5);
        let (done, items) =
            listed(vec![ok(page(0..3, next(2))), ok(page(3..5, next(1))), ok(page(0..3, next(2)))]).await;
        let unlisted = done.unwrap_err();
        assert_eq!((unlisted.kind, items.len()), (FailureKind::Malformed, 5));
        assert!(unlisted.what.contains("repeats"), "{unlisted}");
    }

    #[tokio::test]
    async fn private_networks_are_not_called_unless_it_says_so() {
        for url in [
            "https://127.0.0.1:1",
            "https://[::1]:1",
            "https://169.254.169.254",
            "https://localhost:1",
            "ftp://x.example",
            "http://x.example",
        ] {
            let (done, _) = list_at(url, false).await;
            assert_eq!(done.unwrap_err().kind, FailureKind::Forbidden, "{url}");
        }
    }
}
