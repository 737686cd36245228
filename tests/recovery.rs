//! A log made again from what was kept of it: rolled forward from any backup, and continued under a new name when everything else is gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chain::checkpoint::{self, Checkpoint};
use chain::key::SigningKey;
use chain::pack::PackId;
use eventlog::testing::ORIGIN;
use guildhall_tests::courier::Courier as _;
use guildhall_tests::http::Http;
use guildhall_tests::kept::{self, Backup, City, SUCCESSOR, guards, kill_whenever_it_grows, successor};
use guildhall_tests::ledger::Ledger;
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::s3::ceph;
use guildhall_tests::server::{Home, copy_dir};
use guildhall_tests::{Engine, block_on};
use serde_json::{Value, json};

/// Everything of the city is destroyed but the store of its anchors, and it goes on.
async fn the_city_goes_on_when_only_the_store_is_left(mut city: City) {
    let before = city.rest(true).await;
    let (worm, policy) = (city.kept(), city.policy());
    let receipt = city.receipt();
    let City { place, dir, mut town, http, engine, settings, bucket, .. } = city;
    fs::remove_dir_all(&place.home.dir).unwrap();
    drop(place);

    let home = successor(engine, dir.path(), &settings).await;
    let ask = ["recover", "--new-origin", SUCCESSOR, "--from", &worm, "--policy", &policy];
    let told = home.run(&[&ask[..], &["--json"]].concat()).expect(0).json();
    assert!(told["done"] == false && told["had"] == 0, "{told:#}");
    assert!(!home.dir.join("log.db").exists() && !home.dir.join("signing.key").exists(), "nothing was made");
    let told = home.run(&[&ask[..], &["--yes", "--json"]].concat()).expect(0).json();
    assert_eq!(
        (told["origin"].as_str(), told["remarks"].as_array().map(Vec::len)),
        (Some(ORIGIN), Some(0)),
        "{told:#}"
    );
    assert!(told["sealed"].as_u64().unwrap() > 0, "{told:#}");

    // What the entries say is what it was, and they are the entries that there were.
    assert_eq!(guards(&home).await, before.guards);
    let ledger = Ledger::read(&home.log().await).await;
    assert_eq!(ledger.purses, before.ledger.purses);
    ledger.assert_conserved();
    assert_eq!(told["restored"], ledger.hashes.len());
    home.run(&["replay", "--check"]).expect(0);
    // Once more is nothing more.
    let told = home.run(&[&ask[..], &["--yes", "--json"]].concat()).expect(0).json();
    assert_eq!(told["restored"], 0, "{told:#}");

    // The first principal is let in and lets in the others; nobody's old key opens anything.
    let key = home.run(&["keys", "recover", "--json"]).expect(0).json();
    let mut server = home.serve();
    let old = http.at(&server.base);
    assert_eq!(old.get(&town.principal, "/v1/whoami").await.0, 401);
    let http = Http::new(&server.base, kept::who(&key));
    town.principal = http.principal();
    assert_eq!(old.get(&town.attester, "/v1/whoami").await.0, 401);
    town.founder = http.issue_key(&town.founder_id).await;
    town.attester = http.issue_key(&before.attester).await;
    for (question, answer) in &before.answers {
        let now = kept::without_positions(http.ok(&town.principal, question).await);
        assert_eq!(now, *answer, "{question}");
    }

    // It works: money comes and goes, and something new is sealed for somebody whose old texts are gone.
    town.fund(&http, "after", "10").await;
    http.ask(&town.founder, "treasury.withdraw", town.withdrawal("rent after", "5")).await.accepted();
    http.ask(&town.founder, "guild.rename", json!({"guild": town.guild, "name": "Weavers again"})).await.accepted();
    home.run(&["anchor", "now"]).expect(0);
    let export = dir.path().join("export two");
    home.run(&["export", "--out", export.to_str().unwrap()]).expect(0);
    server.stop();
    home.run(&["doctor"]).expect(0);
    home.run(&["replay", "--check"]).expect(0);

    // The auditor finds nothing, compares it with the old log, and goes on to believe what that one gave.
    let new_policy = dir.path().join("new.policy");
    let keys = fs::read_to_string(export.join("policy")).unwrap()
        + &fs::read_to_string(&policy).unwrap().replace("quorum none\n", "");
    let (logs, rest): (Vec<&str>, Vec<&str>) = keys.lines().partition(|line| line.starts_with("log "));
    fs::write(&new_policy, [logs, rest].concat().join("\n") + "\n").unwrap();
    let verify = ["verify", export.to_str().unwrap(), "--policy", new_policy.to_str().unwrap(), "--json"];
    let report = programs::run(&auditor(), &verify).expect(0).json();
    assert_eq!(report["continues"]["signature_checked"], true, "{report:#}");
    if bucket.is_none() {
        let report = programs::run(&auditor(), &[&verify[..], &["--continues", &worm]].concat()).expect(0).json();
        assert!(report["continues"]["compared"] == true && report["continues"]["origin"] == ORIGIN, "{report:#}");
        programs::run(&auditor(), &["receipt", &receipt, "--policy", &policy]).expect(0);
        // A log with one of the carried entries exchanged is not that log's.
        kept::edit_a_pack(Path::new(&worm));
        let report = programs::run(&auditor(), &[&verify[..], &["--continues", &worm]].concat()).expect(1).json();
        assert!(report["findings"].to_string().contains("continued"), "{report:#}");
    }
}

