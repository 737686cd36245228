//! Verifiers that none of us wrote, and one that was written from FORMAT.md alone: what we publish holds for all of them, what was tampered
//! with for none. `tests/foreign/README.md` says how to run each by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use chain::checkpoint::{self, Checkpoint};
use chain::key::SigningKey;
use chain::tile::{BundleId, TileId, bundles_for, decode_bundle, tiles_for};
use guildhall_tests::laid::{Tree, lay_log, write};
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::server::{Place, copy_dir};
use guildhall_tests::tools::{self, Verifier};
use guildhall_tests::town::Town;
use guildhall_tests::{Engine, block_on};
use serde_json::Value;

/// A real city's export with three anchors, its policy from before, and the answer to one command.
struct Exported {
    folder: PathBuf,
    policy: PathBuf,
    receipt: PathBuf,
    size: u64,
    dir: tempfile::TempDir,
}

impl Exported {
    fn new() -> Self {
        block_on(async {
            let place = Place::new(Engine::Sqlite).await;
            let mut server = place.home.serve();
            let http = server.first_caller();
            let town = Town::found(&http).await;
            let mut answer = Value::Null;
            for number in 0..290 {
                if number % 100 == 50 {
                    programs::run(&guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
                }
                answer = town.fund(&http, &format!("deposit {number}"), "10").await.body;
            }
            let dir = tempfile::tempdir().unwrap();
            let (folder, policy) = (dir.path().join("export"), dir.path().join("policy"));
            let out = folder.to_str().unwrap().to_owned();
            let told =
                programs::run(&guildhall(), &place.home.arguments(&["export", "--out", &out, "--json"])).expect(0);
            server.stop();
            let told: Value = serde_json::from_str(&told.stdout).unwrap();
            assert!(told["anchors"].as_u64().unwrap() >= 3, "{told}");
            fs::copy(folder.join("policy"), &policy).unwrap();
            let receipt = dir.path().join("receipt.json");
            fs::write(&receipt, answer.to_string()).unwrap();
            Self { folder, policy, receipt, size: told["size"].as_u64().unwrap(), dir }
        })
    }
}

fn texts<'a>(paths: &'a [&'a Path]) -> Vec<&'a OsStr> {
    paths.iter().map(|path| path.as_os_str()).collect()
}

#[test]
fn the_second_verifier_stays_small_enough_to_read() {
    let text = fs::read_to_string(tools::foreign().join("verify.py")).unwrap();
    let lines = text.lines().count();
    assert!(lines < 400, "verify.py has {lines} lines");
}

#[test]
fn every_example_of_the_format_is_made_again_without_our_code() {
    let ended = tools::python("vectors.py", &[]).expect(0);
    assert_eq!(ended.stdout.trim(), "every vector is as it should be");
}

#[test]
fn logs_that_lie_with_their_own_key_are_refused_by_the_second_verifier() {
    let ended = tools::python("attacks.py", &[]).expect(0);
    assert!(ended.stdout.lines().last().unwrap().ends_with(" cases, 0 failed"), "{}", ended.stdout);
}

/// Copies of an export that the auditor does not answer as the second verifier does, and its exit code.
const OTHERWISE: &[(&str, &str)] = &[
    // It takes nothing from the folder's own policy.
    ("policy is missing", "0"),
    ("policy is empty", "0"),
    ("policy is cut off", "0"),
    ("policy has a byte more", "0"),
    ("policy is binary garbage", "0"),
    ("policy is garbage of another length", "0"),
    ("policy of the export gives another key", "0"),
    // It does not know that the folder is a finished export, and says what else is there.
    ("a file too many: 'extra'", "0"),
    ("a file too many: 'pack/999'", "0"),
];

#[test]
fn a_real_export_holds_for_the_second_verifier_and_the_auditor_and_no_tampered_copy_does() {
    let export = Exported::new();
    let (folder, policy) = (export.folder.as_path(), export.policy.as_path());
    let said = tools::python("verify.py", &texts(&[folder, Path::new("--key"), policy])).expect(0).stdout;
    assert!(said.starts_with(&format!("ok: {} entries of ", export.size)), "{said}");
    let arguments = ["verify", folder.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    let said = programs::run(&auditor(), &arguments).expect(0).stdout;
    assert!(said.contains("clean: nothing was found") && !said.contains("also there"), "{said}");
    let arguments = [export.receipt.as_path(), Path::new("--policy"), policy];
    let said = tools::python("receipts.py", &texts(&arguments)).expect(0).stdout;
    assert!(said.starts_with("ok: "), "{said}");

    let program = auditor();
    let arguments = [folder, Path::new("--key"), policy, Path::new("--auditor"), &program];
    let said = tools::python("attacks.py", &texts(&arguments)).expect(0).stdout;
    let cases = said.lines().filter(|line| line.starts_with("ok  ")).count();
    assert!(cases > 200, "only {cases} copies were judged:\n{said}");
    let otherwise: BTreeSet<(String, String)> = said
        .lines()
        .filter_map(|line| {
            let (case, code) = line.split_once(" | the auditor: ")?;
            // The name of a case is padded to 58 characters.
            let case: String = case.chars().skip(5).take(58).collect();
            Some((case.trim().to_owned(), code.trim().to_owned()))
        })
        .collect();
    let expected = OTHERWISE.iter().map(|(case, code)| ((*case).to_owned(), (*code).to_owned())).collect();
    assert_eq!(otherwise, expected, "the auditor answers otherwise than it should:\n{said}");
}

const ORIGIN: &str = "guildhall.example/city";
/// Around the widths at which a tile is full, or a tree has a level more.
const SIZES: [u64; 8] = [1, 2, 255, 256, 257, 511, 512, 513];
const TALL: u64 = 70_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, [seed; 32])
}

/// What somebody without the key, or with it, does to a folder of the sizes above.
type Deed = fn(&Path, &Tree);

/// A deed, the file at which it must be noticed, and how it is done.
const DEEDS: &[(&str, &str, Deed)] = &[
    ("another root, unsigned", "checkpoints/513", |folder, tree| {
        let root = |size| tree.root(size).to_base64();
        edit(folder, "checkpoints/513", |text| text.replace(&root(513), &root(512)));
    }),
    ("another root, signed", "checkpoints/513", |folder, tree| {
        let forged = Checkpoint { origin: ORIGIN.to_owned(), size: 513, root: tree.root(512) };
        write(folder, "checkpoints/513", checkpoint::sign(&forged, &key(7)).as_bytes());
    }),
    ("another size, unsigned", "checkpoints/513", |folder, _| {
        edit(folder, "checkpoints/513", |text| text.replace("\n513\n", "\n512\n"));
    }),
    ("another size, signed", "checkpoints/512", |folder, tree| {
        let forged = Checkpoint { origin: ORIGIN.to_owned(), size: 512, root: tree.root(513) };
        write(folder, "checkpoints/512", checkpoint::sign(&forged, &key(7)).as_bytes());
    }),
    ("another key", "checkpoints/1", |folder, _| write(folder, "key", key(8).vkey().as_bytes())),
    ("a bit of a leaf", "checkpoints/512", |folder, _| flip(folder, "tile/0/001", 40)),
    ("a bit of a leaf of a partial tile", "checkpoints/255", |folder, _| flip(folder, "tile/0/000.p/255", 32 * 254)),
    ("a bit of a hash above the leaves", "checkpoints/512", |folder, _| flip(folder, "tile/1/000.p/2", 33)),
    ("a bit of an entry hash", "checkpoints/256", |folder, _| flip(folder, "tile/entries/000", 9)),
    ("two proofs of inclusion exchanged", "proofs/0-513.tlog-proof", |folder, _| {
        exchange(folder, "proofs/0-513.tlog-proof", "proofs/512-513.tlog-proof", 2);
    }),
    ("two proofs of consistency exchanged", "proofs/255-513.consistency", |folder, _| {
        exchange(folder, "proofs/255-513.consistency", "proofs/257-513.consistency", 1);
    }),
];

fn edit(folder: &Path, path: &str, change: impl Fn(&str) -> String) {
    let before = fs::read_to_string(folder.join(path)).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "{path} did not change");
    write(folder, path, after.as_bytes());
}

