//! Rules of what is recorded about attacks on the lock of the anchors' store: the verdict is derived again from what was tried.

use serde::{Deserialize, Serialize};

use super::{Entry, Notes};
use crate::locks::{Attempted, Locks};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Store {
    #[serde(rename = "s3-object-lock")]
    S3,
    #[serde(rename = "r2-bucket-lock")]
    R2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Proven,
    Yielded,
    Unproven,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Harmed,
    NotLocked,
    LeftSuspended,
    NoProver,
    NoCanary,
    NoControl,
    NoAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Control {
    DeleteUnlocked,
    DeleteVersion,
    Bypass,
    Extend,
    Overwrite,
    SetVersioning,
}

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

const ON_VERSIONS: &[Attack] = &[
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
const ON_KEYS: &[Attack] = &[Attack::Overwrite, Attack::Delete];

fn is_done(status: u16) -> bool {
    (200..300).contains(&status)
}

/// For good: to come again later is no refusal.
fn is_refused(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 425, 429].contains(&status)
}

impl LockTried {
    fn worked(&self, control: Control) -> bool {
        self.controls.iter().any(|tried| tried.control == control && tried.worked)
    }

    /// Whether each control was tried where it has its place, and worked only if it was answered so.
    fn controls_fit(&self) -> bool {
        use Control::*;
        if self.controls.is_empty() {
            // Nobody tried, or the run did not come to its end.
            return self.attempts.is_empty() && matches!(self.reason, Some(Reason::NoProver | Reason::NoAnswer));
        }
        let (first, last): (&[Control], Control) = match self.store {
            Store::S3 => (&[Bypass, DeleteUnlocked, DeleteVersion], DeleteUnlocked),
            Store::R2 => (&[Overwrite, DeleteUnlocked], Overwrite),
        };
        let names: Vec<Control> = self.controls.iter().map(|tried| tried.control).collect();
        // What could not be put could not be tried on: then the control after it did not work.
        let cut: Vec<Control> = first.iter().copied().filter(|control| *control != last).collect();
        let then: &[Control] =
            if self.attempts.is_empty() || self.store == Store::R2 { &[] } else { &[Extend, SetVersioning] };
        let is_whole = names == [first, then].concat();
        let is_cut = names == [&cut, then].concat() && cut.last().is_some_and(|after| !self.worked(*after));
        let always = |control| match self.store {
            Store::S3 => matches!(control, DeleteUnlocked | SetVersioning),
            Store::R2 => false,
        };
        let fits = |tried: &Controlled| match is_done(tried.status) {
            true => tried.worked || !always(tried.control),
            false => !tried.worked,
        };
        (is_whole || is_cut) && self.controls.iter().all(fits)
    }

    /// Whether the attacks are all there in their order, or end with one that did harm.
    fn attempts_fit(&self) -> bool {
        let all = if self.store == Store::S3 { ON_VERSIONS } else { ON_KEYS };
        let tried: Vec<Attack> = self.attempts.iter().map(|attempt| attempt.attack).collect();
        let ended = tried.len() == all.len() || self.attempts.last().is_none_or(|last| last.harmed);
        let suspended = |attempt: &Attempt| attempt.attack == Attack::SuspendVersioning && is_done(attempt.status);
        all.starts_with(&tried) && ended && self.attempts.iter().all(|attempt| attempt.harmed || !suspended(attempt))
    }

    fn is_controlled(&self, attempt: &Attempt) -> bool {
        use Control::*;
        match attempt.attack {
            Attack::DeleteVersion => self.worked(DeleteVersion),
            Attack::DeleteVersionWithBypass => self.worked(DeleteVersion) && self.worked(Bypass),
            Attack::Shorten | Attack::Downgrade => self.worked(Extend),
            Attack::ShortenWithBypass | Attack::DowngradeWithBypass | Attack::RemoveRetention => {
                self.worked(Extend) && self.worked(Bypass)
            }
            Attack::Overwrite => self.store == Store::S3 || self.worked(Overwrite),
            Attack::Delete => self.store == Store::S3 && is_done(attempt.status) || self.worked(DeleteUnlocked),
            Attack::SuspendVersioning => self.worked(SetVersioning),
        }
    }

    /// Whether verdict and reason follow from the attempts, as far as what was tried tells them.
    fn follows(&self) -> bool {
        use Reason::*;
        let said = (self.verdict, self.reason);
        if self.attempts.is_empty() {
            return match said {
                (Verdict::Unproven, Some(NoProver)) => self.controls.is_empty(),
                (Verdict::Unproven, Some(NoCanary)) | (Verdict::Yielded, Some(NotLocked)) => !self.controls.is_empty(),
                (Verdict::Unproven, Some(NoAnswer)) => true,
                _ => false,
            };
        }
        let any = |is: &dyn Fn(&Attempt) -> bool| self.attempts.iter().any(is);
        let answered = |attempt: &Attempt| is_done(attempt.status) || is_refused(attempt.status);
        // Whether versioning could be turned on again is not among what was tried.
        if said == (Verdict::Yielded, Some(LeftSuspended)) {
            return self.worked(Control::SetVersioning) && any(&|attempt| attempt.attack == Attack::SuspendVersioning);
        }
        if any(&|attempt| attempt.harmed) {
            said == (Verdict::Yielded, Some(Harmed))
        } else if any(&|attempt| answered(attempt) && !attempt.controlled) {
            said == (Verdict::Unproven, Some(NoControl))
        } else if any(&|attempt| !answered(attempt)) {
            said == (Verdict::Unproven, Some(NoAnswer))
        } else {
            // Nor is whether the look afterwards was answered.
            said == (Verdict::Proven, None) || said == (Verdict::Unproven, Some(NoAnswer))
        }
    }
}

pub fn tried(tried: &LockTried, entry: &Entry, locks: &mut Locks, notes: &mut Notes) {
    let codes = tried.controls.iter().map(|tried| (tried.status, &tried.code));
    let codes = codes.chain(tried.attempts.iter().map(|tried| (tried.status, &tried.code)));
    for (status, code) in codes {
        let is_name = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        notes.expect(is_name && status < 600, || "an answer of the store is neither a status nor a name".to_owned());
    }
    notes.expect(tried.controls_fit(), || {
        "the controls of a lock are others than are tried, or one worked that was not answered so".to_owned()
    });
    notes.expect(tried.attempts_fit(), || "the attacks on a lock are others than are tried, or end early".to_owned());
    notes.expect(tried.attempts.iter().all(|attempt| attempt.controlled == tried.is_controlled(attempt)), || {
        "an attack on a lock is not controlled by what it says it is".to_owned()
    });
    notes.expect(tried.follows(), || "the verdict about a lock does not follow from what was tried".to_owned());
    locks.tried(Attempted {
        position: entry.position,
        at: entry.at,
        store: tried.store,
        verdict: tried.verdict,
        reason: tried.reason,
        harm: tried.attempts.iter().filter(|attempt| attempt.harmed).map(|attempt| attempt.attack).collect(),
    });
}
