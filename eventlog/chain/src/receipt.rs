//! The signed answer to a command: the log's promise, given at once, that these entries stand at these positions.
//!
//! What is signed is origin, position and entry hash. `stream` and `version` are there for the reader: they are inside
//! the entry's bytes, so whoever holds the bytes checks them through the hash.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::entry::is_valid_origin;
use crate::hex;
use crate::key::{Algorithm, SigningKey, VerifierKey};
use crate::text::{MAX_SIZE, from_base64, to_base64};

/// The first line of what is signed. A checkpoint can never be the same text: its third line is base64 of 32 bytes,
/// and here it is a number, a space and a hash.
pub const HEADER: &str = "guildhall/receipt/v1";

/// One entry that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    pub stream: String,
    pub version: u64,
    pub position: u64,
    pub entry_hash: Hash,
}

/// The entries of one command in one log, with the log's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    pub origin: String,
    pub entries: Vec<ReceiptEntry>,
    /// Eight lower-case hexadecimal digits.
    pub key_id: String,
    /// Sixty-four bytes of Ed25519 signature in standard base64.
    pub signature: String,
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("the receipt names no entry, or a position beyond 2^53")]
    Entries,
    #[error("the origin is not 1 to 128 of a-z 0-9 . / -")]
    Origin,
    #[error("the key is not the Ed25519 key of this origin")]
    WrongKey,
    #[error("the receipt names another key id")]
    KeyId,
    #[error("the signature does not verify")]
    Signature,
}

/// What is signed: the header, the origin, and `<position> <entry hash>` for each entry, every line with its newline.
pub fn text(origin: &str, entries: &[ReceiptEntry]) -> String {
    let mut text = format!("{HEADER}\n{origin}\n");
    for entry in entries {
        text.push_str(&format!("{} {}\n", entry.position, entry.entry_hash));
    }
    text
}

impl SignedReceipt {
    /// Signs for `entries` of the log `origin` with the log's key.
    ///
    /// # Panics
    /// If the key's name is not `origin`: no verifier would take the receipt.
    pub fn sign(origin: &str, entries: Vec<ReceiptEntry>, key: &SigningKey) -> SignedReceipt {
        assert_eq!(key.name(), origin, "a log signs with the key of its own name");
        let signature = key.sign_raw(text(origin, &entries).as_bytes());
        Self::signed(entries, &key.verifier(), &signature)
    }

    /// The receipt with the signature that the holder of `key` made over [`text`].
    pub fn signed(entries: Vec<ReceiptEntry>, key: &VerifierKey, signature: &[u8; 64]) -> SignedReceipt {
        SignedReceipt {
            origin: key.name().to_owned(),
            entries,
            key_id: hex::encode(&key.key_id()),
            signature: to_base64(signature),
        }
    }

    /// Checks the signature with the log's key, which is of type 0x01 and named like the origin.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), ReceiptError> {
        if self.entries.is_empty() || self.entries.iter().any(|entry| entry.position >= MAX_SIZE) {
            return Err(ReceiptError::Entries);
        }
        if !is_valid_origin(&self.origin) {
            return Err(ReceiptError::Origin);
        }
        if key.algorithm() != Algorithm::Ed25519 || key.name() != self.origin {
            return Err(ReceiptError::WrongKey);
        }
        if hex::decode(&self.key_id) != Some(key.key_id()) {
            return Err(ReceiptError::KeyId);
        }
        let signature = from_base64(&self.signature).ok_or(ReceiptError::Signature)?;
        if key.verify_raw(text(&self.origin, &self.entries).as_bytes(), &signature) {
            Ok(())
        } else {
            Err(ReceiptError::Signature)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{ReceiptEntry, ReceiptError, SignedReceipt, text};
    use crate::Hash;
    use crate::checkpoint::Checkpoint;
    use crate::key::{CosigningKey, SigningKey};

    const ORIGIN: &str = "guildhall.example/city";
    const HASH: &str = "5ed26c4bec70ad08279e2233dd72649326f2a5ec9134b9bfe07bb11772868c56";

    fn key() -> SigningKey {
        SigningKey::from_seed(ORIGIN, [7; 32])
    }

    fn entry(position: u64) -> ReceiptEntry {
        ReceiptEntry {
            stream: "treasury/try_01J9Z6T3A4B5C6D7E8F9G0H1J2".to_owned(),
            version: 7,
            position,
            entry_hash: Hash::from_hex(HASH).unwrap(),
        }
    }

    fn receipt() -> SignedReceipt {
        SignedReceipt::sign(ORIGIN, vec![entry(42)], &key())
    }

    #[test]
    fn the_golden_receipt_is_signed_byte_for_byte() {
        let expected = format!("guildhall/receipt/v1\n{ORIGIN}\n42 {HASH}\n");
        assert_eq!(text(ORIGIN, &[entry(42)]), expected);
        assert_eq!(receipt().key_id, "b60ffb4b");
        assert_eq!(
            receipt().signature,
            "FN+lkBmoNN6Joifafkywk4MCzKmf/YgQRVwC/F52JveSfIjsj3d7/4Dn0YzP6BnxMGp49DhyHjCD3VVivAajAw=="
        );
    }

    #[test]
    fn a_receipt_survives_json_and_verifies() {
        let json = serde_json::to_string(&receipt()).unwrap();
        let read: SignedReceipt = serde_json::from_str(&json).unwrap();
        assert_eq!(read, receipt());
        assert_eq!(read.verify(&key().verifier()), Ok(()));
    }

    #[test]
    fn a_changed_receipt_is_refused() {
        let verifier = key().verifier();
        let check = |change: fn(&mut SignedReceipt)| {
            let mut receipt = receipt();
            change(&mut receipt);
            receipt.verify(&verifier)
        };
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(check(|r| r.entries[0].position = 43), Err(ReceiptError::Signature));
        assert_eq!(check(|r| r.entries[0].entry_hash = Hash::ZERO), Err(ReceiptError::Signature));
        assert_eq!(check(|r| r.entries.push(entry(43))), Err(ReceiptError::Signature));
        assert_eq!(check(|r| r.signature.clear()), Err(ReceiptError::Signature));
        assert_eq!(check(|r| r.entries.clear()), Err(ReceiptError::Entries));
        assert_eq!(check(|r| r.entries[0].position = 1 << 53), Err(ReceiptError::Entries));
        assert_eq!(check(|r| r.origin = "Other".to_owned()), Err(ReceiptError::Origin));
        assert_eq!(check(|r| r.origin = "other".to_owned()), Err(ReceiptError::WrongKey));
        assert_eq!(check(|r| r.key_id = "00000000".to_owned()), Err(ReceiptError::KeyId));
        assert_eq!(check(|r| r.key_id = "B60FFB4B".to_owned()), Err(ReceiptError::KeyId));
    }

    #[test]
    fn another_key_does_not_verify_it() {
        let cosigning = CosigningKey::from_seed(ORIGIN, [7; 32]).verifier();
        assert_eq!(receipt().verify(&cosigning), Err(ReceiptError::WrongKey));
        let other = SigningKey::from_seed(ORIGIN, [8; 32]).verifier();
        assert_eq!(receipt().verify(&other), Err(ReceiptError::KeyId));
    }

    #[test]
    fn a_receipt_is_never_a_checkpoint() {
        for origin in [ORIGIN, "7"] {
            assert!(Checkpoint::parse_text(&text(origin, &[entry(42)])).is_err());
        }
    }
}
