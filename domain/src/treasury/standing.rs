//! The treasury's own standing: opened and closed, frozen per side, settled, and whom it accepts from unasked.

use std::collections::BTreeSet;

use crate::command::Command;
use crate::ids::{Stream, TreasuryId};
use crate::party::Tier;
use crate::rejection::{Code, Rejection};
use crate::turn::{Mode, Outcome, Stop, Turn};

use super::authority;
use super::command::{FreezeTreasury, SetAutoAccept, SettleTreasury, UnfreezeTreasury};
use super::event::{FreezeSide, Owner, TreasuryEvent};

/// Most senders a treasury accepts from without asking.
pub const MAX_AUTO_ACCEPT: usize = 100;

/// Opens the owner's one treasury, in the append that makes the owner.
pub fn open(turn: &mut Turn<'_>, owner: Owner) -> Result<TreasuryId, Stop> {
    let treasury = match owner {
        Owner::Guild(guild) => TreasuryId::of_guild(guild),
        Owner::Citizen(citizen) => TreasuryId::of_citizen(citizen),
    };
    turn.record(Stream::Treasury(treasury), TreasuryEvent::Opened { owner })?;
    Ok(treasury)
}

/// The owner is gone: nothing comes in any more. What is inside stays on the books.
pub fn close(turn: &mut Turn<'_>, treasury: TreasuryId) -> Result<(), Stop> {
    if turn.treasury(treasury)?.is_closed() {
        return Ok(());
    }
    turn.record(Stream::Treasury(treasury), TreasuryEvent::Closed {})
}

pub(super) fn freeze(turn: &mut Turn<'_>, asked: &FreezeTreasury, command: &Command) -> Result<Outcome, Stop> {
    let side = side_of(turn, asked.treasury, asked.as_city)?;
    if turn.treasury(asked.treasury)?.is_frozen_by(side) {
        return Ok(Outcome::AlreadyDone);
    }
    as_side(turn, asked.treasury, side, command, TreasuryEvent::Frozen { side, reason: asked.reason.sealed() })
}

pub(super) fn unfreeze(turn: &mut Turn<'_>, asked: &UnfreezeTreasury, command: &Command) -> Result<Outcome, Stop> {
    let side = side_of(turn, asked.treasury, asked.as_city)?;
    if !turn.treasury(asked.treasury)?.is_frozen_by(side) {
        return Err(Code::NotFrozen.into());
    }
    as_side(turn, asked.treasury, side, command, TreasuryEvent::Unfrozen { side })
}

/// Records the balances of everything effective before `as_of`, and lets nothing change them afterwards.
pub(super) fn settle(turn: &mut Turn<'_>, asked: &SettleTreasury, command: &Command) -> Result<Outcome, Stop> {
    authority::handles(turn, asked.treasury)?;
    let treasury = turn.treasury(asked.treasury)?;
    if asked.as_of > turn.now() {
        return Err(Rejection::new(Code::SettleInFuture).field("as_of").into());
    }
    match treasury.settled_until() {
        Some(settled) if settled == asked.as_of => return Ok(Outcome::AlreadyDone),
        Some(settled) if settled > asked.as_of => {
            return Err(Rejection::new(Code::PeriodSettled).field("as_of").into());
        }
        _ => {}
    }
    authority::governed(turn, asked.treasury, command, None, |turn| {
        let balances = turn.treasury(asked.treasury)?.balances_before(asked.as_of, turn.now());
        let balances = balances.ok_or_else(|| Rejection::new(Code::SettleInexact).field("as_of"))?;
        turn.record(Stream::Treasury(asked.treasury), TreasuryEvent::Settled { as_of: asked.as_of, balances })?;
        Ok(Outcome::Done)
    })
}

pub(super) fn set_auto_accept(turn: &mut Turn<'_>, asked: &SetAutoAccept, command: &Command) -> Result<Outcome, Stop> {
    authority::handles(turn, asked.treasury)?;
    let from: BTreeSet<TreasuryId> = asked.from.iter().copied().collect();
    if asked.from.len() > MAX_AUTO_ACCEPT {
        return Err(Rejection::new(Code::AutoAcceptTooLong).field("from").into());
    }
    for sender in &from {
        if *sender == asked.treasury {
            return Err(Rejection::new(Code::SameTreasury).field("from").into());
        }
        turn.treasury(*sender)?;
    }
    if turn.treasury(asked.treasury)?.auto_accept().eq(from.iter()) {
        return Ok(Outcome::AlreadyDone);
    }
    authority::governed(turn, asked.treasury, command, None, |turn| {
        let from = from.into_iter().collect();
        turn.record(Stream::Treasury(asked.treasury), TreasuryEvent::AutoAcceptSet { from })?;
        Ok(Outcome::Done)
    })
}

/// On whose behalf the caller acts, if they may at all.
fn side_of(turn: &Turn<'_>, treasury: TreasuryId, as_city: bool) -> Result<FreezeSide, Stop> {
    turn.treasury(treasury)?;
    if !as_city {
        authority::handles(turn, treasury)?;
        return Ok(FreezeSide::Owner);
    }
    if turn.mode != Mode::Asked {
        // A guild's votes cannot borrow the city's hand from whoever votes last.
        return Err(Code::NotGoverned.into());
    }
    if turn.context.permit.tier < Tier::Gate { Err(Code::NotPermitted.into()) } else { Ok(FreezeSide::City) }
}

fn as_side(
    turn: &mut Turn<'_>,
    treasury: TreasuryId,
    side: FreezeSide,
    command: &Command,
    event: TreasuryEvent,
) -> Result<Outcome, Stop> {
    let effect = |turn: &mut Turn<'_>| {
        turn.record(Stream::Treasury(treasury), event)?;
        Ok(Outcome::Done)
    };
    match side {
        FreezeSide::City => effect(turn),
        FreezeSide::Owner => authority::governed(turn, treasury, command, None, effect),
    }
}
