//! How facts become tables: guards that can say no, views that can be thrown away, and both made again from the log.
//!
//! Invariants:
//! - Every row is a function of the log alone: no clock, no chance, no state of a decision goes into one.
//! - Guards are written in the transaction that appends the events they are computed from.
//! - Views and their position move in one transaction: never ahead of the log, never skipping an entry.
//! - What is made live, batch by batch, and what is made again from position 0 are the same bytes.

mod cache;
pub mod ddl;
mod effect;
mod field;
pub mod guards;
mod projector;
mod record;
pub mod recorded;
pub mod replay;
mod sheet;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uses;
pub mod views;

pub use projector::Tables;
