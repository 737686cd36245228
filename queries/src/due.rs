//! What has expired and still stands open: the work of those who record expiry.

use domain::grant::kind::{CapabilityRef, Source};
use domain::ids::{GrantId, GuildId, HoldId, ProposalId, TreasuryId};
use domain::party::HolderId;
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

row! {
    DueGrant from "inventory", scale "null" { grant_id: GrantId, holder: HolderId }
}

row! {
    /// A grant whose source is to be asked.
    Unverified from "inventory", scale "null" {
        grant_id: GrantId,
        holder: HolderId,
        kind: String,
        reference: CapabilityRef,
        source: Source,
        verify_at: Option<Time>,
    }
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

/// Living grants past their time, the oldest first.
pub async fn grants_to_expire(conn: &mut Conn, now: Time) -> Result<Vec<DueGrant>> {
    let rest = "where t.status in ('active', 'stale') and t.expires_at is not null and t.expires_at <= $1 \
                order by t.expires_at, t.grant_id limit $2";
    select(conn, rest, &[time(now), number(MAX_LIMIT.into())]).await
}

/// Living grants of citizens and guilds that are gone for good.
pub async fn grants_of_the_gone(conn: &mut Conn, limit: u32) -> Result<Vec<DueGrant>> {
    let rest = "where t.status in ('active', 'stale') and t.holder in \
                (select c.citizen from citizens c where c.status = 'deprovisioned' \
                 union all select g.guild from guild_directory g where g.status = 'dissolved') order by t.grant_id limit $1";
    select(conn, rest, &[number(limit.into())]).await
}

/// Grants that ended at or before this time, the oldest first.
pub async fn grants_to_prune(conn: &mut Conn, ended_by: Time) -> Result<Vec<DueGrant>> {
    let rest = "where t.ended_at is not null and t.ended_at <= $1 order by t.ended_at, t.grant_id limit $2";
    select(conn, rest, &[time(ended_by), number(MAX_LIMIT.into())]).await
}

/// Grants whose sources are to be asked, the longest overdue first.
pub async fn grants_to_verify(conn: &mut Conn, now: Time, limit: u32) -> Result<Vec<Unverified>> {
    let rest = "where t.verify_at is not null and t.verify_at <= $1 order by t.verify_at, t.grant_id limit $2";
    select(conn, rest, &[time(now), number(limit.into())]).await
}
