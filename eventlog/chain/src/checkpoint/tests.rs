//! A golden checkpoint, and one negative vector for each rule.

#![allow(clippy::unwrap_used)]

use super::{Checkpoint, CheckpointError, examine, open, sign};
use crate::Hash;
use crate::key::{CosigningKey, SigningKey};
use crate::note::NoteError;
use crate::policy::Policy;
use crate::tree::empty_root;

const ORIGIN: &str = "guildhall.example/city";
const ROOT: &str = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
const TEXT: &str = "guildhall.example/city\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n";
const LOG_LINE: &str = "\u{2014} guildhall.example/city tg/7Sxfs9zNoso2D0coHiRQX7KyzKHonDa9ty0zWS4Eh68T63iNISV2CtruPGPS4e6yl97fs9Lkl0OnTy5V8El/eGgA=\n";
const WITNESS_LINE: &str = "\u{2014} witness.example/w1 JLXZ/gAAAABqSMuQajpAE1h90aBWkDWOzm32Ortv4Z1KgABUoXPz24XMr0+el2aC+ONAh0ZMlSz5lC0z2l1e+CHJQX46zEh9alrkDw==\n";
const COSIGNED_AT: u64 = 1_783_155_600;

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

fn witness() -> CosigningKey {
    CosigningKey::from_seed("witness.example/w1", [9; 32])
}

fn policy() -> Policy {
    let text = format!("log {}\nwitness w1 {}\nquorum w1\n", log().vkey(), witness().vkey());
    Policy::parse(&text).unwrap()
}

fn golden() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: 8, root: Hash::from_hex(ROOT).unwrap() }
}

fn cosigned() -> String {
    format!("{TEXT}\n{LOG_LINE}{WITNESS_LINE}")
}

#[test]
fn the_golden_checkpoint_is_signed_byte_for_byte() {
    assert_eq!(golden().to_text(), TEXT);
    assert_eq!(sign(&golden(), &log()), format!("{TEXT}\n{LOG_LINE}"));
    assert_eq!(witness().cosign(TEXT, COSIGNED_AT), WITNESS_LINE);
}

#[test]
fn the_golden_checkpoint_opens() {
    assert_eq!(open(&cosigned(), &policy()), Ok(golden()));
    let examined = examine(&cosigned(), &policy()).unwrap();
    assert!(examined.witnessed);
    assert_eq!(examined.cosigned, [("witness.example/w1".to_owned(), COSIGNED_AT)]);
}

#[test]
fn without_its_quorum_it_opens_as_unwitnessed() {
    let note = format!("{TEXT}\n{LOG_LINE}");
    let examined = examine(&note, &policy()).unwrap();
    assert_eq!(examined.checkpoint, golden());
    assert!(!examined.witnessed && examined.cosigned.is_empty());
}

#[test]
fn sixteen_lines_of_strangers_change_nothing() {
    let strangers: String = (0..16)
        .map(|number| CosigningKey::from_seed(format!("stranger.example/{number}"), [number; 32]))
        .map(|key| key.cosign(TEXT, COSIGNED_AT))
        .collect();
    let note = format!("{TEXT}\n{strangers}{LOG_LINE}{WITNESS_LINE}");
    assert!(examine(&note, &policy()).unwrap().witnessed);
}

