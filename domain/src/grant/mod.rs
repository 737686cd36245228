//! Capabilities: who holds what, from which source, how fresh that knowledge is, and what it allows.
//!
//! Always: a holder has at most one living grant of one (kind, ref); a delegated grant allows nothing that the grant above it does
//! not, and never outlives it; what an actor revoked comes back only by an actor.

pub(crate) mod authority;
pub mod check;
pub mod command;
pub mod computed;
pub mod decide;
mod delegation;
mod ending;
pub mod event;
pub mod kind;
pub mod scope;
mod state;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod uses;
pub mod verification;

pub use authority::may_import;
pub use state::{Grant, Inventory};
