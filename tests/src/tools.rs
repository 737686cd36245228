//! Programs and packages that others wrote. One that is missing fails the test with the line that brings it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{Ended, workspace};

/// A verifier that is asked about a folder and a key.
pub struct Verifier {
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<PathBuf>,
}

impl Verifier {
    pub fn ask(&self, folder: &Path, key: &Path) -> Ended {
        let mut command = Command::new(&self.program);
        Ended::from(command.args(&self.arguments).args([folder, key]).output().unwrap())
    }
}

/// Our folder of what others wrote.
pub fn foreign() -> PathBuf {
    workspace().join("tests/foreign")
}

/// Runs one of the Python programs of `tests/foreign`.
pub fn python(script: &str, arguments: &[&OsStr]) -> Ended {
    let python = python_with("cryptography");
    let mut command = Command::new(python);
    Ended::from(
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(foreign().join(script)).args(arguments).output().unwrap(),
    )
}

/// Go's sumdb packages.
pub fn go(scratch: &Path) -> Verifier {
    const BRING: &str = "apt-get install -y --no-install-recommends golang-go golang-golang-x-mod-dev (./test does it)";
    let program = scratch.join("check");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg("./go")
        .current_dir(foreign())
        // The packages are the distribution's: nothing is fetched.
        .envs([("GO111MODULE", "off"), ("GOFLAGS", ""), ("GOPATH", "/usr/share/gocode")])
        .env("GOCACHE", scratch.join("go-cache"))
        .output()
        .unwrap_or_else(|error| panic!("go: {error}: {BRING}"));
    assert!(built.status.success(), "{}\n{BRING}", String::from_utf8_lossy(&built.stderr));
    Verifier { name: "go", program, arguments: Vec::new() }
}

/// The Python package `aics-tlog`.
pub fn python_package() -> Verifier {
    Verifier { name: "python", program: python_with("aics_tlog"), arguments: vec![foreign().join("python/check.py")] }
}

/// The JavaScript package `@transmute/rfc9162`.
pub fn javascript(scratch: &Path) -> Verifier {
    let modules = installed().map_or_else(|| foreign().join("js"), |folder| folder.join("js")).join("node_modules");
    assert!(
        modules.join("@transmute/rfc9162").is_dir(),
        "{} holds no @transmute/rfc9162: npm ci --prefix tests/foreign/js (./test does it elsewhere)",
        modules.display()
    );
    // A module finds the packages that lie beside it.
    symlink(&modules, scratch.join("node_modules")).unwrap();
    fs::copy(foreign().join("js/check.mjs"), scratch.join("check.mjs")).unwrap();
    Verifier { name: "javascript", program: PathBuf::from("node"), arguments: vec![scratch.join("check.mjs")] }
}

/// Where `./test` has installed `venv` and `js`.
fn installed() -> Option<PathBuf> {
    std::env::var_os("GUILDHALL_TEST_FOREIGN").map(PathBuf::from)
}

fn python_with(module: &str) -> PathBuf {
    let python = installed().map_or_else(|| "python3".into(), |folder| folder.join("venv/bin/python"));
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "{} has no {module}: python3 -m venv F/venv && F/venv/bin/pip install --ignore-requires-python \
         -r tests/foreign/python/requirements.txt; cp -r tests/foreign/js F && npm ci --prefix F/js; \
         export GUILDHALL_TEST_FOREIGN=F (./test does it)",
        python.display()
    );
    python
}
