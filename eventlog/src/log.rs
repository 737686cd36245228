//! The log: opening it, reading it, and handing out those who write and follow it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chain::Hash;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, SqlitePool};
use tokio::sync::watch;

use crate::connect::{self, Safety};
use crate::faults::Faults;
use crate::pages::{self, Span};
use crate::sql::{self, Cell, Conn, Row};
use crate::tables::{ENTRIES, HEAD, Head, PAYLOADS, SUBJECT_KEYS, Stored, hash, number, unreadable};
use crate::vault::{Payload, WrappedKey};
use crate::{Failure, Follower, Migration, Seat, Writer, migrate, writer};

/// What one read returns at most, in bytes of entries: more of them come with the next one.
const READ_BYTES: usize = 64 << 20;

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
    /// The newest entry that a writer of this process committed or read under the head's lock: the log must go on from it.
    newest: Mutex<Option<(u64, Hash)>>,
    /// How often a writer had to open a new session.
    reconnected: watch::Sender<u64>,
    /// On SQLite, whether the directory's lock is held by a writer of this very log.
    writes_alone: AtomicBool,
    faults: Faults,
}

enum Engine {
    Postgres { options: Box<PgConnectOptions>, readers: PgPool },
    Sqlite { dir: PathBuf, readers: SqlitePool },
}

