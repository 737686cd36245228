//! `treasury_statement`: one line per event that moves or sets aside money, with what was there afterwards.

use domain::ids::{HoldId, MovementId, Slug, TreasuryId};
use domain::money::{self, Currency};
use domain::text::Sealed;
use domain::time::Time;
use domain::treasury::event::{Moved, TreasuryEvent};

use super::Account;
use crate::effect::Effect;
use crate::field::{Json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Journal;

record! {
    /// `amount` changes the balance, `held_change` what is set aside; one of the two is zero. `hold` is a hold or an offer,
    /// `counterparty` the other account where there is exactly one.
    Line in "treasury_statement" by (treasury: TreasuryId, position: u64) {
        currency: Currency,
        scale: u64,
        at: Time,
        effective_at: Time,
        kind: String,
        amount: i128,
        held_change: i128,
        balance: i128,
        held: i128,
        movement: Option<MovementId>,
        counterparty: Option<String>,
        source: Option<Slug>,
        mandate: Option<Slug>,
        hold: Option<HoldId>,
        memo: Option<Json<Sealed>>,
        reference: Option<Json<Sealed>>,
        command: String,
    }
}

/// `account` is the treasury after the event.
pub(super) fn fold(statement: &mut Journal<Line>, recorded: &Recorded, account: &Account, event: &TreasuryEvent) {
    let Some(effect) = Effect::of(event) else { return };
    let line = Line {
        treasury: account.treasury,
        position: recorded.position,
        currency: account.currency.clone(),
        scale: account.scale,
        at: recorded.at,
        effective_at: recorded.at,
        kind: String::new(),
        amount: effect.balance,
        held_change: effect.held,
        balance: account.balance,
        held: account.held,
        movement: None,
        counterparty: None,
        source: None,
        mandate: None,
        hold: None,
        memo: None,
        reference: None,
        command: recorded.command.clone(),
    };
    statement.push(match event {
        TreasuryEvent::Credited(moved) | TreasuryEvent::Debited(moved) => moved_line(line, moved),
        _ => held_line(line, event),
    });
}

fn moved_line(line: Line, moved: &Moved) -> Line {
    let own = money::Account::Treasury(line.treasury);
    let mut others = moved.legs.as_slice().iter().map(|leg| leg.account).filter(|account| *account != own);
    let first = others.next();
    let counterparty = first.filter(|first| others.all(|other| other == *first));
    Line {
        kind: word(&moved.kind),
        effective_at: moved.effective_at,
        movement: Some(moved.movement),
        counterparty: counterparty.map(|account| account.to_string()),
        source: moved.source.clone(),
        mandate: moved.mandate.clone(),
        hold: moved.hold,
        memo: moved.memo.clone().map(Json),
        reference: moved.reference.clone().map(Json),
        ..line
    }
}

fn held_line(line: Line, event: &TreasuryEvent) -> Line {
    let (kind, hold) = match event {
        TreasuryEvent::HoldPlaced { hold, .. } => ("hold_placed", hold),
        TreasuryEvent::HoldCaptured { hold, .. } => ("hold_captured", hold),
        TreasuryEvent::HoldReleased { hold, .. } => ("hold_released", hold),
        TreasuryEvent::HoldExpired { hold, .. } => ("hold_expired", hold),
        TreasuryEvent::OfferMade { offer, .. } => ("offer_made", offer),
        TreasuryEvent::OfferAccepted { offer, .. } => ("offer_accepted", offer),
        TreasuryEvent::OfferRejected { offer, .. } => ("offer_rejected", offer),
        TreasuryEvent::OfferCancelled { offer, .. } => ("offer_cancelled", offer),
        TreasuryEvent::OfferExpired { offer, .. } => ("offer_expired", offer),
        other => unreachable!("{other:?} sets nothing aside"),
    };
    let line = Line { kind: kind.to_owned(), hold: Some(*hold), ..line };
    match event {
        TreasuryEvent::HoldPlaced { purpose, .. } => Line { memo: purpose.clone().map(Json), ..line },
        TreasuryEvent::OfferMade { to, memo, mandate, .. } => {
            let (counterparty, memo) = (Some(to.to_string()), memo.clone().map(Json));
            Line { counterparty, memo, mandate: mandate.clone(), ..line }
        }
        _ => line,
    }
}
