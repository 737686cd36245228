//! A city that is anchored, its backups, and what is left of it: for tests that make its log again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chain::checkpoint::{self, Checkpoint};
use chain::key::SigningKey;
use eventlog::Login;
use eventlog::sql::{self, Row};
use eventlog::testing::{ROLE, TestDatabase};
use projections::Tables as _;
use projections::guards::GuardTables;
use serde_json::{Value, json};
use worm::Bucket;

use crate::Engine;
use crate::courier::{Courier as _, Who};
use crate::http::Http;
use crate::ledger::Ledger;
use crate::programs;
use crate::s3::S3;
use crate::server::{Home, Place, Server, copy_dir};
use crate::town::{self, Town};
use crate::witness::Witness;

/// The log that continues the one of tests.
pub const SUCCESSOR: &str = "test/two";

type Settings = Vec<(&'static str, String)>;

/// A city with anchors in a place of their own.
pub struct City {
    pub engine: Engine,
    pub place: Place,
    pub settings: Settings,
    pub http: Http,
    pub town: Town,
    pub bucket: Option<Bucket>,
    pub dir: tempfile::TempDir,
    server: Option<Server>,
    attester: String,
    worker: String,
    funded: usize,
}

/// The city as it was last.
pub struct Before {
    pub guards: Vec<(String, Vec<Row>)>,
    pub ledger: Ledger,
    pub attester: String,
    /// Questions about money, members and reputation, and how they were answered.
    pub answers: Vec<(String, Value)>,
}

/// A database as it was on some day.
pub enum Backup {
    Folder(PathBuf),
    Database(TestDatabase),
}

impl City {
    /// Anchored in a folder of its own.
    pub async fn in_folder(engine: Engine, deposits: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = vec![("GUILDHALL_ANCHOR__DIRECTORY", text(&dir.path().join("worm")))];
        Self::start_in(engine, dir, settings, None, deposits).await
    }

    /// Anchored in a bucket with Object Lock.
    pub async fn in_bucket(engine: Engine, s3: &S3, deposits: usize) -> Self {
        let bucket = s3.bucket().await;
        let settings = vec![
            ("GUILDHALL_ANCHOR__KIND", "s3-object-lock".to_owned()),
            ("GUILDHALL_ANCHOR__S3__ENDPOINT", bucket.endpoint.clone()),
            ("GUILDHALL_ANCHOR__S3__BUCKET", bucket.name.clone()),
            ("GUILDHALL_ANCHOR__S3__PREFIX", bucket.prefix.clone()),
            ("GUILDHALL_WORM_KEY_ID", s3.writer.key_id.clone()),
            ("GUILDHALL_WORM_SECRET", s3.writer.secret.to_string()),
        ];
        let dir = tempfile::tempdir().unwrap();
        let Bucket { endpoint, region, name, prefix } = &bucket;
        let toml = format!(
            "[anchor]\nkind = 's3-object-lock'\n[anchor.s3]\nendpoint = '{endpoint}'\nregion = '{region}'\nbucket = '{name}'\nprefix = '{prefix}'\n"
        );
        fs::write(dir.path().join("old.toml"), toml).unwrap();
        Self::start_in(engine, dir, settings, Some(bucket), deposits).await
    }

    /// With one witness, which has cosigned all of it.
    pub async fn witnessed(deposits: usize) -> (Self, Witness) {
        let mut city = Self::in_folder(Engine::Sqlite, deposits).await;
        city.stop();
        let vkey = fs::read_to_string(city.place.home.dir.join("public/vkey")).unwrap();
        let logs = city.dir.path().join("logs.policy");
        fs::write(&logs, format!("log {vkey}quorum none\n")).unwrap();
        let witness = Witness::ours(city.dir.path(), "w1", &logs);
        let policy = city.dir.path().join("witnessed.policy");
        fs::write(&policy, format!("log {vkey}{}quorum w1\n", witness.line())).unwrap();
        city.settings.push(("GUILDHALL_WITNESS__POLICY", text(&policy)));
        city.place.home.settings.clone_from(&city.settings);
        city.start();
        (city, witness)
    }

    async fn start_in(
        engine: Engine,
        dir: tempfile::TempDir,
        settings: Settings,
        bucket: Option<Bucket>,
        deposits: usize,
    ) -> Self {
        let mut place = Place::new(engine).await;
        place.home.settings.clone_from(&settings);
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let (gate, gate_key) = town::human(&http, "gate", "Gate").await;
        let (worker, _) = town::human(&http, "customer", "Ann").await;
        for member in [&gate, &worker] {
            let join = json!({"guild": town.guild, "member": member, "rank": "member"});
            http.ask(&town.founder, "guild.add_member", join).await.accepted();
        }
        for number in 0..3 {
            let outcome = json!({
                "holder": worker, "outcome": "task_completed", "scope": town.guild, "work": format!("work {number}"),
                "stake": "T3", "proof": "ab".repeat(32),
            });
            http.ask(&gate_key, "reputation.attest", outcome).await.accepted();
        }
        let attester = http.ok(&town.attester, "/v1/whoami").await["citizen"].as_str().unwrap().to_owned();
        let server = Some(server);
        let mut city = Self { engine, place, settings, http, town, bucket, dir, server, attester, worker, funded: 0 };
        city.fund(deposits).await;
        city
    }

    /// Pays in so many times.
    pub async fn fund(&mut self, deposits: usize) {
        for _ in 0..deposits {
            self.funded += 1;
            self.town.fund(&self.http, &format!("deposit {}", self.funded), "10").await;
        }
    }

    /// The same, many at once.
    pub async fn fund_many(&mut self, deposits: usize) {
        let (http, town) = (&self.http, &self.town);
        for chunk in 0..deposits.div_ceil(100) {
            let all = (0..100).map(|number| async move {
                town.fund(http, &format!("one of many {chunk} {number}"), "10").await;
            });
            futures::future::join_all(all).await;
        }
    }

    /// Anchors what there is and comes to rest.
    pub async fn rest(&mut self, twice: bool) -> Before {
        let home = &self.place.home;
        let hold = json!({
            "treasury": self.town.treasury, "currency": town::CURRENCY, "legs": [{"to": "external", "amount": "3"}],
            "expires_at": town::in_seconds(86_400),
        });
        self.http.ask(&self.town.founder, "treasury.hold", hold).await.accepted();
        if twice {
            home.run(&["anchor", "now"]).expect(0);
            self.town.fund(&self.http, "between two anchors", "10").await;
        }
        home.run(&["anchor", "now"]).expect(0);
        let principal = &self.town.principal;
        let as_of = town::in_seconds(0);
        let (guild, treasury) = (&self.town.guild, &self.town.treasury);
        let mut answers = Vec::new();
        for question in [
            format!("/v1/treasuries/{treasury}/balances"),
            format!("/v1/guilds/{guild}/members"),
            format!("/v1/citizens/{}/reputation?scope={guild}&as_of={as_of}", self.worker),
        ] {
            let answer = without_positions(self.http.ok(principal, &question).await);
            let about = answer.to_string();
            assert!(about.contains("\"balance\"") || about.contains(&self.worker), "{question}: {about}");
            answers.push((question, answer));
        }
        let receipt = self.http.ok(principal, "/v1/receipts/5").await;
        fs::write(self.dir.path().join("receipt.json"), receipt.to_string()).unwrap();
        self.stop();
        fs::copy(self.place.home.dir.join("public/policy"), self.dir.path().join("policy")).unwrap();
        Before {
            guards: guards(&self.place.home).await,
            ledger: Ledger::read(&self.place.home.log().await).await,
            attester: self.attester.clone(),
            answers,
        }
    }

    pub fn start(&mut self) {
        self.server = Some(self.place.home.serve());
    }

    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// What `--from` takes: the folder of anchors, or settings that name the bucket.
    pub fn kept(&self) -> String {
        text(&self.dir.path().join(if self.bucket.is_some() { "old.toml" } else { "worm" }))
    }

    /// The log's key as an auditor keeps it.
    pub fn policy(&self) -> String {
        text(&self.dir.path().join("policy"))
    }

    /// A receipt of the old log, as somebody keeps it.
    pub fn receipt(&self) -> String {
        text(&self.dir.path().join("receipt.json"))
    }

    /// The database as it is now. The server must be at rest.
    pub async fn backup(&self, name: &str) -> Backup {
        match &self.place.database {
            None => {
                let folder = self.dir.path().join(name);
                copy_dir(&self.place.home.dir, &folder);
                Backup::Folder(folder)
            }
            Some(database) => Backup::Database(database.copy().await),
        }
    }

    /// This backup put back under everything else that the city has today.
    pub fn restored(&self, backup: &Backup, name: &str) -> Home {
        let dir = self.dir.path().join(name);
        copy_dir(&self.place.home.dir, &dir);
        let mut url = None;
        match backup {
            Backup::Database(database) => url = Some(database.url.clone()),
            Backup::Folder(folder) => {
                without_log(&dir);
                // What was committed last may still be in the write-ahead log.
                for name in ["log.db", "log.db-wal"].into_iter().filter(|name| folder.join(name).exists()) {
                    fs::copy(folder.join(name), dir.join(name)).unwrap();
                }
            }
        }
        Home { settings: self.settings.clone(), ..Home::new(dir, url) }
    }

    /// The city's own directory, and a database with nothing in it.
    pub async fn nothing(&self, name: &str) -> Home {
        let dir = self.dir.path().join(name);
        copy_dir(&self.place.home.dir, &dir);
        without_log(&dir);
        let url = match self.engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(eventlog::testing::postgres(&projections::ddl::POSTGRES).await.url),
        };
        Home { settings: self.settings.clone(), ..Home::new(dir, url) }
    }
}

