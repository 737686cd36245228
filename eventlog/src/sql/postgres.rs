//! PostgreSQL: a list of changes becomes one statement of data-modifying CTEs over arrays, so one round trip.
//!
//! The text depends only on the tables and kinds of change and their order, never on the number of rows, so the prepared
//! statement is found in the connection's cache.

use std::fmt::Write as _;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, Row as _};

use super::{Cell, Change, Column, Kind, Row, SqlError, Table};

type Statement = Query<'static, Postgres, PgArguments>;

fn statement(sql: String) -> Statement {
    sqlx::query(AssertSqlSafe(sql))
}

/// One parameter: a column of cells.
enum Array<'a> {
    Text(Vec<Option<&'a str>>),
    Int(Vec<Option<i64>>),
    Money(Vec<Option<String>>),
    Bytes(Vec<Option<&'a [u8]>>),
}

impl<'a> Array<'a> {
    fn of(kind: Kind, cells: impl Iterator<Item = &'a Cell>) -> Array<'a> {
        match kind {
            Kind::Text => Array::Text(
                cells.map(|cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None }).collect(),
            ),
            Kind::Int => {
                Array::Int(cells.map(|cell| if let Cell::Int(number) = cell { Some(*number) } else { None }).collect())
            }
            Kind::Money => Array::Money(
                cells
                    .map(|cell| if let Cell::Money(amount) = cell { Some(amount.to_string()) } else { None })
                    .collect(),
            ),
            Kind::Bytes => Array::Bytes(
                cells.map(|cell| if let Cell::Bytes(bytes) = cell { Some(bytes.as_slice()) } else { None }).collect(),
            ),
        }
    }

    fn bind(self, statement: Statement) -> Statement {
        match self {
            Array::Text(cells) => statement.bind(cells),
            Array::Int(cells) => statement.bind(cells),
            Array::Money(cells) => statement.bind(cells),
            Array::Bytes(cells) => statement.bind(cells),
        }
    }
}

/// The statement under construction: its text and its parameters.
#[derive(Default)]
struct Builder<'a> {
    sql: String,
    arrays: Vec<Array<'a>>,
}

