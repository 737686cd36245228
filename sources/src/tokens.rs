//! `d1:tokens`: an edge database exported as a SQLite file, and the message bus's JSON file. A token's hash is hashed again with the
//! city's key; a raw token is never passed on.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use domain::grant::kind::CapabilityKind;
use futures::TryStreamExt as _;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map as Fields, Value};
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Column as _, ConnectOptions as _, Row as _, TypeInfo as _, ValueRef as _};

use crate::shape::{self, Shape};
use crate::table::ForeignRow;
use crate::{About, KeyedHash, Life, Listed, Map, Place, Sink, Unlisted, details, reference};

const SQLITE: &[u8] = b"SQLite format 3\0";
/// A file may have both: every token that is in one of them is there.
const TABLES: [(&str, &str); 2] =
    [("tokens", "select * from tokens"), ("workspace_tokens", "select * from workspace_tokens")];
const TYPES: [&str; 3] = ["agent", "squad", "readonly"];
const OPTIONAL: [(&str, Shape); 12] = [
    ("project", Shape::Text),
    ("label", Shape::Text),
    ("scope", Shape::OneOf(&["agent", "customer", "tenant"])),
    ("created_at", Shape::Time),
    ("resurrected_at", Shape::Time),
    ("role", Shape::Text),
    ("tenant_slug", Shape::Text),
    ("agent_kind", Shape::Text),
    ("rate_limit_class", Shape::Text),
    ("is_admin", Shape::Flag),
    ("is_system", Shape::Flag),
    ("scopes", Shape::Texts),
];
/// Bytes of one element of the JSON file.
const MAX_ELEMENT: usize = 64 << 10;
/// Bytes that are read in search of the end of one.
const MAX_HELD: usize = 1 << 20;

pub(crate) async fn list(map: &Map, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Paths(paths) = &map.place else { return Ok(()) };
    for path in paths {
        let (at, heard, keys) = (path.clone(), sink.clone(), keyed.clone());
        let reading = tokio::task::spawn_blocking(move || {
            if is_database(&at)? { Ok(false) } else { list_file(&at, &keys, &heard).map(|()| true) }
        });
        let is_read = reading.await.unwrap_or_else(|error| Err(Unlisted::unreachable("the listing", error)))?;
        if !is_read {
            list_database(path, keyed, sink).await?;
        }
    }
    Ok(())
}

fn is_database(path: &Path) -> Result<bool, Unlisted> {
    let unreachable = |error: std::io::Error| Unlisted::unreachable(path.display(), error);
    if !path.metadata().map_err(unreachable)?.is_file() {
        return Err(Unlisted::unreachable(path.display(), "is no file"));
    }
    let mut head = [0; SQLITE.len()];
    Ok(File::open(path).map_err(unreachable)?.read_exact(&mut head).is_ok() && head == *SQLITE)
}

fn list_file(path: &Path, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let file = File::open(path).map_err(|error| Unlisted::unreachable(path.display(), error))?;
    let left = Rc::new(Cell::new(MAX_HELD));
    let metered = Metered { file: BufReader::new(file), left: Rc::clone(&left) };
    let mut reader = serde_json::Deserializer::from_reader(metered);
    let read = reader.deserialize_seq(Elements { path, keyed, sink, left }).and_then(|()| reader.end());
    read.map_err(|error| Unlisted::new(domain::grant::event::FailureKind::Malformed, path.display(), unlike(&error)))
}

/// Reads no more than is left until the next element begins: an element that has no end is not held.
struct Metered {
    file: BufReader<File>,
    left: Rc<Cell<usize>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let left = self.left.get().checked_sub(read);
        self.left.set(left.ok_or_else(|| io::Error::other("an element is too long"))?);
        Ok(read)
    }
}

/// What serde says of a wrong type would repeat the value, which may be a token.
fn unlike(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "no list of tokens",
        Category::Io => "an element longer than 1 MiB, or a file that cannot be read",
        Category::Syntax | Category::Eof => "no JSON, or half of it",
    };
    format!("{what}, from line {}, column {}", error.line(), error.column())
}

/// The elements of the array, one at a time.
struct Elements<'a> {
    path: &'a Path,
    keyed: &'a KeyedHash,
    sink: &'a Sink,
    left: Rc<Cell<usize>>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0_u64;
        while let Some(raw) = elements.next_element_seed(Raw)? {
            self.left.set(MAX_HELD);
            self.sink.still_heard().map_err(A::Error::custom)?;
            let place = format!("{}: element {number}", self.path.display());
            number += 1;
            match element(&raw, self.keyed, &place) {
                Ok(listed) => self.sink.blocking(listed),
                Err(what) => self.sink.blocking_wrong(place, what, about(&raw)),
            }
        }
        Ok(())
    }
}

