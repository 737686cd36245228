//! C2SP signed notes: a text, and lines of signatures over it.

use crate::key::signature_line;
use crate::text::from_base64;

pub use crate::key::{Algorithm, CosigningKey, KeyError, Outcome, SigningKey, VerifierKey};

/// The longest note: 1 MiB.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// The most signature lines of a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// A text that ends with a newline, and its signatures, unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

/// One signature line: `— <name> base64(key id || signature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    pub key_id: [u8; 4],
    pub signature: Vec<u8>,
}

/// The known keys that verifiably signed a note; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub by: Vec<Verification>,
}

/// One known key that verifiably signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    pub name: String,
    pub key_id: [u8; 4],
    pub algorithm: Algorithm,
    /// When a witness says it cosigned, in Unix seconds.
    pub cosigned_at: Option<u64>,
}

/// Why a text is not a note, or a note is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("a note is at most 1 MiB")]
    TooLong,
    #[error("a note holds no control characters but newlines")]
    ControlCharacter,
    #[error("no empty line between a text and its signatures")]
    NoSeparator,
    #[error("a note ends with a newline")]
    NoFinalNewline,
    #[error("a note has at least one signature line")]
    NoSignatures,
    #[error("a note has at most 100 signature lines")]
    TooManySignatures,
    #[error("signature line {0} is not `— name base64`")]
    SignatureLine(usize),
    #[error("the signature of {name} does not verify")]
    BadSignature { name: String },
    #[error("no known key signed the note")]
    NoKnownKey,
}

impl Note {
    /// Reads a note. The signatures begin after the last empty line, so the text may hold empty lines itself.
    pub fn parse(note: &str) -> Result<Note, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::ControlCharacter);
        }
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSeparator)?;
        let (text, lines) = (&note[..=separator], &note[separator + 2..]);
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoFinalNewline)?;
        let mut signatures = Vec::new();
        for (index, line) in lines.split('\n').enumerate() {
            if index >= MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature = NoteSignature::parse(line).ok_or(NoteError::SignatureLine(index + 1))?;
            signatures.push(signature);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// What [`Note::parse`] reads.
    pub fn format(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.line());
        }
        note
    }

    /// Accepts the note if a known key signed it and no line of a known (name, key id) fails. Lines of unknown keys,
    /// and of kinds that we cannot check, are ignored.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Verified, NoteError> {
        self.verify_by(&keys.iter().collect::<Vec<_>>())
    }

    /// Like [`Note::verify`], for keys that lie apart.
    pub(crate) fn verify_by(&self, keys: &[&VerifierKey]) -> Result<Verified, NoteError> {
        let mut by = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| signature.is_by(key)) {
                match key.verify(&self.text, &signature.signature) {
                    Outcome::Unsupported => {}
                    Outcome::Invalid => {
                        return Err(NoteError::BadSignature { name: signature.name.clone() });
                    }
                    Outcome::Valid { cosigned_at } => by.push(Verification {
                        name: signature.name.clone(),
                        key_id: signature.key_id,
                        algorithm: key.algorithm(),
                        cosigned_at,
                    }),
                }
            }
        }
        if by.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(Verified { by }) }
    }
}

impl NoteSignature {
    /// Reads one line without its newline; the signature is at least one byte.
    pub fn parse(line: &str) -> Option<NoteSignature> {
        let (name, base64) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        if !crate::key::is_valid_key_name(name) {
            return None;
        }
        let bytes = from_base64(base64)?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
    }

    /// The line, with its newline.
    pub fn line(&self) -> String {
        signature_line(&self.name, self.key_id, &self.signature)
    }

    /// Whether the line says that `key` made it; both name and id must agree.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.key_id == key.key_id()
    }
}

/// A note over `text`, which ends with a newline, with one signature.
pub fn sign(text: &str, key: &SigningKey) -> String {
    format!("{text}\n{}", key.sign(text))
}

#[cfg(test)]
mod tests;
