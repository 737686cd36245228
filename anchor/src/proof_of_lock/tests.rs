//! Proofs against a bucket in memory that can be weak in every way there is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::store::Mode;
use chain::hash::sha256;

#[derive(Clone)]
struct Kept {
    bytes: Vec<u8>,
    lock: Option<Lock>,
}

/// What is wrong with the bucket or with the credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Allows(Attack),
    /// The credential may not do this at all.
    Forbids(Control),
    TakesNoLock,
    IsDead,
    /// From the first attack on.
    StopsAnswering,
    StaysSuspended,
    LocksEverything,
    /// Says that every deletion by key was done, and does none.
    OnlySaysDeleted,
    /// Says that whatever is tried on a locked key was done, and does none of it.
    OnlySaysYielded,
}

#[derive(Default)]
struct Bucket {
    faults: Vec<Fault>,
    versions: Mutex<BTreeMap<(String, String), Kept>>,
    suspended: Mutex<bool>,
    by_keys: bool,
}

fn ok() -> Answer {
    Answer::new(200, "")
}

fn refused() -> Answer {
    Answer::new(403, "AccessDenied")
}

impl Bucket {
    fn with(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), ..Self::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn allows(&self, attack: Attack) -> bool {
        self.has(Fault::Allows(attack))
    }

    fn forbids(&self, control: Control) -> bool {
        self.has(Fault::Forbids(control))
    }

    fn is_canary(key: &str) -> bool {
        key.contains("/canary-")
    }
}

#[async_trait]
impl Tamper for Bucket {
    fn has_versions(&self) -> bool {
        !self.by_keys
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, lock: Option<Lock>) -> (Answer, Option<String>) {
        if self.has(Fault::IsDead) {
            return (Answer::new(0, "Unreachable"), None);
        }
        let mut versions = self.versions.lock().unwrap();
        let number = versions.keys().filter(|(known, _)| known == key).count();
        let over = number > 0;
        if self.by_keys {
            if over && Self::is_canary(key) && self.has(Fault::OnlySaysYielded) {
                return (ok(), None);
            }
            if over && Self::is_canary(key) && !self.allows(Attack::Overwrite)
                || over && self.forbids(Control::Overwrite)
            {
                return (Answer::new(403, "ObjectLockedByBucketPolicy"), None);
            }
            versions.insert((key.to_owned(), String::new()), Kept { bytes, lock: None });
            return (ok(), None);
        }
        if over && self.allows(Attack::Overwrite) {
            versions.retain(|(known, _), _| known != key);
        }
        let mut lock = lock.filter(|_| !self.has(Fault::TakesNoLock));
        if self.has(Fault::LocksEverything) && lock.is_none() {
            lock = Some(Lock { mode: Mode::Compliance, until: Timestamp::MAX });
        }
        versions.insert((key.to_owned(), format!("v{number}")), Kept { bytes, lock });
        (ok(), Some(format!("v{number}")))
    }

    async fn delete(&self, key: &str, version: Option<&str>, bypass: bool) -> Answer {
        if self.has(Fault::StopsAnswering) && Self::is_canary(key) {
            return Answer::new(503, "SlowDown");
        }
        let mut versions = self.versions.lock().unwrap();
        let Some(version) = version else {
            if self.forbids(Control::DeleteUnlocked) {
                return refused();
            }
            if self.has(Fault::OnlySaysDeleted) || (self.has(Fault::OnlySaysYielded) && Self::is_canary(key)) {
                return Answer::new(204, "");
            }
            if self.allows(Attack::Delete) || (self.by_keys && !Self::is_canary(key)) {
                versions.retain(|(known, _), _| known != key);
            } else if self.by_keys {
                return Answer::new(403, "ObjectLockedByBucketPolicy");
            }
            return ok();
        };
        if self.forbids(Control::DeleteVersion) || (bypass && self.forbids(Control::Bypass)) {
            return refused();
        }
        let id = (key.to_owned(), version.to_owned());
        let Some(kept) = versions.get(&id) else { return Answer::new(404, "NoSuchVersion") };
        let allowed = match kept.lock {
            None => true,
            Some(Lock { mode: Mode::Governance, .. }) => bypass,
            Some(_) if bypass => self.allows(Attack::DeleteVersionWithBypass),
            Some(_) => Self::is_canary(key) && self.allows(Attack::DeleteVersion),
        };
        if !allowed {
            return refused();
        }
        versions.remove(&id);
        ok()
    }

