//! What else a folder can hold than the files of a log.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::{SIZES, audit, in_folder, log};
use crate::report::Report;
use crate::testkit::Published;
use crate::verify;

/// Audits a folder in which `path` was replaced by `make`. An audit that never ends fails.
fn with_instead(path: &'static str, make: fn(&Path)) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let mut published = Published::of(&log().records, &SIZES);
    published.files.retain(|name, _| name != path && !name.starts_with(&format!("{path}/")));
    published.write(dir.path());
    std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
    make(&dir.path().join(path));
    let options = in_folder(dir.path());
    let (say, ended) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever gave up waiting no longer listens.
        let _ = say.send(verify(&options, &|_, _| ()).unwrap());
    });
    ended.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("the audit hangs on {path}"))
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_or_a_link_in_place_of_a_file_is_not_opened_and_is_found() {
    const FILES: [&str; 5] = [
        "checkpoint",
        "tile/0/001",
        "tile/entries/002.p/188",
        "pack/001",
        "anchors/00000000000000000001-00000000000000000256.json",
    ];
    for path in FILES {
        let said = |make, kind: &str| {
            let report = with_instead(path, make);
            let words = format!("\"{path}\" is {kind}, not a file");
            assert!(
                report.findings.iter().any(|finding| finding.what.contains(&words)),
                "{path}: {}",
                report.to_text()
            );
        };
        said(pipe, "a pipe");
        said(|path| symlink("/dev/zero", path).unwrap(), "a symbolic link");
        let report = with_instead(path, |path| std::fs::create_dir(path).unwrap());
        assert!(!report.is_clean(), "{path} is a folder: {}", report.to_text());
    }
}

#[test]
fn a_link_to_a_folder_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    Published::of(&log().records, &SIZES).write(dir.path());
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(dir.path().join("pack"), elsewhere.path().join("pack")).unwrap();
    symlink(elsewhere.path().join("pack"), dir.path().join("pack")).unwrap();
    let report = verify(&in_folder(dir.path()), &|_, _| ()).unwrap();
    let text = report.to_text();
    assert!(text.contains("\"pack\" is a symbolic link, not a file"), "{text}");
    assert!(text.contains("pack/000 is missing") && report.entries == 0, "{text}");
}

#[test]
fn a_file_where_only_a_logs_files_are_and_that_is_none_is_found() {
    for path in [
        "pack/001.p/999",
        "pack/000.p/007",
        "pack/x000/000",
        "pack/extra",
        "tile/0/000.p/0",
        "tile/0/0",
        "tile/9/000",
        "tile/6/255",
        "tile/entries/junk",
        "anchors/junk.json",
        "anchors/1/2",
    ] {
        let mut published = Published::of(&log().records, &SIZES);
        published.put(path, b"x".to_vec());
        let report = audit(&published);
        assert!(report.findings.iter().any(|finding| finding.what.contains(path)), "{path}: {}", report.to_text());
    }
}

#[test]
fn what_a_published_log_may_hold_besides_is_said_and_no_finding() {
    for (path, words) in [
        ("pack/999", "1 files of a longer log, which the checkpoint does not cover, the first \"pack/999\""),
        ("pack/002.p/189", "of a longer log"),
        ("tile/2/000.p/1", "of a longer log"),
        ("tile/0/002.p/5.new", "never finished, the first \"tile/0/002.p/5.new\""),
        ("anchors/1.json.new", "never finished"),
        ("vkey", "no part of a log, the first \"vkey\""),
        ("deeper/tile/0/000", "no part of a log"),
    ] {
        let mut published = Published::of(&log().records, &SIZES);
        published.put(path, b"x".to_vec());
        let report = audit(&published);
        assert!(report.is_clean(), "{path}: {}", report.to_text());
        assert!(report.to_text().contains(&format!("also there   {}", report.also_there[0])));
        assert!(
            report.also_there.len() == 1 && report.also_there[0].contains(words),
            "{path}: {:?}",
            report.also_there
        );
    }
    assert!(audit(&Published::of(&log().records, &SIZES)).also_there.is_empty());
}
