//! `guildhall import` as its users run it: against files, folders, a service and a database, beside a running server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "imports/callers.rs"]
mod callers;
#[path = "imports/canaries.rs"]
mod canaries;
#[path = "imports/revoked.rs"]
mod revoked;

use std::fs;
use std::path::{Path, PathBuf};

use guildhall_tests::courier::{Courier as _, Who};
use guildhall_tests::http::Http;
use guildhall_tests::programs::{self, Ended};
use guildhall_tests::server::{Place, Server};
use guildhall_tests::town;
use guildhall_tests::{Engine, block_on};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

/// A running city, a folder for sources, and the first key.
struct Yard {
    place: Place,
    server: Server,
    http: Http,
    dir: tempfile::TempDir,
    key_file: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Yard {
    async fn open(engine: Engine) -> Self {
        let place = Place::new(engine).await;
        let server = place.home.serve();
        let http = server.first_caller();
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("principal.key");
        let Who(key) = http.principal();
        fs::write(&key_file, key).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key_file, mode).unwrap();
        Self { place, server, http, dir, key_file, environment: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn import(&self, domain: &str, map: &str, more: &[&str], code: i32) -> Value {
        let map = self.path(map);
        let key = self.key_file.to_str().unwrap();
        let mut arguments = vec!["import", domain, "--map", map.to_str().unwrap(), "--key-file", key, "--json"];
        arguments.extend(more);
        let arguments = self.place.home.arguments(&arguments);
        let Ended { stdout, .. } =
            programs::run_with(&programs::guildhall(), &arguments, &self.environment).expect(code);
        serde_json::from_str(&stdout).unwrap()
    }

    /// What a subcommand says, and how it ends.
    fn say(&self, arguments: &[&str], code: i32) -> Ended {
        let arguments = self.place.home.arguments(arguments);
        programs::run_with(&programs::guildhall(), &arguments, &self.environment).expect(code)
    }

    /// The living grants of a holder from a source, by ref.
    async fn held(&self, holder: &str, source: &str) -> Vec<(String, String)> {
        let size = self.place.home.log().await.head().await.unwrap().size;
        let path = format!("/v1/holders/{holder}/grants?source={source}&limit=500&at_least={}", size - 1);
        let (status, page) = self.http.get(&self.http.principal(), &path).await;
        assert_eq!(status, 200, "{page}");
        let text = |grant: &Value, name: &str| grant[name].as_str().unwrap().to_owned();
        let grants = page["items"].as_array().unwrap();
        let mut held: Vec<_> = grants.iter().map(|grant| (text(grant, "reference"), text(grant, "grant_id"))).collect();
        held.sort();
        held
    }
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap()
}

fn counts(report: &Value) -> Value {
    let names = ["added", "confirmed", "ended", "gone", "withheld", "unmapped", "wrong"];
    names.iter().map(|name| number(report, name)).collect::<Vec<_>>().into()
}

/// Sources come and go; what was revoked here stays so; and no token is anywhere.
async fn tokens(engine: Engine) {
    const CANARY: &str = "sk-loom-c0ffeec0ffeec0ffee";
    let yard = Yard::open(engine).await;
    let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
    let token =
        |name: &str, agent: &str, active: bool| json!({"token_hash": hash(name), "agent": agent, "active": active});
    let mut first = token(CANARY, "loom", true);
    first["token"] = json!(CANARY);
    first["label"] = json!(format!("the one with {CANARY}"));
    let file = |tokens: &[Value]| yard.write("tokens.json", &Value::from(tokens.to_vec()).to_string());
    let all: Vec<Value> = (0..10).map(|number| token(&format!("t{number}"), "loom", true)).collect();
    let listed = |others: &[Value]| [&[first.clone()], others].concat();
    file(
        &[listed(&all), vec![token("x", "nobody-knows", true), token("y", "loom", false), json!({"agent": 7})]]
            .concat(),
    );
    yard.write("map.toml", &format!("paths = ['tokens.json']\n[holders]\nloom = '{loom}'\n"));

    let dry = yard.import("d1:tokens", "map.toml", &["--dry-run"], 1);
    assert_eq!(counts(&dry), json!([11, 0, 0, 0, 0, 1, 1]), "{dry}");
    assert!(yard.held(&loom, "d1:tokens").await.is_empty(), "a dry run changes nothing");
    let report = yard.import("d1:tokens", "map.toml", &[], 1);
    assert_eq!(counts(&report), counts(&dry), "{report}");
    assert!(
        report["rows"].to_string().contains("unmapped_holder") && report["rows"].to_string().contains("element 13")
    );
    let again = yard.import("d1:tokens", "map.toml", &[], 1);
    assert_eq!(counts(&again), json!([0, 11, 0, 0, 0, 1, 1]), "a second run adds nothing: {again}");

    // One is revoked here, one ends at its source, one is not listed any more.
    let held = yard.held(&loom, "d1:tokens").await;
    assert_eq!(held.len(), 11);
    let (reference, grant) = held.iter().find(|(reference, _)| *reference == hash("t0")[..16]).unwrap();
    yard.http.ask(&yard.http.principal(), "grant.revoke", json!({"holder": loom, "grant": grant})).await.accepted();
    let mut changed = listed(&all[..9]);
    changed[2]["active"] = json!(false);
    file(&changed);
    let report = yard.import("d1:tokens", "map.toml", &[], 0);
    assert_eq!(counts(&report), json!([0, 8, 1, 1, 1, 0, 0]), "{report}");
    assert!(!yard.held(&loom, "d1:tokens").await.iter().any(|(held, _)| held == reference), "it stays revoked");

    // Most of it gone, all of it gone, the file gone: nothing ends until somebody says so.
    for (tokens, code) in [(&changed[..3], 1), (&[][..], 1)] {
        file(tokens);
        let report = yard.import("d1:tokens", "map.toml", &[], code);
        assert!(report["lost"].as_u64().is_some_and(|lost| lost >= 6), "{report}");
    }
    let new: Vec<Value> = (0..40).map(|number| token(&format!("n{number}"), "loom", true)).collect();
    file(&[&changed[..3], &new].concat());
    let report = yard.import("d1:tokens", "map.toml", &["--dry-run"], 1);
    assert!(report["lost"].as_u64().is_some_and(|lost| lost >= 6), "what is new makes up for nothing: {report}");
    fs::rename(yard.path("tokens.json"), yard.path("away.json")).unwrap();
    assert!(yard.import("d1:tokens", "map.toml", &[], 1)["unlisted"].is_string());
    assert_eq!(yard.held(&loom, "d1:tokens").await.len(), 8);
    file(&changed[..3]);
    let report = yard.import("d1:tokens", "map.toml", &["--confirm-loss"], 0);
    assert_eq!(number(&report, "gone"), 7, "{report}");
    assert_eq!(yard.held(&loom, "d1:tokens").await.len(), 1);

    canary(&yard.place.home.dir, CANARY);
    canary(&yard.place.home.dir, &hash(CANARY));
    let out = yard.path("export");
    let out = out.to_str().unwrap();
    programs::run(&programs::guildhall(), &yard.place.home.arguments(&["export", "--out", out])).expect(0);
    programs::run(&programs::auditor(), &["verify", out, "--policy", &format!("{out}/policy")]).expect(0);
    canary(Path::new(out), CANARY);
}

fn hash(name: &str) -> String {
    chain::hash::sha256(&[name.as_bytes()]).to_string()
}

/// No file below this folder holds these bytes.
fn canary(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            canary(&path, secret);
        } else if let Ok(bytes) = fs::read(&path) {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

#[test]
fn tokens_come_go_and_stay_revoked_and_no_token_is_anywhere_on_sqlite() {
    block_on(tokens(Engine::Sqlite));
}

#[test]
fn tokens_come_go_and_stay_revoked_and_no_token_is_anywhere_on_postgres() {
    block_on(tokens(Engine::Postgres));
}

#[test]
fn a_row_that_is_wrong_is_not_gone_and_of_two_the_first_counts() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("map.toml", &format!("paths = ['tokens.json']\n[holders]\nloom = '{loom}'\n"));
        let all = || (0..10).map(|n| json!({"token_hash": hash(&format!("t{n}")), "agent": "loom", "active": true}));
        let import = |rows: Vec<Value>, more: &[&str], code: i32| {
            yard.write("tokens.json", &Value::from(rows).to_string());
            let report = yard.import("d1:tokens", "map.toml", more, code);
            let names = ["added", "confirmed", "ended", "gone", "unknown", "unmapped", "wrong"];
            (Value::from(names.map(|name| number(&report, name)).to_vec()), report)
        };
        let (counts, report) = import(all().collect(), &[], 0);
        assert_eq!(counts, json!([10, 0, 0, 0, 0, 0, 0]), "{report}");

        let mut rows: Vec<Value> = all().collect();
        rows[3]["agent"] = json!(7);
        rows[4]["agent"] = json!("nobody-knows");
        let (counts, report) = import(rows.clone(), &["--confirm-loss"], 1);
        assert_eq!(counts, json!([0, 8, 0, 0, 2, 1, 1]), "its ref says which it is: {report}");
        rows = all().collect();
        rows[3] = json!({"agent": "loom", "active": true});
        let (counts, report) = import(rows.clone(), &[], 1);
        assert_eq!(counts, json!([0, 9, 0, 0, 1, 0, 1]), "nobody can say which one that row is: {report}");
        rows.push(json!({"token_hash": hash("t5"), "agent": "loom", "active": false}));
        let (counts, report) = import(rows, &["--confirm-loss"], 1);
        assert_eq!(counts, json!([0, 8, 1, 1, 0, 0, 2]), "somebody looked; t5 ends by either row: {report}");
        let rows = report["rows"].to_string();
        assert!(rows.contains("a second credential") && rows.contains("that it ended counts"), "{report}");
        assert_eq!(yard.held(&loom, "d1:tokens").await.len(), 8);
    });
}

