//! The forger: somebody with every right on a copy of the database, who changes one amount and makes all hashes fit again.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use chain::Hash;
use chain::entry::{Entry, entry_hash};
use chain::pack::{PackId, Record, encode};
use eventlog::{Location, Log, LogConfig};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::rows::Cents;

/// What was changed.
#[derive(Debug, Clone)]
pub struct Forgery {
    pub position: u64,
    pub before: Cents,
    pub after: Cents,
    /// Entries whose hash was computed again: the changed one, and those of its stream after it.
    pub rehashed: u64,
}

struct Kept {
    position: i64,
    prev: Hash,
    bytes: Vec<u8>,
}

/// Copies `log.db` and gives the largest deposit into `treasury` a thousand more, with every hash that depends on it made again:
/// inside the copy, nothing contradicts anything.
pub async fn forge(original: &Path, copy: &Path, origin: &str, treasury: &str) -> anyhow::Result<Forgery> {
    let mut db = copied(original, copy).await?;
    // The triggers stop mistakes, not an owner.
    sqlx::query("drop trigger entries_are_not_updated").execute(&mut db).await?;
    let mut stream = entries_of(&mut db, treasury).await?;
    let (place, before) = largest_deposit(&stream)?;
    let after = before.plus(Cents(100_000));
    stream[place].bytes = with_amount(&stream[place].bytes, before, after)?;
    let position = stream[place].position;
    let mut prev = stream[place].prev;
    let mut rehashed = 0;
    let mut transaction = db.begin().await?;
    for kept in &stream[place..] {
        let hash = entry_hash(origin, &prev, &kept.bytes);
        sqlx::query("update entries set prev = $1, hash = $2, bytes = $3 where position = $4")
            .bind(prev.0.to_vec())
            .bind(hash.0.to_vec())
            .bind(kept.bytes.clone())
            .bind(kept.position)
            .execute(&mut *transaction)
            .await?;
        prev = hash;
        rehashed += 1;
    }
    transaction.commit().await?;
    db.close().await?;
    Ok(Forgery { position: position.unsigned_abs(), before, after, rehashed })
}

/// A copy of an honest export, in which every entry pack is made from the forged database.
pub async fn export(honest: &Path, forged: &Path, copy: &Path, origin: &str) -> anyhow::Result<()> {
    copy_folder(honest, forged)?;
    let config = LogConfig {
        location: Location::Sqlite { dir: copy.to_owned() },
        origin: origin.to_owned(),
        allow_unsafe: false,
        allow_owner: false,
        create: false,
    };
    let log = Log::open(config).await?;
    for path in files(&honest.join("pack"))? {
        let name = path.strip_prefix(honest)?.to_str().context("packs have plain names")?;
        let id = PackId::parse(name).with_context(|| format!("{name} is no pack"))?;
        let entries = log.read(id.first_position(), usize::from(id.width)).await?;
        let records: Vec<Record<'_>> = entries
            .iter()
            .map(|entry| Record { position: entry.position, prev: entry.prev, bytes: &entry.bytes })
            .collect();
        ensure!(records.len() == usize::from(id.width), "the copy is shorter than what was exported");
        let target = forged.join(name);
        // What was published is read-only; this is no longer what was published.
        fs::remove_file(&target)?;
        fs::write(&target, encode(&records))?;
    }
    Ok(())
}

async fn copied(original: &Path, copy: &Path) -> anyhow::Result<SqliteConnection> {
    fs::create_dir_all(copy)?;
    let target = copy.join("log.db");
    let mut source = SqliteConnectOptions::new().filename(original.join("log.db")).connect().await?;
    // A consistent copy beside a running server, which file by file would not be.
    let into = target.to_str().context("the path is text")?.to_owned();
    sqlx::query("vacuum into $1").bind(into).execute(&mut source).await.context("copying the database")?;
    source.close().await?;
    Ok(SqliteConnectOptions::new().filename(&target).connect().await?)
}

async fn entries_of(db: &mut SqliteConnection, stream: &str) -> anyhow::Result<Vec<Kept>> {
    let rows = sqlx::query("select position, prev, bytes from entries where stream = $1 order by version");
    let rows = rows.bind(stream.to_owned()).fetch_all(db).await?;
    rows.into_iter()
        .map(|row| {
            let prev: Vec<u8> = row.try_get(1)?;
            let prev = Hash::from_slice(&prev).context("a hash has 32 bytes")?;
            Ok(Kept { position: row.try_get(0)?, prev, bytes: row.try_get(2)? })
        })
        .collect()
}

fn largest_deposit(stream: &[Kept]) -> anyhow::Result<(usize, Cents)> {
    let mut largest = None;
    for (place, kept) in stream.iter().enumerate() {
        let entry = Entry::parse(&kept.bytes)?;
        let is_deposit = entry.kind == "treasury.credited.v1" && entry.data["kind"] == "deposit";
        if !is_deposit {
            continue;
        }
        let amount: Cents = entry.data["amount"].as_str().context("a movement without an amount")?.parse()?;
        if largest.is_none_or(|(_, found)| amount > found) {
            largest = Some((place, amount));
        }
    }
    largest.context("nothing was ever paid in")
}

/// The entry with another amount, legs included: still a movement whose legs sum to zero.
fn with_amount(bytes: &[u8], before: Cents, after: Cents) -> anyhow::Result<Vec<u8>> {
    let mut entry = Entry::parse(bytes)?;
    let (from, to) = (before.to_string(), after.to_string());
    replace(&mut entry.data, &from, &to);
    replace(&mut entry.data, &format!("-{from}"), &format!("-{to}"));
    Ok(entry.to_bytes()?)
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        _ => {}
    }
}

/// All files of a folder, at any depth.
fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    for path in files(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::copy(&path, &target).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_amount_changes_its_legs_and_nothing_else() {
        let mut data = json!({"amount": "10.00", "legs": [{"amount": "-10.00"}, {"amount": "10.00"}], "scale": "10"});
        replace(&mut data, "10.00", "11.00");
        replace(&mut data, "-10.00", "-11.00");
        assert_eq!(
            data,
            json!({"amount": "11.00", "legs": [{"amount": "-11.00"}, {"amount": "11.00"}], "scale": "10"})
        );
    }
}
