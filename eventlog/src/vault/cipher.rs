//! XChaCha20-Poly1305 with a random nonce in front of the ciphertext.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::VaultError;

const NONCE: usize = 24;

/// So many random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| VaultError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// Nonce and ciphertext of `plaintext`, bound to `context`. With 24 random bytes a nonce does not repeat.
pub(super) fn encrypt(key: &[u8; 32], context: &str, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = random::<NONCE>()?;
    let payload = Payload { msg: plaintext, aad: context.as_bytes() };
    let ciphertext = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::WillNotOpen)?;
    Ok([nonce.as_slice(), ciphertext.as_slice()].concat())
}

/// The plaintext of what [`encrypt`] made with the same key and context.
pub(super) fn decrypt(key: &[u8; 32], context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(VaultError::WillNotOpen)?;
    let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
    cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::WillNotOpen)
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}
