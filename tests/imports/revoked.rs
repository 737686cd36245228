//! What a source says was taken away is taken away here.

use super::*;

#[test]
fn what_a_table_says_was_revoked_ends_whether_or_not_it_can_be_read() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("map.toml", &format!("paths = ['edge.sqlite']\n[holders]\n'workspace:gaf' = '{loom}'\n"));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.path("edge.sqlite"));
        let mut edge = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let columns = "(id text, workspace text, token_type text, token_hash text, created_at, revoked_at)";
        for table in ["tokens", "workspace_tokens"] {
            edge.execute(sqlx::AssertSqlSafe(format!("create table {table} {columns}"))).await.unwrap();
        }
        for number in 0..10 {
            let id = format!("t{number}");
            let row =
                format!("insert into tokens values ('{id}', 'gaf', 'agent', '{}', 1775120400.5, null)", hash(&id));
            edge.execute(sqlx::AssertSqlSafe(row)).await.unwrap();
        }
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "added"), 10);

        edge.execute("update tokens set revoked_at = 1775120400.25 where id = 't1'").await.unwrap();
        edge.execute("update tokens set revoked_at = 'when' where id = 't2'").await.unwrap();
        edge.execute("update tokens set revoked_at = x'00', created_at = 'soon' where id = 't3'").await.unwrap();
        edge.execute("update tokens set revoked_at = '2026-04-03', created_at = 'soon' where id = 't4'").await.unwrap();
        edge.execute("update tokens set created_at = 'soon' where id = 't5'").await.unwrap();
        let row = "insert into workspace_tokens select id, workspace, token_type, token_hash, null, -1 from tokens where id = 't6'";
        edge.execute(row).await.unwrap();
        let dry = yard.import("d1:tokens", "map.toml", &["--dry-run"], 1);
        let report = yard.import("d1:tokens", "map.toml", &[], 1);
        for report in [dry, report] {
            // Wrong are four rows, and the second one of t6.
            assert_eq!(counts(&report), json!([0, 4, 5, 0, 0, 0, 5]), "{report}");
            assert_eq!(number(&report, "unknown"), 1, "of t5 nothing is known: {report}");
        }
        let held: Vec<String> = yard.held(&loom, "d1:tokens").await.into_iter().map(|(held, _)| held).collect();
        assert_eq!(held, ["t0", "t5", "t7", "t8", "t9"]);
        let again = yard.import("d1:tokens", "map.toml", &[], 1);
        assert_eq!(counts(&again), json!([0, 4, 0, 0, 0, 0, 5]), "{again}");

        edge.execute("update tokens set workspace = 'elsewhere', revoked_at = 1 where id = 't8'").await.unwrap();
        edge.execute("update tokens set workspace = 'elsewhere' where id = 't9'").await.unwrap();
        let report = yard.import("d1:tokens", "map.toml", &[], 1);
        assert_eq!(counts(&report), json!([0, 2, 1, 0, 0, 2, 5]), "whoever held it: {report}");

        // What says so counts even if nothing is listed to its end.
        edge.execute("update tokens set revoked_at = '0000-00-00' where id = 't7'").await.unwrap();
        yard.write(
            "map.toml",
            &format!("paths = ['gone.json', 'edge.sqlite']\n[holders]\n'workspace:gaf' = '{loom}'\n"),
        );
        let report = yard.import("d1:tokens", "map.toml", &[], 1);
        assert!(report["unlisted"].is_string() && number(&report, "ended") == 1, "{report}");
    });
}