#[test]
fn what_got_narrower_at_the_source_gets_narrower_here_and_never_wider() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("map.toml", &format!("paths = ['edge.sqlite']\n[holders]\n'workspace:gaf' = '{loom}'\n"));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.path("edge.sqlite"));
        let mut edge = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let table = "create table tokens (id text, workspace text, token_type text, token_hash text, revoked_at)";
        edge.execute(table).await.unwrap();
        let row = format!("insert into tokens values ('t1', 'gaf', 'agent', '{}', null)", hash("t1"));
        edge.execute(sqlx::AssertSqlSafe(row)).await.unwrap();
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "added"), 1);
        let (_, grant) = yard.held(&loom, "d1:tokens").await[0].clone();

        edge.execute("update tokens set token_type = 'readonly'").await.unwrap();
        let dry = yard.import("d1:tokens", "map.toml", &["--dry-run"], 0);
        let report = yard.import("d1:tokens", "map.toml", &[], 0);
        for report in [dry, report] {
            assert_eq!((number(&report, "narrowed"), number(&report, "added")), (1, 0), "{report}");
            assert_eq!(report["changes"][0]["what"], "narrowed", "{report}");
        }
        let read_only = async || {
            let size = yard.place.home.log().await.head().await.unwrap().size;
            let path = format!("/v1/grants/{grant}?at_least={}", size - 1);
            yard.http.get(&yard.http.principal(), &path).await.1["scope"]["read_only"] == true
        };
        assert!(read_only().await);
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "narrowed"), 0, "once");
        edge.execute("update tokens set token_type = 'agent'").await.unwrap();
        let report = yard.import("d1:tokens", "map.toml", &[], 0);
        assert_eq!((number(&report, "narrowed"), number(&report, "confirmed")), (0, 1), "{report}");
        assert!(read_only().await, "nobody can tell who narrowed it");
    });
}

