//! Transfers that were offered, by state.

use domain::ids::{HoldId, Slug, TreasuryId};
use domain::money::{Amount, Currency};
use domain::text::Sealed;
use domain::time::Time;
use eventlog::sql::Conn;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: offered, accepted, rejected, cancelled, expired.
    Transfer from "transfers", scale "t.scale" {
        offer: HoldId,
        sender: TreasuryId,
        receiver: TreasuryId,
        currency: Currency,
        amount: Amount,
        status: String,
        mandate: Option<Slug>,
        memo: Option<Sealed>,
        expires_at: Time,
        offered_at: Time,
        ended_at: Option<Time>,
    }
}

/// Which side of a transfer a treasury is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Sender,
    Receiver,
}

/// Transfers from or to one treasury in one status or all; the cursor is an offer's id.
pub async fn transfers(
    conn: &mut Conn,
    treasury: TreasuryId,
    side: Side,
    status: Option<&str>,
    request: &PageRequest,
) -> Result<Page<Transfer>> {
    let side = match side {
        Side::Sender => "t.sender = $1",
        Side::Receiver => "t.receiver = $1",
    };
    let (mut conditions, mut params) = (vec![side], vec![text(treasury)]);
    if let Some(status) = status {
        params.push(text(status));
        conditions.push("t.status = $2");
    }
    page(conn, &conditions, params, Order::Text("offer"), request, |transfer: &Transfer| transfer.offer.to_string())
        .await
}

pub async fn transfer(conn: &mut Conn, offer: HoldId) -> Result<Option<Transfer>> {
    find(conn, "where t.offer = $1", &[text(offer)]).await
}
