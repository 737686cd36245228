//! When a log is published and anchored, and the steps of one anchor.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::Service;
use super::config::HEARTBEAT;
use crate::AnchorError;
use crate::anchor_format::{Anchored, Listed};
use crate::anchorer;
use crate::publisher::approximate;

impl Service {
    /// Publishes and anchors until `stop` turns true. What goes wrong is logged, counted, and tried again.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.config.checkpoint_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signed_at = Instant::now();
        // An anchor at the first growth after a start: nobody knows how long the city was away.
        let mut anchored_at: Option<Instant> = None;
        let mut grown = false;
        // Said at once, not only when the next anchor is due.
        let _ = self.check_store().await;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            match self.publish(signed_at.elapsed() >= HEARTBEAT).await {
                Ok(true) => {
                    signed_at = Instant::now();
                    grown = true;
                }
                Ok(false) => {}
                Err(_) => continue,
            }
            let waited = anchored_at.map_or(HEARTBEAT, |at| at.elapsed());
            let due = (grown && waited >= self.config.anchor_every) || (anchored_at.is_some() && waited >= HEARTBEAT);
            if !due {
                continue;
            }
            // Before the anchor, so that its checkpoint covers them. Without them it is still an anchor.
            let _ = self.commit_heads().await;
            if self.anchor_published().await.is_ok() {
                anchored_at = Some(Instant::now());
                grown = false;
            }
        }
    }

    /// Publishes and anchors now, and publishes that it was anchored: from then on an auditor misses the anchor.
    pub async fn anchor_now(&self) -> Result<Anchored, AnchorError> {
        self.publish(true).await?;
        let _ = self.commit_heads().await;
        let anchored = self.anchor_published().await?;
        self.publish(true).await?;
        Ok(anchored)
    }

    /// Whether the newest anchor on record is in the store, as it was recorded. What lies beside it is an alarm, and stops nothing: it
    /// takes nothing away.
    pub async fn check_store(&self) -> Result<(), AnchorError> {
        let mut on_record = self.on_record.lock().await;
        let checked = match on_record.newest(&self.log).await? {
            Some(recorded) => anchorer::is_stored(self.store.as_ref(), recorded).await,
            None => Ok(Vec::new()),
        };
        drop(on_record);
        let strays = self.note_anchoring(checked)?;
        metrics::gauge!("guildhall_anchor_strays").set(approximate(strays.len() as u64));
        let was = self.strays.send_replace(strays.clone());
        for stray in strays.iter().filter(|stray| !was.contains(stray)) {
            tracing::error!(%stray, alarm = true, "somebody touched an anchor");
        }
        Ok(())
    }

    async fn anchor_published(&self) -> Result<Anchored, AnchorError> {
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        let note = self.publisher.lock().await.last().map(|last| last.1.to_owned());
        let note = note.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published yet"))?;
        held.check().await?;
        // The next anchor names the one before: where that is gone, the store is not the one it was.
        let result = match self.check_store().await {
            Ok(()) => self.anchorer.lock().await.anchor(&note).await,
            Err(error) => Err(error),
        };
        *seat = Some(held);
        if let Ok(anchored) = &result {
            metrics::gauge!("guildhall_anchored_size").set(approximate(anchored.size));
        }
        self.note_anchoring(result)
    }

    /// What is wrong with anchoring stays said, also while publishing goes on well.
    pub(super) fn note_anchoring<T>(&self, result: Result<T, AnchorError>) -> Result<T, AnchorError> {
        self.note_in(&self.anchor_trouble, "anchoring", result)
    }

    /// Every anchor in the store.
    pub async fn list(&self) -> Result<Vec<Listed>, AnchorError> {
        self.anchorer.lock().await.list().await
    }
}
