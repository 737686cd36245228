//! The attacks on the canary, and what they come to.

use chain::hash::sha256;
use jiff::Timestamp;

use super::controls::{Controls, after};
use super::{Answer, Attack, Attempt, Control, Reason, Sight, Tamper, Verdict};
use crate::store::{Lock, Mode};

/// Kept for a day and a little: canaries are not to lie there for seven years.
const KEPT_HOURS: i64 = 25;
const EXTENDED_HOURS: i64 = 26;

const OF_VERSIONS: &[Attack] = &[
    Attack::DeleteVersion,
    Attack::DeleteVersionWithBypass,
    Attack::Shorten,
    Attack::ShortenWithBypass,
    Attack::Downgrade,
    Attack::DowngradeWithBypass,
    Attack::RemoveRetention,
    Attack::Overwrite,
    Attack::Delete,
    // Last: while it is off, whatever is put at that moment by others is not versioned.
    Attack::SuspendVersioning,
];
const OF_KEYS: &[Attack] = &[Attack::Overwrite, Attack::Delete];

/// The object under attack, as it was before.
struct Canary {
    key: String,
    version: Option<String>,
    sight: Sight,
}

/// One run.
pub struct Run<'a> {
    tamper: &'a dyn Tamper,
    now: Timestamp,
    folder: &'a str,
    pub controls: Controls,
    pub attempts: Vec<Attempt>,
    canaries: usize,
    /// What stands in the way of a proof, the worst first.
    reasons: Vec<Reason>,
}

impl<'a> Run<'a> {
    /// Tries what must succeed.
    pub async fn begin(tamper: &'a dyn Tamper, now: Timestamp, folder: &'a str) -> Self {
        let mut controls = Controls::default();
        if tamper.has_versions() {
            controls.of_versions(tamper, now, folder).await;
        } else {
            controls.of_keys(tamper, folder).await;
        }
        Self { tamper, now, folder, controls, attempts: Vec::new(), canaries: 0, reasons: Vec::new() }
    }

    /// Tries what must fail.
    pub async fn attack(&mut self) {
        let Some(mut canary) = self.canary().await else { return };
        if self.tamper.has_versions() {
            self.extend(&mut canary).await;
            let on = self.tamper.versioning(true).await;
            self.controls.add(Control::SetVersioning, &on, true);
        }
        for attack in if self.tamper.has_versions() { OF_VERSIONS } else { OF_KEYS } {
            let answer = self.perform(*attack, &canary).await;
            let mut harmed = self.is_harmed(&canary).await;
            if *attack == Attack::SuspendVersioning {
                harmed |= answer.is_done();
                // Whatever was answered: a bucket that was asked to suspend may have done so.
                if !self.tamper.versioning(true).await.is_done() && self.controls.worked(Control::SetVersioning) {
                    self.reasons.push(Reason::LeftSuspended);
                }
            }
            self.note(*attack, &answer, harmed);
            // The next attack is judged by itself.
            if harmed {
                let Some(next) = self.canary().await else { return };
                canary = next;
            }
        }
    }

    /// A fresh canary, locked where versions have locks.
    async fn canary(&mut self) -> Option<Canary> {
        self.canaries += 1;
        let key = format!("{}canary-{}", self.folder, self.canaries);
        let versions = self.tamper.has_versions();
        let lock = Lock { mode: Mode::Compliance, until: after(self.now, KEPT_HOURS) };
        let (put, version) = self.tamper.put(&key, b"canary".to_vec(), versions.then_some(lock)).await;
        if !put.is_done() || (versions && version.is_none()) {
            self.reasons.push(Reason::NoCanary);
            return None;
        }
        let sight = self.tamper.look(&key, version.as_deref()).await;
        match &sight {
            Sight::Seen { sha256: seen, lock: kept } if *seen == canary_digest() => {
                if versions && !kept.is_some_and(|kept| kept.mode == lock.mode && kept.until >= lock.until) {
                    self.reasons.push(Reason::NotLocked);
                    return None;
                }
            }
            Sight::Seen { .. } | Sight::Gone => {
                self.reasons.push(Reason::NotLocked);
                return None;
            }
            Sight::Unknown(_) => {
                self.reasons.push(Reason::NoAnswer);
                return None;
            }
        }
        Some(Canary { key, version, sight })
    }

    /// Who cannot set a lock at all is refused every shortening.
    async fn extend(&mut self, canary: &mut Canary) {
        let Some(version) = canary.version.clone() else { return };
        let lock = Lock { mode: Mode::Compliance, until: after(self.now, EXTENDED_HOURS) };
        let answer = self.tamper.retain(&canary.key, &version, Some(lock), false).await;
        let seen = self.tamper.look(&canary.key, Some(&version)).await;
        let extended =
            matches!(&seen, Sight::Seen { lock: Some(kept), .. } if kept.mode == lock.mode && kept.until >= lock.until);
        self.controls.add(Control::Extend, &answer, extended);
        if extended {
            canary.sight = seen;
        }
    }

