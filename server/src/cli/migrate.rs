//! `guildhall migrate`: schemas and tables, and on PostgreSQL the login role that owns nothing.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use eventlog::Login;
use zeroize::Zeroizing;

use crate::city::DataDir;
use crate::config::Settings;

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall migrate --owner-url postgres://owner@db/city --login-role guildhall
  guildhall migrate --owner-url 'postgres:///city?host=/run/postgresql&user=owner' --origin city.example/log
  guildhall migrate    # SQLite: creates or updates the log in the data directory; `serve` does too

The server logs in as the login role, which can append to the log and never change it, and refuses to run as the owner.
A new role gets the password in GUILDHALL_LOGIN_PASSWORD, or one that is made and shown once. Running it again changes nothing: a role
that is there keeps its password, unless GUILDHALL_LOGIN_PASSWORD or --new-password gives it another.")]
pub struct MigrateArgs {
    /// The owner of the schemas: postgres://owner@host/database
    #[arg(long, value_name = "URL")]
    owner_url: Option<String>,
    /// The role the server logs in with
    #[arg(long, default_value = "guildhall", value_name = "ROLE")]
    login_role: String,
    /// Give a role that is there a new password: servers that use the old one cannot log in any more
    #[arg(long)]
    new_password: bool,
    /// Make no login role: only the owner can then use the log, with --dev
    #[arg(long)]
    no_login_role: bool,
}

pub async fn run(settings: &Settings, args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let dir = DataDir::create(&settings.data_dir)?;
    let Some(owner_url) = args.owner_url else {
        if settings.database_url.is_some() {
            bail!("on PostgreSQL this takes the owner: --owner-url postgres://owner@host/database");
        }
        let origin = dir.origin(settings)?;
        eventlog::init_sqlite(dir.path(), &origin, &projections::ddl::SQLITE).await?;
        println!("the log {origin} in {} is up to date", dir.path().display());
        return Ok(ExitCode::SUCCESS);
    };
    // Here the log gets its name, so a new one may be drawn.
    let origin = dir.origin(&Settings { database_url: None, ..settings.clone() })?;
    let (password, made) = password()?;
    let replace = args.new_password || !made;
    let login = (!args.no_login_role).then(|| Login { role: &args.login_role, password: &password, replace });
    let given = eventlog::migrate_postgres(&owner_url, &origin, login, &projections::ddl::POSTGRES).await?;
    println!("the log {origin} is up to date");
    if login.is_some() {
        println!("the server logs in as {} and owns nothing", args.login_role);
        if !given {
            println!("it keeps the password it has, if it has one; --new-password gives it another");
        } else if made {
            println!(
                "\n    password: {}\n\nIt is shown only now; put it into ~/.pgpass or the database URL.",
                password.as_str()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As given, or new; and whether it is new.
fn password() -> anyhow::Result<(Zeroizing<String>, bool)> {
    if let Ok(given) = std::env::var("GUILDHALL_LOGIN_PASSWORD") {
        return Ok((Zeroizing::new(given), false));
    }
    let mut bytes = Zeroizing::new([0_u8; 24]);
    getrandom::fill(bytes.as_mut_slice()).context("drawing a password")?;
    Ok((Zeroizing::new(chain::hex::encode(bytes.as_slice())), true))
}
