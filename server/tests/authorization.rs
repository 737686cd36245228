//! Every address asks for a credential, and for one that reaches far enough: the whole table is walked.
#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use axum::http::{Method, Request};
use guildhall::http::routes::{ASSERTIONS, COMMANDS, OPEN, QUESTIONS};
use serde_json::json;
use support::Town;

/// An address of the table with something well-formed in its places.
fn filled(path: &str) -> String {
    const ULID: &str = "01J80000000000000000000001";
    let places = [
        ("{citizen}", "cit"),
        ("{member}", "cit"),
        ("{key}", "key"),
        ("{old}", "key"),
        ("{guild}", "gld"),
        ("{proposal}", "prp"),
        ("{treasury}", "try"),
        ("{hold}", "hld"),
        ("{offer}", "hld"),
        ("{grant}", "grt"),
        ("{holder}", "cit"),
        ("{to}", "cit"),
        ("{piece}", "evd"),
    ];
    let filled =
        places.iter().fold(path.to_owned(), |path, (place, prefix)| path.replace(place, &format!("{prefix}_{ULID}")));
    let filled = filled.replace("{stream}", "city").replace("{position}", "0").replace("{kind}", "tool");
    assert!(!filled.contains('{'), "{filled}");
    format!("/v1{filled}")
}

fn table() -> Vec<(Method, String, &'static str)> {
    let commands = COMMANDS.iter().map(|route| (Method::POST, filled(route.path), route.action));
    let questions = QUESTIONS.iter().map(|route| (Method::GET, filled(route.path), route.action));
    let assertions = ASSERTIONS.iter().map(|route| (Method::POST, filled(route.path), route.action));
    commands.chain(questions).chain(assertions).collect()
}

fn request(method: &Method, path: &str, key: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(Body::from("{}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_every_address_answers_401() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 10_000).await;
    for (method, path, _) in table() {
        let reply = town.send(request(&method, &path, None)).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (401, "unauthenticated"), "{method} {path}: {}", reply.text);
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_credential_of_no_tier_every_address_answers_403() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 10_000).await;
    let (citizen, key) = town.citizen("Nobody", &[]).await;
    // Everybody starts as an observer; without even that, nothing is permitted.
    town.post(&town.key, &format!("/citizens/{citizen}/roles/unassign"), json!({ "role": "observer" })).await.ok();
    for (method, path, action) in table() {
        let reply = town.send(request(&method, &path, Some(&key))).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (403, "not_permitted"),
            "{method} {path} ({action}): {}",
            reply.text
        );
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tier_too_low_is_403_and_high_enough_is_not() {
    use domain::party::Tier;
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 10_000).await;
    let mut keys = Vec::new();
    for tier in Tier::ALL {
        let role = domain::city::seed_role(tier).to_string();
        // Nobody issues keys for their own tier but for themselves.
        let key = if tier == Tier::Principal { town.key.clone() } else { town.citizen("Somebody", &[&role]).await.1 };
        keys.push((tier, key));
    }
    for (method, path, action) in table() {
        if path.ends_with("/entries/stream") || path.ends_with("/leave") {
            continue;
        }
        let lowest = domain::city::policy::lowest_tier(action).unwrap();
        for (tier, key) in &keys {
            let reply = town.send(request(&method, &path, Some(key))).await;
            let turned_away = reply.code() == "not_permitted"
                && reply.body["detail"].as_str().is_some_and(|text| text.starts_with(action));
            assert_eq!(turned_away, *tier < lowest, "{method} {path} as {tier:?}: {}", reply.text);
        }
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_limited_to_one_action_opens_no_other_address() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 10_000).await;
    let body = json!({ "citizen": town.principal, "actions": ["query.conservation"] });
    let issued = town.post(&town.key, "/keys", body).await.ok();
    let key = issued.body["api_key"].as_str().unwrap();
    for (method, path, action) in table() {
        let reply = town.send(request(&method, &path, Some(key))).await;
        let expected = if action == "query.conservation" { "" } else { "credential_scope" };
        assert_eq!(reply.code(), expected, "{method} {path}: {}", reply.text);
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_listed_with_its_reason() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 10_000).await;
    let open: Vec<&str> = OPEN.iter().map(|(path, _)| *path).collect();
    let of_the_page = ["/policy", "/proof/{position}", "/audit", "/audit.json", "/audit/{file}"];
    assert_eq!(open, [&["/healthz", "/readyz", "/metrics", "/checkpoint", "/tile/{*path}"][..], &of_the_page].concat());
    for path in ["/healthz", "/readyz", "/audit", "/audit.json", "/audit/page.js", "/policy"] {
        assert_eq!(town.send(request(&Method::GET, path, None)).await.status.as_u16(), 200, "{path}");
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/admin",
        "/v1/entries/../whoami",
        "/tile/../master.key",
        "/tile/x/y",
        "/audit/mod.rs",
        "/proof/999999",
    ] {
        let status = town.send(request(&Method::GET, path, None)).await.status.as_u16();
        assert!(status == 404 || status == 401, "{path}: {status}");
    }
    town.end().await;
}