#[test]
fn the_city_goes_on_when_only_the_store_is_left_on_sqlite() {
    block_on(async { the_city_goes_on_when_only_the_store_is_left(City::in_folder(Engine::Sqlite, 300).await).await });
}

#[test]
fn the_city_goes_on_when_only_the_store_is_left_on_postgres() {
    block_on(async {
        the_city_goes_on_when_only_the_store_is_left(City::in_folder(Engine::Postgres, 300).await).await
    });
}

#[test]
fn the_city_goes_on_when_only_a_bucket_with_object_lock_is_left() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        the_city_goes_on_when_only_the_store_is_left(City::in_bucket(Engine::Sqlite, &s3, 300).await).await
    });
}

/// Backups of several days, each of which gets back to the last day, and goes on from there.
async fn every_backup_is_rolled_forward(engine: Engine) {
    let mut city = City::in_folder(engine, 40).await;
    let mut backups: Vec<Backup> = Vec::new();
    for day in 0..3 {
        city.stop();
        backups.push(city.backup(&format!("backup {day}")).await);
        city.start();
        city.fund(70).await;
    }
    let before = city.rest(true).await;
    let mut homes = vec![city.nothing("empty").await];
    for (day, backup) in backups.iter().enumerate() {
        homes.push(city.restored(backup, &format!("restored {day}")));
    }
    // Views of the last day lie beside the oldest log, and none beside the one after it.
    let _ = fs::remove_file(homes[2].dir.join("views.db"));
    for (number, home) in homes.iter().enumerate() {
        let told = home.run(&["recover", "--json"]).expect(0).json();
        let restored = told["restored"].as_u64().unwrap();
        assert!(told["done"] == false && restored > 0, "backup {number}: {told:#}");
        assert_eq!(kept::size(home).await, told["had"].as_u64().unwrap(), "nothing was written");
        let told = home.run(&["recover", "--yes", "--json"]).expect(0).json();
        assert_eq!(told["had"].as_u64().unwrap() + restored, told["size"].as_u64().unwrap(), "{told:#}");
        assert_eq!(guards(home).await, before.guards, "backup {number}");
        let hashes = Ledger::read(&home.log().await).await.hashes;
        assert_eq!(hashes, before.ledger.hashes, "backup {number}: the same entries to the last one");
        home.run(&["replay", "--check"]).expect(0);
        // Keys and signing go on where they were.
        let mut server = home.serve();
        let http = city.http.at(&server.base);
        city.town.fund(&http, &format!("after backup {number}"), "1").await;
        server.stop();
        home.run(&["doctor"]).expect(0);
    }
}

#[test]
fn every_backup_is_rolled_forward_on_sqlite() {
    block_on(every_backup_is_rolled_forward(Engine::Sqlite));
}

#[test]
fn every_backup_is_rolled_forward_on_postgres() {
    block_on(every_backup_is_rolled_forward(Engine::Postgres));
}

