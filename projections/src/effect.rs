//! What one event of a treasury changes: its balance, or what it holds, never both.

use domain::money::{Amount, Currency};
use domain::treasury::event::TreasuryEvent;

/// A change of one treasury in one currency, in minor units.
pub(crate) struct Effect<'a> {
    pub currency: &'a Currency,
    pub scale: u8,
    pub balance: i128,
    pub held: i128,
}

impl<'a> Effect<'a> {
    /// `None` for events that leave the money where it is.
    pub(crate) fn of(event: &'a TreasuryEvent) -> Option<Self> {
        let moved = |currency: &'a Currency, amount: &Amount, sign: i128| {
            Some(Self { currency, scale: amount.scale(), balance: sign * amount.minor(), held: 0 })
        };
        let held = |currency: &'a Currency, amount: &Amount, minor: i128| {
            Some(Self { currency, scale: amount.scale(), balance: 0, held: minor })
        };
        match event {
            TreasuryEvent::Credited(m) => moved(&m.currency, &m.amount, 1),
            TreasuryEvent::Debited(m) => moved(&m.currency, &m.amount, -1),
            TreasuryEvent::HoldPlaced { currency, amount, .. } | TreasuryEvent::OfferMade { currency, amount, .. } => {
                held(currency, amount, amount.minor())
            }
            TreasuryEvent::HoldCaptured { currency, captured, released, .. } => {
                held(currency, captured, -(captured.minor() + released.minor()))
            }
            TreasuryEvent::HoldReleased { currency, amount, .. }
            | TreasuryEvent::HoldExpired { currency, amount, .. }
            | TreasuryEvent::OfferAccepted { currency, amount, .. }
            | TreasuryEvent::OfferRejected { currency, amount, .. }
            | TreasuryEvent::OfferCancelled { currency, amount, .. }
            | TreasuryEvent::OfferExpired { currency, amount, .. } => held(currency, amount, -amount.minor()),
            TreasuryEvent::Opened { .. }
            | TreasuryEvent::HoldConfirmed { .. }
            | TreasuryEvent::Frozen { .. }
            | TreasuryEvent::Unfrozen { .. }
            | TreasuryEvent::Settled { .. }
            | TreasuryEvent::AutoAcceptSet { .. }
            | TreasuryEvent::Closed {} => None,
        }
    }
}
