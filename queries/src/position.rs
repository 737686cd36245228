//! How far the views are.

use eventlog::sql::{self, Cell, Conn, Kind};

use crate::Result;
use crate::row::unreadable;

/// How many entries the views have folded: position `p` can be read when this is greater than `p`.
pub async fn size(conn: &mut Conn) -> Result<u64> {
    let rows = sql::query(conn, "select size from view_position", &[Kind::Int], &[]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Cell::Int(size)]) => Ok(size.unsigned_abs()),
        _ => Err(unreadable("view_position")),
    }
}
