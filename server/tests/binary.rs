//! The program as operators run it: started, used, asked beside the running server, stopped by a signal, started again.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

fn guildhall(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GUILDHALL_")) {
        command.env_remove(name);
    }
    command.current_dir(dir).env("GUILDHALL_DATA_DIR", dir.join("data")).stdin(Stdio::null());
    command
}

/// A server process, and what it said at its start.
struct Server {
    child: Child,
    url: String,
    key: Option<String>,
    errors: std::thread::JoinHandle<String>,
}

impl Server {
    fn start(dir: &Path) -> Self {
        Self::start_in(dir, &[])
    }

    /// With these variables of the environment.
    fn start_in(dir: &Path, environment: &[(&str, &Path)]) -> Self {
        let mut command = guildhall(dir);
        command
            .envs(environment.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .env("GUILDHALL_LOG__FILTER", "trace");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(first.starts_with("guildhall "), "{first:?}\n{}", errors.join().unwrap());
        let url = lines.next().unwrap().unwrap();
        let key = std::thread::spawn(move || {
            // Only a new city says more; the rest of the output is read so that the pipe stays open.
            lines.map_while(Result::ok).map(|line| line.trim().to_owned()).find(|line| line.starts_with("gh_"))
        });
        let deadline = Instant::now() + Duration::from_secs(2);
        while !key.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let key = if key.is_finished() { key.join().unwrap() } else { None };
        Self { child, url, key, errors }
    }

    /// Sends SIGTERM and returns everything that was logged.
    fn stop(mut self) -> String {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = self.child.wait().unwrap();
        let logged = self.errors.join().unwrap();
        assert!(status.success(), "{status}\n{logged}");
        logged
    }

    async fn post(&self, key: &str, path: &str, body: Value) -> Value {
        let request = http_client().post(format!("{}/v1{path}", self.url)).bearer_auth(key).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }
}

#[track_caller]
fn ran(output: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out.into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&ran(output, 0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_the_life_of_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let key = server.key.clone().expect("a new city shows its first key");

    // Used over HTTP, with things that must never be logged.
    let founded =
        server.post(&key, "/guilds", json!({ "slug": "weavers", "kind": "community", "name": "A SECRET NAME" })).await;
    assert_eq!(founded["outcome"], "done", "{founded}");
    let refused = server.post("gh_NOTAKEYATALL", "/guilds", json!({ "slug": "x", "name": "TYPED BY SOMEBODY" })).await;
    assert_eq!(refused["code"], "credential_malformed");
    let malformed =
        server.post(&key, "/guilds", json!({ "slug": "MALFORMED SLUG", "kind": "community", "name": "x" })).await;
    assert_eq!(malformed["field"], "slug");
    let numbers = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    assert!(numbers.contains("guildhall_commands_total"), "{numbers}");

    // Subcommands beside the running server.
    let run = |arguments: &[&str]| guildhall(dir.path()).args(arguments).env("GUILDHALL_KEY", &key).output().unwrap();
    let second = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(2), "a second writer is refused");
    let keys = json_of(&run(&["keys", "list", "--json"]));
    let principal = keys[0]["citizen"].as_str().unwrap().to_owned();
    let issued = json_of(&run(&["keys", "new", &principal, "--actions", "query.city", "--json"]));
    let narrow = issued["api_key"].as_str().unwrap().to_owned();
    let narrow_id = identity::PresentedKey::parse(&narrow).unwrap().id().to_string();
    let refused =
        guildhall(dir.path()).args(["keys", "new", &principal]).env("GUILDHALL_KEY", &narrow).output().unwrap();
    ran(&refused, 1);
    ran(&run(&["keys", "revoke", &narrow_id]), 0);
    let anchored = json_of(&run(&["anchor", "now", "--json"]));
    assert!(anchored["key"].as_str().unwrap().starts_with("anchors/"), "{anchored}");
    assert!(!ran(&run(&["anchor", "list"]), 0).is_empty());
    // Read by somebody who has gone, as by `head`; and written where there is no room.
    for command in [["anchor", "list"], ["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = guildhall(dir.path()).args(command).stdout(writer).output().unwrap();
        assert_eq!((gone.status.code(), String::from_utf8_lossy(&gone.stderr).as_ref()), (Some(0), ""), "{command:?}");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = guildhall(dir.path()).args(command).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(2), "{command:?}");
        assert!(String::from_utf8_lossy(&full.stderr).starts_with("standard output cannot be written"), "{full:?}");
    }
    assert_eq!(json_of(&run(&["anchor", "status", "--json"]))["trouble"], Value::Null);
    assert_eq!(json_of(&run(&["replay", "--check", "--json"]))["differences"], 0);
    ran(&run(&["replay"]), 0);
    let exported = json_of(&run(&["export", "--out", "export", "--json"]));
    assert!(exported["files"].as_u64().unwrap() > 0 && dir.path().join("export/checkpoint").exists(), "{exported}");
    ran(&run(&["doctor"]), 0);
    let checkpoint = reqwest::get(format!("{}/checkpoint", server.url)).await.unwrap();
    assert_eq!(checkpoint.status(), 200);
    let receipt = http_client().get(format!("{}/v1/receipts/0", server.url)).bearer_auth(&key).send().await.unwrap();
    let receipt: Value = receipt.json().await.unwrap();
    assert!(receipt["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1"), "{receipt}");

    // Nothing secret and nothing typed in the log lines, at the most talkative level.
    let logged = server.stop();
    assert!(logged.lines().filter(|line| line.contains("\"request\"")).count() > 5, "{logged}");
    for secret in
        [&key[30..60], &narrow[30..60], "A SECRET NAME", "TYPED BY SOMEBODY", "MALFORMED SLUG", "NOTAKEYATALL"]
    {
        assert!(!logged.contains(secret), "{secret:?} was logged");
    }

    // Without a server, and then with another one.
    assert_eq!(json_of(&run(&["replay", "--check", "--json"]))["differences"], 0);
    ran(&run(&["anchor", "now"]), 0);
    ran(&run(&["export", "--out", "again", "--published"]), 0);
    let server = Server::start(dir.path());
    assert_eq!(server.key, None, "the key is shown once");
    let again = server.post(&key, "/guilds", json!({ "slug": "weavers", "kind": "community", "name": "x" })).await;
    assert_eq!(again["code"], "slug_taken");
    server.stop();
}

async fn entries(dir: &Path) -> u64 {
    let location = eventlog::Location::Sqlite { dir: dir.join("data") };
    let origin = std::fs::read_to_string(dir.join("data/origin")).unwrap().trim().to_owned();
    let config = eventlog::LogConfig { location, origin, allow_unsafe: false, allow_owner: false, create: false };
    eventlog::Log::open(config).await.unwrap().head().await.unwrap().size
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_does_not_start_with_another_citys_secrets() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path()).stop();
    let before = entries(dir.path()).await;
    let other = "0123456789abcdef".repeat(4);
    let serve = || {
        let mut command = guildhall(dir.path());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command
    };
    let refused = serve().env("GUILDHALL_MASTER_KEY", &other).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("master.key"), "{refused:?}");
    let pepper = dir.path().join("data/pepper.key");
    let own = std::fs::read_to_string(&pepper).unwrap();
    std::fs::write(&pepper, format!("{other}\n")).unwrap();
    let refused = serve().output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pepper.key is not this city's"), "{refused:?}");
    assert_eq!(entries(dir.path()).await, before);
    std::fs::write(&pepper, own).unwrap();
    Server::start(dir.path()).stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_does_not_call_a_city_well_that_would_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let doctor = || {
        let output = guildhall(dir.path()).arg("doctor").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    Server::start(dir.path()).stop();
    assert_eq!(doctor().0, Some(0), "{}", doctor().1);

    let old = dir.path().join("old");
    std::fs::create_dir(&old).unwrap();
    // What is not in the file yet is in the one beside it.
    for part in ["log.db", "log.db-wal"] {
        let _ = std::fs::copy(data.join(part), old.join(part));
    }
    std::fs::rename(data.join("pepper.key"), old.join("pepper.key")).unwrap();
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("pepper.key is missing, and this city is not new"), "{said}");
    std::fs::rename(old.join("pepper.key"), data.join("pepper.key")).unwrap();

    let pepper = std::fs::read_to_string(data.join("pepper.key")).unwrap();
    std::fs::write(data.join("pepper.key"), format!("{}\n", "0123456789abcdef".repeat(4))).unwrap();
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("pepper.key is not this city's"), "{said}");
    std::fs::write(data.join("pepper.key"), pepper).unwrap();

    // More is signed, then the old log comes back.
    ran(&guildhall(dir.path()).args(["anchor", "now"]).output().unwrap(), 0);
    ran(&guildhall(dir.path()).args(["anchor", "now"]).output().unwrap(), 0);
    for leftover in ["log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(data.join(leftover));
    }
    for part in ["log.db", "log.db-wal"] {
        let _ = std::fs::copy(old.join(part), data.join(part));
    }
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("WRONG   published"), "{said}");

    // A directory whose log is elsewhere gets no empty one.
    std::fs::remove_file(data.join("log.db")).unwrap();
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("restore its log from a backup"), "{said}");
    let refused = guildhall(dir.path()).args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is --database-url missing"), "{refused:?}");
    assert!(!data.join("log.db").exists());
}

