//! A SHA-256 hash and the one function that makes it.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{hex, text};

/// The 32 bytes of a SHA-256 hash. Printed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

impl Hash {
    /// Thirty-two zero bytes: the `prev` of a stream's first entry.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The hash in `bytes`, if there are exactly 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Sixty-four lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// Reads what [`Hash::to_hex`] writes; upper case is refused.
    pub fn from_hex(text: &str) -> Option<Hash> {
        hex::decode(text).map(Hash)
    }

    /// Standard base64 with padding, as in checkpoints and proofs.
    pub fn to_base64(&self) -> String {
        text::to_base64(&self.0)
    }

    /// Reads what [`Hash::to_base64`] writes, and no other spelling.
    pub fn from_base64(text: &str) -> Option<Hash> {
        text::from_base64(text).and_then(|bytes| Hash::from_slice(&bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is written as 64 lower-case hexadecimal digits")]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        Hash::from_hex(text).ok_or(NotAHash)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        struct HexVisitor;

        impl Visitor<'_> for HexVisitor {
            type Value = Hash;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("64 lower-case hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hash, E> {
                Hash::from_hex(text).ok_or_else(|| E::custom(NotAHash))
            }
        }

        deserializer.deserialize_str(HexVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Hash, sha256};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_published_sha256_vector_holds_however_it_is_cut() {
        assert_eq!(sha256(&[b"abc"]).to_hex(), ABC);
        assert_eq!(sha256(&[b"a", b"", b"bc"]).to_hex(), ABC);
    }

    #[test]
    fn hex_base64_and_json_come_back() {
        let hash = sha256(&[b"abc"]);
        assert_eq!(ABC.parse::<Hash>().unwrap(), hash);
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{ABC}\""));
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        assert_eq!(format!("{hash:?} {hash}"), format!("{ABC} {ABC}"));
    }

    #[test]
    fn another_spelling_is_refused() {
        assert_eq!(Hash::from_hex(&ABC.to_uppercase()), None);
        assert_eq!(Hash::from_hex(&ABC[1..]), None);
        assert_eq!(Hash::from_slice(&[0; 31]), None);
        assert_eq!(Hash::from_base64("AAAA"), None);
        assert!(serde_json::from_str::<Hash>(&format!("\"{}\"", ABC.to_uppercase())).is_err());
    }
}
