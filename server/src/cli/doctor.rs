//! `guildhall doctor`: what is wrong with this installation, and what to do about it. Changes nothing.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use anchor::Verdict;
use clap::Args;
use eventlog::sql::{self, Cell, Kind};
use eventlog::vault::Vault;
use eventlog::{Failure, Log};
use identity::Pepper;
use projections::views::ViewsDb;
use queries::inventory::Ailing;
use serde::Serialize;

use super::NO;
use super::output::print_json;
use crate::city::signing::Keys;
use crate::city::{self, DataDir, MASTER_KEY_VARIABLE, open_log, unverified};
use crate::config::Settings;
use crate::control;

/// Less free space than this is worth a warning: 1 GiB.
const LITTLE_SPACE: u64 = 1 << 30;
/// Less than this, and the next command may not find room: 16 MiB.
const NO_SPACE: u64 = 16 << 20;
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
    let size = match &log {
        Some(Ok(log)) => log.head().await.ok().map(|head| head.size),
        _ => None,
    };
    files(&dir, size, city::signers::is_anywhere(settings, &dir), findings);
    if let Ok(Some(reason)) = city::frozen::reason(&dir) {
        findings.wrong("frozen", reason, "docs/compromise.md says what comes next");
    }
    space(dir.path(), findings);
    match control::read_only(&dir).await {
        None => findings.ok("server", "does not run here"),
        Some(None) => findings.ok("server", "runs here and takes commands"),
        Some(Some(reason)) => findings.wrong(
            "server",
            format!("runs here and only reads: {reason}"),
            "bring back the database that the reason speaks of; nothing was lost by refusing",
        ),
    }
    match log {
        None => findings.wrong("log", "has no name yet", "`guildhall serve` or `guildhall migrate` gives it one"),
        Some(Ok(log)) => {
            examine_log(&log, findings).await;
            imported_grants(settings, &log, findings).await;
            secrets(&dir, &log, findings).await;
            published(settings, &dir, &log, findings).await;
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

/// Whether the mirrors can be read, and have as many anchors as are on record.
async fn mirrored(settings: &Settings, anchors: u64, findings: &mut Findings) {
    const ADVICE: &str = "nothing is lost meanwhile: the server carries over what is missing when the mirror is back";
    let mirrors = match city::stores::mirrors(settings) {
        Ok(mirrors) => mirrors,
        Err(error) => return findings.wrong("mirrors", format!("{error:#}"), "set the variables that it names"),
    };
    for mirror in mirrors {
        let place = format!("{}: {}", mirror.name, mirror.store.place());
        match anchor::store::keys(mirror.store.as_ref(), "anchors/").await.map(|keys| keys.len() as u64) {
            Ok(there) if there < anchors => {
                findings.warn("mirrors", format!("{place} has {there} of {anchors} anchors"), ADVICE)
            }
            Ok(there) => findings.ok("mirrors", format!("{place} has {there} anchors")),
            Err(error) => findings.wrong("mirrors", format!("{place}: {error}"), ADVICE),
        }
    }
}

/// Whether the log still is what was signed and anchored about it: what `serve` asks before it takes a command.
async fn published(settings: &Settings, dir: &DataDir, log: &Log, findings: &mut Findings) {
    const ADVICE: &str = "bring back the database that was published; the server would only read this one";
    let store = match city::stores::open(settings) {
        Ok(store) => store,
        Err(error) => return findings.wrong("anchors", format!("{error:#}"), "set what it names"),
    };
    let witnesses = match city::witnesses::of(settings) {
        Ok(witnesses) => witnesses,
        Err(error) => {
            findings.wrong(
                "witnesses",
                format!("{error:#}"),
                "set witness.policy to a policy file that names witnesses",
            );
            None
        }
    };
    let Some(keys) = signing_keys(settings, dir, log, witnesses.as_ref(), findings).await else { return };
    let config = anchor::Config { witnesses, ..anchor::Config::new(dir.path()) };
    match anchor::compare(&config, log, &keys, store.as_ref()).await {
        Ok(Verdict::Good) => findings.ok("published", "the log is what was signed and anchored"),
        Ok(Verdict::ReadOnly { position, reason }) => {
            findings.wrong("published", format!("from position {position} on: {reason}"), ADVICE);
        }
        Err(error) => findings.wrong("published", error, "what was published cannot be read; see the message"),
    }
    let mut anchors = 0;
    match anchor::check_store(log, store.as_ref()).await {
        Ok(Some(newest)) => {
            anchors = newest.seq + 1;
            findings.ok("anchors", format!("{anchors} in {}", store.place()));
        }
        Ok(None) => findings.ok("anchors", "none on record yet"),
        Err(error) => {
            findings.wrong("anchors", error, "mount or restore the store, or set anchor.directory or anchor.s3 to it")
        }
    }
    if let Err(error) = city::times::of(settings) {
        findings.wrong("time", format!("{error:#}"), "set anchor.time.url and anchor.time.roots");
    }
    mirrored(settings, anchors, findings).await;
    if store.kind() == anchor::store::Kind::Directory {
        if let Err(error) = try_writing(&settings.worm_dir()) {
            findings.wrong("anchors", format!("{}: {error}", store.place()), "anchors cannot be written there");
        }
    } else if store.tamper().is_none() {
        findings.warn(
            "anchors",
            "nobody tries whether the lock of the bucket holds",
            "set GUILDHALL_PROVER_KEY_ID and GUILDHALL_PROVER_SECRET to a credential that may do anything to it",
        );
    }
}

/// The keys that sign the log, as the server would have them. Files that are missing were spoken of already.
async fn signing_keys(
    settings: &Settings,
    dir: &DataDir,
    log: &Log,
    witnesses: Option<&anchor::Witnesses>,
    findings: &mut Findings,
) -> Option<Keys> {
    if !city::signers::is_anywhere(settings, dir) {
        return None;
    }
    let held = city::signers::held(settings, dir, log.origin(), false);
    let opened = match held {
        Ok(held) => Keys::open(log, held, witnesses.map(|witnesses| witnesses.policy.as_str())).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(keys) if keys.lacks_one() => {
            let advice = "copy it here: checkpoints wait for it";
            findings.wrong("signing keys", "one that is in force is not here (`guildhall signing-key list`)", advice);
            Some(keys)
        }
        Ok(keys) => {
            findings.ok("signing keys", format!("{} in force, and here", keys.in_force().len()));
            Some(keys)
        }
        Err(error) => {
            findings.wrong("signing keys", format!("{error:#}"), "the server does not start without a key in force");
            None
        }
    }
}

/// Leaves nothing behind.
fn try_writing(folder: &Path) -> std::io::Result<()> {
    // The first anchor makes it.
    let there = folder.ancestors().find(|there| there.exists()).unwrap_or(folder);
    let probe = there.join(format!(".guildhall-doctor-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(probe)
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

fn space(path: &Path, findings: &mut Findings) {
    match fs4::available_space(path) {
        Ok(free) if free < NO_SPACE => findings.wrong(
            "disk",
            format!("{} MiB free", free >> 20),
            "make room: commands may be refused until there is some",
        ),
        Ok(free) if free < LITTLE_SPACE => {
            findings.warn("disk", format!("{} MiB free", free >> 20), "the log only grows: make room")
        }
        Ok(free) => findings.ok("disk", format!("{} GiB free", free >> 30)),
        Err(error) => findings.warn("disk", error, "the free space cannot be read"),
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

async fn examine_log(log: &Log, findings: &mut Findings) {
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
            let ahead = head.at - crate::http::now().micros();
            if ahead > MAX_SKEW_MICROS {
                findings.wrong(
                    "clock",
                    format!("the log's last entry is {} s in the future", ahead / 1_000_000),
                    "set this machine's clock; the server does not write until it agrees",
                );
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
