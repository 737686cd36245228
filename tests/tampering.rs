//! Hands on the log: each way of rewriting it is done for real, with every hash made to fit, and each is found and its place named,
//! by the server when it starts and by the auditor from files alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventlog::testing::ORIGIN;
use eventlog::{Location, LogConfig};
use guildhall_tests::courier::Courier as _;
use guildhall_tests::forger::{Forger, files, forge_packs};
use guildhall_tests::hall;
use guildhall_tests::http::Http;
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::server::{Home, Place, copy_dir};
use guildhall_tests::town::Town;
use guildhall_tests::{Dice, Engine, block_on};
use serde_json::{Value, json};

/// A city that was published, anchored and exported, and has come to rest.
struct Published {
    place: Place,
    http: Http,
    town: Town,
    export: PathBuf,
    /// The auditor's own, from before anything was touched.
    policy: PathBuf,
    /// The signed receipt of one answer.
    receipt: Value,
    dir: tempfile::TempDir,
}

impl Published {
    async fn new() -> Self {
        let place = Place::new(Engine::Sqlite).await;
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let mut receipt = Value::Null;
        for number in 0..300 {
            if number == 150 {
                programs::run(&guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
            }
            receipt = town.fund(&http, &format!("deposit {number}"), "10").await.body["receipt"].take();
        }
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("rent", "25")).await.accepted();
        let dir = tempfile::tempdir().unwrap();
        let (export, policy) = (dir.path().join("export"), dir.path().join("policy"));
        programs::run(&guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
        let out = export.to_str().unwrap().to_owned();
        programs::run(&guildhall(), &place.home.arguments(&["export", "--out", &out])).expect(0);
        fs::copy(export.join("policy"), &policy).unwrap();
        server.stop();
        Self { place, http, town, export, policy, receipt, dir }
    }

    /// A copy of the city's whole directory, to be tampered with.
    fn copy(&self, name: &str) -> Home {
        let dir = self.dir.path().join(name);
        copy_dir(&self.place.home.dir, &dir);
        Home::new(dir, None)
    }

    fn audit(&self, export: &Path) -> (i32, Value) {
        let arguments = ["verify", export.to_str().unwrap(), "--policy", self.policy.to_str().unwrap(), "--json"];
        let ended = programs::run(&auditor(), &arguments);
        (ended.code.unwrap(), serde_json::from_str(&ended.stdout).unwrap_or(Value::String(ended.stderr)))
    }

    /// The server that starts on a tampered log takes no command and says from where on the log is another one.
    async fn assert_read_only(&self, home: &Home, position: u64, what: &str) {
        let server = home.spawn();
        server.wait_for("/healthz", Duration::from_secs(60), |status| status == 200);
        let http = self.http.at(&server.base);
        let (status, told) = http.get(&self.town.founder, "/readyz").await;
        let reason = told["read_only"].as_str().unwrap_or_default();
        assert_eq!(status, 503, "{what}: the server is ready: {told}");
        assert!(
            reason.contains(&format!("position {position} ")) || reason.contains(&format!("position {position}:")),
            "{what}: wanted position {position}: {told}"
        );
        let refused = http.ask(&self.town.attester, "treasury.deposit", self.town.deposit("now", "1")).await;
        // In a log that holds nothing, nobody has a key either.
        let expected = if position == 0 { 401 } else { 503 };
        assert_eq!(refused.status, expected, "{what}: {}", refused.body);
    }

    /// The auditor finds what a forger would publish, and where it begins.
    async fn assert_audited(&self, home: &Home, position: u64, what: &str) {
        let forged = self.dir.path().join(format!("export of {what}"));
        copy_dir(&self.export, &forged);
        forge_packs(&forged, &home.dir).await;
        let (code, report) = self.audit(&forged);
        assert_eq!(code, 1, "{what}: {report}");
        assert_eq!(report["first_bad_position"], position, "{what}: {:#}", report["findings"]);
    }
}

/// What a forger does to the entries of a log.
type Deed = fn(&mut Forger);

const DEEDS: &[(&str, Deed)] = &[
    ("an amount edited", |log| {
        let place = log.find("treasury.credited.v1", false) + 40;
        let data = log.entries[place].data.to_string().replace("10.00", "99.00");
        log.entries[place].data = serde_json::from_str(&data).unwrap();
    }),
    ("the last entry edited", |log| {
        let place = log.find("treasury.debited.v1", true);
        let data = log.entries[place].data.to_string().replace("25.00", "24.00");
        log.entries[place].data = serde_json::from_str(&data).unwrap();
    }),
    ("an actor exchanged", |log| {
        let place = log.find("treasury.debited.v1", true);
        log.entries[place].actor.id = log.entries[0].actor.id.clone();
    }),
    ("a time moved back", |log| {
        let place = log.find("guild.founded.v1", false);
        log.entries[place].at = log.entries[0].at.clone();
    }),
    ("an entry deleted", |log| {
        let place = log.find("treasury.credited.v1", false) + 7;
        log.entries.remove(place);
    }),
    ("a whole stream dropped", |log| {
        let stream = log.entries[log.find("key.issued.v1", true)].stream.clone();
        log.entries.retain(|entry| entry.stream != stream);
    }),
    ("two entries swapped", |log| {
        let place = log.find("treasury.credited.v1", false) + 9;
        log.entries.swap(place, place + 1);
    }),
    ("an entry inserted", |log| {
        let place = log.find("treasury.credited.v1", true);
        let copy = log.entries[place].clone();
        log.entries.insert(place, copy);
    }),
    ("the end cut off", |log| {
        let size = log.entries.len();
        log.entries.truncate(size - 5);
    }),
    ("everything cut off", |log| log.entries.clear()),
];

#[test]
fn whatever_is_done_to_the_entries_the_server_and_the_auditor_name_the_place() {
    block_on(async {
        let city = Published::new().await;
        assert_eq!(city.audit(&city.export).0, 0, "the honest export is clean");
        for (number, (what, deed)) in DEEDS.iter().enumerate() {
            let home = city.copy(&format!("deed-{number}"));
            let mut forger = Forger::open(&home.dir).await;
            deed(&mut forger);
            let position = forger.write().await;
            city.assert_read_only(&home, position, what).await;
            city.assert_audited(&home, position, what).await;
        }
    });
}

#[test]
fn bytes_that_do_not_give_their_stored_hash_are_found() {
    block_on(async {
        let city = Published::new().await;
        let home = city.copy("bytes-only");
        let forger = Forger::open(&home.dir).await;
        let place = forger.find("treasury.debited.v1", true);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.dir.join("log.db"));
        let mut db = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query("drop trigger entries_are_not_updated").execute(&mut db).await.unwrap();
        let edited = forger.entries[place].to_bytes().unwrap();
        let edited = String::from_utf8(edited).unwrap().replace("25.00", "24.00");
        let update = sqlx::query("update entries set bytes = $1 where position = $2");
        update.bind(edited.into_bytes()).bind(i64::try_from(place).unwrap()).execute(&mut db).await.unwrap();
        drop(db);
        city.assert_audited(&home, place as u64, "the bytes alone").await;
    });
}

