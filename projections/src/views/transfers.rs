//! `transfers`: what one treasury offered another, and what became of it.

use domain::ids::{HoldId, Slug, TreasuryId};
use domain::money::Currency;
use domain::text::Sealed;
use domain::time::Time;
use domain::treasury::event::TreasuryEvent;

use crate::field::Json;
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `offered`, then `accepted`, `rejected`, `cancelled` or `expired`.
    Transfer in "transfers" by (offer: HoldId) {
        sender: TreasuryId,
        receiver: TreasuryId,
        currency: Currency,
        scale: u64,
        amount: i128,
        status: String,
        mandate: Option<Slug>,
        memo: Option<Json<Sealed>>,
        expires_at: Time,
        offered_at: Time,
        ended_at: Option<Time>,
        position: u64,
    }
}

pub(super) fn fold(transfers: &mut Sheet<Transfer>, recorded: &Recorded, sender: TreasuryId, event: &TreasuryEvent) {
    let mut end = |offer: &HoldId, status: &str| {
        transfers.change(&(*offer,), |row| {
            status.clone_into(&mut row.status);
            row.ended_at = Some(recorded.at);
        });
    };
    match event {
        TreasuryEvent::OfferMade { offer, to, currency, amount, expires_at, memo, mandate } => {
            transfers.put(Transfer {
                offer: *offer,
                sender,
                receiver: *to,
                currency: currency.clone(),
                scale: amount.scale().into(),
                amount: amount.minor(),
                status: "offered".to_owned(),
                mandate: mandate.clone(),
                memo: memo.clone().map(Json),
                expires_at: *expires_at,
                offered_at: recorded.at,
                ended_at: None,
                position: recorded.position,
            })
        }
        TreasuryEvent::OfferAccepted { offer, .. } => end(offer, "accepted"),
        TreasuryEvent::OfferRejected { offer, .. } => end(offer, "rejected"),
        TreasuryEvent::OfferCancelled { offer, .. } => end(offer, "cancelled"),
        TreasuryEvent::OfferExpired { offer, .. } => end(offer, "expired"),
        _ => {}
    }
}
