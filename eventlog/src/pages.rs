//! Entries in pages: however long a stream or the rest of the log, no exchange with the database carries more than a few megabytes.
//!
//! A result that is larger than the socket's buffers keeps its transaction open for as long as this process does not read, and one
//! that takes longer than a statement may take never arrives. All reading stops at the head, or at the end that the caller gives.

use std::ops::ControlFlow;

use chain::Hash;

use crate::sql::{self, Cell, Conn, Kind, Row};
use crate::tables::{Stored, number, unreadable};
use crate::{Failure, log};

const PAGE_ROWS: usize = 8_192;
const PAGE_BYTES: usize = 4 << 20;
/// Hashes are 32 bytes each: two megabytes.
const PAGE_HASHES: u64 = 1 << 16;

const KINDS: [Kind; 6] = [Kind::Int, Kind::Text, Kind::Int, Kind::Bytes, Kind::Bytes, Kind::Bytes];
const COLUMNS: &str = "position, stream, version, prev, hash, bytes";

/// What is read: a range of the log, or one stream from a version on.
pub(crate) enum Span<'a> {
    Log { from: u64 },
    Stream { stream: &'a str, from: u64 },
}

/// Entries in order, up to `limit` of them and about `most_bytes`, but always one if there is one, below position `end` or the head.
pub(crate) async fn read(
    conn: &mut Conn,
    mut span: Span<'_>,
    limit: usize,
    most_bytes: usize,
    end: Option<u64>,
) -> Result<Vec<Stored>, Failure> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    while entries.len() < limit && bytes < most_bytes {
        let asked = PAGE_ROWS.min(limit - entries.len());
        let page = page(conn, &span, asked, end).await?;
        let page_bytes: usize = page.iter().map(|entry| entry.bytes.len()).sum();
        let (got, last) = (page.len(), page.last().map(|entry| (entry.position, entry.version)));
        bytes += page_bytes;
        entries.extend(page);
        match (last, &mut span) {
            (Some((position, _)), Span::Log { from }) => *from = position + 1,
            (Some((_, version)), Span::Stream { from, .. }) => *from = version + 1,
            (None, _) => break,
        }
        if got < asked && page_bytes < PAGE_BYTES {
            break;
        }
    }
    Ok(entries)
}

/// Up to `rows` entries, and none after `PAGE_BYTES` were reached.
async fn page(conn: &mut Conn, span: &Span<'_>, rows: usize, end: Option<u64>) -> Result<Vec<Stored>, Failure> {
    let rows = Cell::Int(i64::try_from(rows).expect("a page is small"));
    let (wanted, order, mut params) = match span {
        Span::Log { from } => ("position >= $1", "position", vec![number(*from), rows]),
        Span::Stream { stream, from } => {
            ("version >= $1 and stream = $3", "version", vec![number(*from), rows, Cell::Text((*stream).to_owned())])
        }
    };
    let end = match end {
        None => "(select size from head)".to_owned(),
        Some(end) => {
            params.push(number(end));
            format!("${}", params.len())
        }
    };
    let sql = format!("select {COLUMNS} from entries where {wanted} and position < {end} order by {order} limit $2");
    match conn {
        Conn::Postgres(_) => {
            let sql = format!(
                "select {COLUMNS} from (select t.*, sum(octet_length(t.bytes)) over (order by t.{order} rows unbounded preceding) \
                 - octet_length(t.bytes) as before from ({sql}) as t) as p where before < {PAGE_BYTES} order by {order}"
            );
            Stored::from_rows(sql::query(conn, &sql, &KINDS, &params).await?)
        }
        Conn::Sqlite(session) => {
            let (mut page, mut bytes) = (Vec::new(), 0);
            let mut see = |entry: Stored| {
                bytes += entry.bytes.len();
                page.push(entry);
                Ok(if bytes < PAGE_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            };
            each_sqlite(session, &sql, &params, &mut see).await?;
            Ok(page)
        }
    }
}

async fn each_sqlite(
    session: &mut sql::Session<sqlx::Sqlite>,
    sql: &str,
    params: &[Cell],
    see: &mut (dyn FnMut(Stored) -> Result<ControlFlow<()>, Failure> + Send),
) -> Result<(), Failure> {
    let mut failed = None;
    let see = |row: Row| match Stored::from_row(row).and_then(&mut *see) {
        Ok(flow) => flow,
        Err(failure) => {
            failed = Some(failure);
            ControlFlow::Break(())
        }
    };
    sql::each_sqlite(session, sql, &KINDS, params, see).await?;
    failed.map_or(Ok(()), Err)
}

/// Where a long load stands within its list of streams.
struct Rest<'a> {
    streams: &'a [&'a str],
    /// The next version of the first of them; the others begin at 0.
    version: u64,
}

