//! What the service does for its mirrors: has everything carried there, in nobody's way, and says how far each is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::watch;

use super::Service;
use crate::AnchorError;
use crate::mirror::{Carrier, MirrorStatus};
use crate::publisher::approximate;

/// After a failure, doubled with each that follows.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// After what a mirror lost could not all be carried there again.
const MEND_AGAIN: Duration = Duration::from_secs(600);
/// Nothing is new before the next anchor; looked at all the same now and then.
const IDLE: Duration = Duration::from_secs(60 * 60);

impl Service {
    /// Carries what is anchored to every mirror until `stop` turns true, as long as this is the place that publishes.
    pub async fn carry_to_mirrors(self: Arc<Self>, stop: watch::Receiver<bool>) {
        join_all(self.carriers.iter().map(|carrier| self.carry_to(carrier, stop.clone()))).await;
    }

    async fn carry_to(&self, carrier: &Carrier, mut stop: watch::Receiver<bool>) {
        let mut anchored = self.anchored.subscribe();
        let (mut wait, mut again) = (Duration::ZERO, AGAIN);
        let daily = self.config.prove_every;
        let (mut due, mut failed) = (Instant::now(), true);
        loop {
            // After a failure news are no reason to ask sooner.
            let waits = failed;
            let news = async {
                if waits || anchored.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
                () = news => {}
            }
            if self.seat.lock().await.is_none() {
                wait = self.config.checkpoint_every;
                continue;
            }
            let work = async {
                // At start and once a day everything is looked for that was ever brought there.
                if due <= Instant::now() {
                    match carrier.mend().await {
                        // It is due until the mirror answers.
                        Err(error @ AnchorError::Unreachable(_)) => return Err(error),
                        Ok(()) => due = Instant::now() + daily,
                        Err(_) => due = Instant::now() + daily.min(MEND_AGAIN),
                    }
                }
                carrier.carry().await
            };
            let carried = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                carried = work => carried,
            };
            self.note_behind();
            failed = carried.is_err();
            (wait, again) = match carried {
                Ok(()) => (IDLE.min(due.saturating_duration_since(Instant::now())), AGAIN),
                Err(_) => (again, (again * 2).min(AGAIN_AT_MOST)),
            };
        }
    }

    /// How far each mirror is.
    pub fn mirrors(&self) -> Vec<MirrorStatus> {
        let first = self.anchored.borrow().map(|last| last.seq);
        self.carriers.iter().map(|carrier| carrier.status(first)).collect()
    }

    pub(super) fn note_behind(&self) {
        for mirror in self.mirrors() {
            metrics::gauge!("guildhall_mirror_lag_anchors", "mirror" => mirror.name).set(approximate(mirror.behind));
        }
    }
}
