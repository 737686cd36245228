//! `guildhall anchor`: pinning the log where we cannot change it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::NO;
use super::output::conclude;
use crate::config::Settings;
use crate::control::{self, Ask, Ending};

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
    /// Every anchor there is, every number that is missing, and what lies there besides
    #[command(after_help = "\
With --json an array: an anchor has `seq` and `key`; a number without one is {\"seq\": 3, \"missing\": true}; an object that no key of this log
signed is {\"key\": ..., \"stray\": why}.

Examples:
  guildhall anchor list
  guildhall anchor list --json")]
    List(AnchorArgs),
    /// Look whether everything that was anchored is still in the store
    #[command(after_help = "\
Every anchor on record, and every tile, bundle and pack that the anchors list, is looked for in listings of the store; with --read each is
fetched and compared with its hash as well. Delete markers, other versions, and objects that no key of this log signed are named. The same is
done, without reading, at every start and once a day. 0 all of it is there and nothing else; 1 something is missing, or lies beside it; 2 the
store could not be looked through.

Examples:
  guildhall anchor check
  guildhall anchor check --read --json")]
    Check(CheckArgs),
    /// Attack the store's lock, and say what held
    #[command(after_help = "\
With a credential that may do anything to the bucket (GUILDHALL_PROVER_KEY_ID, GUILDHALL_PROVER_SECRET): first it must be seen to delete and to
extend where nothing is locked, then everything is tried on a locked canary. The same is done at every start and once a day. 0 the lock is
proven; 1 it yielded, or is unproven; 2 it could not be tried.

Examples:
  guildhall anchor prove
  guildhall anchor prove --json")]
    Prove(AnchorArgs),
    /// Go on anchoring from here, because the place that did it is gone for good
    #[command(after_help = "\
The log is published from one place: the data directory that anchored it last. Servers that take turns share it. Run this only when that
place is gone and will not come back: what it signed after its last anchor is not known here, and must not be contradicted.

Examples:
  guildhall anchor adopt")]
    Adopt(AnchorArgs),
}

#[derive(Args)]
pub struct CheckArgs {
    /// Read every byte and compare it with its hash
    #[arg(long)]
    read: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
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
        AnchorCommand::Check(args) => return check(settings, args).await,
        AnchorCommand::Prove(args) => return prove(settings, args.json).await,
    };
    let ending = control::ask(settings, ask, &mut |_, _| {}).await?;
    conclude(ending, json, |value| match value {
        Value::Array(anchors) => anchors.iter().for_each(line),
        Value::Object(facts) => facts.iter().for_each(|(name, fact)| match (name.as_str(), fact) {
            ("mirrors", Value::Array(mirrors)) => mirrors.iter().for_each(mirror_line),
            ("strays", Value::Array(strays)) => {
                strays.iter().for_each(|stray| println!("{:<12} {}", "STRAY", plain(stray)));
            }
            ("survey", survey) => {
                println!("{name:<12} {}", survey_line(survey));
                survey["missing"]["first"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|one| println!("{:<12} {}", "MISSING", plain(one)));
            }
            _ => println!("{name:<12} {}", fact_line(name, fact)),
        }),
        other => println!("{other}"),
    })
}

async fn check(settings: &Settings, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let ending = control::ask(settings, Ask::AnchorCheck { read: args.read }, &mut |_, _| {}).await?;
    let clean =
        matches!(&ending, Ending::Done(survey) if survey["missing"]["count"] == 0 && survey["strays"]["count"] == 0);
    let ended = conclude(ending, args.json, |survey| {
        println!("{}", plain(&survey["place"]));
        println!("{}", survey_line(survey));
        survey_names(survey);
    })?;
    Ok(if clean { ended } else { ExitCode::from(NO) })
}

/// What a look at everything in a store came to.
fn survey_line(survey: &Value) -> String {
    let how = if survey["read"] == true { "read" } else { "there" };
    let (anchors, files) = (&survey["anchors"], &survey["files"]);
    let (missing, strays) = (&survey["missing"]["count"], &survey["strays"]["count"]);
    let at = plain(&survey["at"]);
    format!(
        "{anchors} anchors and {files} files {how}, {missing} missing, {strays} that do not belong there (looked at {at})"
    )
}

fn survey_names(survey: &Value) {
    for (what, named) in [("MISSING", &survey["missing"]), ("STRAY", &survey["strays"])] {
        let first = named["first"].as_array().into_iter().flatten();
        first.for_each(|one| println!("  {what}: {}", plain(one)));
    }
}

