//! How a typed value becomes the cell of a column, and comes back.

use std::fmt::Display;
use std::str::FromStr;

use domain::grant::kind::{CapabilityRef, Source};
use domain::grant::scope::Action;
use domain::ids::{CitizenId, GrantId, GuildId, HoldId, KeyId, MovementId, ProposalId, Slug, TreasuryId};
use domain::money::Currency;
use domain::party::{HolderId, MemberId};
use domain::text::Digest;
use domain::time::Time;
use eventlog::sql::{Cell, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value of a column. Reading what was written gives the same value, and writing that gives the same cell.
pub trait Field: Sized {
    const KIND: Kind;

    fn cell(&self) -> Cell;
    fn read(cell: Cell) -> Option<Self>;
}

impl Field for String {
    const KIND: Kind = Kind::Text;

    fn cell(&self) -> Cell {
        Cell::Text(self.clone())
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Counts and positions.
impl Field for u64 {
    const KIND: Kind = Kind::Int;

    fn cell(&self) -> Cell {
        Cell::Int(i64::try_from(*self).expect("no log holds 2^63 entries"))
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Int(number) => Self::try_from(number).ok(),
            _ => None,
        }
    }
}

impl Field for bool {
    const KIND: Kind = Kind::Int;

    fn cell(&self) -> Cell {
        Cell::Int(i64::from(*self))
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Int(0) => Some(false),
            Cell::Int(1) => Some(true),
            _ => None,
        }
    }
}

/// Minor units.
impl Field for i128 {
    const KIND: Kind = Kind::Money;

    fn cell(&self) -> Cell {
        Cell::Money(*self)
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Money(amount) => Some(amount),
            _ => None,
        }
    }
}

/// Microseconds since 1970.
impl Field for Time {
    const KIND: Kind = Kind::Int;

    fn cell(&self) -> Cell {
        Cell::Int(self.micros())
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Int(micros) => Some(Self::from_micros(micros)),
            _ => None,
        }
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;

    fn cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, T::cell)
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::read(cell).map(Some),
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {
        $(impl Field for $type {
            const KIND: Kind = Kind::Text;

            fn cell(&self) -> Cell {
                text(self)
            }

            fn read(cell: Cell) -> Option<Self> {
                parse(&cell)
            }
        })*
    };
}
as_text!(
    CitizenId,
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

fn text(value: &impl Display) -> Cell {
    Cell::Text(value.to_string())
}

fn parse<T: FromStr>(cell: &Cell) -> Option<T> {
    match cell {
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A document kept as JSON text in the order of its type's fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> Field for Json<T> {
    const KIND: Kind = Kind::Text;

    fn cell(&self) -> Cell {
        Cell::Text(json(&self.0))
    }

    fn read(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => serde_json::from_str(&text).ok().map(Json),
            _ => None,
        }
    }
}

/// A sum that may exceed what one treasury can have: decimal text, not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(pub i128);

impl Field for Sum {
    const KIND: Kind = Kind::Text;

    fn cell(&self) -> Cell {
        text(&self.0)
    }

    fn read(cell: Cell) -> Option<Self> {
        parse(&cell).map(Self)
    }
}

/// A recorded document as JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("recorded types hold only texts, numbers, lists and maps keyed by text")
}

/// The word that stands for a value of a closed vocabulary.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("a closed vocabulary serialises as one word, not {other:?}"),
    }
}
