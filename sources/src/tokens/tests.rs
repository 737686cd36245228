//! Token files and databases as they are met.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::{Item, Wrong};

fn keyed() -> KeyedHash {
    Arc::new(|bytes| hex(&Sha256::digest([b"key".as_slice(), bytes].concat())))
}

async fn items(path: &Path) -> (Result<(), Unlisted>, Vec<Item>) {
    let (sender, mut receiver) = mpsc::channel(1000);
    let text = format!("paths = ['{}']", path.display());
    let file = path.with_extension("map");
    std::fs::write(&file, text).unwrap();
    let map = Map::read(domain::grant::kind::Source::D1Tokens, &file).unwrap();
    let listed = list(&map, &keyed(), &Sink::new(sender)).await;
    (listed, std::iter::from_fn(|| receiver.try_recv().ok()).collect())
}

fn told(items: &[Item]) -> Vec<String> {
    let tell = |item: &Item| match item {
        Item::Listed(listed) => format!("{} {} {:?}", listed.names[0], listed.reference, listed.life),
        Item::Wrong(Wrong { place, what, about }) => {
            format!("{}: {what}; {about:?}", place.rsplit_once(": ").unwrap().1)
        }
    };
    items.iter().map(tell).collect()
}

#[tokio::test]
async fn a_json_file_is_read_element_by_element_and_no_token_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let raw = "sk-loom-0123456789abcdef0123";
    let hash = hex(&Sha256::digest(raw.as_bytes()));
    let text = format!(
        r#"[{{"token_hash":"{hash}","agent":"loom","active":true,"project":null,"token":"{raw}","label":"use {raw}"}},
           {{"token_hash":"60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752","agent":"gaf-bot","active":false,"scope":"tenant"}},
           {{"token_hash":"short","agent":"x","active":true}}, 7, {{"agent":"x"}},
           {{"token_hash":"{hash}","agent":"Loom","active":true}}, {{"token_hash":"{hash}","agent":"loom","active":"yes"}},
           {{"token_hash":"{hash}","agent":"loom","active":true,"token":"another"}},
           {{"token_hash":"{hash}","agent":"loom","active":true,"is_admin":"yes"}},
           {{"token_hash":"{hash}","agent":"loom","active":false,"label":7}}, {{"token_hash":"{hash}","agent":7,"active":false}}]"#
    );
    std::fs::write(&path, &text).unwrap();
    let (listed, items) = items(&path).await;
    listed.unwrap();
    assert_eq!(
        told(&items),
        [
            format!("loom {} Living", &hash[..16]),
            "gaf-bot 60303ae22b998861 Revoked".to_owned(),
            "element 2: token_hash is not 64 lower-case hexadecimal digits; Anything".to_owned(),
            "element 3: is no object; Anything".to_owned(),
            "element 4: token_hash is missing; Anything".to_owned(),
            format!("element 5: agent is no lower-case name; Refs([{}])", &hash[..16]),
            format!("element 6: active is no boolean; Refs([{}])", &hash[..16]),
            format!("element 7: token_hash is not the hash of token; Refs([{}])", &hash[..16]),
            format!("element 8: is_admin is not a boolean; Refs([{}])", &hash[..16]),
            format!("element 9: label is not a text; Ended([{}])", &hash[..16]),
            format!("element 10: agent is no lower-case name; Ended([{}])", &hash[..16]),
        ]
    );
    let all = format!("{items:?}");
    assert!(!all.contains(raw) && !all.contains(&hash), "{all}");
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    let (cut, items) = self::items(&path).await;
    assert_eq!(cut.unwrap_err().kind, domain::grant::event::FailureKind::Malformed);
    assert_eq!(items.len(), 10, "what stands before the cut is read");
    for alone in [format!("\"{raw}\""), format!("[1] \"{raw}\""), format!("[\"{raw}\" \"x\"]")] {
        std::fs::write(&path, &alone).unwrap();
        let (listed, items) = self::items(&path).await;
        let said = format!("{listed:?} {items:?}");
        assert!(listed.is_err() && !said.contains(raw), "{said}");
    }
}

