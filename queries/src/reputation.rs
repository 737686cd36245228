//! Whose figures are to be computed: the work of those who do it.

use domain::ids::CitizenId;
use domain::time::Time;
use eventlog::sql::Conn;

use crate::row::{number, row, select, text};
use crate::{MAX_LIMIT, Result};

row! {
    Reputed from "reputation_holders", scale "null" {
        holder: CitizenId,
        evidence: u64,
        first_at: Time,
        last_at: Time,
        as_of: Option<Time>,
        outdated: bool,
    }
}

/// Holders whose evidence changed since their figures were computed, after this one.
pub async fn outdated(conn: &mut Conn, after: Option<CitizenId>) -> Result<Vec<Reputed>> {
    let rest = "where t.outdated = 1 and t.holder > $1 order by t.holder limit $2";
    select(conn, rest, &[text(from(after)), number(MAX_LIMIT.into())]).await
}

/// Holders whose evidence changed, or whose figures were computed last before a time, after this one.
pub async fn computed_before(conn: &mut Conn, time: Time, after: Option<CitizenId>) -> Result<Vec<Reputed>> {
    let rest = "where (t.outdated = 1 or t.as_of < $1) and t.holder > $2 order by t.holder limit $3";
    select(conn, rest, &[number(time.micros().unsigned_abs()), text(from(after)), number(MAX_LIMIT.into())]).await
}

fn from(after: Option<CitizenId>) -> String {
    after.map(|after| after.to_string()).unwrap_or_default()
}
