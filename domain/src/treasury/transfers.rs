//! Transfers between treasuries: offers that the receiver accepts, and splits that take effect at once.

use crate::command::Command;
use crate::guild::govern::SpendRequest;
use crate::ids::{HoldId, Stream, TreasuryId};
use crate::money::{Account, LegRole, check_shares, split as split_amount};
use crate::rejection::{Code, Rejection};
use crate::text::Text;
use crate::time::Time;
use crate::turn::{Outcome, Stop, Turn};

use super::command::{AcceptTransfer, CancelTransfer, ExpireTransfer, OfferTransfer, RejectTransfer, SplitTransfer};
use super::event::{HoldLeg, MovementKind, TreasuryEvent};
use super::movements::{self, Movement};
use super::state::Offer;
use super::{authority, holds, terms};

/// Life of an offer that names no end, in days.
pub const OFFER_DAYS: u32 = 7;

pub(super) fn offer(turn: &mut Turn<'_>, asked: &OfferTransfer, command: &Command) -> Result<Outcome, Stop> {
    turn.treasury(asked.treasury)?;
    let scale = terms::scale_of(turn, &asked.currency)?;
    let amount = terms::positive(asked.amount, scale)?;
    if asked.to == asked.treasury {
        return Err(Rejection::new(Code::SameTreasury).field("to").into());
    }
    let leg = HoldLeg { payee: Account::Treasury(asked.to), role: LegRole::Principal, maximum: amount };
    let spend = SpendRequest {
        treasury: asked.treasury,
        currency: asked.currency.clone(),
        amount,
        legs: vec![leg],
        mandate: asked.mandate.clone(),
        purpose: None,
    };
    authority::governed(turn, asked.treasury, command, Some(spend), |turn| {
        let effective_at = terms::effective_at(turn, asked.effective_at)?;
        let expires_at = terms::expires_at(turn, asked.expires_at.unwrap_or(turn.now().plus_days(OFFER_DAYS)))?;
        authority::can_receive(turn, asked.to)?;
        holds::free_reserved(turn, asked.treasury)?;
        holds::can_set_aside(turn, asked.treasury, &asked.currency, amount)?;
        let offer = HoldId::from_bits(turn.fresh_id());
        let made = TreasuryEvent::OfferMade {
            offer,
            to: asked.to,
            currency: asked.currency.clone(),
            amount,
            expires_at,
            memo: asked.memo.as_ref().map(Text::sealed),
            mandate: asked.mandate.clone(),
        };
        turn.record(Stream::Treasury(asked.treasury), made)?;
        if turn.treasury(asked.to)?.auto_accepts(asked.treasury) {
            hand_over(turn, asked.treasury, offer, effective_at)?;
        }
        Ok(Outcome::Done)
    })
}

pub(super) fn accept(turn: &mut Turn<'_>, asked: &AcceptTransfer, command: &Command) -> Result<Outcome, Stop> {
    let offer = open_offer(turn, asked.treasury, asked.offer)?;
    authority::own_act(turn, offer.to, command)?;
    authority::status_allows(turn, asked.treasury, command)?;
    if terms::has_ended(turn, offer.expires_at) {
        return Err(Code::OfferExpired.into());
    }
    let now = turn.now();
    hand_over(turn, asked.treasury, asked.offer, now)?;
    Ok(Outcome::Done)
}

pub(super) fn reject(turn: &mut Turn<'_>, asked: &RejectTransfer, command: &Command) -> Result<Outcome, Stop> {
    let offer = open_offer(turn, asked.treasury, asked.offer)?;
    authority::own_act(turn, offer.to, command)?;
    let (currency, amount) = (offer.currency, offer.amount);
    let rejected = TreasuryEvent::OfferRejected { offer: asked.offer, currency, amount };
    turn.record(Stream::Treasury(asked.treasury), rejected)?;
    Ok(Outcome::Done)
}

