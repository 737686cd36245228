//! `holds`: money set aside for named payees, open and ended.

use domain::ids::{HoldId, ProposalId, TreasuryId};
use domain::money::Currency;
use domain::text::Sealed;
use domain::time::Time;
use domain::treasury::event::TreasuryEvent;

use crate::field::{Json, json};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `reserved` while a proposal decides, `open` once it stands on its own; then `captured`, `released` or `expired`.
    Hold in "holds" by (hold: HoldId) {
        treasury: TreasuryId,
        currency: Currency,
        scale: u64,
        amount: i128,
        captured: i128,
        remaining: i128,
        legs: String,
        status: String,
        proposal: Option<ProposalId>,
        purpose: Option<Json<Sealed>>,
        expires_at: Time,
        placed_at: Time,
        ended_at: Option<Time>,
        position: u64,
    }
}

pub(super) fn fold(holds: &mut Sheet<Hold>, recorded: &Recorded, treasury: TreasuryId, event: &TreasuryEvent) {
    let end = |row: &mut Hold, status: &str| {
        status.clone_into(&mut row.status);
        row.remaining = 0;
        row.ended_at = Some(recorded.at);
    };
    match event {
        TreasuryEvent::HoldPlaced { hold, currency, amount, legs, expires_at, purpose, proposal } => holds.put(Hold {
            hold: *hold,
            treasury,
            currency: currency.clone(),
            scale: amount.scale().into(),
            amount: amount.minor(),
            captured: 0,
            remaining: amount.minor(),
            legs: json(legs),
            status: if proposal.is_some() { "reserved" } else { "open" }.to_owned(),
            proposal: *proposal,
            purpose: purpose.clone().map(Json),
            expires_at: *expires_at,
            placed_at: recorded.at,
            ended_at: None,
            position: recorded.position,
        }),
        TreasuryEvent::HoldConfirmed { hold, expires_at } => holds.change(&(*hold,), |row| {
            "open".clone_into(&mut row.status);
            row.expires_at = *expires_at;
        }),
        TreasuryEvent::HoldCaptured { hold, captured, released, closed, .. } => holds.change(&(*hold,), |row| {
            row.captured += captured.minor();
            row.remaining -= captured.minor() + released.minor();
            if *closed {
                end(row, "captured");
            }
        }),
        TreasuryEvent::HoldReleased { hold, .. } => holds.change(&(*hold,), |row| end(row, "released")),
        TreasuryEvent::HoldExpired { hold, .. } => holds.change(&(*hold,), |row| end(row, "expired")),
        _ => {}
    }
}
