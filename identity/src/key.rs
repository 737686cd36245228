//! API keys as their owners hold them: `gh_<key id>_<secret><checksum>`.
//!
//! The key id is the 26 characters of the key's ULID and public. The secret is 43 random characters of 0-9 A-Z a-z, a
//! little over 256 bits. The last 6 characters are a checksum over everything before them, so that typing errors end
//! here and secret scanners can tell a key from something that merely looks like one
//! (`gh_[0-9A-HJKMNP-TV-Z]{26}_[0-9A-Za-z]{49}`). No error and no `Debug` shows any of the secret.

use std::fmt;

use domain::ids::KeyId;
use domain::text::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const PREFIX: &str = "gh_";
const ID_CHARS: usize = 26;
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const KEY_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Names what the verifier is of, so that no other use of the pepper can ever make one.
const VERIFIER_TAG: &[u8] = b"guildhall/api-key/v1\n";
const FINGERPRINT_TAG: &[u8] = b"guildhall/pepper/v1\n";
const FOREIGN_TAG: &[u8] = b"guildhall/foreign-secret/v1\n";

/// Why a text is not a key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an API key looks like gh_<26 characters>_<49 characters>")]
    Shape,
    #[error("the API key's checksum does not fit: a character is missing or mistyped")]
    Checksum,
}

/// A new key, on its only way out: shown once to its owner, wiped when dropped.
pub struct ApiKey {
    id: KeyId,
    text: Zeroizing<String>,
}

impl ApiKey {
    /// Draws a secret from the operating system; fails only when it has no randomness to give.
    pub fn generate(id: KeyId) -> Result<Self, getrandom::Error> {
        let secret = random_secret()?;
        let mut text = Zeroizing::new(String::with_capacity(KEY_CHARS));
        text.push_str(PREFIX);
        text.push_str(ulid_of(&id.to_string()));
        text.push('_');
        text.push_str(&secret);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self { id, text })
    }

    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The whole key, for its owner's eyes.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The key as it will come back with a request.
    pub fn presented(&self) -> PresentedKey {
        PresentedKey::parse(&self.text).expect("a generated key parses")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

/// A well-formed key that somebody sent. Nothing is known yet about whether it is one of ours.
pub struct PresentedKey {
    id: KeyId,
    secret: Zeroizing<String>,
}

impl PresentedKey {
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        // Bytes are counted first: after that, every character is ASCII or one of the checks below fails.
        if text.len() != KEY_CHARS || !text.is_ascii() {
            return Err(KeyError::Shape);
        }
        let (body, check) = text.split_at(KEY_CHARS - CHECKSUM_CHARS);
        let (head, secret) = body.split_at(KEY_CHARS - CHECKSUM_CHARS - SECRET_CHARS);
        let ulid = head.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix('_')).ok_or(KeyError::Shape)?;
        if !secret.bytes().chain(check.bytes()).all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(KeyError::Shape);
        }
        // The checksum before the id: a mistyped id is a typing error and not another shape.
        if *checksum(body) != *check {
            return Err(KeyError::Checksum);
        }
        let id = format!("{}_{ulid}", KeyId::PREFIX).parse().map_err(|_| KeyError::Shape)?;
        Ok(Self { id, secret: Zeroizing::new(secret.to_owned()) })
    }

    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({})", self.id)
    }
}

/// The server's own secret, kept outside the database: with the log alone, no key can even be guessed at.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pepper([u8; 32]);

impl Pepper {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 (RFC 2104) of the key's id and secret: what the log knows of a key. The id is in it, so that a
    /// verifier moved to another key's entry fits nothing.
    pub fn verifier(&self, key: &PresentedKey) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(VERIFIER_TAG);
        mac.update(key.id.to_string().as_bytes());
        mac.update(b"\n");
        mac.update(key.secret.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }

    /// What is kept of a secret that is somebody else's: enough to know it again, and nothing to guess it by.
    pub fn keyed_hash(&self, secret: &[u8]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(FOREIGN_TAG);
        mac.update(secret);
        Digest(mac.finalize().into_bytes().into())
    }

    /// Tells this pepper from another without giving anything of it away.
    pub fn fingerprint(&self) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(FINGERPRINT_TAG);
        Digest(mac.finalize().into_bytes().into())
    }

    /// Whether the secret is the one that was issued, in a time that does not depend on how much of it is right.
    pub fn fits(&self, key: &PresentedKey, verifier: &Digest) -> bool {
        self.verifier(key).0.ct_eq(&verifier.0).into()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

fn ulid_of(id: &str) -> &str {
    id.split_once('_').expect("ids have a prefix").1
}

/// Uniform characters: bytes from 248 on are thrown away, because 256 is no multiple of 62.
fn random_secret() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARS));
    let mut bytes = Zeroizing::new([0; SECRET_CHARS]);
    while secret.len() < SECRET_CHARS {
        getrandom::fill(bytes.as_mut_slice())?;
        let wanted = SECRET_CHARS - secret.len();
        let uniform = bytes.iter().filter(|byte| **byte < 248).take(wanted);
        secret.extend(uniform.map(|byte| char::from(ALPHABET[usize::from(*byte % 62)])));
    }
    Ok(secret)
}