#[test]
fn what_is_not_to_come_back_is_shown_so() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (loom, _) = town::human(&yard.http, "observer", "Loom").await;
        yard.write("map.toml", &format!("paths = ['tokens.json']\n[holders]\nloom = '{loom}'\n"));
        let tokens = |active: bool| {
            let token = |name: &str, active| json!({"token_hash": hash(name), "agent": "loom", "active": active});
            yard.write("tokens.json", &json!([token("t1", active), token("t2", true)]).to_string());
        };
        tokens(true);
        yard.import("d1:tokens", "map.toml", &[], 0);
        let first = &hash("t1")[..16];
        let grant = yard.held(&loom, "d1:tokens").await.into_iter().find(|(held, _)| held == first).unwrap().1;
        tokens(false);
        yard.import("d1:tokens", "map.toml", &[], 0);
        let shown = async || {
            let size = yard.place.home.log().await.head().await.unwrap().size;
            let path = format!("/v1/grants/{grant}?at_least={}", size - 1);
            let row = yard.http.get(&yard.http.principal(), &path).await.1;
            let table = yard.say(&["inventory", "show", &loom, "--ended"], 0).stdout;
            let line = table.lines().find(|line| line.contains(first)).unwrap().to_owned();
            (row["withheld"].clone(), row["status"].clone(), line)
        };
        let (withheld, status, line) = shown().await;
        assert_eq!((withheld, status), (json!(false), json!("revoked")));
        assert!(line.contains(" revoked ") && line.ends_with(" -"), "with what ended nothing can be done: {line}");
        yard.http.ask(&yard.http.principal(), "grant.revoke", json!({"holder": loom, "grant": grant})).await.accepted();
        let (withheld, status, line) = shown().await;
        assert_eq!((withheld, status), (json!(true), json!("revoked")));
        assert!(line.contains(" withheld ") && line.ends_with(" -"), "{line}");
        tokens(true);
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "withheld"), 1);

        let (owner_id, owner) = town::human(&yard.http, "coordinator", "Owner").await;
        let assign = json!({"source": "d1:tokens", "owner": owner_id});
        yard.http.ask(&yard.http.principal(), "city.assign_source", assign).await.accepted();
        let again = json!({"holder": loom, "kind": "credential", "ref": first, "source": "d1:tokens"});
        yard.http.ask(&owner, "grant.grant", again).await.accepted();
        assert_eq!(shown().await.0, json!(false), "whoever owns the source gave it again");
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "withheld"), 0);
    });
}

#[test]
fn a_token_ends_by_no_row_about_another_one_of_the_same_number() {
    block_on(async {
        let yard = Yard::open(Engine::Sqlite).await;
        let (ann, _) = town::human(&yard.http, "observer", "Ann").await;
        let (ben, _) = town::human(&yard.http, "observer", "Ben").await;
        let export = async |name: &str, token: &str, workspace: &str, revoked: &str| {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(yard.path(name));
            let mut edge = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
            let table =
                "create table tokens (id integer, workspace text, token_type text, token_hash text, revoked_at)";
            edge.execute(table).await.unwrap();
            let row = format!("insert into tokens values (1, '{workspace}', 'agent', '{}', {revoked})", hash(token));
            edge.execute(sqlx::AssertSqlSafe(row)).await.unwrap();
        };
        export("one.sqlite", "a", "one", "null").await;
        export("two.sqlite", "b", "two", "1775120400").await;
        let map = |paths: &str| {
            let holders = format!("'workspace:one' = '{ann}'\n'workspace:two' = '{ben}'\n");
            yard.write("map.toml", &format!("paths = [{paths}]\n[holders]\n{holders}"));
        };
        map("'one.sqlite'");
        assert_eq!(number(&yard.import("d1:tokens", "map.toml", &[], 0), "added"), 1);
        for paths in ["'one.sqlite', 'two.sqlite'", "'two.sqlite', 'one.sqlite'"] {
            map(paths);
            let report = yard.import("d1:tokens", "map.toml", &[], 1);
            assert_eq!((number(&report, "ended"), number(&report, "wrong")), (0, 1), "{report}");
            assert!(report["rows"][0]["what"].as_str().unwrap().contains("neither counts"), "{report}");
            assert_eq!(yard.held(&ann, "d1:tokens").await.len(), 1);
        }
    });
}
