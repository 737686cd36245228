//! The log: opening it, reading it, and handing out those who write and follow it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use chain::Hash;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, SqlitePool};
use tokio::sync::watch;

use crate::connect::{self, Safety};
use crate::faults::Faults;
use crate::sql::{self, Cell, Conn, Row};
use crate::tables::{ENTRIES, HEAD, Head, PAYLOADS, SUBJECT_KEYS, Stored, hash, number, unreadable};
use crate::vault::{Payload, WrappedKey};
use crate::{Failure, Follower, Writer, migrate};

/// Where a log is.
#[derive(Clone)]
pub enum Location {
    /// A directory that holds `log.db`.
    Sqlite { dir: PathBuf },
    /// `postgres://login@host/database`, or `postgres:///database?host=/socket/dir&user=login`.
    Postgres { url: String },
}

impl fmt::Debug for Location {
    /// Without the URL: it may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Sqlite { dir } => write!(formatter, "Sqlite({})", dir.display()),
            Location::Postgres { .. } => formatter.write_str("Postgres(..)"),
        }
    }
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogConfig {
    pub location: Location,
    /// The log's name, which every entry hash binds: `[a-z0-9./-]{1,128}`.
    pub origin: String,
    /// Go on with a server that may lose commits.
    pub allow_unsafe: bool,
    /// Go on with a role that could rewrite the log (`--dev`).
    pub allow_owner: bool,
    /// Create a missing log. SQLite only: a PostgreSQL log is created by its owner with [`crate::migrate_postgres`].
    pub create: bool,
}

/// An open log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    config: LogConfig,
    engine: Engine,
    safety: Safety,
    /// The size of the log as far as this process knows from its own commits.
    committed: watch::Sender<u64>,
    faults: Faults,
}

enum Engine {
    Postgres { options: PgConnectOptions, readers: PgPool },
    Sqlite { dir: PathBuf, readers: SqlitePool },
}

impl Log {
    /// Opens the log and checks that it is the one that is meant, on a server that keeps what it is given.
    pub async fn open(config: LogConfig) -> Result<Log, Failure> {
        let (engine, safety) = match &config.location {
            Location::Postgres { url } => {
                let options = connect::postgres_options(url)?;
                let mut conn = connect::postgres_session(&options).await?;
                let safety = connect::check_postgres(&mut conn, config.allow_unsafe, config.allow_owner).await?;
                let readers = connect::postgres_readers(&options);
                (Engine::Postgres { options, readers }, safety)
            }
            Location::Sqlite { dir } => {
                if config.create {
                    migrate::init_sqlite(dir, &config.origin, &[]).await?;
                } else if !dir.join("log.db").exists() {
                    return Err(Failure::Missing(dir.display().to_string()));
                }
                (Engine::Sqlite { dir: dir.clone(), readers: connect::sqlite_readers(dir) }, Safety::default())
            }
        };
        let inner = Inner { config, engine, safety, committed: watch::Sender::new(0), faults: Faults::default() };
        let log = Log { inner: Arc::new(inner) };
        let head = log.head().await?;
        if head.origin != log.origin() {
            return Err(Failure::WrongOrigin { expected: log.origin().to_owned(), found: head.origin });
        }
        log.announce(head.size);
        Ok(log)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.inner.config.origin
    }

    /// How this log was opened.
    pub fn config(&self) -> &LogConfig {
        &self.inner.config
    }

    /// What this log runs without.
    pub fn safety(&self) -> &Safety {
        &self.inner.safety
    }

    /// The newest committed state.
    pub async fn head(&self) -> Result<Head, Failure> {
        head(&mut self.reader().await?).await
    }

    /// Up to `limit` entries from position `from` on.
    pub async fn read(&self, from: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
        let entries = entries_from(&mut self.reader().await?, from, limit).await?;
        if (from..).zip(&entries).any(|(position, entry)| position != entry.position) {
            return Err(Failure::Corrupt(format!("an entry is missing at or after position {from}")));
        }
        Ok(entries)
    }

    /// Up to `limit` entries of one stream from version `from_version` on.
    pub async fn read_stream(&self, stream: &str, from_version: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
        const REST: &str = "where t.stream = $1 and t.version >= $2 order by t.version limit $3";
        let params = [Cell::Text(stream.to_owned()), number(from_version), at_most(limit)];
        Stored::from_rows(sql::select(&mut self.reader().await?, &ENTRIES, REST, &params).await?)
    }

    /// All entries of these streams, in order of position.
    pub async fn load_streams(&self, streams: &[String]) -> Result<Vec<Stored>, Failure> {
        load_streams(&mut self.reader().await?, streams).await
    }

    /// A reader that starts at position `from`.
    pub fn follow(&self, from: u64) -> Follower {
        Follower::new(self.clone(), from, self.inner.committed.subscribe())
    }

    /// A pooled connection that cannot write. On SQLite it sees log, vault and guards; on PostgreSQL the views as well.
    pub async fn reader(&self) -> Result<Conn, Failure> {
        Ok(match &self.inner.engine {
            Engine::Postgres { readers, .. } => Conn::from(readers.acquire().await?),
            Engine::Sqlite { readers, .. } => Conn::from(readers.acquire().await?),
        })
    }

