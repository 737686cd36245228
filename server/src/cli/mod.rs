//! The command line: what can be run, taught by examples, and how each run ends.
//!
//! Exit codes: 0 done; 1 the answer is no (a refusal, a difference, a finding); 2 it could not be done, or was not understood.

mod anchor;
mod completions;
mod doctor;
mod export;
mod import;
mod inventory;
mod keys;
mod migrate;
mod output;
mod reconcile;
mod recover;
mod replay;
mod reputation;
mod signing_key;
mod witness;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use figment::providers::Serialized;
use serde::Serialize;

use crate::config::{Flags, LogFormat, Settings};
use crate::{demo, serve};

/// The answer is no.
const NO: u8 = 1;
/// It could not be done.
const COULD_NOT: u8 = 2;

const OVERVIEW: &str = "\
Examples:
  guildhall serve                  # SQLite in ./guildhall-data, http://127.0.0.1:7117
  guildhall demo                   # a treasury played through the API, replayed, anchored, audited
  guildhall doctor                 # what is wrong, and what to do about it
  guildhall replay --check         # compare every table with the log
  guildhall export --out ./export  # what an auditor needs

Settings come from built-in defaults, ./guildhall.toml (or --config FILE), the environment and flags; later wins.
In the environment a setting is GUILDHALL_ and its name, with __ for a dot: GUILDHALL_LISTEN, GUILDHALL_LIMITS__PAGE.
Besides the flags there are: listen, log.format, log.filter, limits.body_bytes, limits.json_depth, limits.page,
limits.request_seconds, limits.wait_seconds, limits.requests_per_second, limits.burst, limits.strangers_per_second,
limits.connections, limits.feeds, limits.queue, anchor.checkpoint_seconds, anchor.anchor_seconds, anchor.prove_seconds,
anchor.heartbeat_seconds, anchor.kind (directory, s3-object-lock, r2-bucket-lock), anchor.directory, anchor.immutable, anchor.retention_years, anchor.margin_days,
anchor.s3.endpoint, anchor.s3.bucket, anchor.s3.region, anchor.s3.prefix,
anchor.time.url (a time-stamping authority), anchor.time.roots (PEM), anchor.time.required, anchor.time.deadline_ms,
anchor.mirrors (stores of other owners: name, kind, directory, s3, and key_id_from, secret_from, which name two variables),
witness.policy (a policy file with the witnesses that are asked to cosign), witness.deadline_ms,
signing.external (programs that sign: a list of command and vkey),
and the mapping files of the sources whose grants the server verifies: sources.tokens, sources.plugins, sources.workflows,
sources.skills, sources.connections.
GUILDHALL_MASTER_KEY holds the master key, and GUILDHALL_SIGNING_KEY the signing key, when they shall not lie in the data directory. A bucket is written with GUILDHALL_WORM_KEY_ID and
GUILDHALL_WORM_SECRET (or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), a credential that can only put and read; its lock
is attacked with GUILDHALL_PROVER_KEY_ID and GUILDHALL_PROVER_SECRET, one that may do anything to it. Variables that begin with
GUILDHALL_MIRROR_ are free for the credentials of mirrors.

Exit codes: 0 done; 1 the answer is no; 2 it could not be done.";

/// The system of record of a city of humans and AI agents.
#[derive(Parser)]
#[command(name = "guildhall", version, after_help = OVERVIEW, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Play a real treasury through the HTTP API, then replay, anchor, audit, and catch a forgery
    Demo(demo::Args),
    /// Make every table again from the log, or compare with --check
    Replay(replay::ReplayArgs),
    /// Pin the log where we cannot change it
    #[command(subcommand)]
    Anchor(anchor::AnchorCommand),
    /// Cosign the checkpoints of logs, so that nobody can be shown another history
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// The keys that the log is signed with: rotate, retire, freeze
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// What somebody can do
    #[command(subcommand)]
    Inventory(inventory::InventoryCommand),
    /// What was attested about somebody
    #[command(subcommand)]
    Reputation(reputation::ReputationCommand),
    /// Bring what a source lists into the inventory
    Import(import::ImportArgs),
    /// Ask sources now whether what they told is still so
    Reconcile(reconcile::ReconcileArgs),
    /// Write what an auditor needs: policy, checkpoint, tiles, packs, anchors
    Export(export::ExportArgs),
    /// Make the log again from what was kept of it: roll a database forward, or go on under a new name
    Recover(recover::RecoverArgs),
    /// Create or update the log's schemas, and on PostgreSQL the login role
    Migrate(migrate::MigrateArgs),
    /// Check settings, files, database, clock and disk, and say what to do
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

#[derive(Args, Serialize)]
#[command(after_help = "\
Examples:
  guildhall serve
  guildhall serve --listen 0.0.0.0:7117 --data-dir /var/lib/guildhall
  guildhall serve --database-url postgres://guildhall@db/city
  GUILDHALL_LOG__FILTER=debug guildhall serve

The first start founds the city and prints its first principal's key, once. SIGINT and SIGTERM end the server in order.")]
struct ServeArgs {
    /// Address to listen on [default: 127.0.0.1:7117]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip)]
    log_format: Option<LogFormat>,
}

/// Parses, runs, and turns every end into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(cli));
            // A file that hangs does not keep the process.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(error.into()),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(COULD_NOT)
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { flags, command } = cli;
    let settings = || Settings::load(&flags);
    match command {
        Command::Serve(args) => {
            let format = args.log_format;
            let mut settings = Settings::load_with(&flags, Serialized::defaults(args))?;
            settings.log.format = format.unwrap_or(settings.log.format);
            serve::run(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(args) => demo::run(args).await,
        Command::Replay(args) => replay::run(&settings()?, args).await,
        Command::Anchor(command) => anchor::run(&settings()?, command).await,
        Command::Witness(command) => witness::run(command).await,
        Command::SigningKey(command) => signing_key::run(&settings()?, command).await,
        Command::Keys(command) => keys::run(&settings()?, command).await,
        Command::Import(args) => import::run(&settings()?, args).await,
        Command::Inventory(command) => inventory::run(&settings()?, command).await,
        Command::Reputation(command) => reputation::run(&settings()?, command).await,
        Command::Reconcile(args) => reconcile::run(&settings()?, args).await,
        Command::Export(args) => export::run(&settings()?, args).await,
        Command::Recover(args) => recover::run(&settings()?, args).await,
        Command::Migrate(args) => migrate::run(&settings()?, args).await,
        Command::Doctor(args) => doctor::run(settings(), args).await,
        Command::Completions(args) => completions::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_is_named_in_the_help() {
        let defaults = serde_json::to_value(crate::config::Settings::default()).expect("settings are data");
        let help = Cli::command().render_long_help().to_string();
        for (name, value) in defaults.as_object().expect("settings have names") {
            let inner = value.as_object().map(|inner| inner.keys().map(|key| format!("{name}.{key}")).collect());
            for name in inner.unwrap_or_else(|| vec![name.clone()]) {
                assert!(help.contains(&name) || help.contains(&name.replace('_', "-")), "{name} is not in the help");
            }
        }
    }

    #[test]
    fn every_subcommand_teaches_by_examples() {
        fn walk(command: &clap::Command) {
            let group = command.has_subcommands();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(group || help.contains("Examples:"), "{} has no examples", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