/// What was kept first is signed by a key that is destroyed by now.
async fn a_log_that_changed_its_key_is_made_again(engine: Engine) {
    let mut city = City::in_folder(engine, 20).await;
    city.place.home.run(&["anchor", "now"]).expect(0);
    city.stop();
    let early = city.backup("early").await;
    let stale = fs::read_to_string(city.place.home.dir.join("public/policy")).unwrap();
    city.start();
    let rotated = city.place.home.run(&["signing-key", "rotate", "--json"]).expect(0).json();
    city.fund(3).await;
    city.place.home.run(&["anchor", "now"]).expect(0);
    let old = stale.split_ascii_whitespace().nth(1).unwrap();
    city.place.home.run(&["signing-key", "retire", old]).expect(0);
    city.fund(3).await;
    let before = city.rest(true).await;
    let new = rotated["vkey"].as_str().unwrap();
    assert_eq!(fs::read_to_string(city.policy()).unwrap(), format!("log {new}\nquorum none\n"));
    let destroyed = city.place.home.dir.join("signing.key");
    let old_key = fs::read(&destroyed).unwrap();
    fs::remove_file(&destroyed).unwrap();

    // The same log: from a database of before, and from none; also where what was published here is as old as the backup.
    for (home, published) in [
        (city.restored(&early, "restored"), None),
        (city.nothing("nothing").await, None),
        (city.nothing("stale").await, Some(&stale)),
    ] {
        if let Some(policy) = published {
            fs::write(home.dir.join("public/policy"), policy).unwrap();
        }
        let told = home.run(&["recover", "--yes", "--json", "--from", &city.kept()]).expect(0).json();
        assert!(told["done"] == true && told["remarks"].as_array().unwrap().is_empty(), "{told:#}");
        home.run(&["recover", "--yes"]).expect(0);
        assert_eq!(Ledger::read(&home.log().await).await.hashes, before.ledger.hashes);
        let mut server = home.serve();
        city.town.fund(&city.http.at(&server.base), "with the newer key", "1").await;
        server.stop();
        home.run(&["doctor"]).expect(0);
    }
    // With the older key alone the city could not go on, and is not made.
    let home = city.nothing("with the older key").await;
    for entry in fs::read_dir(&home.dir).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("signing.")) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::write(home.dir.join("signing.key"), old_key).unwrap();
    fs::set_permissions(home.dir.join("signing.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let refused = home.run(&["recover", "--yes"]).expect(2).stderr;
    assert!(refused.contains("none of the keys that sign this log is here"), "{refused}");
    assert_eq!(kept::size(&home).await, 0);

    // Another log: the checkpoint that it continues is signed by the newest key, and nobody needs the older one.
    let home = successor(engine, city.dir.path(), &city.settings).await;
    let (worm, policy) = (city.kept(), city.policy());
    let ask = ["recover", "--new-origin", SUCCESSOR, "--from", &worm, "--yes", "--json", "--policy"];
    let older = city.dir.path().join("older.policy");
    fs::write(&older, &stale).unwrap();
    let refused = home.run(&[&ask[..], &[older.to_str().unwrap()]].concat()).expect(1).stderr;
    assert!(refused.contains("no key that the policy gives signed it"), "{refused}");
    let told = home.run(&[&ask[..], &[&policy]].concat()).expect(0).json();
    assert_eq!(guards(&home).await, before.guards);
    let mut server = home.serve();
    home.run(&["anchor", "now"]).expect(0);
    let export = city.dir.path().join("export two");
    home.run(&["export", "--out", export.to_str().unwrap()]).expect(0);
    server.stop();
    let both = city.dir.path().join("both.policy");
    fs::write(&both, format!("log {}\nlog {new}\nquorum none\n", told["new_key"].as_str().unwrap())).unwrap();
    let verify =
        ["verify", export.to_str().unwrap(), "--policy", both.to_str().unwrap(), "--continues", &worm, "--json"];
    let report = programs::run(&auditor(), &verify).expect(0).json();
    assert!(report["continues"]["signature_checked"] == true && report["continues"]["compared"] == true, "{report:#}");
    from_before_a_rotation(engine, &city, (&stale, new)).await;
}

/// Of a size at which the older key was in force, that key signs: the policy has to give it, and the newer one is still an old log's.
async fn from_before_a_rotation(engine: Engine, city: &City, (stale, new): (&str, &str)) {
    let dir = city.dir.path().join("from before");
    fs::create_dir(&dir).unwrap();
    let home = successor(engine, &dir, &city.settings).await;
    let first = kept::anchors(Path::new(&city.kept())).remove(0);
    let size = first.file_stem().unwrap().to_str().unwrap()[21..].trim_start_matches('0').to_owned();
    let (worm, newest, older) = (city.kept(), city.policy(), dir.join("older.policy"));
    fs::write(&older, stale).unwrap();
    let older = older.to_str().unwrap();
    let ask = ["recover", "--new-origin", SUCCESSOR, "--from", &worm, "--at", &size, "--yes", "--json", "--policy"];
    let refused = home.run(&[&ask[..], &[&newest]].concat()).expect(1).stderr;
    assert!(refused.contains("the one that was in force at that size"), "{refused}");
    let (_, id) = new.split_once('+').unwrap();
    let seed = city.place.home.dir.join(format!("signing.{}.key", &id[..8]));
    let seed = fs::read_to_string(seed).unwrap().trim().to_owned();
    let with_old_key = [&home.settings[..], &[("GUILDHALL_SIGNING_KEY", seed)]].concat();
    let refused = Home { settings: with_old_key, ..home.clone() }.run(&[&ask[..], &[older]].concat()).expect(2).stderr;
    assert!(refused.contains("is one that test/log had"), "{refused}");
    assert_eq!(kept::size(&home).await, 0);
    let told = home.run(&[&ask[..], &[older]].concat()).expect(0).json();
    assert_eq!((told["size"].to_string(), &told["policy"]), (size, &json!(older)), "{told:#}");
    let mut server = home.serve();
    home.run(&["anchor", "now"]).expect(0);
    let export = dir.join("export");
    home.run(&["export", "--out", export.to_str().unwrap()]).expect(0);
    server.stop();
    let both = dir.join("both.policy");
    fs::write(&both, format!("log {}\n{stale}", told["new_key"].as_str().unwrap())).unwrap();
    let verify =
        ["verify", export.to_str().unwrap(), "--policy", both.to_str().unwrap(), "--continues", &worm, "--json"];
    let report = programs::run(&auditor(), &verify).expect(0).json();
    assert!(report["continues"]["signature_checked"] == true && report["continues"]["compared"] == true, "{report:#}");
}

#[test]
fn a_log_that_changed_its_key_is_made_again_on_sqlite() {
    block_on(a_log_that_changed_its_key_is_made_again(Engine::Sqlite));
}

#[test]
fn a_log_that_changed_its_key_is_made_again_on_postgres() {
    block_on(a_log_that_changed_its_key_is_made_again(Engine::Postgres));
}

async fn a_recovery_that_is_killed_goes_on(engine: Engine) {
    let mut city = City::in_folder(engine, 40).await;
    city.fund_many(4_200).await;
    let before = city.rest(true).await;
    let forward = city.nothing("empty").await;
    let killed = kill_whenever_it_grows(&forward, &["recover", "--yes"]).await;
    assert!(killed >= 2, "it was killed {killed} times");
    assert_eq!(guards(&forward).await, before.guards);
    assert_eq!(Ledger::read(&forward.log().await).await.hashes, before.ledger.hashes);

    let home = successor(engine, city.dir.path(), &city.settings).await;
    let (worm, policy) = (city.kept(), city.policy());
    let ask = ["recover", "--new-origin", SUCCESSOR, "--from", &worm, "--policy", &policy, "--yes"];
    let mut child = kept::spawn(&home, &ask);
    // Killed at the first sign of a log.
    while kept::size(&home).await == 0 {
        assert!(child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let refused = home.run(&["keys", "recover"]).expect(2);
    assert!(refused.stderr.contains("a recovery was cut off"), "{}", refused.stderr);
    kill_whenever_it_grows(&home, &ask).await;
    assert_eq!(guards(&home).await, before.guards);
    home.run(&["replay", "--check"]).expect(0);
    home.run(&["keys", "recover"]).expect(0);
}

#[test]
fn a_recovery_that_is_killed_goes_on_on_sqlite() {
    block_on(a_recovery_that_is_killed_goes_on(Engine::Sqlite));
}

#[test]
fn a_recovery_that_is_killed_goes_on_on_postgres() {
    block_on(a_recovery_that_is_killed_goes_on(Engine::Postgres));
}

#[test]
fn what_was_kept_is_refused_where_it_does_not_hold() {
    block_on(async {
        let mut city = City::in_folder(Engine::Sqlite, 600).await;
        city.rest(true).await;
        let home = city.nothing("empty").await;
        let refused = |worm: &Path, words: &[&str]| {
            let ended = home.run(&["recover", "--yes", "--from", worm.to_str().unwrap()]).expect(1);
            assert!(words.iter().all(|word| ended.stderr.contains(word)), "{words:?}: {}", ended.stderr);
            assert!(!home.dir.join("log.db").exists(), "nothing was written");
        };
        let copy = |name: &str| {
            let copy = city.dir.path().join(name);
            copy_dir(Path::new(&city.kept()), &copy);
            copy
        };
        let (tampered, hidden, foreign) = (copy("tampered"), copy("hidden"), copy("foreign"));
        kept::edit_a_pack(&tampered);
        refused(&tampered, &["archive_unsound", "pack/000", "not the file that the anchors list"]);
        let anchors = kept::anchors(&hidden);
        fs::remove_file(&anchors[1]).unwrap();
        refused(&hidden, &["number 1, is missing"]);
        fs::remove_file(foreign.join(PackId { index: 0, width: 256 }.path())).unwrap();
        refused(&foreign, &["pack/000", "missing"]);
        // The newest anchor gone without a trace is a log that was shorter: whoever kept its checkpoint sees what is missing.
        let cut = copy("cut");
        let anchors = kept::anchors(&cut);
        fs::remove_file(anchors.last().unwrap()).unwrap();
        let newest = fs::read_to_string(city.place.home.dir.join("public/checkpoint")).unwrap();
        let note = city.dir.path().join("newest");
        fs::write(&note, newest).unwrap();
        let ended = home.run(&["recover", "--from", cut.to_str().unwrap(), "--checkpoint", note.to_str().unwrap()]);
        assert!(ended.expect(1).stderr.contains("missing"));
    });
}

#[test]
fn an_anchor_under_a_marker_is_used_and_the_marker_is_named() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let mut city = City::in_bucket(Engine::Sqlite, &s3, 20).await;
        city.rest(true).await;
        let listed = city.place.home.run(&["anchor", "list", "--json"]).expect(0).json();
        let newest = listed.as_array().unwrap().last().unwrap()["key"].as_str().unwrap().to_owned();
        let bucket = city.bucket.as_ref().unwrap();
        let owner = s3.client(&s3.owner);
        owner.delete_object().bucket(&bucket.name).key(format!("{}{newest}", bucket.prefix)).send().await.unwrap();
        let told = city.nothing("empty").await.run(&["recover", "--json", "--from", &city.kept()]).expect(0).json();
        assert!(told["remarks"].to_string().contains(&format!("{newest}: a delete marker")), "{told:#}");
        assert!(told["checkpoint"].as_str().unwrap().contains(&newest), "{told:#}");
    });
}

