//! Issuing, rotating and revoking keys.

use std::collections::BTreeSet;

use super::Key;
use super::command::{IssueKey, RecoverKey, RevokeKey, RotateKey};
use super::event::KeyEvent;
use crate::citizen::event::CitizenEvent;
use crate::city::decide::known_actions;
use crate::ids::{CitizenId, KeyId, Stream};
use crate::party::{Actor, Tier};
use crate::rejection::{Code, Rejection};
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

/// Longest time for which a rotated key works beside its successor: 7 days.
pub const MAX_OVERLAP_SECONDS: u32 = 604_800;
/// Most living keys of one citizen.
pub const MAX_KEYS: usize = 64;

pub fn issue(turn: &mut Turn<'_>, command: &IssueKey) -> Result<Outcome, Stop> {
    keeps_keys_of(turn, command.citizen)?;
    let actions = command.actions.as_deref().map(known_actions).transpose()?;
    no_wider_than_credential(turn, actions.as_ref(), command.expires_at)?;
    if let Some(key) = existing(turn, command.key)? {
        let same = key.citizen() == command.citizen
            && key.verifier() == command.verifier
            && key.actions() == actions.as_ref()
            && key.expires_at() == command.expires_at
            && key.replaces().is_none()
            && key.is_living(turn.now());
        return if same { Ok(Outcome::AlreadyDone) } else { Err(Rejection::new(Code::KeyExists).field("key").into()) };
    }
    if command.expires_at.is_some_and(|expires_at| expires_at <= turn.now()) {
        return Err(Rejection::new(Code::ExpiryInPast).field("expires_at").into());
    }
    attach(
        turn,
        command.key,
        KeyEvent::Issued {
            citizen: command.citizen,
            verifier: command.verifier,
            actions: actions.map(|actions| actions.into_iter().collect()),
            expires_at: command.expires_at,
            replaces: None,
        },
    )
}

/// The successor has the scope and the end of life of the key it replaces: a key with an end cannot outlive it by rotating.
pub fn rotate(turn: &mut Turn<'_>, command: &RotateKey) -> Result<Outcome, Stop> {
    let old = turn.key(command.old)?.clone();
    keeps_keys_of(turn, old.citizen())?;
    no_wider_than_credential(turn, old.actions(), old.expires_at())?;
    if command.overlap_seconds > MAX_OVERLAP_SECONDS {
        return Err(Rejection::new(Code::OverlapTooLong).field("overlap_seconds").into());
    }
    if let Some(key) = existing(turn, command.key)? {
        let same =
            key.replaces() == Some(command.old) && key.verifier() == command.verifier && key.is_living(turn.now());
        return if same { Ok(Outcome::AlreadyDone) } else { Err(Rejection::new(Code::KeyExists).field("key").into()) };
    }
    if !old.is_living(turn.now()) {
        return Err(Rejection::new(Code::KeyNotActive).field("old").into());
    }
    // A retired key's end is the end of its overlap, which would be the successor's too.
    if old.is_retired() {
        return Err(Rejection::new(Code::KeyRetired).field("old").into());
    }
    let overlap_ends = turn.now().plus_seconds(command.overlap_seconds);
    let expires_at = old.expires_at().map_or(overlap_ends, |end| end.min(overlap_ends));
    // The old key goes first: its place among the living is free for the successor when nothing overlaps.
    turn.record(Stream::Key(command.old), KeyEvent::Retired { expires_at })?;
    attach(
        turn,
        command.key,
        KeyEvent::Issued {
            citizen: old.citizen(),
            verifier: command.verifier,
            actions: old.actions().map(|actions| actions.iter().cloned().collect()),
            expires_at: old.expires_at(),
            replaces: Some(command.old),
        },
    )
}

/// Works on keys of suspended and deprovisioned citizens too: taking a key away is never too late.
pub fn revoke(turn: &mut Turn<'_>, command: &RevokeKey) -> Result<Outcome, Stop> {
    let key = turn.key(command.key)?;
    let citizen = key.citizen();
    own_or_lower(turn, citizen)?;
    if turn.key(command.key)?.is_revoked() {
        return Ok(Outcome::AlreadyDone);
    }
    turn.record(Stream::Key(command.key), KeyEvent::Revoked {})?;
    detach(turn, citizen, command.key)?;
    Ok(Outcome::Done)
}

