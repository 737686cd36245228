//! The vectors under `vectors/` and the rules one by one.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Rule, check, is_canonical_amount, is_canonical_time, to_bytes};

fn vectors(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(folder);
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_name().unwrap().display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "vectors are missing under {}", folder.display());
    files
}

#[test]
fn every_accept_vector_is_canonical_and_is_what_we_write() {
    for (name, bytes) in vectors("accept") {
        assert_eq!(check(&bytes), Ok(()), "{name}");
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(to_bytes(&value).unwrap(), bytes, "{name}: rewriting changed the bytes");
    }
}

#[test]
fn every_reject_vector_is_refused() {
    for (name, bytes) in vectors("reject") {
        assert!(check(&bytes).is_err(), "{name} was accepted");
    }
}

#[test]
fn an_error_names_the_byte_and_the_rule() {
    let cases: [(&[u8], usize, Rule); 26] = [
        (b"", 0, Rule::Truncated),
        (b"{\"a\":1", 6, Rule::Truncated),
        (b"\"abc", 4, Rule::Truncated),
        (b"\"abc\\", 4, Rule::Truncated),
        (b"{\"a", 3, Rule::Truncated),
        (b"{}\n", 2, Rule::Trailing),
        (b" {}", 0, Rule::Whitespace),
        (b"{\"a\": 1}", 5, Rule::Whitespace),
        (b"[1, 2]", 3, Rule::Whitespace),
        (b"[1,]", 3, Rule::Syntax),
        (b"{\"a\":1,}", 7, Rule::Syntax),
        (b"[nul]", 1, Rule::Syntax),
        (b"{\"a\":1,\"a\":2}", 7, Rule::DuplicateKey),
        (b"{\"b\":1,\"a\":2}", 7, Rule::KeyOrder),
        ("{\"ä\":1}".as_bytes(), 2, Rule::Key),
        (b"{\"\\u0061\":1}", 2, Rule::Key),
        (b"\"a\nb\"", 2, Rule::ControlCharacter),
        (b"\"\\/\"", 1, Rule::Escape),
        (b"\"\\u001F\"", 1, Rule::Escape),
        (b"\"\\u000a\"", 1, Rule::Escape),
        (b"\"\\ud800\"", 1, Rule::Escape),
        (b"[1.5]", 1, Rule::Fraction),
        (b"[1e3]", 1, Rule::Fraction),
        (b"[01]", 1, Rule::LeadingZero),
        (b"[-0]", 1, Rule::NegativeZero),
        (b"[9007199254740992]", 1, Rule::IntegerRange),
    ];
    for (text, offset, rule) in cases {
        let error = check(text).unwrap_err();
        let shown = String::from_utf8_lossy(text);
        assert_eq!((error.offset, error.rule), (offset, rule), "{shown}");
    }
    let error = check(b"[\"\xff\"]").unwrap_err();
    assert_eq!((error.offset, error.rule), (2, Rule::Utf8));
}

#[test]
fn sixteen_levels_are_enough_and_seventeen_too_many() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(16).as_bytes()), Ok(()));
    assert_eq!(check(nested(17).as_bytes()).unwrap_err().rule, Rule::Depth);
    // Far deeper input must be refused, not exhaust the stack.
    assert_eq!(check(nested(100_000).as_bytes()).unwrap_err().rule, Rule::Depth);
    let value: Value = serde_json::from_str(&nested(17)).unwrap();
    assert_eq!(to_bytes(&value).unwrap_err().rule, Rule::Depth);
}

#[test]
fn every_prefix_of_a_canonical_text_is_refused() {
    let text = "{\"a\":[true,false,null,-12],\"b\":{\"c\":\"x\\n\\u0001é\\\"\"}}".as_bytes();
    assert_eq!(check(text), Ok(()));
    for length in 0..text.len() {
        assert!(check(&text[..length]).is_err(), "the first {length} bytes were accepted");
    }
}

