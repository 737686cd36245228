//! The capabilities of one holder folded from their events.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::event::{EndedBy, GrantEvent, Granted, Link};
use super::kind::{CapabilityKind, CapabilityRef, Source};
use super::scope::Scope;
use super::terms::{Terms, Word};
use crate::ids::{CitizenId, GrantId};
use crate::party::{HolderId, HolderKind};
use crate::time::Time;

/// A living grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As it began; scope and end may have become narrower since.
    begun: Arc<Granted>,
    pub scope: Scope,
    pub expires_at: Option<Time>,
    pub granted_at: Time,
    pub last_verified_at: Option<Time>,
    pub stale: bool,
    /// When it was last tried to verify it and came to nothing.
    failed_at: Option<Time>,
    /// Attempts to verify it that came to nothing since the last one that did not.
    pub failed_attempts: u32,
    /// What an actor left of it, if one said so. Not what was delegated: whoever delegates binds no source.
    left: Option<Arc<Terms>>,
    /// Somebody asked for a verification ahead of its hour.
    pub reverify: bool,
    /// What was delegated from it; of the first grant of a chain, everything below it.
    pub children: OrdSet<Link>,
}

impl Grant {
    pub fn id(&self) -> GrantId {
        self.begun.grant
    }

    pub fn kind(&self) -> CapabilityKind {
        self.begun.kind
    }

    pub fn reference(&self) -> &CapabilityRef {
        &self.begun.reference
    }

    pub fn source(&self) -> Source {
        self.begun.source
    }

    pub fn is_delegable(&self) -> bool {
        self.begun.delegable
    }

    pub fn granted_by(&self) -> Option<CitizenId> {
        self.begun.granted_by
    }

    pub fn parent(&self) -> Option<Link> {
        self.begun.parent
    }

    /// Past its time, whether or not anybody recorded it.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Past the end that an actor gave it.
    fn is_withdrawn(&self, now: Time) -> bool {
        self.left.as_ref().is_some_and(|left| left.is_over(now))
    }

    /// An actor narrows it to this: what stays as it was is not their word.
    fn hear(&mut self, scope: &Scope, expires_at: Option<Time>) {
        let mut left = self.left.as_deref().cloned().unwrap_or_default();
        if *scope != self.scope {
            left.scope = scope.clone();
        }
        if expires_at != self.expires_at {
            left.expires_at = expires_at;
        }
        self.left = (left != Terms::default()).then(|| Arc::new(left));
    }

    /// When the source was last known to have it.
    pub fn fresh_since(&self) -> Time {
        self.last_verified_at.unwrap_or(self.granted_at)
    }

    /// When something was last heard of it, or tried to be.
    pub fn heard_at(&self) -> Time {
        self.failed_at.unwrap_or(self.granted_at).max(self.fresh_since())
    }
}

type Name = (CapabilityKind, CapabilityRef);

/// What is known of a grant that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub since: Time,
    pub source: Source,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
}

/// The default is a holder who never held anything.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    holder: Option<(HolderId, HolderKind)>,
    living: OrdMap<GrantId, Grant>,
    by_name: OrdMap<Name, GrantId>,
    /// Until they are pruned.
    dead: OrdMap<GrantId, Dead>,
    /// What actors said of what ended since, and of which source's: importers leave it so.
    words: OrdMap<Name, OrdMap<Source, Word>>,
}

