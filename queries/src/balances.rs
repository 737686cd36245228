//! What a treasury has, holds and can spend: now, as of a position, or as of a time on either axis.

use domain::ids::TreasuryId;
use domain::money::{Amount, Currency};
use domain::time::Time;
use eventlog::sql::{self, Cell, Conn, Kind};
use serde::Serialize;

use crate::Result;
use crate::row::{Cells, number, text, time, unreadable};

/// One currency of one treasury.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    pub currency: Currency,
    pub balance: Amount,
    pub held: Amount,
    /// What can be spent: balance - held.
    pub available: Amount,
}

/// Which moment is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    Now,
    /// After the entry at this position.
    Position(u64),
    /// What was recorded up to and including this time.
    Recorded(Time),
    /// What took effect up to and including this time, as it is known now. What is set aside takes effect when it is recorded.
    Effective(Time),
}

/// Every currency the treasury ever had by then, in the order of their codes.
pub async fn balances(conn: &mut Conn, treasury: TreasuryId, as_of: AsOf) -> Result<Vec<Balance>> {
    const NOW: &str = "select t.scale, t.currency, t.balance, t.held from account_balances as t where t.treasury = $1 \
         order by t.currency";
    match as_of {
        AsOf::Now => read(conn, NOW, &[text(treasury)]).await,
        AsOf::Position(position) => at_position(conn, treasury, number(position)).await,
        AsOf::Recorded(moment) => {
            // Record time never goes back, so the last line by then is also the last position.
            let last = "select max(t.position) from treasury_statement as t where t.treasury = $1 and t.at <= $2";
            let rows = sql::query(conn, last, &[Kind::Int], &[text(treasury), time(moment)]).await?;
            match rows.into_iter().flatten().next() {
                Some(position @ Cell::Int(_)) => at_position(conn, treasury, position).await,
                _ => Ok(Vec::new()),
            }
        }
        AsOf::Effective(moment) => effective(conn, treasury, moment).await,
    }
}

/// The running balances of the last line by then, found once per currency through the index.
async fn at_position(conn: &mut Conn, treasury: TreasuryId, position: Cell) -> Result<Vec<Balance>> {
    const SQL: &str = "select t.scale, t.currency, t.balance, t.held from account_balances as a \
         join treasury_statement as t on t.treasury = a.treasury and t.position = ( \
             select max(m.position) from treasury_statement as m \
             where m.treasury = a.treasury and m.currency = a.currency and m.position <= $2) \
         where a.treasury = $1 order by t.currency";
    read(conn, SQL, &[text(treasury), position]).await
}

async fn read(conn: &mut Conn, sql: &str, params: &[Cell]) -> Result<Vec<Balance>> {
    let rows = sql::query(conn, sql, &[Kind::Int, Kind::Text, Kind::Money, Kind::Money], params).await?;
    let read = |row| {
        let mut cells = Cells::of(row);
        cells.take_scale()?;
        balance(cells.take()?, cells.scale(), cells.take()?, cells.take()?)
    };
    rows.into_iter().map(|row| read(row).ok_or_else(|| unreadable("treasury_statement"))).collect()
}

fn balance(currency: Currency, scale: u8, balance: i128, held: i128) -> Option<Balance> {
    let amount = |minor| Amount::new(minor, scale);
    Some(Balance { currency, balance: amount(balance)?, held: amount(held)?, available: amount(balance - held)? })
}

/// Sums of what took effect. PostgreSQL adds numbers; SQLite adds the stored text of 29 digits in three pieces, each of which
/// stays far from the end of a 64-bit integer, and every summand is 10^28 too high.
async fn effective(conn: &mut Conn, treasury: TreasuryId, moment: Time) -> Result<Vec<Balance>> {
    let pieces = |column: &str| {
        if conn.is_postgres() {
            return format!("sum(t.{column})");
        }
        let piece = |from, length| format!("sum(cast(substr(t.{column}, {from}, {length}) as integer))");
        [piece(1, 9), piece(10, 10), piece(20, 10)].join(", ")
    };
    let text_of_query = format!(
        "select max(t.scale), t.currency, count(*), {}, {} from treasury_statement as t \
         where t.treasury = $1 and t.effective_at <= $2 group by t.currency order by t.currency",
        pieces("amount"),
        pieces("held_change")
    );
    let mut kinds = vec![Kind::Int, Kind::Text, Kind::Int];
    kinds.extend(if conn.is_postgres() { vec![Kind::Money; 2] } else { vec![Kind::Int; 6] });
    let rows = sql::query(conn, &text_of_query, &kinds, &[text(treasury), time(moment)]).await?;
    rows.into_iter().map(|row| effective_row(&row).ok_or_else(|| unreadable("treasury_statement"))).collect()
}

fn effective_row(row: &[Cell]) -> Option<Balance> {
    let [Cell::Int(scale), Cell::Text(currency), Cell::Int(count), sums @ ..] = row else { return None };
    let joined = |pieces: &[Cell]| match pieces {
        [Cell::Int(high), Cell::Int(middle), Cell::Int(low)] => {
            let moved = i128::from(*high) * 10_i128.pow(20) + i128::from(*middle) * 10_i128.pow(10) + i128::from(*low);
            Some(moved - i128::from(*count) * 10_i128.pow(28))
        }
        [Cell::Money(sum)] => Some(*sum),
        _ => None,
    };
    let (balances, held) = sums.split_at(sums.len() / 2);
    balance(currency.parse().ok()?, u8::try_from(*scale).ok()?, joined(balances)?, joined(held)?)
}