pub(super) fn cancel(turn: &mut Turn<'_>, asked: &CancelTransfer, command: &Command) -> Result<Outcome, Stop> {
    authority::own_act(turn, asked.treasury, command)?;
    let Offer { currency, amount, .. } = open_offer(turn, asked.treasury, asked.offer)?;
    let cancelled = TreasuryEvent::OfferCancelled { offer: asked.offer, currency, amount };
    turn.record(Stream::Treasury(asked.treasury), cancelled)?;
    Ok(Outcome::Done)
}

/// Sent by the city's worker or anybody permitted: it only makes true what the clock already decided.
pub(super) fn expire(turn: &mut Turn<'_>, asked: &ExpireTransfer) -> Result<Outcome, Stop> {
    let offer = open_offer(turn, asked.treasury, asked.offer)?;
    if !terms::has_ended(turn, offer.expires_at) {
        return Err(Code::OfferNotExpired.into());
    }
    let (currency, amount) = (offer.currency, offer.amount);
    let expired = TreasuryEvent::OfferExpired { offer: asked.offer, currency, amount };
    turn.record(Stream::Treasury(asked.treasury), expired)?;
    Ok(Outcome::Done)
}

pub(super) fn split(turn: &mut Turn<'_>, asked: &SplitTransfer, command: &Command) -> Result<Outcome, Stop> {
    turn.treasury(asked.treasury)?;
    let scale = terms::scale_of(turn, &asked.currency)?;
    let amount = terms::positive(asked.amount, scale)?;
    check_shares(&asked.shares).map_err(|rejection| rejection.field("shares"))?;
    let mut legs = Vec::with_capacity(asked.shares.len());
    for (payee, maximum) in split_amount(amount, &asked.shares)? {
        if maximum.is_zero() {
            return Err(Rejection::new(Code::LegTooSmall).detail(payee).field("shares").into());
        }
        legs.push(HoldLeg { payee, role: LegRole::Principal, maximum });
    }
    // Refuses a share to the payer itself before anybody votes about it.
    let paid = movements::paying(asked.treasury, &legs)?;
    let spend = SpendRequest {
        treasury: asked.treasury,
        currency: asked.currency.clone(),
        amount,
        legs: legs.clone(),
        mandate: None,
        purpose: None,
    };
    authority::governed(turn, asked.treasury, command, Some(spend), |turn| {
        let effective_at = terms::effective_at(turn, asked.effective_at)?;
        let mut parted = Movement::new(MovementKind::Split, &asked.currency, paid, effective_at);
        parted.hold = holds::draw_reserved(turn, asked.treasury, &legs)?;
        parted.memo = asked.memo.as_ref().map(Text::sealed);
        movements::record(turn, &parted)?;
        Ok(Outcome::Done)
    })
}

fn open_offer(turn: &Turn<'_>, sender: TreasuryId, id: HoldId) -> Result<Offer, Stop> {
    let offer = turn.treasury(sender)?.offer(id).cloned();
    offer.ok_or_else(|| Rejection::new(Code::OfferNotOpen).field("offer").into())
}

/// What was offered becomes the receiver's.
fn hand_over(turn: &mut Turn<'_>, sender: TreasuryId, id: HoldId, effective_at: Time) -> Result<(), Stop> {
    let offer = open_offer(turn, sender, id)?;
    let (from, to) = (Account::Treasury(sender), Account::Treasury(offer.to));
    let legs = movements::single(from, to, offer.amount, LegRole::Principal)?;
    let (currency, amount) = (offer.currency.clone(), offer.amount);
    turn.record(Stream::Treasury(sender), TreasuryEvent::OfferAccepted { offer: id, currency, amount })?;
    let mut transferred = Movement::new(MovementKind::Transfer, &offer.currency, legs, effective_at);
    transferred.hold = Some(id);
    transferred.memo = offer.memo;
    transferred.mandate = offer.mandate;
    movements::record(turn, &transferred)?;
    Ok(())
}
