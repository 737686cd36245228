//! When a log is published and anchored, and the steps of one anchor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::heads::Commitment;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Service;
use super::config::DAY;
use crate::AnchorError;
use crate::anchor_format::{self, Anchored, Row};
use crate::anchorer::{self, Draft};
use crate::error::blocking;
use crate::listing;
use crate::publisher::approximate;

/// After an anchor that failed. The store or the authority that failed is not asked every second.
const AGAIN: Duration = Duration::from_secs(10);

/// Sizes that are tried for one anchor, should somebody have taken the keys.
const SIZES: usize = 8;

/// The newest anchor: its number, when it was put on record by the log's clock, and when this process knew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub seq: u64,
    at: Timestamp,
    known: Instant,
}

impl Service {
    /// Publishes and anchors until `stop` turns true. What goes wrong is logged, counted, and tried again.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.config.checkpoint_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signed_at = Instant::now();
        let mut failed_at: Option<Instant> = None;
        // Whether the log has grown since its last anchor is not known after a start: one too many harms nobody.
        let mut grown = true;
        // Others may have anchored until now.
        let mut know = false;
        // Said at once, not only when the next anchor is due.
        let _ = self.check_store().await;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            let published = self.publish(signed_at.elapsed() >= DAY).await;
            know = published.is_ok() && (know || self.learn().await.is_ok());
            if let Ok(true) = published {
                (signed_at, grown) = (Instant::now(), true);
            }
            let (grows, idles) = (self.config.anchor_every, self.config.heartbeat);
            let every = if grown { grows.min(idles) } else { idles };
            let paused = failed_at.is_some_and(|at| at.elapsed() < AGAIN.min(self.config.anchor_every));
            if !know || paused || self.since_last() < every || self.published().await == 0 {
                continue;
            }
            let before = self.newest();
            // What says that the last one was written is covered by the next, also when nothing else has grown.
            if self.publish(true).await.is_err() {
                continue;
            }
            // Before the anchor, so that its checkpoint covers them. Without them it is still an anchor.
            let _ = self.commit_heads().await;
            let anchored = self.anchor_unless_others_did(before).await.is_ok();
            failed_at = (!anchored).then(Instant::now);
            grown &= !anchored;
        }
    }

    /// Takes from the log which anchor is its last: how long ago that was does not begin anew with every start.
    async fn learn(&self) -> Result<(), AnchorError> {
        let last = self.on_record.lock().await.last(&self.log).await?;
        self.anchored.send_replace(last.map(|(seq, at)| Last { seq, at, known: Instant::now() }));
        self.note_behind();
        Ok(())
    }

    /// By this server's clock, or by how long this process has known: a clock that was put back keeps no anchor waiting.
    fn since_last(&self) -> Duration {
        let Some(last) = *self.anchored.borrow() else { return Duration::MAX };
        let now = (self.config.clock)().parse::<Timestamp>().unwrap_or(last.at);
        Duration::try_from(now.duration_since(last.at)).unwrap_or_default().max(last.known.elapsed())
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
        let found = match on_record.newest(&self.log).await? {
            Some(recorded) => {
                anchorer::find(self.store.as_ref(), recorded).await.map(|found| Some((recorded.key.clone(), found)))
            }
            None => Ok(None),
        };
        drop(on_record);
        let mut strays = Vec::new();
        if let Some((key, found)) = self.note_anchoring(found)? {
            if let Ok((anchor, _)) = anchor_format::read(&key, &found.bytes, &self.keys.policy()) {
                self.stamping.found(&anchor);
            }
            strays = found.strays;
        }
        self.note_strays(&self.beside, strays);
        Ok(())
    }

    /// The number of the newest anchor that is known here.
    fn newest(&self) -> Option<u64> {
        self.anchored.borrow().map(|last| last.seq)
    }

    /// While this one waited for its turn, somebody may have been given the anchor that was due.
    async fn anchor_unless_others_did(&self, before: Option<u64>) -> Result<(), AnchorError> {
        let _alone = self.alone.lock().await;
        if self.newest() == before { self.anchor_alone().await.map(drop) } else { Ok(()) }
    }

    async fn anchor_published(&self) -> Result<Anchored, AnchorError> {
        let _alone = self.alone.lock().await;
        self.anchor_alone().await
    }

    /// Only for who holds `alone`.
    async fn anchor_alone(&self) -> Result<Anchored, AnchorError> {
        let anchored = self.anchor_beside_strays().await;
        if let Ok(anchored) = &anchored {
            metrics::gauge!("guildhall_anchored_size").set(approximate(anchored.size));
            let at = (self.config.clock)().parse().unwrap_or(Timestamp::now());
            self.anchored.send_replace(Some(Last { seq: anchored.seq, at, known: Instant::now() }));
            self.note_behind();
        }
        self.note_anchoring(anchored)
    }

    /// A number has a key for every size of the log. One that somebody else took is left to them: the log grows, and the key is another.
    async fn anchor_beside_strays(&self) -> Result<Anchored, AnchorError> {
        for _ in 0..SIZES {
            match self.try_anchor().await {
                Err(AnchorError::Taken(key)) => {
                    tracing::error!(%key, alarm = true, "somebody took a name that the next anchor needs: another is taken");
                    self.grow().await?;
                }
                ended => return ended,
            }
        }
        self.try_anchor().await
    }

    /// Makes the log longer by what changes nothing: the newest anchor is put on record once more, word for word.
    async fn grow(&self) -> Result<(), AnchorError> {
        let newest = self.on_record.lock().await.newest(&self.log).await?.cloned();
        if let Some(newest) = newest {
            let data = serde_json::to_value(&newest)
                .map_err(|error| AnchorError::unreadable(anchor_format::ANCHORED, error))?;
            self.recorder.record(anchor_format::ANCHORED, data).await?;
        }
        self.publish(true).await?;
        Ok(())
    }

    async fn try_anchor(&self) -> Result<Anchored, AnchorError> {
        let draft = self.draft().await?;
        // Nobody waits for the authority: what is signed goes on being signed meanwhile.
        let token = self.stamping.stamp(&draft.anchor, self.config.clock).await?;
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        held.check().await?;
        let anchored = self.anchorer.lock().await.anchor(draft, token).await;
        *seat = Some(held);
        anchored
    }

    /// The next anchor, over what was published last.
    async fn draft(&self) -> Result<Draft, AnchorError> {
        let last = self.publisher.lock().await.last().map(|(checkpoint, note)| (checkpoint.size, note.to_owned()));
        let (size, note) = last.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published yet"))?;
        let heads = self.heads_at(size).await;
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        held.check().await?;
        // The next anchor names the one before: where that is gone, the store is not the one it was.
        let draft = match self.check_store().await {
            Ok(()) => self.anchorer.lock().await.draft(&note, heads).await,
            Err(error) => Err(error),
        };
        *seat = Some(held);
        draft
    }

    /// What the log of this size says last of the heads of its streams. Without it, it is still an anchor.
    async fn heads_at(&self, size: u64) -> Option<Commitment> {
        let mut heads = self.heads().await.ok()?;
        let on_record = blocking(move || {
            heads.read_to(size)?;
            Ok(heads.on_record())
        });
        on_record.await.ok()?.filter(|on_record| on_record.position < size).map(|on_record| on_record.commitment)
    }

    /// What is wrong with anchoring stays said, also while publishing goes on well.
    pub(super) fn note_anchoring<T>(&self, result: Result<T, AnchorError>) -> Result<T, AnchorError> {
        self.note_in(&self.anchor_trouble, "anchoring", result)
    }

    /// Every anchor in the store, what is missing among them, and what lies there besides.
    pub async fn list(&self) -> Result<Vec<Row>, AnchorError> {
        let on_record = self.on_record.lock().await.newest(&self.log).await?.map_or(0, |newest| newest.seq + 1);
        listing::list(self.store.as_ref(), &self.keys, on_record).await
    }
}
