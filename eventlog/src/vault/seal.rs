//! Sealing and opening: what goes into an entry, what goes into the vault, and how one proves the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chain::Hash;
use chain::hash::sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::cache::Cache;
use super::{MasterKey, VaultError, cipher};
use crate::sql::{Cell, Conn, Row};
use crate::tables::{hash, unreadable};
use crate::{Failure, log};

const COMMITMENT: &[u8] = b"guildhall/commitment/v1\n";
const SALT: usize = 32;

/// The key of one subject (a citizen, or a guild where there is none). Destroying it erases everything sealed under it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SubjectKey([u8; 32]);

impl SubjectKey {
    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 32]) -> SubjectKey {
        SubjectKey(bytes)
    }
}

/// A subject key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    pub subject: String,
    pub wrapped: Vec<u8>,
}

impl WrappedKey {
    pub(crate) fn row(&self) -> Row {
        vec![Cell::Text(self.subject.clone()), Cell::Bytes(self.wrapped.clone())]
    }
}

/// What an entry says about something sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRef {
    pub subject: String,
    /// SHA-256 of the ciphertext, nonce included.
    pub ciphertext: Hash,
    /// SHA-256 of tag, salt and plaintext: with the salt, which is inside the ciphertext, anybody can check a revealed plaintext.
    pub commitment: Hash,
}

/// What the vault keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// SHA-256 of the ciphertext, as in [`SealedRef::ciphertext`].
    pub digest: Hash,
    pub subject: String,
    pub ciphertext: Vec<u8>,
}

impl Payload {
    pub(crate) fn row(&self) -> Row {
        vec![hash(&self.digest), Cell::Text(self.subject.clone()), Cell::Bytes(self.ciphertext.clone())]
    }

    pub(crate) fn from_row(row: Row) -> Result<Payload, Failure> {
        let Ok([Cell::Bytes(digest), Cell::Text(subject), Cell::Bytes(ciphertext)]) = <[Cell; 3]>::try_from(row) else {
            return Err(unreadable("payloads"));
        };
        let digest = Hash::from_slice(&digest).ok_or_else(|| unreadable("payloads"))?;
        Ok(Payload { digest, subject, ciphertext })
    }
}

/// What was sealed, and the salt that proves it against the commitment.
pub struct Opened {
    pub text: Zeroizing<String>,
    pub salt: [u8; SALT],
}

/// Seals and opens under the master key.
pub struct Vault {
    master: MasterKey,
    cache: Mutex<Cache>,
}

impl Vault {
    pub fn new(master: MasterKey) -> Vault {
        Vault { master, cache: Mutex::default() }
    }

    /// A new random key for a subject that has none, and how it is to be stored. It is not remembered before
    /// [`Vault::remember`], because the batch that stores it may fail.
    pub fn new_subject_key(&self, subject: &str) -> Result<(SubjectKey, WrappedKey), VaultError> {
        let key = SubjectKey(cipher::random()?);
        let wrapped = cipher::encrypt(self.master.bytes(), subject, &key.0)?;
        Ok((key, WrappedKey { subject: subject.to_owned(), wrapped }))
    }

    /// The subject's key, from memory or from `conn`; nothing when it has none or was erased.
    pub async fn subject_key(&self, conn: &mut Conn, subject: &str) -> Result<Option<SubjectKey>, VaultError> {
        if let Some(key) = self.remembered(subject) {
            return Ok(Some(key));
        }
        match log::subject_keys(conn, &[subject.to_owned()]).await?.pop() {
            None => Ok(None),
            Some(wrapped) => self.unwrap_key(&wrapped).map(Some),
        }
    }

    /// Unwraps a stored key and remembers it.
    pub fn unwrap_key(&self, stored: &WrappedKey) -> Result<SubjectKey, VaultError> {
        let bytes = Zeroizing::new(cipher::decrypt(self.master.bytes(), &stored.subject, &stored.wrapped)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| VaultError::WillNotOpen)?;
        let key = SubjectKey(bytes);
        self.remember(&stored.subject, &key);
        Ok(key)
    }

    /// The key in memory, if it is there.
    pub fn remembered(&self, subject: &str) -> Option<SubjectKey> {
        self.cache().get(subject)
    }

    /// Keeps a key in memory, once it is stored.
    pub fn remember(&self, subject: &str, key: &SubjectKey) {
        self.cache().put(subject, key.clone());
    }

    /// Drops a key from memory: the subject was erased.
    pub fn forget(&self, subject: &str) {
        self.cache().remove(subject);
    }

    /// Drops every key from memory: what is remembered may not be what is stored. Each is read again when it is needed.
    pub fn forget_all(&self) {
        *self.cache() = Cache::default();
    }

