//! Whose treasury it is, and whether money may leave it.

use domain::ids::TreasuryId;
use domain::time::Time;
use eventlog::sql::Conn;

use crate::Result;
use crate::row::{find, row, text};

row! {
    /// What took effect before `settled_until` is closed; `auto_accept` lists senders whose transfers need no acceptance.
    Treasury from "treasuries", scale "null" {
        treasury: TreasuryId,
        owner_kind: String,
        owner: String,
        frozen_by_city: bool,
        frozen_by_owner: bool,
        settled_until: Option<Time>,
        auto_accept: Vec<String>,
        opened_at: Time,
        closed_at: Option<Time>,
    }
}

pub async fn treasury(conn: &mut Conn, treasury: TreasuryId) -> Result<Option<Treasury>> {
    find(conn, "where t.treasury = $1", &[text(treasury)]).await
}