fn without_log(dir: &Path) {
    for gone in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = fs::remove_file(dir.join(gone));
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A new home for the log that continues another one: no directory yet, an empty database, and anchors elsewhere.
pub async fn successor(engine: Engine, dir: &Path, settings: &[(&'static str, String)]) -> Home {
    let mut url = None;
    if engine == Engine::Postgres {
        let database = eventlog::testing::empty_postgres().await;
        let login = Login { role: ROLE, password: "trusted", replace: false };
        let migrations = &projections::ddl::POSTGRES;
        eventlog::migrate_postgres(&database.owner_url, SUCCESSOR, Some(login), migrations).await.unwrap();
        url = Some(database.url);
    }
    let elsewhere = |(name, value): &(&'static str, String)| match *name {
        "GUILDHALL_ANCHOR__DIRECTORY" => (*name, text(&dir.join("worm two"))),
        "GUILDHALL_ANCHOR__S3__PREFIX" => (*name, "city two/".to_owned()),
        _ => (*name, value.clone()),
    };
    let settings = settings.iter().map(elsewhere).collect();
    Home { origin: SUCCESSOR, settings, ..Home::new(dir.join("two"), url) }
}

/// Every row of every guard, but for the positions in them: a log that continues another one has other positions.
pub async fn guards(home: &Home) -> Vec<(String, Vec<Row>)> {
    let log = home.log().await;
    let mut conn = log.reader().await.unwrap();
    let mut all = Vec::new();
    for table in GuardTables::tables() {
        let rows = sql::select(&mut conn, table, "", &[]).await.unwrap();
        let stays = |row: Row| -> Row {
            let cells = row.into_iter().zip(table.columns);
            cells.filter(|(_, column)| !column.name.ends_with("position")).map(|(cell, _)| cell).collect()
        };
        let mut rows: Vec<Row> = rows.into_iter().map(stays).collect();
        rows.sort();
        all.push((table.name.to_owned(), rows));
    }
    all
}

/// An answer without the positions in it.
pub fn without_positions(answer: Value) -> Value {
    match answer {
        Value::Object(fields) => {
            let stay = fields.into_iter().filter(|(name, _)| !name.ends_with("position"));
            Value::Object(stay.map(|(name, value)| (name, without_positions(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_positions).collect()),
        other => other,
    }
}

/// How many entries there are; none where there is no log yet.
pub async fn size(home: &Home) -> u64 {
    if home.database_url.is_none() && !home.dir.join("log.db").exists() {
        return 0;
    }
    let location = match &home.database_url {
        Some(url) => eventlog::Location::Postgres { url: url.clone() },
        None => eventlog::Location::Sqlite { dir: home.dir.clone() },
    };
    let origin = home.origin.to_owned();
    let config = eventlog::LogConfig { location, origin, allow_unsafe: false, allow_owner: false, create: false };
    // Just being made, it may not be one yet.
    match eventlog::Log::open(config).await {
        Ok(log) => log.head().await.map_or(0, |head| head.size),
        Err(_) => 0,
    }
}

/// Runs a subcommand on this home and waits for nothing.
pub fn spawn(home: &Home, arguments: &[&str]) -> Child {
    let mut command = Command::new(programs::guildhall());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUILDHALL_")) {
        command.env_remove(name);
    }
    command.args(home.arguments(arguments)).envs(home.settings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Kills a recovery each time the log has grown under it, and runs it again; answers how often it was killed.
pub async fn kill_whenever_it_grows(home: &Home, arguments: &[&str]) -> u32 {
    let (mut killed, deadline) = (0, Instant::now() + Duration::from_secs(300));
    loop {
        let had = size(home).await;
        let mut child = spawn(home, arguments);
        loop {
            assert!(Instant::now() < deadline, "it comes to no end");
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success());
                return killed;
            }
            if size(home).await > had {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The key that a subcommand showed.
pub fn who(shown: &Value) -> Who {
    Who(shown["api_key"].as_str().unwrap().to_owned())
}

/// The anchors in a folder, in their order.
pub fn anchors(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.join("anchors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

/// Lays an anchor of this number and size there, signed by this key, with a root that its log never had; answers where.
pub fn forge_anchor(folder: &Path, key: &SigningKey, seq: u64, size: u64) -> PathBuf {
    let like = fs::read(&anchors(folder)[0]).unwrap();
    let mut anchor: Value = serde_json::from_slice(&like).unwrap();
    let checkpoint = Checkpoint { origin: key.name().to_owned(), size, root: chain::Hash([5; 32]) };
    anchor["checkpoint"] = json!(checkpoint::sign(&checkpoint, key));
    (anchor["seq"], anchor["origin"]) = (json!(seq), json!(key.name()));
    sign_anchor(&mut anchor, key);
    let path = folder.join(format!("anchors/{seq:020}-{size:020}.json"));
    assert!(!path.exists(), "it is there: {}", path.display());
    fs::write(&path, chain::canonical::to_bytes(&anchor).unwrap()).unwrap();
    path
}

/// Signs an anchor with this key, as its log does.
pub fn sign_anchor(anchor: &mut Value, key: &SigningKey) {
    anchor.as_object_mut().unwrap().remove("signature");
    let unsigned = chain::hash::sha256(&[&chain::canonical::to_bytes(anchor).unwrap()]);
    anchor["signature"] = json!(key.sign(&chain::anchor::text(key.name(), &unsigned)));
}

/// The key that a city on this data directory signs with.
pub fn signing_key(dir: &Path, origin: &str) -> SigningKey {
    let seed = fs::read_to_string(dir.join("signing.key")).unwrap();
    SigningKey::from_seed(origin, *chain::Hash::from_hex(seed.trim()).unwrap().as_bytes())
}

/// Changes one digit of an amount in the first pack, the lengths staying as they are.
pub fn edit_a_pack(folder: &Path) {
    let path = folder.join("pack/000");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|window| window == b"\"amount\":\"").unwrap() + 10;
    bytes[at] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}
