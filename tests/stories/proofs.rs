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
