//! The log's key in other hands: what the thief writes stays behind, and what ends the older of two keys works on a frozen city.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;

use chain::key::SigningKey;
use eventlog::testing::ORIGIN;
use guildhall_tests::courier::Courier as _;
use guildhall_tests::kept::{self, City, SUCCESSOR, guards, successor};
use guildhall_tests::ledger::Ledger;
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::server::{Home, copy_dir};
use guildhall_tests::{Engine, block_on};

#[test]
fn after_a_theft_the_city_goes_on_from_what_was_witnessed_last() {
    block_on(async {
        let scratch = tempfile::tempdir().unwrap();
        let (mut city, witness) = City::witnessed(30).await;
        let good = city.rest(false).await;
        let witnessed = fs::read_to_string(city.place.home.dir.join("public/witnessed")).unwrap();
        let size: u64 = witnessed.lines().nth(1).unwrap().parse().unwrap();
        let note = scratch.path().join("witnessed");
        fs::write(&note, &witnessed).unwrap();
        let policy = scratch.path().join("policy");
        fs::copy(city.place.home.dir.join("public/policy"), &policy).unwrap();
        // The thief has a copy of everything but the witness's word, and goes on with it, anchors included.
        let stolen = scratch.path().join("stolen");
        copy_dir(&city.place.home.dir, &stolen);
        let honest_audit = scratch.path().join("memory");
        city.start();
        city.fund(5).await;
        let export = scratch.path().join("honest");
        city.place.home.run(&["export", "--out", export.to_str().unwrap()]).expect(0);
        let trusts = policy.to_str().unwrap();
        let remember = ["--policy", trusts, "--remember", honest_audit.to_str().unwrap(), "--json"];
        programs::run(&auditor(), &[&["verify", export.to_str().unwrap()], &remember[..]].concat()).expect(0);
        city.stop();
        drop(witness);
        let thief = Home {
            settings: city.settings.iter().filter(|(name, _)| !name.contains("WITNESS")).cloned().collect(),
            ..Home::new(stolen, None)
        };
        let mut server = thief.serve();
        for number in 0..9 {
            city.town.fund(&city.http.at(&server.base), &format!("to the thief {number}"), "1000").await;
        }
        thief.run(&["anchor", "now"]).expect(0);
        let export_of_thief = scratch.path().join("forged");
        thief.run(&["export", "--out", export_of_thief.to_str().unwrap()]).expect(0);
        server.stop();

        // Whoever audited the honest log sees the fork.
        let report =
            programs::run(&auditor(), &[&["verify", export_of_thief.to_str().unwrap()], &remember[..]].concat())
                .expect(1)
                .json();
        assert!(report["findings"].to_string().contains("the remembered checkpoint says "), "{report:#}");

        // Also over entries that were witnessed, and beside others' things.
        let seed = fs::read_to_string(city.place.home.dir.join("signing.key")).unwrap().trim().to_owned();
        let stolen_key = kept::signing_key(&city.place.home.dir, ORIGIN);
        let stranger = SigningKey::from_seed(ORIGIN, [9; 32]);
        let worm = PathBuf::from(city.kept());
        let forged = [
            kept::forge_anchor(&worm, &stolen_key, 7, size),
            kept::forge_anchor(&worm, &stolen_key, 1, size - 9),
            kept::forge_anchor(&worm, &stranger, 8, size - 1),
        ];

        // The store holds what the thief anchored; without a quorum over it, it is not taken.
        let home = successor(Engine::Sqlite, city.dir.path(), &[]).await;
        let (at, kept) = (size.to_string(), city.kept());
        let ask = [
            "recover",
            "--new-origin",
            SUCCESSOR,
            "--from",
            &kept,
            "--policy",
            trusts,
            "--at",
            &at,
            "--checkpoint",
            note.to_str().unwrap(),
        ];
        // The thief has the key: nothing new is signed with it, wherever it is still lying about.
        let keeping = Home { settings: vec![("GUILDHALL_SIGNING_KEY", seed.clone())], ..home.clone() };
        let refused = keeping.run(&[&ask[..], &["--yes"]].concat()).expect(2).stderr;
        assert!(refused.contains("is one that test/log had") && !refused.contains(&seed), "{refused}");
        assert!(!home.dir.join("log.db").exists(), "nothing was made with it");
        let told = home.run(&[&ask[..], &["--yes", "--json"]].concat()).expect(0).json();
        assert!(told["witnessed"] == true && told["size"] == size, "{told:#}");
        let remarks = told["remarks"].to_string();
        assert!(remarks.contains("left behind") && remarks.contains("CONTRADICTS"), "{told:#}");
        for anchor in &forged {
            assert!(remarks.contains(anchor.file_name().unwrap().to_str().unwrap()), "{anchor:?}: {told:#}");
        }
        let ledger = Ledger::read(&home.log().await).await;
        assert_eq!(ledger.purses, good.ledger.purses, "without what the thief paid in");
        assert_eq!(guards(&home).await, good.guards);
    });
}

