//! A treasury's statement: line by line in the order of the log, with the running balance.

use domain::ids::{CommandId, HoldId, MovementId, Slug, TreasuryId};
use domain::money::{Amount, Currency};
use domain::text::Sealed;
use domain::time::Time;
use eventlog::sql::Conn;

use crate::page::{Order, page};
use crate::row::{row, text, time};
use crate::{Page, PageRequest, Result};

row! {
    /// `balance` and `held` are what was there after the line. `counterparty` is the other account where there is exactly one.
    Line from "treasury_statement", scale "t.scale" {
        position: u64,
        at: Time,
        effective_at: Time,
        kind: String,
        currency: Currency,
        amount: Amount,
        held_change: Amount,
        balance: Amount,
        held: Amount,
        movement: Option<MovementId>,
        counterparty: Option<String>,
        source: Option<Slug>,
        mandate: Option<Slug>,
        hold: Option<HoldId>,
        memo: Option<Sealed>,
        reference: Option<Sealed>,
        command: CommandId,
    }
}

/// Which lines. Times include their own moment.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub currency: Option<Currency>,
    pub recorded_from: Option<Time>,
    pub recorded_until: Option<Time>,
    pub effective_from: Option<Time>,
    pub effective_until: Option<Time>,
    /// Only lines that change the balance, not those that set money aside or give it back.
    pub movements_only: bool,
    pub newest_first: bool,
}

/// Lines of one treasury; the cursor is a position.
pub async fn statement(
    conn: &mut Conn,
    treasury: TreasuryId,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Line>> {
    let (mut conditions, mut params) = (vec!["t.treasury = $1".to_owned()], vec![text(treasury)]);
    if let Some(currency) = &filter.currency {
        params.push(text(currency));
        conditions.push(format!("t.currency = ${}", params.len()));
    }
    let bounds = [
        (filter.recorded_from, "t.at >="),
        (filter.recorded_until, "t.at <="),
        (filter.effective_from, "t.effective_at >="),
        (filter.effective_until, "t.effective_at <="),
    ];
    for (bound, comparison) in bounds {
        if let Some(bound) = bound {
            params.push(time(bound));
            conditions.push(format!("{comparison} ${}", params.len()));
        }
    }
    if filter.movements_only {
        conditions.push("t.movement is not null".to_owned());
    }
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let order = if filter.newest_first { Order::NewestNumber("position") } else { Order::Number("position") };
    page(conn, &conditions, params, order, request, |line: &Line| line.position.to_string()).await
}
