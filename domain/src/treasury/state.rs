//! A treasury folded from its events: purses, open holds and offers, and day sums for limits. Closed things leave.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::event::{FreezeSide, HoldLeg, Moved, MovementKind, Owner, SettledBalance, TreasuryEvent};
use crate::ids::{HoldId, ProposalId, Slug, TreasuryId};
use crate::money::{Amount, Currency};
use crate::text::Sealed;
use crate::time::Time;

/// Day sums older than this are forgotten: no limit and no settlement looks further back.
pub const KEPT_DAYS: i64 = 366;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Treasury {
    owner: Option<Owner>,
    purses: OrdMap<Currency, Purse>,
    holds: OrdMap<HoldId, Arc<Hold>>,
    offers: OrdMap<HoldId, Arc<Offer>>,
    reserved: OrdMap<ProposalId, HoldId>,
    frozen: OrdSet<FreezeSide>,
    auto_accept: OrdSet<TreasuryId>,
    settled_until: Option<Time>,
    /// External inflows per day of recording.
    deposited: OrdMap<i64, OrdMap<Currency, i128>>,
    /// What moved per effective day, so that a past period can be settled exactly.
    moved: OrdMap<i64, Day>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Purse {
    balance: i128,
    held: i128,
    scale: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Day {
    first: Time,
    last: Time,
    net: OrdMap<Currency, i128>,
}

/// Money set aside for named payees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub currency: Currency,
    /// What is still held.
    pub left: Amount,
    /// What each payee can still get.
    pub legs: Vec<HoldLeg>,
    pub expires_at: Time,
    /// Set while a proposal decides about it.
    pub proposal: Option<ProposalId>,
}

/// Money waiting for its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub to: TreasuryId,
    pub currency: Currency,
    pub amount: Amount,
    pub expires_at: Time,
    pub memo: Option<Sealed>,
    pub mandate: Option<Slug>,
}

impl Treasury {
    pub fn exists(&self) -> bool {
        self.owner.is_some()
    }

    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn balance(&self, currency: &Currency) -> i128 {
        self.purses.get(currency).map_or(0, |purse| purse.balance)
    }

    pub fn held(&self, currency: &Currency) -> i128 {
        self.purses.get(currency).map_or(0, |purse| purse.held)
    }

    /// What can be spent: balance minus held, in minor units.
    pub fn available(&self, currency: &Currency) -> i128 {
        self.balance(currency) - self.held(currency)
    }

    /// Every currency that ever moved here, with its balance.
    pub fn balances(&self) -> Vec<(Currency, Amount)> {
        self.purses.iter().map(|(currency, purse)| (currency.clone(), purse.amount(purse.balance))).collect()
    }

    pub fn has_open_holds(&self) -> bool {
        self.open_count() > 0
    }

