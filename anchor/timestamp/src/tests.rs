//! Tokens that OpenSSL made, whole and broken.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use der::asn1::AnyRef;
use der::{Encode as _, Tag};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::{Fault, GenTime, MOST_BYTES, NotRoots, Roots, Stamp, accept, request, verify};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(vectors().join(name)).unwrap()
}

fn roots(name: &str) -> Roots {
    Roots::from_pem(&read(name)).unwrap()
}

fn imprint() -> [u8; 32] {
    Sha256::digest(read("stamped.json")).into()
}

fn judge(token: &[u8]) -> Result<Stamp, Fault> {
    verify(token, &imprint(), &roots("root.pem"))
}

const ACCEPTED: [&str; 3] = ["accept/direct.der", "accept/chained.der", "accept/cms.der"];

#[test]
fn tokens_of_a_real_authority_say_when_it_stamped() {
    for name in ACCEPTED {
        let stamp = judge(&read(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let text = stamp.gen_time.to_string();
        assert!(text.starts_with("2026-11-28T") && text.len() == 27 && !text.ends_with(".000000Z"), "{text}");
        assert!(stamp.nonce.is_some());
    }
}

type IsRight<'a> = &'a dyn Fn(&Fault) -> bool;

#[test]
fn every_rejected_token_is_rejected_for_its_own_reason() {
    let usage = |fault: &Fault| *fault == Fault::Usage("its certificate is not for time stamps, or not for them alone");
    let expected: [(&str, IsRight<'_>); _] = [
        ("usage-other", &usage),
        ("usage-not-alone", &usage),
        ("usage-not-critical", &|fault| matches!(fault, Fault::Usage(why) if why.contains("critical"))),
        ("signer-is-a-root", &usage),
        ("without-certificate", &|fault| *fault == Fault::NoCertificate),
        ("certificate-exchanged", &|fault| *fault == Fault::NoCertificate),
        ("certificate-too-many", &|fault| *fault == Fault::CertificateTooMany),
        ("name-of-another", &|fault| *fault == Fault::OtherName),
        ("two-signers", &|fault| *fault == Fault::NotOneSigner(2)),
        ("chain-broken", &|fault| matches!(fault, Fault::Chain { why, .. } if why == "UnknownIssuer")),
        ("digest-sha1", &|fault| *fault == Fault::Unsupported("its hash function")),
        ("without-signing-certificate", &|fault| *fault == Fault::Attribute("signing certificate, version 2")),
        ("content-is-data", &|fault| matches!(fault, Fault::OtherContent(kind) if kind == "1.2.840.113549.1.7.1")),
        ("indefinite-length", &|fault| matches!(fault, Fault::Malformed { what: "the token", .. })),
        ("certificate-expired", &|fault| matches!(fault, Fault::Chain { why, .. } if why.starts_with("CertExpired"))),
        (
            "certificate-not-yet-valid",
            &|fault| matches!(fault, Fault::Chain { why, .. } if why.starts_with("CertNotValidYet")),
        ),
    ];
    let files = fs::read_dir(vectors().join("reject")).unwrap();
    assert_eq!(files.count(), expected.len(), "each vector has a row here");
    for (name, is_right) in expected {
        let fault = judge(&read(&format!("reject/{name}.der"))).unwrap_err();
        assert!(is_right(&fault), "{name}: {fault:?}");
    }
}

#[test]
fn another_root_or_another_imprint_is_refused() {
    for name in ACCEPTED {
        let token = read(name);
        let other = verify(&token, &imprint(), &roots("other.pem"));
        assert!(matches!(other, Err(Fault::Chain { ref why, .. }) if why == "UnknownIssuer"), "{name}: {other:?}");
        assert_eq!(verify(&token, &[7; 32], &roots("root.pem")), Err(Fault::OtherImprint), "{name}");
    }
}

#[test]
fn one_root_of_several_is_enough() {
    let both = Roots::from_pem(&[read("other.pem"), read("root.pem")].concat()).unwrap();
    assert!(verify(&read(ACCEPTED[0]), &imprint(), &both).is_ok());
    // A root in a token is needed by nothing, and is the one configured: it cannot be anything else.
    assert!(verify(&read("reject/certificate-too-many.der"), &imprint(), &both).is_ok());
}

#[test]
fn no_bit_of_an_accepted_token_can_be_flipped() {
    let (imprint, roots) = (imprint(), roots("root.pem"));
    for name in ACCEPTED {
        let token = read(name);
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = verify(&flipped, &imprint, &roots);
            assert!(found.is_err(), "{name}: byte {}, bit {}: {found:?}", bit / 8, bit % 8);
        }
    }
}

#[test]
fn a_token_that_is_cut_or_goes_on_is_refused() {
    for name in ACCEPTED {
        let token = read(name);
        for length in 0..token.len() {
            assert!(judge(&token[..length]).is_err(), "{name} cut at {length}");
        }
        assert!(judge(&[token.as_slice(), &[0]].concat()).is_err(), "{name} with a byte more");
        assert!(judge(&[token.as_slice(), &token].concat()).is_err(), "{name} twice");
    }
}

#[test]
fn what_is_too_long_is_not_even_read() {
    let huge = vec![0x30; MOST_BYTES + 1];
    assert_eq!(judge(&huge), Err(Fault::TooLong(huge.len())));
    assert_eq!(accept(&huge, &imprint(), 1, &roots("root.pem")), Err(Fault::TooLong(huge.len())));
}

/// An answer with this status before the token.
fn answer(status: &[u8], token: &[u8]) -> Vec<u8> {
    AnyRef::new(Tag::Sequence, &[status, token].concat()).unwrap().to_der().unwrap()
}

const GRANTED: &[u8] = &[0x30, 3, 2, 1, 0];

#[test]
fn an_answer_is_taken_by_the_one_who_asked() {
    let token = read(ACCEPTED[0]);
    let nonce = judge(&token).unwrap().nonce.unwrap();
    let taken = accept(&answer(GRANTED, &token), &imprint(), nonce, &roots("root.pem")).unwrap();
    assert_eq!((taken.token, taken.stamp.nonce), (token.clone(), Some(nonce)));
    let other = accept(&answer(GRANTED, &token), &imprint(), nonce ^ 1, &roots("root.pem"));
    assert_eq!(other, Err(Fault::OtherNonce));
}

#[test]
fn a_refusal_says_what_the_authority_said() {
    let asked = |status: &[u8], token: &[u8]| {
        accept(&answer(status, token), &imprint(), 1, &roots("root.pem")).unwrap_err().to_string()
    };
    // Status 2, the text `no`, and the bit of a bad request.
    let refused = [&[0x30, 13, 2, 1, 2, 0x30, 4, 0x0c, 2], b"no".as_slice(), &[3, 2, 5, 0x20]].concat();
    assert_eq!(asked(&refused, &[]), "the authority refuses: status 2: bad request, no");
    // A token beside a refusal is none.
    assert_eq!(asked(&[0x30, 3, 2, 1, 3], &read(ACCEPTED[0])), "the authority refuses: status 3");
    assert_eq!(asked(GRANTED, &[]), "the authority refuses: it grants, and sends no token");
    assert!(accept(b"<html>", &imprint(), 1, &roots("root.pem")).is_err());
}

#[test]
fn a_request_is_what_the_authority_expects() {
    // As `openssl ts -query -sha256 -cert` writes it, with a nonce of its own and no parameters after the name of the hash.
    let bytes = request(&[0x11; 32], 0xfedc_ba98_7654_3210).unwrap();
    let imprint =
        [&[0x30, 0x2f, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 4, 32], [0x11; 32].as_slice()];
    let nonce = [2, 9, 0, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10];
    assert_eq!(bytes, [&[0x30, 0x42, 2, 1, 1], imprint.concat().as_slice(), &nonce, &[1, 1, 0xff]].concat());
}

#[test]
fn a_time_is_read_with_its_fraction_and_in_one_spelling() {
    let read = |text: &str| GenTime::parse(text.as_bytes()).map(|time| time.to_string());
    let cases = [
        ("20260704090807Z", Some("2026-07-04T09:08:07.000000Z")),
        ("20260704090807.5Z", Some("2026-07-04T09:08:07.500000Z")),
        ("20260704090807.000001Z", Some("2026-07-04T09:08:07.000001Z")),
        // Finer than microseconds: rounded down, as the rest of the log.
        ("20260704090807.1234567899Z", Some("2026-07-04T09:08:07.123456Z")),
        ("20280229000000Z", Some("2028-02-29T00:00:00.000000Z")),
        ("20270229000000Z", None),
        ("20260704240000Z", None),
        ("20260704090860Z", None),
        ("20260704090807.50Z", None),
        ("20260704090807.Z", None),
        ("20260704090807,5Z", None),
        ("20260704090807", None),
        ("20260704090807+0000", None),
        ("202607040908Z", None),
        ("2026070409080xZ", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).as_deref(), expected, "{text}");
    }
    assert_eq!(read(&format!("20260704090807.{}1Z", "0".repeat(60_000))).as_deref(), cases[0].1);
}

#[test]
fn roots_are_certificates_in_pem() {
    assert_eq!(Roots::from_pem(b"").unwrap_err(), NotRoots::Empty);
    assert_eq!(
        Roots::from_pem(b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").unwrap_err(),
        NotRoots::Empty
    );
    assert!(matches!(Roots::from_pem(b"-----BEGIN CERTIFICATE-----\n!\n").unwrap_err(), NotRoots::NotPem(_)));
    let other = [read("root.pem"), b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_vec()].concat();
    assert_eq!(Roots::from_pem(&other).unwrap_err(), NotRoots::Certificate(2));
}

proptest! {
    #[test]
    fn nothing_panics_on_garbage(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(judge(&bytes).is_err());
        prop_assert!(accept(&bytes, &imprint(), 1, &roots("root.pem")).is_err());
    }

    /// Garbage that begins like a token gets further than garbage from the start.
    #[test]
    fn nothing_panics_on_a_token_with_garbage_inside(
        name in proptest::sample::select(&ACCEPTED[..]),
        from in 0_usize..2300,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let token = read(name);
        let mut broken = token.clone();
        let from = from % token.len();
        for (place, byte) in broken[from..].iter_mut().zip(&bytes) {
            *place = *byte;
        }
        prop_assert!(broken == token || judge(&broken).is_err());
        let answered = accept(&answer(GRANTED, &broken), &imprint(), 1, &roots("root.pem"));
        prop_assert!(answered.is_err());
    }
}
