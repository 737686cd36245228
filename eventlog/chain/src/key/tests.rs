//! The published key of the Go implementation, keys of fixed seeds, and every rule of a vkey.

#![allow(clippy::unwrap_used)]

use super::{Algorithm, CosigningKey, KeyError, Outcome, SigningKey, VerifierKey, is_valid_key_name, key_id};
use crate::hex;
use crate::note::NoteSignature;
use crate::text::to_base64;

/// The example key of golang.org/x/mod/sumdb/note.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_SEED: &str = "810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173";

fn vkey_of(name: &str, id: &str, key: &[u8]) -> String {
    format!("{name}+{id}+{}", to_base64(key))
}

/// A vkey with the right id for any bytes at all.
fn vkey_for(algorithm: Algorithm, public_key: &[u8]) -> String {
    let id = hex::encode(&key_id("name", algorithm, public_key));
    let mut key = vec![algorithm.type_byte()];
    key.extend_from_slice(public_key);
    vkey_of("name", &id, &key)
}

#[test]
fn the_published_key_comes_from_its_seed() {
    let key = SigningKey::from_seed("PeterNeumann", hex::decode(NEUMANN_SEED).unwrap());
    assert_eq!(key.vkey(), NEUMANN);
    let verifier = VerifierKey::parse(NEUMANN).unwrap();
    assert_eq!(verifier, key.verifier());
    assert_eq!((verifier.name(), hex::encode(&verifier.key_id())), ("PeterNeumann", "c74f20a3".to_owned()));
    assert_eq!(verifier.to_string(), NEUMANN);
}

#[test]
fn a_cosigning_key_differs_from_a_signing_key_of_the_same_seed() {
    let signing = SigningKey::from_seed("witness.example/w1", [9; 32]);
    let cosigning = CosigningKey::from_seed("witness.example/w1", [9; 32]);
    assert_eq!(cosigning.vkey(), "witness.example/w1+24b5d9fe+BP0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY");
    assert_eq!(VerifierKey::parse(&cosigning.vkey()).unwrap().algorithm(), Algorithm::CosignatureV1);
    assert_ne!(signing.key_id(), cosigning.key_id());
    assert_eq!(signing.verifier().public_key(), cosigning.verifier().public_key());
}

#[test]
fn one_kind_of_signature_never_passes_for_the_other() {
    let text = "log\n1\nroot\n";
    let signing = SigningKey::from_seed("name", [9; 32]);
    let cosigning = CosigningKey::from_seed("name", [9; 32]);
    let field = |line: String| NoteSignature::parse(line.trim_end()).unwrap().signature;
    let (signature, cosignature) = (field(signing.sign(text)), field(cosigning.cosign(text, 5)));
    assert_eq!((signature.len(), cosignature.len()), (64, 72));
    assert_eq!(signing.verifier().verify(text, &signature), Outcome::Valid { cosigned_at: None });
    let seen = Outcome::Valid { cosigned_at: Some(5) };
    assert_eq!(cosigning.verifier().verify(text, &cosignature), seen);
    assert_eq!(signing.verifier().verify(text, &cosignature), Outcome::Invalid);
    assert_eq!(signing.verifier().verify(text, &cosignature[8..]), Outcome::Invalid);
    assert_eq!(cosigning.verifier().verify(text, &signature), Outcome::Invalid);
    let mut later = cosignature.clone();
    later[7] = 6;
    assert_eq!(cosigning.verifier().verify(text, &later), Outcome::Invalid);
    assert!(!cosigning.verifier().verify_raw(text.as_bytes(), &signature));
}

#[test]
fn a_time_beyond_63_bits_is_refused() {
    let key = CosigningKey::from_seed("name", [9; 32]);
    let line = key.cosign("text\n", 1 << 63);
    let field = NoteSignature::parse(line.trim_end()).unwrap().signature;
    assert_eq!(key.verifier().verify("text\n", &field), Outcome::Invalid);
}

