//! SQLite: a change becomes one statement over one JSON parameter, an array of rows.
//!
//! Bytes travel as hexadecimal, amounts as their stored text. Every cell is cast on the way in, which gives it an affinity and so
//! lets the index of a composite key be used in full.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use futures::TryStreamExt as _;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, Row as _, Sqlite, SqliteConnection};

use super::{Cell, Change, Column, Kind, Row, SqlError, Table, money_text, parse_money_text};

type Statement = Query<'static, Sqlite, SqliteArguments>;

fn statement(sql: String) -> Statement {
    sqlx::query(AssertSqlSafe(sql))
}

pub(super) async fn apply(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<(), SqlError> {
    for change in changes {
        let table = change.table();
        let (sql, json) = compose(change);
        let got = if matches!(change, Change::Expect { .. }) {
            let row = connection.fetch_one(statement(sql).bind(json)).await?;
            row.try_get_unchecked::<i64, _>(0)?.unsigned_abs()
        } else {
            let done = connection.execute(statement(sql).bind(json)).await;
            done.map_err(|error| SqlError::from(error).of_table(table.name))?.rows_affected()
        };
        change.verify(got)?;
    }
    Ok(())
}

fn compose(change: &Change) -> (String, String) {
    let table = change.table();
    match change {
        Change::Insert { rows, .. } => (insert(table, ""), json(&slices(rows))),
        Change::Upsert { rows, .. } => (insert(table, &on_conflict(table)), json(&slices(rows))),
        Change::Update { rows, .. } => {
            let both: Vec<Row> =
                rows.iter().map(|(old, new)| old.iter().chain(&new[table.key..]).cloned().collect()).collect();
            (update(table), json(&slices(&both)))
        }
        Change::Delete { keys, .. } => {
            let key = &table.columns[..table.key];
            let sql = format!(
                "delete from \"{}\" where ({}) in (select {} from json_each($1))",
                table.name,
                names(key),
                cells(key)
            );
            (sql, json(&slices(keys)))
        }
        Change::Expect { rows, .. } => {
            let (source, same) = (source(table.columns, &[]), matching(table, table.columns.len()));
            // `cross join` keeps the few given rows outside and the index lookup inside.
            (
                format!("select count(*) from {source} as a cross join \"{}\" as t where {same}", table.name),
                json(&slices(rows)),
            )
        }
    }
}

fn insert(table: &Table, conflict: &str) -> String {
    // `where true` keeps the parser from reading `on conflict` as the `on` of a join.
    format!(
        "insert into \"{}\" ({}) select {} from json_each($1) where true{conflict}",
        table.name,
        names(table.columns),
        cells(table.columns)
    )
}

fn on_conflict(table: &Table) -> String {
    let (key, rest) = table.columns.split_at(table.key);
    if rest.is_empty() {
        return format!(" on conflict ({}) do nothing", names(key));
    }
    let set = list(rest, |_, column| format!("\"{0}\" = excluded.\"{0}\"", column.name));
    format!(" on conflict ({}) do update set {set}", names(key))
}

fn update(table: &Table) -> String {
    let (all, changing) = (table.columns, &table.columns[table.key..]);
    let set = list(changing, |index, column| format!("\"{}\" = a.c{}", column.name, all.len() + index));
    let (source, same) = (source(all, changing), matching(table, all.len()));
    format!("update \"{}\" as t set {set} from {source} as a where {same}", table.name)
}

/// `(select cast(value ->> 0 as text) as c0, ... from json_each($1))`, over the cells of `first` followed by those of `second`.
fn source(first: &[Column], second: &[Column]) -> String {
    let columns: Vec<Column> = first.iter().chain(second).copied().collect();
    format!(
        "(select {} from json_each($1))",
        list(&columns, |index, column| format!("{} as c{index}", cell(index, column.kind)))
    )
}

fn cell(index: usize, kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Money => format!("cast(value ->> {index} as text)"),
        Kind::Int => format!("cast(value ->> {index} as integer)"),
        Kind::Bytes => format!("cast(unhex(value ->> {index}) as blob)"),
    }
}

fn cells(columns: &[Column]) -> String {
    list(columns, |index, column| cell(index, column.kind))
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

fn slices(rows: &[Row]) -> Vec<&[Cell]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn json(rows: &[&[Cell]]) -> String {
    let mut text = String::from("[");
    for (index, row) in rows.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ",[" });
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            push_json(&mut text, cell);
        }
        text.push(']');
    }
    text.push(']');
    text
}

fn push_json(text: &mut String, cell: &Cell) {
    match cell {
        Cell::Null => text.push_str("null"),
        Cell::Text(value) => text.push_str(&serde_json::Value::from(value.as_str()).to_string()),
        Cell::Int(number) => write!(text, "{number}").expect("writing to a string cannot fail"),
        Cell::Money(amount) => write!(text, "\"{}\"", money_text(*amount)).expect("writing to a string cannot fail"),
        Cell::Bytes(bytes) => {
            write!(text, "\"{}\"", chain::hex::encode(bytes)).expect("writing to a string cannot fail")
        }
    }
}

pub(super) async fn select_keys(
    connection: &mut SqliteConnection,
    table: &Table,
    keys: &[&[Cell]],
) -> Result<Vec<Row>, SqlError> {
    let columns = list(table.columns, |_, column| format!("t.\"{}\"", column.name));
    let (source, same) = (source(&table.columns[..table.key], &[]), matching(table, table.key));
    let sql = format!("select {columns} from {source} as a cross join \"{}\" as t where {same}", table.name);
    let rows = connection.fetch_all(statement(sql).bind(json(keys))).await?;
    decode(&rows, &kinds(table))
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

fn bind(statement: Statement, params: &[Cell]) -> Statement {
    params.iter().fold(statement, |statement, cell| match cell {
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
