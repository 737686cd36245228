//! The conservation report: per currency, all treasuries against the outside world.

use domain::money::Currency;
use eventlog::sql::{self, Cell, Conn, Kind};
use serde::Serialize;

use crate::Result;
use crate::row::{decimal, unreadable};

/// One currency. The treasuries' sum comes from their own events, the outside world's from the legs of movements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conservation {
    pub currency: Currency,
    pub treasuries: String,
    pub external: String,
    pub movements: u64,
    /// Whether the two add up to zero, as they always must.
    pub conserved: bool,
}

/// Every currency that ever moved, in the order of their codes.
pub async fn conservation(conn: &mut Conn) -> Result<Vec<Conservation>> {
    const SQL: &str = "select currency, scale, treasuries, external, movements from conservation order by currency";
    let rows = sql::query(conn, SQL, &[Kind::Text, Kind::Int, Kind::Text, Kind::Text, Kind::Int], &[]).await?;
    rows.iter().map(|row| read(row).ok_or_else(|| unreadable("conservation"))).collect()
}

fn read(row: &[Cell]) -> Option<Conservation> {
    let [Cell::Text(currency), Cell::Int(scale), Cell::Text(treasuries), Cell::Text(external), Cell::Int(movements)] =
        row
    else {
        return None;
    };
    let (inside, outside): (i128, i128) = (treasuries.parse().ok()?, external.parse().ok()?);
    let scale = u8::try_from(*scale).ok()?;
    Some(Conservation {
        currency: currency.parse().ok()?,
        treasuries: decimal(inside, scale),
        external: decimal(outside, scale),
        movements: movements.unsigned_abs(),
        conserved: inside.checked_add(outside) == Some(0),
    })
}
