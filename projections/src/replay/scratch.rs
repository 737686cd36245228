//! Temporary tables with the live ones' names: on their connection they shadow them, and nobody else sees them.

use eventlog::sql::{self, Change, Column, Conn, Kind, Table};
use eventlog::{Failure, Location, Log};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::projector::{Projector, Tables};
use crate::recorded::Recorded;

/// Rows of each table remembered while folding (few in tests, so that they cross the edges); what is ended leaves memory in time, what is living mostly stays.
const REMEMBERED: usize = if cfg!(test) { 20 } else { 400_000 };
/// Rows of a table that are written at once: enough for a balance that changes all the time to be written seldom.
const WRITTEN_AT_ONCE: usize = if cfg!(test) { 40 } else { 50_000 };
/// Scratch tables are thrown away on any error, so nothing is kept to undo what was done to them; and they get memory, up to 128 MiB.
const SQLITE: &str = "pragma temp.journal_mode = off; pragma temp.cache_size = -131072";
const POSTGRES: &str = "set temp_buffers = '128MB'";
const BUSY: std::time::Duration = std::time::Duration::from_secs(60);

/// Tables folded from position 0 on.
pub(super) struct Scratch<T> {
    conn: Conn,
    projector: Projector<T>,
    size: u64,
}

impl<T: Tables> Scratch<T> {
    /// Empty tables on this connection.
    pub(super) async fn create(mut conn: Conn) -> Result<Self, Failure> {
        conn.script(if conn.is_postgres() { POSTGRES } else { SQLITE }).await?;
        for table in T::tables() {
            let ddl = definition(table, conn.is_postgres());
            conn.script(&ddl).await?;
        }
        Ok(Self { conn, projector: Projector::new(REMEMBERED, true), size: 0 })
    }

    /// How many entries are folded.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) const fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Folds the next entries; those that were folded before are passed over.
    pub(super) async fn feed(&mut self, events: &[Recorded]) -> Result<(), Failure> {
        let first = events.iter().position(|recorded| recorded.position >= self.size);
        let Some(events) = first.map(|first| &events[first..]) else { return Ok(()) };
        let Some(last) = events.last() else { return Ok(()) };
        if events.first().is_some_and(|recorded| recorded.position != self.size) {
            return Err(Failure::Corrupt(format!("replay skips from {} to a later position", self.size)));
        }
        let changes = self.projector.collect(&mut self.conn, events, WRITTEN_AT_ONCE).await?;
        self.write(&changes).await?;
        self.size = last.position + 1;
        Ok(())
    }

    /// Writes what was collected: afterwards the tables are what [`Scratch::size`] entries make.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        let changes = self.projector.flush(0);
        self.write(&changes).await
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), Failure> {
        // On SQLite a change is many statements, and each would be a transaction of its own. Nothing but scratch tables is touched, so
        // nobody else waits.
        let own = !self.conn.is_postgres() && !self.conn.is_open() && !changes.is_empty();
        if own {
            self.conn.begin_read().await?;
        }
        sql::apply(&mut self.conn, changes).await?;
        if own {
            self.conn.commit().await?;
        }
        Ok(())
    }

    /// Makes the live rows these, within the open transaction. Readers keep the old ones until it commits.
    pub(super) async fn replace(&mut self, schema: &str) -> Result<(), Failure> {
        self.finish().await?;
        let (live, scratch) = if self.conn.is_postgres() { (schema, "pg_temp") } else { ("main", "temp") };
        for table in T::tables() {
            for statement in replacing(table, live, scratch, self.conn.is_postgres()) {
                sql::execute(&mut self.conn, &statement, &[]).await?;
            }
        }
        Ok(())
    }
}

/// Makes `live` what `scratch` is by touching only what differs: usually nothing, so that the lock is short and nothing is written.
/// A difference replaces every row with the same first key column, because some constraints look at several rows, like the legs
/// of a movement.
fn replacing(table: &Table, live: &str, scratch: &str, postgres: bool) -> [String; 2] {
    let (name, first, columns) = (table.name, table.columns[0].name, columns(table));
    let same = |count: usize| {
        let equal = |(index, column): (usize, &Column)| {
            let operator = match (index < table.key, postgres) {
                (true, _) => "=",
                (false, true) => "is not distinct from",
                (false, false) => "is",
            };
            format!("a.\"{0}\" {operator} b.\"{0}\"", column.name)
        };
        table.columns[..count].iter().enumerate().map(equal).collect::<Vec<_>>().join(" and ")
    };
    let (all, key) = (same(table.columns.len()), same(table.key));
    let differing = |these: &str, others: &str| {
        format!(
            "select a.\"{first}\" from {these}.\"{name}\" as a where not exists (select 1 from {others}.\"{name}\" as b where {all})"
        )
    };
    let (gone, new) = (differing(live, scratch), differing(scratch, live));
    [
        format!("delete from {live}.\"{name}\" where \"{first}\" in ({gone} union {new})"),
        format!(
            "insert into {live}.\"{name}\" ({columns}) select {columns} from {scratch}.\"{name}\" as a \
             where not exists (select 1 from {live}.\"{name}\" as b where {key})"
        ),
    ]
}

fn columns(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    names.join(", ")
}

/// The columns and the primary key; what the live table refuses, it refuses when the rows are copied there.
fn definition(table: &Table, postgres: bool) -> String {
    let kind = |kind: Kind| match (kind, postgres) {
        (Kind::Text, true) => "text collate \"C\"",
        (Kind::Int, true) => "bigint",
        (Kind::Money, true) => "numeric(38, 0)",
        (Kind::Bytes, true) => "bytea",
        (Kind::Text | Kind::Money, false) => "text",
        (Kind::Int, false) => "integer",
        (Kind::Bytes, false) => "blob",
    };
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("\"{}\" {}", column.name, kind(column.kind))).collect();
    let key: Vec<String> = table.columns[..table.key].iter().map(|column| format!("\"{}\"", column.name)).collect();
    let end = if postgres { "" } else { " without rowid" };
    let (name, columns, key) = (table.name, columns.join(", "), key.join(", "));
    format!("create temporary table \"{name}\" ({columns}, primary key ({key})){end}")
}

/// A connection that may write guards.
pub(crate) async fn guard_session(log: &Log) -> Result<Conn, Failure> {
    if let Some(session) = log.session().await? {
        return Ok(session);
    }
    let Location::Sqlite { dir } = &log.config().location else {
        return Err(Failure::Contradiction("a log on PostgreSQL without a session".to_owned()));
    };
    let options = SqliteConnectOptions::new()
        .filename(dir.join("log.db"))
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    Ok(Conn::from(options.disable_statement_logging().connect().await?))
}

/// A connection for tables that are only compared.
pub(super) async fn private_session(log: &Log) -> Result<Conn, Failure> {
    match log.session().await? {
        Some(session) => Ok(session),
        None => {
            Ok(Conn::from(SqliteConnectOptions::new().in_memory(true).disable_statement_logging().connect().await?))
        }
    }
}
