//! How facts are sealed: exact bytes, hashes, the Merkle tree, and the proofs a stranger can check.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness. `FORMAT.md` describes every
//! byte that this crate reads or writes, so that a second implementation can be written without looking here.

pub mod anchor;
pub mod canonical;
pub mod checkpoint;
pub mod entry;
pub mod gist;
pub mod hash;
pub mod heads;
pub mod hex;
pub mod key;
pub mod limits;
pub mod note;
pub mod pack;
pub mod policy;
pub mod proof;
pub mod receipt;
pub mod rotation;
pub mod text;
pub mod tile;
pub mod tree;
pub mod witness;

pub use hash::Hash;
pub use text::MAX_SIZE;

#[cfg(test)]
mod tests;