#[test]
fn a_malformed_vkey_is_refused_with_its_rule() {
    let point = SigningKey::from_seed("name", [1; 32]).verifier().public_key().to_vec();
    let typed = |type_byte: u8, key: &[u8]| [&[type_byte][..], key].concat();
    let cases = [
        ("name".to_owned(), KeyError::Shape),
        ("name+c74f20a3".to_owned(), KeyError::Shape),
        (NEUMANN.replacen("PeterNeumann", "", 1), KeyError::Name),
        (NEUMANN.replacen("PeterNeumann", "Peter Neumann", 1), KeyError::Name),
        (NEUMANN.replacen("PeterNeumann", "Peter\u{a0}Neumann", 1), KeyError::Name),
        (NEUMANN.replacen("c74f20a3", "C74F20A3", 1), KeyError::IdShape),
        (NEUMANN.replacen("c74f20a3", "c74f20a", 1), KeyError::IdShape),
        (NEUMANN.replacen("c74f20a3", "c74f20a4", 1), KeyError::Id),
        (NEUMANN.replacen("PeterNeumann", "PeterNewmann", 1), KeyError::Id),
        (NEUMANN.replacen("10TW", "10T", 1), KeyError::Base64),
        (format!("{NEUMANN}="), KeyError::Base64),
        (vkey_of("name", "00000000", &[]), KeyError::Length),
        (vkey_of("name", "00000000", &typed(1, &point[..31])), KeyError::Length),
        (vkey_of("name", "00000000", &typed(6, &[0; 1311])), KeyError::Length),
        (vkey_of("name", "00000000", &typed(2, &point)), KeyError::Type(2)),
        (vkey_of("name", "00000000", &typed(255, &point)), KeyError::Type(255)),
    ];
    for (vkey, error) in cases {
        assert_eq!(VerifierKey::parse(&vkey), Err(error), "{vkey}");
    }
}

#[test]
fn a_point_of_small_order_or_in_a_second_encoding_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    // y = p + 3 decodes to the point with y = 3, whose canonical encoding is another.
    let mut second_encoding = [0xff; 32];
    second_encoding[0] = 0xf0;
    second_encoding[31] = 0x7f;
    for bytes in [identity, second_encoding] {
        for algorithm in [Algorithm::Ed25519, Algorithm::CosignatureV1] {
            let vkey = vkey_for(algorithm, &bytes);
            assert_eq!(VerifierKey::parse(&vkey), Err(KeyError::Point), "{vkey}");
        }
    }
}

#[test]
fn an_ml_dsa_key_is_read_and_never_verifies() {
    let vkey = vkey_for(Algorithm::MlDsa44, &[0; 1312]);
    let key = VerifierKey::parse(&vkey).unwrap();
    assert_eq!(key.vkey(), vkey);
    assert_eq!(key.algorithm(), Algorithm::MlDsa44);
    assert_eq!(key.verify("text\n", &[0; 2428]), Outcome::Unsupported);
    assert!(!key.verify_raw(b"text", &[0; 64]));
}

#[test]
fn debug_does_not_show_the_secret() {
    let seed: [u8; 32] = hex::decode(NEUMANN_SEED).unwrap();
    let shown = format!("{:?} {:?}", SigningKey::from_seed("PeterNeumann", seed), CosigningKey::from_seed("w", seed));
    assert!(shown.starts_with("SigningKey(PeterNeumann+c74f20a3) CosigningKey(w+"), "{shown}");
    assert!(!shown.contains(&NEUMANN_SEED[..8]), "{shown}");
}

#[test]
fn a_name_has_no_space_and_no_plus() {
    for name in ["a", "guildhall.example/city", "é", "a:b"] {
        assert!(is_valid_key_name(name), "{name}");
    }
    for name in ["", " ", "a b", "a\tb", "a\u{2003}b", "a+b", "a\u{7f}"] {
        assert!(!is_valid_key_name(name), "{name:?}");
    }
}

#[test]
#[should_panic(expected = "cannot name a key")]
fn a_signing_key_without_a_proper_name_is_a_bug() {
    let _ = SigningKey::from_seed("two words", [1; 32]);
}
