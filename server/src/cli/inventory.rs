//! `guildhall inventory`: what a holder can do, as a table.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use domain::Code;
use domain::grant::check::Standing;
use domain::party::{HolderId, HolderRef};
use domain::time::Time;
use eventlog::Log;
use projections::views::ViewsDb;
use queries::PageRequest;
use queries::inventory::{self, Effective, Filter, Grant};

use super::output::{conclude, print_json};
use crate::city::{DataDir, guild_of, open_log};
use crate::config::Settings;
use crate::control::Ending;
use crate::http::now;
use crate::http::problem::Problem;

#[derive(Subcommand)]
pub enum InventoryCommand {
    /// What a citizen, guild or squad can do
    #[command(after_help = "\
Examples:
  guildhall inventory show cit_01J...
  guildhall inventory show smiths --ended      # a guild, by its slug or its id; also what ended, for thirty days
  guildhall inventory show cit_01J... --json

Status is withheld where somebody said of what had ended that it is not to come back: no import gives it again, until
somebody with its source's authority does.")]
    Show(ShowArgs),
}

#[derive(Args)]
pub struct ShowArgs {
    /// Whose
    #[arg(value_name = "HOLDER")]
    holder: HolderRef,
    /// Also what ended
    #[arg(long)]
    ended: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, command: InventoryCommand) -> anyhow::Result<ExitCode> {
    let InventoryCommand::Show(args) = command;
    let dir = DataDir::existing(&settings.data_dir)?;
    let log = open_log(settings, &dir, false).await?;
    let Some(holder) = existing(&log, &args.holder).await? else {
        let problem = Problem::missing(Code::HolderNotFound, &args.holder);
        return conclude(Ending::Refused(serde_json::to_value(problem)?), args.json, |_| ());
    };
    let views = ViewsDb::open(&log, false).await?;
    let mut conn = views.reader().await?;
    let filter = Filter { ended: args.ended, ..Filter::default() };
    let mut grants: Vec<Effective> = Vec::new();
    let mut after = None;
    loop {
        let request = PageRequest::new(Some(queries::MAX_LIMIT), after);
        let page = inventory::of_holder(&mut conn, holder, &filter, &request).await?;
        let page = inventory::effective(&mut conn, page, now()).await?;
        grants.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if args.json {
        print_json(&serde_json::to_value(&grants)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if grants.is_empty() {
        println!("{holder} has nothing{}", if args.ended { "" } else { " (--ended shows what ended)" });
        return Ok(ExitCode::SUCCESS);
    }
    grants
        .sort_by(|a, b| (&a.grant.kind, a.grant.reference.as_str()).cmp(&(&b.grant.kind, b.grant.reference.as_str())));
    let longest = grants.iter().map(|one| one.grant.reference.as_str().chars().count()).max().unwrap_or(0).clamp(3, 48);
    println!(
        "{:<16} {:<longest$} {:<9} {:<26} {:<9} {:<26} may",
        "kind", "ref", "status", "source", "verified", "expires"
    );
    for Effective { grant, effective } in &grants {
        println!(
            "{:<16} {:<longest$} {:<9} {:<26} {:<9} {:<26} {}",
            grant.kind,
            shortened(grant.reference.as_str(), longest),
            if grant.withheld { "withheld" } else { &grant.status },
            shortened(&grant.source.to_string(), 26),
            verified(grant),
            expires_at(grant, effective.as_ref()).map_or("-".to_owned(), |end| shortened(&end.to_string(), 20)),
            may(grant, effective.as_ref())
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Whoever is meant, if they are there. There are no acts of a squad's own: whether it is there shows in what it has.
async fn existing(log: &Log, holder: &HolderRef) -> anyhow::Result<Option<HolderId>> {
    let id = match holder {
        HolderRef::Id(id) => *id,
        HolderRef::Guild(slug) => return Ok(guild_of(log, slug).await?.map(HolderId::Guild)),
    };
    let is_there = matches!(id, HolderId::Squad(_)) || !log.read_stream(&id.to_string(), 0, 1).await?.is_empty();
    Ok(is_there.then_some(id))
}

fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() {
        length if length <= most => text.to_owned(),
        _ => format!("{}\u{2026}", text.chars().take(most.saturating_sub(1)).collect::<String>()),
    }
}

/// How long ago its source said so.
fn verified(grant: &Grant) -> String {
    let Some(at) = grant.verified_at else { return "-".to_owned() };
    let minutes = (now().micros() - at.micros()).max(0) / 60_000_000;
    match minutes {
        0..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

/// Its own end, or that of a grant above it.
fn expires_at(grant: &Grant, effective: Option<&Standing>) -> Option<Time> {
    effective.map_or(grant.expires_at, |standing| standing.expires_at)
}

/// What can be done with it now, with all that it hangs on; and why nothing can. With what ended, nothing.
fn may(grant: &Grant, effective: Option<&Standing>) -> String {
    if grant.ended_at.is_some() {
        return "-".to_owned();
    }
    let mut parts = Vec::new();
    if let Some(because) = effective.and_then(|standing| standing.because) {
        let named = serde_json::to_value(because).unwrap_or_default();
        let above = effective.and_then(|standing| standing.grant).filter(|no| *no != grant.grant_id);
        let at = above.map_or(String::new(), |above| format!(" at {above}"));
        parts.push(format!("nothing now: {}{at}", named.as_str().unwrap_or_default().replace('_', " ")));
    }
    let scope = effective.map_or(&grant.scope, |standing| &standing.scope);
    match &scope.allow_actions {
        None => parts.push("all".to_owned()),
        Some(actions) if actions.is_empty() => parts.push("nothing".to_owned()),
        Some(actions) => parts.push(actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    }
    if scope.read_only {
        parts.push("reading only".to_owned());
    }
    parts.extend(scope.rate_limit.map(|rate| rate.to_string()));
    if grant.delegable {
        parts.push("hands on".to_owned());
    }
    if let Some(parent) = grant.parent_holder {
        parts.push(format!("from {parent}"));
    }
    parts.join("; ")
}
