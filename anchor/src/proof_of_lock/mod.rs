//! Whether a store's lock holds: it is attacked, by a credential that shows in the same run that it could do harm elsewhere.
//!
//! Invariants:
//! - `proven` is never said without the controls: a credential that lacks permission is refused everything, and proves nothing.
//! - Harm is what is seen afterwards, not what was answered.
//! - Nothing but canaries of this run is touched, besides the bucket's versioning, which is turned on again at once.

mod attacks;
mod controls;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use async_trait::async_trait;
use chain::Hash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{Kind, Lock};

/// What a store answered, in the words of its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 0 when nothing was answered.
    pub status: u16,
    /// The error's name, empty when there is none.
    pub code: String,
}

impl Answer {
    /// Names of errors are letters and digits; anything else is not repeated.
    pub fn new(status: u16, code: &str) -> Self {
        let is_name = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Self { status, code: if is_name { code.to_owned() } else { "other".to_owned() } }
    }

    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// For good: to come again later is no refusal.
    pub fn is_refused(&self) -> bool {
        (400..500).contains(&self.status) && ![408, 425, 429].contains(&self.status)
    }
}

/// What is to be seen of one version now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    Seen {
        sha256: Hash,
        lock: Option<Lock>,
    },
    Gone,
    /// It could not be looked at.
    Unknown(Answer),
}

/// Somebody who tries to break a store's lock. Nothing is tried again by itself: every call is one request.
#[async_trait]
pub trait Tamper: Send + Sync {
    /// Whether objects have versions with locks of their own; without, the lock is a rule of the bucket, by key.
    fn has_versions(&self) -> bool;

    /// Writes an object, and names its version.
    async fn put(&self, key: &str, bytes: Vec<u8>, lock: Option<Lock>) -> (Answer, Option<String>);

    async fn delete(&self, key: &str, version: Option<&str>, bypass: bool) -> Answer;

    /// Sets the lock of a version, or takes it off.
    async fn retain(&self, key: &str, version: &str, lock: Option<Lock>, bypass: bool) -> Answer;

    /// Turns versioning of the whole bucket on, or suspends it.
    async fn versioning(&self, on: bool) -> Answer;

    async fn look(&self, key: &str, version: Option<&str>) -> Sight;

    /// Clears away what is left of earlier runs and is not locked any more, as far as that goes.
    async fn sweep(&self, except: &str);
}

/// What the credential must be seen to do where nothing is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Deletes a key that is not locked.
    DeleteUnlocked,
    /// Deletes a version that is not locked, or one that only governance locks.
    DeleteVersion,
    /// Deletes and shortens, with the bypass, what only governance locks.
    Bypass,
    /// Extends the lock of the canary.
    Extend,
    /// Overwrites a key that is not locked.
    Overwrite,
    /// Sets the bucket's versioning.
    SetVersioning,
}

/// What is tried on the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    DeleteVersion,
    DeleteVersionWithBypass,
    Shorten,
    ShortenWithBypass,
    Downgrade,
    DowngradeWithBypass,
    RemoveRetention,
    Overwrite,
    Delete,
    SuspendVersioning,
}

/// A control and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controlled {
    pub control: Control,
    pub status: u16,
    pub code: String,
    /// It was seen to work.
    pub worked: bool,
}

/// An attack and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub attack: Attack,
    pub status: u16,
    pub code: String,
    /// Whether the credential was seen to do such a thing where nothing is locked.
    pub controlled: bool,
    /// What was kept is gone, changed, or kept for less.
    pub harmed: bool,
}

/// What the run says about the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Proven,
    Yielded,
    Unproven,
}

/// Why a lock is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An attack did harm.
    Harmed,
    /// The canary was taken, and not locked as asked.
    NotLocked,
    /// Versioning could not be turned on again.
    LeftSuspended,
    /// This kind of store has no lock.
    NoLock,
    /// No credential is configured that could do harm.
    NoProver,
    /// The store did not answer, or refused the canary itself.
    NoCanary,
    /// The credential was not seen to be able to do harm.
    NoControl,
    /// An attack, or the look after it, was not answered.
    NoAnswer,
}

/// One run against one store, as `log.lock_tried.v1` records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofOfLock {
    pub store: Kind,
    pub verdict: Verdict,
    /// Missing when proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub controls: Vec<Controlled>,
    pub attempts: Vec<Attempt>,
}

impl ProofOfLock {
    /// A store of which nothing was tried.
    pub fn untried(store: Kind) -> Self {
        Self::unproven(store, if store.has_lock() { Reason::NoProver } else { Reason::NoLock })
    }

    /// A run that did not come to its end.
    pub fn unanswered(store: Kind) -> Self {
        Self::unproven(store, Reason::NoAnswer)
    }

    fn unproven(store: Kind, reason: Reason) -> Self {
        Self { store, verdict: Verdict::Unproven, reason: Some(reason), controls: Vec::new(), attempts: Vec::new() }
    }

    /// What did harm.
    pub fn harm(&self) -> impl Iterator<Item = Attack> {
        self.attempts.iter().filter(|attempt| attempt.harmed).map(|attempt| attempt.attack)
    }
}

impl fmt::Display for ProofOfLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Verdict::Proven => "proven",
            Verdict::Yielded => "YIELDED",
            Verdict::Unproven => "unproven",
        })?;
        match self.reason {
            None => Ok(()),
            Some(Reason::Harmed) => {
                let attacks: Vec<&str> = self.harm().map(Attack::words).collect();
                write!(f, ": the store let itself be harmed by: {}", attacks.join(", "))
            }
            Some(reason) => write!(f, ": {}", reason.words()),
        }
    }
}

/// Tries it all, on canaries that are named after `name`, at this time by our clock.
pub async fn prove(store: Kind, tamper: &dyn Tamper, now: Timestamp, name: &str) -> ProofOfLock {
    let folder = format!("canary/{name}/");
    let mut run = attacks::Run::begin(tamper, now, &folder).await;
    run.attack().await;
    tamper.sweep(&folder).await;
    let (verdict, reason) = run.verdict();
    ProofOfLock { store, verdict, reason, controls: run.controls.ended, attempts: run.attempts }
}
