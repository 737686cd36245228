//! What is published and anchored, and what is wrong with it.

use serde::Serialize;

use super::Service;
use crate::AnchorError;
use crate::anchor_format::Anchored;
use crate::lock_watch::LockStatus;
use crate::mirror::MirrorStatus;
use crate::stamping::TimeStatus;
use crate::survey::Survey;
use crate::witnessing::{WitnessStatus, Witnessing};

/// What is published and anchored, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub origin: String,
    pub vkey: String,
    /// Entries under the newest checkpoint.
    pub published: u64,
    /// Entries in the log.
    pub size: u64,
    pub anchored: Option<Anchored>,
    /// What another clock says about that; missing when nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeStatus>,
    pub store: &'static str,
    pub place: String,
    /// What the store guarantees.
    pub guarantee: &'static str,
    /// Where it is carried to as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorStatus>,
    /// Whether its lock was seen to hold.
    pub lock: LockStatus,
    /// What lies in the store and was not put there for this log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<String>,
    /// What the last look at everything there found; missing until there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survey: Option<Survey>,
    /// Why the log was not compared with its anchors yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// Entries under the newest checkpoint that its quorum of witnesses cosigned; none when no quorum is asked for.
    pub witnessed: Option<u64>,
    /// For how long what is shown has lacked its quorum, in seconds.
    pub unwitnessed_seconds: Option<u64>,
    pub witnesses: Vec<WitnessStatus>,
    /// The failure of the last attempt, if it failed.
    pub trouble: Option<String>,
}

impl Service {
    pub async fn status(&self) -> Result<Status, AnchorError> {
        let published = self.publisher.lock().await.last().map_or(0, |last| last.0.size);
        let anchored = self.anchorer.lock().await.last().cloned();
        let standing = self.standing.lock().await;
        Ok(Status {
            witnessed: standing.witnessed(),
            unwitnessed_seconds: standing.unwitnessed_for().map(|time| time.as_secs()),
            witnesses: self.witnesses(),
            origin: self.log.origin().to_owned(),
            vkey: self.keys.newest().map(|key| key.vkey()).unwrap_or_default(),
            published,
            size: self.log.head().await?.size,
            anchored,
            time: self.time(),
            mirrors: self.mirrors(),
            store: self.store.kind().as_str(),
            place: self.store.place(),
            lock: self.lock.status(),
            strays: self.strays(),
            survey: self.survey.borrow().clone(),
            unseen: self.unseen.borrow().clone(),
            guarantee: self.store.guarantee(),
            trouble: [&self.trouble, &self.anchor_trouble, &self.heads_trouble]
                .into_iter()
                .find_map(|trouble| trouble.borrow().clone()),
        })
    }

    /// How it stands with each witness.
    pub fn witnesses(&self) -> Vec<WitnessStatus> {
        self.witnessing.as_ref().map(Witnessing::status).unwrap_or_default()
    }
}