#[test]
fn a_restored_backup_is_noticed_also_when_it_was_continued_beyond_what_had_been_published() {
    block_on(async {
        let place = Place::new(Engine::Sqlite).await;
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "before the backup", "10").await;
        server.stop();
        let backup = tempfile::tempdir().unwrap();
        copy_dir(&place.home.dir, &backup.path().join("data"));
        let old_size = place.home.log().await.head().await.unwrap().size;

        let mut server = place.home.serve();
        for number in 0..20 {
            town.fund(&http, &format!("after the backup {number}"), "10").await;
        }
        programs::run(&guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
        server.stop();

        // The database comes back from the backup; what was published stays where it is.
        for file in ["log.db", "log.db-wal", "log.db-shm", "views.db", "views.db-wal", "views.db-shm"] {
            let _ = fs::remove_file(place.home.dir.join(file));
            let _ = fs::copy(backup.path().join("data").join(file), place.home.dir.join(file));
        }
        let read_only = async |what: &str| {
            let server = place.home.spawn();
            server.wait_for("/healthz", Duration::from_secs(60), |status| status == 200);
            let (status, told) = http.get(&town.founder, "/readyz").await;
            let reason = told["read_only"].as_str().unwrap_or_default().to_owned();
            assert!(
                status == 503 && reason.contains(&format!("position {old_size}")),
                "{what}: wanted {old_size}: {told}"
            );
        };
        read_only("a log that is shorter").await;

        // Somebody writes on in the restored log, without the server that would have noticed.
        let location = Location::Sqlite { dir: place.home.dir.clone() };
        let config =
            LogConfig { location, origin: ORIGIN.to_owned(), allow_unsafe: false, allow_owner: false, create: false };
        let (log, pipeline) = hall::start(config).await;
        for number in 0..200_u32 {
            eventlog::Recorder::record(&pipeline, "log.note.v1", json!({"number": number})).await.unwrap();
        }
        assert!(log.head().await.unwrap().size > old_size + 100);
        drop((log, pipeline));
        read_only("a log that went another way").await;
    });
}

#[test]
fn one_bit_in_any_published_file_is_found_and_so_is_a_missing_file() {
    block_on(async {
        let city = Published::new().await;
        let mut dice = Dice(0x0b17);
        let all = files(&city.export);
        assert!(all.len() >= 8, "{all:?}");
        for path in all {
            let name = path.strip_prefix(&city.export).unwrap().to_owned();
            if name == Path::new("policy") {
                // Not what the auditor relies on: they brought their own.
                continue;
            }
            let copy = city.dir.path().join("bit");
            let _ = fs::remove_dir_all(&copy);
            copy_dir(&city.export, &copy);
            let mut bytes = fs::read(&path).unwrap();
            let place = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
            bytes[place] ^= 1 << dice.below(8);
            fs::remove_file(copy.join(&name)).unwrap();
            fs::write(copy.join(&name), bytes).unwrap();
            let (code, report) = city.audit(&copy);
            assert!(code != 0, "{}, bit in byte {place}: {report}", name.display());
            assert!(
                name.starts_with("checkpoint") || report["first_bad_position"].is_u64(),
                "{}: no place is named: {report}",
                name.display()
            );

            fs::remove_file(copy.join(&name)).unwrap();
            let (code, report) = city.audit(&copy);
            assert_eq!(code, 1, "{} is missing: {report}", name.display());
        }
    });
}

#[test]
fn with_server_and_database_gone_the_export_and_a_receipt_still_prove_everything() {
    block_on(async {
        let city = Published::new().await;
        fs::remove_dir_all(&city.place.home.dir).unwrap();
        let (code, report) = city.audit(&city.export);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["entries"], report["size"]);
        assert_eq!(report["understood"], report["size"]);
        let file = city.dir.path().join("receipt.json");
        fs::write(&file, city.receipt.to_string()).unwrap();
        let arguments = ["receipt", file.to_str().unwrap(), "--policy", city.policy.to_str().unwrap()];
        let words = programs::run(&auditor(), &arguments).expect(0).stdout;
        let position = city.receipt["entries"][0]["position"].to_string();
        assert!(words.contains(&position), "{words}");
    });
}
