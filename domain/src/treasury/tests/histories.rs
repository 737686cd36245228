//! Random histories over several treasuries: after every event everything adds up, and replay gives the same states.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::bank::{self, *};
use super::governed;
use crate::command::Command;
use crate::event::Event;
use crate::guild::command::{Ratify, RejectProposal};
use crate::ids::{CitizenId, GuildId, HoldId, MovementId, ProposalId, Stream, TreasuryId};
use crate::money::{Account, Currency, Share};
use crate::testing::{currency, money, text};
use crate::treasury::Treasury;
use crate::treasury::command::*;
use crate::treasury::event::{Moved, TreasuryEvent};
use crate::turn::Outcome;

/// One random step, as plain numbers so that a failing history shrinks.
type Step = (u8, usize, usize, u32, bool);

struct History {
    bank: Bank,
    guild: GuildId,
    /// Ann, Ben, the teller, and the guild in which Ann and Ben must agree.
    treasuries: [TreasuryId; 4],
    made: Vec<(TreasuryId, HoldId)>,
    proposals: Vec<ProposalId>,
    number: u64,
    books: Books,
}

/// The checker's own books, written from the log alone.
#[derive(Default)]
struct Books {
    read: usize,
    states: BTreeMap<TreasuryId, Treasury>,
    outside: BTreeMap<Currency, i128>,
    seen: BTreeSet<MovementId>,
}

impl Books {
    fn catch_up(&mut self, bank: &Bank) {
        for (stream, event, at) in &bank.world.log[self.read..] {
            let (Stream::Treasury(id), Event::Treasury(event)) = (stream, event) else { continue };
            if let TreasuryEvent::Credited(moved) | TreasuryEvent::Debited(moved) = event {
                self.movement(moved);
            }
            let state = self.states.entry(*id).or_default();
            state.evolve(event, *at);
            adds_up(*id, state);
        }
        self.read = bank.world.log.len();
        self.conserved();
        for (id, replayed) in &self.states {
            assert_eq!(replayed, bank.treasury(*id), "replay gives the live state");
        }
    }

    fn movement(&mut self, moved: &Moved) {
        if self.seen.insert(moved.movement) {
            *self.outside.entry(moved.currency.clone()).or_default() += moved.legs.net(Account::External);
        }
        assert_eq!(moved.legs.as_slice().iter().map(|leg| leg.amount.minor()).sum::<i128>(), 0, "legs sum to zero");
    }

    fn conserved(&self) {
        for (currency, outside) in &self.outside {
            let inside: i128 = self.states.values().map(|state| state.balance(currency)).sum();
            assert_eq!(inside + outside, 0, "what is inside came from outside");
        }
    }
}

fn adds_up(id: TreasuryId, state: &Treasury) {
    for (currency, balance) in state.balances() {
        let held = state.held(&currency);
        assert!(
            balance.minor() >= 0 && held >= 0 && held <= balance.minor(),
            "{id}: {balance} {currency}, held {held}"
        );
        let holds = state.holds().filter(|(_, hold)| hold.currency == currency);
        let holds: i128 = holds.map(|(_, hold)| hold.left.minor()).sum();
        let offers = state.offers().filter(|(_, offer)| offer.currency == currency);
        let offers: i128 = offers.map(|(_, offer)| offer.amount.minor()).sum();
        assert_eq!(held, holds + offers, "{id}: held is the sum of open holds and offers");
        for (_, hold) in state.holds() {
            assert_eq!(hold.left.minor(), hold.legs.iter().map(|leg| leg.maximum.minor()).sum::<i128>());
        }
    }
}

impl History {
    fn new() -> Self {
        let mut bank = bank::bank();
        let (guild, treasury) = governed::guild(&mut bank, true);
        let treasuries = [of(bank.ann), of(bank.ben), of(bank.teller), treasury];
        let (made, proposals, books) = (Vec::new(), Vec::new(), Books::default());
        Self { bank, guild, treasuries, made, proposals, number: 1000, books }
    }

    /// Mostly whoever may act for the treasury, so that histories get somewhere.
    fn acting(&self, index: usize) -> CitizenId {
        [self.bank.ann, self.bank.ben, self.bank.teller, self.bank.ann][index % 4]
    }

    fn treasury(&self, index: usize) -> TreasuryId {
        self.treasuries[index % 4]
    }

    fn open(&self, pick: usize) -> (TreasuryId, HoldId) {
        if self.made.is_empty() {
            (self.treasuries[0], HoldId::from_bits(1))
        } else {
            self.made[pick % self.made.len()]
        }
    }

    fn step(&mut self, step: Step) {
        let (_, a, ..) = step;
        self.number += 1;
        let outcome = match self.command(step) {
            Some((actor, command)) => self.bank.world.send(actor, command),
            None => return self.bank.world.pass_days(1 + u32::try_from(a % 4).unwrap()),
        };
        if let Ok(Outcome::Proposed(_, proposal)) = outcome {
            self.proposals.push(proposal);
        }
        if outcome.is_ok() {
            let made = self.bank.world.recorded().iter().filter_map(|(stream, event, _)| match (stream, event) {
                (Stream::Treasury(id), Event::Treasury(TreasuryEvent::HoldPlaced { hold, .. })) => Some((*id, *hold)),
                (Stream::Treasury(id), Event::Treasury(TreasuryEvent::OfferMade { offer, .. })) => Some((*id, *offer)),
                _ => None,
            });
            self.made.extend(made);
        }
    }

