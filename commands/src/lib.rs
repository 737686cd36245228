//! How facts come to be: a command is queued, decided against states folded to the head, and appended with its guards.
//!
//! Invariants:
//! - One writer per process decides; the head row decides between processes.
//! - Nobody is answered before the commit that holds their entries; a failed commit leaves no trace in memory.
//! - Deciding is pure: the same states, command and context give the same events, so a batch can be decided again.

mod answer;
mod behind;
mod cache;
mod candidates;
mod deciding;
mod entries;
mod folded;
mod loading;
mod pipeline;
mod queue;
mod refusals;
mod request;
mod scene;
mod seal;
mod settling;
mod writer;

pub use answer::{Answer, EntryRef, SubmitError, Verdict};
pub use folded::{Folded, fold};
pub use pipeline::{Config, Pipeline};
pub use request::{Request, Unreadable};
