//! What the service does about the lock of its store: tries it by itself and when asked, and says how that ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Service;
use crate::AnchorError;
use crate::lock_watch::LockStatus;
use crate::proof_of_lock::ProofOfLock;

impl Service {
    /// How the last attempt of this process ended.
    pub fn lock(&self) -> LockStatus {
        self.lock.status()
    }

    /// Attacks the store's lock now, and puts on record how that ended.
    pub async fn prove_lock(&self) -> Result<ProofOfLock, AnchorError> {
        self.lock.prove().await
    }

    /// Tries the lock once this is the place that publishes, and then every day, until `stop` turns true. Never in the way of anything else.
    pub async fn watch_lock(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        if !self.lock.is_needed() {
            return;
        }
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = if self.seat.lock().await.is_none() {
                self.config.checkpoint_every
            } else {
                if let Err(error) = self.prove_lock().await {
                    tracing::error!(%error, alarm = error.is_alarming(), "the lock of the anchor store could not be tried");
                }
                self.config.prove_every
            };
        }
    }
}
