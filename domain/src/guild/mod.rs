//! Guilds: who belongs to them, who decides in them, and how they begin, rest and end.
//!
//! Invariant: whatever a guild command leaves behind, unless a city act left the guild leaderless before, somebody can
//! still lead it: an active founder, enough active ratifiers for every consensus rule, and a path by which the
//! governance can be changed. No guild is its own ancestor, and nothing deeper than 8 exists.
//!
//! - `event` what can have happened, `command` what can be asked, `state` how things stand
//! - `decide` the way from command to handler, and what is checked around every one of them
//! - `governance` the document, `document` whether it makes sense, `govern` the ruling about one command
//! - `proposals` votes and their effect
//! - `lockout` what no command may leave behind
//! - `membership` the roster, `charter` name, text and ranks, `hierarchy` parents and children, `lifecycle` rest and end
//! - `city_acts` what the city does to a citizen, as a guild of theirs sees it

pub mod charter;
pub mod city_acts;
pub mod command;
pub mod decide;
pub mod document;
pub mod event;
pub mod govern;
pub mod governance;
pub mod hierarchy;
pub mod lifecycle;
pub mod lockout;
pub mod membership;
pub mod proposals;
pub mod state;
#[cfg(test)]
mod tests;

pub use charter::default_ranks;
pub use city_acts::{city_reinstate, city_remove, city_suspend};
pub use state::{Guild, Status};