impl<'a> Builder<'a> {
    /// `unnest($1::text[], $2::int8[]) as a(o0, o1)`, with one parameter for each column of `rows`.
    fn unnest(&mut self, prefix: char, columns: &[Column], rows: &[&'a [Cell]]) -> (String, String) {
        let (mut parameters, mut names) = (String::new(), String::new());
        for (index, column) in columns.iter().enumerate() {
            self.arrays.push(Array::of(column.kind, rows.iter().map(|row| &row[index])));
            let array_type = match column.kind {
                Kind::Text | Kind::Money => "text[]",
                Kind::Int => "int8[]",
                Kind::Bytes => "bytea[]",
            };
            let separator = if index == 0 { "" } else { ", " };
            let number = self.arrays.len();
            write!(parameters, "{separator}${number}::{array_type}").expect("writing to a string cannot fail");
            write!(names, "{separator}{prefix}{index}").expect("writing to a string cannot fail");
        }
        (parameters, names)
    }

    fn rows(&mut self, columns: &[Column], rows: &[&'a [Cell]]) -> String {
        let (parameters, names) = self.unnest('o', columns, rows);
        format!("unnest({parameters}) as a({names})")
    }

    /// Appends `c0 as (...), n0 as (...)`: the change, and the number of rows it touched.
    fn change(&mut self, index: usize, change: &'a Change, after: Option<usize>) {
        let table = change.table();
        // Two changes of one table run in the order given: the later one waits for the earlier one's count. Without this, a row
        // could be inserted before the row that makes room for it in a unique index is gone.
        let after = after.map_or("true".to_owned(), |earlier| format!("(select n from n{earlier}) is not null"));
        let body = match change {
            Change::Insert { rows, .. } => self.insert(table, rows, &after, ""),
            Change::Upsert { rows, .. } => self.insert(table, rows, &after, &on_conflict(table)),
            Change::Update { rows, .. } => self.update(table, rows, &after),
            Change::Delete { keys, .. } => {
                let source = self.rows(&table.columns[..table.key], &slices(keys));
                format!(
                    "delete from \"{}\" as t using {source} where {} and {after}",
                    table.name,
                    matching(table, table.key)
                )
            }
            Change::Expect { rows, .. } => {
                let source = self.rows(table.columns, &slices(rows));
                let all = matching(table, table.columns.len());
                let sql =
                    format!("n{index} as (select count(*) as n from \"{}\" as t join {source} on {all})", table.name);
                self.sql.push_str(&sql);
                return;
            }
        };
        let sql = format!("c{index} as ({body} returning 1), n{index} as (select count(*) as n from c{index})");
        self.sql.push_str(&sql);
    }

    fn insert(&mut self, table: &Table, rows: &'a [Row], after: &str, conflict: &str) -> String {
        let source = self.rows(table.columns, &slices(rows));
        let values = list(table.columns, |index, column| from_array('o', index, column));
        format!(
            "insert into \"{}\" ({}) select {values} from {source} where {after}{conflict}",
            table.name,
            names(table.columns)
        )
    }

    fn update(&mut self, table: &Table, rows: &'a [(Row, Row)], after: &str) -> String {
        let old: Vec<&[Cell]> = rows.iter().map(|(old, _)| old.as_slice()).collect();
        let new: Vec<&[Cell]> = rows.iter().map(|(_, new)| &new[table.key..]).collect();
        let changing = &table.columns[table.key..];
        let (old_parameters, old_names) = self.unnest('o', table.columns, &old);
        let (new_parameters, new_names) = self.unnest('n', changing, &new);
        let set = list(changing, |index, column| format!("\"{}\" = {}", column.name, from_array('n', index, column)));
        let same = matching(table, table.columns.len());
        format!(
            "update \"{}\" as t set {set} from unnest({old_parameters}, {new_parameters}) as a({old_names}, {new_names}) \
             where {same} and {after}",
            table.name
        )
    }
}

fn slices(rows: &[Row]) -> Vec<&[Cell]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn list(columns: &[Column], item: impl Fn(usize, &Column) -> String) -> String {
    columns.iter().enumerate().map(|(index, column)| item(index, column)).collect::<Vec<_>>().join(", ")
}

fn names(columns: &[Column]) -> String {
    list(columns, |_, column| format!("\"{}\"", column.name))
}

fn from_array(prefix: char, index: usize, column: &Column) -> String {
    let cast = if column.kind == Kind::Money { "::numeric" } else { "" };
    format!("a.{prefix}{index}{cast}")
}

/// Equality of the first `count` columns with the array's: `=` for the key, so that the index serves, null-safe for the rest.
fn matching(table: &Table, count: usize) -> String {
    let conditions = table.columns[..count].iter().enumerate().map(|(index, column)| {
        let operator = if index < table.key { "=" } else { "is not distinct from" };
        format!("t.\"{}\" {operator} {}", column.name, from_array('o', index, column))
    });
    conditions.collect::<Vec<_>>().join(" and ")
}

fn on_conflict(table: &Table) -> String {
    let (key, rest) = table.columns.split_at(table.key);
    if rest.is_empty() {
        return format!(" on conflict ({}) do nothing", names(key));
    }
    let set = list(rest, |_, column| format!("\"{0}\" = excluded.\"{0}\"", column.name));
    format!(" on conflict ({}) do update set {set}", names(key))
}

/// The statement for all changes; its one row holds the count of each.
fn compose<'a>(changes: &[&'a Change]) -> Builder<'a> {
    let mut builder = Builder::default();
    builder.sql.push_str("with ");
    for (index, &change) in changes.iter().enumerate() {
        if index > 0 {
            builder.sql.push_str(", ");
        }
        let touches = |earlier: &&Change| {
            !matches!(earlier, Change::Expect { .. }) && earlier.table().name == change.table().name
        };
        let after = changes[..index].iter().rposition(touches);
        builder.change(index, change, after);
    }
    let counts: Vec<String> = (0..changes.len()).map(|index| format!("(select n from n{index})")).collect();
    builder.sql.push_str(" select ");
    builder.sql.push_str(&counts.join(", "));
    builder
}