    fn command(&self, (kind, a, b, cents, flag): Step) -> Option<(CitizenId, Command)> {
        let (treasury, other) = (self.treasury(a), self.treasury(b));
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let amount = amount.as_str();
        let currency = currency(if cents % 5 == 0 { "EUR" } else { "USD" });
        let actor = self.acting(a);
        let (held_at, open) = self.open(b);
        let owner = self.acting(self.treasuries.iter().position(|id| *id == held_at).unwrap());
        let now = self.bank.world.now;
        let fee = flag.then(|| money("0.30"));
        let effective_at = flag.then(|| crate::Time::from_micros(now.micros() - 3_600_000_000 * a as i64));
        let command: Command = match kind % 18 {
            0..3 => {
                let base = deposit(treasury, self.number, amount);
                let teller = if a % 4 == 2 { self.bank.ann } else { self.bank.teller };
                return Some((teller, Deposit { fee, effective_at, currency, ..base }.into()));
            }
            3 => Withdraw { fee, effective_at, currency, ..withdraw(treasury, self.number, amount) }.into(),
            4 | 5 => {
                let legs = vec![to(other, amount), fee_leg("0.20"), outside("1.00")];
                let expires_at = now.plus_days(1 + cents % 9);
                PlaceHold { treasury, currency, legs, expires_at, purpose: None }.into()
            }
            6 | 7 => {
                let mut legs = vec![fee_leg("0.10")];
                legs.extend(flag.then(|| outside("0.50")));
                legs.extend((cents % 3 == 0).then(|| to(self.treasury(a), "0.70")));
                let is_final = cents % 2 == 0;
                let asked =
                    CaptureHold { treasury: held_at, hold: open, legs, is_final, effective_at: None, memo: None };
                return Some((owner, asked.into()));
            }
            8 => return Some((owner, ReleaseHold { treasury: held_at, hold: open }.into())),
            9 if flag => return Some((actor, ExpireHold { treasury: held_at, hold: open }.into())),
            9 => return Some((actor, ExpireTransfer { treasury: held_at, offer: open }.into())),
            10 => OfferTransfer { treasury, currency, effective_at, ..offer(actor, other, amount) }.into(),
            11 => AcceptTransfer { treasury: held_at, offer: open }.into(),
            12 if flag => RejectTransfer { treasury: held_at, offer: open }.into(),
            12 => return Some((owner, CancelTransfer { treasury: held_at, offer: open }.into())),
            13 => {
                let rest = Share { to: Account::External, basis_points: 6667 };
                let shares = vec![share(other, 3333), rest];
                SplitTransfer { treasury, currency, amount: money(amount), shares, effective_at, memo: None }.into()
            }
            14 if flag => FreezeTreasury { treasury, reason: text("odd"), as_city: false }.into(),
            14 => UnfreezeTreasury { treasury, as_city: false }.into(),
            15 if cents % 4 == 0 => SettleTreasury { treasury, as_of: now }.into(),
            15 => SetAutoAccept { treasury, from: vec![other] }.into(),
            16 => {
                let proposal = *self.proposals.get(b % self.proposals.len().max(1))?;
                let guild = self.guild.into();
                let no = RejectProposal { guild, proposal };
                let yes = Ratify { guild: self.guild.into(), proposal };
                return Some((self.bank.ben, if cents % 4 == 0 { no.into() } else { yes.into() }));
            }
            _ => return None,
        };
        Some((actor, command))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_conserves_money_and_replays_to_its_state(
        steps in vec((any::<u8>(), 0_usize..8, 0_usize..64, 0_u32..6000, any::<bool>()), 1..120)
    ) {
        let mut history = History::new();
        history.books.catch_up(&history.bank);
        for step in steps {
            let before = history.bank.world.log.len();
            history.step(step);
            prop_assert!(history.bank.world.log.len() >= before);
            history.books.catch_up(&history.bank);
        }
        history.bank.world.check_replay();
    }
}

/// A history that does nothing proves nothing: the fixed one below must reach every kind of event that moves money.
#[test]
fn random_histories_reach_every_event_of_money() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = vec((any::<u8>(), 0_usize..8, 0_usize..64, 0_u32..6000, any::<bool>()), 400..401);
    let mut reached = BTreeSet::new();
    for _ in 0..20 {
        let drawn = steps.new_tree(&mut runner).unwrap().current();
        let mut history = History::new();
        drawn.into_iter().for_each(|step| history.step(step));
        history.books.catch_up(&history.bank);
        reached.extend(history.bank.world.log.iter().map(|(_, event, _)| event.to_parts().0));
    }
    for kind in [
        "credited",
        "debited",
        "hold_placed",
        "hold_confirmed",
        "hold_captured",
        "hold_released",
        "hold_expired",
        "offer_made",
        "offer_accepted",
        "offer_rejected",
        "offer_cancelled",
        "offer_expired",
        "frozen",
        "unfrozen",
        "settled",
        "auto_accept_set",
    ] {
        assert!(reached.contains(&format!("treasury.{kind}.v1")), "no history reached {kind}");
    }
}