fn flip(folder: &Path, path: &str, at: usize) {
    let mut bytes = fs::read(folder.join(path)).unwrap();
    bytes[at] ^= 4;
    write(folder, path, &bytes);
}

/// Exchanges the hashes of two proofs, whose first lines and checkpoints stay.
fn exchange(folder: &Path, one: &str, other: &str, heads: usize) {
    let parts = |path: &str| {
        let text = fs::read_to_string(folder.join(path)).unwrap();
        let (before, note) = text.split_once("\n\n").unwrap();
        let lines: Vec<String> = before.lines().map(str::to_owned).collect();
        (lines[..heads].join("\n"), lines[heads..].join("\n"), note.to_owned())
    };
    let (first, second) = (parts(one), parts(other));
    assert_ne!(first.1, second.1);
    write(folder, one, format!("{}\n{}\n\n{}", first.0, second.1, first.2).as_bytes());
    write(folder, other, format!("{}\n{}\n\n{}", second.0, first.1, second.2).as_bytes());
}

/// What a foreign package must accept, and what it must refuse.
fn judge(verifier: &Verifier, dir: &Path) {
    let accepts = |folder: &Path, what: &str| {
        let ended = verifier.ask(folder, &folder.join("key"));
        assert!(
            ended.code == Some(0) && ended.stdout.starts_with("ok: "),
            "{}: {what}: {}{}",
            verifier.name,
            ended.stdout,
            ended.stderr
        );
    };
    let (small, tall) = (dir.join("small"), dir.join("tall"));
    let tree = lay_log(&small, &key(7), &SIZES);
    accepts(&small, "an honest log");
    lay_log(&tall, &key(7), &[1, 257, 65_535, 65_536, 65_537, TALL]);
    accepts(&tall, "an honest tall log");
    for (number, (what, place, deed)) in DEEDS.iter().enumerate() {
        let copy = dir.join(format!("copy-{number}"));
        copy_dir(&small, &copy);
        deed(&copy, &tree);
        let ended = verifier.ask(&copy, &copy.join("key"));
        assert!(
            ended.code == Some(1)
                && ended.stdout.starts_with("refused: ")
                && ended.stdout.contains(&format!("{place}: ")),
            "{}: {what}: {:?} {}{}",
            verifier.name,
            ended.code,
            ended.stdout,
            ended.stderr
        );
    }
}

