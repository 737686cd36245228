//! External signers that work, lie, hang, end and talk too much.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use chain::key::SigningKey;

use super::{Program, SignFailure, Signer};

const ORIGIN: &str = "guildhall.example/test";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

/// A shell script as a signer; `$1` is the folder, where it may leave marks.
fn script(dir: &Path, text: &str) -> Program {
    let path = dir.join("signer");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let command = [path.to_str().unwrap(), dir.to_str().unwrap()].map(str::to_owned).to_vec();
    Program::new(command, key().verifier())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn refused(program: &Program, message: &str) -> SignFailure {
    program.sign(message.as_bytes()).await.unwrap_err()
}

#[tokio::test]
async fn one_line_in_and_one_line_out() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (key().sign_raw(b"one"), key().sign_raw(b"two"));
    // It knows two messages and signs each; it counts how often it was started.
    let text = format!(
        "echo started >> $1/starts\nwhile read verb message; do case $message in {}) echo {};; {}) echo {};; esac; done",
        base64(b"one"),
        base64(&one),
        base64(b"two"),
        base64(&two)
    );
    let program = script(dir.path(), &text);
    assert_eq!(program.sign(b"one").await, Ok(one));
    assert_eq!(program.sign(b"two").await, Ok(two));
    assert_eq!(program.sign(b"one").await, Ok(one));
    assert_eq!(fs::read_to_string(dir.path().join("starts")).unwrap(), "started\n", "it was started once");
}

#[tokio::test]
async fn a_signature_that_does_not_verify_is_never_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let other = SigningKey::from_seed(ORIGIN, [8; 32]).sign_raw(b"one");
    let lying = script(dir.path(), &format!("while read line; do echo {}; done", base64(&other)));
    assert!(refused(&lying, "one").await.what.contains("does not verify"));
    let another = script(dir.path(), &format!("while read line; do echo {}; done", base64(&key().sign_raw(b"two"))));
    assert!(refused(&another, "one").await.what.contains("does not verify"), "of another message");
    let talking = script(dir.path(), "while read line; do echo secret-word; done");
    let failure = refused(&talking, "one").await;
    assert!(failure.what.contains("not the base64") && !failure.to_string().contains("secret-word"), "{failure}");
    let endless = script(dir.path(), "exec cat /dev/zero");
    assert!(refused(&endless, "one").await.what.contains("no line"));
}

#[tokio::test]
async fn one_that_ended_is_started_again_after_a_rest() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("echo started >> $1/starts\nread line\necho {}\n", base64(&key().sign_raw(b"one")));
    let program = script(dir.path(), &text);
    program.sign(b"one").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(refused(&program, "one").await.what.contains("ended"));
    assert!(refused(&program, "one").await.what.contains("a moment ago"), "it is left alone for a while");
    tokio::time::sleep(Duration::from_millis(300)).await;
    program.sign(b"one").await.unwrap();
    let missing = Program::new(vec!["/no/such/signer".to_owned()], key().verifier());
    assert!(refused(&missing, "one").await.what.contains("cannot be started"));
}

#[tokio::test]
async fn one_that_hangs_is_killed_after_five_seconds_and_holds_nobody_up_longer() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(dir.path(), "echo $$ > $1/pid\nsleep 1000");
    let started = Instant::now();
    let asked = (0..8).map(|_| program.sign(b"one"));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_err));
    let took = started.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(" Z "), "it still runs: {state}");
}
