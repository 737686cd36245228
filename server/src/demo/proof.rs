//! After the play: what the tables, the replay, the anchor and the auditor say about it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::cast::{CURRENCY, Cast};
use super::client::Client;
use super::play::Played;
use super::report::Report;
use super::rows::{CLOSING, Cents, Row};
use super::{audit, forgery};

/// Lines of a statement asked for at once.
const PAGE: u32 = 500;

/// Where everything is.
pub struct Files {
    pub data: PathBuf,
    pub work: PathBuf,
    pub origin: String,
    /// The auditor's own policy: the log's public key, as a stranger would have got it from somebody they trust.
    pub policy: PathBuf,
}

/// The tables agree with the file: line by line in the statement, at three year's ends by effective time, and in sum.
pub async fn tables(
    client: &Client,
    cast: &Cast,
    rows: &[Row],
    played: &Played,
    report: &mut Report,
) -> anyhow::Result<()> {
    let last = played.marks.last().context("the file has rows")?;
    let agreed = played.marks.iter().filter(|mark| mark.agreed == Some(true)).count();
    let wanted = rows.iter().filter(|row| row.balance_after.is_some()).count();
    let held = agreed == wanted && last.balance == CLOSING;
    report.check(
        "balances",
        held,
        format!("{agreed} of {wanted} running balances agree; final balance {} {CURRENCY}", last.balance),
    );

    let statement = statement(client, cast, last.position).await?;
    let told: HashMap<u64, Cents> = statement.iter().copied().collect();
    let differing = played.marks.iter().filter(|mark| told.get(&mark.position) != Some(&mark.balance)).count();
    let held = differing == 0 && statement.last() == Some(&(last.position, CLOSING));
    report.check(
        "statement",
        held,
        format!("{} lines with a running balance, {differing} rows differ", statement.len()),
    );

    let mut agree = 0;
    for year in [2020, 2021, 2022] {
        let end = format!("{year}-12-31T23:59:59Z");
        let path = format!("/treasuries/{}/balances?at={end}&axis=effective", cast.guild);
        let expected =
            rows.iter().zip(&played.marks).take_while(|(row, _)| row.at <= end).last().map(|(_, mark)| mark.balance);
        agree += u32::from(balance(&client.query(&cast.maintainer.key, &path).await?)? == expected);
    }
    report.check("as of", agree == 3, format!("{agree} of 3 year's ends agree, by the time at which money moved"));

    let host = format!("/treasuries/{}/balances", cast.host);
    let host = balance(&client.query(&cast.host_manager.key, &host).await?)?;
    let held = host == Some(played.host);
    report.check("host", held, format!("the host's treasury holds {} {CURRENCY}", host.unwrap_or_default()));

    let conservation = client.query(&cast.principal, "/conservation").await?;
    let inside = last.balance.plus(played.host);
    let (held, detail) = conserved(&conservation, inside);
    report.check("conservation", held, detail);
    Ok(())
}

/// (position, running balance) of every line, oldest first.
async fn statement(client: &Client, cast: &Cast, position: u64) -> anyhow::Result<Vec<(u64, Cents)>> {
    let mut lines = Vec::new();
    let mut cursor = String::new();
    loop {
        let base = format!("/treasuries/{}/statement?currency={CURRENCY}&movements_only=true", cast.guild);
        let path = format!("{base}&limit={PAGE}&at_least={position}{cursor}");
        let page = client.query(&cast.maintainer.key, &path).await?;
        for line in page["items"].as_array().context("a page has items")? {
            let position = line["position"].as_u64().context("a line has a position")?;
            let balance: Cents = line["balance"].as_str().context("a line has a balance")?.parse()?;
            lines.push((position, balance));
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&after={next}"),
            None => return Ok(lines),
        }
    }
}

/// The balance in dollars of an answer about balances.
fn balance(answer: &Value) -> anyhow::Result<Option<Cents>> {
    let balances = answer["balances"].as_array().context("an answer about balances lists them")?;
    let ours = balances.iter().find(|balance| balance["currency"] == CURRENCY);
    ours.map(|balance| balance["balance"].as_str().context("a balance is a text")?.parse()).transpose()
}

