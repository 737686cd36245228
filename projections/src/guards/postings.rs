//! `postings`: every leg of every movement, as the treasuries' own events tell it.

use domain::ids::{MovementId, TreasuryId};
use domain::money::{Account, Currency};
use domain::treasury::event::{Moved, TreasuryEvent};

use crate::record::record;
use crate::sheet::Journal;

record! {
    /// One leg of one movement; `leg` is its place in the movement, `amount` in minor units, inflows positive.
    Posting in "postings" by (movement: MovementId, leg: u64) {
        currency: Currency,
        account: String,
        amount: i128,
        position: u64,
    }
}

/// Each treasury's event writes that treasury's own leg, with the amount by which its balance changes. So a movement whose events
/// do not say the same, or of which one is missing, does not sum to zero. The outside world has no events: the first treasury of
/// the movement writes its legs.
pub(super) fn fold(postings: &mut Journal<Posting>, position: u64, treasury: TreasuryId, event: &TreasuryEvent) {
    let (moved, sign) = match event {
        TreasuryEvent::Credited(moved) => (moved, 1),
        TreasuryEvent::Debited(moved) => (moved, -1),
        _ => return,
    };
    let legs = moved.legs.as_slice();
    let post = |leg: usize, account: Account, amount: i128| Posting {
        movement: moved.movement,
        leg: leg as u64,
        currency: moved.currency.clone(),
        account: account.to_string(),
        amount,
        position,
    };
    let own = Account::Treasury(treasury);
    let place = legs.iter().position(|leg| leg.account == own).unwrap_or(legs.len());
    postings.push(post(place, own, sign * moved.amount.minor()));
    if first_treasury(moved) == Some(own) {
        let outside = legs.iter().enumerate().filter(|(_, leg)| leg.account == Account::External);
        outside.for_each(|(place, leg)| postings.push(post(place, leg.account, leg.amount.minor())));
    }
}

/// The treasury that speaks for the movement where it must be counted once.
pub(crate) fn first_treasury(moved: &Moved) -> Option<Account> {
    moved.legs.as_slice().iter().map(|leg| leg.account).find(|account| *account != Account::External)
}
