//! Keys of signed notes: names, key ids, the three kinds of signature, and their text form (`vkey`).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};

use crate::hash::sha256;
use crate::hex;
use crate::text::{from_base64, to_base64};

/// What a key signs, and the byte that keeps the kinds apart in key ids and vkeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the text of the note.
    Ed25519,
    /// 0x04: a witness's timestamped Ed25519 cosignature (c2sp.org/tlog-cosignature, v1).
    CosignatureV1,
    /// 0x06: ML-DSA-44. Its keys are read and named, its signatures are neither made nor checked.
    MlDsa44,
}

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a vkey is name+id+key")]
    Shape,
    #[error("a key name is not empty and holds no space, no plus and no control character")]
    Name,
    #[error("a key id is 8 lower-case hexadecimal digits")]
    IdShape,
    #[error("the key is not standard base64")]
    Base64,
    #[error("the signature type {0:#04x} is unknown")]
    Type(u8),
    #[error("the key has the wrong length for its type")]
    Length,
    #[error("the key id is not the hash of this name and key")]
    Id,
    #[error("the key is not a point of full order in canonical form")]
    Point,
}

/// A key that signs notes as itself: a log's. `Debug` does not show the secret.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    key_id: [u8; 4],
    key: ed25519_dalek::SigningKey,
}

/// A key that cosigns checkpoints of others: a witness's. `Debug` does not show the secret.
#[derive(Clone)]
pub struct CosigningKey {
    name: String,
    key_id: [u8; 4],
    key: ed25519_dalek::SigningKey,
}

/// A public key with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_id: [u8; 4],
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519(VerifyingKey),
    CosignatureV1(VerifyingKey),
    MlDsa44(Vec<u8>),
}

/// The bytes of an ML-DSA-44 public key.
const ML_DSA_44_LENGTH: usize = 1312;

impl Algorithm {
    /// The signature type byte.
    pub fn type_byte(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0x01,
            Algorithm::CosignatureV1 => 0x04,
            Algorithm::MlDsa44 => 0x06,
        }
    }
}

/// Whether `name` can name a key: not empty, no Unicode space, no plus, no control character.
pub fn is_valid_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The first four bytes of `SHA-256(name || 0x0A || type || public key)`.
pub fn key_id(name: &str, algorithm: Algorithm, public_key: &[u8]) -> [u8; 4] {
    let type_byte = [algorithm.type_byte()];
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &type_byte, public_key]).0;
    [a, b, c, d]
}

/// `cosignature/v1`, the time, and the whole text of the checkpoint: what a witness signs.
pub fn cosignature_message(text: &str, unix_seconds: u64) -> String {
    format!("cosignature/v1\ntime {unix_seconds}\n{text}")
}

impl SigningKey {
    /// The key of `seed` under `name`; a log's name is its origin.
    ///
    /// # Panics
    /// If `name` is not a key name ([`is_valid_key_name`]).
    pub fn from_seed(name: impl Into<String>, seed: [u8; 32]) -> SigningKey {
        let name = name.into();
        let (key_id, key) = named_key(&name, Algorithm::Ed25519, &seed);
        SigningKey { name, key_id, key }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The signature line for `text`, with its final newline.
    pub fn sign(&self, text: &str) -> String {
        signature_line(&self.name, self.key_id, &self.sign_raw(text.as_bytes()))
    }

    /// The bare Ed25519 signature over `message`. Callers see to it that no message can pass for a checkpoint.
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes()
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        let material = Material::Ed25519(self.key.verifying_key());
        VerifierKey { name: self.name.clone(), key_id: self.key_id, material }
    }

    /// The public half as text.
    pub fn vkey(&self) -> String {
        self.verifier().vkey()
    }
}