/// The keys that the city publishes.
fn published(home: &Home) -> Vec<String> {
    let policy = fs::read_to_string(home.dir.join("public/policy")).unwrap();
    policy.lines().filter_map(|line| line.strip_prefix("log ")).map(str::to_owned).collect()
}

#[test]
fn the_older_of_two_keys_is_retired_while_the_city_is_frozen() {
    block_on(async {
        for is_running in [true, false] {
            let mut city = City::in_folder(Engine::Sqlite, 5).await;
            let [old] = published(&city.place.home).try_into().unwrap();
            city.place.home.run(&["signing-key", "rotate"]).expect(0);
            city.place.home.run(&["signing-key", "freeze"]).expect(0);
            if !is_running {
                city.stop();
            }
            city.place.home.run(&["signing-key", "rotate"]).expect(2);
            city.place.home.run(&["signing-key", "retire", &old]).expect(0);
            let keys = published(&city.place.home);
            assert!(keys.len() == 1 && keys[0] != old, "{keys:?}");
            let told = city.place.home.run(&["signing-key", "retire", &keys[0]]).expect(2).stderr;
            assert!(told.contains("not the older one"), "{told}");
            if is_running {
                let deposit = city.town.deposit("while frozen", "1");
                let refused = city.http.ask(&city.town.attester, "treasury.deposit", deposit).await;
                assert_eq!((refused.status, refused.outcome.as_str()), (503, "read_only"), "commands are not taken");
                city.stop();
            }
            fs::remove_file(city.place.home.dir.join("frozen")).unwrap();
            city.start();
            city.fund(1).await;
            let (out, policy) = (city.dir.path().join("export"), city.dir.path().join("new.policy"));
            city.place.home.run(&["export", "--out", out.to_str().unwrap()]).expect(0);
            fs::write(&policy, format!("log {}\nquorum none\n", keys[0])).unwrap();
            let verify = ["verify", out.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
            programs::run(&auditor(), &verify).expect(0);
        }
    });
}

#[test]
fn a_freeze_does_not_open_a_log_that_is_not_the_one_that_was_published() {
    block_on(async {
        let mut city = City::in_folder(Engine::Sqlite, 5).await;
        let [old] = published(&city.place.home).try_into().unwrap();
        city.place.home.run(&["signing-key", "rotate"]).expect(0);
        city.stop();
        let backup = city.backup("backup").await;
        city.start();
        city.fund(20).await;
        city.stop();
        let home = city.restored(&backup, "restored");
        home.run(&["signing-key", "freeze"]).expect(0);
        let had = kept::size(&home).await;
        home.run(&["signing-key", "retire", &old]).expect(2);
        assert_eq!(kept::size(&home).await, had, "nothing was written");
    });
}
