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
    /// Its entries from version 0 on. None holds a line feed, so one stands between them.
    lines: String,
}

impl Whole {
    /// The bytes of each entry, which are text, from version 0 on.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.lines.as_str());
        std::iter::from_fn(move || {
            let lines = rest?;
            let Some(end) = memchr::memchr(b'\n', lines.as_bytes()) else { return rest.take() };
            rest = Some(&lines[end + 1..]);
            Some(&lines[..end])
        })
    }
}

// The number of lines says that no entry is missing. A stream at a time: grouped over several, all their bytes would be sorted first.
const SQLITE: &str = "select a.value, (select max(version) from entries where stream = a.value),
        (select group_concat(e.bytes, char(10)) from (select bytes from entries where stream = a.value order by version) as e),
        (select hash from entries where stream = a.value order by version desc limit 1)
    from json_each($1) as a
    where (select max(version) from entries where stream = a.value) < $2
        and (select sum(length(bytes)) from entries where stream = a.value) <= $3";
const POSTGRES: &str = "select a.stream, e.last, e.lines,
        (select t.hash from entries as t where t.stream = a.stream order by t.version desc limit 1)
    from jsonb_array_elements_text($1::jsonb) as a(stream) cross join lateral (
        select max(t.version)::int8 as last, sum(octet_length(t.bytes)) as bytes,
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
    let kinds = [Kind::Text, Kind::Int, lines, Kind::Bytes];
    let names = Cell::Text(serde_json::Value::from(streams).to_string());
    let rows = sql::query(conn, sql, &kinds, &[names, Cell::Int(MOST_ENTRIES), Cell::Int(MOST_BYTES)]).await?;
    let read = |row: Vec<Cell>| {
        let [Cell::Text(stream), Cell::Int(last), lines, Cell::Bytes(hash)] = <[Cell; 4]>::try_from(row).ok()? else {
            return None;
        };
        let lines = match lines {
            Cell::Text(lines) => lines,
            Cell::Bytes(lines) => String::from_utf8(lines).ok()?,
            _ => return None,
        };
        let whole = Whole { stream, hash: Hash::from_slice(&hash)?, lines };
        let count = i64::try_from(whole.entries().count()).ok()?;
        (count == last + 1).then_some(whole)
    };
    rows.into_iter().map(|row| read(row).ok_or_else(|| unreadable("entries"))).collect()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The bytes of all these streams would go through it.
    #[tokio::test]
    async fn sqlite_sorts_nothing_to_read_streams() {
        let (_home, config) = crate::testing::sqlite(&[]).await;
        let mut conn = crate::Log::open(config).await.unwrap().beside().await.unwrap();
        let kinds = [Kind::Int, Kind::Int, Kind::Int, Kind::Text];
        let params = [Cell::Text("[]".to_owned()), Cell::Int(MOST_ENTRIES), Cell::Int(MOST_BYTES)];
        let plan = sql::query(&mut conn, &format!("explain query plan {SQLITE}"), &kinds, &params).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| format!("{:?}", step[3])).collect();
        assert!(steps.iter().any(|step| step.contains("SEARCH entries USING INDEX")), "{steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:#?}");
    }
}
