//! Golden bytes and hashes of two entries, and every rule of the entry's shape.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{Actor, Entry, EntryError, EntryView, MAX_ENTRY_BYTES, entry_hash, is_valid_origin};
use crate::Hash;
use crate::canonical::{Rule, check};
use crate::hash::sha256;

const FULL: &[u8] = include_bytes!("../../vectors/entry/full.json");
const SMALLEST: &[u8] = include_bytes!("../../vectors/entry/smallest.json");
const ORIGIN: &str = "guildhall.example/city";
const SUBJECT: &str = "cit_01J9Z6T3A4B5C6D7E8F9G0H1J2";

fn full() -> Entry {
    Entry {
        stream: "treasury/try_01J9Z6T3A4B5C6D7E8F9G0H1J2".to_owned(),
        version: 7,
        kind: "treasury.debited.v1".to_owned(),
        at: "2026-07-04T09:08:07.000001Z".to_owned(),
        actor: Actor { kind: "human".to_owned(), id: SUBJECT.to_owned() },
        via: "key_01J9Z6T3A4B5C6D7E8F9G0H1J3".to_owned(),
        on_behalf_of: Some("sqd_01J9Z6T3A4B5C6D7E8F9G0H1J4".to_owned()),
        cause: Some(41),
        command: "cmd_01J9Z6T3A4B5C6D7E8F9G0H1J5".to_owned(),
        nonce: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        data: json!({
            "movement": "mov_01J9Z6T3A4B5C6D7E8F9G0H1J6",
            "amount": "12.50",
            "currency": "EUR",
            "memo": {"sealed": true},
        }),
        sealed: Some(json!({"/memo": {
            "subject": SUBJECT,
            "ciphertext": sha256(&[b"ciphertext"]).to_hex(),
            "commitment": sha256(&[b"commitment"]).to_hex(),
        }})),
    }
}

fn smallest() -> Entry {
    Entry {
        stream: "s".to_owned(),
        version: 0,
        kind: "t".to_owned(),
        at: "2026-07-04T09:08:07.000001Z".to_owned(),
        actor: Actor { kind: "human".to_owned(), id: "c".to_owned() },
        via: "k".to_owned(),
        on_behalf_of: None,
        cause: None,
        command: "m".to_owned(),
        nonce: [0; 16],
        data: json!({}),
        sealed: None,
    }
}

/// The golden bytes with one piece of text exchanged.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(FULL).unwrap();
    assert!(text.contains(from), "the golden entry does not contain {from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn the_golden_entries_are_written_byte_for_byte() {
    assert_eq!(String::from_utf8(full().to_bytes().unwrap()).unwrap().as_bytes(), FULL);
    assert_eq!(smallest().to_bytes().unwrap(), SMALLEST);
    assert_eq!((FULL.len(), SMALLEST.len()), (715, 189));
}

#[test]
fn the_golden_entries_come_back() {
    assert_eq!(Entry::parse(FULL).unwrap(), full());
    assert_eq!(Entry::parse(SMALLEST).unwrap(), smallest());
}

#[test]
fn the_golden_hashes_hold() {
    let prev = sha256(&[b"previous entry"]);
    assert_eq!(
        entry_hash(ORIGIN, &Hash::ZERO, FULL).to_hex(),
        "5ed26c4bec70ad08279e2233dd72649326f2a5ec9134b9bfe07bb11772868c56"
    );
    assert_eq!(
        entry_hash(ORIGIN, &prev, FULL).to_hex(),
        "fb6f9ac70d3f0de757956cb8b398d6ba14702260a99d7d82a4c6e8222b149ace"
    );
    assert_eq!(
        entry_hash(ORIGIN, &Hash::ZERO, SMALLEST).to_hex(),
        "a92474e393472f3d2d405b05aa6db96c8f71d86b5659aae25f6518f9a011320a"
    );
    assert_ne!(entry_hash("guildhall.example/town", &Hash::ZERO, FULL), entry_hash(ORIGIN, &Hash::ZERO, FULL));
}

