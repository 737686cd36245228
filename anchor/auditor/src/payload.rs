//! What stands behind a sealed text (FORMAT.md section 10): shown as a text, or as the ciphertext with a key that opens it.
//!
//! XChaCha20-Poly1305 does not commit to its key: somebody who chooses two keys can make one ciphertext that opens under both, to two texts.
//! So nothing that a key opens counts by itself. The entry's commitment decides.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use chain::Hash;
use chain::entry::SealedField;
use chain::hash::sha256;
use serde::{Deserialize, Serialize};

const NONCE: usize = 24;
const SALT: usize = 32;

/// A sealed text, as somebody shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    Opened(OpenedText),
    Encrypted(EncryptedText),
}

/// A sealed text, opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedText {
    pub text: String,
    /// Thirty-two bytes in lower-case hexadecimal.
    pub salt: Hash,
}

/// A sealed text as the vault keeps it, with the key of its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptedText {
    /// Base64.
    pub ciphertext: String,
    /// Thirty-two bytes in lower-case hexadecimal.
    pub key: Hash,
}

/// Why what is shown is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    #[error("is not the ciphertext that was sealed")]
    OtherCiphertext,
    #[error("does not open with the key that is given")]
    WillNotOpen,
    #[error("is not what was committed to")]
    OtherText,
}

impl Shown {
    /// The text, if it is the one that the entry seals.
    pub fn text(&self, field: &SealedField) -> Result<String, NotSealed> {
        let opened = match self {
            Self::Opened(opened) => opened.clone(),
            Self::Encrypted(encrypted) => encrypted.open(field)?,
        };
        let commitment = sha256(&[b"guildhall/commitment/v1\n", &opened.salt.0, opened.text.as_bytes()]);
        if commitment == field.commitment { Ok(opened.text) } else { Err(NotSealed::OtherText) }
    }
}

impl EncryptedText {
    /// What the key makes of the ciphertext that is sealed. Not yet what was committed to.
    fn open(&self, field: &SealedField) -> Result<OpenedText, NotSealed> {
        let ciphertext = chain::text::from_base64(&self.ciphertext).ok_or(NotSealed::OtherCiphertext)?;
        if sha256(&[&ciphertext]) != field.ciphertext {
            return Err(NotSealed::OtherCiphertext);
        }
        let (nonce, sealed) = ciphertext.split_first_chunk::<NONCE>().ok_or(NotSealed::WillNotOpen)?;
        let payload = Payload { msg: sealed, aad: field.subject.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&self.key.0.into());
        let plaintext = cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| NotSealed::WillNotOpen)?;
        let (salt, text) = plaintext.split_first_chunk::<SALT>().ok_or(NotSealed::OtherText)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| NotSealed::OtherText)?;
        Ok(OpenedText { text, salt: Hash(*salt) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// FORMAT.md section 10: one ciphertext that two keys open, and of one of them the commitment.
    const TWO: &str = "030303030303030303030303030303030303030303030303\
        33734a6e5a77922253ad391c7d707a14000000000000000000000000000000\
        01b7c928f92ec34c36e9321bbadb5f293234c5";
    const COMMITMENT: &str = "721f607e5572308789e4ba5e560fc22f1ea32efb049a1592f4a479a1dbecc291";
    const SUBJECT: &str = "gld_01M8FWB66HT6NE7E3MPK4FGJHA";

    fn ciphertext() -> Vec<u8> {
        chain::hex::decode::<74>(TWO).unwrap().to_vec()
    }

    fn field() -> SealedField<'static> {
        let commitment = Hash::from_hex(COMMITMENT).unwrap();
        SealedField { ciphertext: sha256(&[&ciphertext()]), commitment, subject: SUBJECT.into() }
    }

    fn shown(ciphertext: &[u8], key: [u8; 32]) -> EncryptedText {
        EncryptedText { ciphertext: chain::text::to_base64(ciphertext), key: Hash(key) }
    }

    fn other_key() -> [u8; 32] {
        let mut key = [4; 32];
        key[28..].copy_from_slice(&64_455_u32.to_be_bytes());
        key
    }

    fn judged(encrypted: EncryptedText, field: &SealedField) -> Result<String, NotSealed> {
        Shown::Encrypted(encrypted).text(field)
    }

    #[test]
    fn a_ciphertext_that_two_keys_open_to_two_texts_shows_the_one_that_was_committed_to() {
        let (first, second) = (shown(&ciphertext(), [2; 32]), shown(&ciphertext(), other_key()));
        // The attack is a real one: both keys open it, each to a text of its own.
        let (one, other) = (first.open(&field()).unwrap(), second.open(&field()).unwrap());
        assert_eq!((one.text.as_str(), other.text.as_str()), ("10", "99"));
        assert_eq!(judged(first, &field()), Ok("10".to_owned()));
        assert_eq!(judged(second, &field()), Err(NotSealed::OtherText));
        // Nor is the second text, or the first with another salt, believed when it is shown without a key.
        assert_eq!(Shown::Opened(one.clone()).text(&field()), Ok("10".to_owned()));
        assert_eq!(Shown::Opened(other.clone()).text(&field()), Err(NotSealed::OtherText));
        let mixed = OpenedText { text: one.text, salt: other.salt };
        assert_eq!(Shown::Opened(mixed).text(&field()), Err(NotSealed::OtherText));
    }

    #[test]
    fn what_is_decrypted_is_the_ciphertext_of_the_entry_for_its_subject() {
        let good = || shown(&ciphertext(), [2; 32]);
        for byte in 0..ciphertext().len() {
            let mut other = ciphertext();
            other[byte] ^= 1;
            assert_eq!(judged(shown(&other, [2; 32]), &field()), Err(NotSealed::OtherCiphertext), "byte {byte}");
            // Also where the entry names that one, nothing opens it.
            let field = SealedField { ciphertext: sha256(&[&other]), ..field() };
            assert_eq!(judged(shown(&other, [2; 32]), &field), Err(NotSealed::WillNotOpen), "byte {byte}");
        }
        assert_eq!(judged(shown(&ciphertext(), [5; 32]), &field()), Err(NotSealed::WillNotOpen));
        let elsewhere = SealedField { subject: "gld_x".into(), ..field() };
        assert_eq!(judged(good(), &elsewhere), Err(NotSealed::WillNotOpen));
        let short = SealedField { ciphertext: sha256(&[b"short"]), ..field() };
        assert_eq!(judged(shown(b"short", [2; 32]), &short), Err(NotSealed::WillNotOpen));
    }
}
