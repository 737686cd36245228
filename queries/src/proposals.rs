//! Proposals of a guild: what waits for votes, and what became of the others.

use domain::ids::{CitizenId, GuildId, HoldId, ProposalId};
use domain::money::{Amount, Currency};
use domain::time::Time;
use eventlog::sql::Conn;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: open, passed, failed (with the `code` of the refusal), rejected, expired, withdrawn, voided. `votes`: citizen to
    /// yes or no. `amount` is what is set aside for it.
    Proposal from "proposals", scale "(select c.scale from currencies as c where c.currency = t.currency)" {
        proposal: ProposalId,
        guild: GuildId,
        proposer: CitizenId,
        class: String,
        action: String,
        command: Value,
        status: String,
        code: Option<String>,
        votes: Value,
        hold: Option<HoldId>,
        currency: Option<Currency>,
        amount: Option<Amount>,
        opened_at: Time,
        expires_at: Time,
        ended_at: Option<Time>,
    }
}

/// Proposals of one guild in one status or all, newest first; the cursor is a proposal's id.
pub async fn proposals(
    conn: &mut Conn,
    guild: GuildId,
    status: Option<&str>,
    request: &PageRequest,
) -> Result<Page<Proposal>> {
    let (mut conditions, mut params) = (vec!["t.guild = $1"], vec![text(guild)]);
    if let Some(status) = status {
        params.push(text(status));
        conditions.push("t.status = $2");
    }
    let order = Order::NewestText("proposal");
    page(conn, &conditions, params, order, request, |proposal: &Proposal| proposal.proposal.to_string()).await
}

pub async fn proposal(conn: &mut Conn, proposal: ProposalId) -> Result<Option<Proposal>> {
    find(conn, "where t.proposal = $1", &[text(proposal)]).await
}
