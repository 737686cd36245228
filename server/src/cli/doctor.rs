//! `guildhall doctor`: what is wrong with this installation, and what to do about it. Changes nothing.

mod published;

use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use eventlog::sql::{self, Cell, Kind};
use eventlog::vault::Vault;
use eventlog::{Failure, Head, Log};
use identity::Pepper;
use projections::views::ViewsDb;
use queries::inventory::Ailing;
use serde::Serialize;
use serde_json::Value;

use super::NO;
use super::output::print_json;
use crate::city::{self, DataDir, MASTER_KEY_VARIABLE, open_log, unverified};
use crate::config::Settings;
use crate::control;

/// Less free space than this is worth a warning: 1 GiB.
const LITTLE_SPACE: u64 = 1 << 30;
/// Less than this, and the next command may not find room: 16 MiB.
const NO_SPACE: u64 = 16 << 20;
/// What can be done about a clock.
const CLOCK: &str = "set this machine's clock; if it is right, it was wrong before: entries never go back in time, so commands wait until it has caught up";
/// As the log itself refuses it.
const MAX_SKEW_MICROS: i64 = 2_000_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall doctor
  guildhall doctor --database-url postgres://guildhall@db/city
  guildhall doctor --json

Works beside a running server. Exit codes: 0 nothing is wrong (there may be warnings), 1 something is.")]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Wrong,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, says: impl Display) {
        self.0.push(Finding { what, level: Level::Ok, says: says.to_string(), advice: None });
    }

    fn warn(&mut self, what: &'static str, says: impl Display, advice: &'static str) {
        self.0.push(Finding { what, level: Level::Warning, says: says.to_string(), advice: Some(advice) });
    }

    fn wrong(&mut self, what: &'static str, says: impl Display, advice: &'static str) {
        self.0.push(Finding { what, level: Level::Wrong, says: says.to_string(), advice: Some(advice) });
    }
}

pub async fn run(settings: anyhow::Result<Settings>, args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    findings.ok("version", format!("guildhall {}", env!("CARGO_PKG_VERSION")));
    match settings {
        Err(error) => findings.wrong(
            "settings",
            error,
            "correct the setting that is named; `guildhall --help` lists where settings come from",
        ),
        Ok(settings) => examine(&settings, &mut findings).await,
    }
    let Findings(findings) = findings;
    if args.json {
        print_json(&serde_json::to_value(&findings)?)?;
    } else {
        for Finding { what, level, says, advice } in &findings {
            let mark = match level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Wrong => "WRONG  ",
            };
            println!("{mark} {what:<10} {says}");
            if let Some(advice) = advice {
                println!("                   -> {advice}");
            }
        }
    }
    let wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
    Ok(ExitCode::from(if wrong { NO } else { 0 }))
}

