//! `guildhall recover`: the log made again from what was kept of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::output::{Bar, conclude};
use crate::config::Settings;
use crate::recovery::{self, Asked};

#[derive(Args)]
#[command(after_help = "\
Without --yes nothing is changed: what was kept is read and verified, and what would be done is printed. End every server of the city first.

Roll forward: the database was restored from an older backup, or is empty; the city's keys are there. Its entries must be a beginning of
what was kept; the rest is appended, byte for byte, and every table is made again.

  guildhall recover                                   from the configured store, and from what this data directory published
  guildhall recover --yes
  guildhall recover --from /mnt/worm --yes            from a folder: a directory store, an export, or another data directory

New origin: the keys are lost or stolen, or nothing but the store is left. A log of another name, with new keys, whose first leaf is the old
log's last checkpoint (with a quorum in the policy: its last witnessed one) and which holds the old log's entries. It goes into an empty
database and a new data directory, and is anchored in another place than the old one.

  guildhall recover --new-origin city.example/two --from /mnt/worm --policy old.policy --data-dir ./two
  guildhall recover --new-origin city.example/two --from old.toml --policy old.policy --data-dir ./two --yes
                                                      old.toml: settings whose [anchor] names the old bucket
  guildhall recover --new-origin city.example/two --from /mnt/worm --policy old.policy --at 81920 --checkpoint witnessed.txt --yes
                                                      after a theft: nothing that came later goes along

Examples:
  guildhall recover
  guildhall recover --yes --json

Cut off at any moment, the same command goes on. docs/recovery.md is the runbook. Exit codes: 0 done, or it could be; 1 what was kept does not
hold, or the database has something else; 2 it could not be done.")]
pub struct RecoverArgs {
    /// A folder, or a settings file that names a store [default: the configured store]
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// The policy by which what was kept is believed, with the newest key of the log; with --at the one in force at that size. With
    /// --new-origin it is required: none that lies beside what was kept is taken [default: the keys of the data directory]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Exactly so many entries; a checkpoint of that size must be there
    #[arg(long, value_name = "SIZE")]
    at: Option<u64>,
    /// A checkpoint that a witness or an auditor kept
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Make a log of this name that continues the old one
    #[arg(long, value_name = "NAME")]
    new_origin: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, args: RecoverArgs) -> anyhow::Result<ExitCode> {
    let RecoverArgs { from, policy, at, checkpoint, new_origin, yes, json } = args;
    let asked = Asked { from, policy, size: at, checkpoint, new_origin, go: yes };
    let mut bar: Option<(&'static str, Bar)> = None;
    let ending = recovery::recover(settings, &asked, &mut |stage, done, of| {
        if bar.as_ref().is_none_or(|(shown, _)| *shown != stage)
            && let Some((_, ended)) = bar.replace((stage, Bar::new(stage, "entries")))
        {
            ended.end();
        }
        if let Some((_, bar)) = &bar {
            bar.at(done, of);
        }
    })
    .await;
    if let Some((_, bar)) = bar {
        bar.end();
    }
    conclude(ending?, json, show)
}

fn show(told: &Value) {
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    let list = |name: &str| told[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    println!("the log      {}, {} entries, root {}", text("origin"), told["size"], text("root"));
    let witnessed = match told["witnessed"].as_bool() {
        None => "the policy asks for no witnesses",
        Some(true) => "cosigned by the quorum of the policy",
        Some(false) => "UNWITNESSED",
    };
    let chain = if told["unbroken"] == true { "a chain without a gap" } else { "a chain with a GAP" };
    println!("signed by    {} ({witnessed}); {} anchors, {chain}", text("checkpoint"), told["anchors"]);
    println!("believed by  {}", text("policy"));
    for remark in list("remarks") {
        println!("LOOK AT      {remark}");
    }
    println!("the database {} entries, which are the same", told["had"]);
    let done = told["done"] == true;
    let verb = if done { "written     " } else { "would write " };
    match told["new_origin"].as_str() {
        Some(name) => println!("{verb} {} entries into the log {name}", told["restored"]),
        None => println!("{verb} {} entries", told["restored"]),
    }
    if let Some(key) = told["new_key"].as_str() {
        println!("new key      {key}");
    }
    for what in list("lost") {
        println!("not there    {what}");
    }
    if !done {
        println!("\nNothing was changed. --yes does it.");
        return;
    }
    println!("\nNow:");
    for step in list("next") {
        println!("  {step}");
    }
}
