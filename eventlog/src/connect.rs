//! How sessions are opened on both engines, and what a server must be like before anything is written to it.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgPool, SqlitePool};

use crate::Failure;
use crate::sql::{self, Cell, Conn, Kind};

const SEARCH_PATH: &str = "guard, log, vault, read";
const READERS: u32 = 16;
const ACQUIRE: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps. Each costs memory on both sides; the house has a few dozen.
const STATEMENTS: usize = 64;
/// The same on SQLite, where a statement's text also depends on how many rows it carries.
const SQLITE_STATEMENTS: usize = 256;
/// A connection that was used so recently is not tried before it is lent again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a writer waits for any answer. Longer than any limit that the server sets.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// The same for a reader, whose statements may take longer.
const READER_PATIENCE: Duration = Duration::from_secs(40);

/// What this log runs without, as `doctor` and receipts must say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Safety {
    /// Settings under which a commit may be lost, allowed by `--unsafe`.
    pub unsafe_settings: Vec<String>,
    /// The role could rewrite the log, allowed by `--dev`.
    pub owner: bool,
}

pub(crate) fn postgres_options(url: &str) -> Result<PgConnectOptions, Failure> {
    let options = url.parse::<PgConnectOptions>().map_err(|error| Failure::system("the database URL", error))?;
    let settings = [
        ("search_path", SEARCH_PATH),
        ("timezone", "UTC"),
        // A client that vanished is noticed in about twenty seconds; ignored on unix sockets.
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "2"),
        // So is one that takes nothing out of its socket.
        ("tcp_user_timeout", "15000"),
    ];
    Ok(options
        .application_name("guildhall")
        .options(settings)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging())
}

pub(crate) fn postgres_readers(options: &PgConnectOptions) -> PgPool {
    let options = options.clone().options([("default_transaction_read_only", "on"), ("statement_timeout", "30s")]);
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE)
        // Not before every use, which would double the round trips of a small query.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// A reader from the pool, with a limit on how long it may take to answer. SQLite answers from within this process.
pub(crate) async fn postgres_reader(pool: &PgPool) -> Result<Conn, Failure> {
    Ok(Conn::from(pool.acquire().await?).with_patience(READER_PATIENCE))
}

/// A reader that answers for certain. All those that lie in the pool may be dead, after a restart of the server.
pub(crate) async fn tested_postgres_reader(pool: &PgPool) -> Result<Conn, Failure> {
    let mut connection = pool.acquire().await?;
    for _ in 0..READERS {
        if let Ok(Ok(())) = tokio::time::timeout(ACQUIRE, connection.ping()).await {
            break;
        }
        connection.close_on_drop();
        connection = pool.acquire().await?;
    }
    Ok(Conn::from(connection).with_patience(READER_PATIENCE))
}

/// A session that may hold the head's lock: it must not be able to hold it for long, whatever becomes of this process.
///
/// All it does is look keys up. A plan made while a table was small is kept when the table has grown, so plans that read whole
/// tables are ruled out from the start; and since ruling out works by a huge cost, compilation must not be triggered by cost. One plan
/// is then as good as another, so none is made anew for every batch.
pub(crate) async fn postgres_writer(options: &PgConnectOptions) -> Result<Conn, Failure> {
    Ok(postgres_connection(&options.clone().options(WRITER_SETTINGS)).await?.with_patience(PATIENCE))
}

/// One that looks up for a writer what the writer itself would, and cannot write.
pub(crate) async fn postgres_beside(options: &PgConnectOptions) -> Result<Conn, Failure> {
    let options = options.clone().options(WRITER_SETTINGS).options([("default_transaction_read_only", "on")]);
    Ok(postgres_connection(&options).await?.with_patience(PATIENCE))
}

