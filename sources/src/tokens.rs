//! `d1:tokens`: an edge database exported as a SQLite file, and the message bus's JSON file. A token's hash is hashed again with the
//! city's key; a raw token is never passed on.

mod elements;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use domain::grant::event::FailureKind;
use domain::grant::kind::CapabilityKind;
use futures::TryStreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Column as _, ConnectOptions as _, Row as _, TypeInfo as _, ValueRef as _};

use crate::account::Identity;
use crate::details::{self, Secrets};
use crate::shape::{self, Shape};
use crate::table::ForeignRow;
use crate::{About, KeyedHash, Life, Listed, Map, Place, Sink, Unlisted, reference};
use elements::{Element, Elements};

/// Steps of the database between two looks at whether anybody still listens.
const STEPS: i32 = 100_000;
const SQLITE: &[u8] = b"SQLite format 3\0";
/// A file may have both: every token that is in one of them is there.
const TABLES: [(&str, &str, &str); 2] = [
    ("tokens", "select * from tokens", "select id from tokens where revoked_at is not null"),
    (
        "workspace_tokens",
        "select * from workspace_tokens",
        "select id from workspace_tokens where revoked_at is not null",
    ),
];
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
/// Bytes of one element of the JSON file, and of the texts of one row.
const MAX_ELEMENT: usize = 64 << 10;

pub(crate) async fn list(map: &Map, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Paths(paths) = &map.place else { return Ok(()) };
    let mut listed = Ok(());
    for path in paths {
        // What one path does not tell, another may; that something is missing is said all the same.
        let read = list_path(path, keyed, sink).await;
        sink.still_heard()?;
        listed = listed.and(read);
    }
    listed
}

async fn list_path(path: &Path, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let (at, heard, keys) = (path.to_owned(), sink.clone(), keyed.clone());
    let reading = tokio::task::spawn_blocking(move || {
        if is_database(&at)? { Ok(false) } else { list_file(&at, &keys, &heard).map(|()| true) }
    });
    let is_read = reading.await.unwrap_or_else(|error| Err(Unlisted::unreachable("the listing", error)))?;
    if is_read { Ok(()) } else { list_database(path, keyed, sink).await }
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
    let mut elements = Elements::new(BufReader::new(file), MAX_ELEMENT);
    let mut number = 0_u64;
    loop {
        let broken = |what| Unlisted::new(FailureKind::Malformed, path.display(), what);
        let Some(next) = elements.next().map_err(broken)? else { return Ok(()) };
        sink.still_heard()?;
        let place = format!("{}: element {number}", path.display());
        number += 1;
        match next {
            Element::TooLong => sink.blocking_wrong(place, "is longer than 64 KiB", About::Anything),
            Element::Value(value) => {
                let about = about(&value);
                match element(value, keyed, &place) {
                    Ok(listed) => sink.blocking(listed),
                    Err(what) => sink.blocking_wrong(place, what, about),
                }
            }
        }
    }
}

/// Which token an element that is wrong is about. One that is not active is not, whatever else it says.
fn about(value: &Value) -> About {
    let about = match value.get("token_hash").and_then(Value::as_str) {
        Some(hash) if check_hash(hash).is_ok() => About::named(&hash[..16]),
        _ => About::Anything,
    };
    let is_off = value.get("active") == Some(&Value::Bool(false));
    about.ending(is_off.then_some(Life::Revoked), None)
}

