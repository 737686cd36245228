//! The same server over PostgreSQL: migrated by its owner, served by a role that owns nothing, two servers at once.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use guildhall::config::{DatabaseUrl, Settings};
use guildhall::serve::Running;
use serde_json::{Value, json};
use support::{Town, treasury_of};

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_over_postgres_as_over_sqlite() {
    let database = eventlog::testing::postgres(&projections::ddl::POSTGRES).await;
    let town = Town::start_with(|settings| {
        settings.database_url = Some(DatabaseUrl::from(database.url.clone()));
        settings.origin = Some(eventlog::testing::ORIGIN.to_owned());
    })
    .await;
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
    let deposit =
        json!({ "source": "stripe", "reference": "ch_1", "currency": "USD", "amount": "5.00", "memo": "first" });
    let path = format!("/treasuries/{treasury}/deposits");
    let deposited = town.post(&attester_key, &path, deposit.clone()).await.ok();
    let again = town.post(&attester_key, &path, deposit).await.ok();
    assert_eq!(again.body["outcome"], "already_done");
    let statement =
        town.get_after(&ada_key, &format!("/treasuries/{treasury}/statement"), deposited.position()).await.ok();
    assert_eq!(
        (&statement.body["items"][0]["balance"], &statement.body["items"][0]["memo"]["text"]),
        (&json!("5.00"), &json!("first"))
    );
    let report = town.get(&town.key, "/conservation").await.ok();
    assert_eq!(report.body["conserved"], true);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_write_is_not_ready_until_it_can_again() {
    let database = eventlog::testing::postgres(&projections::ddl::POSTGRES).await;
    let town = Town::start_with(|settings| {
        settings.database_url = Some(DatabaseUrl::from(database.url.clone()));
        settings.origin = Some(eventlog::testing::ORIGIN.to_owned());
    })
    .await;
    let mut owner = eventlog::sql::Conn::from(eventlog::testing::connect(&database.owner_url).await);
    let role = eventlog::testing::ROLE;
    let ready = async || {
        let request = axum::http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
        let reply = town.send(request).await;
        (reply.status.as_u16(), reply.body["writing"].clone())
    };
    assert_eq!(ready().await, (200, json!(true)));
    owner.script(&format!("revoke insert on log.entries from {role}")).await.unwrap();
    let usd = json!({ "currency": "USD", "scale": 2 });
    assert_eq!(town.post(&town.key, "/currencies", usd.clone()).await.status.as_u16(), 503);
    assert_eq!(ready().await, (503, json!(false)));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(ready().await, (503, json!(false)), "it has looked, and still cannot");
    owner.script(&format!("grant insert on log.entries to {role}")).await.unwrap();
    for _ in 0..100 {
        if ready().await == (200, json!(true)) {
            town.post(&town.key, "/currencies", usd).await.ok();
            return town.end().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the server never became ready again");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_are_one_city() {
    let database = eventlog::testing::postgres(&projections::ddl::POSTGRES).await;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::in_dir(&dir.path().join("data"));
    settings.database_url = Some(DatabaseUrl::from(database.url.clone()));
    settings.origin = Some(eventlog::testing::ORIGIN.to_owned());
    let mut first = Running::start(settings.clone()).await.unwrap();
    let key = first.take_first_key().unwrap().unwrap();
    let second = Running::start(settings).await.unwrap();
    assert!(second.first().is_none(), "the city is founded once");

    let client = http_client();
    let post = async |server: &Running, path: &str, body: Value| -> Value {
        let request = client.post(format!("http://{}/v1{path}", server.address)).bearer_auth(key.as_str()).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let founded = post(&first, "/guilds", json!({ "slug": "weavers", "kind": "community", "name": "W" })).await;
    assert_eq!(founded["outcome"], "done", "{founded}");
    let taken = post(&second, "/guilds", json!({ "slug": "weavers", "kind": "community", "name": "W" })).await;
    assert_eq!(taken["code"], "slug_taken", "{taken}");
    // A revocation on one server ends the key on the other.
    let me = client.get(format!("http://{}/v1/whoami", second.address)).bearer_auth(key.as_str()).send().await.unwrap();
    let me: Value = me.json().await.unwrap();
    let issued = post(&first, "/keys", json!({ "citizen": me["citizen"] })).await;
    let other = issued["api_key"].as_str().unwrap();
    let whoami = || client.get(format!("http://{}/v1/whoami", second.address)).bearer_auth(other).send();
    assert_eq!(whoami().await.unwrap().status(), 200);
    let id = issued["entries"][0]["stream"].as_str().unwrap();
    post(&first, &format!("/keys/{id}/revoke"), json!({})).await;
    assert_eq!(whoami().await.unwrap().status(), 401);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_migrates_and_may_not_serve() {
    let database = eventlog::testing::empty_postgres().await;
    // A role belongs to the whole server, on which other tests run.
    let role = format!("login_{}", database.name);
    let url = database.url.replace(eventlog::testing::ROLE, &role);
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command.current_dir(dir.path()).args(["--data-dir", "data"]).args(arguments);
        command.output().unwrap()
    };
    let owner = database.owner_url.as_str();
    let migrated = run(&["migrate", "--owner-url", owner, "--login-role", &role, "--origin", "test/migrated"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert!(String::from_utf8_lossy(&migrated.stdout).contains("test/migrated"));
    let served = run(&["serve", "--listen", "127.0.0.1:0", "--database-url", owner]);
    assert_eq!(served.status.code(), Some(2));
    let said = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(said.contains("--dev"), "{said}");
    let doctor = run(&["doctor", "--database-url", owner]);
    assert_eq!(doctor.status.code(), Some(1), "{}", String::from_utf8_lossy(&doctor.stdout));
    let doctor = run(&["doctor", "--database-url", &url]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

fn http_client() -> reqwest::Client {
    sources::prepare_tls();
    reqwest::Client::new()
}
