//! The city as a whole: its currencies, its roles, who its principals are, and which tier each action needs.
//!
//! Always: a founded city has at least one active principal; the nine seed roles are constants, so no event can change them.

pub mod command;
pub mod decide;
pub mod event;
pub mod policy;
mod state;
#[cfg(test)]
mod tests;

pub use state::{City, Role, is_seed_role, seed_role};