#[tokio::test]
async fn an_element_that_is_too_long_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let good = json!({"token_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "agent": "loom", "active": true});
    // Brackets, commas, quotes and backslashes inside a text end nothing.
    let text = r#"]},{[\"\\"#.repeat(MAX_ELEMENT / 4);
    for label in ["x".repeat(MAX_ELEMENT), "x".repeat(3 << 20), text] {
        let long = format!(r#"{{"label":"{label}","deep":[[{{}}],{{"a":[]}}]}}"#);
        std::fs::write(&path, format!("[{good},{long},{good}]")).unwrap();
        let (listed, rows) = items(&path).await;
        listed.unwrap();
        let listed = "loom 9f86d081884c7d65 Living";
        assert_eq!(told(&rows), [listed, "element 1: is longer than 64 KiB; Anything", listed]);
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_keeps_nobody_from_reading_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, mut receiver) = mpsc::channel(1000);
    std::fs::write(dir.path().join("half.json"), "[7, {").unwrap();
    std::fs::write(dir.path().join("whole.json"), "[7]").unwrap();
    let map = dir.path().join("map.toml");
    std::fs::write(&map, "paths = ['missing.json', 'half.json', 'whole.json']").unwrap();
    let map = Map::read(domain::grant::kind::Source::D1Tokens, &map).unwrap();
    let listed = list(&map, &keyed(), &Sink::new(sender)).await;
    assert!(listed.unwrap_err().place.ends_with("missing.json"));
    let items: Vec<Item> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    assert_eq!(told(&items), ["element 0: is no object; Anything"; 2]);
}

#[tokio::test]
async fn a_database_file_is_read_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let sql = format!(
        "create table workspace_tokens (id text, workspace_id text, token_type text, token_hash text, created_at, revoked_at, extra blob);
         insert into workspace_tokens values ('t1', 'gaf', 'agent', '{hash}', 1775120400, null, x'00');
         insert into workspace_tokens values ('t2', 'gaf', 'readonly', '{hash}', '2026-04-02 09:00:00', '2026-04-03T09:00:00Z', null);
         insert into workspace_tokens values ('t3', null, 'agent', '{hash}', null, null, null);
         insert into workspace_tokens values ('t4', 'gaf', 'admin', '{hash}', null, null, null);
         insert into workspace_tokens values ('t5', 'gaf', 'agent', '{hash}', 'soon', null, null);
         insert into workspace_tokens values (null, 'gaf', 'agent', '{hash}', null, null, null);
         insert into workspace_tokens values ('t7', 'gaf', 'agent', '{hash}', null, x'323032362d30342d3033', null);
         insert into workspace_tokens values ('t8', 'gaf', 'agent', '{hash}', null, cast(x'ff32303236' as text), null);
         insert into workspace_tokens values ('t9', 'gaf', 'agent', '{hash}', x'00', null, null);
         insert into workspace_tokens values ('t10', 'gaf', x'6167656e74', '{hash}', null, null, null);
         insert into workspace_tokens values (x'743131', 'gaf', 'agent', '{hash}', null, null, null);
         insert into workspace_tokens values ('t12', x'676166', 'agent', '{hash}', null, null, null);"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    let (listed, items) = items(&path).await;
    listed.unwrap();
    assert_eq!(
        told(&items),
        [
            "workspace:gaf t1 Living",
            "workspace:gaf t2 Revoked",
            "workspace_tokens row 3: workspace is missing; Refs([t3])",
            "workspace_tokens row 4: token_type is not agent, squad or readonly; Refs([t4])",
            "workspace_tokens row 5: created_at is no time; Refs([t5])",
            "workspace_tokens row 6: id is missing; Anything",
            "workspace_tokens row 7: revoked_at is no text; Ended([t7])",
            "workspace_tokens row 8: revoked_at is no text; Ended([t8])",
            "workspace_tokens row 9: created_at is no text; Refs([t9])",
            "workspace_tokens row 10: token_type is no text; Refs([t10])",
            "workspace_tokens row 11: id is no text; Anything",
            "workspace_tokens row 12: workspace_id is no text; Refs([t12])",
        ]
    );
    assert!(matches!(&items[1], Item::Listed(listed) if listed.read_only));
    assert!(!format!("{items:?}").contains(hash));
}

#[tokio::test]
async fn a_database_file_with_both_tables_is_read_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let sql = format!(
        "create table workspace_tokens (id text, workspace_id text, token_type text, token_hash text, revoked_at);
         create table tokens (id text, workspace text, token_type text, token_hash text, revoked_at);
         insert into workspace_tokens values ('w1', 'gaf', 'agent', '{hash}', null);
         insert into tokens values ('t1', 'gaf', 'squad', '{hash}', null);"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    let (listed, items) = items(&path).await;
    listed.unwrap();
    assert_eq!(told(&items), ["workspace:gaf t1 Living", "workspace:gaf w1 Living"]);
}

#[tokio::test]
async fn what_one_row_says_was_revoked_is_revoked_whatever_another_says() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for (first, second) in [("null", "1775120400.25"), ("1775120400.25", "null"), ("null", "'when'"), ("-1.5", "null")]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        let sql = format!(
            "create table workspace_tokens (id, workspace_id text, token_type text, token_hash text, revoked_at);
             create table tokens (id text, workspace text, token_type text, token_hash text, revoked_at);
             insert into tokens values ('7', 'gaf', 'squad', '{hash}', {first}), ('8', 'gaf', 'squad', '{hash}', null);
             insert into workspace_tokens values (7, 'gaf', 'agent', '{hash}', {second});"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
        let (listed, items) = items(&path).await;
        listed.unwrap();
        let told = told(&items);
        assert_eq!(told[..2], ["workspace:gaf 7 Revoked", "workspace:gaf 8 Living"], "{first} {second}");
        let last = ["workspace:gaf 7 Revoked", "workspace_tokens row 1: revoked_at is no time; Ended([7])"];
        assert_eq!(told[2], last[usize::from(second == "'when'")]);
    }
}

#[tokio::test]
async fn a_row_whose_id_is_its_token_is_wrong_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let (raw, other) = ("correct-horse", "battery-staple");
    let (hash, its) = (hex(&Sha256::digest(raw)), hex(&Sha256::digest("x")));
    let sql = format!(
        "create table tokens (id text, workspace text, token_type text, token_hash text, label, raw_token, revoked_at);
         insert into tokens values ('{raw}', 'gaf', 'agent', '{hash}', null, null, null),
            ('{other}', 'gaf', 'agent', '{its}', null, '{other}', null), ('{its}', 'gaf', 'agent', '{its}', null, null, null),
            ('t4', '{raw}', 'agent', '{hash}', null, null, null), ('t5', 'gaf', 'agent', '{hash}', 'it is {raw}/{other}', '{other}', null);"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    let (listed, items) = items(&path).await;
    listed.unwrap();
    let wrong: Vec<&str> = items
        .iter()
        .filter_map(|item| match item {
            Item::Wrong(wrong) => Some(wrong.what.as_str()),
            Item::Listed(_) => None,
        })
        .collect();
    let (id, workspace) = ("id is a secret of the same row", "workspace is a secret of the same row");
    assert_eq!(wrong, [id, id, id, workspace]);
    let Some(Item::Listed(listed)) = items.last() else { panic!("{items:?}") };
    let details = listed.details.as_ref().unwrap();
    assert!(details.contains("it is (hidden)/(hidden)") && !details.contains("raw_token"), "{details}");
}

#[tokio::test]
async fn a_table_that_does_not_say_what_was_revoked_lists_nothing() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let table = async |column: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        let sql = format!(
            "create table tokens (id text, workspace text, token_type text, token_hash text, {column});
             insert into tokens values ('t1', 'gaf', 'agent', '{hash}', '2026-04-03T09:00:00Z');"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
        items(&path).await
    };
    let (listed, items) = table("Revoked_At").await;
    listed.unwrap();
    assert_eq!(told(&items), ["workspace:gaf t1 Revoked"], "names of columns are the same in capitals");
    let (listed, items) = table("revokedAt").await;
    assert!(listed.unwrap_err().what.contains("has no column revoked_at") && items.is_empty());
}

#[tokio::test]
async fn a_view_without_an_end_is_left_when_nobody_listens_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let sql = "create view tokens as with recursive n(id) as (select 1 union all select id + 1 from n)
               select id, 'gaf' as workspace, 'agent' as token_type, '' as token_hash, null as revoked_at from n where id < 0";
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    let (sender, receiver) = mpsc::channel(1000);
    let listing = tokio::spawn({
        let path = path.clone();
        async move { list_database(&path, &keyed(), &Sink::new(sender)).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!listing.is_finished());
    drop(receiver);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), listing).await;
    assert!(ended.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.json");
    let hash = hex(&Sha256::digest(b"t"));
    let text = format!("\u{feff} [{{\"token_hash\":\"{hash}\",\"agent\":\"loom\",\"active\":true}}]");
    std::fs::write(&path, text).unwrap();
    let (listed, found) = items(&path).await;
    listed.unwrap();
    assert_eq!(told(&found), [format!("loom {} Living", &hash[..16])]);
    std::fs::write(&path, b"\xEF[]").unwrap();
    assert!(items(&path).await.0.is_err(), "half a mark is none");
}
