//! What the credential can do where nothing is locked: without that, being refused proves nothing.

use chain::hash::sha256;
use jiff::Timestamp;

use super::{Answer, Control, Controlled, Sight, Tamper};
use crate::store::{Lock, Mode};

/// The controls of one run.
#[derive(Debug, Default)]
pub struct Controls {
    pub ended: Vec<Controlled>,
}

impl Controls {
    pub fn worked(&self, control: Control) -> bool {
        self.ended.iter().any(|ended| ended.control == control && ended.worked)
    }

    pub fn add(&mut self, control: Control, answer: &Answer, worked: bool) {
        let (status, code) = (answer.status, answer.code.clone());
        self.ended.push(Controlled { control, status, code, worked: worked && answer.is_done() });
    }

    /// On versions that nothing, or only governance, locks.
    pub async fn of_versions(&mut self, tamper: &dyn Tamper, now: Timestamp, folder: &str) {
        let key = format!("{folder}governed");
        let lock = |hours| Lock { mode: Mode::Governance, until: after(now, hours) };
        let (put, version) = tamper.put(&key, b"governed".to_vec(), Some(lock(25))).await;
        let mut bypassed = put;
        if let (true, Some(version)) = (bypassed.is_done(), version.as_deref()) {
            bypassed = tamper.retain(&key, version, Some(lock(2)), true).await;
            let shorter = matches!(
                tamper.look(&key, Some(version)).await,
                Sight::Seen { lock: Some(lock), .. } if lock.until < after(now, 24)
            );
            if bypassed.is_done() && shorter {
                bypassed = tamper.delete(&key, Some(version), true).await;
            }
            let gone = tamper.look(&key, Some(version)).await == Sight::Gone;
            self.add(Control::Bypass, &bypassed, shorter && gone);
        } else {
            self.add(Control::Bypass, &bypassed, false);
        }

        let key = format!("{folder}unlocked");
        let (put, version) = tamper.put(&key, b"unlocked".to_vec(), None).await;
        let Some(version) = version.filter(|_| put.is_done()) else {
            return self.add(Control::DeleteVersion, &put, false);
        };
        let marked = tamper.delete(&key, None, false).await;
        self.add(Control::DeleteUnlocked, &marked, true);
        let locked_anyway = matches!(tamper.look(&key, Some(&version)).await, Sight::Seen { lock: Some(_), .. });
        let deleted = tamper.delete(&key, Some(&version), false).await;
        if locked_anyway && self.worked(Control::Bypass) {
            // The bucket locks everything that is put: what only governance locks has shown that this credential deletes versions.
            return self.add(Control::DeleteVersion, &bypassed, true);
        }
        let gone = tamper.look(&key, Some(&version)).await == Sight::Gone;
        self.add(Control::DeleteVersion, &deleted, gone);
    }

    /// On a key that the bucket's rules do not lock.
    pub async fn of_keys(&mut self, tamper: &dyn Tamper, folder: &str) {
        // Beside the canaries, which the rules lock.
        let key = format!("un{folder}unlocked");
        let (put, _) = tamper.put(&key, b"unlocked".to_vec(), None).await;
        if !put.is_done() {
            return self.add(Control::DeleteUnlocked, &put, false);
        }
        let (over, _) = tamper.put(&key, b"overwritten".to_vec(), None).await;
        let overwritten = matches!(
            tamper.look(&key, None).await,
            Sight::Seen { sha256: seen, .. } if seen == sha256(&[b"overwritten"])
        );
        self.add(Control::Overwrite, &over, overwritten);
        let deleted = tamper.delete(&key, None, false).await;
        let gone = tamper.look(&key, None).await == Sight::Gone;
        self.add(Control::DeleteUnlocked, &deleted, gone);
    }
}

/// So many hours from `now`, in whole seconds, as stores keep times.
pub fn after(now: Timestamp, hours: i64) -> Timestamp {
    Timestamp::from_second(now.as_second() + hours * 3600).unwrap_or(Timestamp::MAX)
}
