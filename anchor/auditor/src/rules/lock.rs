//! Rules of what is recorded about attacks on the lock of the anchors' store: the verdict follows from what was tried.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Notes;

/// One run of attacks (FORMAT.md section 8.9).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockTried {
    store: Store,
    verdict: Verdict,
    #[serde(default)]
    reason: Option<Reason>,
    controls: Vec<Controlled>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Store {
    #[serde(rename = "s3-object-lock")]
    S3,
    #[serde(rename = "r2-bucket-lock")]
    R2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Proven,
    Yielded,
    Unproven,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    Harmed,
    NotLocked,
    LeftSuspended,
    NoProver,
    NoCanary,
    NoControl,
    NoAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Control {
    DeleteUnlocked,
    DeleteVersion,
    Bypass,
    Extend,
    Overwrite,
    SetVersioning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Attack {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Controlled {
    control: Control,
    status: u16,
    code: Box<str>,
    worked: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    attack: Attack,
    status: u16,
    code: Box<str>,
    controlled: bool,
    harmed: bool,
}

/// What has to be tried before a lock of this kind is proven, and what must have worked.
fn all(store: Store) -> (BTreeSet<Attack>, BTreeSet<Control>) {
    use Attack::*;
    match store {
        Store::S3 => (
            [
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
            ]
            .into(),
            [Control::DeleteVersion, Control::Bypass, Control::Extend, Control::SetVersioning].into(),
        ),
        Store::R2 => ([Overwrite, Delete].into(), [Control::Overwrite, Control::DeleteUnlocked].into()),
    }
}

pub fn tried(tried: &LockTried, notes: &mut Notes) {
    let codes = tried.controls.iter().map(|tried| (tried.status, &tried.code));
    let codes = codes.chain(tried.attempts.iter().map(|tried| (tried.status, &tried.code)));
    for (status, code) in codes {
        let is_name = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        notes.expect(is_name && status < 600, || "an answer of the store is neither a status nor a name".to_owned());
    }
    let harmed = tried.attempts.iter().any(|attempt| attempt.harmed);
    notes.expect((tried.verdict == Verdict::Proven) == tried.reason.is_none(), || {
        "a lock is proven without a reason, and anything else for one".to_owned()
    });
    let yields = matches!(tried.reason, Some(Reason::Harmed | Reason::NotLocked | Reason::LeftSuspended));
    notes.expect((tried.verdict == Verdict::Yielded) == yields, || "the verdict does not fit its reason".to_owned());
    notes.expect(!harmed || tried.verdict == Verdict::Yielded, || {
        "an attack did harm, and the lock is not said to have yielded".to_owned()
    });
    if tried.verdict == Verdict::Proven {
        let (attacks, controls) = all(tried.store);
        let tried_all: BTreeSet<Attack> = tried.attempts.iter().map(|attempt| attempt.attack).collect();
        let worked: BTreeSet<Control> =
            tried.controls.iter().filter(|control| control.worked).map(|control| control.control).collect();
        let controlled = tried.attempts.iter().all(|attempt| attempt.controlled);
        notes.expect(tried_all == attacks && controlled && worked.is_superset(&controls), || {
            "a lock is said to be proven without all attacks and their controls".to_owned()
        });
    }
}
