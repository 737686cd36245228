//! Attesting, opining, disputing, reversing, computing.
#![allow(clippy::float_arithmetic, reason = "how far a figure has moved is a difference of two numbers")]

use std::collections::BTreeSet;

use super::command::{AttestOutcome, DisputeEvidence, Endorse, Flag, RecomputeReputation, ReverseEvidence};
use super::event::{Gone, ReputationEvent, Row};
use super::evidence::EvidenceType;
use super::opinions::{CIRCLE_DAYS, MOST_OPINIONS, OPINION_DAYS, before};
use super::state::Reputation;
use crate::command::Command;
use crate::guild::Status;
use crate::ids::{CitizenId, EvidenceId, GuildId, GuildRef, ReputationId, Stream};
use crate::party::{Actor, Tier};
use crate::rejection::{Code, Rejection};
use crate::text::{Digest, Text};
use crate::turn::{Claim, Outcome, Stop, Turn};

/// What moved less than this is not put on record again, in units of the ninth place.
const MOVED: f64 = 0.0001;

pub(crate) fn run(turn: &mut Turn<'_>, command: &Command) -> Result<Outcome, Stop> {
    match command {
        Command::AttestOutcome(c) => attest(turn, c),
        Command::Endorse(Endorse { to, scope, note }) => {
            opine(turn, *to, scope, note.as_ref(), EvidenceType::PeerEndorsed)
        }
        Command::Flag(Flag { to, scope, note }) => opine(turn, *to, scope, note.as_ref(), EvidenceType::PeerFlagged),
        Command::DisputeEvidence(c) => dispute(turn, c),
        Command::ReverseEvidence(c) => reverse(turn, c),
        Command::RecomputeReputation(c) => recompute(turn, c),
        other => unreachable!("{} is no command of reputation", other.action()),
    }
}

const fn stream(citizen: CitizenId) -> Stream {
    Stream::Reputation(ReputationId::of(citizen))
}

fn state<'t>(turn: &'t Turn<'_>, citizen: CitizenId) -> Result<&'t Reputation, Stop> {
    turn.reputation(ReputationId::of(citizen))
}

/// The scope: an active guild, of which the caller is an active member.
fn scope_of_caller(turn: &Turn<'_>, scope: &GuildRef) -> Result<(GuildId, CitizenId), Stop> {
    let (scope, caller) = (turn.guild_id(scope)?, turn.caller()?);
    let guild = turn.guild(scope)?;
    let asleep = match guild.status() {
        Status::Active => None,
        Status::Dormant => Some(Code::GuildDormant),
        Status::Dissolving => Some(Code::GuildDissolving),
        Status::Dissolved => Some(Code::GuildDissolved),
    };
    let outside = guild.active_member(caller).is_none().then_some(Code::NotAMember);
    match asleep.or(outside) {
        Some(code) => Err(Rejection::new(code).field("scope").into()),
        None => Ok((scope, caller)),
    }
}

/// Whoever answers for a citizen in the end.
fn answers_for(turn: &Turn<'_>, mut citizen: CitizenId) -> Result<CitizenId, Stop> {
    while let Some(operator) = turn.citizen(citizen)?.operator() {
        citizen = operator;
    }
    Ok(citizen)
}

fn of_another_household(turn: &Turn<'_>, one: CitizenId, other: CitizenId) -> Result<(), Stop> {
    let same = answers_for(turn, one)? == answers_for(turn, other)?;
    if same { Err(Code::SameHousehold.into()) } else { Ok(()) }
}

fn has_room(turn: &Turn<'_>, holder: CitizenId, scope: GuildId) -> Result<(), Stop> {
    let room = state(turn, holder)?.has_room_for(scope);
    if room { Ok(()) } else { Err(Rejection::new(Code::TooManyScopes).field("scope").into()) }
}

pub(super) fn outcome_claim(work: Digest, outcome: EvidenceType, holder: CitizenId) -> Claim {
    let outcome = serde_json::to_value(outcome).ok().and_then(|word| word.as_str().map(str::to_owned));
    Claim { scope: "outcome", key: format!("{work}:{}:{holder}", outcome.unwrap_or_default()) }
}

