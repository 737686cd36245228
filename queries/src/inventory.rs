//! Who can do what: by holder, by capability, why not, and what happened to a grant.

use std::collections::BTreeSet;

use domain::grant::check::{self, Answer, Held};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::scope::{Action, Effect, Scope};
use domain::grant::verification::STUCK_AFTER;
use domain::ids::{CitizenId, CommandId, GrantId};
use domain::party::HolderId;
use domain::text::Sealed;
use domain::time::Time;
use eventlog::sql::{self, Cell, Conn, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{Cells, find, number, row, select, text, unreadable};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: active, stale, revoked, expired, orphaned. `scope` is its own; what a chain of delegation allows, a check says.
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
    }
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

/// What a check asks.
#[derive(Debug, Clone)]
pub struct Question {
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
    pub action: Action,
    /// How old the last verification may be, in seconds.
    pub max_age_seconds: u32,
}

/// The answer, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    #[serde(flatten)]
    pub answer: Answer,
    pub effect: Effect,
    /// From the holder's own grant up to the one that was not delegated.
    pub chain: Vec<Held>,
}

/// A grant with all above it, the activity of their holders, and the effect of the action: one exchange.
const CHAIN: &str = "with recursive chain (depth, grant_id) as ( \
       select 0, i.grant_id from inventory i \
       where i.holder = $1 and i.kind = $2 and i.reference = $3 and i.status in ('active', 'stale') \
     union all \
       select c.depth + 1, i.parent from chain c join inventory i on i.grant_id = c.grant_id \
       where i.parent is not null and c.depth < 8) \
     select c.grant_id, i.status, i.scope, i.source, i.granted_at, i.verified_at, i.expires_at, i.holder, i.parent, \
       coalesce(z.status, g.status), (select a.effect from capability_actions a where a.kind = $2 and a.action = $4) \
     from chain c left join inventory i on i.grant_id = c.grant_id \
     left join citizens z on z.citizen = i.holder left join guild_directory g on g.guild = i.holder \
     order by c.depth";
const CHAIN_KINDS: &[Kind] = &[
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
];

/// Whether the holder may do that now, and why not.
pub async fn check(conn: &mut Conn, question: &Question, now: Time) -> Result<Checked> {
    let Question { holder, kind, reference, action, max_age_seconds } = question;
    let params = [text(holder), text(kind), text(reference), text(action)];
    let rows = sql::query(conn, CHAIN, CHAIN_KINDS, &params).await?;
    let mut effect = Effect::Write;
    let mut chain = Vec::new();
    for row in rows {
        let (held, registered) = held(row).ok_or_else(|| unreadable("inventory"))?;
        if registered.as_deref() == Some("read") {
            effect = Effect::Read;
        }
        chain.push(held);
    }
    let answer = check::check(&chain, action, effect, *max_age_seconds, now);
    Ok(Checked { answer, effect, chain })
}

/// One grant of a chain. One that is not in the table any more ended long ago, and says no.
fn held(row: Vec<Cell>) -> Option<(Held, Option<String>)> {
    let mut cells = Cells::of(row);
    let grant: GrantId = cells.take()?;
    let status: Option<String> = cells.take()?;
    let scope: Option<Scope> = cells.take()?;
    let source: Option<Source> = cells.take()?;
    let granted_at: Option<Time> = cells.take()?;
    let verified_at: Option<Time> = cells.take()?;
    let expires_at: Option<Time> = cells.take()?;
    let holder: Option<HolderId> = cells.take()?;
    let parent: Option<GrantId> = cells.take()?;
    let holder_status: Option<String> = cells.take()?;
    let effect: Option<String> = cells.take()?;
    let imported = source.is_some_and(Source::is_imported) && parent.is_none();
    let held = Held {
        grant,
        scope: scope.unwrap_or_default(),
        expires_at,
        fresh_since: if imported { verified_at.or(granted_at) } else { None },
        stale: status.as_deref() == Some("stale"),
        living: matches!(status.as_deref(), Some("active" | "stale")),
        holder_active: match holder {
            // A squad is nobody's to suspend yet.
            Some(HolderId::Squad(_)) => true,
            Some(HolderId::Citizen(_) | HolderId::Guild(_)) => holder_status.as_deref() == Some("active"),
            None => false,
        },
    };
    Some((held, effect))
}
