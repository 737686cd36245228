//! Who may say what a source has, and what becomes of what others say.

use super::*;

/// Three tokens of loom, brought by a principal; and a file with one other token, which somebody else brings.
async fn yard_with_tokens() -> (Yard, String) {
    let yard = Yard::open(Engine::Sqlite).await;
    let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
    let tokens = |names: &[&str]| {
        let token = |name: &&str| json!({"token_hash": hash(name), "agent": "loom", "active": true});
        Value::from(names.iter().map(token).collect::<Vec<_>>()).to_string()
    };
    yard.write("tokens.json", &tokens(&["t1", "t2", "t3"]));
    yard.write("co/t.json", &tokens(&["t4"]));
    for (map, file) in [("map.toml", "tokens.json"), ("co/t.toml", "t.json")] {
        yard.write(map, &format!("paths = ['{file}']\n[holders]\nloom = '{loom}'\n"));
    }
    assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "added"), 3);
    (yard, loom)
}

impl Yard {
    /// An import with this caller's key, and how it ends.
    fn import_as(&self, who: &Who, map: &str, more: &[&str], code: i32) -> Ended {
        let key = self.path("caller.key");
        fs::write(&key, &who.0).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let map = self.path(map);
        let arguments = ["import", "d1:tokens", "--map", map.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
        self.say(&[&arguments, more].concat(), code)
    }
}

/// How many entries there are, without those that a server makes about the log itself.
async fn recorded(yard: &Yard) -> usize {
    let entries = yard.place.home.log().await.read(0, 1000).await.unwrap();
    entries.iter().filter(|entry| !["log", "refusals"].contains(&entry.stream.as_str())).count()
}

#[test]
fn whoever_may_not_import_ends_and_confirms_nothing() {
    block_on(async {
        let (yard, loom) = yard_with_tokens().await;
        let (_, coordinator) = town::human(&yard.http, "coordinator", "Co").await;
        let before = recorded(&yard).await;
        for more in [&["--confirm-loss"][..], &["--dry-run"], &["--confirm-loss", "--dry-run", "--json"], &[]] {
            for map in ["co/t.toml", "map.toml"] {
                let ended = yard.import_as(&coordinator, map, more, 2);
                let says = ["not_the_source_owner", "city.assign_source", "runs as a service"];
                assert!(says.iter().all(|says| ended.stderr.contains(says)), "{more:?}: {}", ended.stderr);
                assert!(!ended.stdout.contains("added") && !ended.stdout.contains("gone"), "{}", ended.stdout);
            }
        }
        let held = yard.held(&loom, "d1:tokens").await;
        assert_eq!(held.len(), 3);
        for verdict in ["gone", "alive"] {
            let findings: Vec<Value> =
                held.iter().map(|(_, grant)| json!({"holder": loom, "grant": grant, "verdict": verdict})).collect();
            for dry in [true, false] {
                let ask = json!({
                    "do": "import", "api_key": coordinator.0, "source": "d1:tokens", "imports": [], "dry": dry,
                    "findings": {"asked_at": town::in_seconds(0), "all": findings},
                });
                let refused = socket(&yard.place.home.dir, &ask);
                assert_eq!(refused["problem"]["code"], "not_the_source_owner", "{refused}");
            }
        }
        assert_eq!(recorded(&yard).await, before, "and nothing is on record");
    });
}

#[test]
fn what_an_import_found_out_names_who_imported() {
    block_on(async {
        let (yard, loom) = yard_with_tokens().await;
        let principal = yard.http.principal();
        let (owner_id, owner) = town::human(&yard.http, "coordinator", "Owner").await;
        let assign = json!({"source": "d1:tokens", "owner": owner_id});
        yard.http.ask(&principal, "city.assign_source", assign).await.accepted();
        let (service_id, service) =
            town::citizen(&yard.http, "coordinator", json!({"kind": "service", "name": "Importer"})).await;
        let (_, grant) = yard.held(&loom, "d1:tokens").await[0].clone();
        yard.import_as(&owner, "map.toml", &[], 0);
        yard.import_as(&service, "co/t.toml", &["--confirm-loss"], 0);
        let size = yard.place.home.log().await.head().await.unwrap().size;
        let (_, page) = yard.http.get(&principal, &format!("/v1/grants/{grant}/history?at_least={}", size - 1)).await;
        let told = |happened: &Value| {
            let text = |name: &str| happened[name].as_str().unwrap_or("-").to_owned();
            (text("event"), text("actor_kind"), text("on_behalf_of"))
        };
        let happened: Vec<_> = page["items"].as_array().unwrap().iter().map(told).collect();
        let system = |event: &str, caller: &str| (event.to_owned(), "system".to_owned(), caller.to_owned());
        assert_eq!(happened[0].2, "-", "whoever imports does so in their own name: {page}");
        assert_eq!(
            happened[1..],
            [system("grant.verified.v1", &owner_id), system("grant.orphaned.v1", &service_id)],
            "{page}"
        );
        assert_eq!(yard.held(&loom, "d1:tokens").await.len(), 1);
    });
}

#[test]
fn nothing_that_stands_in_a_mapping_file_is_printed() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (token, word) = ("pit-550e8400-e29b-41d4-a716-446655440000", "hunter2-of-the-north");
        let key = yard.key_file.to_str().unwrap();
        for (domain, text, says) in [
            (
                "ghl:workflows",
                format!("url = 'https://x'\nlocation = 'l'\ncredential = \"{token}\"\n"),
                "line 3: unknown field `credential`",
            ),
            (
                "ghl:workflows",
                format!("url = 'https://x'\nlocation = 'l'\ncredential_env = \"{token}\"\n"),
                "is no name of a variable",
            ),
            (
                "pg:profile_tool_connections",
                format!("database_url = \"postgres://app:{word}@db/x\"\n"),
                "line 1: unknown field `database_url`",
            ),
            ("fs:skills", format!("paths = ['x']\nsecret = \"{word}\n"), "line 2: "),
        ] {
            yard.write("bad.toml", &text);
            let map = yard.path("bad.toml");
            let ended = yard.say(&["import", domain, "--map", map.to_str().unwrap(), "--key-file", key], 2);
            let said = ended.stdout + &ended.stderr;
            assert!(said.contains(says) && !said.contains(word) && !said.contains(token), "{text}: {said}");
        }
    });
}
