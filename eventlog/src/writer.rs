//! The writer: a session of its own that opens batches, survives lost connections and finds out about unknown commits.

use std::fs::File;
use std::future::Future;
use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Row as _};

use crate::append::Mark;
use crate::connect::PATIENCE;
use crate::sql::{self, Cell, Conn, Kind, SqlError};
use crate::tables::{Head, RECEIPTS, Receipt};
use crate::{Batch, Failure, Log, log};

/// How far two clocks may be apart before a server stops writing.
const SKEW_MICROS: i64 = 2_000_000;
/// How long the outcome of a lost COMMIT is looked for before the caller is told that it is not known.
const RESOLVE: Duration = Duration::from_secs(30);
const RESOLVE_PAUSE: Duration = Duration::from_millis(200);
/// Receipts removed at once. So many take a few milliseconds, and nobody waits for them.
const PRUNE: u64 = 5_000;

/// The one who appends. One batch at a time; several writers, here or on other servers, take turns at the head's lock.
pub struct Writer {
    log: Log,
    /// Absent after anything went wrong on it: the next batch opens a new one.
    conn: Option<Conn>,
    /// Whether the log behind `conn` was found to go on where this process knows it to be.
    checked: bool,
    /// Whether a session was replaced since the last check.
    replaced: bool,
    /// On SQLite, whether erased bytes may still stand in the write-ahead log; also after a crash before this process.
    scrub_due: bool,
    /// Held for life, on SQLite.
    lock: Option<File>,
}

/// A transaction that holds the head's lock.
pub(crate) struct Opened {
    pub(crate) head: Head,
    pub(crate) db_clock: i64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.lock.is_some() {
            self.log.lock_released();
        }
    }
}

impl Writer {
    pub(crate) fn new(log: Log, conn: Conn, lock: Option<File>) -> Writer {
        let scrub_due = !conn.is_postgres();
        Writer { log, conn: Some(conn), checked: false, replaced: false, scrub_due, lock }
    }

