//! What verifiers found out, and what time alone ends.

use super::authority::{inventory, living, stream};
use super::command::{ExpireGrant, PruneGrant, RecordVerifications, ReverifyGrant, Verdict};
use super::ending::{How, end};
use super::event::{EndedBy, GrantEvent, Link};
use super::state::Grant;
use crate::command::Command;
use crate::guild::Status;
use crate::ids::Stream;
use crate::party::{Actor, CitizenKind, HolderId};
use crate::rejection::{Code, Rejection};
use crate::time::{DAY_MICROS, HOUR_MICROS, Time};
use crate::turn::{Outcome, Stop, Turn};

/// Most findings of one command.
pub const MAX_FINDINGS: usize = 1000;
/// What was not verified for longer than this is not known any more: 24 hours.
pub const FRESHNESS_MICROS: i64 = DAY_MICROS;
/// Days that an ended grant stays in the table.
pub const PRUNE_AFTER_DAYS: u32 = 30;

/// A healthy grant is verified again after this: early enough that an hourly round never lets one get old.
const VERIFY_AFTER_MICROS: i64 = 18 * HOUR_MICROS;
/// The first attempt after one that failed; each further one waits twice as long, up to an hour.
const RETRY_AFTER_MICROS: i64 = HOUR_MICROS / 12;
/// More failed attempts than this in a row, and somebody should look.
pub const STUCK_AFTER: u64 = 10;

/// When a grant that was verified at this time is to be verified again.
pub const fn next_verification(verified_at: Time) -> Time {
    Time::from_micros(verified_at.micros().saturating_add(VERIFY_AFTER_MICROS))
}

/// When to ask again after so many attempts in a row that failed.
pub fn next_attempt(failed_at: Time, failed_attempts: u64) -> Time {
    let doubled = failed_attempts.saturating_sub(1).min(4);
    let wait = (RETRY_AFTER_MICROS << doubled).min(HOUR_MICROS);
    Time::from_micros(failed_at.micros().saturating_add(wait))
}

/// Only the city's own workers and services verify: a finding is a fact about the world, not an opinion.
pub(super) fn record(turn: &mut Turn<'_>, c: &RecordVerifications) -> Result<Outcome, Stop> {
    match turn.context.permit.actor {
        Actor::System | Actor::Citizen { kind: CitizenKind::Service, .. } => {}
        Actor::Citizen { .. } => return Err(Rejection::new(Code::NotAVerifier).into()),
    }
    if c.findings.len() > MAX_FINDINGS {
        return Err(Rejection::new(Code::TooManyFindings).field("findings").into());
    }
    turn.need(c.findings.iter().map(|finding| stream(finding.holder)))?;
    let before = turn.recorded();
    for finding in &c.findings {
        let link = Link { holder: finding.holder, grant: finding.grant };
        // Whatever ended meanwhile needs no finding any more.
        if let Some(grant) = inventory(turn, link.holder)?.grant(link.grant).cloned() {
            if !has_source_to_ask(&grant) {
                return Err(Rejection::new(Code::NothingToVerify).field("findings").detail(link.grant).into());
            }
            if !is_outdated(&grant, finding.verdict, c.asked_at) {
                apply(turn, link, &grant, finding.verdict)?;
            }
        }
    }
    Ok(if turn.recorded() == before { Outcome::AlreadyDone } else { Outcome::Done })
}

/// Whoever asked later knows better what is there, and who asked meanwhile tried nothing that was not tried.
fn is_outdated(grant: &Grant, verdict: Verdict, asked_at: Option<Time>) -> bool {
    let known = match verdict {
        Verdict::Gone => grant.fresh_since(),
        Verdict::Unknown(_) => grant.heard_at(),
        Verdict::Alive | Verdict::Revoked | Verdict::Expired => return false,
    };
    asked_at.is_some_and(|asked_at| asked_at < known)
}

