//! A connection to either engine, owned or lent by a pool, that knows whether a transaction is open on it.

use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Executor, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::SqlError;

/// A connection.
pub enum Conn {
    Postgres(Session<Postgres>),
    Sqlite(Session<Sqlite>),
}

/// A connection of one engine; it dereferences to sqlx's own.
pub struct Session<DB: Database> {
    link: Link<DB>,
    in_transaction: bool,
    /// An exchange was begun and no answer to it has come.
    awaiting: bool,
    patience: Option<Duration>,
}

enum Link<DB: Database> {
    Owned(DB::Connection),
    Pooled(PoolConnection<DB>),
}

impl<DB: Database> Deref for Session<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match &self.link {
            Link::Owned(connection) => connection,
            Link::Pooled(connection) => connection,
        }
    }
}

impl<DB: Database> DerefMut for Session<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match &mut self.link {
            Link::Owned(connection) => connection,
            Link::Pooled(connection) => connection,
        }
    }
}

impl<DB: Database> Drop for Session<DB> {
    /// A transaction that nobody ended, or an answer that nobody read, must not reach the pool's next user: the connection goes.
    fn drop(&mut self) {
        if (self.in_transaction || self.awaiting)
            && let Link::Pooled(connection) = &mut self.link
        {
            connection.close_on_drop();
        }
    }
}

impl<DB: Database> Session<DB> {
    fn new(link: Link<DB>) -> Session<DB> {
        Session { link, in_transaction: false, awaiting: false, patience: None }
    }
}

impl From<PgConnection> for Conn {
    fn from(connection: PgConnection) -> Conn {
        Conn::Postgres(Session::new(Link::Owned(connection)))
    }
}

impl From<SqliteConnection> for Conn {
    fn from(connection: SqliteConnection) -> Conn {
        Conn::Sqlite(Session::new(Link::Owned(connection)))
    }
}

impl From<PoolConnection<Postgres>> for Conn {
    fn from(connection: PoolConnection<Postgres>) -> Conn {
        Conn::Postgres(Session::new(Link::Pooled(connection)))
    }
}

impl From<PoolConnection<Sqlite>> for Conn {
    fn from(connection: PoolConnection<Sqlite>) -> Conn {
        Conn::Sqlite(Session::new(Link::Pooled(connection)))
    }
}

impl Conn {
    /// Whether this is PostgreSQL; otherwise it is SQLite.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Conn::Postgres(_))
    }

    /// No exchange on this connection takes longer; after one that did, the connection is of no further use.
    pub(crate) fn with_patience(mut self, limit: Duration) -> Conn {
        match &mut self {
            Conn::Postgres(session) => session.patience = Some(limit),
            Conn::Sqlite(session) => session.patience = Some(limit),
        }
        self
    }

    /// Before an exchange. A connection whose last one was broken off in the middle answers no other.
    pub(super) fn ask(&mut self) -> Result<Patience, SqlError> {
        let (awaiting, patience) = match self {
            Conn::Postgres(session) => (&mut session.awaiting, session.patience),
            Conn::Sqlite(session) => (&mut session.awaiting, session.patience),
        };
        if std::mem::replace(awaiting, true) {
            return Err(lost(io::ErrorKind::ConnectionAborted, "an exchange on this connection was broken off"));
        }
        Ok(Patience(patience))
    }

    /// After an exchange: the answer came, whatever it says.
    pub(super) fn answered(&mut self) {
        match self {
            Conn::Postgres(session) => session.awaiting = false,
            Conn::Sqlite(session) => session.awaiting = false,
        }
    }

    /// Opens a transaction that will write. On SQLite it takes the write lock at once, so that it cannot fail half way.
    pub async fn begin(&mut self) -> Result<(), SqlError> {
        self.open("begin", "begin immediate").await
    }

    /// Opens a transaction that reads one state of all tables, whatever is committed meanwhile.
    pub async fn begin_read(&mut self) -> Result<(), SqlError> {
        self.open("begin isolation level repeatable read read only", "begin deferred").await
    }

    async fn open(&mut self, postgres: &'static str, sqlite: &'static str) -> Result<(), SqlError> {
        // Set before the statement: if this future is dropped half way, a transaction may be open.
        self.mark_open(true);
        let sql = if self.is_postgres() { postgres } else { sqlite };
        self.script(sql).await
    }

    /// Ends the transaction. When this returns `Ok`, everything in it is durable.
    pub async fn commit(&mut self) -> Result<(), SqlError> {
        self.script("commit").await?;
        self.mark_open(false);
        Ok(())
    }

    /// Ends the transaction and undoes everything in it.
    pub async fn rollback(&mut self) -> Result<(), SqlError> {
        self.script("rollback").await?;
        self.mark_open(false);
        Ok(())
    }

    /// Whether a transaction is open, as far as this side knows.
    pub fn is_open(&self) -> bool {
        match self {
            Conn::Postgres(session) => session.in_transaction,
            Conn::Sqlite(session) => session.in_transaction,
        }
    }

    pub(crate) fn mark_open(&mut self, open: bool) {
        match self {
            Conn::Postgres(session) => session.in_transaction = open,
            Conn::Sqlite(session) => session.in_transaction = open,
        }
    }

    /// Runs several statements without parameters, as DDL needs it. Never with text from outside.
    pub async fn script(&mut self, sql: &str) -> Result<(), SqlError> {
        let patience = self.ask()?;
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        let exchange = async {
            match self {
                Conn::Postgres(session) => {
                    let connection: &mut PgConnection = session;
                    connection.execute(script).await?;
                }
                Conn::Sqlite(session) => {
                    let connection: &mut SqliteConnection = session;
                    connection.execute(script).await?;
                }
            }
            Ok(())
        };
        let result = patience.with(exchange).await?;
        self.answered();
        result
    }
}

/// How long to wait for an answer: a dead network, or a server that was stopped, gives none at all.
#[derive(Clone, Copy)]
pub(super) struct Patience(Option<Duration>);

impl Patience {
    /// The answer, or an error in its place when there is none in time.
    pub(super) async fn with<T>(self, exchange: impl Future<Output = T>) -> Result<T, SqlError> {
        let Some(limit) = self.0 else { return Ok(exchange.await) };
        let answer = tokio::time::timeout(limit, exchange).await;
        answer.map_err(|_| lost(io::ErrorKind::TimedOut, "the database does not answer"))
    }
}

fn lost(kind: io::ErrorKind, what: &str) -> SqlError {
    SqlError::Failure(sqlx::Error::Io(io::Error::new(kind, what)))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;
    use crate::Failure;
    use crate::sql::{self, Kind};

    #[tokio::test]
    async fn an_exchange_has_a_limit_and_the_connection_goes_with_it() {
        let database = crate::testing::postgres(&[]).await;
        let conn = Conn::from(crate::testing::connect(&database.url).await);
        let mut conn = conn.with_patience(Duration::from_millis(100));
        conn.begin().await.unwrap();
        let started = Instant::now();
        for _ in 0..2 {
            let slow = sql::query(&mut conn, "select pg_sleep(5)::text", &[Kind::Text], &[]).await.unwrap_err();
            assert!(matches!(Failure::from(slow), Failure::Unavailable(_)));
        }
        let end = conn.rollback().await.unwrap_err();
        assert!(!end.is_certain());
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
