//! Whether the secrets of this server are the city's: their fingerprints are the first entry of the stream `log`.
//!
//! With another pepper every API key would look wrong, and with another master key texts would be sealed that the city's other servers
//! cannot open. Neither would be noticed by anything that fails.

use anyhow::{Context as _, ensure};
use commands::Pipeline;
use domain::text::Digest;
use eventlog::vault::Vault;
use eventlog::{Log, Recorder as _};
use identity::Pepper;
use serde_json::{Value, json};

const STREAM: &str = "log";
const KIND: &str = "log.secrets_named.v1";

/// What the log says about the city's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// These are the ones.
    AsTheseAre,
    NotYet,
}

/// Compares the secrets with what the log says, before anything is decided with them.
///
/// # Errors
/// When one of them is another city's, with what to do about it.
pub async fn check(log: &Log, pepper: &Pepper, vault: &Vault) -> anyhow::Result<Named> {
    let Some(first) = log.read_stream(STREAM, 0, 1).await?.pop() else { return Ok(Named::NotYet) };
    let entry: Value = serde_json::from_slice(&first.bytes).context("the first entry of the stream `log`")?;
    if entry["type"] != KIND {
        return Ok(Named::NotYet);
    }
    let ours = data(pepper, vault);
    for (name, whence) in [("pepper", "pepper.key"), ("master_key", "master.key, or GUILDHALL_MASTER_KEY,")] {
        ensure!(
            entry["data"][name] == ours[name],
            "{whence} is not this city's: copy it from the city's other server, or restore it from its backup"
        );
    }
    Ok(Named::AsTheseAre)
}

/// Says in the log which secrets the city has.
pub async fn name(pipeline: &Pipeline, pepper: &Pepper, vault: &Vault) -> anyhow::Result<()> {
    pipeline.record(KIND, data(pepper, vault)).await.context("recording which secrets this city has")?;
    Ok(())
}

fn data(pepper: &Pepper, vault: &Vault) -> Value {
    json!({ "pepper": pepper.fingerprint(), "master_key": Digest(vault.fingerprint()) })
}
