//! Rows as answers: one description gives the struct, the columns to select, and the reading of them.

use std::fmt::Display;
use std::str::FromStr;

use domain::grant::kind::{CapabilityRef, Source};
use domain::grant::scope::{Action, Scope};
use domain::ids::{CitizenId, CommandId, GrantId, GuildId, HoldId, KeyId, MovementId, ProposalId, Slug, TreasuryId};
use domain::money::{Amount, Currency};
use domain::party::{HolderId, MemberId};
use domain::text::{Digest, Sealed};
use domain::time::Time;
use eventlog::Failure;
use eventlog::sql::{self, Cell, Conn, Kind};
use serde_json::Value;

use crate::Result;

/// A type that is read from the columns of one table `t`.
pub(crate) trait Selected: Sized {
    const TABLE: &'static str;
    const KINDS: &'static [Kind];

    fn columns() -> String;
    /// `None` when a cell is not what its column should hold.
    fn read(cells: &mut Cells) -> Option<Self>;
}

/// The cells of one row, taken from the left; amounts are read at the row's scale.
pub(crate) struct Cells {
    cells: std::vec::IntoIter<Cell>,
    scale: u8,
}

impl Cells {
    pub(crate) fn of(row: Vec<Cell>) -> Self {
        Self { cells: row.into_iter(), scale: 0 }
    }

    pub(crate) fn take<T: FromCell>(&mut self) -> Option<T> {
        T::from_cell(self.cells.next()?, self.scale)
    }

    /// Reads the scale of the amounts that follow.
    pub(crate) fn take_scale(&mut self) -> Option<()> {
        self.scale = self.take::<Option<u64>>()?.unwrap_or(0).try_into().ok()?;
        Some(())
    }

    pub(crate) const fn scale(&self) -> u8 {
        self.scale
    }
}

/// A value of one column.
pub(crate) trait FromCell: Sized {
    const KIND: Kind;

    fn from_cell(cell: Cell, scale: u8) -> Option<Self>;
}

macro_rules! from_cell {
    ($($type:ty: $kind:ident($cell:ident, $scale:ident) => $read:expr;)*) => {
        $(impl FromCell for $type {
            const KIND: Kind = Kind::$kind;

            fn from_cell(cell: Cell, $scale: u8) -> Option<Self> {
                let Cell::$kind($cell) = cell else { return None };
                $read
            }
        })*
    };
}
from_cell! {
    String: Text(text, _scale) => Some(text);
    u64: Int(number, _scale) => Self::try_from(number).ok();
    bool: Int(number, _scale) => Some(number != 0);
    Time: Int(micros, _scale) => Some(Self::from_micros(micros));
    i128: Money(minor, _scale) => Some(minor);
    Amount: Money(minor, scale) => Self::new(minor, scale);
    Value: Text(text, _scale) => serde_json::from_str(&text).ok();
    Sealed: Text(text, _scale) => serde_json::from_str(&text).ok();
    Vec<String>: Text(text, _scale) => serde_json::from_str(&text).ok();
    Scope: Text(text, _scale) => serde_json::from_str(&text).ok();
}

macro_rules! from_text {
    ($($type:ty),*) => {
        $(impl FromCell for $type {
            const KIND: Kind = Kind::Text;

            fn from_cell(cell: Cell, _scale: u8) -> Option<Self> {
                let Cell::Text(text) = cell else { return None };
                Self::from_str(&text).ok()
            }
        })*
    };
}
from_text!(
    CitizenId,
    CommandId,
    GrantId,
    GuildId,
    HoldId,
    KeyId,
    MovementId,
    ProposalId,
    TreasuryId,
    HolderId,
    MemberId,
    Slug,
    Currency,
    Digest,
    CapabilityRef,
    Source,
    Action
);

impl<T: FromCell> FromCell for Option<T> {
    const KIND: Kind = T::KIND;

    fn from_cell(cell: Cell, scale: u8) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell, scale).map(Some),
        }
    }
}

/// `row! { Name from "table", scale "expression" { column: type, ... } }`
macro_rules! row {
    ($(#[$doc:meta])* $name:ident from $table:literal, scale $scale:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(skip_serializing_if = "crate::row::is_absent")] pub $field: $type,)*
        }

        impl crate::row::Selected for $name {
            const TABLE: &'static str = $table;
            const KINDS: &'static [eventlog::sql::Kind] =
                &[eventlog::sql::Kind::Int, $(<$type as crate::row::FromCell>::KIND),*];

            fn columns() -> String {
                let columns: &[&str] = &[$(stringify!($field)),*];
                let columns: Vec<String> = columns.iter().map(|column| format!("t.\"{column}\"")).collect();
                format!("{}, {}", $scale, columns.join(", "))
            }

            fn read(cells: &mut crate::row::Cells) -> Option<Self> {
                cells.take_scale()?;
                Some(Self { $($field: cells.take()?,)* })
            }
        }
    };
}
pub(crate) use row;

/// Leaves out what is null.
pub(crate) trait Absent {
    fn absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

macro_rules! never_absent {
    ($($type:ty),*) => { $(impl Absent for $type { fn absent(&self) -> bool { false } })* };
}
never_absent!(
    String,
    u64,
    bool,
    Time,
    i128,
    Amount,
    Value,
    Sealed,
    Vec<String>,
    CitizenId,
    CommandId,
    GuildId,
    HoldId,
    KeyId,
    MovementId,
    ProposalId,
    TreasuryId,
    MemberId,
    Slug,
    Currency,
    Digest,
    Scope,
    GrantId,
    HolderId,
    CapabilityRef,
    Source,
    Action
);

pub(crate) fn is_absent(value: &impl Absent) -> bool {
    value.absent()
}

/// Rows of the type's table; `rest` is everything after `from table as t`.
pub(crate) async fn select<T: Selected>(conn: &mut Conn, rest: &str, params: &[Cell]) -> Result<Vec<T>> {
    let text = format!("select {} from \"{}\" as t {rest}", T::columns(), T::TABLE);
    let rows = sql::query(conn, &text, T::KINDS, params).await?;
    rows.into_iter().map(|row| T::read(&mut Cells::of(row)).ok_or_else(|| unreadable(T::TABLE))).collect()
}

/// The one row that fits, if any.
pub(crate) async fn find<T: Selected>(conn: &mut Conn, rest: &str, params: &[Cell]) -> Result<Option<T>> {
    Ok(select(conn, rest, params).await?.pop())
}

pub(crate) fn unreadable(table: &str) -> crate::QueryError {
    Failure::Corrupt(format!("a row of {table} does not have the expected shape")).into()
}

pub(crate) fn text(value: impl Display) -> Cell {
    Cell::Text(value.to_string())
}

pub(crate) fn number(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(crate) fn time(value: Time) -> Cell {
    Cell::Int(value.micros())
}

/// Minor units as decimal text at a scale, also beyond what one amount can be.
pub(crate) fn decimal(minor: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0width$}", minor.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if minor < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_at_their_scale() {
        let cases = [
            (0, 0, "0"),
            (-5, 2, "-0.05"),
            (123, 2, "1.23"),
            (10_i128.pow(30), 18, "1000000000000.000000000000000000"),
        ];
        for (minor, scale, expected) in cases {
            assert_eq!(decimal(minor, scale), expected);
        }
    }
}