pub(super) async fn apply(connection: &mut PgConnection, changes: &[&Change]) -> Result<(), SqlError> {
    let Builder { sql, arrays } = compose(changes);
    let statement = arrays.into_iter().fold(statement(sql), |statement, array| array.bind(statement));
    let counts = connection.fetch_one(statement).await?;
    for (index, change) in changes.iter().enumerate() {
        let count: i64 = counts.try_get(index)?;
        change.verify(count.unsigned_abs())?;
    }
    Ok(())
}

pub(super) async fn select_keys(
    connection: &mut PgConnection,
    table: &Table,
    keys: &[&[Cell]],
) -> Result<Vec<Row>, SqlError> {
    let mut builder = Builder::default();
    let source = builder.rows(&table.columns[..table.key], keys);
    let columns =
        list(table.columns, |index, column| format!("t.\"{}\"::{} as c{index}", column.name, wire_type(column.kind)));
    let sql = format!("select {columns} from {source} join \"{}\" as t on {}", table.name, matching(table, table.key));
    let statement = builder.arrays.into_iter().fold(statement(sql), |statement, array| array.bind(statement));
    let rows = connection.fetch_all(statement).await?;
    decode(&rows, &kinds(table))
}

pub(super) async fn select(
    connection: &mut PgConnection,
    table: &Table,
    rest: &str,
    params: &[Cell],
) -> Result<Vec<Row>, SqlError> {
    // The output names c0, c1, ... keep `order by amount` meaning the column, not its text.
    let columns =
        list(table.columns, |index, column| format!("t.\"{}\"::{} as c{index}", column.name, wire_type(column.kind)));
    let sql = format!("select {columns} from \"{}\" as t {}", table.name, dress(rest, params));
    let rows = connection.fetch_all(bind(statement(sql), params)).await?;
    decode(&rows, &kinds(table))
}

pub(super) async fn query(
    connection: &mut PgConnection,
    sql: &str,
    kinds: &[Kind],
    params: &[Cell],
) -> Result<Vec<Row>, SqlError> {
    let outputs: Vec<String> =
        kinds.iter().enumerate().map(|(index, kind)| format!("q.c{index}::{}", wire_type(*kind))).collect();
    let names: Vec<String> = (0..kinds.len()).map(|index| format!("c{index}")).collect();
    let sql = format!("select {} from ({}) as q({})", outputs.join(", "), dress(sql, params), names.join(", "));
    let rows = connection.fetch_all(bind(statement(sql), params)).await?;
    decode(&rows, kinds)
}

pub(super) async fn execute(connection: &mut PgConnection, sql: &str, params: &[Cell]) -> Result<u64, SqlError> {
    let sql = dress(sql, params);
    Ok(connection.execute(bind(statement(sql), params)).await?.rows_affected())
}

fn kinds(table: &Table) -> Vec<Kind> {
    table.columns.iter().map(|column| column.kind).collect()
}

fn wire_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Money => "text",
        Kind::Int => "int8",
        Kind::Bytes => "bytea",
    }
}

fn bind(statement: Statement, params: &[Cell]) -> Statement {
    params.iter().fold(statement, |statement, cell| match cell {
        Cell::Null => statement.bind(None::<&str>),
        Cell::Text(text) => statement.bind(text.as_str()),
        Cell::Int(number) => statement.bind(*number),
        Cell::Money(amount) => statement.bind(amount.to_string()),
        Cell::Bytes(bytes) => statement.bind(bytes.as_slice()),
    })
}