#[test]
fn a_malformed_text_is_refused_with_its_rule() {
    let root = golden().root.to_base64();
    let cases = [
        (TEXT.trim_end().to_owned(), CheckpointError::Lines),
        (String::new(), CheckpointError::Lines),
        (format!("{ORIGIN}\n8\n"), CheckpointError::Lines),
        (format!("{TEXT}extension\n"), CheckpointError::Lines),
        (format!("{TEXT}\n"), CheckpointError::Lines),
        (format!("\n8\n{root}\n"), CheckpointError::Origin),
        (format!("Guildhall\n8\n{root}\n"), CheckpointError::Origin),
        (format!("two words\n8\n{root}\n"), CheckpointError::Origin),
        (format!("{ORIGIN}\n08\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n+8\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n-8\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n 8\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n9007199254740993\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n99999999999999999999\n{root}\n"), CheckpointError::Size),
        (format!("{ORIGIN}\n8\n{ROOT}\n"), CheckpointError::Root),
        (format!("{ORIGIN}\n8\n{}\n", root.trim_end_matches('=')), CheckpointError::Root),
        (format!("{ORIGIN}\n8\n{}\n", root.replace('/', "_")), CheckpointError::Root),
        (format!("{ORIGIN}\n8\n{}\n", root.replace("g=", "h=")), CheckpointError::Root),
        (format!("{ORIGIN}\n8\nAAAA\n"), CheckpointError::Root),
    ];
    for (text, error) in cases {
        assert_eq!(Checkpoint::parse_text(&text), Err(error), "{text:?}");
    }
}

#[test]
fn every_size_comes_back() {
    for size in [0, 1, 9, 10, 1 << 53] {
        let checkpoint = Checkpoint { size, ..golden() };
        assert_eq!(Checkpoint::parse_text(&checkpoint.to_text()), Ok(checkpoint));
    }
}

#[test]
fn a_note_that_does_not_satisfy_the_policy_is_refused() {
    let other_log = SigningKey::from_seed("guildhall.example/town", [7; 32]);
    let elsewhere = Checkpoint { origin: "guildhall.example/town".to_owned(), ..golden() };
    let unknown = Err(CheckpointError::UnknownOrigin("guildhall.example/town".to_owned()));
    assert_eq!(open(&sign(&elsewhere, &other_log), &policy()), unknown);

    let imposter = SigningKey::from_seed(ORIGIN, [8; 32]);
    let no_known_key = Err(CheckpointError::Note(NoteError::NoKnownKey));
    assert_eq!(open(&sign(&golden(), &imposter), &policy()), no_known_key);

    let only_witness = format!("{TEXT}\n{WITNESS_LINE}");
    let not_by_log = Err(CheckpointError::NotSignedByLog(ORIGIN.to_owned()));
    assert_eq!(open(&only_witness, &policy()), not_by_log);

    let changed = cosigned().replacen("\n8\n", "\n9\n", 1);
    assert!(matches!(open(&changed, &policy()), Err(CheckpointError::Note(NoteError::BadSignature { .. }))));

    let witness_fails = format!("{TEXT}\n{LOG_LINE}{}", witness().cosign("other\n", COSIGNED_AT));
    let name = "witness.example/w1".to_owned();
    let bad = Err(CheckpointError::Note(NoteError::BadSignature { name }));
    assert_eq!(open(&witness_fails, &policy()), bad);

    assert_eq!(open(TEXT, &policy()), Err(CheckpointError::Note(NoteError::NoSeparator)));
}

#[test]
fn a_key_of_another_log_of_the_policy_is_not_enough() {
    let other = SigningKey::from_seed("guildhall.example/town", [6; 32]);
    let text = format!("log {}\nlog {}\nquorum none\n", log().vkey(), other.vkey());
    let policy = Policy::parse(&text).unwrap();
    let note = format!("{TEXT}\n{}", other.sign(TEXT));
    let not_by_log = Err(CheckpointError::NotSignedByLog(ORIGIN.to_owned()));
    assert_eq!(open(&note, &policy), not_by_log);
    assert!(open(&format!("{note}{LOG_LINE}"), &policy).is_ok());
}

#[test]
fn an_empty_tree_has_one_root() {
    let wrong = Checkpoint { size: 0, ..golden() };
    assert_eq!(open(&sign(&wrong, &log()), &policy()), Err(CheckpointError::EmptyRoot));
    let right = Checkpoint { root: empty_root(), ..wrong };
    assert_eq!(open(&sign(&right, &log()), &policy()), Ok(right));
}

#[test]
#[should_panic(expected = "the key of its own name")]
fn signing_for_another_log_is_a_bug() {
    let _ = sign(&golden(), &SigningKey::from_seed("guildhall.example/town", [7; 32]));
}