/// Shows every entry of these streams below position `end`: each stream as a whole, in order of version. What is shown is not kept.
pub(crate) async fn each(
    conn: &mut Conn,
    streams: &[String],
    end: u64,
    see: &mut (dyn FnMut(Stored) -> Result<(), Failure> + Send),
) -> Result<(), Failure> {
    let mut names: Vec<&str> = streams.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let mut order = Order::default();
    let mut see = |entry: Stored| {
        order.check(&entry)?;
        if entry.position < end { see(entry) } else { Ok(()) }
    };
    if let Conn::Sqlite(session) = conn {
        let sql = format!(
            "select {COLUMNS} from entries where stream in (select value from json_each($1)) order by stream, version"
        );
        let params = [Cell::Text(serde_json::Value::from(names).to_string())];
        return each_sqlite(session, &sql, &params, &mut |entry| see(entry).map(ControlFlow::Continue)).await;
    }
    let mut rest = Rest { streams: &names, version: 0 };
    while !rest.streams.is_empty() {
        let page = stream_page(conn, &rest).await?;
        let Some((last, wanted)) = page.last().map(|(entry, wanted)| ((entry.stream.clone(), entry.version), *wanted))
        else {
            // Nothing is there; after a page that was cut, something must be.
            let begun = rest.version > 0 || rest.streams.len() < names.len();
            return if begun { Err(unreadable("entries")) } else { Ok(()) };
        };
        let got = page.len() as u64;
        for (entry, _) in page {
            see(entry)?;
        }
        if got == wanted {
            return Ok(());
        }
        let passed = rest.streams.partition_point(|name| *name < last.0.as_str());
        rest = Rest { streams: &rest.streams[passed..], version: last.1 + 1 };
    }
    Ok(())
}

/// Entries from where `rest` stands, each with the number of all entries that are still wanted.
///
/// The first step looks up how long each stream is, the second takes as many streams as fill a page of rows, and the last cuts the page
/// where its bytes are full. Only pages are sorted, never a whole stream: versions are dense, so a range of them holds a page whatever
/// the plan, where a limit may be planned as a sort of all that follows. A range that is empty all the same gives a row of nulls, which
/// cannot be read.
async fn stream_page(conn: &mut Conn, rest: &Rest<'_>) -> Result<Vec<(Stored, u64)>, Failure> {
    let sql = format!(
        "with wanted as materialized (
            select a.stream, a.n, case when a.n = 1 then $2 else 0 end as version,
                (select e.version from entries as e where e.stream = a.stream order by e.version desc limit 1) as last
            from jsonb_array_elements_text($1::jsonb) with ordinality as a(stream, n)
        ), budget as materialized (
            select *, sum(last - version + 1) over () as total,
                sum(last - version + 1) over (order by n) - (last - version + 1) as before
            from wanted where last >= version
        ), page as (
            select t.*, b.n, b.total, sum(coalesce(octet_length(t.bytes), 0)) over (order by b.n, t.version rows unbounded preceding)
                - coalesce(octet_length(t.bytes), 0) as before
            from budget as b left join lateral (
                select {COLUMNS} from entries as e
                where e.stream = b.stream and e.version >= b.version and e.version < b.version + {PAGE_ROWS}
            ) as t on true where b.before < {PAGE_ROWS}
        )
        select {COLUMNS}, total::int8 from page where before < {PAGE_BYTES} order by n, version"
    );
    let mut kinds = KINDS.to_vec();
    kinds.push(Kind::Int);
    let names = Cell::Text(serde_json::Value::from(rest.streams).to_string());
    let rows = sql::query(conn, &sql, &kinds, &[names, number(rest.version)]).await?;
    rows.into_iter()
        .map(|mut row| match row.pop() {
            Some(Cell::Int(total)) => Ok((Stored::from_row(row)?, total.unsigned_abs())),
            _ => Err(unreadable("entries")),
        })
        .collect()
}

