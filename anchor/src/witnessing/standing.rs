//! Whether what is shown is witnessed, and for how long it has not been.

use std::time::{Duration, Instant};

use chain::checkpoint::{self, Examined};
use chain::policy::Policy;
use metrics::{counter, gauge};

/// The newest shown checkpoint, as its witnesses see it.
#[derive(Debug, Default)]
pub struct Standing {
    /// The text that was counted last.
    counted: Option<String>,
    /// Since when what is shown has no quorum.
    since: Option<Instant>,
    /// Size of the newest checkpoint with a quorum.
    witnessed: Option<u64>,
}

impl Standing {
    pub fn witnessed(&self) -> Option<u64> {
        self.witnessed
    }

    pub fn unwitnessed_for(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// Takes note of what is shown now, after its witnesses had their time.
    pub fn shows(&mut self, policy: &Policy, note: &str) {
        let Ok(Examined { checkpoint, witnessed, .. }) = checkpoint::examine(note, policy) else { return };
        let witnessed = witnessed && policy.quorum.is_some();
        let text = checkpoint.to_text();
        if self.counted.as_ref() != Some(&text) {
            let state = if witnessed { "witnessed" } else { "unwitnessed" };
            counter!("guildhall_checkpoints_total", "state" => state).increment(1);
            self.counted = Some(text);
        }
        if witnessed {
            self.witnessed = Some(checkpoint.size);
            if self.since.take().is_some() {
                tracing::info!(size = checkpoint.size, "checkpoints are witnessed again");
            }
        } else if policy.quorum.is_some() && self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::error!(
                size = checkpoint.size,
                alarm = true,
                "UNWITNESSED: this checkpoint is shown without its quorum"
            );
        }
        gauge!("guildhall_unwitnessed_seconds").set(self.unwitnessed_for().map_or(0.0, |time| time.as_secs_f64()));
    }
}
