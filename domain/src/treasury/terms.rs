//! What a caller wrote, made exact: amounts at their currency's scale, times within their bounds.

use crate::money::{Account, Amount, AmountText, Currency, LegRole};
use crate::rejection::{Code, Rejection};
use crate::time::Time;
use crate::turn::{Stop, Turn};

use super::command::Payee;
use super::event::HoldLeg;

/// Most legs of one hold or capture.
pub const MAX_LEGS: usize = 100;
/// Longest life of a hold or an offer, in days.
pub const MAX_LIFE_DAYS: u32 = 366;

pub(super) fn scale_of(turn: &Turn<'_>, currency: &Currency) -> Result<u8, Stop> {
    let scale = turn.city()?.currency_scale(currency);
    scale.ok_or_else(|| Rejection::new(Code::UnknownCurrency).detail(currency).field("currency").into())
}

pub(super) fn positive(amount: AmountText, scale: u8) -> Result<Amount, Rejection> {
    amount.positive(scale).map_err(|rejection| rejection.field("amount"))
}

/// A fee of zero is no fee.
pub(super) fn fee(fee: Option<AmountText>, scale: u8) -> Result<Option<Amount>, Rejection> {
    let Some(fee) = fee else { return Ok(None) };
    let fee = fee.at_scale(scale).map_err(|rejection| rejection.field("fee"))?;
    if fee.minor() < 0 {
        return Err(Rejection::new(Code::AmountNotPositive).field("fee"));
    }
    Ok((!fee.is_zero()).then_some(fee))
}

/// When the act counts: as given, but never after it is recorded.
pub(super) fn effective_at(turn: &Turn<'_>, given: Option<Time>) -> Result<Time, Rejection> {
    match given {
        Some(given) if given > turn.now() => Err(Rejection::new(Code::EffectiveInFuture).field("effective_at")),
        given => Ok(given.unwrap_or(turn.now())),
    }
}

/// In the future, but not for ever: what is set aside comes back some day.
pub(super) fn expires_at(turn: &Turn<'_>, given: Time) -> Result<Time, Rejection> {
    if given <= turn.now() {
        return Err(Rejection::new(Code::ExpiryInPast).field("expires_at"));
    }
    if given > turn.now().plus_days(MAX_LIFE_DAYS) {
        return Err(Rejection::new(Code::ExpiryTooFar).field("expires_at"));
    }
    Ok(given)
}

/// Whether the end has come: from then on it is unusable, and only from then on it can be expired.
pub(super) fn has_ended(turn: &Turn<'_>, expires_at: Time) -> bool {
    turn.now() >= expires_at
}

/// Exact legs, each payee once: a treasury whatever its role, the outside world once per role.
pub(super) fn legs(payees: &[Payee], scale: u8) -> Result<Vec<HoldLeg>, Rejection> {
    if payees.is_empty() || payees.len() > MAX_LEGS {
        return Err(Rejection::new(Code::LegsInvalid).field("legs"));
    }
    let exact = |payee: &Payee| {
        let maximum = payee.amount.positive(scale).map_err(|rejection| rejection.field("legs"))?;
        Ok(HoldLeg { payee: payee.to, role: payee.role, maximum })
    };
    let legs = payees.iter().map(exact).collect::<Result<Vec<_>, Rejection>>()?;
    let once = |leg: &HoldLeg| (leg.payee, if leg.payee == Account::External { leg.role } else { LegRole::Principal });
    let mut named: Vec<_> = legs.iter().map(once).collect();
    named.sort_unstable();
    named.dedup();
    if named.len() < legs.len() { Err(Rejection::new(Code::PayeeRepeated).field("legs")) } else { Ok(legs) }
}

/// The sum of legs in one currency.
pub(super) fn total(legs: &[HoldLeg]) -> Result<Amount, Rejection> {
    let first = legs.first().ok_or_else(|| Rejection::new(Code::LegsInvalid).field("legs"))?.maximum;
    let sum = legs.iter().try_fold(0_i128, |sum, leg| sum.checked_add(leg.maximum.minor()));
    first.with_minor(sum.ok_or_else(|| Rejection::new(Code::AmountOverflow))?)
}
