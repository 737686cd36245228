//! `guildhall reconcile`: asks sources now, ahead of the hour.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::NO;
use super::output::conclude;
use crate::city::unverified;
use crate::config::Settings;
use crate::control::{self, Ask, Ending};

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall reconcile --dry-run     # what the sources say of the first thousand grants that are due
  guildhall reconcile
  guildhall reconcile --json

A running server does this every hour, for the domains whose mapping files are configured: sources.tokens, sources.plugins,
sources.workflows, sources.skills, sources.connections. What is due and has no mapping file counts as unreachable.
Ends with 0 when all is well, 1 when something is not known, was not understood, or has no mapping file.")]
pub struct ReconcileArgs {
    /// Ask, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, args: ReconcileArgs) -> anyhow::Result<ExitCode> {
    let ending = control::ask(settings, Ask::Reconcile { dry_run: args.dry_run }, &mut |_, _| {}).await?;
    let is_clean = match &ending {
        Ending::Done(round) => is_clean(round),
        Ending::Refused(_) => false,
    };
    let code = conclude(ending, args.json, |round| {
        let parts =
            ["due", "alive", "gone", "revoked", "expired", "unknown"].map(|name| format!("{} {name}", round[name]));
        println!("{}", parts.join(", "));
        for (source, wrong) in round["wrong"].as_object().into_iter().flatten() {
            println!("! {source}: {wrong} rows were not understood; `guildhall import --dry-run` shows them");
        }
        for (source, count) in round["unconfigured"].as_object().into_iter().flatten() {
            println!("! {}", unverified::told(source, count.as_u64().unwrap_or_default()));
        }
        for (source, what) in round["trouble"].as_object().into_iter().flatten() {
            println!("! {source}: {}", what.as_str().unwrap_or_default());
        }
    })?;
    Ok(if is_clean { code } else { ExitCode::from(NO) })
}

/// Whether nobody needs to look.
fn is_clean(round: &Value) -> bool {
    let is_empty = |name: &str| round[name].as_object().is_none_or(Map::is_empty);
    round["unknown"].as_u64() == Some(0) && ["wrong", "trouble", "unconfigured"].into_iter().all(is_empty)
}
