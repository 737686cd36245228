//! Treasuries, one per guild or citizen. Per currency, always: balance >= 0, 0 <= held <= balance, held = open holds and offers.
//!
//! A balance changes only in `movements`, whose legs sum to zero; what is held changes only in `holds` and `transfers`.

mod authority;
pub mod command;
pub mod decide;
mod deposits;
mod dissolution;
pub mod event;
mod holds;
mod movements;
mod standing;
pub mod state;
mod terms;
#[cfg(test)]
mod tests;
mod transfers;

pub use deposits::claim_of;
pub use dissolution::pay_shares;
pub use holds::{release_reserved, reserve};
pub use movements::reference_claim;
pub use standing::{close, open};
pub use state::Treasury;