#[test]
fn gos_checksum_database_packages_accept_our_logs_and_refuse_tampered_ones() {
    let dir = tempfile::tempdir().unwrap();
    judge(&tools::go(dir.path()), dir.path());
}

#[test]
fn a_python_package_accepts_our_logs_and_refuses_tampered_ones() {
    let dir = tempfile::tempdir().unwrap();
    judge(&tools::python_package(), dir.path());
}

#[test]
fn a_javascript_package_accepts_our_logs_and_refuses_tampered_ones() {
    let dir = tempfile::tempdir().unwrap();
    judge(&tools::javascript(dir.path()), dir.path());
}

#[test]
fn a_real_citys_checkpoints_tiles_and_proofs_hold_for_every_foreign_package() {
    let export = Exported::new();
    let folder = export.dir.path().join("for-packages");
    let scratch = tempfile::tempdir().unwrap();
    let vkey = fs::read_to_string(&export.policy).unwrap();
    let vkey = vkey.lines().find_map(|line| line.strip_prefix("log ")).unwrap().to_owned();
    copy_dir(&export.folder, &folder);
    write(&folder, "key", vkey.as_bytes());
    let notes = signed(&export.folder);
    assert!(notes.len() >= 4, "{:?}", notes.keys());
    let entries = bundles_for(export.size)
        .into_iter()
        .flat_map(|id| decode_bundle(&fs::read(export.folder.join(id.path())).unwrap()).unwrap());
    let tree = Tree::of(entries.collect());
    notes.keys().for_each(|size| narrow(&folder, *size, export.size));
    tree.prove(&folder, &notes);
    for verifier in [tools::go(scratch.path()), tools::python_package(), tools::javascript(scratch.path())] {
        let ended = verifier.ask(&folder, &folder.join("key"));
        assert_eq!(ended.code, Some(0), "{}: {}{}", verifier.name, ended.stdout, ended.stderr);
        assert!(ended.stdout.starts_with(&format!("ok: {} checkpoints", notes.len())), "{}", ended.stdout);
    }
}

/// The signed checkpoints of an export, the newest and those of its anchors, by their sizes.
fn signed(export: &Path) -> BTreeMap<u64, String> {
    let anchors = fs::read_dir(export.join("anchors")).unwrap().map(|entry| {
        let anchor: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        anchor["checkpoint"].as_str().unwrap().to_owned()
    });
    let newest = fs::read_to_string(export.join("checkpoint")).unwrap();
    anchors.chain([newest]).map(|note| (note.lines().nth(1).unwrap().parse().unwrap(), note)).collect()
}

/// Makes the partial files of an earlier size from the wider ones, whose beginnings they are (FORMAT.md section 9.1).
fn narrow(folder: &Path, size: u64, newest: u64) {
    let tiles = tiles_for(size).into_iter().map(|id| {
        let wide = tiles_for(newest).into_iter().find(|wide| (wide.level, wide.index) == (id.level, id.index)).unwrap();
        (TileId::path(&id), TileId::path(&wide), 32 * usize::from(id.width))
    });
    let bundles = bundles_for(size).into_iter().map(|id| {
        let wide = bundles_for(newest).into_iter().find(|wide| wide.index == id.index).unwrap();
        (BundleId::path(&id), BundleId::path(&wide), 34 * usize::from(id.width))
    });
    for (path, wide, length) in tiles.chain(bundles).filter(|(path, wide, _)| path != wide) {
        let bytes = fs::read(folder.join(wide)).unwrap();
        write(folder, &path, &bytes[..length]);
    }
}
