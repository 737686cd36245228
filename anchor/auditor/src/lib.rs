//! The stranger's tool: checks a city's log from files and public keys alone.
//!
//! Invariants, stated as absences: nothing here asks a server or a database; nothing here shares rule code with the
//! city; no key and no origin comes from anywhere but the policy file that the auditor brings.

mod also;
pub mod anchors;
mod checkpoints;
mod claims;
mod continues;
mod end;
mod entries;
mod fold;
mod heads;
mod inputs;
mod keys;
mod locks;
pub mod payload;
mod quorum;
pub mod receipt;
pub mod report;
mod row;
mod rules;
mod silence;
pub mod stream;
mod survey;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod testkit;
mod tiles;
pub mod times;
mod verify;

pub use report::{Check, Finding, Report};
pub use rules::{Covered, covered};
pub use verify::{CouldNotCheck, Options, verify};
