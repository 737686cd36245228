//! The published note of the Go implementation, and every rule of a note.

#![allow(clippy::unwrap_used)]

use super::{MAX_NOTE_BYTES, Note, NoteError, SigningKey, VerifierKey, sign};
use crate::hex;
use crate::key::{Algorithm, CosigningKey};
use crate::text::to_base64;

/// The example of golang.org/x/mod/sumdb/note.
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const SEED: &str = "810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173";

fn neumann() -> SigningKey {
    SigningKey::from_seed("PeterNeumann", hex::decode(SEED).unwrap())
}

fn published() -> String {
    format!("{TEXT}\n{LINE}")
}

fn known() -> [VerifierKey; 1] {
    [neumann().verifier()]
}

#[test]
fn the_published_note_is_signed_byte_for_byte() {
    assert_eq!(sign(TEXT, &neumann()), published());
}

#[test]
fn the_published_note_verifies() {
    let note = Note::parse(&published()).unwrap();
    assert_eq!(note.text, TEXT);
    assert_eq!(note.format(), published());
    let verified = note.verify(&known()).unwrap();
    assert_eq!(verified.by.len(), 1);
    assert_eq!(verified.by[0].name, "PeterNeumann");
    assert_eq!((verified.by[0].algorithm, verified.by[0].cosigned_at), (Algorithm::Ed25519, None));
}

#[test]
fn a_text_may_hold_empty_lines() {
    let text = "one\n\ntwo\n\n\n";
    let note = Note::parse(&sign(text, &neumann())).unwrap();
    assert_eq!(note.text, text);
    assert!(note.verify(&known()).is_ok());
}

#[test]
fn a_malformed_note_is_refused_with_its_rule() {
    let line = |name: &str, bytes: &[u8]| format!("text\n\n\u{2014} {name} {}\n", to_base64(bytes));
    let cases = [
        (String::new(), NoteError::NoSeparator),
        (format!("{TEXT}{LINE}"), NoteError::NoSeparator),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (published().trim_end().to_owned(), NoteError::NoFinalNewline),
        (format!("{}\n", published()), NoteError::NoSignatures),
        (published().replacen("If you", "If\tyou", 1), NoteError::ControlCharacter),
        (published().replace('\n', "\r\n"), NoteError::ControlCharacter),
        (published().replacen('\u{2014}', "-", 1), NoteError::SignatureLine(1)),
        (published().replacen("\u{2014} ", "\u{2014}", 1), NoteError::SignatureLine(1)),
        (published().replacen("\u{2014} ", "\u{2014}  ", 1), NoteError::SignatureLine(1)),
        (published().replacen("PeterNeumann ", "", 1), NoteError::SignatureLine(1)),
        (published().replacen("PeterNeumann", "Peter+Neumann", 1), NoteError::SignatureLine(1)),
        (published().replacen("AM=\n", "AM\n", 1), NoteError::SignatureLine(1)),
        (published().replacen("AM=\n", "AM= \n", 1), NoteError::SignatureLine(1)),
        (format!("{}junk\n", published()), NoteError::SignatureLine(2)),
        (line("name", &[1, 2, 3, 4]), NoteError::SignatureLine(1)),
        (line("name", &[]), NoteError::SignatureLine(1)),
        (line("na\u{2003}me", &[1, 2, 3, 4, 5]), NoteError::SignatureLine(1)),
        (format!("{}{LINE}", "x".repeat(MAX_NOTE_BYTES)), NoteError::TooLong),
    ];
    for (note, error) in cases {
        let shown: String = note.chars().take(200).collect();
        assert_eq!(Note::parse(&note), Err(error), "{shown}");
    }
}

#[test]
fn a_hundred_lines_are_read_and_one_more_is_not() {
    let stranger = "\u{2014} stranger AQIDBAU=\n";
    let note = format!("{}{}", published(), stranger.repeat(99));
    assert!(Note::parse(&note).unwrap().verify(&known()).is_ok());
    let note = format!("{}{}", published(), stranger.repeat(100));
    assert_eq!(Note::parse(&note), Err(NoteError::TooManySignatures));
}

#[test]
fn a_changed_text_or_signature_does_not_verify() {
    let bad = Err(NoteError::BadSignature { name: "PeterNeumann".to_owned() });
    let changed = published().replacen("cryptography", "Cryptography", 1);
    assert_eq!(Note::parse(&changed).unwrap().verify(&known()), bad);
    let mut note = Note::parse(&published()).unwrap();
    note.signatures[0].signature[63] ^= 1;
    assert_eq!(note.verify(&known()), bad);
    let mut note = Note::parse(&published()).unwrap();
    note.signatures[0].signature.pop();
    assert_eq!(note.verify(&known()), bad);
}

#[test]
fn unknown_keys_are_ignored_even_if_they_share_a_name_or_an_id() {
    let same_name = SigningKey::from_seed("PeterNeumann", [1; 32]);
    let mut note = Note::parse(&published()).unwrap();
    let mut foreign = Note::parse(&sign("other\n", &same_name)).unwrap().signatures.remove(0);
    note.signatures.push(foreign.clone());
    foreign.name = "SomebodyElse".to_owned();
    foreign.key_id = neumann().key_id();
    note.signatures.push(foreign);
    assert_eq!(note.verify(&known()).unwrap().by.len(), 1);
}

#[test]
fn one_failing_line_of_a_known_key_spoils_the_note() {
    let second = SigningKey::from_seed("second", [2; 32]);
    let keys = [neumann().verifier(), second.verifier()];
    let good = format!("{}{}", published(), second.sign(TEXT));
    assert_eq!(Note::parse(&good).unwrap().verify(&keys).unwrap().by.len(), 2);
    let spoilt = format!("{}{}", published(), second.sign("another text\n"));
    let error = NoteError::BadSignature { name: "second".to_owned() };
    assert_eq!(Note::parse(&spoilt).unwrap().verify(&keys), Err(error));
    let doubled = format!("{}{}", published(), neumann().sign("another text\n"));
    assert!(Note::parse(&doubled).unwrap().verify(&keys).is_err());
}

#[test]
fn a_note_without_a_known_key_is_refused() {
    let note = Note::parse(&published()).unwrap();
    let stranger = SigningKey::from_seed("PeterNeumann", [1; 32]).verifier();
    assert_eq!(note.verify(&[stranger]), Err(NoteError::NoKnownKey));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownKey));
}

#[test]
fn a_cosignature_tells_its_time() {
    let witness = CosigningKey::from_seed("witness.example/w1", [9; 32]);
    let note = format!("{}{}", published(), witness.cosign(TEXT, 1_783_155_600));
    let keys = [neumann().verifier(), witness.verifier()];
    let verified = Note::parse(&note).unwrap().verify(&keys).unwrap();
    assert_eq!(verified.by[1].cosigned_at, Some(1_783_155_600));
    assert_eq!(verified.by[1].algorithm, Algorithm::CosignatureV1);
}
