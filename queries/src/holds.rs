//! Money set aside, open and ended.

use domain::ids::{HoldId, ProposalId, TreasuryId};
use domain::money::{Amount, Currency};
use domain::text::Sealed;
use domain::time::Time;
use eventlog::sql::Conn;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: reserved (a proposal decides), open, captured, released, expired. `legs`: payee, role and maximum each.
    Hold from "holds", scale "t.scale" {
        hold: HoldId,
        treasury: TreasuryId,
        currency: Currency,
        amount: Amount,
        captured: Amount,
        remaining: Amount,
        legs: Value,
        status: String,
        proposal: Option<ProposalId>,
        purpose: Option<Sealed>,
        expires_at: Time,
        placed_at: Time,
        ended_at: Option<Time>,
    }
}

/// Holds of one treasury in one status or all; the cursor is a hold's id.
pub async fn holds(
    conn: &mut Conn,
    treasury: TreasuryId,
    status: Option<&str>,
    request: &PageRequest,
) -> Result<Page<Hold>> {
    let (mut conditions, mut params) = (vec!["t.treasury = $1"], vec![text(treasury)]);
    if let Some(status) = status {
        params.push(text(status));
        conditions.push("t.status = $2");
    }
    page(conn, &conditions, params, Order::Text("hold"), request, |hold: &Hold| hold.hold.to_string()).await
}

pub async fn hold(conn: &mut Conn, hold: HoldId) -> Result<Option<Hold>> {
    find(conn, "where t.hold = $1", &[text(hold)]).await
}
