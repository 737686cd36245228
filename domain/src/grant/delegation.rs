//! Narrowing a grant, and handing it on.

use super::authority::{active_holder, as_holder, inventory, living, over_grant, stream};
use super::command::{AttenuateGrant, DelegateGrant};
use super::decide::{check_terms, free_name, not_computed, room_for_guilds};
use super::event::{GrantEvent, Granted, Link};
use super::scope::Scope;
use crate::command::Command;
use crate::ids::GrantId;
use crate::rejection::{Code, Rejection};
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

/// Longest chain: the first grant and four below it.
pub const MAX_DEPTH: usize = 5;
/// Most living grants below one that was not delegated itself.
pub const MAX_DESCENDANTS: usize = 1000;

pub(super) fn attenuate(turn: &mut Turn<'_>, c: &AttenuateGrant, command: &Command) -> Result<Outcome, Stop> {
    if c.scope.is_too_long() {
        return Err(Rejection::new(Code::ScopeTooLong).field("scope").into());
    }
    let grant = unexpired(turn, Link { holder: c.holder, grant: c.grant })?;
    not_computed(grant)?;
    let expires_at = c.expires_at.or(grant.expires_at);
    narrower(&c.scope, expires_at, &grant.scope, grant.expires_at)?;
    if c.scope == grant.scope && expires_at == grant.expires_at {
        return Ok(Outcome::AlreadyDone);
    }
    if expires_at.is_some_and(|end| end <= turn.now()) {
        return Err(Rejection::new(Code::ExpiryInPast).field("expires_at").into());
    }
    if let Some(outcome) = over_grant(turn, c.holder, c.grant, command)? {
        return Ok(outcome);
    }
    let event = GrantEvent::Attenuated { grant: c.grant, scope: c.scope.clone(), expires_at, told: false };
    turn.record(stream(c.holder), event)?;
    Ok(Outcome::Done)
}

pub(super) fn delegate(turn: &mut Turn<'_>, c: &DelegateGrant, command: &Command) -> Result<Outcome, Stop> {
    let parent = Link { holder: c.holder, grant: c.grant };
    active_holder(turn, c.holder)?;
    let above = unexpired(turn, parent)?;
    if !above.is_delegable() {
        return Err(Rejection::new(Code::NotDelegable).field("grant").into());
    }
    let scope = c.scope.clone().unwrap_or_else(|| above.scope.clone());
    let expires_at = c.expires_at.or(above.expires_at);
    check_terms(turn, &scope, expires_at)?;
    narrower(&scope, expires_at, &above.scope, above.expires_at)?;
    let (kind, reference, source) = (above.kind(), above.reference().clone(), above.source());
    let top = check_chain(turn, parent)?;
    let holder_kind = active_holder(turn, c.to)?;
    if let Some(outcome) = as_holder(turn, c.holder, command)? {
        return Ok(outcome);
    }
    // Everybody above in the chain has a living grant of this name, so no chain comes back to where it was.
    free_name(turn, c.to, kind, &reference)?;
    let grant = GrantId::from_bits(turn.fresh_id());
    let granted = Granted {
        grant,
        holder: c.to,
        holder_kind,
        kind,
        reference,
        source,
        scope,
        delegable: c.delegable,
        granted_by: turn.context.permit.actor.citizen(),
        expires_at,
        parent: Some(parent),
        verified: false,
        details: None,
    };
    turn.record(stream(c.to), GrantEvent::Granted(Box::new(granted)))?;
    let child = Link { holder: c.to, grant };
    turn.record(stream(parent.holder), GrantEvent::Delegated { grant: parent.grant, child })?;
    if top != parent {
        turn.record(stream(top.holder), GrantEvent::Delegated { grant: top.grant, child })?;
    }
    Ok(Outcome::Done)
}

/// Nobody's time is over above, and there is room for one more below: in depth, and in number. Answers with the first grant of the
/// chain.
fn check_chain(turn: &Turn<'_>, parent: Link) -> Result<Link, Stop> {
    let (mut depth, mut top) = (1, parent);
    while let Some(link) = unexpired(turn, top)?.parent() {
        depth += 1;
        top = link;
    }
    if depth >= MAX_DEPTH {
        return Err(Code::DelegationTooDeep.into());
    }
    let first = living(turn, top.holder, top.grant)?;
    if first.children.len() >= MAX_DESCENDANTS {
        return Err(Code::TooManyDelegations.into());
    }
    room_for_guilds(turn, first.source(), top.holder)?;
    Ok(top)
}

fn unexpired<'t>(turn: &'t Turn<'_>, link: Link) -> Result<&'t super::Grant, Stop> {
    let grant = inventory(turn, link.holder)?.grant(link.grant).filter(|grant| !grant.is_expired(turn.now()));
    grant.ok_or_else(|| Rejection::new(Code::GrantNotLiving).field("grant").detail(link.grant).into())
}

fn narrower(scope: &Scope, end: Option<Time>, above: &Scope, above_end: Option<Time>) -> Result<(), Rejection> {
    if !scope.is_within(above) {
        return Err(Rejection::new(Code::ScopeWider).field("scope"));
    }
    if above_end.is_some_and(|above_end| end.is_none_or(|end| end > above_end)) {
        return Err(Rejection::new(Code::ScopeWider).field("expires_at"));
    }
    Ok(())
}
