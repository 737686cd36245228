//! Whether the secrets of this server are the city's: their fingerprints are the first entry of the stream `log`.
//!
//! With another pepper every API key would look wrong, and with another master key texts would be sealed that the city's other servers
//! cannot open. Neither would be noticed by anything that fails.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chain::Hash;
use commands::Pipeline;
use domain::text::Digest;
use eventlog::vault::Vault;
use eventlog::{Location, Log, Recorder as _};
use identity::Pepper;
use serde_json::{Value, json};

use super::signing::Keys;

const STREAM: &str = "log";
const PAGE: usize = 1000;
const KIND: &str = "log.secrets_named.v1";
/// Between founding a city and naming its secrets lies one command.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// What the log says about the city's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// These are the ones.
    AsTheseAre,
    NotYet,
}

/// Compares the secrets with what the log says, before anything is decided with them. The signing key, which may change, is compared by
/// [`Keys::open`].
///
/// # Errors
/// When one of them is another city's, with what to do about it.
pub async fn check(log: &Log, pepper: &Pepper, vault: &Vault) -> anyhow::Result<Named> {
    let Some(entry) = first_naming(log).await? else { return Ok(Named::NotYet) };
    let ours = data(pepper, vault);
    for (name, whence) in [("pepper", "pepper.key"), ("master_key", "master.key, or GUILDHALL_MASTER_KEY,")] {
        ensure!(
            entry["data"][name] == ours[name],
            "{whence} is not this city's: copy it from the city's other server, or restore it from its backup"
        );
    }
    Ok(Named::AsTheseAre)
}

/// Says in the log which secrets the city has. That is for the server whose pepper made the first key; any other one of the same
/// database waits for it, and then compares.
///
/// # Errors
/// Those of [`check`]; and when the founder does not say it.
pub async fn settle(
    log: &Log,
    pipeline: &Pipeline,
    pepper: &Pepper,
    vault: &Vault,
    keys: &Keys,
    is_founder: bool,
) -> anyhow::Result<()> {
    // On SQLite there is one server, whichever version it was of when it founded the city.
    if is_founder || matches!(log.config().location, Location::Sqlite { .. }) {
        let mut data = data(pepper, vault);
        data["signing_key"] = json!(first_key(keys));
        pipeline.record(KIND, data).await.context("recording which secrets this city has")?;
        keys.catch_up().await?;
        return check(log, pepper, vault).await.map(drop);
    }
    for _ in 0..ATTEMPTS {
        if check(log, pepper, vault).await? == Named::AsTheseAre {
            keys.catch_up().await?;
            ensure!(keys.has_one(), "signing.key is not this city's: copy it from the city's other server");
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!(
        "the server that founded this city has not said which secrets it has: start that one first, and copy its secrets here"
    )
}

/// The first entry that names them: of a young city the first of its stream, of an older one somewhere behind its anchors.
async fn first_naming(log: &Log) -> anyhow::Result<Option<Value>> {
    let mut version = 0;
    loop {
        let entries = log.read_stream(STREAM, version, PAGE).await?;
        let Some(last) = entries.last() else { return Ok(None) };
        version = last.version + 1;
        for entry in &entries {
            let entry: Value = serde_json::from_slice(&entry.bytes).context("an entry of the stream `log`")?;
            if entry["type"] == KIND {
                return Ok(Some(entry));
            }
        }
    }
}

/// SHA-256 of the public key that this log begins with, as auditors have it.
fn first_key(keys: &Keys) -> Option<Hash> {
    let first = keys.history().eras().first().map(|era| era.fingerprint);
    first.or_else(|| keys.in_force().first().map(|key| chain::rotation::fingerprint(&key.vkey())))
}

fn data(pepper: &Pepper, vault: &Vault) -> Value {
    json!({ "pepper": pepper.fingerprint(), "master_key": Digest(vault.fingerprint()) })
}