async fn prove(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let ending = control::ask(settings, Ask::AnchorProve, &mut |_, _| {}).await?;
    let held = matches!(&ending, Ending::Done(proof) if proof["verdict"] == "proven");
    let ended = conclude(ending, json, |proof| {
        println!("{}", plain(&proof["place"]));
        println!("{}", plain(&proof["guarantee"]));
        for control in proof["controls"].as_array().into_iter().flatten() {
            tried("control", control, "control", if control["worked"] == true { "worked" } else { "DID NOT WORK" });
        }
        for attempt in proof["attempts"].as_array().into_iter().flatten() {
            let harmed = attempt["harmed"] == true;
            let controlled = attempt["controlled"] == true;
            let ended = match (harmed, controlled) {
                (true, _) => "DID HARM",
                (false, true) => "did no harm",
                (false, false) => "did no harm, but without its control",
            };
            tried("attack", attempt, "attack", ended);
        }
        println!("the lock: {}", plain(&proof["says"]));
    })?;
    Ok(if held { ended } else { ExitCode::from(NO) })
}

/// One line for one attempt: what was tried, what was answered, what came of it.
fn tried(what: &str, tried: &Value, name: &str, ended: &str) {
    let (status, code) = (plain(&tried["status"]), plain(&tried["code"]));
    println!("  {what:<8} {:<28} {status:>3} {code:<26} {ended}", plain(&tried[name]).replace('_', " "));
}

fn line(anchor: &Value) {
    let part = |name: &str| plain(&anchor[name]);
    if anchor["missing"] == true {
        println!("{:>6} MISSING", part("seq"));
        return;
    }
    if anchor["stray"].is_string() {
        println!("{:>6} STRAY: {}", "", part("stray"));
        return;
    }
    println!(
        "{:>6} {:>12} entries  {}  {}  sha256 {}",
        part("seq"),
        part("size"),
        part("at"),
        part("key"),
        part("sha256")
    );
    if anchor["stamped"] == true {
        println!("{:>6} with a time token", "");
    }
    if let Some(until) = anchor["retain_until"].as_str() {
        println!("{:>6} locked ({}) until {until}, version {}", "", part("mode"), part("version"));
    }
    for stray in anchor["strays"].as_array().into_iter().flatten() {
        println!("{:>6} BESIDE IT: {}", "", plain(stray));
    }
}

/// How far a mirror is.
fn mirror_line(mirror: &Value) {
    let part = |name: &str| plain(&mirror[name]);
    let newest = mirror["newest"].as_u64().map_or("nothing seen there yet".to_owned(), |seq| format!("anchor {seq}"));
    let behind = mirror["behind"].as_u64().filter(|behind| *behind > 0);
    let behind = behind.map(|behind| format!(", {behind} behind")).unwrap_or_default();
    println!("{:<12} {} ({}, {}): {newest}{behind}", "mirror", part("name"), part("store"), part("place"));
    println!("{:<12} {}", "", part("guarantee"));
    if mirror["survey"].is_object() {
        println!("{:<12} {}", "", survey_line(&mirror["survey"]));
    }
    if let Some(trouble) = mirror["trouble"].as_str() {
        println!("{:<12} FAILING: {trouble}", "");
    }
}

/// What the time authority said last.
fn time_line(time: &Value) -> String {
    let newest = &time["newest"];
    let seen = match newest["seq"].as_u64() {
        Some(seq) => format!("anchor {seq} seen at {} by {}", plain(&newest["at"]), plain(&newest["by"])),
        None => "no anchor seen yet".to_owned(),
    };
    let required = if time["required"] == true { ", required" } else { "" };
    let trouble =
        time["trouble"].as_str().map(|trouble| format!("; THE NEWEST HAS NONE: {trouble}")).unwrap_or_default();
    format!("{seen} ({}{required}){trouble}", plain(&time["authority"]))
}

/// The lock and the time in their own words, the rest as it is.
fn fact_line(name: &str, fact: &Value) -> String {
    if name == "time" {
        return time_line(fact);
    }
    match (name, &fact["says"], &fact["at"]) {
        ("lock", Value::String(says), Value::String(at)) => format!("{says} (tried at {at})"),
        ("lock", Value::String(says), _) => says.clone(),
        _ => plain(fact),
    }
}

fn plain(fact: &Value) -> String {
    match fact {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
