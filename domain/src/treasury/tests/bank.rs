//! A city with two citizens, an attester, and short ways of asking for money to move.

use crate::citizen::command::GrantAttestation;
use crate::command::Command;
use crate::event::Event;
use crate::ids::{CitizenId, HoldId, Stream, TreasuryId};
use crate::money::{Account, LegRole, Share};
use crate::rejection::Code;
use crate::testing::{World, currency, money, reference, slug, text};
use crate::time::Time;
use crate::treasury::Treasury;
use crate::treasury::command::*;
use crate::treasury::event::{Moved, TreasuryEvent};
use crate::turn::{Outcome, State};

pub const DONE: Result<Outcome, Code> = Ok(Outcome::Done);
pub const ALREADY: Result<Outcome, Code> = Ok(Outcome::AlreadyDone);

pub struct Bank {
    pub world: World,
    pub ann: CitizenId,
    pub ben: CitizenId,
    pub teller: CitizenId,
}

/// Ann owns 500.00 USD, Ben nothing.
pub fn bank() -> Bank {
    let mut world = World::new();
    let (ann, ben, teller) = (world.human(), world.human(), world.human());
    for code in ["USD", "EUR"] {
        let grant = GrantAttestation { citizen: teller, source: slug("wire"), currency: currency(code) };
        world.send(world.principal, grant).unwrap();
    }
    let mut bank = Bank { world, ann, ben, teller };
    bank.world.fund(of(ann), "USD", "500.00");
    bank.world.now = bank.world.now.plus_seconds(60);
    bank
}

impl Bank {
    pub fn ann(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.ann, command)
    }

    pub fn ben(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.ben, command)
    }

    pub fn teller(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.teller, command)
    }

    pub fn treasury(&self, id: TreasuryId) -> &Treasury {
        match self.world.state_of(Stream::Treasury(id)) {
            Some(State::Treasury(treasury)) => treasury,
            other => panic!("no treasury {id}: {other:?}"),
        }
    }

    /// (balance, held) in USD cents.
    pub fn usd(&self, owner: CitizenId) -> (i128, i128) {
        usd(self.treasury(of(owner)))
    }

    /// The hold or offer that the last accepted command made.
    pub fn made(&self) -> HoldId {
        let made = self.world.find(|_, event| match event {
            Event::Treasury(TreasuryEvent::HoldPlaced { hold, .. }) => Some(*hold),
            Event::Treasury(TreasuryEvent::OfferMade { offer, .. }) => Some(*offer),
            _ => None,
        });
        made.expect("the last command made a hold or an offer")
    }

    /// The first movement that the last accepted command recorded.
    pub fn moved(&self) -> Moved {
        let moved = self.world.find(|_, event| match event {
            Event::Treasury(TreasuryEvent::Credited(moved) | TreasuryEvent::Debited(moved)) => Some((**moved).clone()),
            _ => None,
        });
        moved.expect("the last command moved money")
    }

    /// Ann's hold of a principal for Ben and a fee for outside, for ten days.
    pub fn hold(&mut self, principal: &str, fee: &str) -> HoldId {
        let legs = vec![to(of(self.ben), principal), fee_leg(fee)];
        let days = self.world.now.plus_days(10);
        assert_eq!(self.ann(place(self.ann, legs, days)), DONE);
        self.made()
    }

    /// Ann's offer to Ben.
    pub fn offer(&mut self, amount: &str) -> HoldId {
        assert_eq!(self.ann(offer(self.ann, of(self.ben), amount)), DONE);
        self.made()
    }

    pub fn freeze_as_city(&mut self, owner: CitizenId) {
        let freeze = FreezeTreasury { treasury: of(owner), reason: text("looked odd"), as_city: true };
        assert_eq!(self.world.send(self.world.principal, freeze), DONE);
    }
}

pub fn usd(treasury: &Treasury) -> (i128, i128) {
    (treasury.balance(&currency("USD")), treasury.held(&currency("USD")))
}

pub fn of(citizen: CitizenId) -> TreasuryId {
    TreasuryId::of_citizen(citizen)
}

pub fn deposit(treasury: TreasuryId, number: u64, amount: &str) -> Deposit {
    Deposit {
        treasury,
        source: slug("wire"),
        reference: reference(number),
        currency: currency("USD"),
        amount: money(amount),
        fee: None,
        effective_at: None,
        memo: None,
    }
}

pub fn withdraw(treasury: TreasuryId, number: u64, amount: &str) -> Withdraw {
    Withdraw {
        treasury,
        reference: reference(number),
        currency: currency("USD"),
        amount: money(amount),
        fee: None,
        mandate: None,
        effective_at: None,
        memo: None,
    }
}

pub fn to(treasury: TreasuryId, amount: &str) -> Payee {
    Payee { to: Account::Treasury(treasury), amount: money(amount), role: LegRole::Principal }
}

pub fn outside(amount: &str) -> Payee {
    Payee { to: Account::External, amount: money(amount), role: LegRole::Principal }
}

pub fn fee_leg(amount: &str) -> Payee {
    Payee { to: Account::External, amount: money(amount), role: LegRole::Fee }
}

pub fn place(owner: CitizenId, legs: Vec<Payee>, expires_at: Time) -> PlaceHold {
    PlaceHold { treasury: of(owner), currency: currency("USD"), legs, expires_at, purpose: Some(text("rent")) }
}

pub fn capture(owner: CitizenId, hold: HoldId, legs: Vec<Payee>, is_final: bool) -> CaptureHold {
    CaptureHold { treasury: of(owner), hold, legs, is_final, effective_at: None, memo: None }
}

pub fn offer(owner: CitizenId, to: TreasuryId, amount: &str) -> OfferTransfer {
    OfferTransfer {
        treasury: of(owner),
        to,
        currency: currency("USD"),
        amount: money(amount),
        expires_at: None,
        mandate: None,
        effective_at: None,
        memo: Some(text("thanks")),
    }
}

pub fn share(to: TreasuryId, basis_points: u32) -> Share {
    Share { to: Account::Treasury(to), basis_points }
}

pub fn split(owner: CitizenId, amount: &str, shares: Vec<Share>) -> SplitTransfer {
    SplitTransfer {
        treasury: of(owner),
        currency: currency("USD"),
        amount: money(amount),
        shares,
        effective_at: None,
        memo: None,
    }
}
