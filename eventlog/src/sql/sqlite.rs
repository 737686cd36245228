//! SQLite: a change becomes a few statements over rows of bound values.
//!
//! Amounts travel as their stored text. Where rows are compared with a table's, every cell is cast on the way in, which gives it an
//! affinity and so lets the index of a composite key be used in full.

use std::ops::ControlFlow;

use futures::TryStreamExt as _;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor, Row as _, Sqlite, SqliteConnection};

use super::{Cell, Change, Column, Kind, Row, SqlError, Table, money_text, parse_money_text};

type Statement = Query<'static, Sqlite, SqliteArguments>;

fn statement(sql: String) -> Statement {
    sqlx::query(AssertSqlSafe(sql))
}

/// Rows of one statement, largest first: few different texts, so that each is compiled once a connection, and few statements.
const AT_ONCE: [usize; 4] = [64, 16, 4, 1];

/// The given rows in pieces whose lengths are all in [`AT_ONCE`].
fn pieces<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    for length in AT_ONCE {
        while rows.len() >= length {
            let (piece, rest) = rows.split_at(length);
            pieces.push(piece);
            rows = rest;
        }
    }
    pieces
}

/// Changes of so few statements go to the engine as one text: handing over takes longer than doing it. Of more, each is a text of its
/// own, or there would be too many different texts to keep compiled.
const ONE_TEXT: usize = 12;

pub(super) async fn apply(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<(), SqlError> {
    let work: Vec<Work<'_>> = changes.iter().copied().flat_map(compose).collect();
    let mut got = Vec::with_capacity(work.len());
    if work.len() <= ONE_TEXT {
        got = together(connection, &work).await?;
    } else {
        for work in &work {
            got.extend(together(connection, std::slice::from_ref(work)).await?);
        }
    }
    let mut got = work.iter().zip(got).peekable();
    for change in changes {
        let mut touched = 0;
        while let Some((_, count)) = got.next_if(|(work, _)| std::ptr::eq(work.change, *change)) {
            touched += count;
        }
        change.verify(touched)?;
    }
    Ok(())
}

/// One statement of a change.
struct Work<'a> {
    change: &'a Change,
    sql: String,
    cells: Vec<&'a Cell>,
}

/// Runs these one after the other, and answers how many rows each touched or found.
async fn together(connection: &mut SqliteConnection, work: &[Work<'_>]) -> Result<Vec<u64>, SqlError> {
    let text = work.iter().map(|work| work.sql.as_str()).collect::<Vec<_>>().join(";\n");
    let statement = bind(statement(text), work.iter().flat_map(|work| work.cells.iter().copied()));
    let mut results = connection.fetch_many(statement);
    let (mut got, mut found) = (Vec::with_capacity(work.len()), 0);
    loop {
        let result = results.try_next().await;
        let Some(now) = work.get(got.len()) else { break };
        match result.map_err(|error| SqlError::from(error).of_table(now.change.table().name))? {
            Some(Either::Right(row)) => found = row.try_get_unchecked::<i64, _>(0)?.unsigned_abs(),
            Some(Either::Left(_)) if matches!(now.change, Change::Expect { .. }) => got.push(found),
            Some(Either::Left(done)) => got.push(done.rows_affected()),
            None => break,
        }
    }
    Ok(got)
}

fn compose(change: &Change) -> Vec<Work<'_>> {
    let table = change.table();
    match change {
        Change::Insert { rows, .. } => in_pieces(change, rows, |row| row.iter(), |count| insert(table, count, "")),
        Change::Upsert { rows, .. } => {
            let conflict = on_conflict(table);
            in_pieces(change, rows, |row| row.iter(), |count| insert(table, count, &conflict))
        }
        Change::Update { rows, .. } => in_pieces(
            change,
            rows,
            |(old, new): &(Row, Row)| old.iter().chain(&new[table.key..]),
            |count| update(table, count),
        ),
        Change::Delete { keys, .. } => in_pieces(change, keys, |key| key.iter(), |count| delete(table, count)),
        Change::Expect { rows, .. } => in_pieces(change, rows, |row| row.iter(), |count| expect(table, count)),
    }
}

