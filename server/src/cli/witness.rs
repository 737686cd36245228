//! `guildhall witness`: cosigning the checkpoints of logs, this city's or others'.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::Settings;
use crate::{logging, witness};

/// The key's file in the witness's folder, when no other is named.
const KEY: &str = "witness.key";

#[derive(Subcommand)]
pub enum WitnessCommand {
    /// Make a witness's key and print its public half
    New(NewArgs),
    /// Run a witness until it is told to stop
    Run(RunArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall witness new --name witness.example/w1 --dir /var/lib/witness

The line that it prints goes into the policies of those who trust this witness:
  witness w1 <the line> https://witness.example")]
pub struct NewArgs {
    /// Name of the key: by convention a domain and a path that you own
    #[arg(long)]
    name: String,
    /// Folder of the witness
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where the key goes [default: witness.key in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall witness run --policy logs.policy --dir /var/lib/witness --listen 0.0.0.0:7118

The policy's log lines say whose checkpoints are cosigned; `GET /policy` of a city is one that serves. The folder holds what was
cosigned last: never restore it from an older copy. Without it the key cosigns no more. Of a log whose line was taken out nothing is cosigned any
more, and what was is still shown.")]
pub struct RunArgs {
    /// Policy file whose logs are watched
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Folder of the witness's memory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The key [default: witness.key in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7118")]
    listen: SocketAddr,
}

pub async fn run(command: WitnessCommand) -> anyhow::Result<ExitCode> {
    match command {
        WitnessCommand::New(NewArgs { name, dir, key }) => {
            let key = key.unwrap_or_else(|| dir.join(KEY));
            println!("{}", anchor::witness::new_key(&key, &name)?);
        }
        WitnessCommand::Run(RunArgs { policy, dir, key, listen }) => {
            logging::start(&Settings::default().log)?;
            let key = key.unwrap_or_else(|| dir.join(KEY));
            witness::run(witness::Setup { policy, dir, key, listen }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
