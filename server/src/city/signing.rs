//! The city's signing keys at work: receipts, and what an operator asks of the keys.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anchor::SigningKeys;
use anchor::signer::Signer;
use anyhow::{Context as _, ensure};
use chain::receipt::{ReceiptEntry, SignedReceipt};
use eventlog::Log;
use serde_json::{Value, json};

use super::{City, DataDir, frozen, signers};
use crate::config::Settings;

/// What is held, and what the log says about it.
#[derive(Clone)]
pub struct Keys {
    keys: Arc<SigningKeys>,
    /// Whether receipts went unsigned last: said when it begins, not with every command.
    unsigned: Arc<AtomicBool>,
}

impl Deref for Keys {
    type Target = Arc<SigningKeys>;

    fn deref(&self) -> &Self::Target {
        &self.keys
    }
}

impl Keys {
    /// # Errors
    /// When none of the keys that are in force is held here.
    pub async fn open(log: &Log, held: Vec<Arc<dyn Signer>>, witnesses: Option<&str>) -> anyhow::Result<Self> {
        let keys = SigningKeys::open(log, held, witnesses).await.context("reading which keys sign this log")?;
        ensure!(
            keys.has_one(),
            "signing.key is not this city's: none of the keys that sign this log is here; copy it from the city's other server, or \
             restore it from its backup"
        );
        Ok(Self { keys, unsigned: Arc::default() })
    }

    /// Signed after the commit: the promise is about what is there already. One that cannot be signed takes nothing from the command.
    pub async fn receipt(&self, entries: Vec<ReceiptEntry>) -> Result<SignedReceipt, String> {
        let signed = self.keys.sign_receipt(entries).await;
        let was_unsigned = self.unsigned.swap(signed.is_err(), Ordering::Relaxed);
        match &signed {
            Ok(_) if was_unsigned => tracing::info!("receipts are signed again"),
            Ok(_) => {}
            Err(error) => {
                metrics::counter!("guildhall_receipts_unsigned_total").increment(1);
                if !was_unsigned {
                    tracing::error!(%error, alarm = true, "commands are answered without a signed receipt");
                }
            }
        }
        signed.map_err(|error| format!("the receipt is not signed: {}", error.what))
    }

    /// Follows what other servers of this city recorded, and finds keys that were copied here for it.
    pub async fn follow(&self, settings: &Settings) -> anyhow::Result<()> {
        self.keys.catch_up().await?;
        if self.keys.lacks_one() {
            let dir = DataDir::existing(&settings.data_dir)?;
            self.keys.hold(signers::held(settings, &dir, self.keys.origin(), false)?)?;
        }
        Ok(())
    }
}

/// Every key, as it stands.
pub fn list(city: &City) -> anyhow::Result<Value> {
    Ok(json!({
        "keys": city.keys.status(),
        "frozen": frozen::reason(&DataDir::existing(&city.settings.data_dir)?)?,
    }))
}

/// Makes a key that can be rotated to, once every server of the city has it.
pub fn make(city: &City) -> anyhow::Result<Value> {
    let made = signers::make(&DataDir::existing(&city.settings.data_dir)?, city.log.origin())?;
    city.keys.hold(vec![Arc::clone(&made)])?;
    Ok(json!({ "vkey": made.key().vkey(), "place": made.place() }))
}

pub async fn rotate(city: &City, to: Option<&str>) -> anyhow::Result<Value> {
    let dir = DataDir::existing(&city.settings.data_dir)?;
    // Before a key is made or taken for it: most of what can be wrong is known already.
    ensure!(
        city.pipeline.read_only().is_none(),
        "this server only reads: {}",
        city.pipeline.read_only().unwrap_or_default()
    );
    ensure!(
        city.keys.in_force().len() < 2,
        "an earlier rotation has not ended: `guildhall signing-key retire` ends it"
    );
    // Also what was copied here since the start.
    city.keys.hold(signers::held(&city.settings, &dir, city.log.origin(), false)?)?;
    let to = signers::wanted(&city.keys.held(), &dir, city.log.origin(), to)?;
    let vkey = to.key().vkey();
    let position = city.anchoring.rotate_key(to).await?;
    Ok(json!({ "position": position, "vkey": vkey, "in_force": vkeys(city) }))
}

pub async fn retire(city: &City, key: &str) -> anyhow::Result<Value> {
    // A freeze is there for commands. That an older key ends is what it may have been frozen for; a log that is not the one that was
    // published takes nothing, frozen or not.
    let frozen = city.pipeline.read_only().filter(|reason| reason.starts_with(frozen::FROZEN));
    let position = match frozen {
        Some(reason) => city.anchoring.retire_key(key, &city.pipeline.despite(reason)).await?,
        None => city.anchoring.retire_key(key, &city.pipeline).await?,
    };
    Ok(json!({ "position": position, "in_force": vkeys(city) }))
}

fn vkeys(city: &City) -> Vec<String> {
    city.keys.in_force().iter().map(|key| key.vkey()).collect()
}
