//! Where views live: schema `read` of the log's PostgreSQL, or a file of their own beside `log.db`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use eventlog::sql::{self, Cell, Conn, Kind};
use eventlog::{Failure, Location, Log};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};

use crate::ddl;

const READERS: u32 = 8;
const ACQUIRE: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(60);

/// The views' database. Cheap to clone.
#[derive(Clone)]
pub struct ViewsDb {
    log: Log,
    /// On SQLite only.
    file: Option<(PathBuf, SqlitePool)>,
}

impl ViewsDb {
    /// Opens the views of this log. With `create`, which is for the one who runs the worker, a missing SQLite file is made, and one
    /// made by another version is thrown away: the worker fills the new one from position 0.
    pub async fn open(log: &Log, create: bool) -> Result<Self, Failure> {
        let file = match &log.config().location {
            Location::Postgres { .. } => None,
            Location::Sqlite { dir } => {
                let path = dir.join("views.db");
                prepare(&path, create).await?;
                let options = options(&path).pragma("query_only", "ON");
                let pool = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE);
                Some((path, pool.connect_lazy_with(options)))
            }
        };
        Ok(Self { log: log.clone(), file })
    }

    /// A pooled connection that cannot write.
    pub async fn reader(&self) -> Result<Conn, Failure> {
        match &self.file {
            None => self.log.reader().await,
            Some((_, pool)) => Ok(Conn::from(pool.acquire().await?)),
        }
    }

    /// A connection of its own for a worker.
    pub async fn writer(&self) -> Result<Conn, Failure> {
        if let Some((path, _)) = &self.file {
            return Ok(Conn::from(options(path).connect().await?));
        }
        let session = self.log.session().await?;
        session.ok_or_else(|| Failure::Contradiction("a log without a file of views has no session either".to_owned()))
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    // NORMAL: a crash of the machine may cost the last batches, which are then folded again; never the file.
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// What tells one version of the views' definition from another; never 0, which a new file has.
fn version() -> i64 {
    let digest = chain::hash::sha256(&[ddl::VIEWS_SQLITE.as_bytes()]).0;
    i64::from(i32::from_be_bytes([digest[0] & 0x7f, digest[1], digest[2], digest[3] | 1]))
}

async fn prepare(path: &Path, create: bool) -> Result<(), Failure> {
    if path.exists() {
        let mut conn = Conn::from(options(path).connect().await?);
        if sql::query(&mut conn, "select * from pragma_user_version", &[Kind::Int], &[]).await?
            == [[Cell::Int(version())]]
        {
            return Ok(());
        }
    }
    if !create {
        return Err(Failure::Missing(format!("{} is not there or was made by another version", path.display())));
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::System(format!("{}: {error}", name.display())));
            }
            _ => {}
        }
    }
    let mut conn = Conn::from(options(path).create_if_missing(true).connect().await?);
    conn.begin().await?;
    conn.script(ddl::VIEWS_SQLITE).await?;
    conn.script(&format!("pragma user_version = {}", version())).await?;
    conn.commit().await?;
    Ok(())
}
