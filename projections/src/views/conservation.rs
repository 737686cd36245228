//! `conservation`: per currency, all treasuries together against the outside world.

use domain::ids::TreasuryId;
use domain::money::{self, Currency};
use domain::treasury::event::TreasuryEvent;

use crate::field::Sum;
use crate::guards::first_treasury;
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `treasuries` is summed from their own events, `external` from the outside world's legs, counted once per movement: the two
    /// are independent, and always add up to zero.
    Conservation in "conservation" by (currency: Currency) {
        scale: u64,
        treasuries: Sum,
        external: Sum,
        movements: u64,
        position: u64,
    }
}

pub(super) fn fold(
    conservation: &mut Sheet<Conservation>,
    recorded: &Recorded,
    treasury: TreasuryId,
    event: &TreasuryEvent,
) {
    let (moved, sign) = match event {
        TreasuryEvent::Credited(moved) => (moved, 1),
        TreasuryEvent::Debited(moved) => (moved, -1),
        _ => return,
    };
    let known = conservation.get(&(moved.currency.clone(),)).cloned();
    let mut row = known.unwrap_or_else(|| Conservation {
        currency: moved.currency.clone(),
        scale: moved.amount.scale().into(),
        treasuries: Sum(0),
        external: Sum(0),
        movements: 0,
        position: recorded.position,
    });
    row.treasuries.0 += sign * moved.amount.minor();
    row.position = recorded.position;
    if first_treasury(moved) == Some(money::Account::Treasury(treasury)) {
        row.external.0 += moved.legs.net(money::Account::External);
        row.movements += 1;
    }
    conservation.put(row);
}
