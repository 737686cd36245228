//! The stranger's tool, as a second program: found beside this one, or built first when cargo runs us.
//!
//! It is never linked into this binary: what checks us shares no code with what it checks, and a build cannot mix the two up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// The part of the auditor's report that the demo looks at.
#[derive(Debug, Deserialize)]
pub struct Audit {
    pub size: u64,
    pub entries: u64,
    pub understood: u64,
    pub first_bad_position: Option<u64>,
    pub findings: Vec<Finding>,
    pub more_findings: u64,
}

#[derive(Debug, Deserialize)]
pub struct Finding {
    pub position: Option<u64>,
    pub check: String,
    pub what: String,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// What it says about one position.
    pub fn about(&self, position: u64) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.position == Some(position))
    }

    pub fn count(&self) -> u64 {
        self.findings.len() as u64 + self.more_findings
    }
}

/// The auditor's program.
///
/// # Errors
/// Says how to get one when there is none.
pub fn find(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        ensure!(named.is_file(), "there is no {}", named.display());
        return Ok(named);
    }
    let ours = std::env::current_exe().context("finding this program")?;
    let beside = ours.with_file_name("auditor");
    // Under `cargo run` only this program was built. The auditor beside it may be missing, or older than what it checks.
    if let (Some(cargo), Some(manifest)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR")) {
        build(Path::new(&cargo), Path::new(&manifest), &ours)?;
    }
    if !beside.is_file() {
        bail!(
            "the auditor is a program of its own, and not beside this one: cargo build --release --workspace, or --auditor FILE"
        );
    }
    Ok(beside)
}

fn build(cargo: &Path, manifest: &Path, ours: &Path) -> anyhow::Result<()> {
    let profile = ours.parent().context("a program lies in a directory")?;
    let target = profile.parent().context("cargo builds into <target>/<profile>")?;
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "guildhall-auditor", "--target-dir"])
        .arg(target)
        .current_dir(manifest);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    // Beside a lock file nothing is to be resolved anew.
    if manifest.join("../Cargo.lock").is_file() {
        command.arg("--locked");
    }
    let built = command.stdin(Stdio::null()).status().context("running cargo")?;
    ensure!(built.success(), "the auditor could not be built");
    Ok(())
}

/// Runs the auditor on a folder under a policy.
///
/// # Errors
/// When it could not check; findings are an answer.
pub fn verify(auditor: &Path, folder: &Path, policy: &Path) -> anyhow::Result<Audit> {
    let mut command = Command::new(auditor);
    command.arg("verify").arg(folder).arg("--policy").arg(policy).arg("--json");
    let output = command.stdin(Stdio::null()).output().with_context(|| auditor.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let audit = match output.status.code() {
        Some(0 | 1) => serde_json::from_slice::<Audit>(&output.stdout).context("reading the auditor's report")?,
        _ => bail!("the auditor could not check: {said}"),
    };
    ensure!(audit.is_clean() == output.status.success(), "the auditor's exit code contradicts its report");
    Ok(audit)
}