    /// On PostgreSQL, a connection of its own for a worker that writes views; on SQLite nothing, because views live in another file.
    pub async fn session(&self) -> Result<Option<Conn>, Failure> {
        match &self.inner.engine {
            Engine::Postgres { options, .. } => connect::postgres_session(options).await.map(Some),
            Engine::Sqlite { .. } => Ok(None),
        }
    }

    /// The writer. On SQLite there is one per directory, held by a lock of the operating system for as long as it lives.
    ///
    /// # Errors
    /// [`Failure::Locked`] when another process, or another writer of this one, writes there.
    pub async fn writer(&self) -> Result<Writer, Failure> {
        let lock = match &self.inner.engine {
            Engine::Postgres { .. } => None,
            Engine::Sqlite { dir, .. } => Some(lock(dir.join("writer.lock"))?),
        };
        let conn = self.connect_writer().await?;
        Ok(Writer::new(self.clone(), conn, lock))
    }

    /// The ciphertexts with these digests, in no particular order; erased ones are missing.
    pub async fn payloads(&self, digests: &[Hash]) -> Result<Vec<Payload>, Failure> {
        let keys: Vec<Row> = digests.iter().map(|digest| vec![hash(digest)]).collect();
        let rows = sql::select_keys(&mut self.reader().await?, &PAYLOADS, &keys).await?;
        rows.into_iter().map(Payload::from_row).collect()
    }

    /// The wrapped keys of these subjects, in no particular order; erased ones are missing.
    pub async fn subject_keys(&self, subjects: &[String]) -> Result<Vec<WrappedKey>, Failure> {
        subject_keys(&mut self.reader().await?, subjects).await
    }

    pub(crate) async fn connect_writer(&self) -> Result<Conn, Failure> {
        let config = &self.inner.config;
        match &self.inner.engine {
            Engine::Sqlite { dir, .. } => connect::sqlite_writer(dir, false).await,
            Engine::Postgres { options, .. } => {
                let mut conn = connect::postgres_writer(options).await?;
                // Every time, not only at the start: a server can come back with other settings, or as another server.
                connect::check_postgres(&mut conn, config.allow_unsafe, config.allow_owner).await?;
                Ok(conn)
            }
        }
    }

    /// Wakes the followers in this process.
    pub(crate) fn announce(&self, size: u64) {
        self.inner.committed.send_if_modified(|known| {
            let grown = size > *known;
            *known = size.max(*known);
            grown
        });
    }

    /// This server's clock, in microseconds since 1970.
    pub(crate) fn clock(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond() + self.inner.faults.clock_skew()
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Orders a fault at the next COMMIT of any writer of this log.
    #[cfg(feature = "testing")]
    pub fn fail_next_commit(&self, fault: crate::CommitFault) {
        self.inner.faults.at_commit(fault);
    }

    /// Puts this server's clock wrong by so many microseconds.
    #[cfg(feature = "testing")]
    pub fn skew_clock(&self, micros: i64) {
        self.inner.faults.set_clock_skew(micros);
    }
}

/// Takes the lock of a SQLite directory. The operating system releases it when the process ends, however it ends.
fn lock(path: PathBuf) -> Result<File, Failure> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Failure::system("the lock file", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Locked { path }),
        Err(TryLockError::Error(error)) => Err(Failure::system("the lock file", error)),
    }
}

pub(crate) async fn head(conn: &mut Conn) -> Result<Head, Failure> {
    match sql::select(conn, &HEAD, "", &[]).await?.pop() {
        Some(row) => Head::from_row(row),
        None => Err(Failure::Missing("the log has no head".to_owned())),
    }
}

pub(crate) async fn entries_from(conn: &mut Conn, from: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
    const REST: &str = "where t.position >= $1 order by t.position limit $2";
    Stored::from_rows(sql::select(conn, &ENTRIES, REST, &[number(from), at_most(limit)]).await?)
}

fn at_most(limit: usize) -> Cell {
    Cell::Int(i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(crate) async fn load_streams(conn: &mut Conn, streams: &[String]) -> Result<Vec<Stored>, Failure> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    // One parameter for any number of streams: the statement stays the same.
    let names = serde_json::Value::from(streams).to_string();
    let rest = if conn.is_postgres() {
        "where t.stream = any (array (select jsonb_array_elements_text($1::jsonb))) order by t.position"
    } else {
        "where t.stream in (select value from json_each($1)) order by t.position"
    };
    Stored::from_rows(sql::select(conn, &ENTRIES, rest, &[Cell::Text(names)]).await?)
}

pub(crate) async fn subject_keys(conn: &mut Conn, subjects: &[String]) -> Result<Vec<WrappedKey>, Failure> {
    let keys: Vec<Row> = subjects.iter().map(|subject| vec![Cell::Text(subject.clone())]).collect();
    let rows = sql::select_keys(conn, &SUBJECT_KEYS, &keys).await?;
    rows.into_iter()
        .map(|row| match <[Cell; 2]>::try_from(row) {
            Ok([Cell::Text(subject), Cell::Bytes(wrapped)]) => Ok(WrappedKey { subject, wrapped }),
            _ => Err(unreadable("subject_keys")),
        })
        .collect()
}
