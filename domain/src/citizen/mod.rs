//! Citizens: humans, agents and services, their operators, roles and attestations.
//!
//! Always: an agent is never active while its operator is not; a citizen's list of guilds and keys is the list of
//! everything that has to end with them.

pub mod command;
pub mod decide;
pub mod event;
mod state;
#[cfg(test)]
mod tests;

pub use state::Citizen;
