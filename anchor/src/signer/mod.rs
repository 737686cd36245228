//! Whoever holds a private key of the log: this process itself, or a program beside it that never shows the key.

mod program;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use async_trait::async_trait;
use chain::key::{SigningKey, VerifierKey};

pub use program::Program;

/// Signs for one key.
#[async_trait]
pub trait Signer: Debug + Send + Sync {
    fn key(&self) -> &VerifierKey;

    /// Where the key is, in words that hold nothing secret.
    fn place(&self) -> &str;

    /// The Ed25519 signature over `message`. It verifies: a signer that gives another one has failed. Answers within
    /// [`program::PATIENCE`], and blocks no thread of the caller's.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFailure>;
}

/// A key that does not sign, for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {key} ({place}) does not sign: {what}")]
pub struct SignFailure {
    /// Its key id, or the beginning of its fingerprint where only that is known.
    pub key: String,
    pub place: String,
    pub what: String,
}

/// A key in the memory of this process. `Debug` does not show it, and the memory is wiped when it is dropped.
#[derive(Debug)]
pub struct InMemory {
    key: SigningKey,
    public: VerifierKey,
    place: String,
}

impl InMemory {
    pub fn new(key: SigningKey, place: impl Into<String>) -> Self {
        Self { public: key.verifier(), key, place: place.into() }
    }
}

#[async_trait]
impl Signer for InMemory {
    fn key(&self) -> &VerifierKey {
        &self.public
    }

    fn place(&self) -> &str {
        &self.place
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFailure> {
        Ok(self.key.sign_raw(message))
    }
}

/// A key id as it is written.
pub fn id_of(key: &VerifierKey) -> String {
    chain::hex::encode(&key.key_id())
}