/// The outcome that an event takes for ever. From the event alone, so that replay agrees.
pub(crate) fn outcome_taken(event: &ReputationEvent) -> Option<(Claim, String)> {
    match event {
        ReputationEvent::EvidenceRecorded { evidence, holder, kind, work_lookup: Some(work), .. } => {
            Some((outcome_claim(*work, *kind, *holder), evidence.to_string()))
        }
        _ => None,
    }
}

fn attest(turn: &mut Turn<'_>, c: &AttestOutcome) -> Result<Outcome, Stop> {
    if c.outcome.is_peer() {
        return Err(Rejection::new(Code::NotAnOutcome).field("outcome").into());
    }
    let (scope, caller) = scope_of_caller(turn, &c.scope)?;
    if turn.context.permit.tier < Tier::Gate {
        return Err(Rejection::new(Code::NotPermitted).detail("outcomes are attested by a gate").into());
    }
    if !turn.citizen(c.holder)?.exists() {
        return Err(Code::CitizenNotFound.into());
    }
    of_another_household(turn, caller, c.holder)?;
    let effective_at = c.effective_at.unwrap_or_else(|| turn.now());
    if effective_at > turn.now() {
        return Err(Rejection::new(Code::EffectiveInFuture).field("effective_at").into());
    }
    has_room(turn, c.holder, scope)?;
    let claim = outcome_claim(c.work.lookup, c.outcome, c.holder);
    if turn.claimed(&claim)?.is_some() {
        return Err(Rejection::new(Code::OutcomeAttested).field("work").into());
    }
    let recorded = ReputationEvent::EvidenceRecorded {
        evidence: EvidenceId::from_bits(turn.fresh_id()),
        holder: c.holder,
        kind: c.outcome,
        weight: c.outcome.weight(c.stake),
        scope,
        attested_by: caller,
        effective_at,
        stake: Some(c.stake),
        work_lookup: Some(c.work.lookup),
        work: Some(c.work.text.sealed()),
        proof: Some(c.proof),
        note: None,
    };
    turn.record(stream(c.holder), recorded)?;
    Ok(Outcome::Done)
}

fn opine(
    turn: &mut Turn<'_>,
    to: CitizenId,
    scope: &GuildRef,
    note: Option<&Text>,
    kind: EvidenceType,
) -> Result<Outcome, Stop> {
    let (scope, caller) = scope_of_caller(turn, scope)?;
    if !turn.citizen(to)?.exists() {
        return Err(Rejection::new(Code::CitizenNotFound).field("to").into());
    }
    of_another_household(turn, caller, to)?;
    turn.need([stream(caller), stream(to)])?;
    has_room(turn, to, scope)?;
    let mine = state(turn, caller)?;
    if !mine.has_shown(scope) {
        return Err(Code::NoEvidenceOfOwn.into());
    }
    let lately = before(turn.now(), OPINION_DAYS);
    if mine.opinions().last(to, scope).is_some_and(|last| last > lately) {
        return Err(Code::OpinionGiven.into());
    }
    if mine.opinions().given_after(lately) >= MOST_OPINIONS {
        return Err(Code::TooManyOpinions.into());
    }
    let in_circle = kind == EvidenceType::PeerEndorsed && is_circle(turn, caller, to)?;
    turn.record(stream(caller), ReputationEvent::OpinionGiven { giver: caller, to, kind, scope })?;
    let recorded = ReputationEvent::EvidenceRecorded {
        evidence: EvidenceId::from_bits(turn.fresh_id()),
        holder: to,
        kind,
        weight: kind.opinion(in_circle),
        scope,
        attested_by: caller,
        effective_at: turn.now(),
        stake: None,
        work_lookup: None,
        work: None,
        proof: None,
        note: note.map(Text::sealed),
    };
    turn.record(stream(to), recorded)?;
    Ok(Outcome::Done)
}