#[test]
fn an_import_right_after_another_starts_from_what_that_one_did() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("map.toml", &format!("paths = ['tokens.json']\n[holders]\nloom = '{loom}'\n"));
        let list = |count: usize| {
            let token = |number| json!({"token_hash": hash(&format!("t{number}")), "agent": "loom", "active": true});
            yard.write("tokens.json", &Value::from((0..count).map(token).collect::<Vec<Value>>()).to_string());
            counts(&yard.import("d1:tokens", "map.toml", &[], 0))
        };
        assert_eq!(list(600), json!([600, 0, 0, 0, 0, 0, 0]));
        for _ in 0..4 {
            assert_eq!(list(500), json!([0, 500, 0, 100, 0, 0, 0]));
            assert_eq!(list(600), json!([100, 500, 0, 0, 0, 0, 0]));
        }
    });
}

#[test]
fn an_import_says_nothing_about_what_another_source_told_of() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("skills/review/SKILL.md", "---\nname: review\n---\ntext\n");
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{loom}'\n"));
        yard.import("fs:skills", "skills.toml", &[], 0);
        let (_, grant) = yard.held(&loom, "fs:skills").await[0].clone();
        let Who(key) = yard.http.principal();
        let ask = |source: &str| {
            let finding = json!({"holder": loom, "grant": grant, "verdict": "gone"});
            let ask = json!({
                "do": "import", "api_key": key, "source": source, "imports": [], "dry": false,
                "findings": {"asked_at": town::in_seconds(0), "all": [finding]},
            });
            socket(&yard.place.home.dir, &ask)
        };
        let refused = ask("d1:tokens");
        assert_eq!(refused["problem"]["code"], "source_mismatch", "{refused}");
        assert_eq!(yard.held(&loom, "fs:skills").await.len(), 1);
        assert_eq!(ask("fs:skills")["is"], "done");
        assert!(yard.held(&loom, "fs:skills").await.is_empty());
    });
}

