//! The terms of a grant: what it allows, and until when. What a source says of them arrives where it is narrower, and what an actor left
//! of them binds whoever imports.

use super::authority::{inventory, stream};
use super::command::ImportCapability;
use super::event::GrantEvent;
use super::scope::Scope;
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

/// The default allows everything, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    pub scope: Scope,
    pub expires_at: Option<Time>,
}

impl Terms {
    pub fn is_over(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Terms that are no wider than either.
    pub fn within_both(&self, other: &Self) -> Self {
        let expires_at = self.expires_at.into_iter().chain(other.expires_at).min();
        Self { scope: self.scope.within_both(&other.scope), expires_at }
    }
}

/// What an actor said of a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It was taken away.
    Nothing,
    /// It was narrowed, or given with limits.
    AtMost(Terms),
}

/// What is left of a grant's terms when its source says these; `None` when they say nothing narrower. An actor may have narrowed them
/// further than the source ever did: so wider terms of a source change nothing.
pub fn narrowed(held: (&Scope, Option<Time>), told: (&Scope, Option<Time>)) -> Option<(Scope, Option<Time>)> {
    let scope = held.0.meet(told.0);
    let expires_at = held.1.into_iter().chain(told.1).min();
    (scope != *held.0 || expires_at != held.1).then_some((scope, expires_at))
}

/// The source still lists what is living here.
pub(super) fn follow_source(turn: &mut Turn<'_>, c: &ImportCapability) -> Result<Outcome, Stop> {
    let living = inventory(turn, c.holder)?.named(c.kind, &c.reference);
    // What was handed on is held by what was handed on from.
    let Some(grant) = living.filter(|living| living.parent().is_none()) else { return Ok(Outcome::AlreadyDone) };
    let id = grant.id();
    let Some((scope, expires_at)) = narrowed((&grant.scope, grant.expires_at), (&c.scope, c.expires_at)) else {
        return Ok(Outcome::AlreadyDone);
    };
    turn.record(stream(c.holder), GrantEvent::Attenuated { grant: id, scope, expires_at, told: true })?;
    Ok(Outcome::Done)
}
