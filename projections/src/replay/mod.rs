//! The tables made again from the log: to put them in place of what is there (`rebuild`), or to compare them with it (`check`).
//!
//! Invariant: what is made here comes from the same folds as what is made live, in other batches, in temporary tables that shadow
//! the live ones by name. So a difference is a fault of a table, never of the comparison.

mod check;
mod compare;
mod feed;
mod rebuild;
mod scratch;
mod source;
#[cfg(test)]
mod tests;

pub use check::{Checked, check};
pub use compare::{Difference, Found};
pub use rebuild::{Rebuilt, rebuild};
#[cfg(test)]
pub(crate) use scratch::guard_session;

/// Told how many entries are done, and of how many.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);
