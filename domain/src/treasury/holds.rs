//! Holds: money set aside for named payees, captured in parts or as a whole, released, or expired.

use crate::command::Command;
use crate::guild::govern::SpendRequest;
use crate::ids::{HoldId, ProposalId, Stream, TreasuryId};
use crate::money::{Account, Amount, Currency};
use crate::rejection::{Code, Rejection};
use crate::text::Text;
use crate::time::Time;
use crate::turn::{Mode, Outcome, Stop, Turn};

use super::command::{CaptureHold, ExpireHold, PlaceHold, ReleaseHold};
use super::event::{HoldLeg, MovementKind, TreasuryEvent};
use super::movements::{self, Movement};
use super::state::Hold;
use super::{authority, terms};

/// Most open holds and offers of one treasury together.
pub const MAX_OPEN: usize = 10_000;

pub(super) fn place(turn: &mut Turn<'_>, asked: &PlaceHold, command: &Command) -> Result<Outcome, Stop> {
    turn.treasury(asked.treasury)?;
    let scale = terms::scale_of(turn, &asked.currency)?;
    let legs = terms::legs(&asked.legs, scale)?;
    let amount = terms::total(&legs)?;
    let spend = SpendRequest {
        treasury: asked.treasury,
        currency: asked.currency.clone(),
        amount,
        legs: legs.clone(),
        mandate: None,
        purpose: asked.purpose.as_ref().map(Text::sealed),
    };
    authority::governed(turn, asked.treasury, command, Some(spend), |turn| {
        let expires_at = terms::expires_at(turn, asked.expires_at)?;
        check_payees(turn, asked.treasury, &legs)?;
        if let Some((hold, _)) = reserved_for_effect(turn, asked.treasury)? {
            not_frozen(turn, asked.treasury)?;
            turn.record(Stream::Treasury(asked.treasury), TreasuryEvent::HoldConfirmed { hold, expires_at })?;
            return Ok(Outcome::Done);
        }
        can_set_aside(turn, asked.treasury, &asked.currency, amount)?;
        let placed = TreasuryEvent::HoldPlaced {
            hold: HoldId::from_bits(turn.fresh_id()),
            currency: asked.currency.clone(),
            amount,
            legs,
            expires_at,
            purpose: asked.purpose.as_ref().map(Text::sealed),
            proposal: None,
        };
        turn.record(Stream::Treasury(asked.treasury), placed)?;
        Ok(Outcome::Done)
    })
}

/// Pays legs within the hold. When it is final, or nothing is left, the hold is closed and the rest comes back.
pub(super) fn capture(turn: &mut Turn<'_>, asked: &CaptureHold, command: &Command) -> Result<Outcome, Stop> {
    authority::own_act(turn, asked.treasury, command)?;
    let hold = free_hold(turn, asked.treasury, asked.hold)?;
    not_frozen(turn, asked.treasury)?;
    if terms::has_ended(turn, hold.expires_at) {
        return Err(Code::HoldExpired.into());
    }
    let legs = terms::legs(&asked.legs, hold.left.scale())?;
    for leg in &legs {
        let promised = hold.legs.iter().find(|held| held.payee == leg.payee && held.role == leg.role);
        let promised = promised.ok_or_else(|| Rejection::new(Code::PayeeNotInHold).detail(leg.payee).field("legs"))?;
        if leg.maximum > promised.maximum {
            return Err(Rejection::new(Code::BeyondHold).detail(promised.maximum).field("legs").into());
        }
    }
    let effective_at = terms::effective_at(turn, asked.effective_at)?;
    let paid = movements::paying(asked.treasury, &legs)?;
    take(turn, asked.treasury, asked.hold, &hold, &legs, asked.is_final)?;
    let mut captured = Movement::new(MovementKind::Capture, &hold.currency, paid, effective_at);
    captured.hold = Some(asked.hold);
    captured.memo = asked.memo.as_ref().map(Text::sealed);
    movements::record(turn, &captured)?;
    Ok(Outcome::Done)
}

pub(super) fn release(turn: &mut Turn<'_>, asked: &ReleaseHold, command: &Command) -> Result<Outcome, Stop> {
    authority::own_act(turn, asked.treasury, command)?;
    let hold = free_hold(turn, asked.treasury, asked.hold)?;
    give_back(turn, asked.treasury, asked.hold, &hold)?;
    Ok(Outcome::Done)
}

/// Sent by the city's worker or anybody permitted: it only makes true what the clock already decided.
pub(super) fn expire(turn: &mut Turn<'_>, asked: &ExpireHold) -> Result<Outcome, Stop> {
    let hold = free_hold(turn, asked.treasury, asked.hold)?;
    if !terms::has_ended(turn, hold.expires_at) {
        return Err(Code::HoldNotExpired.into());
    }
    let expired = TreasuryEvent::HoldExpired { hold: asked.hold, currency: hold.currency, amount: hold.left };
    turn.record(Stream::Treasury(asked.treasury), expired)?;
    Ok(Outcome::Done)
}

