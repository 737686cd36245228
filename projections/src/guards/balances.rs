//! `treasury_balances`: what each treasury has and holds, and the lowest that either ever was.

use domain::ids::TreasuryId;
use domain::money::Currency;
use domain::treasury::event::TreasuryEvent;

use crate::effect::Effect;
use crate::record::record;
use crate::sheet::Sheet;

record! {
    /// One treasury in one currency, in minor units. The minima run over the state after every single event, for all time: a
    /// violation in the middle of a batch stays visible, and a rebuild in other batches gives the same row.
    Balance in "treasury_balances" by (treasury: TreasuryId, currency: Currency) {
        scale: u64,
        balance: i128,
        held: i128,
        lowest_balance: i128,
        lowest_held: i128,
        lowest_available: i128,
    }
}

pub(super) fn fold(balances: &mut Sheet<Balance>, treasury: TreasuryId, event: &TreasuryEvent) {
    let Some(effect) = Effect::of(event) else { return };
    let known = balances.get(&(treasury, effect.currency.clone()));
    let (balance, held) = known.map_or((0, 0), |row| (row.balance, row.held));
    let (balance, held) = (balance + effect.balance, held + effect.held);
    let lowest = |of: fn(&Balance) -> i128, now: i128| known.map_or(now, |row| of(row).min(now));
    let row = Balance {
        treasury,
        currency: effect.currency.clone(),
        scale: effect.scale.into(),
        balance,
        held,
        lowest_balance: lowest(|row| row.lowest_balance, balance),
        lowest_held: lowest(|row| row.lowest_held, held),
        lowest_available: lowest(|row| row.lowest_available, balance - held),
    };
    balances.put(row);
}
