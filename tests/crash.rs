//! Sudden ends in the middle of load: what was promised is there, once, and the city comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use guildhall_tests::cluster::{Cluster, SmallDisk};
use guildhall_tests::courier::Courier as _;
use guildhall_tests::ledger::Ledger;
use guildhall_tests::load::Load;
use guildhall_tests::server::{Home, Place};
use guildhall_tests::town::Town;
use guildhall_tests::{Dice, Engine, block_on, programs};

const KILLS: u64 = 20;

fn kill_the_server(engine: Engine) {
    block_on(async {
        let place = Place::new(engine).await;
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "enough", "100000").await;
        let load = Load::start(&http, &[server.base.as_str()], &town, 16);
        let mut dice = Dice(0x0c7a_5401);
        for _ in 0..KILLS {
            load.wait_for_more(20).await;
            tokio::time::sleep(Duration::from_millis(dice.below(120))).await;
            server.kill();
            server = place.home.serve();
        }
        load.wait_for_more(20).await;
        load.settle(&place.home.log().await).await;
        // The tables, too, are what the log says.
        let check = place.home.arguments(&["replay", "--check"]);
        programs::run(&programs::guildhall(), &check).expect(0);
    });
}

#[test]
fn a_server_killed_twenty_times_under_load_keeps_every_promise_once_on_sqlite() {
    kill_the_server(Engine::Sqlite);
}

#[test]
fn a_server_killed_twenty_times_under_load_keeps_every_promise_once_on_postgres() {
    kill_the_server(Engine::Postgres);
}

#[test]
fn a_killed_postgres_costs_answers_and_nothing_else() {
    block_on(async {
        let (cluster, dir) = (Cluster::start().await, tempfile::tempdir().unwrap());
        let home = Home::new(dir.path().join("data"), Some(cluster.login_url()));
        let mut server = home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "enough", "100000").await;
        let load = Load::start(&http, &[server.base.as_str()], &town, 16);
        for _ in 0..5 {
            load.wait_for_more(200).await;
            cluster.kill();
            tokio::time::sleep(Duration::from_millis(300)).await;
            cluster.restart();
        }
        // Nobody restarted the server: it finds its database again by itself.
        load.wait_for_more(200).await;
        assert!(server.ended().is_none(), "the server went down with its database");
        load.settle(&home.log().await).await;
    });
}

#[test]
fn a_full_disk_refuses_commands_and_takes_them_again_when_there_is_room() {
    if std::env::var_os("GUILDHALL_SKIP_MOUNT").is_some() {
        eprintln!("SKIPPED because GUILDHALL_SKIP_MOUNT is set: nothing is known about full disks");
        return;
    }
    block_on(async {
        let disk = SmallDisk::mount(24);
        let home = Home::new(disk.path.join("data"), None);
        let mut server = home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let ballast = disk.path.join("ballast");
        let leave = 512 * 1024;
        std::fs::write(&ballast, vec![0; usize::try_from(disk.free() - leave).unwrap()]).unwrap();

        let (mut accepted, mut refused) = (Vec::new(), 0);
        for number in 0..20_000 {
            let deposit = town.deposit(&format!("deposit {number}"), "1");
            let reply = http.ask(&town.attester, "treasury.deposit", deposit).await;
            match reply.status {
                200 => accepted.push(reply.position()),
                503 => refused += 1,
                other => panic!("{other}: {}", reply.body),
            }
            if refused == 5 {
                break;
            }
        }
        assert_eq!(refused, 5, "{} commands fitted onto a full disk", accepted.len());
        assert!(server.ended().is_none(), "the server died of a full disk");

        std::fs::remove_file(&ballast).unwrap();
        let mut reply = http.ask(&town.attester, "treasury.deposit", town.deposit("afterwards", "1")).await;
        for _ in 0..50 {
            if reply.is_accepted() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            reply = http.ask(&town.attester, "treasury.deposit", town.deposit("afterwards", "1")).await;
        }
        accepted.push(reply.accepted().position());

        let ledger = Ledger::read(&home.log().await).await;
        assert!(accepted.iter().all(|position| usize::try_from(*position).unwrap() < ledger.hashes.len()));
        let deposits = ledger.types.get("treasury.credited.v1").copied().unwrap_or(0);
        assert_eq!(deposits, accepted.len(), "every deposit in the log was accepted, and every accepted one is there");
        ledger.assert_conserved();
        server.stop();
        let check = home.arguments(&["replay", "--check"]);
        programs::run(&programs::guildhall(), &check).expect(0);
    });
}