    async fn perform(&self, attack: Attack, canary: &Canary) -> Answer {
        let (tamper, key, version) = (self.tamper, canary.key.as_str(), canary.version.as_deref());
        let lock = |mode, hours| Some(Lock { mode, until: after(self.now, hours) });
        let retain = async |lock, bypass| tamper.retain(key, version.unwrap_or_default(), lock, bypass).await;
        match attack {
            Attack::DeleteVersion => tamper.delete(key, version, false).await,
            Attack::DeleteVersionWithBypass => tamper.delete(key, version, true).await,
            Attack::Shorten => retain(lock(Mode::Compliance, 1), false).await,
            Attack::ShortenWithBypass => retain(lock(Mode::Compliance, 1), true).await,
            Attack::Downgrade => retain(lock(Mode::Governance, EXTENDED_HOURS), false).await,
            Attack::DowngradeWithBypass => retain(lock(Mode::Governance, EXTENDED_HOURS), true).await,
            Attack::RemoveRetention => retain(None, true).await,
            Attack::Overwrite => tamper.put(key, b"overwritten".to_vec(), None).await.0,
            Attack::Delete => tamper.delete(key, None, false).await,
            Attack::SuspendVersioning => tamper.versioning(false).await,
        }
    }

    /// What is seen afterwards counts, whatever was answered.
    async fn is_harmed(&mut self, canary: &Canary) -> bool {
        match (&canary.sight, self.tamper.look(&canary.key, canary.version.as_deref()).await) {
            (Sight::Seen { lock: was, .. }, Sight::Seen { sha256: seen, lock }) => {
                let kept = match (was, lock) {
                    (Some(was), Some(lock)) => lock.mode == was.mode && lock.until >= was.until,
                    (None, _) => true,
                    (Some(_), None) => false,
                };
                seen != canary_digest() || !kept
            }
            (_, Sight::Gone) => true,
            (_, Sight::Unknown(_)) => {
                self.reasons.push(Reason::NoAnswer);
                false
            }
            (Sight::Gone | Sight::Unknown(_), Sight::Seen { .. }) => false,
        }
    }

    fn note(&mut self, attack: Attack, answer: &Answer, harmed: bool) {
        let controlled = self.is_controlled(attack, answer);
        if harmed {
            self.reasons.push(Reason::Harmed);
        } else if !answer.is_done() && !answer.is_refused() {
            self.reasons.push(Reason::NoAnswer);
        } else if !controlled {
            self.reasons.push(Reason::NoControl);
        }
        let (status, code) = (answer.status, answer.code.clone());
        self.attempts.push(Attempt { attack, status, code, controlled, harmed });
    }

    fn is_controlled(&self, attack: Attack, answer: &Answer) -> bool {
        let worked = |control| self.controls.worked(control);
        match attack {
            Attack::DeleteVersion => worked(Control::DeleteVersion),
            Attack::DeleteVersionWithBypass => worked(Control::DeleteVersion) && worked(Control::Bypass),
            Attack::Shorten | Attack::Downgrade => worked(Control::Extend),
            Attack::ShortenWithBypass | Attack::DowngradeWithBypass | Attack::RemoveRetention => {
                worked(Control::Extend) && worked(Control::Bypass)
            }
            // Over versions, what was done made a marker or one more version, and needs no control. Without them "done" is only a word.
            Attack::Overwrite if self.tamper.has_versions() => true,
            Attack::Overwrite => worked(Control::Overwrite),
            Attack::Delete if self.tamper.has_versions() && answer.is_done() => true,
            Attack::Delete => worked(Control::DeleteUnlocked),
            Attack::SuspendVersioning => worked(Control::SetVersioning),
        }
    }

    pub fn verdict(&self) -> (Verdict, Option<Reason>) {
        let has = |reason: &Reason| self.reasons.contains(reason);
        let yielded = [Reason::LeftSuspended, Reason::Harmed, Reason::NotLocked].into_iter().find(has);
        if yielded.is_some() {
            return (Verdict::Yielded, yielded);
        }
        match [Reason::NoCanary, Reason::NoControl, Reason::NoAnswer].into_iter().find(has) {
            None => (Verdict::Proven, None),
            reason => (Verdict::Unproven, reason),
        }
    }
}

fn canary_digest() -> chain::Hash {
    sha256(&[b"canary"])
}
