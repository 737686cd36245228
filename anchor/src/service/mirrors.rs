//! What the service does for its mirrors: has everything carried there, in nobody's way, and says how far each is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::Service;
use crate::mirror::{Carrier, MirrorStatus};
use crate::publisher::approximate;

/// After a failure, doubled with each that follows.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
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
        loop {
            // After a failure news are no reason to ask sooner.
            let news = async {
                if wait < IDLE || anchored.changed().await.is_err() {
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
            let carried = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                carried = carrier.carry() => carried,
            };
            self.note_behind();
            (wait, again) = match carried {
                Ok(()) => (IDLE, AGAIN),
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
