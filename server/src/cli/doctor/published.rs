//! What `doctor` says about what is published, anchored and mirrored.

use std::path::{Path, PathBuf};

use anchor::store::Kind;
use anchor::{Scope, SigningKeys, Store, Survey, Verdict};
use eventlog::Log;
use serde_json::Value;

use super::{Findings, space};
use crate::city::signing::Keys;
use crate::city::{self, DataDir};
use crate::config::Settings;

/// Whether the log still is what was signed and anchored about it: what `serve` asks before it takes a command; and whether all that was
/// anchored is where it was put. `status` is how the running server sees it.
pub async fn published(settings: &Settings, dir: &DataDir, log: &Log, status: Option<&Value>, findings: &mut Findings) {
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
    let anchors = anchored(log, &keys, store.as_ref(), findings).await;
    if let Some(trouble) = status.and_then(|status| status["trouble"].as_str()) {
        findings.wrong(
            "anchors",
            format!("the server that runs here: {trouble}"),
            "it tries again; until then nothing new is anchored",
        );
    }
    if let Some(unseen) = status.and_then(|status| status["unseen"].as_str()) {
        findings.warn(
            "anchors",
            format!("the server that runs here has not compared the log with them: {unseen}"),
            "it does once the store answers",
        );
    }
    if let Err(error) = city::times::of(settings) {
        findings.wrong("time", format!("{error:#}"), "set anchor.time.url and anchor.time.roots");
    }
    // What it says about this server's clock is said with the clock.
    if let Some(time) = status.map(|status| &status["time"])
        && let (Some(trouble), None) = (time["trouble"].as_str(), time["wrong_clock"].as_str())
    {
        findings.warn("time", trouble, "the newest anchors carry no token; see the message");
    }
    mirrored(settings, log, &keys, anchors, findings).await;
    if store.kind() == Kind::Directory {
        if let Err(error) = try_writing(&settings.worm_dir()) {
            findings.wrong("anchors", format!("{}: {error}", store.place()), "anchors cannot be written there");
        }
        // A disk of its own, perhaps, which is full long before the other.
        space("anchors", &nearest(&settings.worm_dir()), findings);
    } else if store.tamper().is_none() {
        findings.warn(
            "anchors",
            "nobody tries whether the lock of the bucket holds",
            "set GUILDHALL_PROVER_KEY_ID and GUILDHALL_PROVER_SECRET to a credential that may do anything to it",
        );
    }
}

/// Whether everything on record is in the store; answers how many anchors are on record.
async fn anchored(log: &Log, keys: &SigningKeys, store: &dyn Store, findings: &mut Findings) -> u64 {
    const ADVICE: &str = "mount or restore the store, or set anchor.directory or anchor.s3 to it; `guildhall anchor check` names everything";
    let mut anchors = 0;
    match anchor::check_store(log, store).await {
        Ok(newest) => anchors = newest.map_or(0, |newest| newest.seq + 1),
        Err(error) => findings.wrong("anchors", error, ADVICE),
    }
    match anchor::survey(log, keys, store, Scope::default(), anchor::now()).await {
        Ok(survey) => {
            anchors = anchors.max(survey.anchors);
            let place = store.place();
            if survey.missing.count > 0 {
                findings.wrong("anchors", format!("{place}: {}", missing(&survey)), ADVICE);
            } else if anchors == 0 {
                findings.ok("anchors", "none on record yet");
            } else {
                findings.ok(
                    "anchors",
                    format!("{} anchors and {} files, all there, in {place}", survey.anchors, survey.files),
                );
            }
            strays("anchors", &place, &survey, findings);
        }
        Err(error) => findings.wrong("anchors", error, ADVICE),
    }
    anchors
}

/// How much is missing, and what first.
fn missing(survey: &Survey) -> String {
    let first = survey.missing.first.first().map_or("", String::as_str);
    format!("{} of what was anchored are missing, the first {first}", survey.missing.count)
}

fn strays(what: &'static str, place: &str, survey: &Survey, findings: &mut Findings) {
    if let Some(first) = survey.strays.first.first() {
        findings.warn(
            what,
            format!("{place}: {} objects do not belong there, the first {first}", survey.strays.count),
            "they hide nothing and stop nothing, but somebody put them there: change the credential that can write to the store",
        );
    }
}

/// Whether the mirrors can be read, and have everything that is on record.
async fn mirrored(settings: &Settings, log: &Log, keys: &SigningKeys, anchors: u64, findings: &mut Findings) {
    const LATER: &str = "nothing is lost meanwhile: the server carries over what is missing when the mirror is back";
    const AGAIN: &str =
        "the server carries it there again, at its next start or within a day; ask the mirror's owner why it is gone";
    let mirrors = match city::stores::mirrors(settings) {
        Ok(mirrors) => mirrors,
        Err(error) => return findings.wrong("mirrors", format!("{error:#}"), "set the variables that it names"),
    };
    for mirror in mirrors {
        let place = format!("{}: {}", mirror.name, mirror.store.place());
        match anchor::survey_mirror(log, keys, mirror.store.as_ref(), anchor::now()).await {
            Ok((brought, survey)) => {
                if survey.missing.count > 0 {
                    findings.wrong("mirrors", format!("{place}: {}", missing(&survey)), AGAIN);
                }
                if brought < anchors {
                    findings.warn("mirrors", format!("{place} has {brought} of {anchors} anchors"), LATER);
                } else if survey.missing.count == 0 {
                    findings.ok(
                        "mirrors",
                        format!("{place} has {} anchors and {} files, all of them", survey.anchors, survey.files),
                    );
                }
                strays("mirrors", &place, &survey, findings);
            }
            Err(error) => findings.wrong("mirrors", format!("{place}: {error}"), LATER),
        }
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
    let probe = nearest(folder).join(format!(".guildhall-doctor-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(probe)
}

/// This folder, or what there is of the way to it: the first anchor makes the rest.
fn nearest(folder: &Path) -> PathBuf {
    folder.ancestors().find(|there| there.exists()).unwrap_or(folder).to_owned()
}
