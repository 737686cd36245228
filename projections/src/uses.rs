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
/// Rows that are looked at in one transaction.
const PIECE: usize = 1000;
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
        let mut conn = self.take(&mut kept).await?;
        let charged = charge(&mut conn, rates, now).await?;
        *kept = Some(conn);
        Ok(charged)
    }

    /// Forgets what counts in no window any more, piece by piece, so that charges wait for one piece at most. Answers how much that was.
    pub async fn prune(&self, now: Time) -> Result<u64, Failure> {
        let (mut after, mut pruned) = (String::new(), 0);
        loop {
            let mut kept = self.conn.lock().await;
            let mut conn = self.take(&mut kept).await?;
            let (last, gone) = prune(&mut conn, &after, now).await?;
            *kept = Some(conn);
            pruned += gone;
            match last {
                Some(last) => after = last,
                None => return Ok(pruned),
            }
        }
    }

    /// Taken out: a connection that failed, or was left in the middle, is not used again.
    async fn take(&self, kept: &mut Option<Conn>) -> Result<Conn, Failure> {
        match kept.take() {
            Some(conn) => Ok(conn),
            None => self.connect().await,
        }
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
        // An update that changes nothing, so that nobody prunes the row before it is read.
        let insert = "insert into capability_uses (grant_id, uses) values ($1, '[]') \
                      on conflict (grant_id) do update set uses = capability_uses.uses";
        sql::execute(conn, insert, std::slice::from_ref(&id)).await?;
        let lock = if conn.is_postgres() { "where t.grant_id = $1 for update" } else { "where t.grant_id = $1" };
        known.extend(sql::select(conn, TABLE, lock, &[id]).await?);
    }
    let mut changed = Vec::with_capacity(rates.len());
    for ((grant, rate), row) in rates.iter().zip(known) {
        let [id, Cell::Text(text)] = row.as_slice() else {
            return Err(Failure::Corrupt("a row of capability_uses cannot be read".to_owned()));
        };
        let mut uses = read(text)?;
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

/// One piece of the table: the key it ends with, none at the end of the table, and how many rows are gone.
async fn prune(conn: &mut Conn, after: &str, now: Time) -> Result<(Option<String>, u64), Failure> {
    let rest = format!("where t.grant_id > $1 order by t.grant_id limit {PIECE}");
    let rows = sql::select(conn, TABLE, &rest, &[Cell::Text(after.to_owned())]).await?;
    let (mut last, mut gone, full) = (None, 0, rows.len() == PIECE);
    conn.begin().await?;
    for row in rows {
        let [Cell::Text(id), Cell::Text(text)] = row.as_slice() else {
            return Err(Failure::Corrupt("a row of capability_uses cannot be read".to_owned()));
        };
        if read(text)?.is_over(now) {
            // Only as it was read: another server may have charged it since.
            let delete = "delete from capability_uses where grant_id = $1 and uses = $2";
            sql::execute(conn, delete, &row).await?;
            gone += 1;
        }
        last = Some(id.clone());
    }
    conn.commit().await?;
    Ok((last.filter(|_| full), gone))
}

fn read(text: &str) -> Result<Uses, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use eventlog::{LogConfig, testing};

    use super::*;

    async fn rows(uses: &UsesDb) -> usize {
        let mut conn = uses.connect().await.unwrap();
        sql::select(&mut conn, TABLE, "", &[]).await.unwrap().len()
    }

    /// More rows than one piece, of which the newest still count.
    async fn what_counts_in_no_window_is_forgotten(config: LogConfig) {
        const HOUR: i64 = 3_600_000_000;
        let uses = UsesDb::new(&Log::open(config).await.unwrap());
        let at = |hours: i64| Time::from_micros(1_700_000_000_000_000 + hours * HOUR);
        let rate: Rate = "2/d".parse().unwrap();
        let rates = |grants: std::ops::Range<usize>| {
            grants.map(|grant| (GrantId::from_bits(grant as u128 + 1), rate)).collect::<BTreeMap<_, _>>()
        };
        uses.charge(&rates(0..PIECE + 10), at(0)).await.unwrap().unwrap();
        uses.charge(&rates(0..5), at(20)).await.unwrap().unwrap();
        assert_eq!(uses.prune(at(20)).await.unwrap(), 0);
        assert_eq!(uses.prune(at(30)).await.unwrap(), PIECE as u64 + 5);
        assert_eq!(rows(&uses).await, 5);
        uses.charge(&rates(3..7), at(31)).await.unwrap().unwrap();
        let used_up = uses.charge(&rates(3..7), at(31)).await.unwrap().unwrap_err();
        assert_eq!(used_up.grant, GrantId::from_bits(4), "what still counts is kept");
    }

    #[tokio::test]
    async fn what_counts_in_no_window_is_forgotten_on_sqlite() {
        let (_home, config) = testing::sqlite(&crate::ddl::SQLITE).await;
        what_counts_in_no_window_is_forgotten(config).await;
    }

    #[tokio::test]
    async fn what_counts_in_no_window_is_forgotten_on_postgres() {
        let database = testing::postgres(&crate::ddl::POSTGRES).await;
        what_counts_in_no_window_is_forgotten(database.config()).await;
    }
}
