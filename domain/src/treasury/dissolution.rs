//! Paying out a dissolved guild: every currency by shares, at once, without asking anybody; then the treasury is closed.

use std::collections::BTreeMap;

use crate::ids::{GuildId, TreasuryId};
use crate::money::{Account, Amount, LegRole, Legs, Share, split};
use crate::rejection::Code;
use crate::turn::{Stop, Turn};

use super::event::MovementKind;
use super::movements::{self, Movement};
use super::{authority, standing};

/// Pays every balance by the shares. A receiver who is frozen or cannot receive is replaced by the fallback.
pub fn pay_shares(turn: &mut Turn<'_>, guild: GuildId, shares: &[Share], fallback: TreasuryId) -> Result<(), Stop> {
    let from = TreasuryId::of_guild(guild);
    let treasury = turn.treasury(from)?;
    if treasury.has_open_holds() {
        return Err(Code::HoldsOpen.into());
    }
    for (currency, balance) in treasury.balances() {
        if balance.is_zero() {
            continue;
        }
        let payees = payees(turn, balance, shares, fallback)?;
        let legs = Legs::pay(Account::Treasury(from), payees)?;
        let now = turn.now();
        movements::record(turn, &Movement::new(MovementKind::Dissolution, &currency, legs, now))?;
    }
    standing::close(turn, from)
}

/// One leg per account that gets anything: shares of several may meet at the fallback.
fn payees(
    turn: &Turn<'_>,
    balance: Amount,
    shares: &[Share],
    fallback: TreasuryId,
) -> Result<Vec<(Account, Amount, LegRole)>, Stop> {
    let mut sums: BTreeMap<Account, i128> = BTreeMap::new();
    for (to, part) in split(balance, shares)? {
        let to = if takes(turn, to)? { to } else { Account::Treasury(fallback) };
        *sums.entry(to).or_default() += part.minor();
    }
    if sums.contains_key(&Account::Treasury(fallback)) && !is_open(turn, fallback)? {
        return Err(Code::FallbackCannotReceive.into());
    }
    let paid = sums.into_iter().filter(|(_, minor)| *minor > 0);
    paid.map(|(to, minor)| Ok((to, balance.with_minor(minor)?, LegRole::Principal))).collect()
}

fn takes(turn: &Turn<'_>, to: Account) -> Result<bool, Stop> {
    match to {
        Account::External => Ok(true),
        Account::Treasury(id) => Ok(!turn.treasury(id)?.is_frozen() && is_open(turn, id)?),
    }
}

fn is_open(turn: &Turn<'_>, treasury: TreasuryId) -> Result<bool, Stop> {
    match authority::can_receive(turn, treasury) {
        Ok(()) => Ok(true),
        Err(Stop::Rejected(_)) => Ok(false),
        Err(missing) => Err(missing),
    }
}