/// Holds what is read against the promise: streams one after another, each from version 0 without a gap.
#[derive(Default)]
struct Order {
    stream: String,
    next: u64,
}

impl Order {
    fn check(&mut self, entry: &Stored) -> Result<(), Failure> {
        if entry.stream != self.stream {
            self.stream.clone_from(&entry.stream);
            self.next = 0;
        }
        if entry.version != self.next {
            return Err(Failure::Corrupt(format!("version {} of stream {} is missing", self.next, entry.stream)));
        }
        self.next += 1;
        Ok(())
    }
}

/// The hashes of up to `limit` entries from position `from` on, as far as the head.
pub(crate) async fn hashes(conn: &mut Conn, from: u64, limit: usize) -> Result<Vec<Hash>, Failure> {
    let head = log::head(conn).await?.size;
    let until = head.min(from.saturating_add(limit as u64));
    let mut hashes = Vec::with_capacity(usize::try_from(until.saturating_sub(from)).unwrap_or_default());
    let mut next = from;
    while next < until {
        let end = until.min(next + PAGE_HASHES);
        hash_page(conn, next, end, &mut hashes).await?;
        next = end;
        if hashes.len() as u64 != next - from {
            return Err(Failure::Corrupt(format!("the log does not hold every entry from {from} to {next}")));
        }
    }
    Ok(hashes)
}

pub(crate) async fn changed_streams(conn: &mut Conn, from: u64, until: u64) -> Result<Vec<(String, u64)>, Failure> {
    const CHANGED: &str =
        "select stream, max(position) from entries where position >= $1 and position < $2 group by stream";
    let rows = sql::query(conn, CHANGED, &[Kind::Text, Kind::Int], &[number(from), number(until)]).await?;
    rows.into_iter()
        .map(|row| match <[Cell; 2]>::try_from(row) {
            Ok([Cell::Text(stream), Cell::Int(position)]) => Ok((stream, position.unsigned_abs())),
            _ => Err(Failure::Corrupt("an entry's stream or position cannot be read".to_owned())),
        })
        .collect()
}

/// One value for a whole page: a row for each hash would cost several times as much as the hash.
async fn hash_page(conn: &mut Conn, from: u64, end: u64, hashes: &mut Vec<Hash>) -> Result<(), Failure> {
    // The order is that of the subquery: an aggregate with an order of its own sorts once more, which takes half as long again.
    const POSTGRES: &str = "select string_agg(hash, ''::bytea) from (select hash from entries \
        where position >= $1 and position < $2 order by position) as t";
    const SQLITE: &str = "select unhex(group_concat(hex(hash), '')) from (select hash from entries \
        where position >= $1 and position < $2 order by position)";
    let sql = if conn.is_postgres() { POSTGRES } else { SQLITE };
    let row = sql::query(conn, sql, &[Kind::Bytes], &[number(from), number(end)]).await?.pop();
    let Some([Cell::Bytes(bytes)]) = row.as_deref() else {
        return Ok(());
    };
    hashes.extend(bytes.chunks(32).filter_map(Hash::from_slice));
    Ok(())
}