async fn examine(settings: &Settings, findings: &mut Findings) {
    findings.ok("settings", "read");
    if settings.dev {
        findings.warn(
            "settings",
            "--dev: the server may run as a role that could rewrite the log",
            "use the login role that `guildhall migrate` makes",
        );
    }
    if settings.r#unsafe {
        findings.warn(
            "settings",
            "--unsafe: commits may be lost",
            "turn fsync, full_page_writes and synchronous_commit on",
        );
    }
    if !settings.listen.ip().is_loopback() {
        findings.warn(
            "settings",
            format!("listens on {} without TLS", settings.listen),
            "put a TLS proxy in front, and listen on 127.0.0.1",
        );
    }
    if settings.keeps_all_in_one_place() {
        findings.warn(
            "anchors",
            format!("lie in {}, beside the log", settings.worm_dir().display()),
            "set anchor.directory to another disk, under another owner: an old copy of everything would not be noticed",
        );
    }
    for unusable in unverified::unusable(&settings.sources) {
        findings.wrong(
            "sources",
            unusable,
            "correct the setting, or the file and the paths in it; what cannot be verified goes stale within 24 hours",
        );
    }
    let dir = match DataDir::existing(&settings.data_dir) {
        Ok(dir) => dir,
        Err(error) => {
            findings.wrong("data", format!("{error:#}"), "`guildhall serve` creates it; --data-dir names another one");
            return;
        }
    };
    findings.ok("data", dir.path().display());
    let named = dir.file("origin").exists() || settings.origin.is_some();
    let log = if named { Some(open_log(settings, &dir, false).await) } else { None };
    let head = match &log {
        Some(Ok(log)) => log.head().await.ok(),
        _ => None,
    };
    files(&dir, head.as_ref().map(|head| head.size), city::signers::is_anywhere(settings, &dir), findings);
    if let Ok(Some(reason)) = city::frozen::reason(&dir) {
        findings.wrong("frozen", reason, "docs/compromise.md says what comes next");
    }
    space("disk", dir.path(), findings);
    let status = control::anchoring(&dir).await;
    server(control::read_only(&dir).await, head.as_ref(), findings);
    match log {
        None => findings.wrong("log", "has no name yet", "`guildhall serve` or `guildhall migrate` gives it one"),
        Some(Ok(log)) => {
            examine_log(&log, status.as_ref(), findings).await;
            imported_grants(settings, &log, findings).await;
            secrets(&dir, &log, findings).await;
            published::published(settings, &dir, &log, status.as_ref(), findings).await;
        }
        Some(Err(error)) if is_missing(&error) && dir.file("pepper.key").exists() => {
            findings.wrong(
                "log",
                format!("{error:#}"),
                "this directory has the keys of a city: restore its log from a backup",
            );
        }
        Some(Err(error)) => findings.wrong("log", format!("{error:#}"), log_advice(&error)),
    }
}

/// Whether a server runs here and takes commands. One whose clock is behind the log refuses them, and says so to whoever sends one.
fn server(read_only: Option<Option<String>>, head: Option<&Head>, findings: &mut Findings) {
    let ahead = head.map_or(0, ahead);
    match read_only {
        None => findings.ok("server", "does not run here"),
        Some(None) if ahead > MAX_SKEW_MICROS => findings.wrong(
            "server",
            format!(
                "runs here and refuses commands for another {} s: its clock is behind the log's last entry",
                ahead / 1_000_000
            ),
            CLOCK,
        ),
        Some(None) => findings.ok("server", "runs here and takes commands"),
        Some(Some(reason)) => findings.wrong(
            "server",
            format!("runs here and only reads: {reason}"),
            "what the reason names is the cause; nothing was lost by refusing",
        ),
    }
}

/// How far the log's last entry is ahead of this machine's clock, in microseconds.
fn ahead(head: &Head) -> i64 {
    head.at - crate::http::now().micros()
}

/// Whether the secrets here are the city's: what `serve` asks before it starts. Those that are missing were spoken of already.
async fn secrets(dir: &DataDir, log: &Log, findings: &mut Findings) {
    let (Ok(master), Ok(pepper)) = (dir.master_key(false), dir.secret("pepper.key", false)) else { return };
    let (vault, pepper) = (Vault::new(master), Pepper::new(*pepper));
    match city::secrets::check(log, &pepper, &vault).await {
        Ok(_) => findings.ok("keys", "are the ones that the log names"),
        Err(error) => {
            findings.wrong("keys", format!("{error:#}"), "the server does not start with the secrets of another city")
        }
    }
}

/// `size`: how many entries the log has, if it could be read. With one entry in it a key that is missing is lost, not late.
fn files(dir: &DataDir, size: Option<u64>, has_other_signer: bool, findings: &mut Findings) {
    const ADVICE: &str = "chmod 600 it";
    let elsewhere = |name: &str| match name {
        "master.key" => std::env::var_os(MASTER_KEY_VARIABLE).is_some(),
        "signing.key" => has_other_signer,
        _ => false,
    };
    for name in ["master.key", "pepper.key", "signing.key"] {
        match std::fs::metadata(dir.file(name)) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => {
                findings.wrong("keys", format!("{name} has mode {:o}", metadata.mode() & 0o777), ADVICE);
            }
            Ok(_) => findings.ok("keys", format!("{name} is there, for its owner only")),
            Err(_) if elsewhere(name) => findings.ok("keys", format!("what {name} is for comes from elsewhere")),
            Err(_) if size.is_some_and(|size| size > 0) => findings.wrong(
                "keys",
                format!("{name} is missing, and this city is not new"),
                "restore it from a backup, or copy it from the city's other server",
            ),
            Err(_) => findings.warn(
                "keys",
                format!("{name} is not there yet"),
                "the first start makes it; if there was one, restore it from your backup",
            ),
        }
    }
    if dir.file("first.key").exists() {
        findings.warn(
            "keys",
            "the first principal's key was never shown",
            "`guildhall serve` shows it at its next start",
        );
    }
}

