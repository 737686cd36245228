//! Granting, importing and revoking; the way to the other commands.

use super::authority::{active_holder, inventory, may_import, over_ended, over_grant, over_source, stream};
use super::command::{GrantCapability, ImportCapability, RevokeGrant};
use super::ending::{How, end};
use super::event::{EndedBy, GrantEvent, Granted, Link};
use super::kind::{CapabilityKind, CapabilityRef, Source};
use super::scope::Scope;
use super::state::{Dead, Grant};
use super::terms::Terms;
use super::{delegation, terms, verification};
use crate::command::Command;
use crate::ids::GrantId;
use crate::party::HolderId;
use crate::rejection::{Code, Rejection};
use crate::text::Text;
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

pub(crate) fn run(turn: &mut Turn<'_>, command: &Command) -> Result<Outcome, Stop> {
    match command {
        Command::GrantCapability(c) => grant(turn, c, command),
        Command::ImportCapability(c) => import(turn, c),
        Command::RevokeGrant(c) => revoke(turn, c, command),
        Command::AttenuateGrant(c) => delegation::attenuate(turn, c, command),
        Command::DelegateGrant(c) => delegation::delegate(turn, c, command),
        Command::ReverifyGrant(c) => verification::reverify(turn, c, command),
        Command::RecordVerifications(c) => verification::record(turn, c),
        Command::ExpireGrant(c) => verification::expire(turn, c),
        Command::PruneGrant(c) => verification::prune(turn, c),
        other => unreachable!("{} is no command of the inventory", other.action()),
    }
}

fn grant(turn: &mut Turn<'_>, c: &GrantCapability, command: &Command) -> Result<Outcome, Stop> {
    spoken_of(c.source, c.kind, &c.reference)?;
    check_terms(turn, &c.scope, c.expires_at)?;
    let holder_kind = active_holder(turn, c.holder)?;
    if let Some(outcome) = over_source(turn, c.source, c.holder, command)? {
        return Ok(outcome);
    }
    let living = inventory(turn, c.holder)?.named(c.kind, &c.reference);
    if let Some(living) = living.filter(|living| !living.is_expired(turn.now())) {
        let same = living.source() == c.source
            && living.scope == c.scope
            && living.expires_at == c.expires_at
            && living.is_delegable() == c.delegable
            && living.parent().is_none();
        return if same {
            Ok(Outcome::AlreadyDone)
        } else {
            Err(Rejection::new(Code::GrantExists).field("ref").into())
        };
    }
    free_name(turn, c.holder, c.kind, &c.reference)?;
    room_for_guilds(turn, c.source, c.holder)?;
    let granted = Granted {
        grant: GrantId::from_bits(turn.fresh_id()),
        holder: c.holder,
        holder_kind,
        kind: c.kind,
        reference: c.reference.clone(),
        source: c.source,
        scope: c.scope.clone(),
        delegable: c.delegable,
        granted_by: turn.context.permit.actor.citizen(),
        expires_at: c.expires_at,
        parent: None,
        verified: false,
        details: None,
    };
    turn.record(stream(c.holder), GrantEvent::Granted(Box::new(granted)))?;
    Ok(Outcome::Done)
}

/// A source lists what it has again and again: what is known already is already done, unless the source gives less than before.
fn import(turn: &mut Turn<'_>, c: &ImportCapability) -> Result<Outcome, Stop> {
    if !c.source.is_imported() {
        return Err(Rejection::new(Code::SourceMismatch).field("source").into());
    }
    may_import(&turn.context.permit, turn.city()?, c.source)?;
    spoken_of(c.source, c.kind, &c.reference)?;
    check_terms(turn, &c.scope, c.expires_at)?;
    let holder_kind = active_holder(turn, c.holder)?;
    let held = inventory(turn, c.holder)?;
    if held.is_withheld(c.kind, &c.reference, turn.now()) {
        return Err(Rejection::new(Code::Withheld).field("ref").into());
    }
    if let Some(living) = held.named(c.kind, &c.reference).filter(|living| !living.is_expired(turn.now())) {
        let same = living.source() == c.source;
        return if same {
            terms::follow_source(turn, c)
        } else {
            Err(Rejection::new(Code::GrantExists).field("ref").into())
        };
    }
    free_name(turn, c.holder, c.kind, &c.reference)?;
    let told = Terms { scope: c.scope.clone(), expires_at: c.expires_at };
    let Terms { scope, expires_at } = inventory(turn, c.holder)?.left(c.kind, &c.reference).within_both(&told);
    let granted = Granted {
        grant: GrantId::from_bits(turn.fresh_id()),
        holder: c.holder,
        holder_kind,
        kind: c.kind,
        reference: c.reference.clone(),
        source: c.source,
        scope,
        delegable: false,
        granted_by: None,
        expires_at,
        parent: None,
        verified: true,
        details: c.details.as_ref().map(Text::sealed),
    };
    turn.record(stream(c.holder), GrantEvent::Granted(Box::new(granted)))?;
    Ok(Outcome::Done)
}