#[test]
fn the_view_borrows_what_the_entry_owns() {
    let view = EntryView::parse(FULL).unwrap();
    assert_eq!((view.stream.as_ref(), view.version), (full().stream.as_str(), 7));
    assert_eq!((view.kind.as_ref(), view.at), ("treasury.debited.v1", "2026-07-04T09:08:07.000001Z"));
    assert_eq!((view.actor.kind.as_ref(), view.actor.id.as_ref()), ("human", SUBJECT));
    assert_eq!((view.cause, view.nonce), (Some(41), full().nonce));
    assert!(view.data.get().starts_with("{\"amount\":\"12.50\""));
    let sealed = view.sealed_fields().unwrap();
    let memo = &sealed["/memo"];
    assert_eq!(memo.ciphertext, sha256(&[b"ciphertext"]));
    assert_eq!(memo.commitment, sha256(&[b"commitment"]));
    assert_eq!(memo.subject, SUBJECT);
    assert_eq!(view.to_entry().unwrap(), full());
    assert!(EntryView::parse(SMALLEST).unwrap().sealed_fields().unwrap().is_empty());
}

#[test]
fn escaped_strings_come_back() {
    let entry = Entry { stream: "a\"\\\n\u{1}é".to_owned(), ..smallest() };
    let bytes = entry.to_bytes().unwrap();
    assert_eq!(check(&bytes), Ok(()));
    assert_eq!(Entry::parse(&bytes).unwrap(), entry);
}

#[test]
fn an_empty_sealed_object_is_left_out() {
    let entry = Entry { sealed: Some(json!({})), ..smallest() };
    assert_eq!(entry.to_bytes().unwrap(), SMALLEST);
}

#[test]
fn a_shape_that_is_not_an_entry_is_refused() {
    let hash = sha256(&[b"ciphertext"]).to_hex();
    let cases = [
        ("\"v\":1", "\"v\":2", "unknown format"),
        ("\"v\":1,", "", "no format"),
        ("\"via\":", "\"vib\":", "unknown key"),
        ("\"cause\":41,", "\"cause\":null,", "null for an absent key"),
        ("\"cause\":41,", "\"cause\":-1,", "negative position"),
        ("\"cause\":41,", "\"cause\":\"41\",", "position as text"),
        ("\"on_behalf_of\":\"sqd_01J9Z6T3A4B5C6D7E8F9G0H1J4\"", "\"on_behalf_of\":null", "null"),
        ("\"on_behalf_of\":\"sqd_01J9Z6T3A4B5C6D7E8F9G0H1J4\"", "\"on_behalf_of\":\"\"", "empty"),
        ("\"kind\":\"human\"", "\"kind\":\"\"", "empty kind"),
        ("\"kind\":\"human\"", "\"kind\":\"human\",\"name\":\"Ada\"", "unknown key of the actor"),
        ("\"command\":\"cmd_01J9Z6T3A4B5C6D7E8F9G0H1J5\"", "\"command\":\"\"", "empty command"),
        ("07.000001Z", "07Z", "short time"),
        ("2026-07-04", "2026-02-30", "no such day"),
        ("000102030405060708090a0b0c0d0e0f", "000102030405060708090A0B0C0D0E0F", "upper case nonce"),
        ("000102030405060708090a0b0c0d0e0f", "00", "short nonce"),
        ("\"version\":7", "\"version\":\"7\"", "version as text"),
        (hash.as_str(), "00", "short hash"),
        ("\"subject\":\"cit_01J9Z6T3A4B5C6D7E8F9G0H1J2\"", "\"subject\":\"\"", "no subject"),
        ("\"commitment\"", "\"commitmens\"", "unknown key of a sealed field"),
    ];
    for (from, to, why) in cases {
        let bytes = changed(from, to);
        assert_eq!(check(&bytes), Ok(()), "{why}: the case itself is not canonical");
        assert!(Entry::parse(&bytes).is_err(), "{why} was accepted");
        assert!(EntryView::parse(&bytes).is_err(), "{why} was accepted as a view");
    }
}

#[test]
fn data_and_sealed_are_objects() {
    let text = std::str::from_utf8(SMALLEST).unwrap();
    for data in ["[]", "null", "1", "\"{}\""] {
        let bytes = text.replacen("\"data\":{}", &format!("\"data\":{data}"), 1);
        assert_eq!(Entry::parse(bytes.as_bytes()), Err(EntryError::Field("data")), "{data}");
    }
    for sealed in ["{}", "[]", "null", "true", "{\"/memo\":{}}", "{\"/memo\":null}"] {
        let bytes = text.replacen("\"stream\"", &format!("\"sealed\":{sealed},\"stream\""), 1);
        let error = Entry::parse(bytes.as_bytes()).unwrap_err();
        assert!(matches!(error, EntryError::Sealed(_)), "{sealed}: {error}");
    }
}

