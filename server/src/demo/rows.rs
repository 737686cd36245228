//! The file: its rows in order, and what each of them means for a treasury.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

const FILE: &[u8] = include_bytes!("../../data/open-collective/prettier-2020-2023.csv");
/// The balance before the first row, as the README beside the file says.
pub const OPENING: Cents = Cents(667_278);
/// The balance after the last row.
pub const CLOSING: Cents = Cents(4_481_593);
/// Where money in the file comes from: the processors it names, and one for the rows that name none.
pub const SOURCES: [&str; 4] = ["stripe", "paypal", "opencollective", "unnamed"];

/// Hundredths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cents(pub i64);

impl Cents {
    pub const ZERO: Self = Self(0);

    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, cents) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        f.pad(&format!("{sign}{whole}.{cents:02}"))
    }
}

impl FromStr for Cents {
    type Err = anyhow::Error;

    /// Up to two decimals; what has more is refused, never rounded.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(!whole.is_empty() && plain(whole) && plain(fraction) && fraction.len() <= 2, "{text:?} is no amount");
        let minor: i64 = format!("{whole}{fraction:0<2}").parse().with_context(|| format!("{text:?} is too large"))?;
        Ok(Self(sign * minor))
    }
}

/// What a row does to the guild's treasury.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Gross in from outside, the processor's fee out again; in older rows the host kept its fee at source.
    Inflow { gross: Cents, fee: Cents, host_fee: Cents },
    /// The host's fee as a row of its own.
    HostFee { amount: Cents },
    /// The host pays: a fee given back, or what the processor did not.
    FromHost { amount: Cents },
    /// A contribution goes back; in the older row the host first returns what had been kept at source.
    Refund { paid: Cents, host_pays: Cents },
    /// A bill is paid, the processor's fee on top.
    Expense { paid: Cents, fee: Cents },
}

