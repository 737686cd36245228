//! Two tables of the same shape, walked side by side in the order of their key.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;

use eventlog::Failure;
use eventlog::sql::{self, Cell, Conn, Row, Table};

/// Rows fetched at once from either side.
const PAGE: usize = 2_000;

/// One row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub table: &'static str,
    /// The cells of the primary key.
    pub key: Vec<String>,
    pub found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The log says there is such a row, the live table has none.
    Missing,
    /// The live table has a row that the log does not know.
    Unexpected,
    /// Column by column: its name, the live value, and what the log says.
    Columns(Vec<(&'static str, String, String)>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.table, self.key.join(", "))?;
        match &self.found {
            Found::Missing => f.write_str("the row is missing"),
            Found::Unexpected => f.write_str("the log does not know this row"),
            Found::Columns(columns) => {
                let all = columns.iter().map(|(name, live, log)| format!("{name} is {live}, the log says {log}"));
                f.write_str(&all.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// Reports every difference between the live table and the one made from the log; answers how many rows the log says there are.
pub(super) async fn compare(
    table: &'static Table,
    live: &mut Conn,
    rebuilt: &mut Conn,
    report: &mut (dyn FnMut(Difference) + Send),
) -> Result<u64, Failure> {
    let (mut live_rows, mut rebuilt_rows) = (Pages::of(table), Pages::of(table));
    let mut count = 0;
    loop {
        live_rows.fill(live).await?;
        rebuilt_rows.fill(rebuilt).await?;
        let order = match (live_rows.rows.front(), rebuilt_rows.rows.front()) {
            (None, None) => return Ok(count),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(live), Some(rebuilt)) => live[..table.key].cmp(&rebuilt[..table.key]),
        };
        let live = if order.is_le() { live_rows.rows.pop_front() } else { None };
        let rebuilt = if order.is_ge() { rebuilt_rows.rows.pop_front() } else { None };
        count += u64::from(rebuilt.is_some());
        if let Some(difference) = difference(table, live, rebuilt) {
            report(difference);
        }
    }
}

fn difference(table: &'static Table, live: Option<Row>, rebuilt: Option<Row>) -> Option<Difference> {
    let found = match (&live, &rebuilt) {
        (Some(live), Some(rebuilt)) if live == rebuilt => return None,
        (Some(live), Some(rebuilt)) => {
            let cells =
                table.columns.iter().zip(live.iter().zip(rebuilt)).filter(|(_, (live, rebuilt))| live != rebuilt);
            Found::Columns(cells.map(|(column, (live, rebuilt))| (column.name, show(live), show(rebuilt))).collect())
        }
        (Some(_), None) => Found::Unexpected,
        (None, _) => Found::Missing,
    };
    let key = live.or(rebuilt)?[..table.key].iter().map(show).collect();
    Some(Difference { table: table.name, key, found })
}

fn show(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Int(number) => number.to_string(),
        Cell::Money(amount) => amount.to_string(),
        Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// A table read in the order of its key, a page at a time.
struct Pages {
    table: &'static Table,
    rows: VecDeque<Row>,
    last: Option<Row>,
    ended: bool,
}

impl Pages {
    fn of(table: &'static Table) -> Self {
        Self { table, rows: VecDeque::new(), last: None, ended: false }
    }

    async fn fill(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        if !self.rows.is_empty() || self.ended {
            return Ok(());
        }
        let names: Vec<String> =
            self.table.columns[..self.table.key].iter().map(|column| format!("t.\"{}\"", column.name)).collect();
        let names = names.join(", ");
        let after = match &self.last {
            None => String::new(),
            Some(key) => {
                let marks: Vec<String> = (1..=key.len()).map(|number| format!("${number}")).collect();
                format!("where ({names}) > ({}) ", marks.join(", "))
            }
        };
        let rest = format!("{after}order by {names} limit {PAGE}");
        let page = sql::select(conn, self.table, &rest, self.last.as_deref().unwrap_or_default()).await?;
        self.ended = page.len() < PAGE;
        self.last = page.last().map(|row| row[..self.table.key].to_vec());
        self.rows = page.into();
        Ok(())
    }
}
