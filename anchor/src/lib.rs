//! How the log is pinned where we cannot change it: published as signed transparency-log files, and anchored.
//!
//! Invariants:
//! - No fork, ever: nothing is signed that does not continue the last signed checkpoint, whatever the database says.
//! - A file that was published never changes: it is written once, compared ever after.
//! - Everything an auditor needs is in files; the database is needed for what is not published yet, and for nothing else.

mod anchor_format;
mod anchorer;
pub mod archive;
mod error;
mod export;
mod files;
mod genuine;
mod growth;
mod heads;
pub mod keys;
mod layout;
mod listing;
mod lock_watch;
mod mirror;
mod on_record;
pub mod proof_of_lock;
mod prover;
mod publisher;
mod service;
pub mod signer;
mod signing;
mod signing_keys;
mod stamping;
mod startup;
pub mod store;
mod stream_package;
mod survey;
#[cfg(test)]
mod tests;
mod tiles;
mod time;
pub mod witness;
mod witnessing;

pub use anchor_format::{Anchor, Anchored, Listed, Previous, Row, Time};
pub use anchorer::{Keep, now};
pub use error::AnchorError;
pub use export::{Beyond, Exported, export};
pub use heads::{OnRecord, StreamHeads};
pub use layout::Layout;
pub use lock_watch::LockStatus;
pub use mirror::{Mirror, MirrorStatus};
pub use on_record::check_store;
pub use prover::{EntryReceipt, OpenedText, Proved, Prover};
pub use service::{Config, Held, Service, Status, Witnessed};
pub use signing_keys::{KeyStatus, SigningKeys, is_named};
pub use stamping::{Seen, TimeSource, TimeStatus, WrongClock};
pub use startup::{Verdict, compare};
pub use store::{Directory, Store};
pub use stream_package::StreamExported;
pub use survey::{Named, Scope, Survey, survey, survey_mirror};
pub use tiles::CachedTiles;
pub use time::{Authority, HttpAuthority, TimeFailure};
pub use witnessing::{Carrier, Reply, WitnessStatus, Witnesses};
