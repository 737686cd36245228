//! The writer: a session of its own that opens batches, survives lost connections and finds out about unknown commits.

use std::fs::File;
use std::future::Future;
use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Row as _};

use crate::append::Mark;
use crate::sql::{self, Cell, Conn, SqlError};
use crate::tables::{ENTRIES, Head, RECEIPTS, Receipt, Stored, number};
use crate::{Batch, Failure, Log, log};

/// How far two clocks may be apart before a server stops writing.
const SKEW_MICROS: i64 = 2_000_000;
/// No single exchange with the database takes longer, or the connection counts as lost. Longer than any timeout of the server.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the outcome of a lost COMMIT is looked for before the caller is told that it is not known.
const RESOLVE: Duration = Duration::from_secs(30);
const RESOLVE_PAUSE: Duration = Duration::from_millis(200);

/// The one who appends. One batch at a time; several writers, here or on other servers, take turns at the head's lock.
pub struct Writer {
    log: Log,
    /// Absent after anything went wrong on it: the next batch opens a new one.
    conn: Option<Conn>,
    /// Held for life, on SQLite.
    _lock: Option<File>,
}

/// A transaction that holds the head's lock.
pub(crate) struct Opened {
    pub(crate) head: Head,
    pub(crate) db_clock: i64,
}

impl Writer {
    pub(crate) fn new(log: Log, conn: Conn, lock: Option<File>) -> Writer {
        Writer { log, conn: Some(conn), _lock: lock }
    }

    /// The log this writer appends to.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Opens a transaction and locks the head. Until the batch ends, nobody else appends; decide quickly.
    ///
    /// # Errors
    /// [`Failure::ClockSkew`] when this server's clock is over two seconds from the database's or behind the head;
    /// [`Failure::Busy`] when another writer keeps the lock.
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

    /// Removes receipts older than `before`, in microseconds since 1970; answers how many.
    pub async fn prune_receipts(&mut self, before: i64) -> Result<u64, Failure> {
        self.housekeeping("delete from receipts where at < $1", vec![Cell::Int(before)]).await
    }

    /// Destroys keys and payloads of these subjects again: erasures found in the log, after a backup was restored.
    pub async fn erase(&mut self, subjects: &[String]) -> Result<(), Failure> {
        if subjects.is_empty() {
            return Ok(());
        }
        self.open().await?;
        let conn = self.conn.as_mut().expect("an open batch has a connection");
        let erased = async {
            erase(conn, subjects).await?;
            conn.commit().await
        };
        let result = within(erased).await;
        self.forget_on_error(&result);
        result
    }

    async fn housekeeping(&mut self, statement: &str, params: Vec<Cell>) -> Result<u64, Failure> {
        self.open().await?;
        let conn = self.conn.as_mut().expect("an open batch has a connection");
        let cleaned = async {
            let count = sql::execute(conn, statement, &params).await?;
            conn.commit().await?;
            Ok::<u64, SqlError>(count)
        };
        let result = within(cleaned).await;
        self.forget_on_error(&result);
        result
    }

    fn forget_on_error<T>(&mut self, result: &Result<T, Failure>) {
        if result.is_err() {
            self.conn = None;
        }
    }

    /// Locks the head, on a new connection if there is none.
    async fn open(&mut self) -> Result<Opened, Failure> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => within_failure(self.log.connect_writer()).await?,
        };
        let opened = within_failure(lock_head(&mut conn, &self.log)).await?;
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
        let Some(conn) = self.conn.as_mut() else { return };
        if within(conn.rollback()).await.is_err() {
            self.conn = None;
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
                find_entry(conn, *position).await.map(|entry| Some(entry.is_some_and(|e| e.hash == *hash)))
            }
            Mark::Receipt { principal, key, digest } => {
                let receipts = receipts(conn, &[(principal.clone(), key.clone())]).await;
                receipts.map(|receipts| Some(receipts.iter().any(|receipt| receipt.digest == *digest)))
            }
        };
        self.rollback().await;
        found
    }
}

async fn find_entry(conn: &mut Conn, position: u64) -> Result<Option<Stored>, Failure> {
    let rows = sql::select_keys(conn, &ENTRIES, &[vec![number(position)]]).await?;
    Ok(Stored::from_rows(rows)?.pop())
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

async fn lock_head(conn: &mut Conn, log: &Log) -> Result<Opened, Failure> {
    conn.mark_open(true);
    if let Conn::Postgres(session) = conn {
        return lock_postgres_head(session).await;
    }
    conn.begin().await?;
    let head = log::head(conn).await?;
    Ok(Opened { head, db_clock: log.clock() })
}

/// One round trip. The clock is read outside the CTE, so after the lock was granted and not before the wait for it.
async fn lock_postgres_head(connection: &mut PgConnection) -> Result<Opened, Failure> {
    const SQL: &str = "begin; \
        with locked as materialized (select origin, size, at, epoch from head for update) \
        select origin, size, at, epoch, (extract(epoch from clock_timestamp()) * 1000000)::bigint from locked";
    let rows = connection.fetch_all(sqlx::raw_sql(SQL)).await?;
    let row = rows.first().ok_or_else(|| Failure::Missing("the log has no head".to_owned()))?;
    let size: i64 = row.try_get(1)?;
    let head = Head { origin: row.try_get(0)?, size: size.unsigned_abs(), at: row.try_get(2)?, epoch: row.try_get(3)? };
    Ok(Opened { head, db_clock: row.try_get(4)? })
}

/// Gives an exchange with the database a limit on our side too: a dead network answers nothing at all.
pub(crate) async fn within<T>(exchange: impl Future<Output = Result<T, SqlError>>) -> Result<T, Failure> {
    within_failure(async { exchange.await.map_err(Failure::from) }).await
}

async fn within_failure<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Unavailable("the database does not answer".to_owned())),
    }
}