/// Whether an endorsement from one to the other closes a circle of at most four, through whatever scopes: the other reaches the one in
/// at most three steps. From both ends at once: whom `to` endorsed, and who endorsed `from`.
fn is_circle(turn: &Turn<'_>, from: CitizenId, to: CitizenId) -> Result<bool, Stop> {
    let since = before(turn.now(), CIRCLE_DAYS);
    let first: BTreeSet<CitizenId> = state(turn, to)?.opinions().endorsed_since(since).collect();
    if first.contains(&from) {
        return Ok(true);
    }
    let last = state(turn, from)?.opinions();
    if first.iter().any(|one| last.was_endorsed_by(*one, since)) {
        return Ok(true);
    }
    turn.need(first.iter().map(|one| stream(*one)))?;
    for one in first {
        if state(turn, one)?.opinions().endorsed_since(since).any(|next| last.was_endorsed_by(next, since)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn dispute(turn: &mut Turn<'_>, c: &DisputeEvidence) -> Result<Outcome, Stop> {
    if turn.caller()? != c.holder {
        return Err(Code::NotTheHolder.into());
    }
    let piece = state(turn, c.holder)?.piece(c.piece).ok_or(Code::EvidenceNotFound)?;
    if piece.disputed_at.is_some() || piece.reversed_at.is_some() {
        return Ok(Outcome::AlreadyDone);
    }
    let reason = c.reason.as_ref().map(Text::sealed);
    turn.record(stream(c.holder), ReputationEvent::EvidenceDisputed { evidence: c.piece, reason })?;
    Ok(Outcome::Done)
}

fn reverse(turn: &mut Turn<'_>, c: &ReverseEvidence) -> Result<Outcome, Stop> {
    let caller = turn.caller()?;
    if turn.context.permit.tier < Tier::Gate {
        return Err(Rejection::new(Code::NotPermitted).detail("evidence is reversed by a gate").into());
    }
    let piece = *state(turn, c.holder)?.piece(c.piece).ok_or(Code::EvidenceNotFound)?;
    if piece.reversed_at.is_some() {
        return Ok(Outcome::AlreadyDone);
    }
    if piece.disputed_at.is_none() {
        return Err(Code::NotDisputed.into());
    }
    of_another_household(turn, caller, piece.attested_by)?;
    of_another_household(turn, caller, c.holder)?;
    let reason = c.reason.as_ref().map(Text::sealed);
    let reversed = ReputationEvent::EvidenceReversed { evidence: c.piece, by: caller, reason };
    turn.record(stream(c.holder), reversed)?;
    Ok(Outcome::Done)
}

/// Only the city computes, and only what is new: the same time twice, or an earlier one, changes nothing.
fn recompute(turn: &mut Turn<'_>, c: &RecomputeReputation) -> Result<Outcome, Stop> {
    if turn.context.permit.actor != Actor::System {
        return Err(Code::NotPermitted.into());
    }
    if c.as_of > turn.now() {
        return Err(Rejection::new(Code::AsOfInFuture).field("as_of").into());
    }
    let known = state(turn, c.holder)?;
    if known.computed().is_some_and(|last| last.as_of >= c.as_of) {
        return Ok(Outcome::AlreadyDone);
    }
    let rows = known.rows_at(c.as_of);
    let same = known.computed().is_some_and(|last| !last.outdated && !has_moved(&last.rows, &rows));
    if same || (rows.is_empty() && known.computed().is_none()) {
        return Ok(Outcome::AlreadyDone);
    }
    let (holder, as_of) = (c.holder, c.as_of);
    let still = |before: &&Row| rows.iter().any(|row| (row.figure, row.scope) == (before.figure, before.scope));
    let before = known.computed().map_or(&[][..], |last| &*last.rows);
    let gone = before.iter().filter(|before| !still(before));
    let gone = gone.map(|row| Gone { figure: row.figure, scope: row.scope }).collect();
    turn.record(stream(holder), ReputationEvent::Recomputed { holder, as_of, rows, gone })?;
    Ok(Outcome::Done)
}

fn has_moved(before: &[Row], now: &[Row]) -> bool {
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let moved = |before: &str, now: &str| {
        let distance = libm::fabs(number(before) - number(now));
        distance.is_nan() || distance >= MOVED
    };
    before.len() != now.len()
        || before.iter().zip(now).any(|(before, now)| {
            (before.figure, before.scope) != (now.figure, now.scope)
                || moved(&before.score, &now.score)
                || moved(&before.phi, &now.phi)
        })
}
