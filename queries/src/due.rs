//! What has expired and still stands open: the work of those who record expiry.

use domain::ids::{GuildId, HoldId, ProposalId, TreasuryId};
use domain::time::Time;
use eventlog::sql::Conn;

use crate::row::{number, row, select, time};
use crate::{MAX_LIMIT, Result};

row! {
    DueHold from "holds", scale "null" { hold: HoldId, treasury: TreasuryId, status: String, expires_at: Time }
}

row! {
    DueTransfer from "transfers", scale "null" { offer: HoldId, sender: TreasuryId, expires_at: Time }
}

row! {
    DueProposal from "proposals", scale "null" { proposal: ProposalId, guild: GuildId, expires_at: Time }
}

/// Open holds past their time, the oldest first. A reserved one ends with its proposal.
pub async fn holds(conn: &mut Conn, now: Time) -> Result<Vec<DueHold>> {
    let rest = "where t.status = 'open' and t.expires_at <= $1 order by t.expires_at, t.hold limit $2";
    select(conn, rest, &[time(now), number(MAX_LIMIT.into())]).await
}

/// Offers past their time, the oldest first.
pub async fn transfers(conn: &mut Conn, now: Time) -> Result<Vec<DueTransfer>> {
    let rest = "where t.status = 'offered' and t.expires_at <= $1 order by t.expires_at, t.offer limit $2";
    select(conn, rest, &[time(now), number(MAX_LIMIT.into())]).await
}

/// Proposals past their time, the oldest first.
pub async fn proposals(conn: &mut Conn, now: Time) -> Result<Vec<DueProposal>> {
    let rest = "where t.status = 'open' and t.expires_at <= $1 order by t.expires_at, t.proposal limit $2";
    select(conn, rest, &[time(now), number(MAX_LIMIT.into())]).await
}
