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

/// All holders of evidence, after this one.
pub async fn all(conn: &mut Conn, after: Option<CitizenId>) -> Result<Vec<Reputed>> {
    select(conn, "where t.holder > $1 order by t.holder limit $2", &[text(from(after)), number(MAX_LIMIT.into())]).await
}

fn from(after: Option<CitizenId>) -> String {
    after.map(|after| after.to_string()).unwrap_or_default()
}
