//! Currencies the city knows.

use domain::money::Currency as Code;
use domain::time::Time;
use eventlog::sql::Conn;

use crate::page::{Order, page};
use crate::row::row;
use crate::{Page, PageRequest, Result};

row! {
    /// `scale`: how many decimals its amounts have.
    Currency from "currencies", scale "null" { currency: Code, scale: u64, registered_at: Time }
}

/// In the order of their codes; the cursor is a code.
pub async fn currencies(conn: &mut Conn, request: &PageRequest) -> Result<Page<Currency>> {
    page(conn, &[], Vec::new(), Order::Text("currency"), request, |currency: &Currency| currency.currency.to_string())
        .await
}