    /// The log this writer appends to.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Opens a transaction and locks the head. Until the batch ends, nobody else appends; decide quickly.
    ///
    /// # Errors
    /// [`Failure::ClockSkew`] when this server's clock is over two seconds from the database's or behind the head;
    /// [`Failure::Busy`] when another writer keeps the lock; [`Failure::Diverged`] when the database is not, or no longer, the one
    /// that this process knows.
    pub async fn begin(&mut self) -> Result<Batch<'_>, Failure> {
        let reused = self.conn.is_some();
        let opened = match self.open().await {
            // The server may have been restarted while this session slept: nothing was asked of it yet, so ask again.
            Err(Failure::Unavailable(_)) if reused => self.open().await?,
            other => other?,
        };
        if let Err(skew) = self.check_clock(&opened) {
            self.rollback().await;
            return Err(skew);
        }
        Ok(Batch::new(self, opened))
    }

    /// Removes up to 5000 receipts older than `before`, in microseconds since 1970, and none younger than a day; answers how many. When
    /// it answers 5000 there may be more. Nobody waits for it: it does not take the head's lock.
    pub async fn prune_receipts(&mut self, before: i64) -> Result<u64, Failure> {
        const POSTGRES: &str = "delete from receipts where ctid = any (array (select ctid from receipts \
            where at < least($1, (extract(epoch from now()) * 1000000)::bigint - 86400000000) order by at limit $2))";
        const SQLITE: &str = "delete from receipts where (principal, key) in (select principal, key from receipts \
            where at < min($1, (unixepoch('subsec') - 86400) * 1000000) order by at limit $2)";
        self.scrub().await;
        if !self.checked || self.conn.is_none() {
            // Nothing is deleted from a database that may be another.
            self.open().await?;
            self.rollback().await;
        }
        // Taken out until the answer is there: a connection whose exchange was broken off is not used again.
        let mut conn = self.take_conn().await?;
        let statement = if conn.is_postgres() { POSTGRES } else { SQLITE };
        let params = [Cell::Int(before), Cell::Int(PRUNE.cast_signed())];
        let count = sql::execute(&mut conn, statement, &params).await?;
        self.conn = Some(conn);
        Ok(count)
    }

    /// Destroys keys and payloads of these subjects again: erasures found in the log, after a backup was restored.
    pub async fn erase(&mut self, subjects: &[String]) -> Result<(), Failure> {
        if subjects.is_empty() {
            return Ok(());
        }
        self.open().await?;
        // Taken out until all of it is done: should this future be dropped in between, the session and its transaction go with it, and
        // half an erasure is not committed along with the next batch.
        let mut conn = self.conn.take().expect("an open batch has a connection");
        erase(&mut conn, subjects).await?;
        conn.commit().await?;
        self.conn = Some(conn);
        self.erased().await;
        Ok(())
    }

    /// Subjects were erased, durably.
    pub(crate) async fn erased(&mut self) {
        self.scrub_due = self.lock.is_some();
        self.scrub().await;
    }

    /// On SQLite, folds the write-ahead log back into the file and empties it, because it still holds what was erased. When somebody is
    /// reading just then, the next call does it.
    async fn scrub(&mut self) {
        if !self.scrub_due {
            return;
        }
        let Some(mut conn) = self.conn.take() else { return };
        match checkpoint(&mut conn).await {
            Ok(done) => {
                self.scrub_due = !done;
                self.conn = Some(conn);
            }
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be emptied"),
        }
    }

    /// The session, or a new one if there is none.
    async fn take_conn(&mut self) -> Result<Conn, Failure> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        (self.checked, self.replaced) = (false, true);
        within(self.log.connect_writer()).await
    }

    /// Locks the head, on a new connection if there is none, of a log that goes on where this process knows it to be.
    async fn open(&mut self) -> Result<Opened, Failure> {
        let mut conn = self.take_conn().await?;
        let opened = within(lock_head(&mut conn, &self.log)).await?;
        self.log.check_continues(&mut conn, &opened.head, !self.checked).await?;
        self.checked = true;
        if std::mem::take(&mut self.replaced) {
            self.log.note_reconnect();
        }
        self.log.announce(opened.head.size);
        // Only a session that is in order is kept; on an error it is dropped, and its transaction with it.
        self.conn = Some(conn);
        Ok(opened)
    }

    fn check_clock(&self, opened: &Opened) -> Result<(), Failure> {
        let ours = self.log.clock();
        if (ours - opened.db_clock).abs() > SKEW_MICROS {
            return Err(Failure::ClockSkew { ours, theirs: opened.db_clock, reference: "the database" });
        }
        if opened.head.at - ours > SKEW_MICROS {
            return Err(Failure::ClockSkew { ours, theirs: opened.head.at, reference: "the newest batch" });
        }
        Ok(())
    }

    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("an open batch has a connection")
    }

    /// Drops the connection; whatever transaction is open on it is undone by the database.
    pub(crate) fn disconnect(&mut self) {
        self.conn = None;
    }

    pub(crate) async fn rollback(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if conn.rollback().await.is_ok() {
            self.conn = Some(conn);
        }
    }

    /// Finds out whether the batch with this mark was committed although nobody saw the answer.
    ///
    /// Taking the head's lock waits for the old transaction to end, if it is still running; after that the log itself tells.
    pub(crate) async fn resolve(&mut self, mark: &Mark, lost: Failure) -> Result<bool, Failure> {
        self.conn = None;
        let deadline = tokio::time::Instant::now() + RESOLVE;
        loop {
            match self.look_for(mark).await {
                Ok(Some(committed)) => return Ok(committed),
                Ok(None) => return Err(Failure::CommitUnknown(lost.to_string())),
                Err(diverged @ Failure::Diverged { .. }) => return Err(diverged),
                Err(failure) if tokio::time::Instant::now() >= deadline => {
                    return Err(Failure::CommitUnknown(failure.to_string()));
                }
                Err(failure) => {
                    tracing::warn!(%failure, "looking for the outcome of a lost commit");
                    tokio::time::sleep(RESOLVE_PAUSE).await;
                }
            }
        }
    }

    async fn look_for(&mut self, mark: &Mark) -> Result<Option<bool>, Failure> {
        self.open().await?;
        let conn = self.conn();
        let found = match mark {
            Mark::Nothing => Ok(None),
            Mark::Entry { position, hash } => {
                log::entry(conn, *position).await.map(|entry| Some(entry.is_some_and(|e| e.hash == *hash)))
            }
            Mark::Receipt(ours) => {
                let stored = receipts(conn, &[(ours.principal.clone(), ours.key.clone())]).await;
                stored.map(|stored| Some(stored.contains(ours)))
            }
        };
        self.rollback().await;
        found
    }
}

/// The stored receipts among these (principal, key) pairs.
pub(crate) async fn receipts(conn: &mut Conn, keys: &[(String, String)]) -> Result<Vec<Receipt>, Failure> {
    let keys: Vec<sql::Row> =
        keys.iter().map(|(principal, key)| vec![Cell::Text(principal.clone()), Cell::Text(key.clone())]).collect();
    sql::select_keys(conn, &RECEIPTS, &keys).await?.into_iter().map(Receipt::from_row).collect()
}

