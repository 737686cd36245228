//! No secret that stands anywhere in a source comes out anywhere: not in tables, files, answers or what programs say.

use super::*;

/// In every place of a source where it can stand; beside it something harmless, so that there is something to look at.
const CANARY: &str = "sk-loom-c0ffeec0ffeec0ffee";
const HARMLESS: &str = "harmless-marker";

impl Yard {
    /// Imports as often as people do, and says everything that anybody can read afterwards, anywhere. No file here holds the canary.
    async fn listen(&self, domain: &str, map: &str, holder: &str) -> String {
        let (map, key) = (self.path(map), self.key_file.to_str().unwrap());
        let mut all = String::new();
        for more in [&["--dry-run"][..], &["--dry-run", "--json"], &["--json"], &[], &["--confirm-loss", "--json"]] {
            let arguments = ["import", domain, "--map", map.to_str().unwrap(), "--key-file", key];
            let arguments = self.place.home.arguments(&[&arguments, more].concat());
            let ended = programs::run_with(&programs::guildhall(), &arguments, &self.environment).expect(1);
            all += &format!("{}{}", ended.stdout, ended.stderr);
        }
        let size = self.place.home.log().await.head().await.unwrap().size;
        let path = format!("/v1/holders/{holder}/grants?limit=500&ended=true&at_least={}", size - 1);
        let (_, grants) = self.http.get(&self.http.principal(), &path).await;
        assert!(grants.to_string().contains(HARMLESS), "details can be read by those who may: {grants}");
        let out = self.path(&format!("export-{}", domain.replace(':', "-")));
        let arguments = self.place.home.arguments(&["export", "--out", out.to_str().unwrap()]);
        programs::run(&programs::guildhall(), &arguments).expect(0);
        canary(&out, CANARY);
        canary(&self.place.home.dir, CANARY);
        all + &grants.to_string() + &self.server.said()
    }
}

/// What no maker's prefix tells: a word, a signed token, and chance. Each stands under a name, behind a mark, or is its row's own token.
const WORD: &str = "battery-staple-9q";
const SIGNED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsb29tIn0.c2lnbmF0dXJlLW9m";
const CHANCE: &str = "Zk3LmXq9TbV7wRcY2NdHs8PfGj4AeUx6";
const RAW: &str = "correct-horse-of-loom";
const HOOK: &str = "T00000000/B00000000/a8Zk3Qw9mN7pL2xR4vT6yB1c";
const USER: &str = "admin:Sup3rS3cretPassw0rd";
const ALL: [&str; 7] = [CANARY, WORD, SIGNED, CHANCE, RAW, HOOK, USER];
/// What sources call their things, and what nobody may take for a secret.
const HONEST: [&str; 12] = [
    "post_invoice",
    "Create-Invoice-For-Customer-2024-Q3-Region",
    "createInvoiceForCustomer2024WithTaxNumberV2",
    "sk-translation-review",
    "gh_pages_deployment_workflow",
    "password_reset",
    "ve9EPM428h8vShlRW1KT",
    "01M8GR6EZVA5MDVZ4XZBPYZ7RA",
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "https://github.com/org/repo/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709/tools",
];

impl Yard {
    /// None of all these secrets was said, or is in a file; and what is honest is held.
    async fn knows_none(&self, domain: &str, said: &str, holder: &str, honest: &[&str]) {
        for secret in ALL {
            let at = said.find(secret).map(|at| &said[at.saturating_sub(300)..(at + 100).min(said.len())]);
            assert_eq!(at, None, "{secret} came out");
            canary(&self.path(&format!("export-{}", domain.replace(':', "-"))), secret);
            canary(&self.place.home.dir, secret);
        }
        let held: Vec<String> = self.held(holder, domain).await.into_iter().map(|(held, _)| held).collect();
        for honest in honest {
            assert!(held.iter().any(|held| held == honest), "{honest} is not held: {held:?}");
        }
    }
}

