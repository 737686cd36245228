//! Reputation: earned from what others attested, decaying, and never set by anybody.
//!
//! Always: evidence enters only as the effect of somebody else's attestation; what a holder's rows say follows from the evidence alone.

pub mod command;
pub mod decide;
pub mod event;
pub mod evidence;
mod figures;
pub mod opinions;
pub mod questions;
pub mod rating;
pub mod score;
mod state;
#[cfg(test)]
mod tests;

pub use figures::{Figures, figures, figures_of, known};
pub use state::Reputation;
