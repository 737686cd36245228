//! `guildhall keys`: API keys from the command line, as the citizen whose key is given.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use domain::Time;
use domain::ids::{CitizenId, KeyId};
use eventlog::sql::{self, Cell, Kind};
use projections::views::ViewsDb;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::output::{conclude, print_json};
use crate::city::{DataDir, ensure_private, open_log};
use crate::config::Settings;
use crate::control::{self, Ask, Secret};

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Issue a key; it is shown once
    #[command(after_help = "\
Examples:
  GUILDHALL_KEY=gh_... guildhall keys new cit_01J...
  guildhall keys new cit_01J... --key-file ./my.key --actions query.guild,query.treasury
  guildhall keys new cit_01J... --expires-at 2027-01-01T00:00:00Z --json

Everybody issues keys for themselves; a coordinator also for those of a lower tier.")]
    New(NewArgs),
    /// List keys
    #[command(after_help = "\
Examples:
  guildhall keys list
  guildhall keys list --citizen cit_01J... --json

Reads a snapshot; works beside a running server, and shows nothing secret.")]
    List(ListArgs),
    /// Revoke a key, at once and for ever
    #[command(after_help = "\
Examples:
  GUILDHALL_KEY=gh_... guildhall keys revoke key_01J...")]
    Revoke(OneArgs),
    /// Replace a key by a new one with the same scope
    #[command(after_help = "\
Examples:
  GUILDHALL_KEY=gh_... guildhall keys rotate key_01J...
  GUILDHALL_KEY=gh_... guildhall keys rotate key_01J... --overlap-seconds 3600     the old one works for another hour")]
    Rotate(RotateArgs),
    /// Let somebody in again who has no key that works; it takes no key, but this machine's secrets
    #[command(after_help = "\
Examples:
  guildhall keys recover                 # the city's first principal
  guildhall keys recover cit_01J... --json

For the day after a recovery, or when the last key of the last principal is lost. All keys that the citizen had end; the new one is shown once.
The log says that the city itself issued it.")]
    Recover(RecoverArgs),
}

#[derive(Args)]
pub struct As {
    /// File (mode 600) with the API key to act with; otherwise it is taken from GUILDHALL_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct NewArgs {
    /// Whose key it will be
    citizen: CitizenId,
    /// Actions it is limited to
    #[arg(long, value_delimiter = ',', value_name = "ACTION,...")]
    actions: Option<Vec<String>>,
    /// When it ends
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Time>,
    #[command(flatten)]
    by: As,
}

#[derive(Args)]
pub struct ListArgs {
    /// Of this citizen only
    #[arg(long)]
    citizen: Option<CitizenId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct OneArgs {
    key: KeyId,
    #[command(flatten)]
    by: As,
}

#[derive(Args)]
pub struct RecoverArgs {
    /// Whose key it will be [default: the city's first principal]
    citizen: Option<CitizenId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RotateArgs {
    key: KeyId,
    /// How long the old key goes on working, at most 604800
    #[arg(long, default_value_t = 0)]
    overlap_seconds: u32,
    #[command(flatten)]
    by: As,
}

pub async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<ExitCode> {
    let (by, action, fields) = match command {
        KeysCommand::List(args) => return list(settings, args).await,
        KeysCommand::Recover(args) => {
            let ending = control::ask(settings, Ask::KeyRecover { citizen: args.citizen }, &mut |_, _| {}).await?;
            return conclude(ending, args.json, show);
        }
        KeysCommand::New(NewArgs { citizen, actions, expires_at, by }) => {
            let mut fields = json!({ "citizen": citizen });
            if let Some(actions) = actions {
                fields["actions"] = json!(actions);
            }
            if let Some(expires_at) = expires_at {
                fields["expires_at"] = json!(expires_at);
            }
            (by, "key.issue", fields)
        }
        KeysCommand::Revoke(OneArgs { key, by }) => (by, "key.revoke", json!({ "key": key })),
        KeysCommand::Rotate(RotateArgs { key, overlap_seconds, by }) => {
            (by, "key.rotate", json!({ "old": key, "overlap_seconds": overlap_seconds }))
        }
    };
    let api_key = Secret(credential(by.key_file.as_ref())?);
    let fields: Map<String, Value> = serde_json::from_value(fields)?;
    let ask = Ask::Command { api_key, action: action.to_owned(), fields };
    let ending = control::ask(settings, ask, &mut |_, _| {}).await?;
    conclude(ending, by.json, show)
}

fn show(value: &Value) {
    match value["api_key"].as_str() {
        Some(text) => println!("{text}\n\nThis key is shown only now."),
        None => println!("{}", value["outcome"].as_str().unwrap_or("done")),
    }
}

pub(super) fn credential(file: Option<&PathBuf>) -> anyhow::Result<Zeroizing<String>> {
    let text = match file {
        Some(path) => {
            ensure_private(path)?;
            std::fs::read_to_string(path).with_context(|| path.display().to_string())?
        }
        None => std::env::var("GUILDHALL_KEY")
            .context("acting takes an API key: --key-file FILE, or GUILDHALL_KEY=gh_...")?,
    };
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

async fn list(settings: &Settings, args: ListArgs) -> anyhow::Result<ExitCode> {
    const SQL: &str = "select key, citizen, actions, issued_at, expires_at, revoked_at from keys \
                       where ($1 = '' or citizen = $1) order by citizen, key";
    let dir = DataDir::existing(&settings.data_dir)?;
    let log = open_log(settings, &dir, false).await?;
    let views = ViewsDb::open(&log, false).await?;
    let citizen = args.citizen.map(|citizen| citizen.to_string()).unwrap_or_default();
    let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int];
    let rows = sql::query(&mut views.reader().await?, SQL, &kinds, &[Cell::Text(citizen)]).await;
    let rows = rows.map_err(eventlog::Failure::from)?;
    let keys: Vec<Value> = rows.iter().map(|row| shown(row)).collect();
    if args.json {
        print_json(&Value::Array(keys))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<31} {:<31} {:<8} {:<28} actions", "key", "citizen", "status", "expires");
    for key in &keys {
        let text = |name: &str| key[name].as_str().unwrap_or("-").to_owned();
        let actions = key["actions"].as_array().map_or("all".to_owned(), |list| format!("{} actions", list.len()));
        println!(
            "{:<31} {:<31} {:<8} {:<28} {actions}",
            text("key"),
            text("citizen"),
            text("status"),
            text("expires_at")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(row: &[Cell]) -> Value {
    let text = |index: usize| match row.get(index) {
        Some(Cell::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let time = |index: usize| match row.get(index) {
        Some(Cell::Int(micros)) => Some(Time::from_micros(*micros)),
        _ => None,
    };
    let (expires_at, revoked_at) = (time(4), time(5));
    let status = match (revoked_at, expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= crate::http::now() => "expired",
        _ => "living",
    };
    let actions = text(2).and_then(|actions| serde_json::from_str::<Value>(&actions).ok());
    json!({
        "key": text(0), "citizen": text(1), "status": status, "actions": actions,
        "issued_at": time(3), "expires_at": expires_at, "revoked_at": revoked_at,
    })
}
