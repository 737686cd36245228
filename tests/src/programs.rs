//! The programs under test, as they were built.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `guildhall`, from the build that this test belongs to.
pub fn guildhall() -> PathBuf {
    program("guildhall")
}

/// `auditor`, likewise.
pub fn auditor() -> PathBuf {
    program("auditor")
}

fn program(name: &str) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    // A test is target/<profile>/deps/<test>; a program is target/<profile>/<program>.
    let folders = [ours.parent(), ours.parent().and_then(Path::parent)];
    let found = folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: cargo build --workspace --bins (./test does it)"))
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a program to its end.
pub fn run(program: &Path, arguments: &[&str]) -> Ended {
    run_with(program, arguments, &[])
}

/// The same with more in its environment.
pub fn run_with(program: &Path, arguments: &[&str], environment: &[(&'static str, String)]) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUILDHALL_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ended::from(command.output().unwrap())
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// What it printed, read as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The end that was expected, or everything that was said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}