/// `what` is kept there, and grows.
fn space(what: &'static str, path: &Path, findings: &mut Findings) {
    let place = path.display();
    match fs4::available_space(path) {
        Ok(free) if free < NO_SPACE => findings.wrong(
            what,
            format!("{} MiB free in {place}", free >> 20),
            "make room: nothing more may be taken until there is some",
        ),
        Ok(free) if free < LITTLE_SPACE => {
            findings.warn(what, format!("{} MiB free in {place}", free >> 20), "it only grows: make room")
        }
        Ok(free) => findings.ok(what, format!("{} GiB free in {place}", free >> 30)),
        Err(error) => findings.warn(what, error, "the free space cannot be read"),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Failure>(), Some(Failure::Missing(_)))
}

fn log_advice(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Missing(_)) => {
            "`guildhall serve` (SQLite) or `guildhall migrate --owner-url ...` (PostgreSQL) creates it"
        }
        Some(Failure::OldSchema { .. }) => {
            "after an upgrade: `guildhall migrate` with the owner's URL (PostgreSQL), or the next `guildhall serve` (SQLite)"
        }
        Some(Failure::Owner { .. }) => "give the server the login role's URL, not the owner's",
        Some(Failure::UnsafeSettings { .. }) => "set them to on in postgresql.conf and reload",
        Some(Failure::WrongOrigin { .. }) => {
            "this data directory belongs to another log: check --data-dir and --database-url"
        }
        Some(Failure::NewerSchema { .. }) => {
            "this program is older than the database: use the version that migrated it"
        }
        Some(Failure::Unavailable(_)) => "is the database running, and does --database-url reach it?",
        _ => "see the message",
    }
}

async fn examine_log(log: &Log, status: Option<&Value>, findings: &mut Findings) {
    let safety = log.safety();
    if safety.owner {
        findings.warn("role", "could rewrite the log", "use the login role that `guildhall migrate` makes");
    }
    for setting in &safety.unsafe_settings {
        findings.warn("database", format!("{setting}: a commit may be lost"), "set it to on");
    }
    match log.missing_privileges().await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => findings.wrong(
            "role",
            format!("lacks {}", missing.join(", ")),
            "run `guildhall migrate` again with the owner's URL: it gives the login role exactly what a server needs",
        ),
        Err(error) => findings.wrong("role", error, "what the login role may do cannot be asked"),
    }
    match log.head().await {
        Ok(head) => {
            findings.ok("log", format!("{} with {} entries", head.origin, head.size));
            let ahead = ahead(&head);
            let told = status.and_then(|status| status["time"]["wrong_clock"].as_str());
            let told = told.map(|told| format!("; {told}")).unwrap_or_default();
            if ahead > MAX_SKEW_MICROS {
                findings.wrong(
                    "clock",
                    format!(
                        "the log's last entry is {} s in the future: this clock is wrong, or was when that was written{told}",
                        ahead / 1_000_000
                    ),
                    CLOCK,
                );
            } else if !told.is_empty() {
                findings.wrong("clock", format!("is not what another one says{told}"), CLOCK);
            }
            views(log, head.size, findings).await;
        }
        Err(failure) => findings.wrong("log", failure, "see the message"),
    }
    if let Err(failure) = database(log, findings).await {
        findings.warn("database", failure, "its version and clock cannot be read");
    }
}