impl CosigningKey {
    /// The key of `seed` under `name`.
    ///
    /// # Panics
    /// If `name` is not a key name ([`is_valid_key_name`]).
    pub fn from_seed(name: impl Into<String>, seed: [u8; 32]) -> CosigningKey {
        let name = name.into();
        let (key_id, key) = named_key(&name, Algorithm::CosignatureV1, &seed);
        CosigningKey { name, key_id, key }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The cosignature line for the checkpoint `text` as seen at `unix_seconds`, with its final newline.
    pub fn cosign(&self, text: &str, unix_seconds: u64) -> String {
        let message = cosignature_message(text, unix_seconds);
        let signature: Signature = self.key.sign(message.as_bytes());
        let mut field = unix_seconds.to_be_bytes().to_vec();
        field.extend_from_slice(&signature.to_bytes());
        signature_line(&self.name, self.key_id, &field)
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        let material = Material::CosignatureV1(self.key.verifying_key());
        VerifierKey { name: self.name.clone(), key_id: self.key_id, material }
    }

    /// The public half as text.
    pub fn vkey(&self) -> String {
        self.verifier().vkey()
    }
}

fn named_key(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> ([u8; 4], ed25519_dalek::SigningKey) {
    assert!(is_valid_key_name(name), "{name:?} cannot name a key");
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    (key_id(name, algorithm, key.verifying_key().as_bytes()), key)
}

/// `— <name> base64(key id || signature)` with its final newline; the dash is U+2014.
pub(crate) fn signature_line(name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
    let mut bytes = key_id.to_vec();
    bytes.extend_from_slice(signature);
    format!("\u{2014} {name} {}\n", to_base64(&bytes))
}

/// What checking one signature gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It verifies; a cosignature says when it was made (Unix seconds).
    Valid { cosigned_at: Option<u64> },
    /// It is this key's by name and id, and does not verify.
    Invalid,
    /// Its kind is one that we do not check.
    Unsupported,
}

impl VerifierKey {
    /// Reads `name+<8 hex>+base64(type || key)`, split at the first two `+`, and checks the id against name and key.
    pub fn parse(vkey: &str) -> Result<VerifierKey, KeyError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Shape);
        };
        if !is_valid_key_name(name) {
            return Err(KeyError::Name);
        }
        let id: [u8; 4] = hex::decode(id).ok_or(KeyError::IdShape)?;
        let bytes = from_base64(key).ok_or(KeyError::Base64)?;
        let (type_byte, public_key) = bytes.split_first().ok_or(KeyError::Length)?;
        let material = match type_byte {
            0x01 => Material::Ed25519(point(public_key)?),
            0x04 => Material::CosignatureV1(point(public_key)?),
            0x06 if public_key.len() == ML_DSA_44_LENGTH => Material::MlDsa44(public_key.to_vec()),
            0x06 => return Err(KeyError::Length),
            other => return Err(KeyError::Type(*other)),
        };
        let key = VerifierKey { name: name.to_owned(), key_id: id, material };
        if key_id(name, key.algorithm(), public_key) != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// What it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::CosignatureV1(_) => Algorithm::CosignatureV1,
            Material::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    /// The public key without its type byte.
    pub fn public_key(&self) -> &[u8] {
        match &self.material {
            Material::Ed25519(key) | Material::CosignatureV1(key) => key.as_bytes(),
            Material::MlDsa44(bytes) => bytes,
        }
    }

    /// What [`VerifierKey::parse`] reads.
    pub fn vkey(&self) -> String {
        let mut bytes = vec![self.algorithm().type_byte()];
        bytes.extend_from_slice(self.public_key());
        format!("{}+{}+{}", self.name, hex::encode(&self.key_id), to_base64(&bytes))
    }

    /// The signature line of a note for what this key signed, with its final newline.
    pub fn line(&self, signature: &[u8]) -> String {
        signature_line(&self.name, self.key_id, signature)
    }

    /// Checks a note signature (without its key id) over the note's `text`, in the way of this key's kind.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Outcome {
        match &self.material {
            Material::Ed25519(key) if strict(key, text.as_bytes(), signature) => Outcome::Valid { cosigned_at: None },
            Material::Ed25519(_) => Outcome::Invalid,
            Material::CosignatureV1(key) => verify_cosignature(key, text, signature),
            Material::MlDsa44(_) => Outcome::Unsupported,
        }
    }

    /// Checks a bare Ed25519 signature over `message`; false for every other kind of key.
    pub fn verify_raw(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519(key) => strict(key, message, signature),
            Material::CosignatureV1(_) | Material::MlDsa44(_) => false,
        }
    }
}

/// A point in its one canonical encoding and not of small order: anything else lets one signature fit many messages.
fn point(bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Length)?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Point)?;
    if key.is_weak() || key.to_edwards().compress().to_bytes() != bytes {
        return Err(KeyError::Point);
    }
    Ok(key)
}

fn strict(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// The field is 8 bytes of time, big-endian and at most 2^63-1, and 64 bytes of signature.
fn verify_cosignature(key: &VerifyingKey, text: &str, field: &[u8]) -> Outcome {
    let Some((time, signature)) = field.split_first_chunk::<8>() else { return Outcome::Invalid };
    let time = u64::from_be_bytes(*time);
    let message = cosignature_message(text, time);
    let valid = time <= i64::MAX.unsigned_abs() && strict(key, message.as_bytes(), signature);
    if valid { Outcome::Valid { cosigned_at: Some(time) } } else { Outcome::Invalid }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<VerifierKey, KeyError> {
        VerifierKey::parse(vkey)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.vkey())
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifierKey({}+{})", self.name, hex::encode(&self.key_id))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}+{})", self.name, hex::encode(&self.key_id))
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CosigningKey({}+{})", self.name, hex::encode(&self.key_id))
    }
}

#[cfg(test)]
mod tests;