const WRITER_SETTINGS: [(&str, &str); 8] = [
    ("lock_timeout", "3s"),
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// A session of its own, outside the readers' pool. What it does may take long, but it may not hold locks and do nothing.
pub(crate) async fn postgres_session(options: &PgConnectOptions) -> Result<Conn, Failure> {
    postgres_connection(&options.clone().options([("idle_in_transaction_session_timeout", "60s")])).await
}

/// A session that holds a lock of the whole city's for as long as it lives, so it must not outlive its process's attention: one that
/// asks nothing for so long belongs to a process that is frozen.
pub(crate) async fn postgres_seat(options: &PgConnectOptions) -> Result<Conn, Failure> {
    const SETTINGS: [(&str, &str); 4] = [
        ("lock_timeout", "3s"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("idle_session_timeout", "5min"),
    ];
    Ok(postgres_connection(&options.clone().options(SETTINGS)).await?.with_patience(PATIENCE))
}

async fn postgres_connection(options: &PgConnectOptions) -> Result<Conn, Failure> {
    let connecting = tokio::time::timeout(ACQUIRE, options.connect());
    let connection = connecting.await.map_err(|_| Failure::Unavailable("connecting takes too long".to_owned()))??;
    Ok(Conn::from(connection))
}

/// Refuses a server that would lose commits or cannot take them, and a role that could rewrite them: by itself, or as any other role
/// that it is a member of, however indirectly and whether it inherits from it or must take it on.
pub(crate) async fn check_postgres(conn: &mut Conn, allow_unsafe: bool, allow_owner: bool) -> Result<Safety, Failure> {
    const SQL: &str = "
        select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
            current_user, pg_is_in_recovery()::int,
            (exists (select 1 from pg_roles as r where pg_has_role(r.oid, 'member') and (
                    r.rolsuper or r.rolcreaterole or r.rolreplication
                    or r.rolname in ('pg_write_all_data', 'pg_execute_server_program', 'pg_write_server_files')
                    or has_table_privilege(r.oid, to_regclass('log.entries'), 'update, delete, truncate, trigger')
                    or has_any_column_privilege(r.oid, to_regclass('log.entries'), 'update')
                    or has_table_privilege(r.oid, to_regclass('log.head'), 'insert, delete, truncate, trigger')
                    or exists (select 1 from pg_namespace where nspname in ('log', 'vault', 'guard')
                        and has_schema_privilege(r.oid, pg_namespace.oid, 'create'))))
                or exists (select 1 from pg_database where datname = current_database() and pg_has_role(datdba, 'member'))
                or exists (select 1 from pg_namespace where nspname in ('log', 'vault', 'guard') and pg_has_role(nspowner, 'member'))
                or exists (select 1 from pg_class join pg_namespace on pg_namespace.oid = relnamespace
                    where nspname in ('log', 'vault', 'guard') and pg_has_role(relowner, 'member')))::int,
            (to_regclass('log.head') is null)::int";
    let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int];
    let row = sql::query(conn, SQL, &kinds, &[]).await?.pop().and_then(|row| <[Cell; 7]>::try_from(row).ok());
    let Some([Cell::Text(fsync), Cell::Text(pages), Cell::Text(commit), Cell::Text(role), recovery, owner, missing]) =
        row
    else {
        return Err(Failure::Database("the server does not tell its settings".to_owned()));
    };
    let yes = Cell::Int(1);
    if missing == yes {
        return Err(Failure::Missing("run `guildhall migrate` with the owner's URL first".to_owned()));
    }
    if recovery == yes {
        return Err(Failure::Unavailable("this server is a replica, the log is written on the primary".to_owned()));
    }
    if owner == yes && !allow_owner {
        return Err(Failure::Owner { role });
    }
    let settings = [("fsync", fsync), ("full_page_writes", pages), ("synchronous_commit", commit)];
    let unsafe_settings: Vec<String> =
        settings.into_iter().filter(|(_, value)| value == "off").map(|(name, _)| format!("{name}=off")).collect();
    if !unsafe_settings.is_empty() && !allow_unsafe {
        return Err(Failure::UnsafeSettings { which: unsafe_settings.join(", ") });
    }
    Ok(Safety { unsafe_settings, owner: owner == yes })
}

/// So many bytes of `log.db` are read that way, from its beginning: the most that SQLite allows.
const MAPPED: &str = "2147418112";

/// The options that every connection to `log.db` shares.
fn sqlite_options(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(dir.join("log.db"))
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(SQLITE_STATEMENTS)
        .disable_statement_logging()
}

/// The one connection that writes. FULL: every commit is synced to disk before it returns, also in WAL mode.
pub(crate) async fn sqlite_writer(dir: &Path, create: bool) -> Result<Conn, Failure> {
    let options = sqlite_options(dir)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // 64 MiB of pages, in KiB: with the default of two, a batch reads most of the pages that it writes to.
        .pragma("cache_size", "-65536")
        // 32 MiB in pages: keys come at random, and a page that many batches write to is copied back once.
        .pragma("wal_autocheckpoint", "8192")
        // What was erased is overwritten with zeros, not only forgotten.
        .pragma("secure_delete", "ON");
    Ok(Conn::from(options.connect().await?).with_patience(PATIENCE))
}

/// Connections that cannot write. They open the file for writing all the same, because recovering a WAL after a crash needs it.
pub(crate) fn sqlite_readers(dir: &Path) -> SqlitePool {
    let options = sqlite_options(dir).pragma("query_only", "ON");
    SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE).connect_lazy_with(options)
}

/// One of those, for a writer alone. It reads from the system's own copy of the file: whoever reads many entries, each from another page,
/// spends most of the time on copying pages.
pub(crate) async fn sqlite_beside(dir: &Path) -> Result<Conn, Failure> {
    let options = sqlite_options(dir).pragma("query_only", "ON").pragma("mmap_size", MAPPED);
    Ok(Conn::from(options.connect().await?).with_patience(PATIENCE))
}