async fn views(log: &Log, size: u64, findings: &mut Findings) {
    const ADVICE: &str = "a running server brings them up to date by itself";
    let reached = async {
        let mut conn = ViewsDb::open(log, false).await?.reader().await?;
        let rows = sql::query(&mut conn, "select size from view_position", &[Kind::Int], &[]).await?;
        Ok::<_, Failure>(match rows.first().map(Vec::as_slice) {
            Some([Cell::Int(reached)]) => reached.unsigned_abs(),
            _ => 0,
        })
    };
    match reached.await {
        Ok(reached) if reached >= size => findings.ok("tables", "up to date"),
        Ok(reached) => findings.warn("tables", format!("{} entries behind", size - reached), ADVICE),
        Err(failure) => findings.warn("tables", failure, ADVICE),
    }
}

/// Imported grants that this server does not verify, or tried to in vain. Whatever else is wrong with the tables was spoken of already.
async fn imported_grants(settings: &Settings, log: &Log, findings: &mut Findings) {
    let found = async {
        let mut conn = ViewsDb::open(log, false).await?.reader().await?;
        let unverified = unverified::unverified(&settings.sources, &mut conn).await?;
        Ok::<_, queries::QueryError>((unverified, queries::inventory::ailing_by_source(&mut conn).await?))
    };
    let Ok((unverified, ailing)) = found.await else { return };
    for (source, count) in unverified {
        findings.warn(
            "sources",
            unverified::told(&source, count),
            "give the server the mapping file that the import was made with",
        );
    }
    for (source, Ailing { stale, stuck }) in ailing {
        findings.warn(
            "sources",
            format!("{source}: of its living grants {stale} are stale, and {stuck} are stuck: their source could not say for long"),
            "`guildhall reconcile` asks it again and says why it cannot say; stale grants allow nothing",
        );
    }
}

async fn database(log: &Log, findings: &mut Findings) -> Result<(), Failure> {
    let mut conn = log.reader().await?;
    if !conn.is_postgres() {
        let rows = sql::query(&mut conn, "select sqlite_version()", &[Kind::Text], &[]).await?;
        findings.ok("database", format!("SQLite {}", first_text(&rows)));
        return Ok(());
    }
    const SQL: &str =
        "select current_setting('server_version'), (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let rows = sql::query(&mut conn, SQL, &[Kind::Text, Kind::Int], &[]).await?;
    findings.ok("database", format!("PostgreSQL {}", first_text(&rows)));
    if let Some([_, Cell::Int(theirs)]) = rows.first().map(Vec::as_slice) {
        let skew = (crate::http::now().micros() - theirs).abs();
        if skew > MAX_SKEW_MICROS {
            findings.wrong(
                "clock",
                format!("{} s away from the database's", skew / 1_000_000),
                "run NTP on both machines",
            );
        } else {
            findings.ok("clock", "agrees with the database's");
        }
    }
    Ok(())
}

fn first_text(rows: &[Vec<Cell>]) -> &str {
    match rows.first().and_then(|row| row.first()) {
        Some(Cell::Text(text)) => text,
        _ => "of an unknown version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_clock_is_behind_the_log_is_not_said_to_take_commands() {
        let head = |seconds: i64| Head {
            origin: "guildhall.example/test".to_owned(),
            size: 1,
            at: crate::http::now().micros() + seconds * 1_000_000,
            epoch: 0,
        };
        let said = |read_only, seconds| {
            let mut findings = Findings::default();
            server(read_only, Some(&head(seconds)), &mut findings);
            findings.0.pop().map(|finding| (finding.level, finding.says)).unwrap_or((Level::Ok, String::new()))
        };
        assert_eq!(said(Some(None), 0), (Level::Ok, "runs here and takes commands".to_owned()));
        let (level, says) = said(Some(None), 2 * 24 * 3600);
        assert!(level == Level::Wrong && says.contains("its clock is behind the log's last entry"), "{says}");
        let (level, says) = said(Some(Some("a reason".to_owned())), 2 * 24 * 3600);
        assert!(level == Level::Wrong && says.contains("a reason"), "{says}");
        assert_eq!(said(None, 2 * 24 * 3600).0, Level::Ok);
    }
}
