//! What a log signs of its anchors: whoever can write to a store can copy a checkpoint, and cannot make an anchor around it.

use crate::Hash;
use crate::key::VerifierKey;
use crate::note::{Note, NoteError};
use crate::policy::Policy;

/// The first line of what is signed. A checkpoint can never be the same text: its second line is a number and here it is an origin, and
/// base64 of 32 bytes is shorter than the third.
pub const HEADER: &str = "guildhall/anchor/v1";
/// So many keys of a log are in force at a time.
const MOST_LINES: usize = 2;

/// What is signed: header, origin, and the SHA-256 of the anchor without its signature, every line with its newline.
pub fn text(origin: &str, sha256: &Hash) -> String {
    format!("{HEADER}\n{origin}\n{sha256}\n")
}

/// The signed note that the signature lines of an anchor make with what they sign.
///
/// # Errors
/// When they are no signature lines.
pub fn note(origin: &str, sha256: &Hash, lines: &str) -> Result<Note, NoteError> {
    let text = text(origin, sha256);
    let note = Note::parse(&format!("{text}\n{lines}"))?;
    // An empty line among them would make some of them a part of the text; and what can be added to an anchor makes another one of it.
    let ids: Vec<[u8; 4]> = note.signatures.iter().map(|line| line.key_id).collect();
    let is_one_each = ids.len() <= MOST_LINES && !(1..ids.len()).any(|place| ids[..place].contains(&ids[place]));
    let are_the_logs = note.signatures.iter().all(|line| line.name == origin);
    if note.text == text && is_one_each && are_the_logs { Ok(note) } else { Err(NoteError::SignatureLine(1)) }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{note, signers, text};
    use crate::Hash;
    use crate::checkpoint::Checkpoint;
    use crate::key::SigningKey;
    use crate::note::NoteError;
    use crate::policy::Policy;

    const ORIGIN: &str = "guildhall.example/city";

    /// FORMAT.md section 9.2.
    const SHA256: &str = "85c9e9d74a5f301fa9567861536071a92056b06b343e3f3c6aad7042994dbd9d";
    const LINE: &str = "\u{2014} guildhall.example/city tg/7SzsV5u94lR177jgwyMHj7BBdZxZffR7dO9wQJ5fptdL12TaIF2+xlYjnGHlJ7evWiRyVPEs22NiCcZs5JRZVswA=\n";

    fn sha256() -> Hash {
        Hash::from_hex(SHA256).unwrap()
    }

    fn policy(names: &[(&str, u8)]) -> Policy {
        let logs: String = names
            .iter()
            .map(|(name, seed)| format!("log {}\n", SigningKey::from_seed(*name, [*seed; 32]).vkey()))
            .collect();
        Policy::parse(&format!("{logs}quorum none\n")).unwrap()
    }

    #[test]
    fn the_vector_of_the_format_is_signed_and_read() {
        assert_eq!(SigningKey::from_seed(ORIGIN, [7; 32]).sign(&text(ORIGIN, &sha256())), LINE);
        let note = note(ORIGIN, &sha256(), LINE).unwrap();
        let by = signers(&note, ORIGIN, &policy(&[(ORIGIN, 8), (ORIGIN, 7)])).unwrap();
        assert_eq!(
            by.iter().map(|key| key.vkey()).collect::<Vec<_>>(),
            [SigningKey::from_seed(ORIGIN, [7; 32]).vkey()]
        );
        assert_eq!(signers(&note, ORIGIN, &policy(&[(ORIGIN, 8)])), Ok(Vec::new()));
        let other = super::note(ORIGIN, &crate::hash::sha256(&[b"other"]), LINE).unwrap();
        let failed = NoteError::BadSignature { name: ORIGIN.to_owned() };
        assert_eq!(signers(&other, ORIGIN, &policy(&[(ORIGIN, 7)])), Err(failed));
    }

    #[test]
    fn there_is_one_line_of_each_key_of_this_log_and_no_other() {
        let line = |origin: &str, seed: u8| SigningKey::from_seed(origin, [seed; 32]).sign(&text(ORIGIN, &sha256()));
        let (own, newer, third) = (line(ORIGIN, 7), line(ORIGIN, 8), line(ORIGIN, 9));
        note(ORIGIN, &sha256(), &format!("{own}{newer}")).unwrap();
        for lines in [
            line("guildhall.example/other", 7),
            format!("{own}{}", line("guildhall.example/other", 6)),
            format!("{own}{own}"),
            format!("{own}{newer}{third}"),
        ] {
            note(ORIGIN, &sha256(), &lines).unwrap_err();
        }
    }

    #[test]
    fn what_is_signed_is_no_checkpoint_whatever_the_name_of_the_log() {
        for origin in ["42", "0", ORIGIN] {
            Checkpoint::parse_text(&text(origin, &sha256())).unwrap_err();
        }
    }

    #[test]
    fn lines_that_are_none_make_no_note() {
        for lines in ["", "x", "x\n", "\n", "\u{2014} name AAAA", &format!("{LINE}\n{LINE}")] {
            note(ORIGIN, &sha256(), lines).unwrap_err();
        }
    }
}
