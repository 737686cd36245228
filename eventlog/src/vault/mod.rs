//! What people typed: encrypted under a key of its subject, and forgotten by destroying that key.
//!
//! Invariants:
//! - The log holds two hashes and a subject id, never a plaintext, a salt or a key.
//! - Subject keys are stored wrapped; the master key that unwraps them is not in the database.
//! - A ciphertext opens only under the subject it was sealed for.

mod cache;
mod cipher;
mod master;
mod seal;

pub use master::MasterKey;
pub use seal::{Opened, Payload, SealedRef, SubjectKey, Vault, WrappedKey};

use crate::Failure;

/// Why something could not be sealed or opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// The master key is missing, malformed or readable by others.
    #[error("the master key: {0}")]
    MasterKey(String),
    /// The key does not open it: another key, another subject, or changed bytes.
    #[error("this does not open with this key")]
    WillNotOpen,
    /// What was sealed does not match its commitment.
    #[error("this is not what was committed to")]
    NotAsCommitted,
    /// The operating system gave no random bytes.
    #[error("no randomness: {0}")]
    Randomness(String),
    #[error(transparent)]
    Failure(#[from] Failure),
}