#[test]
fn no_secret_comes_out_that_only_its_place_gives_away() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        let wrong = [
            format!("call/{CANARY}"),
            format!("[{CANARY}]"),
            format!("tool:{CHANCE}"),
            format!("({SIGNED}"),
            format!("postgres://{USER}@db.internal/prod"),
            format!("https://hooks.slack.com/services/{HOOK}"),
            format!("https://bus/a?token={WORD}"),
            WORD.to_owned(),
        ];
        let odd = json!({
            "name": "okay", "note": HARMLESS, "env": {"LEDGER_API_KEY": WORD, "PORT": 80}, "Pass-Word": WORD, "url": format!("https://bus/x/{CHANCE}"),
            "text": format!("at={SIGNED}, {WORD}, https://{USER}@db/x or https://hooks.slack.com/services/{HOOK}"), "deep": [{"refreshToken": [WORD]}],
        });
        let tools: Vec<Value> =
            wrong.iter().map(|name| json!(name)).chain([odd]).chain(HONEST.map(|name| json!(name))).collect();
        let manifest = json!({"name": "x", "version": "1", "client_secret": WORD, "mcp_tools": tools});
        yard.write("plugins/x/plugin.yaml", &manifest.to_string());
        yard.write("plugins.toml", &format!("paths = ['plugins']\ndefault = '{loom}'\n"));
        let said = yard.listen("plugin:yaml", "plugins.toml", &loom).await;
        yard.knows_none("plugin:yaml", &said, &loom, &[&HONEST[..], &["okay"]].concat()).await;
        assert!((0..wrong.len()).all(|number| said.contains(&format!("mcp_tools[{number}]"))), "{said}");

        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.path("edge.sqlite"));
        let mut edge = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let h = hash(RAW);
        let rows = HONEST.map(|id| {
            format!("('{id}', 'gaf', 'agent', '{}', '{HARMLESS}', null, null, null)", hash(&format!("of {id}")))
        });
        let sql = format!(
            "create table tokens (id text, workspace text, token_type text, token_hash text, label, raw_token, secret, revoked_at);
             insert into tokens values ('{RAW}', 'gaf', 'agent', '{h}', null, null, null, null),
                ('{WORD}', 'gaf', 'agent', '{h}', null, '{WORD}', null, null), ('t3', '{RAW}', 'agent', '{h}', null, null, null, null),
                ('t4', 'gaf', 'agent', '{h}', '{RAW}, {WORD}/{CHANCE} and {h}', '{CHANCE}', '{WORD}', null), {}",
            rows.join(", ")
        );
        edge.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
        yard.write("map.toml", &format!("paths = ['edge.sqlite']\n[holders]\n'workspace:gaf' = '{loom}'\n"));
        let said = yard.listen("d1:tokens", "map.toml", &loom).await;
        yard.knows_none("d1:tokens", &said, &loom, &[&HONEST[..], &["t4"]].concat()).await;
        assert!(!said.contains(&h), "the hash of a token is hashed again");
        assert_quiet(
            &said,
            &["tokens row 1: id is a secret", "tokens row 2: id is a secret", "tokens row 3: workspace is a secret"],
        );

        // At the door that is open to everybody who may import.
        for (reference, details) in [
            (format!("call/{CANARY}"), json!({})),
            ("t9".to_owned(), json!({"env": {"LEDGER_API_KEY": WORD}})),
            ("t9".to_owned(), json!({"text": format!("at/{CHANCE}")})),
        ] {
            let import = json!({"holder": loom, "kind": "tool", "ref": reference, "source": "plugin:yaml", "details": details.to_string()});
            let answer = yard.http.ask(&yard.http.principal(), "grant.import", import).await;
            assert!(!answer.is_accepted());
        }
        let said = yard.listen("plugin:yaml", "plugins.toml", &loom).await;
        yard.knows_none("plugin:yaml", &said, &loom, &HONEST).await;
    });
}

#[track_caller]
fn assert_quiet(said: &str, rows: &[&str]) {
    let at = said.find(CANARY).map(|at| &said[at.saturating_sub(300)..(at + 100).min(said.len())]);
    assert_eq!(at, None, "a secret came out");
    for row in rows {
        assert!(said.contains(row), "{row} was not reported:\n{said}");
    }
}

