//! How tables are read: one file per question, each answer a type.
//!
//! Invariants:
//! - A question reads views only (the log itself for entries), through a connection that cannot write, and takes no lock.
//! - Every list has a limit of at most [`MAX_LIMIT`] items and a cursor; every amount is a decimal text at its currency's scale.
//! - Nothing here decides who may ask: the caller has checked that.

pub mod balances;
pub mod checks;
pub mod citizens;
pub mod conservation;
pub mod currencies;
pub mod due;
pub mod entries;
pub mod governance;
pub mod guilds;
pub mod holds;
pub mod inventory;
pub mod keys;
mod page;
pub mod position;
pub mod proposals;
pub mod reputation;
pub mod roles;
pub mod roster;
mod row;
pub mod statement;
pub mod transfers;
pub mod treasuries;

pub use page::{MAX_LIMIT, Page, PageRequest};

/// Why a question was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// The caller's: a cursor comes from the page before.
    #[error("the cursor is not one that this list gave")]
    Cursor,
    #[error(transparent)]
    Failure(#[from] eventlog::Failure),
}

impl From<eventlog::sql::SqlError> for QueryError {
    fn from(error: eventlog::sql::SqlError) -> Self {
        Self::Failure(error.into())
    }
}

pub type Result<T> = std::result::Result<T, QueryError>;