fn element(value: Value, keyed: &KeyedHash, place: &str) -> Result<Listed, String> {
    let Value::Object(mut fields) = value else { return Err("is no object".to_owned()) };
    let hash = match fields.remove("token_hash") {
        Some(Value::String(hash)) => hash,
        Some(_) => return Err("token_hash is no text".to_owned()),
        None => return Err("token_hash is missing".to_owned()),
    };
    check_hash(&hash)?;
    // The raw token is looked at here and nowhere else.
    match fields.get("token") {
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
    let secrets = Secrets::with_hash(&fields, &hash);
    secrets.check("agent", &agent)?;
    Ok(Listed {
        names: vec![agent],
        whose: None,
        kind: CapabilityKind::Credential,
        reference: reference(&hash[..16])?,
        identity: Some(Identity::of(&hash)),
        life: if active { Life::Living } else { Life::Revoked },
        expires_at: None,
        read_only: false,
        details: details::document(fields, &secrets, [("token", keyed(hash.as_bytes()))]),
        place: place.to_owned(),
    })
}

/// Without one of these a table says something else than a token table: least of all that nothing was revoked.
const NEEDED: [&str; 4] = ["id", "token_hash", "token_type", "revoked_at"];

async fn list_database(path: &Path, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let broken = |error: sqlx::Error| Unlisted::unreachable(path.display(), error);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut conn = options.connect().await.map_err(broken)?;
    // A view may ask for more than ever comes to an end: it is left when nobody listens any more.
    let heard = sink.clone();
    let mut handle = conn.lock_handle().await.map_err(broken)?;
    handle.set_progress_handler(STEPS, move || heard.still_heard().is_ok());
    drop(handle);
    let known =
        "select name from sqlite_master where type in ('table', 'view') and name in ('tokens', 'workspace_tokens')";
    let found: Vec<String> = sqlx::query_scalar(known).fetch_all(&mut conn).await.map_err(broken)?;
    if found.is_empty() {
        let what = "has neither a table tokens nor workspace_tokens";
        return Err(Unlisted::new(FailureKind::Malformed, path.display(), what));
    }
    // Both tables as they are at one moment.
    sqlx::query("begin").execute(&mut conn).await.map_err(broken)?;
    let tables = TABLES.into_iter().filter(|(table, ..)| found.iter().any(|found| found == table));
    let mut revoked = HashSet::new();
    for (table, query, ended) in tables.clone() {
        if revoked_in(&mut conn, ended, &mut revoked).await.is_err() {
            // A table that does not say what was revoked says why when it is listed, before anything else is.
            list_table(path, &mut conn, table, query, &Told { keyed, revoked: &revoked, sink }).await?;
        }
    }
    for (table, query, _) in tables {
        list_table(path, &mut conn, table, query, &Told { keyed, revoked: &revoked, sink }).await?;
    }
    Ok(())
}

/// The ids that a table says were revoked, in one of its rows: so they are, whatever another row says.
async fn revoked_in(
    conn: &mut SqliteConnection,
    query: &'static str,
    revoked: &mut HashSet<Key>,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(query).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        revoked.extend(foreign(&row).needed("id").ok().map(|id| key(&id)));
    }
    Ok(())
}

/// What stands for an id in memory, however long it is.
type Key = u128;

fn key(id: &str) -> Key {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(id.as_bytes())[..16]);
    u128::from_be_bytes(first)
}

/// What a row is read with.
struct Told<'a> {
    keyed: &'a KeyedHash,
    revoked: &'a HashSet<Key>,
    sink: &'a Sink,
}

async fn list_table(
    path: &Path,
    conn: &mut SqliteConnection,
    table: &str,
    query: &'static str,
    told: &Told<'_>,
) -> Result<(), Unlisted> {
    let sink = told.sink;
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
            return Err(Unlisted::new(FailureKind::Malformed, path.display(), what));
        }
        let about = row.about("id", None, None);
        if row.length() > MAX_ELEMENT {
            sink.wrong(place, "is longer than 64 KiB", about).await;
            continue;
        }
        match token(row, told, &place) {
            Ok(listed) => sink.listed(listed).await,
            Err(what) => sink.wrong(place, what, about).await,
        }
    }
    Ok(())
}

fn token(mut row: ForeignRow, told: &Told<'_>, place: &str) -> Result<Listed, String> {
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
    let revoked = row.time("revoked_at")?.is_some() || told.revoked.contains(&key(&id));
    for name in ["id", "revoked_at", "token_hash"] {
        row.fields.remove(name);
    }
    let secrets = Secrets::with_hash(&row.fields, &hash);
    secrets.check("id", &id)?;
    secrets.check("workspace", &workspace)?;
    Ok(Listed {
        // Of another kind than the agents of the JSON file, which the same map speaks of.
        names: vec![format!("workspace:{workspace}")],
        whose: None,
        kind: CapabilityKind::Credential,
        reference: reference(&id)?,
        identity: Some(Identity::of(&hash)),
        life: if revoked { Life::Revoked } else { Life::Living },
        expires_at: None,
        read_only: kind == "readonly",
        details: details::document(row.fields, &secrets, [("token", (told.keyed)(hash.as_bytes()))]),
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
