//! `guildhall signing-key`: the keys that the log is signed with.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anchor::Layout;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::{conclude, print_json};
use crate::city::{DataDir, frozen};
use crate::config::Settings;
use crate::control::{self, Ask};

/// How long a running server may take to notice that it is frozen.
const NOTICING: Duration = Duration::from_secs(10);

#[derive(Subcommand)]
pub enum SigningKeyCommand {
    /// The keys that the log has had, and those that this server has
    #[command(after_help = "\
Examples:
  guildhall signing-key list
  guildhall signing-key list --json")]
    List(JsonArgs),
    /// Make a key that can be rotated to later
    #[command(after_help = "\
Examples:
  guildhall signing-key new

Where several servers write one city, copy the file to each data directory before you rotate to it.")]
    New(JsonArgs),
    /// Bring the next key into force beside the present one
    #[command(after_help = "\
Examples:
  guildhall signing-key rotate                       # to a new key, made in the data directory
  guildhall signing-key rotate --to 44fc97eb         # to one that this server has
  guildhall signing-key rotate --to /media/next.key  # to one in a file, which is copied into the data directory

Both keys sign what the log then records, and every checkpoint until the older one is retired; receipts are signed by the new one. Tell
witnesses and auditors the new key, then retire the old one. An external signer is named in the settings first (signing.external).")]
    Rotate(RotateArgs),
    /// End the overlap: the older key signs no more
    #[command(after_help = "\
Examples:
  guildhall signing-key retire b60ffb4b

Witnesses and auditors that know only the older key refuse what is published from then on.")]
    Retire(RetireArgs),
    /// Take no command until somebody has looked: the key may be in other hands
    #[command(after_help = "\
Examples:
  guildhall signing-key freeze

Needs neither the database nor a running server, and outlives restarts. On every server of the city. What comes next is in
docs/compromise.md. To end it, remove the file `frozen` from the data directory and start the server again.")]
    Freeze(JsonArgs),
    /// The newest checkpoint that the witnesses cosigned, and what each of them holds
    #[command(after_help = "\
Examples:
  guildhall signing-key witnessed
  guildhall signing-key witnessed --json")]
    Witnessed(JsonArgs),
}

#[derive(Args)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RotateArgs {
    /// Vkey or key id of a key that this server has, or a file with 64 hexadecimal digits [default: a new key]
    #[arg(long, value_name = "KEY|FILE")]
    to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RetireArgs {
    /// Vkey or key id of the older key
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, command: SigningKeyCommand) -> anyhow::Result<ExitCode> {
    let (ask, json, show): (Ask, bool, fn(&Value)) = match command {
        SigningKeyCommand::Freeze(args) => return freeze(settings, args.json).await,
        SigningKeyCommand::List(args) => (Ask::SigningKeys, args.json, keys),
        SigningKeyCommand::New(args) => (Ask::SigningKeyNew, args.json, |made| println!("{}", plain(&made["vkey"]))),
        SigningKeyCommand::Rotate(args) => (Ask::SigningKeyRotate { to: args.to.map(absolute) }, args.json, changed),
        SigningKeyCommand::Retire(args) => (Ask::SigningKeyRetire { key: args.key }, args.json, changed),
        SigningKeyCommand::Witnessed(args) => (Ask::Witnessed, args.json, witnessed),
    };
    let ending = control::ask(settings, ask, &mut |_, _| {}).await?;
    conclude(ending, json, show)
}

/// A running server stands in another folder than whoever asks it.
fn absolute(to: String) -> String {
    let path = Path::new(&to);
    let absolute = path.is_file().then(|| std::path::absolute(path).ok()).flatten();
    absolute.map_or(to, |path| path.display().to_string())
}

async fn freeze(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let dir = DataDir::existing(&settings.data_dir)?;
    // The file first: whatever fails after this, the next start finds it.
    let reason = frozen::freeze(&dir, &anchor::now())?;
    let deadline = Instant::now() + NOTICING;
    let server = loop {
        match control::read_only(&dir).await {
            None => break "no server runs here",
            Some(Some(reason)) if reason.starts_with(frozen::FROZEN) => {
                break "the running server takes no command any more";
            }
            Some(_) if Instant::now() > deadline => break "THE RUNNING SERVER DOES NOT FOLLOW: end its process",
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let layout = Layout::within(dir.path());
    let (note, size) = (layout.witnessed()?, |note: &str| note.lines().nth(1).map(str::to_owned));
    let told = serde_json::json!({
        "frozen": reason, "server": server, "witnessed": note.as_deref().and_then(size), "note": note,
    });
    if json {
        print_json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{reason}\n{server}");
    match told["witnessed"].as_str() {
        Some(size) => println!("the last witnessed checkpoint covers {size} entries:\n\n{}", plain(&told["note"])),
        None => println!("nobody witnessed this log: the newest anchor is the best there is (`guildhall anchor list`)"),
    }
    println!(
        "`guildhall signing-key witnessed` asks the witnesses themselves; docs/compromise.md says what comes next"
    );
    Ok(ExitCode::SUCCESS)
}

fn keys(told: &Value) {
    for key in told["keys"].as_array().into_iter().flatten() {
        let sizes = match (key["from"].as_u64(), key["until"].as_u64()) {
            (Some(from), Some(until)) => format!("sizes {from} to {}", until.saturating_sub(1)),
            (Some(from), None) => format!("from size {from} on"),
            _ => "-".to_owned(),
        };
        let name = key["vkey"].as_str().map_or_else(|| format!("sha256 {}", plain(&key["fingerprint"])), str::to_owned);
        println!("{name}\n    {}, {sizes}; {}", plain(&key["state"]), key["place"].as_str().unwrap_or("not here"));
    }
    if let Some(frozen) = told["frozen"].as_str() {
        println!("{frozen}");
    }
}

fn changed(told: &Value) {
    println!("on record at position {}; in force now:", told["position"]);
    told["in_force"].as_array().into_iter().flatten().for_each(|key| println!("  {}", plain(key)));
}

fn witnessed(told: &Value) {
    match told["size"].as_u64() {
        Some(size) => {
            println!("the last witnessed checkpoint covers {size} entries, root {}\n", plain(&told["root"]));
            println!("{}", plain(&told["note"]));
        }
        None => println!("nobody witnessed this log: the newest anchor is the best there is (`guildhall anchor list`)"),
    }
    for held in told["held"].as_array().into_iter().flatten() {
        println!("{}: {} entries, root {}", plain(&held["whence"]), held["size"], plain(&held["root"]));
        match held["contradicts"].as_str() {
            Some(why) => println!("    ANOTHER HISTORY {why}"),
            None => println!("    this log continues it"),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
