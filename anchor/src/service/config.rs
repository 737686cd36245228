//! Where, how often, and with whom a log is published and anchored.

use std::path::PathBuf;
use std::time::Duration;

use crate::anchorer::{self, Keep};
use crate::mirror::Mirror;
use crate::signing_keys::SigningKeys;
use crate::stamping::TimeSource;
use crate::startup::Known;
use crate::witnessing::{self, Witnesses};

/// A city that does nothing says so once a day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough for a store at the other end of a country, and little for a city that waits to be opened.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where and how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds `public/`, `packs/`, `signing/`, `anchoring/`, `heads/`. One shared place, and not inside the database.
    pub data_dir: PathBuf,
    /// Between checkpoints while the log grows.
    pub checkpoint_every: Duration,
    /// Between anchors while the log grows.
    pub anchor_every: Duration,
    /// Between anchors of a log that does not grow, however often the server is started: so that its silence can be told from lost anchors.
    pub heartbeat: Duration,
    /// Between attempts on the store's lock, and between surveys of what the stores have.
    pub prove_every: Duration,
    /// How long a start waits for the store. What was not seen by then is looked at once the store answers.
    pub patience: Duration,
    /// How long what is anchored is locked.
    pub keep: Keep,
    /// Name and version of the writing software, as anchors give it.
    pub software: String,
    /// This server's clock, in the one spelling of times.
    pub clock: fn() -> String,
    /// Who cosigns checkpoints, if anybody is asked to.
    pub witnesses: Option<Witnesses>,
    /// Who is asked for the time of each anchor, if anybody is.
    pub time: Option<TimeSource>,
    /// Where everything that is anchored is carried to as well.
    pub mirrors: Vec<Mirror>,
}

impl Config {
    /// A checkpoint a second, an anchor every fifteen minutes, kept for seven years and a month; the lock tried once a day.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            checkpoint_every: Duration::from_secs(1),
            anchor_every: Duration::from_secs(15 * 60),
            heartbeat: DAY,
            prove_every: DAY,
            patience: PATIENCE,
            keep: Keep { years: 7, margin_days: 30 },
            software: concat!("guildhall/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock: anchorer::now,
            witnesses: None,
            time: None,
            mirrors: Vec::new(),
        }
    }

    /// What the witnesses that answer have cosigned.
    pub(crate) async fn witnessed(&self, keys: &SigningKeys) -> Vec<Known> {
        match &self.witnesses {
            Some(witnesses) => witnessing::held(witnesses, keys).await,
            None => Vec::new(),
        }
    }
}