impl Act {
    /// What it changes for the guild's balance.
    pub const fn net(self) -> Cents {
        match self {
            Self::Inflow { gross, fee, host_fee } => gross.minus(fee).minus(host_fee),
            Self::HostFee { amount } => Cents::ZERO.minus(amount),
            Self::FromHost { amount } => amount,
            Self::Refund { paid, host_pays } => host_pays.minus(paid),
            Self::Expense { paid, fee } => Cents::ZERO.minus(paid).minus(fee),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Row {
    /// Line in the file, the header being line 1.
    pub line: usize,
    /// The file's time, taken as UTC.
    pub at: String,
    pub transaction: String,
    /// (type, kind, refund) as the file has it.
    pub combination: String,
    pub act: Act,
    pub counterparty: String,
    pub source: &'static str,
    /// The transaction that a refund takes back, where the file names one.
    pub refunds: Option<String>,
    pub is_refund: bool,
    pub balance_after: Option<Cents>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    datetime: String,
    transaction: String,
    #[serde(rename = "group")]
    _group: String,
    #[serde(rename = "type")]
    direction: String,
    kind: String,
    refund: String,
    refunds_transaction: String,
    amount: String,
    processor_fee: String,
    net_amount: String,
    balance_after: String,
    currency: String,
    counterparty: String,
    payment_service: String,
    #[serde(rename = "expense_type")]
    _expense_type: String,
}

/// How many rows there are of each kind, and what became of the originals of refunds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Census {
    pub combinations: BTreeMap<String, usize>,
    pub with_balance: usize,
    pub refunds_of_known: usize,
    /// Refunds that name an original which is not in the file, or none at all.
    pub refunds_of_unknown: usize,
}

/// All rows in the file's order, which is the order in which they were booked.
///
/// # Errors
/// Names the line that does not fit: an unknown combination, or arithmetic that does not add up.
pub fn read() -> anyhow::Result<Vec<Row>> {
    let mut reader = csv::Reader::from_reader(FILE);
    let numbered = reader.deserialize::<Record>().enumerate();
    numbered
        .map(|(index, record)| {
            let line = index + 2;
            let record = record.with_context(|| format!("line {line}"))?;
            row(line, record).with_context(|| format!("line {line}"))
        })
        .collect()
}

pub fn census(rows: &[Row]) -> Census {
    let known: HashSet<&str> = rows.iter().map(|row| row.transaction.as_str()).collect();
    let mut census = Census::default();
    for row in rows {
        *census.combinations.entry(row.combination.clone()).or_default() += 1;
        census.with_balance += usize::from(row.balance_after.is_some());
        if row.is_refund {
            match row.refunds.as_deref() {
                Some(original) if known.contains(original) => census.refunds_of_known += 1,
                _ => census.refunds_of_unknown += 1,
            }
        }
    }
    census
}

fn row(line: usize, record: Record) -> anyhow::Result<Row> {
    ensure!(record.currency == "USD", "a row in {}", record.currency);
    let source = match record.payment_service.as_str() {
        "" => "unnamed",
        "STRIPE" => "stripe",
        "PAYPAL" => "paypal",
        "OPENCOLLECTIVE" => "opencollective",
        other => bail!("an unknown payment service: {other}"),
    };
    let act = act(&record)?;
    let net: Cents = record.net_amount.parse()?;
    ensure!(act.net() == net, "{act:?} changes the balance by {}, the row by {net}", act.net());
    let balance_after = match record.balance_after.as_str() {
        "" => None,
        text => Some(text.parse()?),
    };
    let is_refund = record.refund == "REFUND";
    Ok(Row {
        line,
        at: format!("{}Z", record.datetime),
        combination: [record.direction, record.kind, record.refund].join(" ").trim_end().to_owned(),
        transaction: record.transaction,
        act,
        counterparty: record.counterparty,
        source,
        refunds: (is_refund && !record.refunds_transaction.is_empty()).then_some(record.refunds_transaction),
        is_refund,
        balance_after,
    })
}

/// The seven combinations of (type, kind, refund). Whatever else turns up is an error, not a guess.
fn act(record: &Record) -> anyhow::Result<Act> {
    let amount: Cents = record.amount.parse()?;
    let fee = Cents::ZERO.minus(record.processor_fee.parse()?);
    let net: Cents = record.net_amount.parse()?;
    // What neither the amount nor the processor explains is the host's share, kept at source.
    let implied = amount.minus(fee).minus(net);
    let out = Cents::ZERO.minus(amount);
    let act = match (record.direction.as_str(), record.kind.as_str(), record.refund.as_str()) {
        ("CREDIT", "CONTRIBUTION" | "ADDED_FUNDS", "") => Act::Inflow { gross: amount, fee, host_fee: implied },
        ("DEBIT", "HOST_FEE", "") => Act::HostFee { amount: out },
        ("CREDIT", "HOST_FEE" | "PAYMENT_PROCESSOR_COVER", "REFUND") => Act::FromHost { amount },
        ("DEBIT", "CONTRIBUTION", "REFUND") => Act::Refund { paid: out, host_pays: Cents::ZERO.minus(implied) },
        ("DEBIT", "EXPENSE", "") => Act::Expense { paid: out, fee },
        (direction, kind, refund) => bail!("an unknown combination: ({direction}, {kind}, {refund:?})"),
    };
    let (main, extras) = match act {
        Act::Inflow { gross, fee, host_fee } => (gross, [fee, host_fee]),
        Act::HostFee { amount } | Act::FromHost { amount } => (amount, [fee, implied]),
        Act::Refund { paid, host_pays } => (paid, [fee, host_pays]),
        Act::Expense { paid, fee } => (paid, [fee, implied]),
    };
    ensure!(main > Cents::ZERO, "the sign of the amount does not fit: {act:?}");
    ensure!(extras.iter().all(|extra| *extra >= Cents::ZERO), "a fee with the wrong sign: {act:?}");
    Ok(act)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "datetime,transaction,group,type,kind,refund,refunds_transaction,amount,processor_fee,\
                          net_amount,balance_after,currency,counterparty,payment_service,expense_type\n";

    fn one(line: &str) -> anyhow::Result<Row> {
        let text = format!("{HEADER}{line}\n");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        row(2, reader.deserialize().next().unwrap()?)
    }

    #[test]
    fn the_file_adds_up_row_by_row() {
        let rows = read().unwrap();
        assert_eq!(rows.len(), 4433);
        let mut balance = OPENING;
        for row in &rows {
            balance = balance.plus(row.act.net());
            assert!(row.balance_after.is_none_or(|after| after == balance), "line {}", row.line);
        }
        assert_eq!(balance, CLOSING);
    }

    #[test]
    fn the_seven_combinations_are_all_there_are() {
        let census = census(&read().unwrap());
        let counted: Vec<_> = census.combinations.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let expected = [
            ("CREDIT ADDED_FUNDS", 3),
            ("CREDIT CONTRIBUTION", 2515),
            ("CREDIT HOST_FEE REFUND", 10),
            ("CREDIT PAYMENT_PROCESSOR_COVER REFUND", 10),
            ("DEBIT CONTRIBUTION REFUND", 11),
            ("DEBIT EXPENSE", 49),
            ("DEBIT HOST_FEE", 1835),
        ];
        assert_eq!(counted, expected);
        assert_eq!((census.with_balance, census.refunds_of_known, census.refunds_of_unknown), (4431, 21, 10));
    }

    #[test]
    fn what_the_file_does_not_hold_is_an_error() {
        let good =
            "2020-01-30T20:12:00,b9a48420,8f6b1e7a,CREDIT,CONTRIBUTION,,,500,-14.8,435.2,7107.98,USD,party-0001,,";
        let row = one(good).unwrap();
        assert_eq!(row.act, Act::Inflow { gross: Cents(50_000), fee: Cents(1480), host_fee: Cents(5000) });
        for (from, to) in [
            ("CREDIT,CONTRIBUTION,,", "DEBIT,CONTRIBUTION,,"),
            ("CONTRIBUTION", "DONATION"),
            (",USD,", ",EUR,"),
            ("435.2", "485.3"),
            ("500,", "500.001,"),
            ("-14.8", "14.8"),
        ] {
            assert!(one(&good.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn a_negative_implied_fee_is_what_the_host_returns() {
        let line = "2021-01-15T00:33:39,bbecf5e2,436d4c69,DEBIT,CONTRIBUTION,REFUND,a9997a4c,-1290,0,-1123.29,,USD,party-0083,STRIPE,";
        let row = one(line).unwrap();
        assert_eq!(row.act, Act::Refund { paid: Cents(129_000), host_pays: Cents(16_671) });
        assert_eq!(row.refunds.as_deref(), Some("a9997a4c"));
    }
}
