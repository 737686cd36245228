//! The governance log of a guild: which governed actions took effect, and on what ground.

use domain::ids::{CommandId, GuildId};
use domain::money::{Amount, Currency};
use domain::time::Time;
use eventlog::sql::Conn;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `decided_by`: decider, proposal, delegation, rule, mandate, appointment; `ground` says which one, with votes or evidence.
    Decision from "governance_log", scale "(select c.scale from currencies as c where c.currency = t.currency)" {
        guild: GuildId,
        position: u64,
        at: Time,
        action: String,
        class: String,
        decided_by: String,
        ground: Value,
        actor_kind: String,
        actor: String,
        command: CommandId,
        currency: Option<Currency>,
        amount: Option<Amount>,
    }
}

/// Decisions, newest first; the cursor is a position.
pub async fn decisions(conn: &mut Conn, guild: GuildId, request: &PageRequest) -> Result<Page<Decision>> {
    let order = Order::NewestNumber("position");
    page(conn, &["t.guild = $1"], vec![text(guild)], order, request, |decision: &Decision| {
        decision.position.to_string()
    })
    .await
}