#[test]
fn no_secret_comes_out_of_token_files_and_databases() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        let good = json!({
            "token_hash": hash(CANARY), "agent": "loom", "active": true, "token": CANARY, "label": format!("use {CANARY}"),
            "note": HARMLESS, (CANARY): 1, "deep": {(CANARY): [CANARY]},
        });
        let mut rows = vec![good];
        for (field, value) in [("token_hash", CANARY), ("agent", CANARY), ("active", CANARY), ("scope", CANARY)] {
            let mut row = json!({"token_hash": hash(field), "agent": "loom", "active": true});
            row[field] = json!(value);
            rows.push(row);
        }
        rows.push(json!(CANARY));
        yard.write("tokens.json", &Value::from(rows).to_string());
        yard.write("half.json", &format!("[{{\"token\": \"{CANARY}\", {CANARY}"));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.path("edge.sqlite"));
        let mut edge = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let h = hash("edge");
        let sql = format!(
            "create table tokens (id text, workspace text, token_type text, token_hash text, label, created_at, \"{CANARY}\", revoked_at);
             insert into tokens values ('t1', 'gaf', 'agent', '{h}', '{CANARY}', null, '{CANARY}', null);
             insert into tokens values ('{CANARY}', 'gaf', 'agent', '{h}', null, null, null, null);
             insert into tokens values ('t3', '{CANARY}', 'agent', '{h}', null, null, null, null);
             insert into tokens values ('t4', 'gaf', '{CANARY}', '{h}', null, null, null, null);
             insert into tokens values ('t5', 'gaf', 'agent', '{CANARY}', null, null, null, null);
             insert into tokens values ('t6', 'gaf', 'agent', '{h}', null, '{CANARY}', null, null)"
        );
        edge.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
        let paths = "['edge.sqlite', 'tokens.json', 'half.json']";
        yard.write("map.toml", &format!("paths = {paths}\n[holders]\nloom = '{loom}'\n'workspace:gaf' = '{loom}'\n"));
        let said = yard.listen("d1:tokens", "map.toml", &loom).await;
        assert_quiet(
            &said,
            &["none of workspace:(hidden)", "none of (hidden)", "tokens row 6", "element 5", "half of it"],
        );
    });
}

#[test]
fn no_secret_comes_out_of_manifests_and_skills() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        let plugin = |folder: &str, text: String| yard.write(&format!("plugins/{folder}/plugin.yaml"), &text);
        plugin(
            "good",
            format!(
                "name: good\nversion: {CANARY}\ndisplay_name: {HARMLESS}\nmcp_tools:\n  - {CANARY}\n  - {{name: t1, description: {CANARY}, {CANARY}: 1}}\n  - 7\n"
            ),
        );
        plugin(CANARY, format!("name: {CANARY}\nversion: 1.0.0\nowner: {CANARY}\nmcp_tools: [t2]\n"));
        plugin("broken", format!("name: x\nversion: [{CANARY}\n"));
        plugin("twice", format!("name: x\n{CANARY}: 1\n{CANARY}: 2\n"));
        plugin("odd", format!("name: [{CANARY}]\nversion: 1.0.0\n"));
        plugin("anchor", format!("name: *{CANARY}\nversion: 1.0.0\n"));
        yard.write("plugins.toml", &format!("paths = ['plugins']\n[holders]\ngood = '{loom}'\n"));
        let said = yard.listen("plugin:yaml", "plugins.toml", &loom).await;
        assert_quiet(
            &said,
            &["none of (hidden), owner:(hidden)", "(hidden)/plugin.yaml", "broken/plugin.yaml", "mcp_tools[2]"],
        );

        let skill = |folder: &str, front: String| yard.write(&format!("skills/{folder}/SKILL.md"), &front);
        skill(
            "good",
            format!("---\nname: {CANARY}\ndescription: {HARMLESS}\nlabels: [{CANARY}]\n{CANARY}: 1\n---\n{CANARY}\n"),
        );
        skill("twin", format!("---\nname: {CANARY}\n---\n"));
        skill(CANARY, "---\nname: n\n---\n".to_owned());
        skill("grade", format!("---\nname: g\nfuel_grade: {CANARY}\n---\n"));
        skill("broken", format!("---\nname: [{CANARY}\n---\n"));
        yard.write("skills/cards/one.json", &format!("{{\"skill_id\": {CANARY}"));
        yard.write("skills/cards/two.json", &format!("{{\"skill_id\": \"c2\", \"name\": [\"{CANARY}\"]}}"));
        yard.write("skills.toml", &format!("paths = ['skills']\ndefault = '{loom}'\n"));
        let said = yard.listen("fs:skills", "skills.toml", &loom).await;
        assert_quiet(
            &said,
            &["a second skill", "(hidden)/SKILL.md", "fuel_grade is not", "one.json:1", "name is no text"],
        );
    });
}

