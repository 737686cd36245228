//! Settings of the keys that the log is signed with.

use anyhow::Context as _;
use chain::key::{Algorithm, VerifierKey};
use serde::{Deserialize, Serialize};

/// Without any of them the key is in the environment (`GUILDHALL_SIGNING_KEY`), or in a file of the data directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signing {
    /// Programs that sign; of several, the log says which is in force.
    pub external: Vec<External>,
}

/// A program that holds a key: one line in, one line out, for as long as the server runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// The public key that everything it signs is verified with.
    pub vkey: String,
}

impl Signing {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.external.iter().try_for_each(|external| external.key().map(drop))
    }
}

impl External {
    /// The public key.
    ///
    /// # Errors
    /// When it is none that signs checkpoints, or no program is named.
    pub fn key(&self) -> anyhow::Result<VerifierKey> {
        let what = || format!("settings: signing.external: vkey {:?}", self.vkey);
        let key = VerifierKey::parse(&self.vkey).with_context(what)?;
        anyhow::ensure!(key.algorithm() == Algorithm::Ed25519, "{}: a log signs with a key of type 0x01", what());
        anyhow::ensure!(
            !self.command.is_empty(),
            "settings: signing.external: a command is a program and its arguments"
        );
        Ok(key)
    }
}