#[test]
fn a_mapping_file_that_cannot_be_used_is_spoken_of_at_the_start_and_by_the_doctor() {
    const SETTING: &str = "GUILDHALL_SOURCES__TOKENS";
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path()).stop();
    let map = dir.path().join("tokens.toml");
    let doctor = || {
        let output = guildhall(dir.path()).arg("doctor").env(SETTING, &map).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (text, says) in [
        (None, "No such file"),
        (Some("paths = ['tokens.json'"), "tokens.toml"),
        (Some("paths = ['.', 'nowhere.json', 'no-folder']"), "names what is not there: "),
    ] {
        if let Some(text) = text {
            std::fs::write(&map, text).unwrap();
        }
        let (code, said) = doctor();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("WRONG   sources    d1:tokens: its mapping file (sources.tokens) cannot be used"),
            "{said}"
        );
        assert!(said.contains(says), "{said}");
    }
    assert!(doctor().1.contains("nowhere.json") && doctor().1.contains("no-folder"));
    let logged = Server::start_in(dir.path(), &[(SETTING, &map)]).stop();
    assert!(logged.contains("d1:tokens: its mapping file (sources.tokens) cannot be used"), "{logged}");
    std::fs::write(&map, "paths = ['.']").unwrap();
    assert_eq!(doctor().0, Some(0), "{}", doctor().1);
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| guildhall(dir.path()).args(arguments).output().unwrap();
    for arguments in [&["keys", "list"][..], &["replay", "--check"], &["anchor", "now"], &["export", "--out", "x"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("guildhall serve"), "{arguments:?}: {said}");
    }
    assert!(!dir.path().join("data").exists(), "asking makes nothing");
    ran(&run(&["doctor"]), 1);
    ran(&run(&["no-such-thing"]), 2);
    ran(&guildhall(dir.path()).args(["doctor"]).env("GUILDHALL_NO_SUCH", "1").output().unwrap(), 1);
    for subcommand in ["serve", "demo", "replay", "export", "migrate", "doctor", "completions"] {
        assert!(ran(&run(&[subcommand, "--help"]), 0).contains("Examples:"), "{subcommand}");
    }
    assert!(ran(&run(&["completions", "bash"]), 0).contains("guildhall"));
    ran(&run(&["migrate"]), 0);
    assert!(dir.path().join("data/log.db").exists());
}

fn http_client() -> reqwest::Client {
    sources::prepare_tls();
    reqwest::Client::new()
}