#[test]
fn no_secret_comes_out_of_services() {
    block_on(async {
        let mut yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.environment.push(("GHL_TOKEN", CANARY.to_owned()));
        let first = json!({"workflows": [
            {"id": "w1", "name": format!("send {CANARY}"), "status": "published", "note": HARMLESS, (CANARY): CANARY},
            {"id": CANARY, "name": "n", "status": "published"},
            {"id": "w3", "name": "n", "status": CANARY}, {"id": [CANARY], "name": "n", "status": "draft"}, CANARY,
        ], "meta": {"nextPageUrl": format!("/workflows/?cursor={CANARY}")}});
        let refused = format!("no such token: {CANARY}");
        for (second, says) in [
            ("HTTP/1.1 401 Unauthorized", "answers 401"),
            ("HTTP/1.1 422 Unprocessable Entity", "answers 422"),
            ("HTTP/1.1 200 OK", "no whole JSON"),
        ] {
            let base = answering(vec![("HTTP/1.1 200 OK", first.to_string()), (second, refused.clone())]);
            let map = format!(
                "location = '{CANARY}'\ncredential_env = 'GHL_TOKEN'\nallow_private = true\ndefault = '{loom}'\n"
            );
            yard.write("ghl.toml", &format!("url = '{base}'\n{map}"));
            let said = yard.listen("ghl:workflows", "ghl.toml", &loom).await;
            assert_quiet(&said, &[says, "workflow 2", "workflow 3: status", "workflow 5"]);
        }
        yard.write("ghl.toml", &format!("url = 'http://{CANARY}@x/'\nlocation = 'l'\ncredential_env = 'GHL_TOKEN'\n"));
        assert_quiet(&yard.listen("ghl:workflows", "ghl.toml", &loom).await, &["is no plain http"]);
    });
}

/// A service that gives these answers by turns.
fn answering(answers: Vec<(&'static str, String)>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (stream, (status, body)) in listener.incoming().zip(answers.iter().cycle()) {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            assert!(String::from_utf8_lossy(&request[..read]).contains(&format!("Bearer {CANARY}")));
            let head = "content-type: application/json\r\nconnection: close\r\n";
            write!(stream, "{status}\r\n{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    base
}

#[test]
fn no_secret_comes_out_of_a_table_of_connections() {
    block_on(async {
        let mut yard = Yard::open(Engine::Postgres).await;
        let (ada, _) = town::human(&yard.http, "observer", "Ada").await;
        let url = yard.place.database.as_ref().unwrap().owner_url.clone();
        let mut owner = eventlog::testing::connect(&url).await;
        let rows = format!(
            "create schema elsewhere; create table elsewhere.connections (id text, profile_id text, tool_name text,
                oauth_token_ref text, scopes text[], status text, connected_at text, revoked_at text, note text, \"{CANARY}\" text);
             insert into elsewhere.connections values
                ('c1', '{ada}', 'drive {CANARY}', '{CANARY}', '{{{CANARY}}}', 'active', null, null, '{HARMLESS}', '{CANARY}'),
                ('c2', '{CANARY}', 'drive', null, null, 'active', null, null, null, null),
                ('c3', '{ada}', 'drive', null, null, '{CANARY}', null, null, null, null),
                ('c4', '{ada}', 'drive', null, null, 'active', '{CANARY}', null, null, null),
                ('{CANARY}', '{ada}', 'drive', null, null, 'active', null, null, null, null)"
        );
        owner.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(rows))).await.unwrap();
        yard.environment.push(("PROFILES_URL", url));
        yard.environment.push(("WRONG_URL", format!("postgres://me:{CANARY}@127.0.0.1:9/{CANARY}")));
        yard.environment.push(("NO_URL", format!("{CANARY} is no url")));
        yard.write("pg.toml", "database_url_env = 'PROFILES_URL'\ntable = 'elsewhere.connections'\n");
        let said = yard.listen("pg:profile_tool_connections", "pg.toml", &ada).await;
        assert_quiet(&said, &["none of (hidden)", "status is not", "connected_at is no time", "row 5"]);
        for (variable, says) in [("WRONG_URL", "refused"), ("NO_URL", "no PostgreSQL connection string")] {
            yard.write("wrong.toml", &format!("database_url_env = '{variable}'\n"));
            let said = yard.listen("pg:profile_tool_connections", "wrong.toml", &ada).await;
            assert_quiet(&said, &[says]);
        }
        // What the city keeps of it in the database of its own.
        let url = yard.place.database.as_ref().unwrap().owner_url.clone();
        let mut owner = eventlog::testing::connect(&url).await;
        let dumped: Vec<String> = sqlx::query_scalar(
            "select query_to_xml(format('select * from %I.%I', table_schema, table_name), true, false, '')::text
             from information_schema.tables where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema', 'elsewhere')",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        assert!(dumped.iter().any(|table| table.contains(&ada)), "there is something to look at");
        assert_quiet(&dumped.join("\n"), &[]);
    });
}