/// Whether the outside is short of exactly what is inside.
fn conserved(answer: &Value, inside: Cents) -> (bool, String) {
    let lines = answer["currencies"].as_array().cloned().unwrap_or_default();
    let line = lines.into_iter().find(|line| line["currency"] == CURRENCY).unwrap_or_default();
    let read = |name: &str| line[name].as_str().and_then(|text| text.parse::<Cents>().ok());
    let (treasuries, external) = (read("treasuries"), read("external"));
    let held = treasuries == Some(inside) && external == Some(Cents::ZERO.minus(inside));
    let shown = |amount: Option<Cents>| amount.map_or_else(|| "?".to_owned(), |amount| amount.to_string());
    (held, format!("treasuries hold {}, the outside world {}", shown(treasuries), shown(external)))
}

/// Every table made again from the log beside the running city, and compared.
pub fn replay(files: &Files, report: &mut Report) -> anyhow::Result<()> {
    let output = guildhall(files, &["replay", "--check", "--json"])?;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let held = output.status.success() && told["differences"] == 0;
    let detail = if told["rows"].is_u64() {
        format!("{} rows of guards and views made again from the log, {} differ", told["rows"], told["differences"])
    } else {
        said(&output)
    };
    report.check("replay", held, detail);
    Ok(())
}

/// Anchors the log, exports it, and has the auditor look at the export. Answers with the export.
pub fn published(files: &Files, auditor: &Path, report: &mut Report) -> anyhow::Result<PathBuf> {
    let output = guildhall(files, &["anchor", "now", "--json"])?;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let detail = told["key"].as_str().map_or_else(|| said(&output), str::to_owned);
    report.check("anchor", output.status.success(), detail);

    let export = files.work.join("export");
    let out = export.to_str().context("the path is text")?;
    let output = guildhall(files, &["export", "--out", out])?;
    report.check(
        "export",
        output.status.success(),
        if output.status.success() { export.display().to_string() } else { said(&output) },
    );
    ensure!(output.status.success(), "without an export there is nothing to audit");

    let audit = audit::verify(auditor, &export, &files.policy)?;
    let held = audit.is_clean() && audit.entries == audit.size && audit.understood == audit.size;
    report.check(
        "audit",
        held,
        format!("{} of {} entries checked by the auditor, {} findings", audit.entries, audit.size, audit.count()),
    );
    Ok(export)
}

/// Changes one amount in a copy of the database, makes its hashes fit, and has the auditor look at that.
pub async fn forged(
    files: &Files,
    auditor: &Path,
    export: &Path,
    treasury: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let copy = files.work.join("forged-database");
    let forgery = forgery::forge(&files.data, &copy, &files.origin, treasury).await?;
    report.say(&format!(
        "\nA forger with every right on a copy of the database turns a deposit of {} at position {} into {},\nand makes {} hashes fit again. \
         The auditor, on an export of that copy:",
        forgery.before, forgery.position, forgery.after, forgery.rehashed
    ));
    let folder = files.work.join("forged-export");
    forgery::export(export, &folder, &copy, &files.origin).await?;
    let audit = audit::verify(auditor, &folder, &files.policy)?;
    let found = audit.about(forgery.position);
    let held = audit.first_bad_position == Some(forgery.position) && found.is_some();
    let detail = match (audit.first_bad_position, found) {
        (None, _) => "the forgery was not found".to_owned(),
        (Some(first), Some(finding)) if held => format!("position {first} [{}]: {}", finding.check, finding.what),
        (Some(first), _) => format!("the first bad position is said to be {first}, not {}", forgery.position),
    };
    report.check("forgery", held, detail);
    report.note("forged_position", forgery.position);
    Ok(())
}

/// A subcommand, as anybody would type it: beside the running city, and in its own process.
fn guildhall(files: &Files, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GUILDHALL_")) {
        command.env_remove(name);
    }
    // Elsewhere than where the user stands: their settings file is about their city, not about this one.
    command.args(arguments).arg("--data-dir").arg(&files.data).current_dir(&files.work).stdin(Stdio::null());
    command.output().context("running a subcommand")
}

fn said(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{} {}", stdout.trim(), stderr.trim()).trim().to_owned()
}