/// Destroys the keys and payloads of these subjects within the open transaction.
pub(crate) async fn erase(conn: &mut Conn, subjects: &[String]) -> Result<(), SqlError> {
    let names = [Cell::Text(serde_json::Value::from(subjects).to_string())];
    let listed = if conn.is_postgres() {
        "subject = any (array (select jsonb_array_elements_text($1::jsonb)))"
    } else {
        "subject in (select value from json_each($1))"
    };
    for table in ["payloads", "subject_keys"] {
        sql::execute(conn, &format!("delete from {table} where {listed}"), &names).await?;
    }
    Ok(())
}

/// Whether the write-ahead log is empty now. Waits shortly for readers; they do not wait.
async fn checkpoint(conn: &mut Conn) -> Result<bool, SqlError> {
    conn.script("pragma busy_timeout = 200").await?;
    let row = sql::query(conn, "pragma wal_checkpoint(truncate)", &[Kind::Int, Kind::Int, Kind::Int], &[]).await?.pop();
    conn.script("pragma busy_timeout = 5000").await?;
    Ok(row.is_some_and(|row| row.first() == Some(&Cell::Int(0))))
}

async fn lock_head(conn: &mut Conn, log: &Log) -> Result<Opened, Failure> {
    conn.mark_open(true);
    let Conn::Postgres(session) = conn else {
        // In one exchange, which costs more than what it asks for.
        const SQL: &str = "begin immediate; select origin, size, at, epoch from head";
        let row = sql::query(conn, SQL, &[Kind::Text, Kind::Int, Kind::Int, Kind::Int], &[]).await?.pop();
        let head = Head::from_row(row.ok_or_else(|| Failure::Missing("the log has no head".to_owned()))?)?;
        return Ok(Opened { head, db_clock: log.clock() });
    };
    let first = lock_postgres_head(session).await;
    if !first.as_ref().is_err_and(is_lock_timeout) {
        return Ok(first?);
    }
    conn.rollback().await?;
    let ended = end_stuck_writers(conn).await?;
    if ended > 0 {
        tracing::warn!(ended, "a writer held the head and did not read what it had asked for: its session was ended");
        conn.mark_open(true);
        if let Conn::Postgres(session) = conn {
            return Ok(lock_postgres_head(session).await?);
        }
    }
    Ok(first?)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

/// Ends the sessions of our own role that hold the head's lock and are stuck: the process behind them was stopped in the middle of
/// reading an answer, and none of the server's own limits interrupts the sending of one. Whoever computes, syncs or waits for a lock is
/// left alone, and so is a writer that reads page after page: its statement is young.
async fn end_stuck_writers(conn: &mut Conn) -> Result<i64, Failure> {
    const SQL: &str = "
        select count(*) filter (where pg_terminate_backend(a.pid)) from pg_stat_activity as a
        where a.usename = current_user and a.datname = current_database() and a.pid <> pg_backend_pid()
            and a.wait_event = 'ClientWrite' and a.xact_start < clock_timestamp() - interval '2900 ms'
            and a.query_start < clock_timestamp() - interval '2 s'
            and exists (select 1 from pg_locks as l where l.pid = a.pid and l.granted and l.locktype = 'relation'
                and l.relation = 'log.head'::regclass and l.mode in ('RowShareLock', 'RowExclusiveLock'))";
    match sql::query(conn, SQL, &[Kind::Int], &[]).await?.first().map(Vec::as_slice) {
        Some([Cell::Int(ended)]) => Ok(*ended),
        _ => Ok(0),
    }
}

/// Prepared once for a session: planning it takes longer than doing it. The clock is read outside the CTE, so after the lock was
/// granted and not before the wait for it.
pub(crate) const PREPARE_LOCK: &str = "prepare lock_head as \
    with locked as materialized (select origin, size, at, epoch from head for update) \
    select origin, size, at, epoch, (extract(epoch from clock_timestamp()) * 1000000)::bigint from locked";

/// One round trip.
async fn lock_postgres_head(connection: &mut PgConnection) -> Result<Opened, sqlx::Error> {
    let rows = connection.fetch_all(sqlx::raw_sql("begin; execute lock_head")).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let size: i64 = row.try_get(1)?;
    let head = Head { origin: row.try_get(0)?, size: size.unsigned_abs(), at: row.try_get(2)?, epoch: row.try_get(3)? };
    Ok(Opened { head, db_clock: row.try_get(4)? })
}

/// A limit for what has none of its own.
async fn within<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Unavailable("the database does not answer".to_owned())),
    }
}
