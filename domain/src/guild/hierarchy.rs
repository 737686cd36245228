//! Parents and children: by consent of both, without cycles, at most eight deep.

use super::command::{AcceptChild, DetachChild, ProposeParent};
use super::event::GuildEvent;
use super::govern::ask;
use super::state::Status;
use crate::command::Command;
use crate::ids::{GuildId, Stream};
use crate::rejection::{Code, Rejection};
use crate::turn::{Outcome, Stop, Turn};

/// A root counts as one.
pub const MAX_DEPTH: usize = 8;

pub(super) fn propose_parent(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &ProposeParent,
    command: &Command,
) -> Result<Outcome, Stop> {
    let parent = turn.guild_id(&c.parent)?;
    let state = turn.guild(guild)?;
    if state.parent.is_some() {
        return Err(Code::HasParent.into());
    }
    if state.proposed_parent == Some(parent) {
        return Ok(Outcome::AlreadyDone);
    }
    must_be_active(turn, parent)?;
    check_place(turn, parent, guild)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::ParentProposed { parent })?;
    Ok(Outcome::Done)
}

pub(super) fn accept_child(
    turn: &mut Turn<'_>,
    parent: GuildId,
    c: &AcceptChild,
    command: &Command,
) -> Result<Outcome, Stop> {
    let child = turn.guild_id(&c.child)?;
    let state = turn.guild(child)?;
    if state.parent == Some(parent) {
        return Ok(Outcome::AlreadyDone);
    }
    if state.parent.is_some() {
        return Err(Code::HasParent.into());
    }
    if state.proposed_parent != Some(parent) {
        return Err(Code::ParentNotProposed.into());
    }
    must_be_active(turn, child)?;
    check_place(turn, parent, child)?;
    if let Some(outcome) = ask(turn, parent, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(parent), GuildEvent::ChildAccepted { child })?;
    turn.record(Stream::Guild(child), GuildEvent::ParentSet { parent })?;
    Ok(Outcome::Done)
}

pub(super) fn detach_child(
    turn: &mut Turn<'_>,
    parent: GuildId,
    c: &DetachChild,
    command: &Command,
) -> Result<Outcome, Stop> {
    let child = turn.guild_id(&c.child)?;
    if !turn.guild(parent)?.children.contains(&child) {
        return Err(Code::NotAChild.into());
    }
    if let Some(outcome) = ask(turn, parent, command)? {
        return Ok(outcome);
    }
    part(turn, parent, child)?;
    Ok(Outcome::Done)
}

/// Records on both sides that a child is one no more.
pub(super) fn part(turn: &mut Turn<'_>, parent: GuildId, child: GuildId) -> Result<(), Stop> {
    turn.record(Stream::Guild(parent), GuildEvent::ChildDetached { child })?;
    turn.record(Stream::Guild(child), GuildEvent::ParentCleared { parent })
}

fn must_be_active(turn: &Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    match turn.guild(guild)?.status() {
        Status::Active => Ok(()),
        _ => Err(Rejection::new(Code::GuildNotActive).detail(guild).into()),
    }
}

/// The edge makes no cycle, and the child's deepest descendant stays within the depth.
fn check_place(turn: &Turn<'_>, parent: GuildId, child: GuildId) -> Result<(), Stop> {
    let mut depth = 0;
    let mut above = Some(parent);
    while let Some(guild) = above {
        if guild == child {
            return Err(Code::ParentCycle.into());
        }
        depth += 1;
        above = turn.guild(guild)?.parent();
    }
    if depth + height(turn, child)? > MAX_DEPTH { Err(Code::TooDeep.into()) } else { Ok(()) }
}

/// Levels from this guild down to its deepest descendant, itself included. The recursion is as deep as the hierarchy.
fn height(turn: &Turn<'_>, guild: GuildId) -> Result<usize, Stop> {
    let children = turn.guild(guild)?.children().iter();
    children.map(|child| height(turn, *child)).try_fold(1, |most, below| Ok(most.max(1 + below?)))
}