#[test]
fn an_import_compares_with_everything_that_is_on_record() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("skills/review/SKILL.md", "---\nname: review\n---\n");
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{loom}'\n"));
        yard.import("fs:skills", "skills.toml", &[], 0);
        let (_, grant) = yard.held(&loom, "fs:skills").await[0].clone();

        // The tables stand still while somebody revokes it and gives another one.
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.place.home.dir.join("views.db"));
        let mut views = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        views.execute("begin immediate").await.unwrap();
        let principal = yard.http.principal();
        yard.http.ask(&principal, "grant.revoke", json!({"holder": loom, "grant": grant})).await.accepted();
        let other = json!({"holder": loom, "kind": "template", "ref": "weave", "source": "fs:skills"});
        yard.http.ask(&principal, "grant.import", other).await.accepted();
        let letting_go = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            views.execute("rollback").await.unwrap();
        };
        let import = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let import = scope.spawn(|| yard.import("fs:skills", "skills.toml", &["--dry-run"], 1));
                tokio::runtime::Handle::current().block_on(letting_go);
                import.join().unwrap()
            })
        });
        assert_eq!(counts(&import), json!([0, 0, 0, 0, 1, 0, 0]), "{import}");
        assert_eq!(import["lost"], 1, "the other one is not listed: {import}");
    });
}

#[test]
fn what_ended_meanwhile_is_neither_confirmed_nor_ended() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        for name in ["review", "weave"] {
            yard.write(&format!("skills/{name}/SKILL.md"), &format!("---\nname: {name}\n---\n"));
        }
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{loom}'\n"));
        yard.import("fs:skills", "skills.toml", &[], 0);
        let held = yard.held(&loom, "fs:skills").await;
        let grants: Vec<&String> = held.iter().map(|(_, grant)| grant).collect();
        let revoke = json!({"holder": loom, "grant": grants[0]});
        yard.http.ask(&yard.http.principal(), "grant.revoke", revoke).await.accepted();
        let Who(key) = yard.http.principal();
        for dry in [true, false] {
            let findings: Vec<Value> =
                grants.iter().map(|grant| json!({"holder": loom, "grant": grant, "verdict": "alive"})).collect();
            let ask = json!({
                "do": "import", "api_key": key, "source": "fs:skills", "imports": [], "dry": dry,
                "findings": {"asked_at": town::in_seconds(0), "all": findings},
            });
            let settled = socket(&yard.place.home.dir, &ask);
            assert_eq!(settled["value"]["dead"], json!([grants[0]]), "{settled}");
        }
    });
}

