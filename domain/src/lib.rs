//! What is true and what may happen in the city: pure rules over states folded from events, with no clock, no chance, no I/O.

pub mod citizen;
pub mod city;
pub mod command;
pub mod event;
pub mod grant;
pub mod guild;
pub mod ids;
pub mod key;
pub mod money;
pub mod party;
pub mod rejection;
pub mod reputation;
pub mod secrets;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod time;
pub mod treasury;
pub mod turn;

pub use command::{Command, decide};
pub use event::Event;
pub use rejection::{Code, Rejection};
pub use time::Time;
