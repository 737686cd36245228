//! Where facts are kept, in order, for ever.
//!
//! One log, two engines (SQLite, PostgreSQL), one contract. The log does not know the domain: it stores bytes and names.
//!
//! Invariants:
//! - Positions are dense, from 0, in commit order. Whoever holds the lock of the head row is the only one who appends.
//! - Entries, receipts, guards, vault rows and the head's move are one transaction: all of it is durable, or none of it.
//! - Nothing is reported as committed before it is durable, and what is durable in `entries` never changes.

mod append;
mod batch;
mod connect;
mod failure;
mod faults;
mod follow;
mod log;
mod migrate;
mod pages;
mod reading;
mod recorder;
mod scram;
mod seat;
pub mod sql;
mod tables;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vault;
mod whole;
mod writer;

pub use append::{Append, VaultWrites};
pub use batch::Batch;
pub use connect::Safety;
pub use failure::{CommitError, Failure};
#[cfg(feature = "testing")]
pub use faults::{CommitFault, open_with_clock_skew};
pub use follow::Follower;
pub use log::{Location, Log, LogConfig};
pub use migrate::{Login, Migration, init_sqlite, migrate_postgres};
pub use reading::Reading;
pub use recorder::Recorder;
pub use seat::Seat;
pub use tables::{Head, Receipt, Stored};
pub use whole::{Whole, whole};
pub use writer::Writer;
