//! The HTTP contract, told by what callers see: what works, every shape of "no", and retries that are safe.
#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use chain::receipt::SignedReceipt;
use serde_json::{Value, json};
use support::{Town, treasury_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_city_is_founded_once_and_money_moves_through_it() {
    let town = Town::start().await;
    let key = &town.key;
    town.post(key, "/currencies", json!({ "currency": "USD", "scale": 2 })).await.ok();
    let again = town.post(key, "/currencies", json!({ "currency": "USD", "scale": 2 })).await.ok();
    assert_eq!(again.body["outcome"], "already_done");
    assert_eq!(again.body.get("receipt"), None, "nothing was written, so nothing is promised");

    let (founder, founder_key) = town.citizen("Ada", &["worker"]).await;
    let guild = town.guild(&founder_key, "weavers").await;
    let treasury = treasury_of(&guild);
    let (attester, attester_key) = town.citizen("Paymaster", &["partner"]).await;
    let grant = json!({ "source": "stripe", "currency": "USD" });
    town.post(key, &format!("/citizens/{attester}/attestations"), grant).await.ok();

    let deposit =
        json!({ "source": "stripe", "reference": "ch_1", "currency": "USD", "amount": "12.50", "memo": "dues of May" });
    let deposited = town.post(&attester_key, &format!("/treasuries/{treasury}/deposits"), deposit).await.ok();
    let position = deposited.position();
    let receipt: SignedReceipt = serde_json::from_value(deposited.body["receipt"].clone()).unwrap();
    receipt.verify(&town.open.city.keys.newest().unwrap()).unwrap();
    assert!(!deposited.text.contains("dues of May"), "typed text is sealed, also towards its author");

    let balances = town.get_after(&founder_key, &format!("/treasuries/{treasury}/balances"), position).await.ok();
    assert_eq!(balances.body["balances"][0]["available"], "12.50");
    let statement = town.get(&founder_key, &format!("/treasuries/{treasury}/statement?currency=USD")).await.ok();
    assert_eq!(statement.body["items"][0]["memo"]["text"], "dues of May", "{}", statement.text);
    let stranger = town.get(&attester_key, &format!("/treasuries/{treasury}/statement")).await.ok();
    assert_eq!(stranger.body["items"][0]["memo"].get("text"), None, "members and gates only");

    let split = json!({ "currency": "USD", "amount": "2.50", "shares": [{ "to": treasury_of(&founder), "basis_points": 10000 }] });
    town.post(&founder_key, &format!("/treasuries/{treasury}/splits"), split).await.ok();
    let too_much = json!({ "currency": "USD", "amount": "99.00", "shares": [{ "to": treasury_of(&founder), "basis_points": 10000 }] });
    let refused = town.post(&founder_key, &format!("/treasuries/{treasury}/splits"), too_much).await;
    let refused = refused.refused(422, "insufficient_funds");
    assert!(refused.body["command"].as_str().unwrap().starts_with("cmd_"));

    let (size, beyond) = loop {
        let size = town.open.city.log.head().await.unwrap().size;
        let beyond = town.get(&founder_key, &format!("/treasuries/{treasury}/balances?position={size}")).await;
        // The city anchors by itself, and the log says so: then what was tomorrow is today.
        if town.open.city.log.head().await.unwrap().size == size {
            break (size, beyond);
        }
    };
    let beyond = beyond.refused(422, "invalid_field");
    assert_eq!(beyond.body["field"], "position", "nobody knows a balance of tomorrow");
    town.get(&founder_key, &format!("/treasuries/{treasury}/balances?position={}", size - 1)).await.ok();
    for blank in ["   ", "a\u{0}b", "a\u{202e}b", "\u{200b}\u{2060}\u{feff}", "a\u{2067}b"] {
        let named = town.post(&founder_key, &format!("/guilds/{guild}/rename"), json!({ "name": blank })).await;
        assert_eq!(
            (named.status, &named.body["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("name")),
            "{blank:?}"
        );
    }
    town.get(&founder_key, "/guilds/%ff%fe").await.refused(422, "invalid_field");
    town.get(&founder_key, "/guilds?status=%00").await.refused(422, "invalid_field");
    let misspelt = town.get(&founder_key, &format!("/treasuries/{treasury}/holds?state=opened")).await;
    assert_eq!(misspelt.refused(422, "invalid_field").field(), "state");
    let machinery = town.get(key, "/streams/log/entries").await.ok();
    assert_eq!(machinery.body["entries"][0]["entry"]["type"], "log.secrets_named.v1");
    town.get(key, "/streams/logs/entries").await.refused(422, "invalid_field");
    let observer = town.citizen("Onlooker", &[]).await.1;
    let entries = town.get(&observer, &format!("/streams/{treasury}/entries")).await;
    entries.refused(403, "not_permitted");
    let size = town.open.city.log.head().await.unwrap().size;
    let report = town.get_after(key, "/conservation", size - 1).await.ok();
    assert_eq!(
        (&report.body["conserved"], &report.body["currencies"][0]["external"]),
        (&json!(true), &json!("-12.50"))
    );
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_good_key_are_held_up_and_others_are_not() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 5).await;
    let unknown = "gh_00000000000000000000000001_not_a_key";
    let mut codes = Vec::new();
    for _ in 0..8 {
        codes.push(town.get(unknown, "/guilds").await.status.as_u16());
    }
    assert_eq!((codes[0], codes[7]), (401, 429), "{codes:?}");
    let limited = town.get(unknown, "/guilds").await.refused(429, "rate_limited");
    assert!(limited.headers.contains_key("retry-after"));
    town.get(&town.key, "/guilds").await.ok();
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_invented_keys_is_on_record_by_number_and_lets_good_ones_through() {
    let town = Town::start_with(|settings| settings.limits.strangers_per_second = 5).await;
    let invented: Vec<String> = (0..40)
        .map(|_| {
            let id = guildhall::http::fresh_key_id().unwrap();
            identity::ApiKey::generate(id).unwrap().expose().to_owned()
        })
        .collect();
    let flood = invented.iter().map(|key| async { town.get(key, "/guilds").await.status.as_u16() });
    let (codes, good) = tokio::join!(futures::future::join_all(flood), town.get(&town.key, "/guilds"));
    good.ok();
    assert!(codes.contains(&401) && codes.contains(&429), "{codes:?}");
    let log = town.open.city.log.clone();
    town.end().await;
    let refusals = log.read_stream("refusals", 0, 1000).await.unwrap();
    let of = |entry: &eventlog::Stored| serde_json::from_slice::<Value>(&entry.bytes).unwrap()["data"].clone();
    let refusals: Vec<Value> = refusals.iter().map(of).collect();
    assert!(refusals.iter().all(|refusal| refusal["credential"] == "unknown"), "{refusals:?}");
    assert_eq!(refusals.iter().map(|refusal| refusal["count"].as_u64().unwrap()).sum::<u64>(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_answer() {
    let town = Town::start().await;
    let body = json!({ "slug": "weavers", "kind": "community", "name": "The Weavers" });
    let key = [("idempotency-key", "found-weavers")];
    let first = town.post_with(&town.key, "/guilds", body.clone(), &key).await.ok();
    let again = town.post_with(&town.key, "/guilds", body.clone(), &key).await.ok();
    assert_eq!(first.body["command"], again.body["command"]);
    assert_eq!(first.body["entries"], again.body["entries"]);
    assert_eq!(first.body["receipt"], again.body["receipt"]);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let other = json!({ "slug": "others", "kind": "community", "name": "The Weavers" });
    town.post_with(&town.key, "/guilds", other, &key).await.refused(409, "key_reused");

    // A refusal is an answer too, and says how to go on.
    let key = [("idempotency-key", "second")];
    let first = town.post_with(&town.key, "/guilds", body.clone(), &key).await.refused(409, "slug_taken");
    assert!(first.body["advice"].as_str().unwrap().contains("new key"));
    let again = town.post_with(&town.key, "/guilds", body, &key).await.refused(409, "slug_taken");
    assert_eq!(first.body["command"], again.body["command"]);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_shown_once() {
    let town = Town::start().await;
    let (citizen, _) = town.citizen("Ada", &["observer"]).await;
    let (body, key) = (json!({ "citizen": citizen }), [("idempotency-key", "k1")]);
    let first = town.post_with(&town.key, "/keys", body.clone(), &key).await.ok();
    let text = first.body["api_key"].as_str().unwrap();
    town.get(text, "/whoami").await.ok();
    let again = town.post_with(&town.key, "/keys", body, &key).await.ok();
    assert_eq!(again.body["entries"], first.body["entries"]);
    assert_eq!(again.body.get("api_key"), None);

    let id = first.stream("key.issued.v1");
    let rotated = town.post(text, &format!("/keys/{id}/rotate"), json!({ "overlap_seconds": 0 })).await.ok();
    let successor = rotated.body["api_key"].as_str().unwrap();
    town.get(successor, "/whoami").await.ok();
    town.get(text, "/whoami").await.refused(401, "credential_expired");

    let successor_id = rotated.stream("key.issued.v1");
    town.post(&town.key, &format!("/keys/{successor_id}/revoke"), json!({})).await.ok();
    town.get(successor, "/whoami").await.refused(401, "credential_revoked");
    for made_here in ["key", "verifier"] {
        let body = json!({ "citizen": citizen, made_here: "x" });
        assert_eq!(town.post(&town.key, "/keys", body).await.refused(422, "invalid_field").field(), made_here);
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_consensus_a_command_waits_for_votes() {
    let town = Town::start().await;
    let (ada, ada_key) = town.citizen("Ada", &["worker"]).await;
    let (bob, bob_key) = town.citizen("Bob", &["worker"]).await;
    let guild = town.guild(&ada_key, "weavers").await;
    let member = json!({ "member": bob, "rank": "founder" });
    town.post(&ada_key, &format!("/guilds/{guild}/members"), member).await.ok();
    let governance = json!({ "governance": { "default": { "tier": "consensus", "ratifiers": { "members": [ada, bob] }, "needed": 2 } } });
    town.post(&ada_key, &format!("/guilds/{guild}/governance"), governance).await.ok();

    let asked = town.post(&ada_key, &format!("/guilds/{guild}/rename"), json!({ "name": "The Spinners" })).await;
    assert_eq!((asked.status, &asked.body["outcome"]), (StatusCode::ACCEPTED, &json!("proposed")), "{}", asked.text);
    let proposal = asked.body["proposal"].as_str().unwrap();
    let open = town.get_after(&bob_key, "/guilds/weavers/proposals?state=open", asked.position()).await.ok();
    assert_eq!(open.body["items"][0]["proposal"], proposal);
    assert_eq!(open.body["items"][0]["command"]["name"]["text"], "The Spinners", "{}", open.text);

    let vote = town.post(&bob_key, &format!("/guilds/{guild}/proposals/{proposal}/ratify"), json!({})).await.ok();
    let renamed = town.get_after(&bob_key, "/guilds/weavers", vote.position()).await.ok();
    assert_eq!(renamed.body["name"]["text"], "The Spinners", "{}", renamed.text);
    let log = town.get(&bob_key, &format!("/guilds/{guild}/governance-log")).await.ok();
    assert_eq!(log.body["items"][0]["decided_by"], "proposal", "{}", log.text);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_names_what_is_bad() {
    let town = Town::start_with(|settings| settings.limits.body_bytes = 2000).await;
    let key = town.key.clone();
    let good = json!({ "slug": "weavers", "kind": "community", "name": "W" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, field) in [
        (json!({ "kind": "community", "name": "W" }), "slug"),
        (with("slug", json!("Not A Slug")), "slug"),
        (with("slug", json!(7)), "slug"),
        (with("kind", json!("cartel")), "kind"),
        (with("colour", json!("red")), "colour"),
        (with("type", json!("city.found")), "type"),
        (with("name", json!({ "ciphertext": "0".repeat(64), "commitment": "0".repeat(64), "subject": "x" })), "name"),
        (with("ranks", json!([{ "name": "founder" }, { "name": "Bad Name" }])), "ranks.0"),
    ] {
        let refused = town.post(&key, "/guilds", body.clone()).await.refused(422, "invalid_field");
        assert!(
            refused.field().starts_with(field.split('.').next().unwrap()),
            "{body} names {:?}: {}",
            refused.field(),
            refused.text
        );
    }
    let refused = town.post(&key, "/guilds/NOT!/rename", json!({ "name": "x" })).await.refused(422, "invalid_field");
    assert_eq!(refused.field(), "guild");
    let refused = town.post(&key, "/guilds/weavers/rename", json!({ "guild": "others", "name": "x" })).await;
    assert_eq!(refused.refused(422, "invalid_field").field(), "guild");

    let raw = |kind: &'static str, body: Vec<u8>| {
        let request =
            Request::post("/v1/guilds").header("authorization", format!("Bearer {key}")).header("content-type", kind);
        town.send(request.body(Body::from(body)).unwrap())
    };
    raw("application/json", b"{".to_vec()).await.refused(400, "malformed_json");
    raw("application/json", b"[]".to_vec()).await.refused(400, "malformed_json");
    raw("application/json", br#"{"slug":"a1","slug":"a2"}"#.to_vec()).await.refused(400, "malformed_json");
    raw("application/json", [b"[".repeat(500), b"]".repeat(500)].concat()).await.refused(400, "malformed_json");
    raw("application/json", vec![b' '; 2001]).await.refused(413, "body_too_large");
    raw("text/plain", good.to_string().into_bytes()).await.refused(415, "not_json");

    for (header, value) in [("idempotency-key", ""), ("expected-version", "nowhere"), ("expected-version", "city@x")] {
        let refused = town.post_with(&key, "/guilds", good.clone(), &[(header, value)]).await;
        assert_eq!(refused.refused(400, "invalid_header").field(), header);
    }
    town.post_with(&key, "/guilds", good.clone(), &[("expected-version", "city@999")])
        .await
        .refused(409, "version_conflict");

    for (path, field) in [
        ("/guilds?colour=red", "colour"),
        ("/guilds?limit=0", "limit"),
        ("/guilds?limit=x", "limit"),
        ("/guilds?prefix=a&prefix=b", "prefix"),
        ("/treasuries/nonsense/balances", "treasury"),
        ("/entries?from=-1", "from"),
        ("/guilds?at_least=x", "at_least"),
    ] {
        assert_eq!(town.get(&key, path).await.refused(422, "invalid_field").field(), field, "{path}");
    }
    town.get(&key, "/guilds/nobody").await.refused(404, "guild_not_found");
    town.get(&key, "/nowhere").await.refused(404, "not_found");
    town.post(&key, "/whoami", json!({})).await.refused(405, "method_not_allowed");
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_or_a_bad_one_is_turned_away() {
    let town = Town::start().await;
    let whoami = |value: Option<String>| {
        let mut request = Request::get("/v1/whoami");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        town.send(request.body(Body::empty()).unwrap())
    };
    let none = whoami(None).await.refused(401, "unauthenticated");
    assert!(none.headers.contains_key("www-authenticate"));
    whoami(Some("Basic abc".to_owned())).await.refused(401, "unauthenticated");
    whoami(Some("Bearer gh_nonsense".to_owned())).await.refused(401, "credential_malformed");
    let mut typo = town.key.clone().into_bytes();
    typo[40] = if typo[40] == b'7' { b'8' } else { b'7' };
    whoami(Some(format!("Bearer {}", String::from_utf8(typo).unwrap()))).await.refused(401, "credential_malformed");
    // Well-formed, but nobody issued it.
    let stranger = identity::ApiKey::generate(domain::ids::KeyId::from_bits(5)).unwrap();
    whoami(Some(format!("Bearer {}", stranger.expose()))).await.refused(401, "credential_invalid");
    // The right id with another secret.
    let id = identity::PresentedKey::parse(&town.key).unwrap().id();
    let forged = identity::ApiKey::generate(id).unwrap();
    whoami(Some(format!("Bearer {}", forged.expose()))).await.refused(401, "credential_invalid");
    assert_eq!(whoami(Some(format!("bearer {}", town.key))).await.status, StatusCode::OK);

    // Who tried is on record, and under which name.
    let mut refusals = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        refusals = town.open.city.log.read_stream("refusals", 0, 100).await.unwrap();
        if refusals.len() >= 4 {
            break;
        }
    }
    let names: Vec<Value> = refusals
        .iter()
        .map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap()["data"]["credential"].clone())
        .collect();
    for expected in [json!("none"), json!("unknown"), json!(id.to_string())] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_their_own_write() {
    let town = Town::start_with(|settings| settings.limits.wait_seconds = 1).await;
    let founded =
        town.post(&town.key, "/guilds", json!({ "slug": "weavers", "kind": "community", "name": "W" })).await.ok();
    let seen = town.get_after(&town.key, "/guilds/weavers", founded.position()).await.ok();
    assert_eq!(seen.body["slug"], "weavers");
    let future = town.get_after(&town.key, "/guilds/weavers", founded.position() + 1_000_000).await;
    let future = future.refused(503, "behind");
    assert!(future.headers.contains_key("retry-after"));
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_too_much_is_slowed_down() {
    let town = Town::start_with(|settings| (settings.limits.requests_per_second, settings.limits.burst) = (1, 3)).await;
    for _ in 0..3 {
        town.get(&town.key, "/whoami").await.ok();
    }
    let slowed = town.get(&town.key, "/whoami").await.refused(429, "rate_limited");
    assert_eq!(slowed.headers["retry-after"], "1");
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_says_so_and_still_answers() {
    let town = Town::start().await;
    town.open.city.pipeline.set_read_only(Some("the log differs from what was published at position 7".to_owned()));
    let refused =
        town.post(&town.key, "/currencies", json!({ "currency": "USD", "scale": 2 })).await.refused(503, "read_only");
    assert!(refused.body["detail"].as_str().unwrap().contains("position 7"));
    town.get(&town.key, "/whoami").await.ok();
    let ready = town.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!((ready.status, &ready.body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_health_and_numbers() {
    let town = Town::start().await;
    town.post(&town.key, "/currencies", json!({ "currency": "USD", "scale": 2 })).await.ok();
    let open = |path: &'static str| town.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(open("/healthz").await.text, "ok\n");
    let ready = open("/readyz").await.body;
    assert_eq!((&ready["ready"], &ready["wrong_clock"]), (&json!(true), &json!(null)));
    // Not from this machine as far as the server can see, so it takes a credential.
    open("/metrics").await.refused(401, "unauthenticated");
    let request = Request::get("/metrics").header("authorization", format!("Bearer {}", town.key));
    let numbers = town.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(numbers.status, StatusCode::OK);
    assert!(numbers.text.contains("guildhall_http_requests_total"), "{}", numbers.text);
    assert!(!numbers.text.contains(&town.key[3..29]), "numbers carry no names");

    let echoed = town.post_with(&town.key, "/currencies", json!({}), &[("x-request-id", "abc-1")]).await;
    assert_eq!(echoed.headers["x-request-id"], "abc-1");
    let made = town.get(&town.key, "/whoami").await;
    assert_eq!(made.headers["x-request-id"].len(), 32);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_shows_every_entry_with_its_exact_bytes() {
    use base64::Engine as _;
    let town = Town::start().await;
    let head = town.open.city.log.head().await.unwrap();
    let page = town.get(&town.key, "/entries?from=0&limit=3").await.ok();
    let entries = page.body["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &page.body["next"]), (3, &json!(3)));
    for entry in entries {
        let bytes = base64::engine::general_purpose::STANDARD.decode(entry["bytes"].as_str().unwrap()).unwrap();
        let prev = chain::Hash::from_hex(entry["prev"].as_str().unwrap()).unwrap();
        let hash = chain::entry::entry_hash(&head.origin, &prev, &bytes);
        assert_eq!(entry["entry_hash"], hash.to_hex());
        assert_eq!(entry["entry"], serde_json::from_slice::<Value>(&bytes).unwrap());
    }
    let city = town.get(&town.key, "/streams/city/entries").await.ok();
    assert_eq!(city.body["entries"][0]["entry"]["type"], "city.founded.v1");

    let request = Request::get("/v1/entries/stream?from=0").header("authorization", format!("Bearer {}", town.key));
    let stream = {
        use tower::ServiceExt as _;
        town.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut body = stream.into_body().into_data_stream();
    let first = {
        use futures::StreamExt as _;
        body.next().await.unwrap().unwrap()
    };
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(first.contains("id: 0\n") && first.contains("event: city.founded.v1"), "{first}");
    drop(body);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_comes_back_by_itself() {
    let town = Town::start().await;
    town.post(&town.key, "/currencies", json!({ "currency": "USD", "scale": 2 })).await.ok();
    let (ada, ada_key) = town.citizen("Ada", &["worker"]).await;
    let (attester, attester_key) = town.citizen("Paymaster", &["partner"]).await;
    town.post(
        &town.key,
        &format!("/citizens/{attester}/attestations"),
        json!({ "source": "stripe", "currency": "USD" }),
    )
    .await
    .ok();
    let treasury = treasury_of(&ada);
    let deposit = json!({ "source": "stripe", "reference": "ch_1", "currency": "USD", "amount": "5.00" });
    town.post(&attester_key, &format!("/treasuries/{treasury}/deposits"), deposit).await.ok();
    let soon = domain::Time::from_micros(guildhall::http::now().micros() + 1_200_000);
    let hold = json!({ "currency": "USD", "legs": [{ "to": "external", "amount": "5.00" }], "expires_at": soon });
    town.post(&ada_key, &format!("/treasuries/{treasury}/holds"), hold).await.ok();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let balances = town.get(&ada_key, &format!("/treasuries/{treasury}/balances")).await.ok();
        if balances.body["balances"][0]["available"] == "5.00" {
            let holds = town.get(&ada_key, &format!("/treasuries/{treasury}/holds?state=expired")).await.ok();
            assert_eq!(holds.body["items"].as_array().unwrap().len(), 1);
            return town.end().await;
        }
    }
    panic!("the hold has not come back");
}
