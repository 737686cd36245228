//! Who can do what: by holder, by capability, and what happened to a grant. Whether, and why not, is in `checks`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::grant::check::Standing;
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::scope::{Action, Scope};
use domain::grant::verification::STUCK_AFTER;
use domain::ids::{CitizenId, CommandId, GrantId};
use domain::party::HolderId;
use domain::text::Sealed;
use domain::time::Time;
use eventlog::sql::{self, Cell, Conn, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::checks::standings;
use crate::page::{Order, page};
use crate::row::{find, number, row, select, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: active, stale, revoked, expired, orphaned. `scope` is its own. `withheld`: it ended, and somebody said that it is not to
    /// come back; not once somebody with the source's authority gave it again.
    Grant from "inventory", scale "null" {
        grant_id: GrantId,
        holder: HolderId,
        holder_kind: String,
        kind: String,
        reference: CapabilityRef,
        source: Source,
        scope: Scope,
        delegable: bool,
        status: String,
        granted_by: Option<CitizenId>,
        granted_at: Time,
        position: u64,
        expires_at: Option<Time>,
        parent_holder: Option<HolderId>,
        parent: Option<GrantId>,
        details: Option<Sealed>,
        verified_at: Option<Time>,
        verify_at: Option<Time>,
        failed_attempts: u64,
        last_error: Option<String>,
        ended_at: Option<Time>,
        ended_by: Option<String>,
        reason: Option<Sealed>,
        withheld: bool,
    }
}

/// A grant, and what it comes to now with all above it.
#[derive(Debug, Clone, Serialize)]
pub struct Effective {
    #[serde(flatten)]
    pub grant: Grant,
    /// Of a living one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Standing>,
}

/// The same page, with what each living grant of it comes to.
pub async fn effective(conn: &mut Conn, page: Page<Grant>, now: Time) -> Result<Page<Effective>> {
    let is_living = |grant: &Grant| grant.ended_at.is_none();
    let living: Vec<GrantId> = page.items.iter().filter(|grant| is_living(grant)).map(|grant| grant.grant_id).collect();
    let mut standings = if living.is_empty() { HashMap::new() } else { standings(conn, &living, now).await? };
    let effective = |grant: Grant| Effective { effective: standings.remove(&grant.grant_id), grant };
    Ok(Page { items: page.items.into_iter().map(effective).collect(), next: page.next })
}

row! {
    /// Something that happened to a grant; `data` as it is recorded.
    Happening from "grant_history", scale "null" {
        position: u64,
        at: Time,
        event: String,
        data: Value,
        actor_kind: String,
        actor: String,
        command: CommandId,
        on_behalf_of: Option<CitizenId>,
    }
}

row! {
    /// Whether an action reads or writes.
    RegisteredAction from "capability_actions", scale "null" { kind: String, action: Action, effect: String }
}

row! {
    SourceOwner from "capability_sources", scale "null" { source: Source, owner: Option<CitizenId> }
}

/// Which grants are asked for; absent = any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub kind: Option<CapabilityKind>,
    pub reference: Option<CapabilityRef>,
    pub source: Option<Source>,
    /// Ended ones as well, until they are pruned.
    pub ended: bool,
}

impl Filter {
    fn conditions(&self, params: &mut Vec<Cell>) -> Vec<String> {
        let mut conditions = Vec::new();
        let mut equals = |column: &str, value: Cell| {
            params.push(value);
            conditions.push(format!("t.{column} = ${}", params.len()));
        };
        if let Some(kind) = self.kind {
            equals("kind", text(kind));
        }
        if let Some(reference) = &self.reference {
            equals("reference", text(reference));
        }
        if let Some(source) = self.source {
            equals("source", text(source));
        }
        if !self.ended {
            conditions.push("t.status in ('active', 'stale')".to_owned());
        }
        conditions
    }
}

async fn list(conn: &mut Conn, first: (&str, Cell), filter: &Filter, request: &PageRequest) -> Result<Page<Grant>> {
    let mut params = vec![first.1];
    let mut conditions = vec![first.0.to_owned()];
    conditions.extend(filter.conditions(&mut params));
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    page(conn, &conditions, params, Order::Text("grant_id"), request, |grant: &Grant| grant.grant_id.to_string()).await
}