/// Sets money aside for a proposal until it is decided.
pub fn reserve(
    turn: &mut Turn<'_>,
    proposal: ProposalId,
    spend: SpendRequest,
    expires_at: Time,
) -> Result<HoldId, Stop> {
    let SpendRequest { treasury, currency, legs, purpose, .. } = spend;
    let amount = terms::total(&legs)?;
    can_set_aside(turn, treasury, &currency, amount)?;
    let hold = HoldId::from_bits(turn.fresh_id());
    let proposal = Some(proposal);
    let placed = TreasuryEvent::HoldPlaced { hold, currency, amount, legs, expires_at, purpose, proposal };
    turn.record(Stream::Treasury(treasury), placed)?;
    Ok(hold)
}

/// Gives back what a proposal had set aside; nothing when it was paid out or confirmed meanwhile.
pub fn release_reserved(turn: &mut Turn<'_>, treasury: TreasuryId, hold: HoldId) -> Result<(), Stop> {
    match turn.treasury(treasury)?.hold(hold) {
        Some(open) if open.proposal.is_some() => {
            let open = open.clone();
            give_back(turn, treasury, hold, &open)
        }
        _ => Ok(()),
    }
}

/// In the effect of a proposal: takes what it had set aside out of held, so that it can be paid now.
pub(super) fn draw_reserved(
    turn: &mut Turn<'_>,
    treasury: TreasuryId,
    legs: &[HoldLeg],
) -> Result<Option<HoldId>, Stop> {
    let Some((id, hold)) = reserved_for_effect(turn, treasury)? else { return Ok(None) };
    take(turn, treasury, id, &hold, legs, true)?;
    Ok(Some(id))
}

/// In the effect of a proposal: gives back what it had set aside, so that it can be offered now.
pub(super) fn free_reserved(turn: &mut Turn<'_>, treasury: TreasuryId) -> Result<(), Stop> {
    match reserved_for_effect(turn, treasury)? {
        Some((id, hold)) => give_back(turn, treasury, id, &hold),
        None => Ok(()),
    }
}

/// Whether a treasury may set this much aside now.
pub(super) fn can_set_aside(turn: &Turn<'_>, id: TreasuryId, currency: &Currency, amount: Amount) -> Result<(), Stop> {
    not_frozen(turn, id)?;
    let treasury = turn.treasury(id)?;
    if treasury.is_closed() {
        return Err(Code::TreasuryClosed.into());
    }
    if treasury.open_count() >= MAX_OPEN {
        return Err(Code::TooManyHolds.into());
    }
    if treasury.available(currency) < amount.minor() {
        return Err(Code::InsufficientFunds.into());
    }
    Ok(())
}

fn not_frozen(turn: &Turn<'_>, treasury: TreasuryId) -> Result<(), Stop> {
    if turn.treasury(treasury)?.is_frozen() { Err(Code::TreasuryFrozen.into()) } else { Ok(()) }
}

/// Every payee can be paid today, so that a hold is not a promise known to be empty.
fn check_payees(turn: &Turn<'_>, from: TreasuryId, legs: &[HoldLeg]) -> Result<(), Stop> {
    for leg in legs {
        match leg.payee {
            Account::Treasury(payee) if payee == from => return Err(Code::SameTreasury.into()),
            Account::Treasury(payee) => authority::can_receive(turn, payee)?,
            Account::External => {}
        }
    }
    Ok(())
}

/// The open hold, unless a proposal still decides about it.
fn free_hold(turn: &Turn<'_>, treasury: TreasuryId, id: HoldId) -> Result<Hold, Stop> {
    match turn.treasury(treasury)?.hold(id) {
        None => Err(Rejection::new(Code::HoldNotOpen).field("hold").into()),
        Some(hold) if hold.proposal.is_some() => Err(Code::HoldAwaitsProposal.into()),
        Some(hold) => Ok(hold.clone()),
    }
}

fn reserved_for_effect(turn: &Turn<'_>, id: TreasuryId) -> Result<Option<(HoldId, Hold)>, Stop> {
    let Mode::Effect(proposal) = turn.mode else { return Ok(None) };
    let treasury = turn.treasury(id)?;
    let Some(hold) = treasury.reserved_for(proposal) else { return Ok(None) };
    Ok(treasury.hold(hold).map(|open| (hold, open.clone())))
}

fn take(
    turn: &mut Turn<'_>,
    treasury: TreasuryId,
    id: HoldId,
    hold: &Hold,
    legs: &[HoldLeg],
    is_final: bool,
) -> Result<(), Stop> {
    let captured = terms::total(legs)?;
    let rest = hold.left.minor() - captured.minor();
    if rest < 0 {
        return Err(Code::BeyondHold.into());
    }
    let closed = is_final || rest == 0;
    let released = hold.left.with_minor(if closed { rest } else { 0 })?;
    let (currency, legs) = (hold.currency.clone(), legs.to_vec());
    let taken = TreasuryEvent::HoldCaptured { hold: id, currency, legs, captured, released, closed };
    turn.record(Stream::Treasury(treasury), taken)
}

fn give_back(turn: &mut Turn<'_>, treasury: TreasuryId, id: HoldId, hold: &Hold) -> Result<(), Stop> {
    let released = TreasuryEvent::HoldReleased { hold: id, currency: hold.currency.clone(), amount: hold.left };
    turn.record(Stream::Treasury(treasury), released)
}