async fn a_database_that_has_something_else_is_refused(engine: Engine) {
    let mut city = City::in_folder(engine, 40).await;
    city.stop();
    let early = city.backup("backup").await;
    city.start();
    city.fund(30).await;
    city.rest(true).await;
    let early = city.restored(&early, "early");
    let kept = city.kept();
    // More than was anchored.
    city.start();
    city.fund(3).await;
    city.stop();
    let longer = guildhall_tests::kept::size(&city.place.home).await;
    let ended = city.place.home.run(&["recover", "--yes", "--from", &kept]).expect(1);
    assert!(ended.stderr.contains("database_differs") && ended.stderr.contains("is nowhere else"), "{}", ended.stderr);
    assert_eq!(guildhall_tests::kept::size(&city.place.home).await, longer);
    // What this server published has it all.
    let told = city.place.home.run(&["recover", "--json"]).expect(0).json();
    assert_eq!(told["restored"], 0, "{told:#}");
    // Another history: the backup went on by itself, without anything that would have told it.
    for gone in ["signing", "public", "packs", "anchoring", "heads"] {
        let _ = fs::remove_dir_all(early.dir.join(gone));
    }
    let _ = fs::remove_file(early.dir.join("views.db"));
    let away = Home {
        settings: vec![("GUILDHALL_ANCHOR__DIRECTORY", city.dir.path().join("away").display().to_string())],
        ..early.clone()
    };
    let had = guildhall_tests::kept::size(&early).await;
    let mut server = away.serve();
    city.town.fund(&city.http.at(&server.base), "another history", "7").await;
    server.stop();
    let ended = early.run(&["recover", "--yes", "--from", &kept]).expect(1);
    let words = format!("position {had} of the database is another entry");
    assert!(ended.stderr.contains(&words), "{words}: {}", ended.stderr);
}