#[test]
fn a_guild_is_named_by_its_slug_and_nobody_who_is_not_there_is_shown() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (_, founder) = town::human(&yard.http, "worker", "Kasra").await;
        let (guild, _) = town::guild(&yard.http, &founder, "kasra").await;
        yard.write("skills/review/SKILL.md", "---\nname: review\n---\n");
        yard.write("skills/weave/SKILL.md", "---\nname: weave\n---\n");
        yard.write("skills.toml", "paths = ['skills']\ndefault = 'kasra'\n[holders]\nweave = 'nobody-yet'\n");
        let report = yard.import("fs:skills", "skills.toml", &[], 1);
        assert_eq!(counts(&report), json!([1, 0, 0, 0, 0, 1, 0]), "{report}");
        assert_eq!(yard.held(&guild, "fs:skills").await.len(), 1);
        let by_slug = yard.say(&["inventory", "show", "kasra"], 0).stdout;
        assert_eq!(by_slug, yard.say(&["inventory", "show", &guild], 0).stdout);
        assert!(by_slug.contains("review"), "{by_slug}");
        let nobody = "01J80000000000000000000009";
        for holder in ["nobody", &format!("cit_{nobody}"), &format!("gld_{nobody}")] {
            let refused = yard.say(&["inventory", "show", holder], 1);
            assert!(refused.stderr.contains("holder_not_found") && refused.stdout.is_empty(), "{}", refused.stderr);
        }
        let citizen = format!("cit_{nobody}");
        let refused = yard.say(&["reputation", "show", &citizen], 1);
        assert!(refused.stderr.contains("citizen_not_found") && refused.stdout.is_empty(), "{}", refused.stderr);
        let refused = yard.say(&["inventory", "show", &citizen, "--json"], 1);
        let problem: Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!(problem["code"], "holder_not_found");
    });
}

#[test]
fn whoever_imports_hears_of_grants_that_nobody_will_verify() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        let clean = yard.say(&["reconcile"], 0).stdout;
        assert!(clean.starts_with("0 due,"), "{clean}");
        assert!(!yard.say(&["doctor"], 0).stdout.contains("no mapping file"));
        yard.write("skills/review/SKILL.md", "---\nname: review\n---\n");
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{loom}'\n"));
        let (map, key) = (yard.path("skills.toml"), yard.key_file.to_str().unwrap());
        let arguments = ["import", "fs:skills", "--map", map.to_str().unwrap(), "--key-file", key];
        let said = yard.say(&arguments, 0).stdout;
        let warning = "fs:skills: 1 living grants, and no mapping file (sources.skills)";
        assert!(said.contains(warning) && said.contains(", 0 narrowed,"), "{said}");
        let report = yard.import("fs:skills", "skills.toml", &[], 0);
        assert_eq!(report["unverified"], json!({"fs:skills": 1}), "{report}");
        let doctor = yard.say(&["doctor"], 0).stdout;
        assert!(doctor.contains("warning sources") && doctor.contains(warning), "{doctor}");
        assert!(!doctor.contains("stale, and"), "{doctor}");
        let said = yard.say(&["reconcile"], 1).stdout;
        assert!(said.contains(warning), "{said}");
        let round: Value = serde_json::from_str(&yard.say(&["reconcile", "--dry-run", "--json"], 1).stdout).unwrap();
        assert_eq!((&round["due"], &round["unconfigured"]), (&json!(0), &json!({"fs:skills": 1})), "{round}");

        // As after days without its source.
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.place.home.dir.join("views.db"));
        let mut views = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        for (change, counts) in [
            ("status = 'stale'", "1 are stale, and 0 are stuck"),
            ("failed_attempts = 11", "1 are stale, and 1 are stuck"),
            ("status = 'active', failed_attempts = 11", "0 are stale, and 1 are stuck"),
        ] {
            views.execute(sqlx::AssertSqlSafe(format!("update inventory set {change}"))).await.unwrap();
            let doctor = yard.say(&["doctor"], 0).stdout;
            assert!(doctor.contains(&format!("fs:skills: of its living grants {counts}")), "{doctor}");
        }
    });
}