#[test]
fn bytes_outside_the_canonical_form_are_refused_before_anything_else() {
    let error = Entry::parse(&changed("\"cause\":41", "\"cause\": 41")).unwrap_err();
    assert!(matches!(error, EntryError::Canonical(found) if found.rule == Rule::Whitespace));
    let error = Entry::parse(&changed("\"cause\":41", "\"cause\":4.1")).unwrap_err();
    assert!(matches!(error, EntryError::Canonical(found) if found.rule == Rule::Fraction));
}

#[test]
fn the_writer_refuses_what_the_reader_refuses() {
    let cases = [
        (Entry { at: "2026-07-04T09:08:07Z".to_owned(), ..smallest() }, Rule::Time),
        (Entry { stream: String::new(), ..smallest() }, Rule::EntryField),
        (Entry { data: json!([]), ..smallest() }, Rule::EntryField),
        (Entry { data: json!({"rate": 0.5}), ..smallest() }, Rule::Fraction),
        (Entry { version: 1 << 53, ..smallest() }, Rule::IntegerRange),
        (Entry { sealed: Some(json!([])), ..smallest() }, Rule::Sealed),
        (Entry { sealed: Some(json!({"/memo": {"subject": "s"}})), ..smallest() }, Rule::Sealed),
        (Entry { data: json!({"blob": "x".repeat(MAX_ENTRY_BYTES)}), ..smallest() }, Rule::EntryLength),
    ];
    for (entry, rule) in cases {
        assert_eq!(entry.to_bytes().unwrap_err().rule, rule);
    }
    assert_eq!(Entry::parse(&vec![b' '; MAX_ENTRY_BYTES + 1]), Err(EntryError::TooLong));
}

#[test]
fn an_origin_is_short_and_plain() {
    for origin in ["a", ORIGIN, "log.example.org/2026-a", &"a".repeat(128)] {
        assert!(is_valid_origin(origin), "{origin}");
    }
    for origin in ["", "Guildhall", "a b", "a+b", "a_b", "é", "a\n", &"a".repeat(129)] {
        assert!(!is_valid_origin(origin), "{origin:?}");
    }
}

#[test]
fn both_ways_of_reading_an_entry_read_the_same() {
    let slow = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        serde_json::from_str::<super::Wire<'_>>(text).map_err(super::shape)?.into_view()?.to_entry()
    };
    let fast = |bytes: &[u8]| {
        let mut members = super::Members::default();
        crate::canonical::members(bytes, |key, value| members.take(key, value)).unwrap();
        members.view().map(|view| view.to_entry().unwrap())
    };
    let escaped = Entry { via: "a\"\\b".to_owned(), ..smallest() }.to_bytes().unwrap();
    let actor = Entry { actor: Actor { kind: "k\\".to_owned(), id: "i\"".to_owned() }, ..smallest() };
    let wide = Entry { stream: "caf\u{e9}\u{2028}".to_owned(), kind: "\u{1f3db}".to_owned(), ..full() };
    for (bytes, is_plain) in [
        (FULL.to_vec(), true),
        (SMALLEST.to_vec(), true),
        (wide.to_bytes().unwrap(), true),
        (escaped, false),
        (actor.to_bytes().unwrap(), false),
    ] {
        let read = fast(&bytes);
        assert_eq!(read.is_some(), is_plain, "{}", String::from_utf8_lossy(&bytes));
        assert!(read.is_none_or(|read| read == slow(&bytes).unwrap()));
        assert_eq!(Entry::parse(&bytes).unwrap(), slow(&bytes).unwrap());
    }
    // Whatever the slower way refuses the faster one does not read: every canonical change of one member.
    let text = std::str::from_utf8(FULL).unwrap();
    let mut members = Vec::new();
    crate::canonical::members(FULL, |key, value| members.push((key, value))).unwrap();
    assert_eq!(members.len(), 13);
    for (key, value) in members {
        for other in [
            "null",
            "1",
            "-1",
            "2",
            "\"\"",
            "\"x\"",
            "{}",
            "[]",
            "true",
            "{\"id\":\"x\"}",
            "{\"id\":\"x\",\"kind\":\"\"}",
        ] {
            let changed = text.replace(&format!("\"{key}\":{value}"), &format!("\"{key}\":{other}"));
            assert_eq!(fast(changed.as_bytes()), slow(changed.as_bytes()).ok(), "{changed}");
        }
    }
}
