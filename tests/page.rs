//! `/audit` in a real headless Chromium: what it shows, and that it tells a receipt that holds from one that does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use guildhall_tests::programs::workspace;
use guildhall_tests::server::Place;
use guildhall_tests::town::Town;
use guildhall_tests::witness::Witness;
use guildhall_tests::{Engine, block_on};
use serde_json::{Value, json};

/// The folder that holds `node_modules/playwright-core`, or nothing when somebody said to go without a browser.
fn node_modules() -> Option<PathBuf> {
    if std::env::var_os("GUILDHALL_SKIP_BROWSER").is_some() {
        eprintln!("SKIPPED: GUILDHALL_SKIP_BROWSER is set");
        return None;
    }
    let folder = std::env::var_os("GUILDHALL_TEST_NODE").unwrap_or_else(|| {
        panic!(
            "the browser's driver is missing; ./test installs it. By hand: apt-get install -y --no-install-recommends chromium; \
             cp tests/browser/package*.json N; (cd N && npm ci); export GUILDHALL_TEST_NODE=N/node_modules; or, to go without, \
             GUILDHALL_SKIP_BROWSER=1"
        )
    });
    Some(PathBuf::from(folder))
}

/// Runs the driver; what it tells. Screenshots stay where `GUILDHALL_SCREENSHOTS` says.
fn drive(node_modules: &Path, base: &str, cases: &Value, scratch: &Path) -> Value {
    let file = scratch.join("cases.json");
    fs::write(&file, cases.to_string()).unwrap();
    let shots = std::env::var_os("GUILDHALL_SCREENSHOTS").map_or_else(|| scratch.to_owned(), PathBuf::from);
    fs::create_dir_all(&shots).unwrap();
    let output = Command::new("node")
        .arg(workspace().join("tests/browser/audit.mjs"))
        .args([base.as_ref(), file.as_os_str(), shots.as_os_str()])
        .env("NODE_MODULES", node_modules)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&told).unwrap()
}

