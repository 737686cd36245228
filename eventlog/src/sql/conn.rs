//! A connection to either engine, owned or lent by a pool, that knows whether a transaction is open on it.

use std::ops::{Deref, DerefMut};

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
    /// A transaction that nobody ended must not reach the pool's next user: the connection goes, and the transaction with it.
    fn drop(&mut self) {
        if self.in_transaction
            && let Link::Pooled(connection) = &mut self.link
        {
            connection.close_on_drop();
        }
    }
}

impl<DB: Database> Session<DB> {
    fn new(link: Link<DB>) -> Session<DB> {
        Session { link, in_transaction: false }
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

    pub(crate) fn mark_open(&mut self, open: bool) {
        match self {
            Conn::Postgres(session) => session.in_transaction = open,
            Conn::Sqlite(session) => session.in_transaction = open,
        }
    }

    /// Runs several statements without parameters, as DDL needs it. Never with text from outside.
    pub async fn script(&mut self, sql: &str) -> Result<(), SqlError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
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
    }
}
