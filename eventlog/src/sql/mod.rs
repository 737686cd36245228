//! Sets of rows in and out of either engine: the one way the house writes tables.
//!
//! A caller describes tables and changes; this module turns a whole list of changes into one round trip on PostgreSQL and into
//! one statement per change on SQLite. No row is ever written in a loop of statements, and no identifier or value is spliced
//! into SQL text except the table and column names that are compiled in.

mod conn;
mod error;
mod money;
mod postgres;
mod sqlite;

pub use conn::{Conn, Session};
pub use error::SqlError;
pub use money::{MONEY_LIMIT, money_text, parse_money_text};
pub(crate) use sqlite::each as each_sqlite;

/// One exchange with either engine, whose module is called `engine` in it, within the connection's patience.
macro_rules! exchange {
    ($conn:ident, $session:ident => $call:expr) => {{
        let patience = $conn.ask()?;
        let exchange = async {
            match $conn {
                Conn::Postgres($session) => {
                    use self::postgres as engine;
                    $call.await
                }
                Conn::Sqlite($session) => {
                    use self::sqlite as engine;
                    $call.await
                }
            }
        };
        let result = patience.with(exchange).await?;
        $conn.answered();
        result
    }};
}

/// What a column holds. Every column may also hold null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    Int,
    /// An amount in minor units, |n| < 10^28. PostgreSQL: NUMERIC(38,0). SQLite: see [`money_text`].
    Money,
    /// Bytes: `bytea` or `BLOB`.
    Bytes,
}

/// A column: its name and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

/// A table, or those columns of it that a caller cares about.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// The first `key` columns are the primary key, and never null.
    pub key: usize,
}

/// One value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cell {
    Null,
    Text(String),
    Int(i64),
    Money(i128),
    Bytes(Vec<u8>),
}

/// The cells of one row, in the order of the table's columns.
pub type Row = Vec<Cell>;

/// One change to one table. No two changes of one [`apply`] may touch the same row.
#[derive(Clone, Debug)]
pub enum Change {
    /// New rows. Fails with [`SqlError::Constraint`] when one is already there.
    Insert { table: &'static Table, rows: Vec<Row> },
    /// Compare-and-set: each old row must be there exactly as given, nulls included. The key stays.
    Update { table: &'static Table, rows: Vec<(Row, Row)> },
    /// New rows, or new values of the rows with these keys.
    Upsert { table: &'static Table, rows: Vec<Row> },
    /// Removes the rows with these keys, all of which must be there.
    Delete { table: &'static Table, keys: Vec<Row> },
    /// Changes nothing: these rows must be there exactly as given, before any change of the same [`apply`].
    Expect { table: &'static Table, rows: Vec<Row> },
}

impl Change {
    /// The table this change is about.
    pub fn table(&self) -> &'static Table {
        match self {
            Change::Insert { table, .. }
            | Change::Update { table, .. }
            | Change::Upsert { table, .. }
            | Change::Delete { table, .. }
            | Change::Expect { table, .. } => table,
        }
    }

    /// How many rows it carries.
    pub fn len(&self) -> usize {
        match self {
            Change::Insert { rows, .. } | Change::Upsert { rows, .. } | Change::Expect { rows, .. } => rows.len(),
            Change::Update { rows, .. } => rows.len(),
            Change::Delete { keys, .. } => keys.len(),
        }
    }

    /// Whether it carries no row, and so does nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses rows that do not fit their table, before any of them reaches an engine.
    fn check(&self) -> Result<(), SqlError> {
        let table = self.table();
        match self {
            Change::Insert { rows, .. } | Change::Upsert { rows, .. } | Change::Expect { rows, .. } => {
                rows.iter().try_for_each(|row| check_row(table, table.columns, row))
            }
            Change::Delete { keys, .. } => check_keys(table, keys),
            Change::Update { rows, .. } => rows.iter().try_for_each(|(old, new)| {
                check_row(table, table.columns, old)?;
                check_row(table, table.columns, new)?;
                if table.key == table.columns.len() || old[..table.key] != new[..table.key] {
                    return Err(SqlError::shape(table, "an update must keep the key and have something else to set"));
                }
                Ok(())
            }),
        }
    }

    /// Holds the number of rows that the engine touched against the number that was meant.
    fn verify(&self, got: u64) -> Result<(), SqlError> {
        let expected = self.len() as u64;
        if got == expected || matches!(self, Change::Upsert { .. }) {
            return Ok(());
        }
        Err(SqlError::Mismatch { table: self.table().name.to_owned(), expected, got })
    }
}

fn check_keys(table: &Table, keys: &[Row]) -> Result<(), SqlError> {
    keys.iter().try_for_each(|key| check_row(table, &table.columns[..table.key], key))
}

fn check_row(table: &Table, columns: &[Column], row: &[Cell]) -> Result<(), SqlError> {
    if row.len() != columns.len() {
        return Err(SqlError::shape(table, "a row has the wrong number of cells"));
    }
    for (column, cell) in columns.iter().zip(row) {
        let fits = match (column.kind, cell) {
            (_, Cell::Null)
            | (Kind::Text, Cell::Text(_))
            | (Kind::Int, Cell::Int(_))
            | (Kind::Bytes, Cell::Bytes(_)) => true,
            (Kind::Money, Cell::Money(amount)) => money::in_range(*amount),
            _ => false,
        };
        if !fits {
            return Err(SqlError::shape(table, column.name));
        }
    }
    Ok(())
}

/// Applies all changes in order. The caller holds a transaction: on an error some changes may have been made, and the only way on
/// is to roll back.
pub async fn apply(conn: &mut Conn, changes: &[Change]) -> Result<(), SqlError> {
    let changes: Vec<&Change> = changes.iter().filter(|change| !change.is_empty()).collect();
    if changes.is_empty() {
        return Ok(());
    }
    changes.iter().try_for_each(|change| change.check())?;
    exchange!(conn, session => engine::apply(session, &changes))
}

/// The rows with these primary keys, in no particular order; a key that is not there gives no row. One round trip.
pub async fn select_keys(conn: &mut Conn, table: &'static Table, keys: &[Row]) -> Result<Vec<Row>, SqlError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    check_keys(table, keys)?;
    let distinct: std::collections::BTreeSet<&Row> = keys.iter().collect();
    let keys: Vec<&[Cell]> = distinct.into_iter().map(Vec::as_slice).collect();
    exchange!(conn, session => engine::select_keys(session, table, &keys))
}

/// Rows of one table. `rest` is everything after `from table as t`: `where stream = $1 order by version limit $2`.
///
/// # Errors
/// [`SqlError::Failure`] when an engine refuses the text or cannot be reached.
pub async fn select(conn: &mut Conn, table: &'static Table, rest: &str, params: &[Cell]) -> Result<Vec<Row>, SqlError> {
    exchange!(conn, session => engine::select(session, table, rest, params))
}

/// Rows of any query that both engines understand; `kinds` says what its columns hold. Parameters are `$1`, `$2`, ...
pub async fn query(conn: &mut Conn, sql: &str, kinds: &[Kind], params: &[Cell]) -> Result<Vec<Row>, SqlError> {
    exchange!(conn, session => engine::query(session, sql, kinds, params))
}

/// Runs one statement that returns nothing; answers how many rows it touched.
pub async fn execute(conn: &mut Conn, sql: &str, params: &[Cell]) -> Result<u64, SqlError> {
    exchange!(conn, session => engine::execute(session, sql, params))
}