/// For the day on which nobody can get in: only the city itself asks, because whoever holds its secrets says so. What the citizen had
/// before ends, for a key that nobody can use, or that somebody else can, is no key to keep.
pub fn recover(turn: &mut Turn<'_>, command: &RecoverKey) -> Result<Outcome, Stop> {
    if turn.context.permit.actor != Actor::System {
        return Err(Code::NotPermitted.into());
    }
    if !turn.citizen(command.citizen)?.is_active() {
        return Err(Rejection::new(Code::CitizenNotActive).field("citizen").into());
    }
    if let Some(key) = existing(turn, command.key)? {
        let same = key.citizen() == command.citizen && key.verifier() == command.verifier && key.is_living(turn.now());
        return if same { Ok(Outcome::AlreadyDone) } else { Err(Rejection::new(Code::KeyExists).field("key").into()) };
    }
    let before = turn.citizen(command.citizen)?.keys().clone();
    revoke_all(turn, before.iter().copied())?;
    for key in before {
        detach(turn, command.citizen, key)?;
    }
    let (citizen, verifier) = (command.citizen, command.verifier);
    attach(turn, command.key, KeyEvent::Issued { citizen, verifier, actions: None, expires_at: None, replaces: None })
}

/// Reaction to a citizen's end: whatever still works is revoked. The citizen's own event empties their list.
pub(crate) fn revoke_all(turn: &mut Turn<'_>, keys: impl IntoIterator<Item = KeyId>) -> Result<(), Stop> {
    for key in keys {
        if turn.key(key)?.is_living(turn.now()) {
            turn.record(Stream::Key(key), KeyEvent::Revoked {})?;
        }
    }
    Ok(())
}

/// Keys are one's own business; those of others a coordinator's, strictly below their own tier: whoever issues a key
/// could keep it and act as its citizen.
fn own_or_lower(turn: &Turn<'_>, citizen: CitizenId) -> Result<(), Stop> {
    let target = turn.citizen(citizen)?;
    if turn.caller()? == citizen {
        return Ok(());
    }
    let tier = turn.context.permit.tier;
    if tier < Tier::Coordinator {
        return Err(Rejection::new(Code::NotPermitted).detail("keys of others need a coordinator").into());
    }
    if turn.city()?.tier_of(target) >= Some(tier) {
        return Err(Rejection::new(Code::TierTooHigh).field("citizen").into());
    }
    Ok(())
}

fn keeps_keys_of(turn: &Turn<'_>, citizen: CitizenId) -> Result<(), Stop> {
    own_or_lower(turn, citizen)?;
    if turn.citizen(citizen)?.is_active() {
        Ok(())
    } else {
        Err(Rejection::new(Code::CitizenNotActive).field("citizen").into())
    }
}

/// A scoped or short-lived credential makes no wider or longer-lived one, for its own citizen or for others: otherwise a
/// key that may only issue keys could do everything.
fn no_wider_than_credential(
    turn: &Turn<'_>,
    actions: Option<&BTreeSet<String>>,
    expires_at: Option<Time>,
) -> Result<(), Stop> {
    let Some(via) = turn.context.permit.via else { return Ok(()) };
    let credential = turn.key(via)?;
    if let Some(held) = credential.actions() {
        let narrower = actions.is_some_and(|actions| actions.is_subset(held));
        if !narrower {
            return Err(Rejection::new(Code::KeyTooWide).field("actions").into());
        }
    }
    match (credential.expires_at(), expires_at) {
        (Some(end), asked) if asked.is_none_or(|asked| asked > end) => {
            Err(Rejection::new(Code::KeyTooWide).field("expires_at").detail(format!("ends {end}")).into())
        }
        _ => Ok(()),
    }
}

/// The key of that id, if it was ever issued.
fn existing<'a>(turn: &'a Turn<'_>, id: KeyId) -> Result<Option<&'a Key>, Stop> {
    match turn.key(id) {
        Ok(key) => Ok(Some(key)),
        Err(Stop::Rejected(_)) => Ok(None),
        Err(missing) => Err(missing),
    }
}

fn attach(turn: &mut Turn<'_>, key: KeyId, issued: KeyEvent) -> Result<Outcome, Stop> {
    let KeyEvent::Issued { citizen, .. } = &issued else { unreachable!("a key's first event issues it") };
    let citizen = *citizen;
    make_room(turn, citizen)?;
    turn.record(Stream::Key(key), issued)?;
    turn.record(Stream::Citizen(citizen), CitizenEvent::KeyAttached { key })?;
    Ok(Outcome::Done)
}

fn detach(turn: &mut Turn<'_>, citizen: CitizenId, key: KeyId) -> Result<(), Stop> {
    if turn.citizen(citizen)?.keys().contains(&key) {
        turn.record(Stream::Citizen(citizen), CitizenEvent::KeyDetached { key })?;
    }
    Ok(())
}

/// Keys end silently at their time, so a full list is first cleared of those that have: memory holds living keys only.
fn make_room(turn: &mut Turn<'_>, citizen: CitizenId) -> Result<(), Stop> {
    let keys = turn.citizen(citizen)?.keys().clone();
    if keys.len() < MAX_KEYS {
        return Ok(());
    }
    for key in &keys {
        if !turn.key(*key)?.is_living(turn.now()) {
            detach(turn, citizen, *key)?;
        }
    }
    if turn.citizen(citizen)?.keys().len() < MAX_KEYS { Ok(()) } else { Err(Code::TooManyKeys.into()) }
}