    async fn retain(&self, key: &str, version: &str, lock: Option<Lock>, bypass: bool) -> Answer {
        if self.forbids(Control::Extend) || (bypass && self.forbids(Control::Bypass)) {
            return refused();
        }
        let mut versions = self.versions.lock().unwrap();
        let kept = versions.get_mut(&(key.to_owned(), version.to_owned())).unwrap();
        let allowed = match (kept.lock, lock) {
            (None, _) => true,
            (Some(Lock { mode: Mode::Governance, .. }), _) => bypass,
            (Some(was), Some(lock)) if lock.mode == was.mode && lock.until >= was.until => true,
            (Some(_), None) => self.allows(Attack::RemoveRetention),
            (Some(was), Some(lock)) if lock.mode != was.mode => {
                self.allows(if bypass { Attack::DowngradeWithBypass } else { Attack::Downgrade })
            }
            (Some(_), Some(_)) => self.allows(if bypass { Attack::ShortenWithBypass } else { Attack::Shorten }),
        };
        if !allowed {
            return refused();
        }
        kept.lock = lock;
        ok()
    }

    async fn versioning(&self, on: bool) -> Answer {
        if self.forbids(Control::SetVersioning) {
            return refused();
        }
        let mut suspended = self.suspended.lock().unwrap();
        if on && *suspended && self.has(Fault::StaysSuspended) {
            return Answer::new(500, "InternalError");
        }
        if !on && !self.allows(Attack::SuspendVersioning) {
            return Answer::new(409, "InvalidBucketState");
        }
        *suspended = !on;
        ok()
    }

    async fn look(&self, key: &str, version: Option<&str>) -> Sight {
        let id = (key.to_owned(), version.unwrap_or_default().to_owned());
        match self.versions.lock().unwrap().get(&id) {
            Some(kept) => Sight::Seen { sha256: sha256(&[&kept.bytes]), lock: kept.lock },
            None => Sight::Gone,
        }
    }

    async fn sweep(&self, _except: &str) {}
}

async fn run(bucket: &Bucket) -> ProofOfLock {
    let now = "2026-11-28T12:00:00.5Z".parse().unwrap();
    let store = if bucket.by_keys { Kind::R2BucketLock } else { Kind::S3ObjectLock };
    prove(store, bucket, now, "run").await
}

const ATTACKS: [Attack; 10] = [
    Attack::DeleteVersion,
    Attack::DeleteVersionWithBypass,
    Attack::Shorten,
    Attack::ShortenWithBypass,
    Attack::Downgrade,
    Attack::DowngradeWithBypass,
    Attack::RemoveRetention,
    Attack::Overwrite,
    Attack::Delete,
    Attack::SuspendVersioning,
];

#[tokio::test]
async fn a_lock_that_refuses_everything_is_proven() {
    let bucket = Bucket::default();
    let proof = run(&bucket).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Proven, None), "{proof:#?}");
    assert_eq!(proof.attempts.iter().map(|attempt| attempt.attack).collect::<Vec<_>>(), ATTACKS);
    assert!(proof.controls.iter().all(|control| control.worked));
    assert!(!*bucket.suspended.lock().unwrap());
}

#[tokio::test]
async fn a_lock_that_yields_to_one_attack_is_named_by_it_and_by_it_alone() {
    for attack in ATTACKS {
        let bucket = Bucket::with(&[Fault::Allows(attack)]);
        let proof = run(&bucket).await;
        assert_eq!((proof.verdict, proof.reason), (Verdict::Yielded, Some(Reason::Harmed)), "{attack:?}");
        assert_eq!(proof.harm().collect::<Vec<_>>(), [attack]);
        assert_eq!(proof.attempts.len(), ATTACKS.len(), "the others are tried as well");
        assert!(proof.to_string().contains(attack.words()), "{proof}");
        assert!(!*bucket.suspended.lock().unwrap(), "versioning is on again");
    }
}

