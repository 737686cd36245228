//! Golden bytes of a rotation, and every order of rotations and retirements that does not count.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::checkpoint::Checkpoint;
use crate::key::SigningKey;
use crate::tree::leaf_hash;

const ORIGIN: &str = "guildhall.example/city";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, [seed; 32])
}

fn rotation(from: &SigningKey, to: &SigningKey, size: u64) -> Rotation {
    let root = leaf_hash(b"x");
    let text = text(ORIGIN, &from.vkey(), &to.vkey(), size, &root);
    let signed = |key: &SigningKey| key.sign_raw(text.as_bytes());
    Rotation::signed(from.vkey(), to.vkey(), (size, root), &signed(from), &signed(to))
}

fn retirement(key: &SigningKey) -> Retirement {
    Retirement { key: key.vkey() }
}

fn in_force(history: &History, size: u64) -> Vec<Hash> {
    history.in_force(size).map(|era| era.fingerprint).collect()
}

#[test]
fn the_golden_rotation_is_signed_byte_for_byte() {
    let (from, to, root) = (key(7), key(8), Hash::from_base64("7/gz8wrshIYAL5OBDvDyLylP918qAoLurMhFrIDqZGw=").unwrap());
    let said = text(ORIGIN, &from.vkey(), &to.vkey(), 2, &root);
    let expected = format!(
        "guildhall/key-rotation/v1\n{ORIGIN}\n{ORIGIN}+b60ffb4b+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs\n{}\n2\n\
         7/gz8wrshIYAL5OBDvDyLylP918qAoLurMhFrIDqZGw=\n",
        to.vkey()
    );
    assert_eq!(said, expected);
    let signed = Rotation::signed(
        from.vkey(),
        to.vkey(),
        (2, root),
        &from.sign_raw(said.as_bytes()),
        &to.sign_raw(said.as_bytes()),
    );
    let json = serde_json::to_string_pretty(&signed).unwrap();
    assert_eq!(json, include_str!("../../vectors/rotation/rotation.json").trim_end());
    assert!(signed.verify(ORIGIN).is_ok());
    assert!(Checkpoint::parse_text(&said).is_err(), "it is never a checkpoint");
}

#[test]
fn keys_overlap_from_the_rotation_to_the_retirement() {
    let (a, b, c) = (key(1), key(2), key(3));
    let print = |key: &SigningKey| fingerprint(&key.vkey());
    let mut history = History::default();
    assert_eq!(in_force(&history, 5), []);
    history.name(print(&a));
    history.name(print(&b));
    assert_eq!(in_force(&history, 0), [print(&a)]);
    history.rotate(ORIGIN, 10, &rotation(&a, &b, 10)).unwrap();
    assert_eq!(in_force(&history, 10), [print(&a)], "the entry itself is not covered yet");
    assert_eq!(in_force(&history, 11), [print(&a), print(&b)]);
    history.retire(20, &retirement(&a)).unwrap();
    assert_eq!(in_force(&history, 20), [print(&a), print(&b)]);
    assert_eq!(in_force(&history, 21), [print(&b)]);
    history.rotate(ORIGIN, 30, &rotation(&b, &c, 21)).unwrap();
    assert_eq!(in_force(&history, 31), [print(&b), print(&c)]);
    assert_eq!(history.eras()[0].key, Some(a.verifier()), "known by its rotation");
}

#[test]
fn a_log_that_named_no_key_begins_with_the_one_it_rotates_from() {
    let (a, b) = (key(1), key(2));
    let mut history = History::default();
    history.rotate(ORIGIN, 3, &rotation(&a, &b, 3)).unwrap();
    assert_eq!(in_force(&history, 3), [fingerprint(&a.vkey())]);
}

#[test]
fn what_breaks_the_order_changes_nothing() {
    let (a, b, c) = (key(1), key(2), key(3));
    let mut history = History::default();
    history.name(fingerprint(&a.vkey()));
    let refused = |history: &History, rotation: Rotation, error: RotationError| {
        let mut tried = history.clone();
        assert_eq!(tried.rotate(ORIGIN, 10, &rotation), Err(error));
        assert_eq!(&tried, history);
    };
    refused(&history, rotation(&b, &c, 5), RotationError::NotInForce);
    refused(&history, rotation(&a, &a, 5), RotationError::Again);
    refused(&history, rotation(&a, &b, 11), RotationError::Early);
    refused(&history, rotation(&a, &b, 0), RotationError::Empty);
    assert_eq!(history.retire(10, &retirement(&a)), Err(RotationError::NotTheOlder), "the only key");
    history.rotate(ORIGIN, 10, &rotation(&a, &b, 5)).unwrap();
    refused(&history, rotation(&b, &c, 5), RotationError::Overlap);
    refused(&history, rotation(&a, &c, 5), RotationError::Overlap);
    assert_eq!(history.retire(11, &retirement(&b)), Err(RotationError::NotTheOlder), "the newer key");
    history.retire(11, &retirement(&a)).unwrap();
    assert_eq!(history.retire(12, &retirement(&a)), Err(RotationError::NotTheOlder), "twice");
    refused(&history, rotation(&a, &c, 5), RotationError::NotInForce);
    refused(&history, rotation(&b, &a, 5), RotationError::Again);
}

#[test]
fn both_signatures_bind_every_line() {
    let (a, b, c) = (key(1), key(2), key(3));
    let check = |change: &dyn Fn(&mut Rotation)| {
        let mut rotation = rotation(&a, &b, 5);
        change(&mut rotation);
        rotation.verify(ORIGIN).map(drop)
    };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|r| r.size = 6), Err(RotationError::Signature("old")));
    assert_eq!(check(&|r| r.root = Hash::ZERO), Err(RotationError::Signature("old")));
    assert_eq!(check(&|r| r.to = c.vkey()), Err(RotationError::Signature("old")));
    assert_eq!(check(&|r| r.by_from = r.by_to.clone()), Err(RotationError::Signature("old")));
    assert_eq!(check(&|r| r.by_to = r.by_from.clone()), Err(RotationError::Signature("new")));
    assert_eq!(check(&|r| r.by_to.clear()), Err(RotationError::Signature("new")));
    let other = SigningKey::from_seed("other.example/log", [2; 32]);
    assert_eq!(check(&|r| r.to = other.vkey()), Err(RotationError::NotOfThisLog));
    assert_eq!(rotation(&a, &b, 5).verify("other.example/log").map(drop), Err(RotationError::NotOfThisLog));
}
