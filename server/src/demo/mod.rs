//! `guildhall demo`: a real treasury of four years, row by row through the HTTP API, and then everything that proves it.
//!
//! - `rows` the file and what each row means, `cast` who plays, `play` the play, `client` the HTTP caller
//! - `proof` what tables, replay, anchor and auditor say afterwards, `audit` the second program, `forgery` the forger
//! - `chart` the picture, `report` the words

mod audit;
mod cast;
mod chart;
mod client;
mod forgery;
mod play;
mod proof;
mod report;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Settings;
use crate::serve::Running;
use cast::{CURRENCY, Cast};
use client::Client;
use play::Played;
use proof::Files;
use report::Report;
use rows::{Cents, OPENING, Row};

/// The data is public, and what the demo says must be repeatable: checkpoints only when they are asked for.
const QUIET: u64 = 3600;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall demo                       a city in a temporary folder, gone afterwards
  guildhall demo --keep ./demo-city    leaves the city running, to look at
  guildhall demo --json                one document, for scripts

Plays 4,433 rows of a real open-source treasury (2020 to 2023) through the HTTP API, compares the balance after every one, makes all
tables again and compares them, anchors, exports, has the auditor check the export, then forges one amount in a copy of the
database and has the auditor find it.

Exit codes: 0 every check held, 1 one did not, 2 it could not be played.")]
pub struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Use this folder, which must not exist yet, and leave the city running
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The auditor's program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    auditor: Option<PathBuf>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let auditor = audit::find(args.auditor)?;
    let temporary = tempfile::tempdir().context("making a temporary folder")?;
    let work = match &args.keep {
        Some(dir) => {
            ensure!(!dir.exists(), "{} is there already, and a demo begins with an empty city", dir.display());
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            dir.canonicalize()?
        }
        None => temporary.path().to_owned(),
    };
    let rows = rows::read()?;
    let mut report = Report::new(args.json);
    let mut running = Running::start(settings(&work)).await?;
    let played = demonstrate(&mut running, &auditor, &work, &rows, &mut report).await;
    let held = match played {
        Ok(cast) => {
            let held = report.conclude();
            if args.keep.is_some() {
                stay(&running, &cast, &work).await?;
            }
            held
        }
        Err(error) => {
            running.stop().await;
            return Err(error);
        }
    };
    running.stop().await;
    Ok(ExitCode::from(u8::from(!held)))
}

fn settings(work: &Path) -> Settings {
    let mut settings = Settings::in_dir(&work.join("city"));
    settings.anchor.checkpoint_seconds = QUIET;
    settings.anchor.anchor_seconds = QUIET;
    // One caller plays everybody.
    settings.limits.requests_per_second = 1_000_000;
    settings.limits.burst = 1_000_000;
    settings
}

async fn demonstrate(
    running: &mut Running,
    auditor: &Path,
    work: &Path,
    rows: &[Row],
    report: &mut Report,
) -> anyhow::Result<Cast> {
    let principal = running.take_first_key()?.context("a new city has a first key")?;
    let client = Client::new(format!("http://{}", running.address))?;
    let files = files(running, work)?;
    introduce(rows, &client, report);

    let first = rows.first().context("the file has rows")?;
    let cast = cast::assemble(&client, &principal, first).await?;
    let bar = bar(rows.len(), report);
    let started = Instant::now();
    let played = play::play(&client, &cast, rows, &bar).await?;
    let took = started.elapsed();
    bar.finish_and_clear();
    summarise(rows, &cast, &played, took, report);

    proof::tables(&client, &cast, rows, &played, report).await?;
    proof::replay(&files, report)?;
    let export = proof::published(&files, auditor, report)?;
    proof::forged(&files, auditor, &export, &cast.guild, report).await?;
    Ok(cast)
}

/// Writes down the log's public key, as an auditor would have it.
fn files(running: &Running, work: &Path) -> anyhow::Result<Files> {
    let policy = work.join("city.policy");
    let vkey = running.city.keys.newest().context("a city has a key")?.vkey();
    std::fs::write(&policy, format!("log {vkey}\nquorum none\n"))?;
    let origin = running.city.log.origin().to_owned();
    Ok(Files { data: work.join("city"), work: work.to_owned(), origin, policy })
}

fn introduce(rows: &[Row], client: &Client, report: &mut Report) {
    let census = rows::census(rows);
    report.say("The treasury of the Prettier project, 2020 to 2023, as its fiscal host booked it:");
    for (combination, count) in &census.combinations {
        report.say(&format!("  {count:>5}  {combination}"));
    }
    report.say(&format!(
        "  {} refunds name a transaction of the file, {} name none; all keep their references.",
        census.refunds_of_known, census.refunds_of_unknown
    ));
    report.say(&format!("A new city answers at {}. Every row now goes through its HTTP API.\n", client.base()));
    report.note("rows", rows.len());
    report.note("combinations", serde_json::json!(census.combinations));
    report.note("refunds_of_unknown", census.refunds_of_unknown);
}

fn summarise(rows: &[Row], cast: &Cast, played: &Played, took: Duration, report: &mut Report) {
    let points: Vec<(i64, Cents)> =
        rows.iter().zip(&played.marks).map(|(row, mark)| (seconds(&row.at), mark.balance)).collect();
    let years = (2020..=2023).map(|year| (seconds(&format!("{year}-01-01T00:00:00Z")), year.to_string()));
    let years: Vec<_> = years.map(|(at, label)| (at.max(points[0].0), label)).collect();
    report.say(&chart::draw(&points, &years));
    let last = points.last().map_or(Cents::ZERO, |point| point.1);
    report.say(&format!("  {:<34} {OPENING:>12} {CURRENCY}", "opening balance"));
    report.say(&format!("  {:<34} {last:>12} {CURRENCY}", "prettier, after the last row"));
    report.say(&format!("  {:<34} {:>12} {CURRENCY}\n", "its fiscal host, from fees", played.host));
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let commands = played.commands;
    report.say(&format!(
        "  {commands} commands, {} entries and {} ratified proposals in {}.{} s: {} commands/s, one at a time over HTTP, each durable.\n",
        played.entries,
        played.proposals,
        millis / 1000,
        millis % 1000 / 100,
        commands * 1000 / millis,
    ));
    report.note("commands", commands + cast.commands);
    report.note("entries", played.entries);
    report.note("proposals", played.proposals);
    report.note("milliseconds", millis);
    report.note("final_balance", last.to_string());
}

/// Keeps the city until somebody presses Ctrl-C.
async fn stay(running: &Running, cast: &Cast, work: &Path) -> anyhow::Result<()> {
    eprintln!("\nThe city goes on at http://{} with its data in {}.", running.address, work.display());
    eprintln!("  the first principal's key  {}", cast.principal);
    eprintln!("  the maintainer's key       {}", cast.maintainer.key);
    eprintln!(
        "  curl -H 'Authorization: Bearer {}' http://{}/v1/guilds/prettier",
        cast.maintainer.key, running.address
    );
    eprintln!("Ctrl-C ends it; `guildhall serve --data-dir {}` goes on with it.", work.join("city").display());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn bar(rows: usize, report: &Report) -> ProgressBar {
    if report.is_json() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len} rows, {per_sec}, {eta} left");
    let bar = ProgressBar::new(rows as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Seconds since 1970; the file's times were parsed by the server, so they are times.
fn seconds(at: &str) -> i64 {
    at.parse::<domain::Time>().map(|time| time.micros() / 1_000_000).unwrap_or_default()
}