    /// Encrypts `plaintext` for `subject`: the reference goes into the entry, the payload into the vault with the same batch.
    pub fn seal(&self, subject: &str, key: &SubjectKey, plaintext: &str) -> Result<(SealedRef, Payload), VaultError> {
        let salt = cipher::random::<SALT>()?;
        let inside = Zeroizing::new([salt.as_slice(), plaintext.as_bytes()].concat());
        let ciphertext = cipher::encrypt(&key.0, subject, &inside)?;
        let digest = sha256(&[&ciphertext]);
        let commitment = commit(&salt, plaintext);
        let reference = SealedRef { subject: subject.to_owned(), ciphertext: digest, commitment };
        Ok((reference, Payload { digest, subject: subject.to_owned(), ciphertext }))
    }

    /// Keyed digest of a text under a key derived from the master key: finds a text again without keeping it. The same text gives the
    /// same digest in one city, and nobody without the key can try guesses.
    pub fn lookup(&self, text: &str) -> [u8; 32] {
        let key = Zeroizing::new(blake3::derive_key("guildhall 2026 lookup of sealed references", self.master.bytes()));
        *blake3::keyed_hash(&key, text.as_bytes()).as_bytes()
    }

    /// Tells this master key from another without giving anything of it away.
    pub fn fingerprint(&self) -> [u8; 32] {
        blake3::derive_key("guildhall 2026 fingerprint of the master key", self.master.bytes())
    }

    /// Decrypts a payload and checks it against what the entry says.
    pub fn open(&self, reference: &SealedRef, key: &SubjectKey, ciphertext: &[u8]) -> Result<Opened, VaultError> {
        if sha256(&[ciphertext]) != reference.ciphertext {
            return Err(VaultError::NotAsCommitted);
        }
        let inside = Zeroizing::new(cipher::decrypt(&key.0, &reference.subject, ciphertext)?);
        let (salt, plaintext) = inside.split_first_chunk::<SALT>().ok_or(VaultError::NotAsCommitted)?;
        let text = std::str::from_utf8(plaintext).map_err(|_| VaultError::NotAsCommitted)?;
        if commit(salt, text) != reference.commitment {
            return Err(VaultError::NotAsCommitted);
        }
        Ok(Opened { text: Zeroizing::new(text.to_owned()), salt: *salt })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // A panic elsewhere cannot leave the cache half changed in a way that matters: it only saves work.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn commit(salt: &[u8; SALT], plaintext: &str) -> Hash {
    sha256(&[COMMITMENT, salt, plaintext.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(MasterKey::from_bytes([9; 32]))
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let vault = vault();
        let (key, wrapped) = vault.new_subject_key("citizen-1").expect("randomness");
        assert!(vault.remembered("citizen-1").is_none());
        let (reference, payload) = vault.seal("citizen-1", &key, "a brief").expect("sealing works");
        assert!(payload.ciphertext.windows(7).all(|window| window != b"a brief"));

        let key = vault.unwrap_key(&wrapped).expect("the master key unwraps it");
        let opened = vault.open(&reference, &key, &payload.ciphertext).expect("it opens");
        assert_eq!(opened.text.as_str(), "a brief");
        assert_eq!(commit(&opened.salt, "a brief"), reference.commitment);

        let other = SealedRef { subject: "citizen-2".to_owned(), ..reference.clone() };
        assert!(vault.open(&other, &key, &payload.ciphertext).is_err());
        let (stranger, _) = vault.new_subject_key("citizen-2").expect("randomness");
        assert!(vault.open(&reference, &stranger, &payload.ciphertext).is_err());
        let mut changed = payload.ciphertext.clone();
        changed[30] ^= 1;
        assert!(vault.open(&reference, &key, &changed).is_err());
        let lied = SealedRef { commitment: Hash::ZERO, ..reference };
        assert!(matches!(vault.open(&lied, &key, &payload.ciphertext), Err(VaultError::NotAsCommitted)));
    }

    #[test]
    fn a_wrapped_key_belongs_to_its_subject_and_master() {
        let vault = vault();
        let (_, wrapped) = vault.new_subject_key("citizen-1").expect("randomness");
        let moved = WrappedKey { subject: "citizen-2".to_owned(), ..wrapped.clone() };
        assert!(vault.unwrap_key(&moved).is_err());
        assert!(Vault::new(MasterKey::from_bytes([8; 32])).unwrap_key(&wrapped).is_err());
        vault.unwrap_key(&wrapped).expect("its own master key unwraps it");
        vault.forget("citizen-1");
        assert!(vault.remembered("citizen-1").is_none());
    }
}
