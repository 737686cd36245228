//! After a reconnect the database may be another one: the log is compared with what was published before commands go on.
//!
//! The writer itself decides nothing on a session that was not compared; what happens here lets it go on, or not.

use std::sync::Arc;
use std::time::Duration;

use super::City;

const COMPARING: &str = "the connection to the database was lost: the log is being compared with what was published";
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until the city ends.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    let mut reconnected = city.log.reconnected();
    if *reconnected.borrow() > 0 {
        // Before this worker began to look.
        reconnected.mark_changed();
    }
    loop {
        let changed = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            changed = reconnected.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
        let reconnect = *reconnected.borrow_and_update();
        // A server that only reads for another reason goes on doing so for that one.
        if city.pipeline.read_only().is_some() {
            continue;
        }
        city.pipeline.set_read_only(Some(COMPARING.to_owned()));
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            reason = compare(&city) => {
                if let Some(reason) = &reason {
                    tracing::error!(%reason, "this server only reads");
                }
                if reason.is_none() {
                    city.pipeline.compared(reconnect);
                }
                if city.pipeline.read_only().as_deref() == Some(COMPARING) {
                    city.pipeline.set_read_only(reason);
                }
            }
        }
    }
}

/// Compares until there is an answer.
async fn compare(city: &City) -> Option<String> {
    loop {
        match city.anchoring.startup_check().await {
            Ok(reason) => return reason,
            Err(error) => tracing::warn!(%error, "the log cannot be compared with what was published"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