/// Whether a verifier speaks for it: what the city, a guild or another holder gave has no source outside.
fn has_source_to_ask(grant: &Grant) -> bool {
    grant.source().is_imported() && grant.parent().is_none()
}

fn apply(turn: &mut Turn<'_>, link: Link, grant: &Grant, verdict: Verdict) -> Result<(), Stop> {
    let (stream, id) = (stream(link.holder), link.grant);
    match verdict {
        Verdict::Alive => turn.record(stream, GrantEvent::Verified { grant: id }),
        Verdict::Gone => end(turn, link, How::Orphaned, EndedBy::Source),
        Verdict::Revoked => end(turn, link, How::Revoked(None), EndedBy::Source),
        Verdict::Expired => end(turn, link, How::Expired, EndedBy::Source),
        Verdict::Unknown(failure) => {
            turn.record(stream, GrantEvent::VerificationFailed { grant: id, failure })?;
            note_staleness(turn, stream, grant)
        }
    }
}

fn note_staleness(turn: &mut Turn<'_>, stream: Stream, grant: &Grant) -> Result<(), Stop> {
    if grant.stale || !is_old(grant.fresh_since(), turn.now()) {
        return Ok(());
    }
    turn.record(stream, GrantEvent::WentStale { grant: grant.id() })
}

/// Whether more than the freshness window has passed.
pub fn is_old(since: Time, now: Time) -> bool {
    now.micros() - since.micros() > FRESHNESS_MICROS
}

pub(super) fn reverify(turn: &mut Turn<'_>, c: &ReverifyGrant, command: &Command) -> Result<Outcome, Stop> {
    let grant = living(turn, c.holder, c.grant)?;
    if !has_source_to_ask(grant) {
        return Err(Rejection::new(Code::NothingToVerify).field("grant").into());
    }
    if grant.reverify {
        return Ok(Outcome::AlreadyDone);
    }
    if let Some(outcome) = super::authority::over_grant(turn, c.holder, c.grant, command)? {
        return Ok(outcome);
    }
    turn.record(stream(c.holder), GrantEvent::ReverificationRequested { grant: c.grant })?;
    Ok(Outcome::Done)
}

/// A grant ends by itself when its time is over, and when its holder is gone for good.
pub(super) fn expire(turn: &mut Turn<'_>, c: &ExpireGrant) -> Result<Outcome, Stop> {
    let Some(grant) = inventory(turn, c.holder)?.grant(c.grant) else { return Ok(Outcome::AlreadyDone) };
    let link = Link { holder: c.holder, grant: c.grant };
    let how = if grant.is_expired(turn.now()) {
        How::Expired
    } else if is_gone(turn, c.holder)? {
        How::Revoked(None)
    } else {
        return Err(Rejection::new(Code::GrantNotExpired).field("grant").into());
    };
    end(turn, link, how, EndedBy::City)?;
    Ok(Outcome::Done)
}

fn is_gone(turn: &Turn<'_>, holder: HolderId) -> Result<bool, Stop> {
    match holder {
        HolderId::Citizen(id) => Ok(turn.citizen(id)?.is_deprovisioned()),
        HolderId::Guild(id) => Ok(turn.guild(id)?.status() == Status::Dissolved),
        HolderId::Squad(_) => Ok(false),
    }
}

pub(super) fn prune(turn: &mut Turn<'_>, c: &PruneGrant) -> Result<Outcome, Stop> {
    let inventory = inventory(turn, c.holder)?;
    match inventory.dead_since(c.grant) {
        Some(since) if since.plus_days(PRUNE_AFTER_DAYS) <= turn.now() => {
            turn.record(stream(c.holder), GrantEvent::Pruned { grant: c.grant })?;
            Ok(Outcome::Done)
        }
        Some(_) => Err(Rejection::new(Code::GrantNotPrunable).field("grant").into()),
        None if inventory.grant(c.grant).is_some() => Err(Rejection::new(Code::GrantNotPrunable).field("grant").into()),
        None => Ok(Outcome::AlreadyDone),
    }
}
