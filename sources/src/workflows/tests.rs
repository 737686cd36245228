//! The service in its moods: a local server that answers as it is told to.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;

use super::service::{MAX_BODY, VERSION, patience};
use super::*;
use crate::{Item, Wrong};

/// What the service answers to the next requests, in order; the last one again and again. A page that repeats is no end: whoever lists
/// pages by number ends with an empty one.
type Script = Vec<(u16, &'static str, String)>;

/// A variable of every environment; what it holds is the token.
const TOKEN: &str = "HOME";

async fn serve(script: Script) -> String {
    let script = Mutex::new(script);
    serve_by(move |_| {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.remove(0) } else { script[0].clone() }
    })
    .await
}

type AskedFor = BTreeMap<String, String>;

/// A service that answers by what it is asked for.
async fn serve_by(answers: impl Fn(&AskedFor) -> (u16, &'static str, String) + Send + Sync + 'static) -> String {
    let answers = Arc::new(answers);
    let answer = move |Query(query): Query<AskedFor>, headers: HeaderMap| {
        let answers = Arc::clone(&answers);
        async move {
            assert_eq!(headers["version"], VERSION);
            assert_eq!(headers["authorization"], format!("Bearer {}", std::env::var(TOKEN).unwrap()));
            assert!(query.contains_key("locationId") || query.contains_key("cursor"), "{query:?}");
            let (status, retry_after, body) = answers(&query);
            let status = StatusCode::from_u16(status).unwrap();
            if status == StatusCode::REQUEST_TIMEOUT {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            (status, [("retry-after", retry_after), ("location", "http://127.0.0.1:9/elsewhere")], body).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/workflows/", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn map(url: &str, more: &str) -> Map {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map.toml");
    let text = format!("url = '{url}'\nlocation = 'loc'\ncredential_env = '{TOKEN}'\ntimeout_seconds = 1\n{more}");
    std::fs::write(&path, text).unwrap();
    Map::read(domain::grant::kind::Source::GhlWorkflows, &path).unwrap()
}

async fn listed(script: Script) -> (Result<(), Unlisted>, Vec<String>) {
    list_at(&serve(script).await, true).await
}

async fn list_at(url: &str, allow_private: bool) -> (Result<(), Unlisted>, Vec<String>) {
    list_with(url, &format!("allow_private = {allow_private}")).await
}

async fn list_with(url: &str, more: &str) -> (Result<(), Unlisted>, Vec<String>) {
    let (sender, mut items) = mpsc::channel(1000);
    let done = list(&map(url, more), &Sink::new(sender)).await;
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
    let pages = vec![ok(page(0..100, json!({}))), ok(page(99..130, json!({}))), ok(page(129..130, json!({})))];
    let (done, items) = listed(pages).await;
    done.unwrap();
    assert_eq!(items.len(), 130);
    let next = json!({"nextPageUrl": "/workflows/?cursor=2"});
    let (done, items) = listed(vec![ok(page(0..2, next)), ok(page(2..3, json!({})))]).await;
    done.unwrap();
    assert_eq!(items, ["w0 Living", "w1 Living", "w2 Living"]);
    let short = vec![ok(page(0..50, json!({}))), ok(page(49..60, json!({}))), ok(page(59..60, json!({})))];
    let (done, items) = listed(short).await;
    done.unwrap();
    assert_eq!(items.len(), 60, "a service may give fewer at a time than it was asked for");
    let (done, _) = listed(vec![ok(page(0..2, json!({"nextPageUrl": {"url": "/workflows/?cursor=2"}})))]).await;
    assert!(done.unwrap_err().what.contains("nextPageUrl"));
}

#[tokio::test]
async fn a_list_by_number_is_read_to_its_end_whatever_it_says_of_links() {
    let numbered = |meta: Value| {
        serve_by(move |query| {
            let skip: u32 = query["skip"].parse().unwrap();
            ok(page(skip.min(250)..(skip + 100).min(250), meta.clone()))
        })
    };
    for meta in [
        json!({"nextPageUrl": null}),
        json!({"nextPageUrl": null, "total": 250}),
        json!({"nextPageUrl": " ", "total": "250"}),
    ] {
        let (done, items) = list_at(&numbered(meta.clone()).await, true).await;
        done.unwrap();
        assert_eq!(items.len(), 250, "{meta}");
    }
    // Once a link was followed, no link is the end.
    let next = json!({"nextPageUrl": "/workflows/?cursor=2"});
    let (done, items) = listed(vec![ok(page(0..2, next)), ok(page(2..3, json!({"nextPageUrl": null})))]).await;
    done.unwrap();
    assert_eq!(items.len(), 3);
}

#[tokio::test]
async fn a_list_that_is_shorter_than_it_says_was_not_read_whole() {
    let next = json!({"nextPageUrl": "/workflows/?cursor=2", "total": 5});
    for (script, rows) in [
        (vec![ok(page(0..2, json!({"total": 5}))), ok(page(1..2, json!({"total": 5})))], 2),
        (vec![ok(page(0..2, next)), ok(page(2..4, json!({"nextPageUrl": null})))], 4),
        (
            vec![
                ok(page(0..2, json!({"nextPageUrl": null, "total": 3}))),
                ok(page(1..2, json!({"nextPageUrl": null}))),
            ],
            2,
        ),
        (vec![ok(page(0..0, json!({"total": "7"})))], 0),
    ] {
        let (done, items) = listed(script).await;
        let unlisted = done.unwrap_err();
        assert_eq!((unlisted.kind, items.len()), (FailureKind::Malformed, rows), "{unlisted}");
        assert!(unlisted.what.contains("says that there are"), "{unlisted}");
    }
    let (done, _) =
        list_with(&serve(vec![ok(page(0..2, json!({"total": 3})))]).await, "allow_private = true\nsingle_page = true")
            .await;
    assert!(done.is_err(), "one page is all there is, and it says that it is not");
    let (done, _) = listed(vec![ok(page(0..2, json!({"total": [2]})))]).await;
    assert!(done.unwrap_err().what.contains("total"));
}

#[tokio::test]
async fn a_second_row_of_a_workflow_is_passed_on() {
    let row = |id: &str, status: &str| json!({"id": id, "name": "n", "status": status});
    let body = json!({
        "workflows": [row("a", "published"), row("b", "published"), row("a", "draft"), row("b", "published")], "meta": {"total": 2},
    });
    let one = "allow_private = true\nsingle_page = true";
    let (done, items) = list_with(&serve(vec![ok(body.to_string())]).await, one).await;
    done.unwrap();
    assert_eq!(
        items,
        ["a Living", "b Living", "a Revoked", "b Living"],
        "whoever accounts for them says which one counts"
    );
    // What ends one page and begins the next is the same row, unless it changed meanwhile.
    let changed = vec![
        ok(page(0..2, json!({}))),
        ok(json!({"workflows": [{"id": "w1", "name": "n", "status": "draft"}, row("c", "active")]}).to_string()),
        ok(json!({"workflows": [row("c", "active")]}).to_string()),
    ];
    let (done, items) = listed(changed).await;
    done.unwrap();
    assert_eq!(items, ["w0 Living", "w1 Living", "w1 Revoked", "c Living"]);
}

#[tokio::test]
async fn a_workflow_that_does_not_run_does_not_whatever_else_is_wrong_with_it() {
    let wrong = |more: Value| {
        let mut row = json!({"id": "a", "name": "n", "status": "draft"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    for more in [
        json!({"updatedAt": true}),
        json!({"locationId": 7}),
        json!({"locationId": "elsewhere"}),
        json!({"name": null}),
        json!({"status": "inactive", "createdAt": "soon"}),
    ] {
        let body = json!({"workflows": [wrong(more.clone())], "meta": {"total": 1}});
        let (done, items) =
            list_with(&serve(vec![ok(body.to_string())]).await, "allow_private = true\nsingle_page = true").await;
        done.unwrap();
        assert!(items.len() == 1 && items[0].ends_with("; Ended([a])"), "{more}: {items:?}");
    }
}

#[tokio::test]
async fn a_page_that_repeats_is_never_the_end_of_the_list() {
    // It gives fifty at a time, however many it is asked for, and once it gives the page before again.
    let capped = |repeats_at: usize| {
        serve_by(move |query| {
            let skip: usize = query["skip"].parse().unwrap();
            let from = u32::try_from(if skip == repeats_at { skip - 49 } else { skip }).unwrap();
            ok(page(from.min(550)..(from + 50).min(550), json!({})))
        })
    };
    let (done, items) = list_at(&capped(usize::MAX).await, true).await;
    done.unwrap();
    assert_eq!(items.len(), 550);
    for (repeats_at, listed) in [(441, 442), (49, 50)] {
        let (done, items) = list_at(&capped(repeats_at).await, true).await;
        let unlisted = done.unwrap_err();
        assert_eq!((unlisted.kind, items.len()), (FailureKind::Malformed, listed));
        assert!(unlisted.what.contains("single_page"), "{unlisted}");
    }
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_was_not_read_whole() {
    // After the first page something is added in front, or taken away there; or the first page comes again with something new on it.
    let changed: [fn(usize) -> (u32, u32); 3] = [
        |skip| (u32::try_from(skip).unwrap() - 1, 299),
        |skip| (u32::try_from(skip).unwrap() + 1, 300),
        |skip| (if skip == 99 { 1000 } else { u32::try_from(skip).unwrap() }, 1100),
    ];
    for change in changed {
        let service = serve_by(move |query| {
            let skip: usize = query["skip"].parse().unwrap();
            let (from, end) = if skip == 0 { (0, 300) } else { change(skip) };
            ok(page(from..(from + 100).min(end), json!({})))
        });
        let (done, items) = list_at(&service.await, true).await;
        assert_eq!((done.unwrap_err().kind, items.len()), (FailureKind::Malformed, 100));
    }
}

#[tokio::test]
async fn an_empty_page_with_a_link_is_not_the_end_of_the_list() {
    let next = |page| json!({"nextPageUrl": format!("/workflows/?cursor={page}")});
    let gap = vec![
        ok(page(0..3, next(1))),
        ok(page(0..0, next(2))),
        ok(page(3..5, next(3))),
        ok(page(0..0, json!({"nextPageUrl": ""}))),
    ];
    let (done, items) = listed(gap).await;
    done.unwrap();
    assert_eq!(items.len(), 5);
    let (done, items) = listed(vec![ok(page(0..0, next(1))), ok(page(0..2, json!({"nextPageUrl": ""})))]).await;
    done.unwrap();
    assert_eq!(items.len(), 2, "the first page may be empty as well, and a link without anything in it is none");
    let (done, items) = listed(vec![ok(page(0..3, next(1))), ok(page(0..0, next(2)))]).await;
    let unlisted = done.unwrap_err();
    assert_eq!((unlisted.kind, items.len()), (FailureKind::Unreachable, 3));
    assert!(unlisted.what.contains("empty pages"), "{unlisted}");
}

#[tokio::test]
async fn a_list_with_nothing_in_it_was_not_read_unless_the_map_says_so() {
    let empty = || serve(vec![ok(page(0..0, json!({})))]);
    let (done, items) = list_with(&empty().await, "allow_private = true").await;
    let unlisted = done.unwrap_err();
    assert_eq!((unlisted.kind, items.len()), (FailureKind::Unreachable, 0));
    assert!(unlisted.what.contains("may_be_empty"), "{unlisted}");
    let (done, items) = list_with(&empty().await, "allow_private = true\nmay_be_empty = true").await;
    done.unwrap();
    assert!(items.is_empty());
}

#[tokio::test]
async fn a_workflow_of_another_location_is_wrong() {
    let workflow =
        |id: &str, location: Value| json!({"id": id, "name": "x", "status": "active", "locationId": location});
    let workflows = [workflow("a", json!("loc")), workflow("b", json!("elsewhere")), workflow("c", Value::Null)];
    let body = json!({"workflows": workflows, "meta": {"nextPageUrl": null, "total": 3}});
    let (done, items) = listed(vec![ok(body.to_string())]).await;
    done.unwrap();
    assert_eq!(items, ["a Living", "page 1, workflow 2: locationId is another location; Refs([b])", "c Living"]);
}

#[tokio::test]
async fn a_service_that_knows_of_no_pages_is_asked_once_if_the_map_says_so() {
    let everything =
        || serve_by(|query| (200, "", page(0..if query.contains_key("skip") { 7 } else { 150 }, json!({}))));
    let (done, items) = list_with(&everything().await, "allow_private = true\nsingle_page = true").await;
    done.unwrap();
    assert_eq!(items.len(), 150);
    let (done, items) = list_with(&everything().await, "allow_private = true").await;
    assert_eq!((done.unwrap_err().kind, items.len()), (FailureKind::Malformed, 7), "nobody said that it is all");
}

#[tokio::test]
async fn a_workflow_that_is_wrong_costs_itself() {
    let body = json!({"workflows": [
        {"id": "a", "name": "x", "status": "draft"}, {"id": 7, "name": "x", "status": "active"}, {"id": "c", "name": "x", "status": "odd"}, 3,
    ]});
    let (done, items) = listed(vec![ok(body.to_string()), ok(json!({"workflows": [3]}).to_string())]).await;
    done.unwrap();
    assert_eq!(items[0], "a Revoked");
    assert_eq!(items[1], "page 1, workflow 2: id is no text, or empty; Anything");
    assert!(items[2].contains("status is not") && items[2].ends_with("Refs([c])"), "{items:?}");
    assert!(items[3].ends_with("is no object; Anything"), "{items:?}");
    assert_eq!(items.len(), 4);
    let (done, items) = listed(vec![ok(json!({"workflows": [7]}).to_string())]).await;
    assert_eq!((done.is_ok(), items.len()), (true, 1), "it is the end, and wrong");
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
        (vec![ok(page(0..1, json!({"nextPageUrl": "https://elsewhere.example/workflows/"})))], FailureKind::Forbidden),
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
        listed(vec![(429, "2", String::new()), (502, "", String::new()), ok(page(0..1, json!({"nextPageUrl": null})))])
            .await;
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
    let whole = page(0..2, json!({"nextPageUrl": null, "total": 2}));
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
    let (done, items) = listed(vec![ok(page(0..3, next(2))), ok(page(3..5, next(1))), ok(page(0..3, next(2)))]).await;
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
