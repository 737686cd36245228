//! The one place that records a movement: one event to every treasury it touches, each naming all legs.

use crate::ids::{HoldId, MovementId, Slug, Stream, TreasuryId};
use crate::money::{Account, Amount, Currency, LIMIT, LegRole, Legs};
use crate::rejection::{Code, Rejection};
use crate::text::{Digest, Sealed};
use crate::time::Time;
use crate::turn::{Claim, Stop, Turn};

use super::authority;
use super::event::{HoldLeg, Moved, MovementKind, TreasuryEvent};

/// A reference into somebody else's books, and what it stands for.
#[derive(Debug, Clone)]
pub(super) struct Referenced {
    pub sealed: Sealed,
    pub lookup: Digest,
    pub content: Digest,
}

/// Money about to move.
#[derive(Debug, Clone)]
pub(super) struct Movement {
    pub kind: MovementKind,
    pub currency: Currency,
    pub legs: Legs,
    pub effective_at: Time,
    pub source: Option<Slug>,
    pub reference: Option<Referenced>,
    pub memo: Option<Sealed>,
    pub hold: Option<HoldId>,
    pub mandate: Option<Slug>,
}

impl Movement {
    pub(super) fn new(kind: MovementKind, currency: &Currency, legs: Legs, effective_at: Time) -> Self {
        let currency = currency.clone();
        Self {
            kind,
            currency,
            legs,
            effective_at,
            source: None,
            reference: None,
            memo: None,
            hold: None,
            mandate: None,
        }
    }
}

/// Legs that pay out what a hold, a split or a withdrawal promised.
pub(super) fn paying(from: TreasuryId, legs: &[HoldLeg]) -> Result<Legs, Rejection> {
    let payees = legs.iter().map(|leg| (leg.payee, leg.maximum, leg.role)).collect();
    Legs::pay(Account::Treasury(from), payees)
}

pub(super) fn single(from: Account, to: Account, amount: Amount, role: LegRole) -> Result<Legs, Rejection> {
    Legs::pay(from, vec![(to, amount, role)])
}

/// Records the movement in every treasury it touches, or refuses it as a whole. The payer comes first.
pub(super) fn record(turn: &mut Turn<'_>, movement: &Movement) -> Result<MovementId, Stop> {
    for (treasury, net) in nets(&movement.legs) {
        check(turn, movement, treasury, net)?;
    }
    let id = MovementId::from_bits(turn.fresh_id());
    for (treasury, net) in nets(&movement.legs) {
        let moved = Box::new(moved(movement, id, net)?);
        let event = if net < 0 { TreasuryEvent::Debited(moved) } else { TreasuryEvent::Credited(moved) };
        turn.record(Stream::Treasury(treasury), event)?;
    }
    Ok(id)
}

/// What each treasury gains or loses. The constructor of legs names every treasury once, so each leg is its net.
fn nets(legs: &Legs) -> impl Iterator<Item = (TreasuryId, i128)> {
    legs.as_slice().iter().filter_map(|leg| match leg.account {
        Account::Treasury(treasury) => Some((treasury, leg.amount.minor())),
        Account::External => None,
    })
}

fn check(turn: &Turn<'_>, movement: &Movement, id: TreasuryId, net: i128) -> Result<(), Stop> {
    let treasury = turn.treasury(id)?;
    if treasury.settled_until().is_some_and(|settled| movement.effective_at < settled) {
        return Err(Rejection::new(Code::PeriodSettled).detail(id).field("effective_at").into());
    }
    if net >= 0 {
        let fits = treasury.balance(&movement.currency).checked_add(net).is_some_and(|balance| balance < LIMIT);
        return if fits { authority::can_receive(turn, id) } else { Err(Code::AmountOverflow.into()) };
    }
    // The processor keeps its fee out of an inflow, and a freeze lets inflows in: net of both, money arrives.
    if treasury.is_frozen() && movement.kind != MovementKind::DepositFee {
        return Err(Rejection::new(Code::TreasuryFrozen).detail(id).into());
    }
    if treasury.available(&movement.currency) < -net {
        return Err(Code::InsufficientFunds.into());
    }
    Ok(())
}

fn moved(movement: &Movement, id: MovementId, net: i128) -> Result<Moved, Rejection> {
    let scale = movement.legs.as_slice().first().map_or(0, |leg| leg.amount.scale());
    let amount = Amount::new(net.abs(), scale).ok_or_else(|| Rejection::new(Code::AmountOverflow))?;
    Ok(Moved {
        movement: id,
        kind: movement.kind,
        currency: movement.currency.clone(),
        amount,
        legs: movement.legs.clone(),
        effective_at: movement.effective_at,
        source: movement.source.clone(),
        reference: movement.reference.as_ref().map(|reference| reference.sealed.clone()),
        reference_lookup: movement.reference.as_ref().map(|reference| reference.lookup),
        reference_content: movement.reference.as_ref().map(|reference| reference.content),
        memo: movement.memo.clone(),
        hold: movement.hold,
        mandate: movement.mandate.clone(),
    })
}

/// The reference an event takes for ever, and the content it stands for. From the event alone, so that replay agrees.
pub fn reference_claim(moved: &Moved) -> Option<(Claim, String)> {
    let (lookup, content) = (moved.reference_lookup?, moved.reference_content?);
    let claim = match moved.kind {
        MovementKind::Deposit => deposit_claim(moved.source.as_ref()?, lookup),
        MovementKind::Withdrawal => withdrawal_claim(moved.legs.as_slice().first()?.account, lookup),
        _ => return None,
    };
    Some((claim, content.to_string()))
}

pub(super) fn deposit_claim(source: &Slug, lookup: Digest) -> Claim {
    Claim { scope: "reference", key: format!("{source}:{lookup}") }
}

pub(super) fn withdrawal_claim(payer: Account, lookup: Digest) -> Claim {
    Claim { scope: "reference", key: format!("withdrawal:{payer}:{lookup}") }
}
