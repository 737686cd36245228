//! `account_balances`: what each treasury has and holds, as far as the views are.

use domain::ids::TreasuryId;
use domain::money::Currency;
use domain::treasury::event::TreasuryEvent;

use crate::effect::Effect;
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// Minor units; `position` is that of the last entry that changed them.
    Account in "account_balances" by (treasury: TreasuryId, currency: Currency) {
        scale: u64,
        balance: i128,
        held: i128,
        position: u64,
    }
}

/// What the treasury has after the event, if the event is about money.
pub(super) fn fold(
    accounts: &mut Sheet<Account>,
    recorded: &Recorded,
    treasury: TreasuryId,
    event: &TreasuryEvent,
) -> Option<Account> {
    let effect = Effect::of(event)?;
    let known = accounts.get(&(treasury, effect.currency.clone()));
    let (balance, held) = known.map_or((0, 0), |row| (row.balance, row.held));
    let account = Account {
        treasury,
        currency: effect.currency.clone(),
        scale: effect.scale.into(),
        balance: balance + effect.balance,
        held: held + effect.held,
        position: recorded.position,
    };
    accounts.put(account.clone());
    Some(account)
}
