//! Lists in pages: a limit, and a cursor that says where the last page ended.

use eventlog::sql::{Cell, Conn};
use serde::Serialize;

use crate::row::{Selected, select};
use crate::{QueryError, Result};

/// Most items of one page.
pub const MAX_LIMIT: u32 = 500;
const DEFAULT_LIMIT: u32 = 50;

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: u32,
    after: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl PageRequest {
    /// The first page, or the one after a cursor. The limit is kept between 1 and [`MAX_LIMIT`].
    pub fn new(limit: Option<u32>, after: Option<String>) -> Self {
        Self { limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT), after }
    }

    pub const fn limit(&self) -> u32 {
        self.limit
    }

    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// One page, and the cursor of the next if there is more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a list that was read one item further than the page goes.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// What a list is ordered by, and how a cursor says it.
pub(crate) enum Order {
    /// One text column, upwards.
    Text(&'static str),
    /// One integer column, upwards.
    Number(&'static str),
    /// One integer column, newest first.
    NewestNumber(&'static str),
    /// One text column, newest first: ids begin with their time.
    NewestText(&'static str),
}

impl Order {
    const fn parts(&self) -> (&'static str, bool, bool) {
        match self {
            Self::Text(column) => (column, true, false),
            Self::Number(column) => (column, false, false),
            Self::NewestNumber(column) => (column, false, true),
            Self::NewestText(column) => (column, true, true),
        }
    }
}

/// A page of rows: `conditions` (joined by `and`, parameters from `$1`) and after the cursor.
pub(crate) async fn page<T: Selected>(
    conn: &mut Conn,
    conditions: &[&str],
    mut params: Vec<Cell>,
    order: Order,
    request: &PageRequest,
    cursor: impl Fn(&T) -> String,
) -> Result<Page<T>> {
    let (column, is_text, newest) = order.parts();
    let mut conditions: Vec<String> = conditions.iter().map(|condition| (*condition).to_owned()).collect();
    if let Some(after) = request.after() {
        params.push(if is_text { Cell::Text(after.to_owned()) } else { Cell::Int(number(after)?) });
        conditions.push(format!("t.{column} {} ${}", if newest { "<" } else { ">" }, params.len()));
    }
    params.push(Cell::Int(i64::from(request.limit) + 1));
    let clause = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let direction = if newest { " desc" } else { "" };
    let rest = format!("{clause} order by t.{column}{direction} limit ${}", params.len());
    Ok(Page::cut(select(conn, &rest, &params).await?, request.limit, cursor))
}

fn number(cursor: &str) -> Result<i64> {
    cursor.parse().map_err(|_| QueryError::Cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_in_its_bounds() {
        let limits = [None, Some(0), Some(7), Some(100_000)].map(|limit| PageRequest::new(limit, None).limit());
        assert_eq!(limits, [DEFAULT_LIMIT, 1, 7, MAX_LIMIT]);
    }

    #[test]
    fn the_next_cursor_is_there_only_when_there_is_more() {
        let cut = |count: u32| Page::cut((0..count).collect::<Vec<_>>(), 3, u32::to_string).next;
        assert_eq!((cut(2), cut(3), cut(4)), (None, None, Some("2".to_owned())));
    }
}