#[test]
fn a_database_that_has_something_else_is_refused_on_sqlite() {
    block_on(a_database_that_has_something_else_is_refused(Engine::Sqlite));
}

#[test]
fn a_database_that_has_something_else_is_refused_on_postgres() {
    block_on(a_database_that_has_something_else_is_refused(Engine::Postgres));
}

#[test]
fn what_lies_beside_the_anchors_stops_no_recovery() {
    block_on(async {
        let mut city = City::in_folder(Engine::Sqlite, 40).await;
        let before = city.rest(true).await;
        let worm = city.kept();
        let newest = kept::anchors(Path::new(&worm)).pop().unwrap();
        let moved = newest.with_file_name("00000000000000000009-00000000000000000050.json");
        fs::copy(&newest, &moved).unwrap();
        let stranger = SigningKey::from_seed(ORIGIN, [9; 32]);
        let other = SigningKey::from_seed("another/log", [9; 32]);
        let strays = [
            moved,
            kept::forge_anchor(Path::new(&worm), &stranger, 3, 9_000),
            kept::forge_anchor(Path::new(&worm), &stranger, 1, 7),
            kept::forge_anchor(Path::new(&worm), &other, 2, 8),
        ];
        let named = |told: &Value| {
            let remarks = told["remarks"].to_string();
            strays.iter().all(|stray| remarks.contains(stray.file_name().unwrap().to_str().unwrap()))
        };
        let home = city.nothing("empty").await;
        let told = home.run(&["recover", "--yes", "--json"]).expect(0).json();
        assert!(named(&told) && told["unbroken"] == true, "{told:#}");
        assert_eq!(Ledger::read(&home.log().await).await.hashes, before.ledger.hashes);
        let home = successor(Engine::Sqlite, city.dir.path(), &city.settings).await;
        let ask = ["recover", "--new-origin", SUCCESSOR, "--from", &worm, "--yes", "--json"];
        // Whoever wrote there does not say whose log it is.
        fs::copy(city.policy(), Path::new(&worm).join("policy")).unwrap();
        let refused = home.run(&ask).expect(2).stderr;
        assert!(refused.contains("--policy FILE"), "{refused}");
        let of_the_city = ["recover", "--new-origin", SUCCESSOR, "--from", city.place.home.dir.to_str().unwrap()];
        assert!(home.run(&of_the_city).expect(2).stderr.contains("--policy FILE"));
        let told = home.run(&[&ask[..], &["--policy", &city.policy()]].concat()).expect(0).json();
        assert!(named(&told), "{told:#}");
        assert_eq!(guards(&home).await, before.guards);
    });
}

