//! `guildhall replay`: every table made again from the log, or compared with it.

use std::process::ExitCode;

use clap::Args;
use projections::replay::{Found, check};
use projections::views::ViewsDb;
use serde_json::json;

use super::NO;
use super::output::{Bar, conclude, print_json};
use crate::city::{DataDir, open_log};
use crate::config::Settings;
use crate::control::{self, Ask};

/// Differences printed; all are counted.
const SHOWN: u64 = 100;

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall replay --check         # does every row follow from the log? changes nothing
  guildhall replay --check --json  # the same, for scripts
  guildhall replay                 # make all tables again and swap them in; the city goes on

Exit codes of --check: 0 every row is as the log says, 1 there are differences, 2 could not check.")]
pub struct ReplayArgs {
    /// Compare only
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    if args.check { compare(settings, args.json).await } else { rebuild(settings, args.json).await }
}

async fn rebuild(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let bar = Bar::new("replay", "entries");
    let ending = control::ask(settings, Ask::Rebuild, &mut |done, of| bar.at(done, of)).await;
    bar.end();
    conclude(ending?, json, |value| {
        println!("guards made again from {} entries, views from {}", value["guards"], value["views"]);
    })
}

async fn compare(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let dir = DataDir::existing(&settings.data_dir)?;
    let log = open_log(settings, &dir, false).await?;
    let views = ViewsDb::open(&log, false).await?;
    let bar = Bar::new("check", "entries");
    let mut differences = Vec::new();
    let mut count = 0_u64;
    let checked = check(&log, &views, &mut |done, of| bar.at(done, of), &mut |difference| {
        count += 1;
        if count > SHOWN {
            return;
        }
        if !as_json {
            bar.say(&difference.to_string());
        }
        let found = match &difference.found {
            Found::Missing => "missing",
            Found::Unexpected => "unexpected",
            Found::Columns(_) => "different",
        };
        differences.push(json!({ "table": difference.table, "key": difference.key, "found": found }));
    })
    .await;
    bar.end();
    let checked = checked?;
    if as_json {
        print_json(&json!({
            "guards_at": checked.guards, "views_at": checked.views, "rows": checked.rows,
            "differences": checked.differences, "first": differences,
        }))?;
    } else if checked.differences == 0 {
        println!(
            "{} rows are exactly what the log says (guards at {} entries, views at {})",
            checked.rows, checked.guards, checked.views
        );
    } else {
        println!(
            "{} differences in {} rows; `guildhall replay` makes the tables again",
            checked.differences, checked.rows
        );
    }
    Ok(ExitCode::from(if checked.differences == 0 { 0 } else { NO }))
}
