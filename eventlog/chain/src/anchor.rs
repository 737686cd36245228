//! What a log signs of its anchors: whoever can write to a store can copy a checkpoint, and cannot make an anchor around it.

use crate::Hash;
use crate::key::VerifierKey;
use crate::note::{Note, NoteError};
use crate::policy::Policy;

/// The first line of what is signed. A checkpoint can never be the same text: its second line is a number and here it is an origin, and
/// base64 of 32 bytes is shorter than the third.
pub const HEADER: &str = "guildhall/anchor/v1";

/// What is signed: header, origin, and the SHA-256 of the anchor without its signature, every line with its newline.
pub fn text(origin: &str, sha256: &Hash) -> String {
    format!("{HEADER}\n{origin}\n{sha256}\n")
}

/// The signed note that the signature lines of an anchor make with what they sign.
///
/// # Errors
/// When they are no signature lines.
pub fn note(origin: &str, sha256: &Hash, lines: &str) -> Result<Note, NoteError> {
    Note::parse(&format!("{}\n{lines}", text(origin, sha256)))
}

/// The keys of this log that signed it, of those that the policy gives.
///
/// # Errors
/// When a line of one of them fails.
pub fn signers(note: &Note, origin: &str, policy: &Policy) -> Result<Vec<VerifierKey>, NoteError> {
    let keys: Vec<VerifierKey> = policy.logs.iter().filter(|key| key.name() == origin).cloned().collect();
    match note.verify(&keys) {
        Ok(verified) => {
            let signed = |key: &VerifierKey| verified.by.iter().any(|by| by.key_id == key.key_id());
            Ok(keys.into_iter().filter(signed).collect())
        }
        Err(NoteError::NoKnownKey) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