/// Asks the running server as a subcommand does.
fn socket(dir: &Path, ask: &Value) -> Value {
    use std::io::{BufRead as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(dir.join("control.sock")).unwrap();
    writeln!(stream, "{ask}").unwrap();
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn tools_go_to_the_guild_that_owns_the_plugin_and_skills_to_who_the_map_says() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (_, founder) = town::human(&yard.http, "worker", "Kasra").await;
        let (guild, _) = town::guild(&yard.http, &founder, "kasra").await;
        yard.write(
            "plugins/ledger/plugin.yaml",
            "name: ledger-tools\nversion: 1.4.0\nowner: kasra\nmcp_tools:\n  - post_invoice\n  - {name: void_invoice}\nserver: ledger\n",
        );
        // What a plugin is called gives it to nobody.
        yard.write("plugins/orphan/plugin.yaml", "name: kasra\nversion: 1.0.0\nowner: nobody\nmcp_tools: [x1]\n");
        yard.write("plugins/broken/plugin.yaml", "name: broken\n");
        yard.write("plugins.toml", "paths = ['plugins']\n");
        let report = yard.import("plugin:yaml", "plugins.toml", &[], 1);
        assert_eq!(counts(&report), json!([3, 0, 0, 0, 0, 1, 1]), "{report}");
        let held: Vec<String> =
            yard.held(&guild, "plugin:yaml").await.into_iter().map(|(reference, _)| reference).collect();
        assert_eq!(held, ["ledger", "post_invoice", "void_invoice"]);

        let shown =
            programs::run(&programs::guildhall(), &yard.place.home.arguments(&["inventory", "show", &guild])).expect(0);
        assert!(shown.stdout.contains("post_invoice") && shown.stdout.contains("plugin:yaml"), "{}", shown.stdout);
        yard.write("skills/review/SKILL.md", "---\nname: review\nlabels: [a]\n---\ntext\n");
        yard.write("skills/loud/SKILL.md", "no front matter\n");
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{guild}'\n"));
        let report = yard.import("fs:skills", "skills.toml", &[], 1);
        assert_eq!(counts(&report), json!([1, 0, 0, 0, 0, 0, 1]), "{report}");
        assert!(report["rows"][0]["place"].as_str().unwrap().ends_with("skills/loud/SKILL.md:1"), "{report}");
        // A map with a mistake, and a caller who may not.
        yard.write("bad.toml", "paths = ['skills']\nholder = 'x'\n");
        let key = yard.key_file.to_str().unwrap();
        let bad = yard.path("bad.toml");
        let arguments = ["import", "fs:skills", "--map", bad.to_str().unwrap(), "--key-file", key];
        let ended = programs::run(&programs::guildhall(), &yard.place.home.arguments(&arguments)).expect(2);
        assert!(ended.stderr.contains("unknown field `holder`"), "{}", ended.stderr);
        fs::write(&yard.key_file, &founder.0).unwrap();
        let map = yard.path("skills.toml");
        let arguments = ["import", "fs:skills", "--map", map.to_str().unwrap(), "--key-file", key];
        let ended = programs::run(&programs::guildhall(), &yard.place.home.arguments(&arguments)).expect(2);
        assert!(ended.stderr.contains("not_permitted"), "{}", ended.stderr);
    });
}

