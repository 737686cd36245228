//! How often capabilities were used lately: beside the views, shared by all servers, and in no log.
//!
//! Losing these counts is no damage: a window later they are what they would have been.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::grant::scope::Rate;
use domain::grant::uses::Uses;
use domain::ids::GrantId;
use domain::time::Time;
use eventlog::sql::{self, Cell, Change, Column, Conn, Kind, Table};
use eventlog::{Failure, Location, Log};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::Mutex;

const TABLE: &Table = &Table {
    name: "capability_uses",
    columns: &[Column { name: "grant_id", kind: Kind::Text }, Column { name: "uses", kind: Kind::Text }],
    key: 1,
};
const BUSY: Duration = Duration::from_secs(5);

/// A grant that has been used as often as its rate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    pub grant: GrantId,
    /// When the next use may be possible.
    pub free_at: Time,
}

/// The counts' database.
pub struct UsesDb {
    log: Log,
    /// On SQLite only.
    file: Option<PathBuf>,
    /// One charge at a time and server: a charge is one short transaction.
    conn: Mutex<Option<Conn>>,
}

impl UsesDb {
    pub fn new(log: &Log) -> Self {
        let file = match &log.config().location {
            Location::Postgres { .. } => None,
            Location::Sqlite { dir } => Some(dir.join("uses.db")),
        };
        Self { log: log.clone(), file, conn: Mutex::new(None) }
    }

    /// One use, charged to every one of these grants or to none.
    pub async fn charge(&self, rates: &BTreeMap<GrantId, Rate>, now: Time) -> Result<Result<(), UsedUp>, Failure> {
        if rates.is_empty() {
            return Ok(Ok(()));
        }
        let mut kept = self.conn.lock().await;
        // Taken out: a connection that failed, or was left in the middle, is not used again.
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        let charged = charge(&mut conn, rates, now).await?;
        *kept = Some(conn);
        Ok(charged)
    }

    async fn connect(&self) -> Result<Conn, Failure> {
        let Some(path) = &self.file else {
            let session = self.log.session().await?;
            return session.ok_or_else(|| Failure::Contradiction("this log has no session of its own".to_owned()));
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let mut conn = Conn::from(options.connect().await?);
        conn.script(include_str!("../../migrations/read/uses-sqlite.sql")).await?;
        Ok(conn)
    }
}

async fn charge(conn: &mut Conn, rates: &BTreeMap<GrantId, Rate>, now: Time) -> Result<Result<(), UsedUp>, Failure> {
    conn.begin().await?;
    let mut known = Vec::with_capacity(rates.len());
    // In the order of the ids, so that two charges never wait for each other in a circle.
    for grant in rates.keys() {
        let id = Cell::Text(grant.to_string());
        let insert = "insert into capability_uses (grant_id, uses) values ($1, '[]') on conflict (grant_id) do nothing";
        sql::execute(conn, insert, std::slice::from_ref(&id)).await?;
        let lock = if conn.is_postgres() { "where t.grant_id = $1 for update" } else { "where t.grant_id = $1" };
        known.extend(sql::select(conn, TABLE, lock, &[id]).await?);
    }
    let mut changed = Vec::with_capacity(rates.len());
    for ((grant, rate), row) in rates.iter().zip(known) {
        let [id, Cell::Text(text)] = row.as_slice() else {
            return Err(Failure::Corrupt("a row of capability_uses cannot be read".to_owned()));
        };
        let mut uses: Uses = serde_json::from_str(text).map_err(|error| Failure::Corrupt(error.to_string()))?;
        if let Err(free_at) = uses.charge(*rate, now) {
            conn.rollback().await?;
            return Ok(Err(UsedUp { grant: *grant, free_at }));
        }
        changed.push(vec![id.clone(), Cell::Text(crate::field::json(&uses))]);
    }
    sql::apply(conn, &[Change::Upsert { table: TABLE, rows: changed }]).await?;
    conn.commit().await?;
    Ok(Ok(()))
}