impl Inventory {
    pub fn holder(&self) -> Option<HolderId> {
        self.holder.map(|(id, _)| id)
    }

    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.living.get(&id)
    }

    pub const fn living(&self) -> &OrdMap<GrantId, Grant> {
        &self.living
    }

    /// The one living grant of that name.
    pub fn named(&self, kind: CapabilityKind, reference: &CapabilityRef) -> Option<&Grant> {
        self.by_name.get(&(kind, reference.clone())).and_then(|id| self.living.get(id))
    }

    /// The living grants of one kind.
    pub fn of_kind(&self, kind: CapabilityKind) -> impl Iterator<Item = &Grant> {
        self.living.values().filter(move |grant| grant.kind() == kind)
    }

    /// A grant that ended; `None` while it lives, and once it is pruned.
    pub fn dead(&self, id: GrantId) -> Option<&Dead> {
        self.dead.get(&id)
    }

    /// Since when a grant has been dead; `None` while it lives, and once it is pruned.
    pub fn dead_since(&self, id: GrantId) -> Option<Time> {
        self.dead(id).map(|dead| dead.since)
    }

    /// Whether an actor took this source's away.
    pub fn is_refused(&self, kind: CapabilityKind, reference: &CapabilityRef, source: Source) -> bool {
        let words = self.words.get(&(kind, reference.clone()));
        words.and_then(|words| words.get(&source)) == Some(&Word::Nothing)
    }

    /// Whether an actor took this away, from whatever source it came, so that no importer gives it back.
    pub fn is_withheld(&self, kind: CapabilityKind, reference: &CapabilityRef, now: Time) -> bool {
        let is_no = |word: &Word| match word {
            Word::Nothing => true,
            Word::AtMost(left) => left.is_over(now),
        };
        self.words(kind, reference).any(is_no)
            || self.named(kind, reference).is_some_and(|grant| grant.is_withdrawn(now))
    }

    /// The most that importers give of this: what actors left of it, from whatever source it came.
    pub fn left(&self, kind: CapabilityKind, reference: &CapabilityRef) -> Terms {
        let ended = self.words(kind, reference).filter_map(|word| match word {
            Word::Nothing => None,
            Word::AtMost(left) => Some(left),
        });
        let living = self.named(kind, reference).and_then(|grant| grant.left.as_deref());
        ended.chain(living).fold(Terms::default(), |left, terms| left.within_both(terms))
    }

    fn words(&self, kind: CapabilityKind, reference: &CapabilityRef) -> impl Iterator<Item = &Word> {
        self.words.get(&(kind, reference.clone())).into_iter().flat_map(OrdMap::values)
    }

    pub fn evolve(&mut self, event: &GrantEvent, at: Time) {
        match event {
            GrantEvent::Granted(granted) => self.begin(granted, at),
            GrantEvent::Delegated { grant, child } => self.change(*grant, |grant| {
                grant.children.insert(*child);
            }),
            GrantEvent::DelegationEnded { grant, children } => self.change(*grant, |grant| {
                children.iter().for_each(|child| {
                    grant.children.remove(child);
                });
            }),
            GrantEvent::Attenuated { grant, scope, expires_at, told } => self.change(*grant, |grant| {
                if !told && grant.parent().is_none() {
                    grant.hear(scope, *expires_at);
                }
                grant.scope = scope.clone();
                grant.expires_at = *expires_at;
            }),
            GrantEvent::ReverificationRequested { grant } => self.change(*grant, |grant| grant.reverify = true),
            GrantEvent::Verified { grant } => self.change(*grant, |grant| {
                grant.last_verified_at = Some(at);
                grant.stale = false;
                grant.failed_attempts = 0;
                grant.reverify = false;
            }),
            GrantEvent::VerificationFailed { grant, .. } => self.change(*grant, |grant| {
                grant.failed_attempts = grant.failed_attempts.saturating_add(1);
                grant.failed_at = Some(at);
                grant.reverify = false;
            }),
            GrantEvent::WentStale { grant } => self.change(*grant, |grant| grant.stale = true),
            GrantEvent::Revoked { grant, by, .. } => self.end(*grant, *by == EndedBy::Actor, at),
            GrantEvent::Expired { grant, .. } | GrantEvent::Orphaned { grant, .. } => self.end(*grant, false, at),
            GrantEvent::Withheld { grant, .. } => {
                let Some(Dead { source, kind, reference, .. }) = self.dead.get(grant).cloned() else { return };
                self.words.entry((kind, reference)).or_default().insert(source, Word::Nothing);
            }
            GrantEvent::Pruned { grant } => {
                self.dead.remove(grant);
            }
        }
    }

    fn begin(&mut self, granted: &Granted, at: Time) {
        let name = (granted.kind, granted.reference.clone());
        self.holder = Some((granted.holder, granted.holder_kind));
        let left = self.heard(&name, granted);
        self.by_name.insert(name, granted.grant);
        let grant = Grant {
            begun: Arc::new(granted.clone()),
            scope: granted.scope.clone(),
            expires_at: granted.expires_at,
            granted_at: at,
            last_verified_at: granted.verified.then_some(at),
            stale: false,
            failed_at: None,
            failed_attempts: 0,
            left: left.map(Arc::new),
            reverify: false,
            children: OrdSet::new(),
        };
        self.living.insert(granted.grant, grant);
    }

    /// What an actor leaves of a grant that begins: an importer's goes on with what was left of the source's last one.
    fn heard(&mut self, name: &Name, granted: &Granted) -> Option<Terms> {
        if granted.parent.is_some() {
            return None;
        }
        if granted.granted_by.is_some() {
            self.lift(name, granted.source);
            let given = Terms { scope: granted.scope.clone(), expires_at: granted.expires_at };
            return (given != Terms::default()).then_some(given);
        }
        match self.words.get(name)?.get(&granted.source)? {
            Word::AtMost(left) => Some(left.clone()),
            Word::Nothing => None,
        }
    }

    /// Whoever has the source's authority gave it again.
    fn lift(&mut self, name: &Name, source: Source) {
        let Some(words) = self.words.get_mut(name) else { return };
        words.remove(&source);
        if words.is_empty() {
            self.words.remove(name);
        }
    }

    fn change(&mut self, id: GrantId, change: impl FnOnce(&mut Grant)) {
        if let Some(grant) = self.living.get_mut(&id) {
            change(grant);
        }
    }

    fn end(&mut self, id: GrantId, by_actor: bool, at: Time) {
        let Some(grant) = self.living.remove(&id) else { return };
        let name = (grant.kind(), grant.reference().clone());
        self.by_name.remove(&name);
        let (kind, reference) = name.clone();
        self.dead.insert(id, Dead { since: at, source: grant.source(), kind, reference });
        let word = match grant.left.as_deref() {
            _ if by_actor => Word::Nothing,
            Some(left) => Word::AtMost(left.clone()),
            None => return,
        };
        self.words.entry(name).or_default().insert(grant.source(), word);
    }
}
