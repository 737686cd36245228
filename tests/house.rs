//! The house keeps its own rules: who may use whom, how long a file may get, and which words stay outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use guildhall_tests::programs::workspace;
use serde_json::Value;

/// Longest file. Past this a file should be a table, a list or a state machine that is worse in pieces.
const MOST_LINES: usize = 600;
/// State machines that are worse in pieces, with why.
const LONG_FILES: &[(&str, &str)] =
    &[("eventlog/tests/contract.rs", "a list: one promise of the log a test, each on both engines")];

/// (crate, what it uses of ours), dev-dependencies apart, under the short names of the map.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    metadata()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"].is_null());
            let ours = normal.filter_map(|used| short(used["name"].as_str().unwrap()));
            (short(package["name"].as_str().unwrap()).unwrap(), ours.collect())
        })
        .collect()
}

fn metadata() -> Value {
    cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"])
}

fn cargo(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn short(name: &str) -> Option<String> {
    match name {
        "guildhall" => Some("server".to_owned()),
        _ => name.strip_prefix("guildhall-").map(str::to_owned),
    }
}

/// The table "Who may use whom" of ARCHITECTURE.md.
fn map() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("| crate | uses |").nth(1).expect("ARCHITECTURE.md has the table `| crate | uses |`");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<String>>();
        (names(cells[1]).pop_first().unwrap(), names(cells[2]))
    })
    .collect()
}

#[test]
fn every_crate_uses_what_the_map_says_and_nothing_else() {
    let graph = graph();
    let everything: BTreeSet<String> = graph.keys().cloned().collect();
    let outside = ["server", "tests", "bench"];
    for (name, allowed) in map() {
        let used = &graph[&name];
        if name == "server" {
            assert_eq!(
                allowed,
                BTreeSet::from(["auditor".to_owned()]),
                "the row of the server reads: everything but `auditor`"
            );
            assert!(!used.contains("auditor"), "the server links the auditor");
        } else {
            assert_eq!(*used, allowed, "{name}: what it uses, and what ARCHITECTURE.md says");
        }
    }
    let mapped: BTreeSet<String> = map().into_keys().collect();
    let missing: Vec<_> = everything
        .iter()
        .filter(|name| !mapped.contains(*name) && !["tests", "bench"].contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in the table of ARCHITECTURE.md: {missing:?}");
    for (name, used) in &graph {
        assert!(
            outside.contains(&name.as_str()) || used.is_disjoint(&outside.map(str::to_owned).into()),
            "{name} uses a program"
        );
    }
}

/// Every crate that a package is built with, at any depth.
fn tree(package: &str) -> BTreeSet<String> {
    let tree = ["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new(env!("CARGO")).args(tree).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_auditor_is_built_without_sql_without_a_network_and_without_our_rules() {
    let tree = tree("guildhall-auditor");
    assert!(tree.contains("guildhall-chain") && tree.len() > 5, "{tree:?}");
    for foreign in
        ["sqlx", "sqlx-core", "libsqlite3-sys", "tokio", "hyper", "reqwest", "guildhall-domain", "guildhall-eventlog"]
    {
        assert!(!tree.contains(foreign), "the auditor is built with {foreign}");
    }
}

#[test]
fn the_rules_and_the_seals_are_built_without_a_clock_a_socket_or_chance() {
    for package in ["guildhall-domain", "guildhall-chain"] {
        for foreign in ["tokio", "sqlx", "getrandom", "rand", "reqwest"] {
            // `imbl` brings a generator for its own tests' sake; what counts is that nothing draws from the system.
            assert!(!tree(package).contains(foreign), "{package} is built with {foreign}");
        }
    }
}

/// All files of the house that people read, without what is built or fetched.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace())
        .output();
    let listed =
        output.ok().filter(|output| output.status.success()).map(|output| String::from_utf8(output.stdout).unwrap());
    let mut found: Vec<PathBuf> = match listed {
        Some(text) => text.lines().map(PathBuf::from).filter(|path| workspace().join(path).is_file()).collect(),
        // An unpacked archive knows no git.
        None => {
            let mut found = Vec::new();
            walk(&workspace(), Path::new(""), &mut found);
            found
        }
    };
    found.sort();
    assert!(found.len() > 100, "only {} files were found", found.len());
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        let skipped = ["target", ".git", "guildhall-data"].iter().any(|skipped| path == Path::new(skipped));
        if entry.file_type().unwrap().is_dir() && !skipped {
            walk(root, &path, found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(workspace().join(&path)).unwrap())).collect()
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let too_long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !LONG_FILES.iter().any(|(known, _)| path == Path::new(known)))
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(too_long.is_empty(), "split these, or say in LONG_FILES why they are worse in pieces: {too_long:#?}");
}

#[test]
fn every_file_opens_by_saying_what_is_inside() {
    let silent: Vec<PathBuf> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "these do not open with a sentence: {silent:#?}");
}

#[test]
fn nothing_unfinished_and_no_machine_stays_in_the_tree() {
    // Put together here, so that this file does not hold them.
    let marks = [["FIX", "ME"], ["XX", "X"], ["TO", "DO"], ["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]]
        .map(|parts| parts.concat());
    let places = ["work", "root", "home"].map(|place| format!("/{place}/"));
    let endings = ["rs", "sql", "md", "toml", "sh"];
    let mut found = Vec::new();
    for path in files() {
        let known = path.extension().and_then(|end| end.to_str()).is_some_and(|end| endings.contains(&end));
        if !known {
            continue;
        }
        let text = fs::read_to_string(workspace().join(&path)).unwrap();
        for (index, line) in text.lines().enumerate() {
            let mark = marks.iter().find(|mark| line.contains(mark.as_str()));
            let place = places
                .iter()
                .find(|place| line.split(['"', '\'', '`', ' ', '(']).any(|word| word.starts_with(place.as_str())));
            if let Some(what) = mark.or(place) {
                found.push(format!("{}:{}: {what}", path.display(), index + 1));
            }
        }
    }
    assert!(found.is_empty(), "these must go: {found:#?}");
}

#[test]
fn every_attack_of_the_table_names_tests_that_there_are() {
    let text = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("## What detects what").nth(1).expect("ARCHITECTURE.md has the section `What detects what`");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 10, "the table was not found where it is");
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    for row in rows {
        let proofs: Vec<&str> =
            row.trim_end_matches('|').rsplit('|').next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!proofs.is_empty(), "no test proves this row: {row}");
        for proof in proofs {
            assert!(
                sources.contains(&format!("fn {proof}()")),
                "there is no test {proof}, which a row of ARCHITECTURE.md names"
            );
        }
    }
}
