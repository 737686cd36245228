//! API keys: the public half. The log knows a verifier; the secret exists only where it was made and where it is used.
//!
//! Always: a key gives nothing that the credential lacked with which it was asked for.

pub mod command;
pub mod decide;
pub mod event;
mod state;
#[cfg(test)]
mod tests;

pub use state::Key;