#[test]
fn the_writer_sorts_and_escapes_as_rfc_8785_does() {
    let value = json!({"b": [1, -1, 0], "a": "\u{8}\t\n\u{c}\r\"\\/\u{1}\u{1f}\u{7f}é€\u{1f600}"});
    let expected = "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\\u001f\u{7f}é€\u{1f600}\",\"b\":[1,-1,0]}";
    let written = to_bytes(&value).unwrap();
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    assert_eq!(check(&written), Ok(()));
}

#[test]
fn the_writer_refuses_what_the_checker_refuses() {
    let cases = [
        (json!([1.5]), Rule::Fraction),
        (json!([9_007_199_254_740_992_u64]), Rule::IntegerRange),
        (json!([-9_007_199_254_740_992_i64]), Rule::IntegerRange),
        (json!([u64::MAX]), Rule::IntegerRange),
        (json!([i64::MIN]), Rule::IntegerRange),
        (json!({"ä": 1}), Rule::Key),
        (json!({"a\"b": 1}), Rule::Key),
        (json!({"a\\b": 1}), Rule::Key),
        (json!({"a\u{7f}": 1}), Rule::Key),
    ];
    for (value, rule) in cases {
        assert_eq!(to_bytes(&value).unwrap_err().rule, rule, "{value}");
    }
}

#[test]
fn an_amount_has_one_spelling() {
    for (text, scale) in [("0", 0), ("7", 0), ("-7", 0), ("0.00", 2), ("12.30", 2), ("-0.01", 2), ("1000", 0)] {
        assert!(is_canonical_amount(text, scale), "{text} at scale {scale}");
    }
    for (text, scale) in [
        ("", 0),
        ("-", 0),
        ("+1", 0),
        ("-0", 0),
        ("-0.00", 2),
        ("00", 0),
        ("01.00", 2),
        ("1.", 0),
        (".50", 2),
        ("1.5", 2),
        ("1.500", 2),
        ("1", 2),
        ("1.00", 0),
        ("1e3", 0),
        ("1.0.0", 3),
        ("--1", 0),
        (" 1", 0),
        ("1,00", 2),
        ("١", 0),
    ] {
        assert!(!is_canonical_amount(text, scale), "{text:?} at scale {scale}");
    }
}

#[test]
fn a_time_is_a_real_moment_in_one_spelling() {
    for text in [
        "2026-07-04T09:08:07.000001Z",
        "2024-02-29T23:59:59.999999Z",
        "2000-02-29T00:00:00.000000Z",
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.999999Z",
    ] {
        assert!(is_canonical_time(text), "{text}");
    }
    for text in [
        "",
        "2026-07-04T09:08:07Z",
        "2026-07-04T09:08:07.000Z",
        "2026-07-04T09:08:07.0000000Z",
        "2026-07-04T09:08:07.000001z",
        "2026-07-04t09:08:07.000001Z",
        "2026-07-04 09:08:07.000001Z",
        "2026-07-04T09:08:07.000001+00:00",
        "2026-07-04T24:00:00.000000Z",
        "2026-07-04T09:60:00.000000Z",
        "2026-06-30T23:59:60.000000Z",
        "2026-02-29T00:00:00.000000Z",
        "1900-02-29T00:00:00.000000Z",
        "2026-04-31T00:00:00.000000Z",
        "2026-13-01T00:00:00.000000Z",
        "2026-00-01T00:00:00.000000Z",
        "2026-01-00T00:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
    ] {
        assert!(!is_canonical_time(text), "{text}");
    }
}

proptest! {
    #[test]
    fn a_run_of_ordinary_bytes_stops_where_one_looked_at_alone_would(
        mut bytes in proptest::collection::vec(proptest::sample::select(vec![b'a', 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff]), 0..40),
        others in proptest::collection::vec((any::<u8>(), any::<proptest::sample::Index>()), 0..4),
    ) {
        for (byte, place) in others {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        prop_assert_eq!(super::stop(&bytes), bytes.iter().position(|byte| super::STOPS[usize::from(*byte)]));
    }
}