/// Taking away is never too late: it works on grants of suspended holders and on those whose time is over.
fn revoke(turn: &mut Turn<'_>, c: &RevokeGrant, command: &Command) -> Result<Outcome, Stop> {
    let state = inventory(turn, c.holder)?;
    match (state.grant(c.grant), state.dead(c.grant).cloned()) {
        (None, Some(dead)) => return withhold(turn, c, &dead, command),
        (Some(grant), _) => not_computed(grant)?,
        (None, None) => {}
    }
    if let Some(outcome) = over_grant(turn, c.holder, c.grant, command)? {
        return Ok(outcome);
    }
    let reason = c.reason.as_ref().map(Text::sealed);
    end(turn, Link { holder: c.holder, grant: c.grant }, How::Revoked(reason), EndedBy::Actor)?;
    Ok(Outcome::Done)
}

/// A revocation that comes after the end: what a source gave, and might give again, is not to come back.
fn withhold(turn: &mut Turn<'_>, c: &RevokeGrant, dead: &Dead, command: &Command) -> Result<Outcome, Stop> {
    if !dead.source.is_imported() {
        return Ok(Outcome::AlreadyDone);
    }
    if let Some(outcome) = over_ended(turn, c.holder, dead.source, command)? {
        return Ok(outcome);
    }
    let state = inventory(turn, c.holder)?;
    if state.is_refused(dead.kind, &dead.reference, dead.source) {
        return Ok(Outcome::AlreadyDone);
    }
    if let Some(living) = state.named(dead.kind, &dead.reference) {
        return Err(Rejection::new(Code::GrantExists).field("grant").detail(living.id()).into());
    }
    let reason = c.reason.as_ref().map(Text::sealed);
    turn.record(stream(c.holder), GrantEvent::Withheld { grant: c.grant, reason })?;
    Ok(Outcome::Done)
}

/// What follows from a membership or a role ends and changes with that, and by nobody's word.
pub(super) fn not_computed(grant: &Grant) -> Result<(), Rejection> {
    if grant.kind().is_computed() { Err(Rejection::new(Code::ComputedCapability).field("grant")) } else { Ok(()) }
}

fn spoken_of(source: Source, kind: CapabilityKind, reference: &CapabilityRef) -> Result<(), Rejection> {
    if kind.is_computed() {
        return Err(Rejection::new(Code::ComputedCapability).field("kind"));
    }
    if !source.speaks_of(kind) {
        return Err(Rejection::new(Code::SourceMismatch).field("kind"));
    }
    if source.names(reference) { Ok(()) } else { Err(Rejection::new(Code::RefNotOfSource).field("ref")) }
}

pub(super) fn check_terms(turn: &Turn<'_>, scope: &Scope, expires_at: Option<Time>) -> Result<(), Rejection> {
    if scope.is_too_long() {
        return Err(Rejection::new(Code::ScopeTooLong).field("scope"));
    }
    if expires_at.is_some_and(|end| end <= turn.now()) {
        return Err(Rejection::new(Code::ExpiryInPast).field("expires_at"));
    }
    Ok(())
}

/// Most living grants that one holder has of guilds, those handed on from them counted. They end with a membership, in the same append:
/// nobody is kept in a guild or in the city because that were too much at once.
pub const MAX_GUILD_GRANTS: usize = 2000;

pub(super) fn room_for_guilds(turn: &Turn<'_>, source: Source, holder: HolderId) -> Result<(), Stop> {
    if !matches!(source, Source::Guild(_)) {
        return Ok(());
    }
    let of_guilds = |grant: &&Grant| matches!(grant.source(), Source::Guild(_)) && grant.parent().is_none();
    let living = inventory(turn, holder)?.living().values();
    let held: usize = living.filter(of_guilds).map(|grant| 1 + grant.children.len()).sum();
    if held < MAX_GUILD_GRANTS { Ok(()) } else { Err(Code::TooManyGuildGrants.into()) }
}

/// Nobody has a living grant of that name here. One whose time is over makes room, on record.
pub(super) fn free_name(
    turn: &mut Turn<'_>,
    holder: HolderId,
    kind: CapabilityKind,
    reference: &CapabilityRef,
) -> Result<(), Stop> {
    let Some(living) = inventory(turn, holder)?.named(kind, reference) else { return Ok(()) };
    if !living.is_expired(turn.now()) {
        return Err(Rejection::new(Code::GrantExists).field("ref").into());
    }
    let link = Link { holder, grant: living.id() };
    end(turn, link, How::Expired, EndedBy::City)
}
