//! What a source says of the terms of a grant that it told of: what got narrower arrives, what got wider does not.

use super::authority::{inventory, stream};
use super::command::ImportCapability;
use super::event::GrantEvent;
use super::scope::Scope;
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

/// What is left of a grant's terms when its source says these; `None` when they say nothing narrower. An actor may have narrowed them
/// further than the source ever did, and nobody can tell afterwards: so wider terms of a source change nothing.
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