/// The first 8 bytes of SHA-256, big-endian, modulo 62^6, as 6 characters, high digit first.
fn checksum(body: &str) -> Zeroizing<String> {
    let hash = Sha256::digest(body.as_bytes());
    let mut number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut digits = [0; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    Zeroizing::new(digits.iter().map(|digit| char::from(*digit)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: KeyId = KeyId::from_bits(0x0192_0000_0000_0000_0000_0000_0000_0001);
    /// Made with Python's hashlib and hmac: another implementation agrees about every byte.
    const KNOWN: &str = "gh_01J80000000000000000000001_3AHOVcjqx4BIPWdkry5CJQXelsz6DKRYfmt07ELSZgnIuxHzM";
    const KNOWN_VERIFIER: &str = "2bff8d0346bd4317fc65a424a2a93967f750e13ad3fc009786c3bc1e684b88d7";

    #[test]
    fn a_generated_key_reads_back_as_itself() {
        let key = ApiKey::generate(ID).unwrap();
        assert_eq!(key.expose().len(), 79);
        assert_eq!(key.presented().id(), ID);
        assert_eq!(key.id(), ID);
        let pepper = Pepper::new([7; 32]);
        assert!(pepper.fits(&key.presented(), &pepper.verifier(&key.presented())));
    }

    #[test]
    fn two_keys_have_nothing_in_common() {
        let (one, two) = (ApiKey::generate(ID).unwrap(), ApiKey::generate(ID).unwrap());
        assert_ne!(one.expose(), two.expose());
        let pepper = Pepper::new([7; 32]);
        assert!(!pepper.fits(&one.presented(), &pepper.verifier(&two.presented())));
    }

    #[test]
    fn every_character_of_the_alphabet_appears_in_secrets() {
        let secrets: String = (0..200).map(|_| random_secret().unwrap().to_string()).collect();
        assert_eq!(secrets.len(), 200 * SECRET_CHARS);
        assert!(ALPHABET.iter().all(|byte| secrets.contains(char::from(*byte))));
    }

    #[test]
    fn the_format_and_the_verifier_do_not_change() {
        let key = PresentedKey::parse(KNOWN).unwrap();
        assert_eq!(key.id(), ID);
        let pepper = Pepper::new(std::array::from_fn(|index| index as u8));
        assert_eq!(pepper.verifier(&key).to_string(), KNOWN_VERIFIER);
    }

    #[test]
    fn a_verifier_depends_on_the_pepper_and_on_the_key_id() {
        let key = PresentedKey::parse(KNOWN).unwrap();
        let verifier = Pepper::new([1; 32]).verifier(&key);
        assert!(!Pepper::new([2; 32]).fits(&key, &verifier));
        let moved = PresentedKey { id: KeyId::from_bits(5), secret: key.secret.clone() };
        assert!(!Pepper::new([1; 32]).fits(&moved, &verifier));
    }

    #[test]
    fn a_mistyped_character_anywhere_is_caught() {
        for index in PREFIX.len()..KNOWN.len() {
            let mut bytes = KNOWN.as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'7' { b'8' } else { b'7' };
            let typo = String::from_utf8(bytes).unwrap();
            assert!(PresentedKey::parse(&typo).is_err(), "character {index}");
        }
        let swapped = KNOWN.replacen("01J", "0J1", 1);
        assert_eq!(PresentedKey::parse(&swapped).unwrap_err(), KeyError::Checksum);
    }

    #[test]
    fn what_does_not_look_like_a_key_is_refused() {
        let umlaut = format!("{}ä", &KNOWN[..KNOWN.len() - 2]);
        let lower_case = KNOWN.replacen("01J", "01j", 1);
        let long = format!("{KNOWN}0");
        for bad in ["", "gh_", &KNOWN[1..], &long, &KNOWN.replace("gh_", "gk_"), &umlaut, &KNOWN.replace('_', "-")] {
            assert_eq!(PresentedKey::parse(bad).unwrap_err(), KeyError::Shape);
        }
        assert!(PresentedKey::parse(&lower_case).is_err(), "an id has one spelling");
    }

    #[test]
    fn nothing_that_can_be_printed_holds_the_secret() {
        let key = ApiKey::generate(ID).unwrap();
        let secret = &key.expose()[30..];
        let printed = format!("{key:?} {:?} {:?}", key.presented(), Pepper::new([b'x'; 32]));
        assert!(!printed.contains(secret) && !printed.contains(&secret[..8]));
        assert_eq!(printed, format!("ApiKey({ID}) PresentedKey({ID}) Pepper(..)"));
        for error in [KeyError::Shape, KeyError::Checksum] {
            assert!(!error.to_string().contains(secret));
        }
    }
}
