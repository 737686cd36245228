//! Proofs: a receipt for everybody, a log that outlives its server, and subcommands beside a server under load.

use guildhall_tests::load::Load;
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::{Engine, block_on};

use crate::{tell, tell_on};

#[test]
fn every_answer_is_signed_for_the_entries_it_names() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let funded = town.fund(http, "funds", "5").await;
        let receipt: chain::receipt::SignedReceipt = serde_json::from_value(funded.body["receipt"].clone()).unwrap();
        let entry = funded.entries.last().unwrap();
        assert_eq!(receipt.entries.last().unwrap().position, entry["position"].as_u64().unwrap());
        assert_eq!(receipt.entries.last().unwrap().entry_hash.to_string(), entry["entry_hash"].as_str().unwrap());
    });
}

/// A stream leaves the city alone: who holds the package, the policy and the record of an audit needs nothing else, and is not fooled.
fn one_stream_alone(engine: Engine) {
    tell_on(engine, async |stage| {
        let (dir, home) = (tempfile::tempdir().unwrap(), &stage.place.home);
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let run = |arguments: &[&str]| {
            tokio::task::block_in_place(|| programs::run(&guildhall(), &home.arguments(arguments)))
        };
        let audit = |arguments: &[&str]| tokio::task::block_in_place(|| programs::run(&auditor(), arguments));
        let mut treasury = String::new();
        for number in 0..5 {
            let funded = stage.town.fund(&stage.http, &format!("work {number}"), "5").await;
            treasury = funded.entries.last().unwrap()["stream"].as_str().unwrap().to_owned();
        }
        let (package, export, heads) = (path("treasury.jsonl"), path("export"), path("heads"));
        run(&["export", "--out", &package, "--stream", &treasury]).expect(0);
        run(&["export", "--out", &package, "--stream", &treasury]).expect(2);
        run(&["export", "--out", &export]).expect(0);
        let policy = format!("{export}/policy");
        let alone = audit(&["stream", &package, "--policy", &policy]).expect(0);
        assert!(
            alone.stdout.contains("and no other") && alone.stdout.contains("IF this root is right"),
            "{}",
            alone.stdout
        );
        audit(&["verify", &export, "--policy", &policy, "--heads", &heads]).expect(0);
        let vouched = audit(&["stream", &package, "--policy", &policy, "--audited", &heads]).expect(0);
        assert!(vouched.stdout.contains("recomputed this root from all entries"), "{}", vouched.stdout);
        // The last entry kept back, and one that was never there.
        let text = std::fs::read_to_string(&package).unwrap();
        let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
        std::fs::write(&package, format!("{kept}\n")).unwrap();
        let refused = audit(&["stream", &package, "--policy", &policy, "--audited", &heads]).expect(1);
        assert!(refused.stdout.contains("the end is left out"), "{}", refused.stdout);
        std::fs::write(&package, text.replacen("\"amount\\\":\\\"5", "\"amount\\\":\\\"6", 1)).unwrap();
        let refused = audit(&["stream", &package, "--policy", &policy]).expect(1);
        assert!(refused.stdout.contains("is not at position"), "{}", refused.stdout);
        let nobody = path("nobody.jsonl");
        run(&["export", "--out", &nobody, "--stream", "try_nobody"]).expect(0);
        let absent = audit(&["stream", &nobody, "--policy", &policy]).expect(0);
        assert!(absent.stdout.contains("has no entry"), "{}", absent.stdout);
    });
}

#[test]
fn one_stream_is_proved_alone_on_sqlite() {
    one_stream_alone(Engine::Sqlite);
}

#[test]
fn one_stream_is_proved_alone_on_postgres() {
    one_stream_alone(Engine::Postgres);
}

fn beside_a_loaded_server(engine: Engine) {
    tell_on(engine, async |stage| {
        stage.town.fund(&stage.http, "enough", "100000").await;
        let load = Load::start(&stage.http, &[stage.server.base.as_str()], &stage.town, 8);
        load.wait_for_more(50).await;
        let (dir, home) = (tempfile::tempdir().unwrap(), &stage.place.home);
        let export = dir.path().join("export");
        let export = export.to_str().unwrap();
        for command in [
            &["replay", "--check"][..],
            &["anchor", "now"],
            &["anchor", "status"],
            &["anchor", "list"],
            &["doctor"],
            &["export", "--out", export],
            &["replay"],
        ] {
            let ended = tokio::task::block_in_place(|| programs::run(&guildhall(), &home.arguments(command)));
            assert_eq!(ended.code, Some(0), "{command:?}: {} {}", ended.stdout, ended.stderr);
        }
        load.wait_for_more(50).await;
        load.settle(&home.log().await).await;
        programs::run(&guildhall(), &home.arguments(&["replay", "--check"])).expect(0);
        let policy = format!("{export}/policy");
        programs::run(&auditor(), &["verify", export, "--policy", &policy]).expect(0);
    });
}

#[test]
fn every_subcommand_works_beside_a_loaded_server_on_sqlite() {
    beside_a_loaded_server(Engine::Sqlite);
}

#[test]
fn every_subcommand_works_beside_a_loaded_server_on_postgres() {
    beside_a_loaded_server(Engine::Postgres);
}

#[test]
fn the_demo_plays_to_its_end_and_says_so_in_its_exit_code() {
    block_on(async {
        let auditor = auditor();
        let ended = programs::run(&guildhall(), &["demo", "--json", "--auditor", auditor.to_str().unwrap()]).expect(0);
        let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((told["held"].as_bool(), told["final_balance"].as_str()), (Some(true), Some("44815.93")));
        assert_eq!(told["rows"], 4433);
        let checks: Vec<&str> =
            told["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
        let wanted = [
            "balances",
            "statement",
            "as of",
            "host",
            "conservation",
            "replay",
            "anchor",
            "export",
            "audit",
            "forgery",
        ];
        assert_eq!(checks, wanted);
    });
}
