//! Short streams, each in one piece: a row for each entry would cost several times as much as the entry.

use chain::Hash;

use crate::Failure;
use crate::sql::{self, Cell, Conn, Kind};
use crate::tables::unreadable;

/// Streams that are longer, in entries or in bytes, are left to be read page by page.
const MOST_ENTRIES: i64 = 1_000;
const MOST_BYTES: i64 = 256 << 10;

/// All that a stream holds now.
#[derive(Debug, Clone)]
pub struct Whole {
    pub stream: String,
    /// Of its last entry.
    pub hash: Hash,
    /// The bytes of its entries from version 0 on. None holds a line feed, so one stands between them.
    lines: Vec<u8>,
}

impl Whole {
    /// The bytes of each entry, from version 0 on.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.split(|byte| *byte == b'\n')
    }
}

// In order of version, because that is the index the rows are found by; the number of rows says that none is missing.
const SQLITE: &str = "select stream, count(*), max(version), group_concat(text, char(10)),
        (select t.hash from entries as t where t.stream = e.stream order by t.version desc limit 1)
    from (
        select stream, version, cast(bytes as text) as text from entries where stream in (
            select a.value from json_each($1) as a where (select max(version) from entries where stream = a.value) < $2
        ) order by stream, version
    ) as e group by stream having sum(octet_length(text)) <= $3";
const POSTGRES: &str = "select a.stream, e.count, e.last, e.lines,
        (select t.hash from entries as t where t.stream = a.stream order by t.version desc limit 1)
    from jsonb_array_elements_text($1::jsonb) as a(stream) cross join lateral (
        select count(*)::int8 as count, max(t.version)::int8 as last, sum(octet_length(t.bytes)) as bytes,
            string_agg(t.bytes, '\\x0a'::bytea order by t.version) as lines
        from entries as t where t.stream = a.stream
    ) as e
    where (select t.version from entries as t where t.stream = a.stream order by t.version desc limit 1) < $2 and e.bytes <= $3";

/// Those of these streams that are short, as they are now. Others, and those without entries, are not among them.
///
/// # Errors
/// The database cannot be reached, or an entry is missing.
pub async fn whole(conn: &mut Conn, streams: &[String]) -> Result<Vec<Whole>, Failure> {
    let (sql, lines) = if conn.is_postgres() { (POSTGRES, Kind::Bytes) } else { (SQLITE, Kind::Text) };
    let kinds = [Kind::Text, Kind::Int, Kind::Int, lines, Kind::Bytes];
    let names = Cell::Text(serde_json::Value::from(streams).to_string());
    let rows = sql::query(conn, sql, &kinds, &[names, Cell::Int(MOST_ENTRIES), Cell::Int(MOST_BYTES)]).await?;
    let read = |row: Vec<Cell>| {
        let [Cell::Text(stream), Cell::Int(count), Cell::Int(last), lines, Cell::Bytes(hash)] =
            <[Cell; 5]>::try_from(row).ok()?
        else {
            return None;
        };
        let lines = match lines {
            Cell::Text(lines) => lines.into_bytes(),
            Cell::Bytes(lines) => lines.to_vec(),
            _ => return None,
        };
        let whole = Whole { stream, hash: Hash::from_slice(&hash)?, lines };
        let counted = usize::try_from(count).ok()?;
        (count == last + 1 && whole.entries().count() == counted).then_some(whole)
    };
    rows.into_iter().map(|row| read(row).ok_or_else(|| unreadable("entries"))).collect()
}