    /// Open holds and offers together.
    pub fn open_count(&self) -> usize {
        self.holds.len() + self.offers.len()
    }

    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id).map(Arc::as_ref)
    }

    pub fn holds(&self) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.holds.iter().map(|(id, hold)| (*id, hold.as_ref()))
    }

    pub fn offer(&self, id: HoldId) -> Option<&Offer> {
        self.offers.get(&id).map(Arc::as_ref)
    }

    pub fn offers(&self) -> impl Iterator<Item = (HoldId, &Offer)> {
        self.offers.iter().map(|(id, offer)| (*id, offer.as_ref()))
    }

    pub fn reserved_for(&self, proposal: ProposalId) -> Option<HoldId> {
        self.reserved.get(&proposal).copied()
    }

    /// What open proposals hold together, in minor units.
    pub fn reserved_by_proposals(&self, currency: &Currency) -> i128 {
        let holds = self.reserved.values().filter_map(|hold| self.holds.get(hold));
        holds.filter(|hold| hold.currency == *currency).map(|hold| hold.left.minor()).sum()
    }

    pub fn is_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    pub fn is_frozen_by(&self, side: FreezeSide) -> bool {
        self.frozen.contains(&side)
    }

    pub fn auto_accepts(&self, sender: TreasuryId) -> bool {
        self.auto_accept.contains(&sender)
    }

    pub fn auto_accept(&self) -> impl Iterator<Item = &TreasuryId> {
        self.auto_accept.iter()
    }

    pub fn settled_until(&self) -> Option<Time> {
        self.settled_until
    }

    /// Gross external inflows recorded since that UTC day, in minor units; at most 366 days back.
    pub fn deposited_since(&self, currency: &Currency, day: i64) -> i128 {
        self.deposited.range(day..).filter_map(|(_, sums)| sums.get(currency)).sum()
    }

    /// Balances of everything effective before `as_of`; `None` when the day sums cannot tell exactly.
    pub fn balances_before(&self, as_of: Time, now: Time) -> Option<Vec<SettledBalance>> {
        if as_of.day() < now.day() - KEPT_DAYS {
            return None;
        }
        let mut later: OrdMap<Currency, i128> = OrdMap::new();
        for (day, moved) in self.moved.range(as_of.day()..) {
            if *day == as_of.day() && moved.last < as_of {
                continue;
            }
            if *day == as_of.day() && moved.first < as_of {
                return None;
            }
            for (currency, net) in &moved.net {
                *later.entry(currency.clone()).or_default() += net;
            }
        }
        let before = |(currency, purse): (&Currency, &Purse)| {
            let balance = purse.amount(purse.balance - later.get(currency).copied().unwrap_or(0));
            SettledBalance { currency: currency.clone(), balance }
        };
        Some(self.purses.iter().map(before).collect())
    }

    pub fn evolve(&mut self, event: &TreasuryEvent, at: Time) {
        match event {
            TreasuryEvent::Opened { owner } => self.owner = Some(*owner),
            TreasuryEvent::Credited(moved) => self.moved(moved, moved.amount.minor(), at),
            TreasuryEvent::Debited(moved) => self.moved(moved, -moved.amount.minor(), at),
            TreasuryEvent::HoldPlaced { hold, currency, amount, legs, expires_at, proposal, .. } => {
                self.hold_more(currency, *amount);
                if let Some(proposal) = proposal {
                    self.reserved.insert(*proposal, *hold);
                }
                let (currency, legs) = (currency.clone(), legs.clone());
                let placed = Hold { currency, left: *amount, legs, expires_at: *expires_at, proposal: *proposal };
                self.holds.insert(*hold, Arc::new(placed));
            }
            TreasuryEvent::HoldConfirmed { hold, expires_at } => self.confirmed(*hold, *expires_at),
            TreasuryEvent::HoldCaptured { hold, currency, legs, captured, released, closed } => {
                self.hold_less(currency, *captured);
                self.hold_less(currency, *released);
                if *closed { self.forget_hold(*hold) } else { self.captured(*hold, legs, *captured) }
            }
            TreasuryEvent::HoldReleased { hold, currency, amount }
            | TreasuryEvent::HoldExpired { hold, currency, amount } => {
                self.hold_less(currency, *amount);
                self.forget_hold(*hold);
            }
            TreasuryEvent::OfferMade { offer, to, currency, amount, expires_at, memo, mandate } => {
                self.hold_more(currency, *amount);
                let made = Offer {
                    to: *to,
                    currency: currency.clone(),
                    amount: *amount,
                    expires_at: *expires_at,
                    memo: memo.clone(),
                    mandate: mandate.clone(),
                };
                self.offers.insert(*offer, Arc::new(made));
            }
            TreasuryEvent::OfferAccepted { offer, currency, amount }
            | TreasuryEvent::OfferRejected { offer, currency, amount }
            | TreasuryEvent::OfferCancelled { offer, currency, amount }
            | TreasuryEvent::OfferExpired { offer, currency, amount } => {
                self.hold_less(currency, *amount);
                self.offers.remove(offer);
            }
            TreasuryEvent::Frozen { side, .. } => {
                self.frozen.insert(*side);
            }
            TreasuryEvent::Unfrozen { side } => {
                self.frozen.remove(side);
            }
            TreasuryEvent::Settled { as_of, .. } => self.settled_until = Some(*as_of),
            TreasuryEvent::AutoAcceptSet { from } => self.auto_accept = from.iter().copied().collect(),
            TreasuryEvent::Closed {} => self.closed = true,
        }
    }

    fn moved(&mut self, moved: &Moved, net: i128, at: Time) {
        self.purse(&moved.currency, moved.amount).balance += net;
        let day = self.moved.entry(moved.effective_at.day()).or_insert_with(|| Day {
            first: moved.effective_at,
            last: moved.effective_at,
            net: OrdMap::new(),
        });
        day.first = day.first.min(moved.effective_at);
        day.last = day.last.max(moved.effective_at);
        *day.net.entry(moved.currency.clone()).or_default() += net;
        if moved.kind == MovementKind::Deposit {
            *self.deposited.entry(at.day()).or_default().entry(moved.currency.clone()).or_default() += net;
        }
        forget_before(&mut self.deposited, at.day() - KEPT_DAYS);
        forget_before(&mut self.moved, at.day() - KEPT_DAYS);
    }

    fn confirmed(&mut self, id: HoldId, expires_at: Time) {
        let Some(hold) = self.holds.get_mut(&id).map(Arc::make_mut) else { return };
        hold.expires_at = expires_at;
        if let Some(proposal) = hold.proposal.take() {
            self.reserved.remove(&proposal);
        }
    }

    fn captured(&mut self, id: HoldId, legs: &[HoldLeg], captured: Amount) {
        let Some(hold) = self.holds.get_mut(&id).map(Arc::make_mut) else { return };
        hold.left = less(hold.left, captured);
        for held in &mut hold.legs {
            let taken = legs.iter().filter(|leg| leg.payee == held.payee && leg.role == held.role);
            held.maximum = taken.fold(held.maximum, |left, leg| less(left, leg.maximum));
        }
    }

    fn forget_hold(&mut self, id: HoldId) {
        if let Some(proposal) = self.holds.remove(&id).and_then(|hold| hold.proposal) {
            self.reserved.remove(&proposal);
        }
    }

    fn hold_more(&mut self, currency: &Currency, amount: Amount) {
        self.purse(currency, amount).held += amount.minor();
    }

    fn hold_less(&mut self, currency: &Currency, amount: Amount) {
        self.purse(currency, amount).held -= amount.minor();
    }

    fn purse(&mut self, currency: &Currency, amount: Amount) -> &mut Purse {
        self.purses.entry(currency.clone()).or_insert(Purse { balance: 0, held: 0, scale: amount.scale() })
    }
}

impl Purse {
    fn amount(self, minor: i128) -> Amount {
        Amount::new(minor, self.scale).expect("every balance stays below the limit, and so do differences of two")
    }
}

fn less(amount: Amount, taken: Amount) -> Amount {
    amount.with_minor(amount.minor() - taken.minor()).expect("a part of an amount within the limits")
}

fn forget_before<V: Clone>(days: &mut OrdMap<i64, V>, first_kept: i64) {
    while let Some(day) = days.get_min().map(|(day, _)| *day).filter(|day| *day < first_kept) {
        days.remove(&day);
    }
}