/// Reads, and reads once more where the first connection turns out to be dead.
macro_rules! reading {
    ($log:ident, $conn:ident => $read:expr) => {{
        let first = {
            let $conn = &mut $log.reader().await?;
            $read.await
        };
        match first {
            Ok(found) => Ok(found),
            Err(failure) => {
                let $conn = &mut $log.second_reader(failure).await?;
                $read.await
            }
        }
    }};
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
                (Engine::Postgres { options: Box::new(options), readers }, safety)
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
        let inner = Inner {
            config,
            engine,
            safety,
            committed: watch::Sender::new(0),
            newest: Mutex::default(),
            reconnected: watch::Sender::new(0),
            writes_alone: AtomicBool::new(false),
            faults: Faults::default(),
        };
        let log = Log { inner: Arc::new(inner) };
        let mut conn = log.reader().await?;
        let carried = migrate::own(conn.is_postgres());
        migrate::check_versions(&mut conn, carried).await?;
        let head = head(&mut conn).await?;
        log.check_continues(&mut conn, &head, true).await?;
        if let Some(last) = head.size.checked_sub(1) {
            match entry(&mut conn, last).await? {
                Some(entry) => log.learn(entry.position, entry.hash),
                None => return Err(Failure::Corrupt(format!("the entry at position {last}, the newest, is missing"))),
            }
        }
        log.announce(head.size);
        Ok(log)
    }

    /// Refuses a log whose other schemas were migrated by a newer version of this software, or not yet by this one. Its own two are
    /// checked when it is opened.
    pub async fn check_schema(&self, carried: &[Migration<'_>]) -> Result<(), Failure> {
        migrate::check_versions(&mut self.reader().await?, carried).await
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
    ///
    /// # Errors
    /// [`Failure::Diverged`] when it is older than what this process knows to be committed.
    pub async fn head(&self) -> Result<Head, Failure> {
        // Before the look: what is committed meanwhile need not be seen by it.
        let known = *self.inner.committed.borrow();
        let head = reading!(self, conn => head(conn))?;
        self.check_size(&head, known)?;
        Ok(head)
    }

    /// Up to `limit` entries from position `from` on; fewer when they are over 64 MiB together, but always one if there is one.
    pub async fn read(&self, from: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
        let entries = reading!(self, conn => pages::read(conn, Span::Log { from }, limit, READ_BYTES, None))?;
        if (from..).zip(&entries).any(|(position, entry)| position != entry.position) {
            return Err(Failure::Corrupt(format!("an entry is missing at or after position {from}")));
        }
        Ok(entries)
    }

    /// The hashes of up to `limit` entries from position `from` on, fewer when the log ends before.
    ///
    /// # Errors
    /// [`Failure::Corrupt`] when an entry below the head is missing.
    pub async fn hashes(&self, from: u64, limit: usize) -> Result<Vec<Hash>, Failure> {
        reading!(self, conn => pages::hashes(conn, from, limit))
    }

    /// Which streams the entries from `from` up to `until` (excluded) are of, each with the position of its newest one among them.
    pub async fn changed_streams(&self, from: u64, until: u64) -> Result<Vec<(String, u64)>, Failure> {
        reading!(self, conn => pages::changed_streams(conn, from, until))
    }

    /// Up to `limit` entries of one stream from version `from` on; fewer when they are over 64 MiB together.
    pub async fn read_stream(&self, stream: &str, from: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
        reading!(self, conn => pages::read(conn, Span::Stream { stream, from }, limit, READ_BYTES, None))
    }

    /// All entries of these streams, in order of position.
    pub async fn load_streams(&self, streams: &[String]) -> Result<Vec<Stored>, Failure> {
        let mut entries = Vec::new();
        self.load_each(streams, |entry| {
            entries.push(entry);
            Ok(())
        })
        .await?;
        entries.sort_unstable_by_key(|entry| entry.position);
        Ok(entries)
    }

    /// Shows `see` every entry of these streams: one stream after another, each in order of version. Only a page of them is in memory
    /// at any time, so a stream may be of any length.
    ///
    /// # Errors
    /// The first one of `see` ends the reading.
    pub async fn load_each(
        &self,
        streams: &[String],
        mut see: impl FnMut(Stored) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let mut conn = self.reader().await?;
        let end = head(&mut conn).await?.size;
        pages::each(&mut conn, streams, end, &mut see).await
    }

    /// A reader that starts at position `from`.
    pub fn follow(&self, from: u64) -> Follower {
        Follower::new(self.clone(), from, self.inner.committed.subscribe())
    }

    /// A pooled connection that cannot write. On SQLite it sees log, vault and guards; on PostgreSQL the views as well.
    pub async fn reader(&self) -> Result<Conn, Failure> {
        Ok(match &self.inner.engine {
            Engine::Postgres { readers, .. } => connect::postgres_reader(readers).await?,
            Engine::Sqlite { readers, .. } => Conn::from(readers.acquire().await?),
        })
    }

    /// A session that cannot write and reads beside a writer, as fast as the writer itself would.
    pub async fn beside(&self) -> Result<Conn, Failure> {
        match &self.inner.engine {
            Engine::Postgres { options, .. } => connect::postgres_beside(options).await,
            Engine::Sqlite { dir, .. } => connect::sqlite_beside(dir).await,
        }
    }

    /// After a failed read, a reader to try once more with: the pool does not try each connection before it lends it.
    async fn second_reader(&self, failure: Failure) -> Result<Conn, Failure> {
        match (failure, &self.inner.engine) {
            (Failure::Unavailable(_), Engine::Postgres { readers, .. }) => {
                connect::tested_postgres_reader(readers).await
            }
            (failure, _) => Err(failure),
        }
    }

    /// What the login role lacks of what a server needs.
    pub async fn missing_privileges(&self) -> Result<Vec<String>, Failure> {
        crate::migrate::missing_privileges(&mut self.reader().await?).await
    }

    /// On PostgreSQL, a connection of its own for a worker that writes views; on SQLite nothing, because views live in another file.
    pub async fn session(&self) -> Result<Option<Conn>, Failure> {
        match &self.inner.engine {
            Engine::Postgres { options, .. } => connect::postgres_session(options).await.map(Some),
            Engine::Sqlite { .. } => Ok(None),
        }
    }

    /// On PostgreSQL, a connection that can hold a seat; on SQLite nothing, because there is one process.
    pub(crate) async fn seat_session(&self) -> Result<Option<Conn>, Failure> {
        match &self.inner.engine {
            Engine::Postgres { options, .. } => connect::postgres_seat(options).await.map(Some),
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
            Engine::Sqlite { dir, .. } => Some(lock(dir.join(WRITER_LOCK))?),
        };
        let conn = self.connect_writer().await?;
        self.inner.writes_alone.store(lock.is_some(), Ordering::Release);
        Ok(Writer::new(self.clone(), conn, lock))
    }

    /// The seat of the one process that may sign and anchor this log; `None` while another process sits there.
    ///
    /// # Errors
    /// When the database cannot be reached, or refuses.
    pub async fn take_seat(&self) -> Result<Option<Seat>, Failure> {
        Seat::take(self).await
    }

    /// Counts how often a writer of this process had to open a new session. What it found was a continuation of what this process
    /// knows, but perhaps not of what was anchored: the anchor's check belongs after every change.
    pub fn reconnected(&self) -> watch::Receiver<u64> {
        self.inner.reconnected.subscribe()
    }

    /// The ciphertexts with these digests, in no particular order; erased ones are missing.
    pub async fn payloads(&self, digests: &[Hash]) -> Result<Vec<Payload>, Failure> {
        reading!(self, conn => payloads(conn, digests))
    }

    /// The wrapped keys of these subjects, in no particular order; erased ones are missing.
    pub async fn subject_keys(&self, subjects: &[String]) -> Result<Vec<WrappedKey>, Failure> {
        reading!(self, conn => subject_keys(conn, subjects))
    }

    pub(crate) async fn connect_writer(&self) -> Result<Conn, Failure> {
        let config = &self.inner.config;
        match &self.inner.engine {
            Engine::Sqlite { dir, .. } => connect::sqlite_writer(dir, false).await,
            Engine::Postgres { options, .. } => {
                let mut conn = connect::postgres_writer(options).await?;
                // Every time, not only at the start: a server can come back with other settings, or as another server.
                connect::check_postgres(&mut conn, config.allow_unsafe, config.allow_owner).await?;
                conn.script(writer::PREPARE_LOCK).await?;
                Ok(conn)
            }
        }
    }

    /// Refuses a database that does not go on where this process knows the log to be. `fresh`: the session is a new one, so its database
    /// may be another, and the newest entry known must be in it.
    pub(crate) async fn check_continues(&self, conn: &mut Conn, head: &Head, fresh: bool) -> Result<(), Failure> {
        if head.origin != self.origin() {
            return Err(Failure::WrongOrigin { expected: self.origin().to_owned(), found: head.origin.clone() });
        }
        self.check_size(head, *self.inner.committed.borrow())?;
        let newest = *self.newest();
        let Some((position, known)) = newest.filter(|_| fresh) else { return Ok(()) };
        let found = entry(conn, position).await?.map(|entry| entry.hash);
        if found == Some(known) {
            return Ok(());
        }
        let what = if found.is_none() { "the entry known there is gone" } else { "another entry is there" };
        Err(Failure::Diverged { position, what: what.to_owned() })
    }

    fn check_size(&self, head: &Head, known: u64) -> Result<(), Failure> {
        if head.size >= known {
            return Ok(());
        }
        Err(Failure::Diverged {
            position: head.size,
            what: format!("{known} entries were committed, {} are there", head.size),
        })
    }

    /// Remembers an entry that is certainly in the log.
    pub(crate) fn learn(&self, position: u64, hash: Hash) {
        let mut newest = self.newest();
        if newest.is_none_or(|(known, _)| known < position) {
            *newest = Some((position, hash));
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<(u64, Hash)>> {
        // Whoever panicked while holding it had not begun to change it.
        self.inner.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_reconnect(&self) {
        self.inner.reconnected.send_modify(|count| *count += 1);
    }

    /// Whether nobody but a writer of this log can append.
    pub(crate) fn writes_alone(&self) -> bool {
        self.inner.writes_alone.load(Ordering::Acquire)
    }

    pub(crate) fn lock_released(&self) {
        self.inner.writes_alone.store(false, Ordering::Release);
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
    pub fn clock(&self) -> i64 {
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

/// Who holds the lock on it writes there.
pub(crate) const WRITER_LOCK: &str = "writer.lock";

/// Takes the lock of a SQLite directory. The operating system releases it when the process ends, however it ends.
pub(crate) fn lock(path: PathBuf) -> Result<File, Failure> {
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

pub(crate) async fn entry(conn: &mut Conn, position: u64) -> Result<Option<Stored>, Failure> {
    let rows = sql::select_keys(conn, &ENTRIES, &[vec![number(position)]]).await?;
    Ok(Stored::from_rows(rows)?.pop())
}

async fn payloads(conn: &mut Conn, digests: &[Hash]) -> Result<Vec<Payload>, Failure> {
    let keys: Vec<Row> = digests.iter().map(|digest| vec![hash(digest)]).collect();
    let rows = sql::select_keys(conn, &PAYLOADS, &keys).await?;
    rows.into_iter().map(Payload::from_row).collect()
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
