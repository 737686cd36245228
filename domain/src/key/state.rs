//! One key folded from its events.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::KeyEvent;
use crate::ids::{CitizenId, KeyId};
use crate::text::Digest;
use crate::time::Time;

/// The default is a key that was never issued.
#[derive(Debug, Clone, Default)]
pub struct Key(Option<Issued>);

#[derive(Debug, Clone)]
struct Issued {
    citizen: CitizenId,
    verifier: Digest,
    actions: Option<Arc<BTreeSet<String>>>,
    expires_at: Option<Time>,
    replaces: Option<KeyId>,
    retired: bool,
    revoked: bool,
}

impl Key {
    pub const fn exists(&self) -> bool {
        self.0.is_some()
    }

    fn issued(&self) -> &Issued {
        self.0.as_ref().expect("a key is asked about only once it exists")
    }

    pub fn citizen(&self) -> CitizenId {
        self.issued().citizen
    }

    pub fn verifier(&self) -> Digest {
        self.issued().verifier
    }

    /// What it is limited to; `None` = all that its citizen may do.
    pub fn actions(&self) -> Option<&BTreeSet<String>> {
        self.issued().actions.as_deref()
    }

    pub fn expires_at(&self) -> Option<Time> {
        self.issued().expires_at
    }

    /// The key it was issued to succeed.
    pub fn replaces(&self) -> Option<KeyId> {
        self.issued().replaces
    }

    /// A successor was issued.
    pub fn is_retired(&self) -> bool {
        self.issued().retired
    }

    pub fn is_revoked(&self) -> bool {
        self.issued().revoked
    }

    /// Past its time, whether or not anybody recorded it.
    pub fn is_expired(&self, now: Time) -> bool {
        self.issued().expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    pub fn is_living(&self, now: Time) -> bool {
        !self.is_revoked() && !self.is_expired(now)
    }

    pub fn allows(&self, action: &str) -> bool {
        self.actions().is_none_or(|actions| actions.contains(action))
    }

    pub fn evolve(&mut self, event: &KeyEvent, _at: Time) {
        match (event, &mut self.0) {
            (KeyEvent::Issued { citizen, verifier, actions, expires_at, replaces }, slot) => {
                *slot = Some(Issued {
                    citizen: *citizen,
                    verifier: *verifier,
                    actions: actions.as_ref().map(|actions| Arc::new(actions.iter().cloned().collect())),
                    expires_at: *expires_at,
                    replaces: *replaces,
                    retired: false,
                    revoked: false,
                });
            }
            (KeyEvent::Retired { expires_at }, Some(key)) => {
                key.retired = true;
                key.expires_at = Some(*expires_at);
            }
            (KeyEvent::Revoked {}, Some(key)) => key.revoked = true,
            (KeyEvent::Retired { .. } | KeyEvent::Revoked {}, None) => unreachable!("a key's first event issues it"),
        }
    }
}
