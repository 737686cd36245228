//! `guildhall reconcile`: asks sources now, ahead of the hour.

use std::process::ExitCode;

use clap::Args;

use super::output::conclude;
use crate::config::Settings;
use crate::control::{self, Ask};

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall reconcile --dry-run     # what the sources say of the first thousand grants that are due
  guildhall reconcile
  guildhall reconcile --json

A running server does this every hour, for the domains whose mapping files are configured: sources.tokens, sources.plugins,
sources.workflows, sources.skills, sources.connections. What is due and has no mapping file counts as unreachable.")]
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
    conclude(ending, args.json, |round| {
        let parts =
            ["due", "alive", "gone", "revoked", "expired", "unknown"].map(|name| format!("{} {name}", round[name]));
        println!("{}", parts.join(", "));
        for (source, wrong) in round["wrong"].as_object().into_iter().flatten() {
            println!("! {source}: {wrong} rows were not understood; `guildhall import --dry-run` shows them");
        }
        for (source, what) in round["trouble"].as_object().into_iter().flatten() {
            println!("! {source}: {}", what.as_str().unwrap_or_default());
        }
    })
}