/// A GET without a key, asked until the answer is there.
async fn open(url: String) -> reqwest::Response {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = reqwest::get(&url).await.unwrap();
        if answer.status().as_u16() != 202 {
            return answer;
        }
        assert!(Instant::now() < deadline, "{url}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_visitor_sees_what_stands_behind_the_log_and_checks_receipts() {
    let Some(node_modules) = node_modules() else { return };
    block_on(async {
        let mut place = Place::new(Engine::Sqlite).await;
        let dir = place.home.dir.parent().unwrap().to_owned();
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let base = http.base.clone();
        let vkey = http.ok(&town.principal, "/v1/audit").await["key"].as_str().unwrap().to_owned();
        server.stop();
        let logs = dir.join("logs.policy");
        fs::write(&logs, format!("log {vkey}\nquorum none\n")).unwrap();
        let mut witnesses: Vec<Witness> =
            ["stockholm", "nairobi", "lima"].map(|name| Witness::ours(&dir, name, &logs)).into();
        let lines: String = witnesses.iter().map(Witness::line).collect();
        let policy = format!("log {vkey}\n{lines}group two 2 stockholm nairobi lima\nquorum two\n");
        fs::write(dir.join("city.policy"), &policy).unwrap();
        place.home.settings.push(("GUILDHALL_WITNESS__POLICY", dir.join("city.policy").to_str().unwrap().to_owned()));
        let _server = place.home.serve();

        // More than a tile, and a few anchors.
        let (mut promise, mut position) = (Value::Null, 0);
        for round in 0..3 {
            for number in 0..100 {
                let funded = town.fund(&http, &format!("deposit {round} {number}"), "10").await;
                position = funded.position();
                promise = funded.body;
            }
            let now = ["anchor", "now"];
            guildhall_tests::programs::run(&guildhall_tests::programs::guildhall(), &place.home.arguments(&now))
                .expect(0);
        }
        witnesses[2].kill();
        let last = town.fund(&http, "the last one", "1").await.position();
        let receipt = loop {
            let (status, body) =
                http.get(&town.principal, &format!("/v1/receipts/{position}?witnessed=required")).await;
            if status == 200 {
                break body;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let proof = open(format!("{base}/proof/{last}")).await;
        assert_eq!(proof.status().as_u16(), 200, "no key is asked for");
        let proof = proof.text().await.unwrap();
        let published = open(format!("{base}/policy")).await.text().await.unwrap();
        assert_eq!(published, policy);

        let change = |text: &str, from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            text.replacen(from, to, 1)
        };
        let entry = receipt.to_string();
        let amount = change(&entry, "\\\"10.00\\\"", "\\\"90.00\\\"");
        let moved = change(&entry, &format!("\"position\":{position}"), &format!("\"position\":{}", position - 1));
        let mut forged = promise.clone();
        forged["receipt"]["entries"][0]["position"] = json!(3);
        let mut beyond = receipt.clone();
        beyond["opened"] = json!({"memo": {"text": "not this", "salt": "00".repeat(32)}});
        let other = change(&policy, "group two 2", "group two all");
        let elsewhere = chain::key::SigningKey::from_seed("elsewhere", [7; 32]).vkey();
        let foreign = format!("log {elsewhere}\nquorum none\n");
        let cases = json!([
            {"name": "entry", "receipt": entry},
            {"name": "promise", "receipt": promise.to_string()},
            {"name": "proof", "receipt": proof},
            {"name": "another-amount", "receipt": amount},
            {"name": "another-position", "receipt": moved},
            {"name": "forged-promise", "receipt": forged.to_string()},
            {"name": "another-text", "receipt": beyond.to_string()},
            {"name": "no-receipt", "receipt": "hello"},
            {"name": "unwitnessed", "receipt": entry, "policy": other},
            {"name": "another-log", "receipt": entry, "policy": foreign},
        ]);
        let told = drive(&node_modules, &base, &cases, &dir);

        assert_eq!(told["errors"], json!([]), "nothing went wrong in the page");
        let shown = &told["shown"];
        let says = |part: &str, what: &str| assert!(shown[part].as_str().unwrap().contains(what), "{part}: {shown}");
        says("origin", eventlog::testing::ORIGIN);
        says("summary", "witnessed");
        says("quorum", "2 of 3");
        says("words", "the quorum cosigned");
        says("witnesses", "nairobi");
        says("witnesses", "cannot be reached");
        let marks = told["marks"].as_u64().unwrap();
        assert!(marks >= 3, "{marks}");
        says("anchored", &format!("#{}", marks - 1));
        says("anchor", &format!("anchors/{:020}-", marks - 1));
        says("warning", "proves nothing about us");

        let expected = [
            ("entry", "good", "this very entry"),
            ("promise", "good", "this very entry"),
            ("proof", "warn", "It does not say which entry"),
            ("another-amount", "bad", "does not lead to the root"),
            ("another-position", "bad", "the proof is for another position"),
            ("forged-promise", "bad", "the signature of the promise does not verify"),
            ("another-text", "bad", "no sealed text"),
            ("no-receipt", "bad", "neither JSON nor a proof"),
            ("unwitnessed", "warn", "UNWITNESSED"),
            ("another-log", "bad", "the policy knows no log"),
        ];
        for ((name, tone, words), case) in expected.iter().zip(told["cases"].as_array().unwrap()) {
            assert_eq!((&case["name"], &case["tone"]), (&json!(name), &json!(tone)), "{case}");
            assert!(case["steps"].to_string().contains(words), "{case}");
            for request in case["requests"].as_array().unwrap() {
                let path = request.as_str().unwrap().strip_prefix(&base).unwrap();
                // The page goes on asking how things stand; the check itself takes nothing but these.
                assert!(path == "/checkpoint" || path.starts_with("/tile/") || path == "/audit.json", "{name}: {path}");
            }
        }
        let asked: Vec<&str> =
            told["cases"][0]["requests"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
        assert!(asked.iter().any(|url| url.contains("/tile/0/")), "{asked:?}");
        for request in told["requests"].as_array().unwrap() {
            assert!(request.as_str().unwrap().starts_with(&base), "nothing comes from another host: {request}");
        }
    });
}