/// What one holder has; the cursor is a grant's id.
pub async fn of_holder(
    conn: &mut Conn,
    holder: HolderId,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Grant>> {
    list(conn, ("t.holder = $1", text(holder)), filter, request).await
}

row! {
    /// What an importer compares with.
    Imported from "inventory", scale "null" {
        grant_id: GrantId,
        holder: HolderId,
        kind: String,
        reference: CapabilityRef,
        scope: Scope,
        expires_at: Option<Time>,
    }
}

/// The living grants that a source told of, in the order of their ids.
pub async fn of_source(conn: &mut Conn, source: Source, after: Option<GrantId>) -> Result<Vec<Imported>> {
    let rest = "where t.source = $1 and t.grant_id > $2 and t.parent is null and t.status in ('active', 'stale') \
                order by t.grant_id limit $3";
    let after = after.map(|after| after.to_string()).unwrap_or_default();
    select(conn, rest, &[text(source), text(after), number(crate::MAX_LIMIT.into())]).await
}

/// How many living grants each imported source told of, where it told of any.
pub async fn living_by_source(conn: &mut Conn) -> Result<BTreeMap<Source, u64>> {
    let sql = "select t.source, count(*) from inventory as t \
               where t.parent is null and t.status in ('active', 'stale') group by t.source";
    let rows = sql::query(conn, sql, &[Kind::Text, Kind::Int], &[]).await?;
    let counted = rows.into_iter().filter_map(|row| match <[Cell; 2]>::try_from(row) {
        Ok([Cell::Text(source), Cell::Int(count)]) => Some((source.parse().ok()?, count.unsigned_abs())),
        _ => None,
    });
    Ok(counted.filter(|(source, _): &(Source, u64)| source.is_imported()).collect())
}

/// Of the living grants that a source told of: how many it did not confirm in time, and how many it could not for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ailing {
    pub stale: u64,
    pub stuck: u64,
}

/// The imported sources with living grants that are stale or stuck.
pub async fn ailing_by_source(conn: &mut Conn) -> Result<BTreeMap<Source, Ailing>> {
    let sql = "select t.source, count(case when t.status = 'stale' then 1 end), count(case when t.failed_attempts > $1 then 1 end) \
               from inventory as t where t.parent is null and t.status in ('active', 'stale') \
               and (t.status = 'stale' or t.failed_attempts > $1) group by t.source";
    let most = Cell::Int(i64::try_from(STUCK_AFTER).unwrap_or(i64::MAX));
    let rows = sql::query(conn, sql, &[Kind::Text, Kind::Int, Kind::Int], &[most]).await?;
    let counted = rows.into_iter().filter_map(|row| match <[Cell; 3]>::try_from(row) {
        Ok([Cell::Text(source), Cell::Int(stale), Cell::Int(stuck)]) => {
            Some((source.parse().ok()?, Ailing { stale: stale.unsigned_abs(), stuck: stuck.unsigned_abs() }))
        }
        _ => None,
    });
    Ok(counted.filter(|(source, _): &(Source, Ailing)| source.is_imported()).collect())
}

/// Those of these grants, living or not, that a source told of.
pub async fn told_of(conn: &mut Conn, source: Source, grants: &[GrantId]) -> Result<BTreeSet<GrantId>> {
    if grants.is_empty() {
        return Ok(BTreeSet::new());
    }
    let places: Vec<String> = (2..grants.len() + 2).map(|place| format!("${place}")).collect();
    let rest = format!("where t.source = $1 and t.parent is null and t.grant_id in ({})", places.join(", "));
    let params: Vec<Cell> = std::iter::once(text(source)).chain(grants.iter().map(text)).collect();
    Ok(select::<Imported>(conn, &rest, &params).await?.into_iter().map(|row| row.grant_id).collect())
}

/// Who has a kind of capability; the cursor is a grant's id.
pub async fn holders(
    conn: &mut Conn,
    kind: CapabilityKind,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Grant>> {
    list(conn, ("t.kind = $1", text(kind)), filter, request).await
}

/// Grants whose sources could not say for more than ten attempts in a row.
pub async fn stuck(conn: &mut Conn, filter: &Filter, request: &PageRequest) -> Result<Page<Grant>> {
    let most = Cell::Int(i64::try_from(STUCK_AFTER).unwrap_or(i64::MAX));
    list(conn, ("t.failed_attempts > 10 and t.failed_attempts > $1", most), filter, request).await
}

pub async fn grant(conn: &mut Conn, grant: GrantId) -> Result<Option<Grant>> {
    find(conn, "where t.grant_id = $1", &[text(grant)]).await
}

/// What happened to a grant, also after it was pruned; the cursor is a position.
pub async fn history(conn: &mut Conn, grant: GrantId, request: &PageRequest) -> Result<Page<Happening>> {
    let order = Order::Number("position");
    page(conn, &["t.grant_id = $1"], vec![text(grant)], order, request, |one: &Happening| one.position.to_string())
        .await
}

/// What the city says of actions; the cursor is an action.
pub async fn actions(conn: &mut Conn, kind: CapabilityKind, request: &PageRequest) -> Result<Page<RegisteredAction>> {
    let order = Order::Text("action");
    page(conn, &["t.kind = $1"], vec![text(kind)], order, request, |one: &RegisteredAction| one.action.to_string())
        .await
}

/// Who may grant from imported sources by hand.
pub async fn sources(conn: &mut Conn) -> Result<Vec<SourceOwner>> {
    select(conn, "order by t.source", &[]).await
}