#[test]
fn an_export_is_made_again_up_to_its_own_checkpoint_or_not_at_all() {
    block_on(async {
        let mut city = City::in_folder(Engine::Sqlite, 20).await;
        city.place.home.run(&["anchor", "now"]).expect(0);
        city.fund(5).await;
        let out = city.dir.path().join("export");
        city.place.home.run(&["export", "--out", out.to_str().unwrap()]).expect(0);
        let before = city.rest(false).await;
        let note = fs::read_to_string(out.join("checkpoint")).unwrap();
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        let home = city.nothing("empty").await;
        let ask = ["recover", "--yes", "--json", "--from", out.to_str().unwrap()];
        let seed = fs::read_to_string(city.place.home.dir.join("signing.key")).unwrap();
        let key = SigningKey::from_seed(ORIGIN, chain::hex::decode(seed.trim()).unwrap());
        let root = chain::Hash([5; 32]);
        let forked = |size| checkpoint::sign(&Checkpoint { origin: ORIGIN.to_owned(), size, root }, &key);
        let stranger = SigningKey::from_seed(ORIGIN, [9; 32]);
        let by_nobody = chain::note::sign(&chain::note::Note::parse(&note).unwrap().text, &stranger);
        for bad in [forked(size), forked(size - 3), by_nobody, "nothing".to_owned()] {
            fs::write(out.join("checkpoint"), &bad).unwrap();
            let refused = home.run(&ask).expect(1).stderr;
            assert!(refused.contains("the checkpoint of the export"), "{bad}: {refused}");
            assert!(!home.dir.join("log.db").exists(), "nothing was written");
        }
        fs::write(out.join("checkpoint"), &note).unwrap();
        let told = home.run(&ask).expect(0).json();
        assert!(told["size"] == size && told["checkpoint"] == "the checkpoint of the export", "{told:#}");
        let hashes = Ledger::read(&home.log().await).await.hashes;
        assert_eq!(hashes[..], before.ledger.hashes[..hashes.len()]);
    });
}
