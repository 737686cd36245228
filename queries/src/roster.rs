//! Who is a member of a guild, and which guilds somebody is a member of.

use domain::ids::{GuildId, Slug};
use domain::party::MemberId;
use domain::time::Time;
use eventlog::sql::{Cell, Conn};
use serde_json::Value;

use crate::row::{number, row, select, text};
use crate::{Page, PageRequest, QueryError, Result};

row! {
    /// `status`: active, suspended, left, removed; absent `scopes` are the rank's defaults.
    Membership from "guild_roster", scale "null" {
        guild: GuildId,
        member: MemberId,
        kind: String,
        joined_position: u64,
        rank: Slug,
        scopes: Option<Value>,
        status: String,
        city_suspended: bool,
        joined_at: Time,
        ended_at: Option<Time>,
    }
}

/// Members of one guild, living or all that ever were.
pub async fn of_guild(
    conn: &mut Conn,
    guild: GuildId,
    living: bool,
    request: &PageRequest,
) -> Result<Page<Membership>> {
    list(conn, "t.guild = $1", text(guild), living, request).await
}

/// Memberships of one member in all guilds.
pub async fn of_member(
    conn: &mut Conn,
    member: MemberId,
    living: bool,
    request: &PageRequest,
) -> Result<Page<Membership>> {
    list(conn, "t.member = $1", text(member), living, request).await
}

/// Ordered by the primary key, of which a cursor holds the four columns.
async fn list(conn: &mut Conn, of: &str, id: Cell, living: bool, request: &PageRequest) -> Result<Page<Membership>> {
    let mut params = vec![id];
    let living = if living { " and t.status in ('active', 'suspended')" } else { "" };
    let mut after = "";
    if let Some(cursor) = request.after() {
        let mut parts = cursor.split('/');
        let (Some(guild), Some(member), Some(kind), Some(joined), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(QueryError::Cursor);
        };
        let joined = joined.parse::<u64>().map_err(|_| QueryError::Cursor)?;
        params.extend([text(guild), text(member), text(kind), number(joined)]);
        after = " and (t.guild, t.member, t.kind, t.joined_position) > ($2, $3, $4, $5)";
    }
    params.push(number(u64::from(request.limit()) + 1));
    let rest = format!(
        "where {of}{living}{after} order by t.guild, t.member, t.kind, t.joined_position limit ${}",
        params.len()
    );
    let cursor = |row: &Membership| format!("{}/{}/{}/{}", row.guild, row.member, row.kind, row.joined_position);
    Ok(Page::cut(select(conn, &rest, &params).await?, request.limit(), cursor))
}
