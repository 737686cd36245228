//! The tree of heads by a second hand: Python, written from FORMAT.md, agrees about the vectors and about trees made here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use chain::hash::sha256;
use chain::heads::{Head, Heads, key};
use guildhall_tests::programs::workspace;
use serde_json::json;

/// Runs the second verifier over these files.
fn check(files: &[&Path]) -> (bool, String) {
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests/foreign/heads.py")).arg("check").args(files);
    let output = command.output().expect("python3 is needed: apt-get install -y python3");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_vectors_are_those_of_the_format() {
    let folder = workspace().join("eventlog/chain/vectors/heads");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5);
    let (good, said) = check(&files.iter().map(|path| path.as_path()).collect::<Vec<_>>());
    assert!(good, "{said}");
}

#[test]
fn trees_grown_here_are_the_same_there_and_a_changed_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vector.json");
    for streams in [1_u64, 2, 7, 64, 500] {
        let mut heads = Heads::new();
        let name = |number: u64| format!("stream {} of {streams}", number % streams);
        // Several entries a stream: only the last counts.
        for number in 0..3 * streams {
            heads.set(key(&name(number)), Head { version: number / streams, hash: sha256(&[&number.to_be_bytes()]) });
            if number % 50 == 0 {
                heads.root();
            }
        }
        let named = |number: u64| {
            let head = heads.get(&key(&name(number))).unwrap();
            json!({"stream": name(number), "version": head.version, "hash": head.hash})
        };
        let all: Vec<_> = (0..streams).map(named).collect();
        let root = heads.root();
        let asked = (0..streams).step_by(9).map(name).chain((0..9).map(|number| format!("nobody {number}")));
        let proofs: Vec<_> =
            asked.map(|stream| json!({"stream": stream, "proof": heads.prove(&key(&stream))})).collect();
        let mut vector = json!({"heads": all, "root": root, "proofs": proofs});
        std::fs::write(&file, vector.to_string()).unwrap();
        let (good, said) = check(&[&file]);
        assert!(good, "{streams} streams: {said}");
        vector["heads"][0]["version"] = json!(9);
        std::fs::write(&file, vector.to_string()).unwrap();
        assert!(!check(&[&file]).0, "another head, the same root");
    }
}