/// The text of one element: whatever it is, the next one begins behind it.
struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = Box<RawValue>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

/// Which token an element that is wrong is about.
fn about(raw: &RawValue) -> About {
    let fields =
        serde_json::from_str::<Fields<String, Value>>(raw.get()).ok().filter(|_| raw.get().len() <= MAX_ELEMENT);
    let hash = fields.as_ref().and_then(|fields| fields.get("token_hash")).and_then(Value::as_str);
    match hash {
        Some(hash) if check_hash(hash).is_ok() => About::named(&hash[..16]),
        _ => About::Anything,
    }
}

fn element(raw: &RawValue, keyed: &KeyedHash, place: &str) -> Result<Listed, String> {
    if raw.get().len() > MAX_ELEMENT {
        return Err("is longer than 64 KiB".to_owned());
    }
    // What serde says of a wrong type would repeat the value.
    let fields = serde_json::from_str::<Value>(raw.get()).map_err(|_| "is no JSON".to_owned())?;
    let Value::Object(mut fields) = fields else { return Err("is no object".to_owned()) };
    let hash = match fields.remove("token_hash") {
        Some(Value::String(hash)) => hash,
        Some(_) => return Err("token_hash is no text".to_owned()),
        None => return Err("token_hash is missing".to_owned()),
    };
    check_hash(&hash)?;
    // The raw token is looked at here and nowhere else.
    match fields.remove("token") {
        None | Some(Value::Null) => {}
        Some(Value::String(raw)) if hex(&Sha256::digest(raw.as_bytes())) == hash => {}
        Some(_) => return Err("token_hash is not the hash of token".to_owned()),
    }
    let agent = match fields.get("agent") {
        Some(Value::String(agent)) if is_name(agent) => agent.clone(),
        Some(_) => return Err("agent is no lower-case name".to_owned()),
        None => return Err("agent is missing".to_owned()),
    };
    let active = match fields.remove("active") {
        Some(Value::Bool(active)) => active,
        Some(_) => return Err("active is no boolean".to_owned()),
        None => return Err("active is missing".to_owned()),
    };
    shape::check(&fields, &OPTIONAL)?;
    fields.insert("token".to_owned(), Value::String(keyed(hash.as_bytes())));
    Ok(Listed {
        names: vec![agent],
        whose: None,
        kind: CapabilityKind::Credential,
        reference: reference(&hash[..16])?,
        life: if active { Life::Living } else { Life::Revoked },
        expires_at: None,
        read_only: false,
        details: details::document(fields),
        place: place.to_owned(),
    })
}

/// Without one of these a table says something else than a token table: least of all that nothing was revoked.
const NEEDED: [&str; 4] = ["id", "token_hash", "token_type", "revoked_at"];

async fn list_database(path: &Path, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let broken = |error: sqlx::Error| Unlisted::unreachable(path.display(), error);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut conn = options.connect().await.map_err(broken)?;
    let known =
        "select name from sqlite_master where type in ('table', 'view') and name in ('tokens', 'workspace_tokens')";
    let found: Vec<String> = sqlx::query_scalar(known).fetch_all(&mut conn).await.map_err(broken)?;
    if found.is_empty() {
        let what = "has neither a table tokens nor workspace_tokens";
        return Err(Unlisted::new(domain::grant::event::FailureKind::Malformed, path.display(), what));
    }
    // Both tables as they are at one moment.
    sqlx::query("begin").execute(&mut conn).await.map_err(broken)?;
    for (table, query) in TABLES {
        if found.iter().any(|found| found == table) {
            list_table(path, &mut conn, table, query, keyed, sink).await?;
        }
    }
    Ok(())
}

async fn list_table(
    path: &Path,
    conn: &mut SqliteConnection,
    table: &str,
    query: &'static str,
    keyed: &KeyedHash,
    sink: &Sink,
) -> Result<(), Unlisted> {
    let broken = |error: sqlx::Error| Unlisted::unreachable(path.display(), error);
    let mut rows = sqlx::query(query).fetch(conn);
    let mut number = 0_u64;
    while let Some(row) = rows.try_next().await.map_err(broken)? {
        number += 1;
        sink.still_heard()?;
        let place = format!("{}: {table} row {number}", path.display());
        let row = foreign(&row);
        if number == 1
            && let Some(missing) = NEEDED.iter().find(|name| !row.has(name))
        {
            let what = format!("{table} has no column {missing}");
            return Err(Unlisted::new(domain::grant::event::FailureKind::Malformed, path.display(), what));
        }
        let about = row.about("id");
        match token(row, keyed, &place) {
            Ok(listed) => sink.listed(listed).await,
            Err(what) => sink.wrong(place, what, about).await,
        }
    }
    Ok(())
}