/// A statement for each piece of the rows; `sql` says what it does with so many.
fn in_pieces<'a, R, C: Iterator<Item = &'a Cell>>(
    change: &'a Change,
    rows: &'a [R],
    cells: impl Fn(&'a R) -> C,
    sql: impl Fn(usize) -> String,
) -> Vec<Work<'a>> {
    let work = |piece: &'a [R]| Work { change, sql: sql(piece.len()), cells: piece.iter().flat_map(&cells).collect() };
    pieces(rows).into_iter().map(work).collect()
}

fn insert(table: &Table, rows: usize, conflict: &str) -> String {
    format!("insert into \"{}\" ({}) {}{conflict}", table.name, names(table.columns), values(table.columns.len(), rows))
}

fn on_conflict(table: &Table) -> String {
    let (key, rest) = table.columns.split_at(table.key);
    if rest.is_empty() {
        return format!(" on conflict ({}) do nothing", names(key));
    }
    let set = list(rest, |_, column| format!("\"{0}\" = excluded.\"{0}\"", column.name));
    format!(" on conflict ({}) do update set {set}", names(key))
}

fn update(table: &Table, rows: usize) -> String {
    let (all, changing) = (table.columns, &table.columns[table.key..]);
    let set = list(changing, |index, column| format!("\"{}\" = a.c{}", column.name, all.len() + index));
    let (source, same) = (source(all, changing, rows), matching(table, all.len()));
    format!("update \"{}\" as t set {set} from {source} as a where {same}", table.name)
}

fn delete(table: &Table, rows: usize) -> String {
    let key = &table.columns[..table.key];
    format!("delete from \"{}\" where ({}) in {}", table.name, names(key), source(key, &[], rows))
}

fn expect(table: &Table, rows: usize) -> String {
    let (source, same) = (source(table.columns, &[], rows), matching(table, table.columns.len()));
    // `cross join` keeps the few given rows outside and the index lookup inside.
    format!("select count(*) from {source} as a cross join \"{}\" as t where {same}", table.name)
}

/// `values (?, ?), (?, ?)`
fn values(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("values {}", vec![row; rows].join(", "))
}

/// `(select cast(column1 as text) as c0, ... from (values ...))`, over the cells of `first` followed by those of `second`.
fn source(first: &[Column], second: &[Column], rows: usize) -> String {
    let columns: Vec<Column> = first.iter().chain(second).copied().collect();
    let cells =
        list(&columns, |index, column| format!("cast(column{} as {}) as c{index}", index + 1, stored(column.kind)));
    format!("(select {cells} from ({}))", values(columns.len(), rows))
}

fn stored(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Money => "text",
        Kind::Int => "integer",
        Kind::Bytes => "blob",
    }
}

fn names(columns: &[Column]) -> String {
    list(columns, |_, column| format!("\"{}\"", column.name))
}

fn list(columns: &[Column], item: impl Fn(usize, &Column) -> String) -> String {
    columns.iter().enumerate().map(|(index, column)| item(index, column)).collect::<Vec<_>>().join(", ")
}

fn matching(table: &Table, count: usize) -> String {
    let conditions = table.columns[..count].iter().enumerate().map(|(index, column)| {
        let operator = if index < table.key { "=" } else { "is" };
        format!("t.\"{}\" {operator} a.c{index}", column.name)
    });
    conditions.collect::<Vec<_>>().join(" and ")
}

pub(super) async fn select_keys(
    connection: &mut SqliteConnection,
    table: &Table,
    keys: &[&[Cell]],
) -> Result<Vec<Row>, SqlError> {
    let columns = list(table.columns, |_, column| format!("t.\"{}\"", column.name));
    let same = matching(table, table.key);
    let sql = |count: usize| {
        let source = source(&table.columns[..table.key], &[], count);
        format!("select {columns} from {source} as a cross join \"{}\" as t where {same}", table.name)
    };
    let mut found = Vec::new();
    for piece in pieces(keys) {
        let statement = bind(statement(sql(piece.len())), piece.iter().copied().flatten());
        found.extend(decode(&connection.fetch_all(statement).await?, &kinds(table))?);
    }
    Ok(found)
}

