//! RFC 3161 time stamps: what an authority is asked, and what its answer proves.
//!
//! Invariants:
//! - Nothing here reads a clock, a file, a socket or chance. A certificate is judged at the time that the token itself names.
//! - A token proves nothing by itself, only under roots that somebody else brings.
//! - No byte of an accepted token is left unexplained: it is signed, compared with what is signed, or one of the few spellings
//!   that say the same.

/// How far an anchor's own time may be from its token's, in seconds: two clocks differ, and asking takes a while (FORMAT.md section 9.5).
pub const MOST_APART: u64 = 300;

mod certificate;
mod cms;
mod digest;
mod fault;
mod info;
mod request;
mod response;
mod roots;
#[cfg(test)]
mod tests;
mod verify;

pub use fault::{Fault, NotRoots};
pub use info::GenTime;
pub use request::request;
pub use response::{Answered, accept};
pub use roots::Roots;
pub use verify::{MOST_BYTES, Stamp, verify};