fn token(mut row: ForeignRow, keyed: &KeyedHash, place: &str) -> Result<Listed, String> {
    let id = row.needed("id")?;
    let hash = row.needed("token_hash")?;
    check_hash(&hash)?;
    let workspace = match row.text("workspace")? {
        Some(workspace) => workspace,
        None => row.text("workspace_id")?.filter(|id| !id.is_empty()).ok_or("workspace is missing")?,
    };
    let kind = row.needed("token_type")?;
    if !TYPES.contains(&kind.as_str()) {
        return Err("token_type is not agent, squad or readonly".to_owned());
    }
    for name in ["created_at", "last_used_at"] {
        row.time(name)?;
    }
    row.text("label")?;
    let revoked = row.time("revoked_at")?.is_some();
    for name in ["id", "revoked_at", "token", "token_hash"] {
        row.fields.remove(name);
    }
    row.fields.insert("token".to_owned(), Value::String(keyed(hash.as_bytes())));
    Ok(Listed {
        // Of another kind than the agents of the JSON file, which the same map speaks of.
        names: vec![format!("workspace:{workspace}")],
        whose: None,
        kind: CapabilityKind::Credential,
        reference: reference(&id)?,
        life: if revoked { Life::Revoked } else { Life::Living },
        expires_at: None,
        read_only: kind == "readonly",
        details: details::document(row.fields),
        place: place.to_owned(),
    })
}

fn foreign(row: &SqliteRow) -> ForeignRow {
    let mut foreign = ForeignRow::default();
    for column in row.columns() {
        match value(row, column.ordinal()) {
            Some(value) => drop(foreign.fields.insert(column.name().to_ascii_lowercase(), value)),
            None => drop(foreign.unreadable.insert(column.name().to_ascii_lowercase())),
        }
    }
    foreign
}

/// `None`: bytes, or a text that is none.
fn value(row: &SqliteRow, index: usize) -> Option<Value> {
    let raw = row.try_get_raw(index).ok()?;
    if raw.is_null() {
        return Some(Value::Null);
    }
    match raw.type_info().name() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(index).ok().map(Value::from),
        "REAL" => row.try_get_unchecked::<f64, _>(index).ok().map(|number| Value::from(number.to_string())),
        "BLOB" => None,
        _ => row.try_get_unchecked::<String, _>(index).ok().map(Value::from),
    }
}

fn check_hash(hash: &str) -> Result<(), String> {
    let good = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if good { Ok(()) } else { Err("token_hash is not 64 lower-case hexadecimal digits".to_owned()) }
}

fn is_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(inside)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

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
               {{"token_hash":"{hash}","agent":"loom","active":true,"is_admin":"yes"}}]"#
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
            ]
        );
        let all = format!("{items:?}");
        assert!(!all.contains(raw) && !all.contains(&hash), "{all}");
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let (cut, items) = self::items(&path).await;
        assert_eq!(cut.unwrap_err().kind, domain::grant::event::FailureKind::Malformed);
        assert_eq!(items.len(), 8, "what stands before the cut is read");
        for alone in [format!("\"{raw}\""), format!("[1] \"{raw}\""), format!("[\"{raw}\" \"x\"]")] {
            std::fs::write(&path, &alone).unwrap();
            let (listed, items) = self::items(&path).await;
            let said = format!("{listed:?} {items:?}");
            assert!(listed.is_err() && !said.contains(raw), "{said}");
        }
    }

    #[tokio::test]
    async fn an_element_is_long_for_a_row_and_then_for_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::fs::write(&path, format!("[{{\"label\":\"{}\"}}, 7]", "x".repeat(MAX_ELEMENT))).unwrap();
        let (listed, rows) = items(&path).await;
        listed.unwrap();
        assert_eq!(told(&rows), ["element 0: is longer than 64 KiB; Anything", "element 1: is no object; Anything"]);
        std::fs::write(&path, format!("[{{\"label\":\"{}\"}}, 7]", "x".repeat(MAX_HELD))).unwrap();
        let (listed, rows) = items(&path).await;
        assert!(listed.unwrap_err().to_string().contains("longer than 1 MiB"));
        assert!(rows.is_empty());
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
                "workspace_tokens row 7: revoked_at is no text; Refs([t7])",
                "workspace_tokens row 8: revoked_at is no text; Refs([t8])",
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
}