#[tokio::test]
async fn a_credential_that_merely_lacks_permission_proves_nothing() {
    let all =
        [Control::DeleteUnlocked, Control::DeleteVersion, Control::Bypass, Control::Extend, Control::SetVersioning];
    for control in all {
        let proof = run(&Bucket::with(&[Fault::Forbids(control)])).await;
        assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoControl)), "{control:?}");
    }
    let weak = run(&Bucket::with(&all.map(Fault::Forbids))).await;
    assert_eq!((weak.verdict, weak.reason), (Verdict::Unproven, Some(Reason::NoControl)));
    assert!(weak.attempts.iter().all(|attempt| attempt.attack == Attack::Overwrite || !attempt.controlled));
}

#[tokio::test]
async fn what_is_not_answered_proves_nothing() {
    let dead = run(&Bucket::with(&[Fault::IsDead])).await;
    assert_eq!((dead.verdict, dead.reason), (Verdict::Unproven, Some(Reason::NoCanary)));
    let silent = run(&Bucket::with(&[Fault::StopsAnswering])).await;
    assert_eq!((silent.verdict, silent.reason), (Verdict::Unproven, Some(Reason::NoAnswer)));
}

#[tokio::test]
async fn a_lock_that_is_taken_and_not_kept_has_yielded() {
    let proof = run(&Bucket::with(&[Fault::TakesNoLock])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Yielded, Some(Reason::NotLocked)));
}

#[tokio::test]
async fn versioning_that_stays_suspended_is_the_worst() {
    let proof = run(&Bucket::with(&[Fault::Allows(Attack::SuspendVersioning), Fault::StaysSuspended])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Yielded, Some(Reason::LeftSuspended)));
}

#[tokio::test]
async fn a_bucket_that_locks_everything_is_judged_by_what_governance_locks() {
    let proof = run(&Bucket::with(&[Fault::LocksEverything])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Proven, None), "{proof:#?}");
}

#[tokio::test]
async fn a_bucket_locked_by_rules_is_tried_by_its_keys() {
    let rules = |faults: &[Fault]| Bucket { by_keys: true, ..Bucket::with(faults) };
    let proof = run(&rules(&[])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Proven, None), "{proof:#?}");
    assert_eq!(proof.attempts.len(), 2);
    for attack in [Attack::Overwrite, Attack::Delete] {
        let proof = run(&rules(&[Fault::Allows(attack)])).await;
        assert_eq!(proof.harm().collect::<Vec<_>>(), [attack]);
    }
    for control in [Control::Overwrite, Control::DeleteUnlocked] {
        let proof = run(&rules(&[Fault::Forbids(control)])).await;
        assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoControl)), "{control:?}");
    }
}

#[tokio::test]
async fn done_is_only_a_word_where_nothing_shows_that_it_is_more() {
    let rules = |faults: &[Fault]| Bucket { by_keys: true, ..Bucket::with(faults) };
    // Deletions do nothing anywhere: that one did nothing to the canary as well proves nothing, whatever was answered.
    let proof = run(&rules(&[Fault::OnlySaysDeleted])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoControl)), "{proof:#?}");
    let delete = proof.attempts.iter().find(|attempt| attempt.attack == Attack::Delete).unwrap();
    assert_eq!((delete.status, delete.controlled, delete.harmed), (204, false, false));
    // Where the same was seen to have its effect beside the canary, what counts is what is seen of the canary.
    let proof = run(&rules(&[Fault::OnlySaysYielded])).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Proven, None), "{proof:#?}");
    assert!(proof.attempts.iter().all(|attempt| attempt.status < 300 && attempt.controlled), "{proof:#?}");
    // Over versions, a deletion by key that was done is a marker.
    let proof = run(&Bucket::default()).await;
    let delete = proof.attempts.iter().find(|attempt| attempt.attack == Attack::Delete).unwrap();
    assert_eq!((delete.status, delete.controlled), (200, true));
}

#[test]
fn what_is_not_the_name_of_an_error_is_not_repeated() {
    assert_eq!(Answer::new(403, "<script>").code, "other");
    assert_eq!(Answer::new(403, "AccessDenied").code, "AccessDenied");
}
