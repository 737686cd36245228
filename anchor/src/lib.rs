//! How the log is pinned where we cannot change it: published as signed transparency-log files, and anchored.
//!
//! Invariants:
//! - No fork, ever: nothing is signed that does not continue the last signed checkpoint, whatever the database says.
//! - A file that was published never changes: it is written once, compared ever after.
//! - Everything an auditor needs is in files; the database is needed for what is not published yet, and for nothing else.

mod anchorer;
mod error;
mod export;
mod files;
mod growth;
pub mod keys;
mod layout;
mod prover;
mod publisher;
mod service;
mod signing;
mod startup;
mod store;
#[cfg(test)]
mod tests;
mod time;

pub use anchorer::{Anchor, Anchored, Listed, Previous};
pub use error::AnchorError;
pub use export::{Exported, export};
pub use layout::Layout;
pub use prover::{EntryReceipt, OpenedText, Prover};
pub use service::{Config, Service, Status, check_store};
pub use startup::{Verdict, compare};
pub use store::{Directory, Put, Store};
pub use time::{Authority, HttpAuthority, TimeFailure};
