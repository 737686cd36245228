//! `guildhall anchor`: pinning the log where we cannot change it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::conclude;
use crate::config::Settings;
use crate::control::{self, Ask};

#[derive(Subcommand)]
pub enum AnchorCommand {
    /// Publish a checkpoint and write an anchor now
    #[command(after_help = "\
Examples:
  guildhall anchor now
  guildhall anchor now --json")]
    Now(AnchorArgs),
    /// What is published, what is anchored, and what is wrong with it
    #[command(after_help = "\
Examples:
  guildhall anchor status
  guildhall anchor status --json")]
    Status(AnchorArgs),
    /// Every anchor there is
    #[command(after_help = "\
Examples:
  guildhall anchor list
  guildhall anchor list --json")]
    List(AnchorArgs),
    /// Go on anchoring from here, because the place that did it is gone for good
    #[command(after_help = "\
The log is published from one place: the data directory that anchored it last. Servers that take turns share it. Run this only when that
place is gone and will not come back: what it signed after its last anchor is not known here, and must not be contradicted.

Examples:
  guildhall anchor adopt")]
    Adopt(AnchorArgs),
}

#[derive(Args)]
pub struct AnchorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, command: AnchorCommand) -> anyhow::Result<ExitCode> {
    let (ask, json) = match command {
        AnchorCommand::Now(args) => (Ask::AnchorNow, args.json),
        AnchorCommand::Status(args) => (Ask::AnchorStatus, args.json),
        AnchorCommand::List(args) => (Ask::AnchorList, args.json),
        AnchorCommand::Adopt(args) => (Ask::AnchorAdopt, args.json),
    };
    let ending = control::ask(settings, ask, &mut |_, _| {}).await?;
    conclude(ending, json, |value| match value {
        Value::Array(anchors) => anchors.iter().for_each(line),
        Value::Object(facts) => facts.iter().for_each(|(name, fact)| println!("{name:<12} {}", plain(fact))),
        other => println!("{other}"),
    })
}

fn line(anchor: &Value) {
    let part = |name: &str| plain(&anchor[name]);
    println!(
        "{:>6} {:>12} entries  {}  {}  sha256 {}",
        part("seq"),
        part("size"),
        part("at"),
        part("key"),
        part("sha256")
    );
}

fn plain(fact: &Value) -> String {
    match fact {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