/// Parameters travel as text, integers or bytes, so an amount needs a cast where it stands, and a null must not bring a type along.
fn dress(sql: &str, params: &[Cell]) -> String {
    if !params.iter().any(|cell| matches!(cell, Cell::Money(_) | Cell::Null)) {
        return sql.to_owned();
    }
    let mut dressed = String::with_capacity(sql.len() + 32);
    let mut pieces = sql.split('$');
    dressed.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let cell = number.parse::<usize>().ok().and_then(|number| params.get(number.checked_sub(1)?));
        match cell {
            Some(Cell::Money(_)) => {
                write!(dressed, "${number}::text::numeric").expect("writing to a string cannot fail")
            }
            Some(Cell::Null) => dressed.push_str("null"),
            _ => write!(dressed, "${number}").expect("writing to a string cannot fail"),
        }
        dressed.push_str(rest);
    }
    dressed
}

fn decode(rows: &[PgRow], kinds: &[Kind]) -> Result<Vec<Row>, SqlError> {
    rows.iter()
        .map(|row| kinds.iter().enumerate().map(|(index, kind)| decode_cell(row, index, *kind)).collect())
        .collect()
}

fn decode_cell(row: &PgRow, index: usize, kind: Kind) -> Result<Cell, SqlError> {
    let cell = match kind {
        Kind::Text => row.try_get::<Option<String>, _>(index)?.map(Cell::Text),
        Kind::Int => row.try_get::<Option<i64>, _>(index)?.map(Cell::Int),
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(index)?.map(Cell::Bytes),
        Kind::Money => match row.try_get::<Option<&str>, _>(index)? {
            None => None,
            Some(text) => Some(Cell::Money(
                text.parse().map_err(|error: std::num::ParseIntError| sqlx::Error::Decode(error.into()))?,
            )),
        },
    };
    Ok(cell.unwrap_or(Cell::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    static ACCOUNTS: Table = Table {
        name: "accounts",
        columns: &[Column { name: "id", kind: Kind::Text }, Column { name: "amount", kind: Kind::Money }],
        key: 1,
    };

    fn row(id: &str, amount: i128) -> Row {
        vec![Cell::Text(id.to_owned()), Cell::Money(amount)]
    }

    #[test]
    fn the_text_does_not_depend_on_the_number_of_rows() {
        let one = Change::Insert { table: &ACCOUNTS, rows: vec![row("a", 1)] };
        let two = Change::Insert { table: &ACCOUNTS, rows: vec![row("a", 1), row("b", 2)] };
        assert_eq!(compose(&[&one]).sql, compose(&[&two]).sql);
    }

    #[test]
    fn a_later_change_of_the_same_table_waits_for_the_earlier_one() {
        let delete = Change::Delete { table: &ACCOUNTS, keys: vec![vec![Cell::Text("a".to_owned())]] };
        let update = Change::Update { table: &ACCOUNTS, rows: vec![(row("b", 1), row("b", 2))] };
        assert_eq!(
            compose(&[&delete, &update]).sql,
            "with c0 as (delete from \"accounts\" as t using unnest($1::text[]) as a(o0) where t.\"id\" = a.o0 and true returning 1), \
             n0 as (select count(*) as n from c0), \
             c1 as (update \"accounts\" as t set \"amount\" = a.n0::numeric from unnest($2::text[], $3::text[], $4::text[]) as a(o0, o1, n0) \
             where t.\"id\" = a.o0 and t.\"amount\" is not distinct from a.o1::numeric and (select n from n0) is not null returning 1), \
             n1 as (select count(*) as n from c1) select (select n from n0), (select n from n1)"
        );
    }

    #[test]
    fn amounts_and_nulls_are_dressed_where_they_stand() {
        let params = [Cell::Money(5), Cell::Null, Cell::Int(1)];
        assert_eq!(
            dress("where a > $1 and b is not distinct from $2 limit $3", &params),
            "where a > $1::text::numeric and b is not distinct from null limit $3"
        );
    }
}