#[test]
fn connections_are_read_from_a_living_table() {
    block_on(async {
        let mut yard = Yard::open(Engine::Postgres).await;
        let (ada, _) = town::human(&yard.http, "observer", "Ada").await;
        let url = yard.place.database.as_ref().unwrap().owner_url.clone();
        let mut owner = eventlog::testing::connect(&url).await;
        let rows = format!(
            "create schema elsewhere; create table elsewhere.profile_tool_connections (id text primary key, profile_id text,
                tool_name text, oauth_token_ref text, scopes text[], status text, connected_at timestamptz, revoked_at timestamptz,
                expires_at timestamptz, t text, j text, unique (profile_id, tool_name));
             insert into elsewhere.profile_tool_connections values
                ('c1', '{ada}', 'drive', 'vault/secret/path', '{{read}}', 'active', now(), null, null),
                ('c2', '{ada}', 'mail', null, null, 'revoked', now(), now(), null),
                ('c3', 'p-unknown', 'drive', null, '{{}}', 'active', now(), null, null),
                ('c4', '{ada}', 'cal', null, null, 'odd', now(), null, null),
                ('c5', '{ada}', 'sheet', null, null, 'active', '-infinity', null, '9999-12-31 23:59:59+00'),
                ('c6', '{ada}', 'chat', null, null, 'active', now(), 'infinity', null),
                ('c7', '{ada}', 'docs', null, null, 'active', now(), null, '-infinity'),
                ('c8', 'cit_01J80000000000000000000001', 'drive', null, null, 'active', now(), null, null)"
        );
        owner.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(rows))).await.unwrap();
        yard.environment.push(("PROFILES_URL", url));
        yard.write("pg.toml", "database_url_env = 'PROFILES_URL'\ntable = 'elsewhere.profile_tool_connections'\n");
        let report = yard.import("pg:profile_tool_connections", "pg.toml", &[], 1);
        assert_eq!(counts(&report), json!([2, 0, 0, 0, 0, 2, 1]), "{report}");
        assert_eq!(number(&report, "ignored"), 3, "revoked at some time, and past every end: {report}");
        owner
            .execute("update elsewhere.profile_tool_connections set status = 'expired' where id = 'c1'")
            .await
            .unwrap();
        let report = yard.import("pg:profile_tool_connections", "pg.toml", &[], 1);
        assert_eq!(number(&report, "ended"), 1, "{report}");
        let held = yard.held(&ada, "pg:profile_tool_connections").await;
        assert!(matches!(&held[..], [(reference, _)] if reference == "c5"), "{held:?}");
        canary(&yard.place.home.dir, "vault/secret/path");
        // A view may fail on a value, and PostgreSQL repeats it: to those who read its log.
        owner
            .execute(
                "create view elsewhere.odd as select id, profile_id, tool_name, scopes, status, connected_at, revoked_at, \
                 oauth_token_ref::int as oauth_token_ref from elsewhere.profile_tool_connections",
            )
            .await
            .unwrap();
        yard.write("odd.toml", "database_url_env = 'PROFILES_URL'\ntable = 'elsewhere.odd'\n");
        let report = yard.import("pg:profile_tool_connections", "odd.toml", &[], 1);
        let unlisted = report["unlisted"].as_str().unwrap();
        assert!(unlisted.contains("SQLSTATE 22P02") && !report.to_string().contains("vault/"), "{report}");
        yard.write("missing.toml", "database_url_env = 'NOBODY_SET_THIS'\n");
        assert!(yard.import("pg:profile_tool_connections", "missing.toml", &[], 1)["unlisted"].is_string());
    });
}

#[test]
fn workflows_are_read_from_a_service() {
    block_on(async {
        let mut yard = Yard::open(Engine::Sqlite).await;
        let (ada, _) = town::human(&yard.http, "observer", "Ada").await;
        let body = json!({"workflows": [
            {"id": "w1", "name": "Welcome", "status": "published"}, {"id": "w2", "name": "Bill", "status": "draft"},
        ], "meta": {"nextPageUrl": null, "total": 2}});
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::{Read as _, Write as _};
                let (mut stream, body) = (stream.unwrap(), body.to_string());
                let mut request = [0; 4096];
                let read = stream.read(&mut request).unwrap();
                assert!(String::from_utf8_lossy(&request[..read]).contains("Bearer the-token"));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
                write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        yard.environment.push(("GHL_TOKEN", "the-token".to_owned()));
        let map = format!("url = '{base}'\nlocation = 'l'\ncredential_env = 'GHL_TOKEN'\ndefault = '{ada}'\n");
        yard.write("closed.toml", &map);
        let refused = yard.import("ghl:workflows", "closed.toml", &[], 1);
        assert!(refused["unlisted"].as_str().unwrap().contains("allow_private"), "{refused}");
        yard.write("ghl.toml", &format!("allow_private = true\n{map}"));
        let report = yard.import("ghl:workflows", "ghl.toml", &[], 0);
        assert_eq!((number(&report, "added"), number(&report, "ignored")), (1, 1), "{report}");
        assert_eq!(yard.held(&ada, "ghl:workflows").await.len(), 1);
    });
}
