//! Rules of money: conserved in every movement, never below zero, held exactly as long as promised.

use std::collections::HashMap;

use serde::Deserialize;

mod apply;

use super::values::{
    Account, Amount, CitizenId, Currency, Digest, GuildId, HoldId, MovementId, ProposalId, Slug, Time, TreasuryId,
};
use super::{Notes, Nothing, World, events};
pub use apply::apply;

events! {
    "treasury.opened.v1" => Opened(Opened), [], "the owner has the same ULID and exists when the act ends";
    "treasury.credited.v1" => Credited(Box<Moved>), ["reference?", "memo?"], "the movement's rules; a deposit is attested by who may, for a reference never used before";
    "treasury.debited.v1" => Debited(Box<Moved>), ["reference?", "memo?"], "the movement's rules; decided, not frozen, never below zero, paid from the hold it names";
    "treasury.hold_placed.v1" => HoldPlaced(HoldPlaced), ["purpose?"], "the amount is the sum of its legs, and is available";
    "treasury.hold_confirmed.v1" => HoldConfirmed(HoldConfirmed), [], "the hold waited for a proposal";
    "treasury.hold_captured.v1" => HoldCaptured(HoldCaptured), [], "within what the hold leaves, before it expires, paid in the same act";
    "treasury.hold_released.v1" => HoldReleased(HoldEnded), [], "gives back exactly what was left";
    "treasury.hold_expired.v1" => HoldExpired(HoldEnded), [], "gives back exactly what was left, not before the time";
    "treasury.offer_made.v1" => OfferMade(OfferMade), ["memo?"], "to another treasury, and available";
    "treasury.offer_accepted.v1" => OfferAccepted(OfferEnded), [], "the whole offer, before it expires, paid in the same act";
    "treasury.offer_rejected.v1" => OfferRejected(OfferEnded), [], "gives back exactly what was offered";
    "treasury.offer_cancelled.v1" => OfferCancelled(OfferEnded), [], "gives back exactly what was offered";
    "treasury.offer_expired.v1" => OfferExpired(OfferEnded), [], "gives back exactly what was offered, not before the time";
    "treasury.frozen.v1" => Frozen(Freeze), ["reason"], "not twice by one side";
    "treasury.unfrozen.v1" => Unfrozen(Freeze), [], "only by the side that froze";
    "treasury.settled.v1" => Settled(Settled), [], "periods only move forward; balances as they stand when nothing moved since";
    "treasury.auto_accept_set.v1" => AutoAcceptSet(AutoAcceptSet), [], "decided; changes no money by itself";
    "treasury.closed.v1" => Closed(Nothing), [], "empty, once; nothing comes in afterwards";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case", deny_unknown_fields)]
pub enum Owner {
    Guild(GuildId),
    Citizen(CitizenId),
}

impl Owner {
    const fn bits(self) -> u128 {
        match self {
            Self::Guild(id) => id.0,
            Self::Citizen(id) => id.0,
        }
    }

    pub fn exists(self, world: &World) -> bool {
        match self {
            Self::Guild(id) => world.guilds.contains_key(&id),
            Self::Citizen(id) => world.citizens.contains_key(&id),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    Deposit,
    DepositFee,
    Withdrawal,
    Capture,
    Transfer,
    Split,
    Dissolution,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Principal,
    Fee,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    pub account: Account,
    pub amount: Amount,
    pub role: Role,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Moved {
    movement: MovementId,
    kind: MovementKind,
    currency: Currency,
    amount: Amount,
    legs: Vec<Leg>,
    effective_at: Time,
    source: Option<Slug>,
    reference_lookup: Option<Digest>,
    reference_content: Option<Digest>,
    hold: Option<HoldId>,
    mandate: Option<Slug>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldLeg {
    payee: Account,
    role: Role,
    maximum: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldPlaced {
    hold: HoldId,
    currency: Currency,
    amount: Amount,
    legs: Vec<HoldLeg>,
    expires_at: Time,
    proposal: Option<ProposalId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldConfirmed {
    hold: HoldId,
    expires_at: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape; the payment says who is paid")]
pub struct HoldCaptured {
    hold: HoldId,
    currency: Currency,
    legs: Vec<HoldLeg>,
    captured: Amount,
    released: Amount,
    closed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldEnded {
    hold: HoldId,
    currency: Currency,
    amount: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct OfferMade {
    offer: HoldId,
    to: TreasuryId,
    currency: Currency,
    amount: Amount,
    expires_at: Time,
    mandate: Option<Slug>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferEnded {
    offer: HoldId,
    currency: Currency,
    amount: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    City,
    Owner,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    side: Side,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledBalance {
    currency: Currency,
    balance: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    as_of: Time,
    balances: Vec<SettledBalance>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct AutoAcceptSet {
    from: Vec<TreasuryId>,
}

/// One currency of one treasury, in minor units.
#[derive(Debug)]
pub struct Purse {
    pub currency: Currency,
    pub balance: i128,
    pub held: i128,
}

/// Money set aside: a hold with its payees, or an offer with one.
#[derive(Debug)]
pub struct Hold {
    currency: Currency,
    remaining: i128,
    payees: Vec<(Account, Role, i128)>,
    expires_at: Time,
    proposal: Option<ProposalId>,
    is_offer: bool,
}

/// What is living of a treasury.
#[derive(Debug, Default)]
pub struct Treasury {
    pub owner: Option<Owner>,
    pub accounts: Vec<Purse>,
    open: HashMap<HoldId, Hold>,
    frozen_by_city: bool,
    frozen_by_owner: bool,
    closed: bool,
    settled: Option<Time>,
    moved_at: Time,
}

impl Treasury {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.accounts.iter().all(|purse| purse.balance == 0 && purse.held == 0)
    }

    fn is_frozen(&self) -> bool {
        self.frozen_by_city || self.frozen_by_owner
    }

    fn purse(&mut self, currency: Currency) -> &mut Purse {
        let known = self.accounts.iter().position(|purse| purse.currency == currency);
        let index = known.unwrap_or_else(|| {
            self.accounts.push(Purse { currency, balance: 0, held: 0 });
            self.accounts.len() - 1
        });
        &mut self.accounts[index]
    }

    /// Changes balance and held, which may never cross each other or zero.
    fn change(&mut self, currency: Currency, balance: i128, held: i128, notes: &mut Notes) {
        let purse = self.purse(currency);
        purse.balance = purse.balance.saturating_add(balance);
        purse.held = purse.held.saturating_add(held);
        let (balance, held) = (purse.balance, purse.held);
        notes.expect(balance >= 0, || format!("the balance in {currency} falls below zero ({balance} minor units)"));
        notes.expect(held >= 0, || format!("held in {currency} falls below zero ({held} minor units)"));
        notes.expect(held <= balance.max(0), || {
            format!("more is held in {currency} than there is ({held} of {balance} minor units)")
        });
    }
}

/// One movement of the present act: what it says, and which treasuries have recorded it.
#[derive(Debug)]
pub struct Movement {
    id: MovementId,
    position: u64,
    kind: MovementKind,
    currency: Currency,
    legs: Vec<Leg>,
    effective_at: Time,
    seen: Vec<TreasuryId>,
}

impl Movement {
    /// Notes the treasuries that a movement names and that never recorded it.
    pub fn complete(&self, notes: &mut Notes) {
        for leg in &self.legs {
            if let Account::Treasury(id) = leg.account
                && !self.seen.contains(&id)
            {
                notes.at(self.position, format!("the movement {} names {id}, which never recorded it", self.id));
            }
        }
    }
}
