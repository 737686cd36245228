//! `guildhall import`: what a source lists comes into the inventory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use domain::grant::kind::Source;
use identity::Pepper;
use sources::{KeyedHash, Map};

use super::NO;
use super::keys::credential;
use super::output::{Bar, print_json};
use crate::city::{DataDir, unverified};
use crate::config::Settings;
use crate::control::Secret;
use crate::importing::desk::ImportDesk;
use crate::importing::{self, Options, Report};

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall import d1:tokens --map tokens.toml --dry-run    # the difference it would make
  guildhall import d1:tokens --map tokens.toml              # as the service whose key GUILDHALL_KEY is
  guildhall import ghl:workflows --map workflows.toml --json

A mapping file, for d1:tokens, plugin:yaml and fs:skills:
  paths = ['tokens.json', 'edge.sqlite']      # all of the domain: what none of them lists is gone
  default = 'smiths'                          # whoever has what no name is mapped for: a guild by its slug, anybody by their id
  [holders]
  loom = 'cit_01J...'                         # an agent, a plugin, a workflow's id, a skill's folder, a profile
  'workspace:gaf' = 'gld_01J...'              # of edge.sqlite; likewise 'owner:...' of plugins, 'author:...' of skills

Without a name in the map, a plugin's tools are the guild's whose slug is its `owner`, and a profile that is the id of a citizen is theirs; if
that citizen is not here it is nobody's, whatever the default is.

For ghl:workflows: url, location, credential_env; allow_private = true for a service inside your network; single_page = true for one that
gives everything at once and knows of no pages; may_be_empty = true for a location that may have no workflow. A page that repeats is otherwise
a page that is missing, and a list with nothing in it is one that could not be read.
For pg:profile_tool_connections: database_url_env, and table if it has another name.

Services, the owner of the source and the principals of the city import, from tier coordinator; whoever else asks is refused before anything
is read, in a dry run as well. A principal makes somebody a source's owner (city.assign_source, POST /v1/capability-sources). What an import
finds out is recorded by the city on behalf of whoever imports.

A second run adds nothing. Terms that got narrower at the source get narrower here, never wider. What somebody revoked here is withheld. Of
several rows for one capability the first counts, and the others are listed; but one that ends it ends it, wherever it stands. Of two skills
of one name, and of two tokens under one id, neither counts. A row that is
wrong costs itself: its capability is neither confirmed nor gone, and if nobody can say which one it is, nothing is gone. What it says of an
end counts even so: what was revoked, switched off or is over ends, whatever else is wrong with its row. A source that is not listed within
sources.listing_seconds (600) is not listed to its end. When more than a fifth of a domain is missing, the source is not believed.
--confirm-loss ends what is not listed all the same. Grants of sources that the server has no mapping file for (sources.skills and so on)
are named at the end: nobody verifies them, and they go stale. Ends with 0 when all is well, 1 when rows or holders need somebody to look.")]
pub struct ImportArgs {
    /// Which source
    #[arg(value_enum)]
    domain: Domain,
    /// The mapping file
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Print the difference, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take for gone whatever the source does not list, however much that is
    #[arg(long)]
    confirm_loss: bool,
    /// File (mode 600) with the API key of whoever imports; otherwise it is taken from GUILDHALL_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Domain {
    #[value(name = "d1:tokens")]
    Tokens,
    #[value(name = "plugin:yaml")]
    Plugins,
    #[value(name = "ghl:workflows")]
    Workflows,
    #[value(name = "fs:skills")]
    Skills,
    #[value(name = "pg:profile_tool_connections")]
    Connections,
}

impl From<Domain> for Source {
    fn from(domain: Domain) -> Self {
        match domain {
            Domain::Tokens => Self::D1Tokens,
            Domain::Plugins => Self::PluginYaml,
            Domain::Workflows => Self::GhlWorkflows,
            Domain::Skills => Self::FsSkills,
            Domain::Connections => Self::PgConnections,
        }
    }
}

pub async fn run(settings: &Settings, args: ImportArgs) -> anyhow::Result<ExitCode> {
    let map = Map::read(args.domain.into(), &args.map)?;
    let dir = DataDir::existing(&settings.data_dir)?;
    let keyed = keyed_hash(&dir)?;
    let mut desk = ImportDesk::open(settings, Secret(credential(args.key_file.as_ref())?)).await?;
    let options = Options {
        dry_run: args.dry_run,
        confirm_loss: args.confirm_loss,
        patience: settings.sources.patience(),
        scratch: settings.data_dir.clone(),
    };
    let bar = Bar::new("import", "records");
    let report = importing::run(map, keyed, &mut desk, &options, &|done, met| bar.at(done, met)).await;
    bar.end();
    let unverified = desk.unverified().await;
    desk.close().await;
    let mut report = report?;
    report.unverified = unverified?;
    if args.json {
        print_json(&serde_json::to_value(&report)?)?;
    } else {
        show(&report);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// The city's own: what it makes of a token is the same in every import, and tells nothing about the token.
pub fn keyed_hash(dir: &DataDir) -> anyhow::Result<KeyedHash> {
    let pepper = Pepper::new(*dir.secret("pepper.key", false).context("the key that tokens are hashed with")?);
    Ok(Arc::new(move |bytes: &[u8]| pepper.keyed_hash(bytes).to_string()))
}

fn show(report: &Report) {
    for change in &report.changes {
        let sign = match change.what {
            "added" => '+',
            "gone" | "narrowed" | "revoked" | "expired" => '-',
            _ => '!',
        };
        let because = change.because.as_ref().map(|because| format!(" ({because})")).unwrap_or_default();
        println!("{sign} {:<9} {} {} {}{because}", change.what, change.holder, change.kind, change.reference);
    }
    for row in &report.rows {
        println!("? {}: {}", row.place, row.what);
    }
    if report.left_out > 0 {
        println!("! {} further lines are not shown; the numbers count them", report.left_out);
    }
    if let Some(unlisted) = &report.unlisted {
        println!("! the source could not be listed to its end: {unlisted}");
    }
    if let Some(lost) = report.lost {
        println!("! the source lists {lost} of the living grants no more: nothing was ended; --confirm-loss ends them");
    }
    for (source, count) in &report.unverified {
        println!("! {}", unverified::told(source, *count));
    }
    let numbers = serde_json::to_value(report).unwrap_or_default();
    let number = |name: &str| numbers[name].as_u64().unwrap_or_default();
    let parts = [
        "listed",
        "added",
        "confirmed",
        "narrowed",
        "ended",
        "gone",
        "unknown",
        "overtaken",
        "withheld",
        "ignored",
        "unmapped",
        "refused",
        "wrong",
    ];
    let parts: Vec<String> = parts.iter().map(|name| format!("{} {name}", number(name))).collect();
    let dry = if report.dry_run { " (dry run: nothing changed)" } else { "" };
    println!("{}{dry}", parts.join(", "));
}