pub(super) async fn select(
    connection: &mut SqliteConnection,
    table: &Table,
    rest: &str,
    params: &[Cell],
) -> Result<Vec<Row>, SqlError> {
    let columns = list(table.columns, |_, column| format!("t.\"{}\"", column.name));
    let sql = format!("select {columns} from \"{}\" as t {rest}", table.name);
    let rows = connection.fetch_all(bind(statement(sql), params)).await?;
    decode(&rows, &kinds(table))
}

pub(super) async fn query(
    connection: &mut SqliteConnection,
    sql: &str,
    kinds: &[Kind],
    params: &[Cell],
) -> Result<Vec<Row>, SqlError> {
    let rows = connection.fetch_all(bind(statement(sql.to_owned()), params)).await?;
    decode(&rows, kinds)
}

/// Shows the rows of a query one by one, holding none of them, until `see` breaks off. (PostgreSQL would push all of them into the
/// connection; there, ask in pages.)
pub(crate) async fn each(
    connection: &mut SqliteConnection,
    sql: &str,
    kinds: &[Kind],
    params: &[Cell],
    mut see: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), SqlError> {
    let mut rows = connection.fetch(bind(statement(sql.to_owned()), params));
    while let Some(row) = rows.try_next().await? {
        if see(decode_row(&row, kinds)?).is_break() {
            break;
        }
    }
    Ok(())
}

pub(super) async fn execute(connection: &mut SqliteConnection, sql: &str, params: &[Cell]) -> Result<u64, SqlError> {
    Ok(connection.execute(bind(statement(sql.to_owned()), params)).await?.rows_affected())
}

fn kinds(table: &Table) -> Vec<Kind> {
    table.columns.iter().map(|column| column.kind).collect()
}

fn bind<'a>(statement: Statement, params: impl IntoIterator<Item = &'a Cell>) -> Statement {
    params.into_iter().fold(statement, |statement, cell| match cell {
        Cell::Null => statement.bind(None::<String>),
        Cell::Text(text) => statement.bind(text.clone()),
        Cell::Int(number) => statement.bind(*number),
        Cell::Money(amount) => statement.bind(money_text(*amount)),
        Cell::Bytes(bytes) => statement.bind(bytes.clone()),
    })
}

fn decode(rows: &[SqliteRow], kinds: &[Kind]) -> Result<Vec<Row>, SqlError> {
    rows.iter().map(|row| decode_row(row, kinds)).collect()
}

fn decode_row(row: &SqliteRow, kinds: &[Kind]) -> Result<Row, SqlError> {
    kinds.iter().enumerate().map(|(index, kind)| decode_cell(row, index, *kind)).collect()
}

fn decode_cell(row: &SqliteRow, index: usize, kind: Kind) -> Result<Cell, SqlError> {
    let cell = match kind {
        Kind::Text => row.try_get_unchecked::<Option<String>, _>(index)?.map(Cell::Text),
        Kind::Int => row.try_get_unchecked::<Option<i64>, _>(index)?.map(Cell::Int),
        Kind::Bytes => row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?.map(Cell::Bytes),
        Kind::Money => match row.try_get_unchecked::<Option<String>, _>(index)? {
            None => None,
            Some(text) => {
                let amount = parse_money_text(&text)
                    .ok_or_else(|| sqlx::Error::Decode("no amount is stored like this".into()))?;
                Some(Cell::Money(amount))
            }
        },
    };
    Ok(cell.unwrap_or(Cell::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_pieces_of_few_lengths_and_none_is_lost() {
        for count in [0, 1, 3, 4, 63, 64, 65, 131, 1000] {
            let rows: Vec<usize> = (0..count).collect();
            let pieces = pieces(&rows);
            assert!(pieces.iter().all(|piece| AT_ONCE.contains(&piece.len())));
            assert_eq!(pieces.concat(), rows);
        }
    }

    #[test]
    fn a_statement_has_a_place_for_every_cell() {
        assert_eq!(values(2, 3), "values (?, ?), (?, ?), (?, ?)");
    }
}
