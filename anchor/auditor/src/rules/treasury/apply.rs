//! What each event of a treasury must find true, and what it changes.

use super::{
    Event, Freeze, Hold, HoldCaptured, HoldConfirmed, HoldPlaced, Leg, Moved, Movement, MovementKind, OfferEnded,
    OfferMade, Opened, Owner, Role, Settled, SettledBalance, Side, Treasury,
};
use crate::rules::act::{Capture, Due};
use crate::rules::governance::Class;
use crate::rules::values::{Account, Amount, Currency, Digest, HoldId, TreasuryId};
use crate::rules::{Actor, Entry, Notes, World};

pub fn apply(event: &Event, id: TreasuryId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    if let Event::Opened(Opened { owner }) = event {
        notes.expect(owner.bits() == id.0, || format!("{id} does not share the ULID of its owner"));
        world.treasuries.insert(id, Treasury { owner: Some(*owner), ..Treasury::default() });
        world.act.due.push((entry.position, Due::OwnerExists(id)));
        return;
    }
    // Taken out while it changes, so that the rules can look at the rest of the city.
    let Some(mut treasury) = world.treasuries.remove(&id) else {
        return notes.add(format!("{id} was never opened"));
    };
    let mut case = Case { id, entry, world, treasury: &mut treasury, notes };
    case.apply(event);
    world.treasuries.insert(id, treasury);
}

/// One event of one treasury, with everything its rules may look at.
struct Case<'a> {
    id: TreasuryId,
    entry: &'a Entry,
    world: &'a mut World,
    treasury: &'a mut Treasury,
    notes: &'a mut Notes,
}

impl Case<'_> {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Opened(_) => {}
            Event::Credited(moved) => self.moved(moved, false),
            Event::Debited(moved) => self.moved(moved, true),
            Event::HoldPlaced(placed) => self.hold_placed(placed),
            Event::HoldConfirmed(confirmed) => self.hold_confirmed(confirmed),
            Event::HoldCaptured(captured) => self.hold_captured(captured),
            Event::HoldReleased(ended) => self.ended(ended.hold, ended.currency, ended.amount, false, false),
            Event::HoldExpired(ended) => self.ended(ended.hold, ended.currency, ended.amount, false, true),
            Event::OfferMade(made) => self.offer_made(made),
            Event::OfferAccepted(ended) => self.offer_accepted(ended),
            Event::OfferRejected(ended) | Event::OfferCancelled(ended) => {
                self.ended(ended.offer, ended.currency, ended.amount, true, false);
            }
            Event::OfferExpired(ended) => self.ended(ended.offer, ended.currency, ended.amount, true, true),
            Event::Frozen(Freeze { side }) => self.freeze(*side, true),
            Event::Unfrozen(Freeze { side }) => self.freeze(*side, false),
            Event::Settled(settled) => self.settled(settled),
            Event::AutoAcceptSet(_) => self.needs_decision(Class::Finance, "auto-accept is set"),
            Event::Closed(_) => {
                let first = !self.treasury.closed && self.treasury.is_empty();
                self.notes.expect(first, || "a treasury is closed twice, or with money in it".to_owned());
                self.treasury.closed = true;
            }
        }
    }

    fn needs_decision(&mut self, class: Class, what: &str) {
        if let Some(Owner::Guild(guild)) = self.treasury.owner {
            self.world.needs_decision(guild, class, what, self.notes);
        }
    }

    /// The amount in minor units; its decimals must be its currency's.
    fn at_scale(&mut self, currency: Currency, amount: Amount) -> i128 {
        match self.world.currencies.get(&currency) {
            None => self.notes.add(format!("the currency {currency} is not registered")),
            Some(scale) => {
                let fits = *scale == amount.scale;
                self.notes.expect(fits, || format!("{amount} is not at the {scale} decimals of {currency}"));
            }
        }
        amount.minor
    }

    fn positive(&mut self, currency: Currency, amount: Amount) -> i128 {
        let minor = self.at_scale(currency, amount);
        self.notes.expect(minor > 0, || format!("{amount} {currency} is not above zero"));
        minor
    }

    /// New ids begin with the millisecond of their act: this is how a reuse is seen without remembering every id.
    fn fresh(&mut self, millis: u128, what: &str) {
        let now = u128::try_from(self.entry.at.0 / 1000).unwrap_or(0);
        self.notes.expect(millis == now, || format!("the id of the new {what} is not of this moment"));
    }

    fn moved(&mut self, moved: &Moved, out: bool) {
        let amount = self.positive(moved.currency, moved.amount);
        self.check_legs(moved, if out { -amount } else { amount });
        self.check_times(moved);
        self.join(moved);
        if out {
            self.paid(moved, amount);
        } else {
            self.received(moved);
        }
        self.treasury.change(moved.currency, if out { -amount } else { amount }, 0, self.notes);
        self.treasury.moved_at = self.entry.at;
    }

    /// One payer, everybody else paid, nobody twice, nothing left over.
    fn check_legs(&mut self, moved: &Moved, own: i128) {
        let mut sum = 0_i128;
        let mut net = 0_i128;
        let mut payers = 0;
        let mut outside_pays = false;
        for (index, leg) in moved.legs.iter().enumerate() {
            let minor = self.at_scale(moved.currency, leg.amount);
            sum = sum.saturating_add(minor);
            if leg.account == Account::Treasury(self.id) {
                net = net.saturating_add(minor);
            }
            if minor < 0 {
                payers += 1;
                outside_pays = leg.account == Account::External;
            }
            self.notes.expect(minor != 0, || format!("a leg of {} is zero", moved.movement));
            let twice = leg.account != Account::External
                && moved.legs[..index].iter().any(|other| other.account == leg.account);
            self.notes.expect(!twice, || format!("{} occurs twice in {}", leg.account, moved.movement));
        }
        self.notes.expect(sum == 0, || {
            format!("the legs of {} do not sum to zero: {sum} minor units {}", moved.movement, moved.currency)
        });
        self.notes.expect(net == own, || {
            format!("{} changes {} by {net} minor units, the event by {own}", moved.movement, self.id)
        });
        self.notes.expect(payers == 1, || format!("{} has {payers} payers", moved.movement));
        let fits = outside_pays == (moved.kind == MovementKind::Deposit)
            && match moved.kind {
                MovementKind::DepositFee | MovementKind::Withdrawal => {
                    payees(moved).all(|leg| leg.account == Account::External)
                }
                MovementKind::Deposit | MovementKind::Transfer => {
                    moved.legs.len() == 2 && payees(moved).all(|leg| leg.account != Account::External)
                }
                MovementKind::Capture | MovementKind::Split | MovementKind::Dissolution => true,
            };
        self.notes.expect(fits, || format!("the legs of {} are not those of a {:?}", moved.movement, moved.kind));
    }

    fn check_times(&mut self, moved: &Moved) {
        self.notes
            .expect(moved.effective_at <= self.entry.at, || format!("{} takes effect in the future", moved.movement));
        let open = self.treasury.settled.is_none_or(|settled| moved.effective_at >= settled);
        self.notes.expect(open, || format!("{} takes effect in a settled period", moved.movement));
    }

    /// All treasuries of a movement record the same thing, in the same act, each once.
    fn join(&mut self, moved: &Moved) {
        let id = self.id;
        if let Some(movement) = self.world.act.movements.iter_mut().find(|movement| movement.id == moved.movement) {
            let agrees = movement.kind == moved.kind
                && movement.currency == moved.currency
                && movement.legs == moved.legs
                && movement.effective_at == moved.effective_at;
            self.notes.expect(agrees, || format!("the treasuries of {} record different things", moved.movement));
            self.notes.expect(!movement.seen.contains(&id), || format!("{} is recorded twice here", moved.movement));
            movement.seen.push(id);
            return;
        }
        self.fresh(moved.movement.millis(), "movement");
        self.world.act.movements.push(Movement {
            id: moved.movement,
            position: self.entry.position,
            kind: moved.kind,
            currency: moved.currency,
            legs: moved.legs.clone(),
            effective_at: moved.effective_at,
            seen: vec![id],
        });
    }

    fn received(&mut self, moved: &Moved) {
        self.notes.expect(!self.treasury.closed, || "money comes into a closed treasury".to_owned());
        if moved.kind != MovementKind::Deposit {
            return;
        }
        let (Some(source), Some(lookup)) = (&moved.source, moved.reference_lookup) else {
            return self.notes.add("a deposit lacks its source or its reference");
        };
        self.claim(source.as_str(), lookup);
        let Actor::Citizen { id: attester, .. } = self.entry.actor else {
            return self.notes.add("a deposit is attested by nobody");
        };
        let may = self
            .world
            .citizens
            .get(&attester)
            .is_some_and(|citizen| citizen.attests.contains(&(source.clone(), moved.currency)));
        self.notes.expect(may, || format!("{attester} may not attest {} from {source}", moved.currency));
        let own = match self.treasury.owner {
            Some(Owner::Citizen(owner)) => self.world.answers_for(owner) == self.world.answers_for(attester),
            _ => false,
        };
        self.notes.expect(!own, || format!("{attester} attests money for themself"));
    }

    /// A reference is taken for ever.
    fn claim(&mut self, scope: &str, lookup: Digest) {
        let hash = chain::hash::sha256(&[scope.as_bytes(), b"\n", &lookup.0]);
        let key = u128::from_be_bytes(hash.0[..16].try_into().expect("sixteen of thirty-two bytes"));
        let new = self.world.references.insert(key);
        self.notes.expect(new, || format!("a reference of {scope} is used a second time"));
    }

    fn paid(&mut self, moved: &Moved, amount: i128) {
        // A processor's fee belongs to an inflow, which a freeze allows.
        let inflow = moved.kind == MovementKind::DepositFee;
        self.notes.expect(inflow || !self.treasury.is_frozen(), || "money leaves a frozen treasury".to_owned());
        self.notes
            .expect(inflow || self.entry.actor != Actor::System, || "money leaves by nobody's command".to_owned());
        if moved.kind == MovementKind::Withdrawal {
            match moved.reference_lookup {
                Some(lookup) => self.claim(&format!("withdrawal:{}", self.id), lookup),
                None => self.notes.add("a withdrawal lacks its reference"),
            }
        }
        match (moved.hold, moved.kind) {
            (Some(hold), _) => self.pay_from_hold(moved, hold, amount),
            // A capture always comes from a hold.
            (None, MovementKind::Capture) => self.notes.add("a capture names no hold"),
            (None, MovementKind::DepositFee) => {}
            (None, MovementKind::Dissolution) => self.needs_decision(Class::Lifecycle, "a guild's money is shared out"),
            (None, _) => self.needs_decision(Class::Finance, "money leaves a guild's treasury"),
        }
    }

    /// What a hold promised was taken out of held earlier in this act; here it leaves the balance, to whom it was promised.
    fn pay_from_hold(&mut self, moved: &Moved, hold: HoldId, amount: i128) {
        let id = self.id;
        let captures = &mut self.world.act.captures;
        let found = captures
            .iter()
            .position(|capture| capture.treasury == id && capture.hold == hold && capture.amount == amount);
        let Some(index) = found else {
            return self
                .notes
                .add(format!("{} is paid from {hold}, which was not captured for that in this act", moved.movement));
        };
        let mut promised = captures.swap_remove(index).payees;
        for leg in payees(moved) {
            let place = promised.iter_mut().find(|place| place.0 == leg.account && place.1 == leg.role);
            let kept = place.is_some_and(|place| {
                place.2 -= leg.amount.minor;
                place.2 >= 0
            });
            self.notes.expect(kept, || format!("{hold} pays {} more than it promised", leg.account));
        }
        if let Some(open) = self.treasury.open.get_mut(&hold) {
            open.payees = promised;
        }
    }

    fn open(&mut self, id: HoldId, hold: Hold) {
        self.notes.expect(!self.treasury.is_frozen(), || "money is set aside in a frozen treasury".to_owned());
        self.notes.expect(self.entry.actor != Actor::System, || "money is set aside by nobody's command".to_owned());
        self.notes.expect(hold.expires_at > self.entry.at, || format!("{id} has expired before it began"));
        self.fresh(id.millis(), "hold");
        self.treasury.change(hold.currency, 0, hold.remaining, self.notes);
        let known = self.treasury.open.insert(id, hold);
        self.notes.expect(known.is_none(), || format!("{id} is placed twice"));
    }

    fn hold_placed(&mut self, placed: &HoldPlaced) {
        let amount = self.positive(placed.currency, placed.amount);
        let mut payees: Vec<(Account, Role, i128)> = Vec::with_capacity(placed.legs.len());
        let mut sum = 0_i128;
        for leg in &placed.legs {
            let maximum = self.positive(placed.currency, leg.maximum);
            sum = sum.saturating_add(maximum);
            payees.push((leg.payee, leg.role, maximum));
        }
        self.notes.expect(sum == amount, || {
            format!("the legs of {} sum to {sum} minor units, the hold to {amount}", placed.hold)
        });
        if placed.proposal.is_none() {
            self.needs_decision(Class::Finance, "a hold is placed");
        }
        let hold = Hold {
            currency: placed.currency,
            remaining: amount,
            payees,
            expires_at: placed.expires_at,
            proposal: placed.proposal,
            is_offer: false,
        };
        self.open(placed.hold, hold);
    }

    fn offer_made(&mut self, made: &OfferMade) {
        let amount = self.positive(made.currency, made.amount);
        self.notes.expect(made.to != self.id, || "money is offered to where it is".to_owned());
        let exists = self.world.treasuries.contains_key(&made.to);
        self.notes.expect(exists, || format!("money is offered to {}, which does not exist", made.to));
        self.needs_decision(Class::Finance, "money is offered");
        let hold = Hold {
            currency: made.currency,
            remaining: amount,
            payees: vec![(Account::Treasury(made.to), Role::Principal, amount)],
            expires_at: made.expires_at,
            proposal: None,
            is_offer: true,
        };
        self.open(made.offer, hold);
    }

    /// The open hold or offer, of the right kind and currency; notes it when there is none.
    fn find(&mut self, id: HoldId, currency: Currency, is_offer: bool) -> Option<&mut Hold> {
        let fits =
            self.treasury.open.get(&id).is_some_and(|hold| hold.is_offer == is_offer && hold.currency == currency);
        if !self.notes.expect(fits, || format!("there is no open {id} of that kind in {currency}")) {
            return None;
        }
        self.treasury.open.get_mut(&id)
    }

    fn hold_confirmed(&mut self, HoldConfirmed { hold: id, expires_at }: &HoldConfirmed) {
        self.needs_decision(Class::Finance, "a hold is confirmed");
        let waited = self.treasury.open.get_mut(id).is_some_and(|hold| {
            hold.expires_at = *expires_at;
            hold.proposal.take().is_some()
        });
        self.notes.expect(waited, || format!("{id} did not wait for a proposal"));
    }

    fn hold_captured(&mut self, event: &HoldCaptured) {
        let captured = self.at_scale(event.currency, event.captured);
        let released = self.at_scale(event.currency, event.released);
        self.notes.expect(captured >= 0 && released >= 0, || "a negative capture".to_owned());
        self.take(event.hold, event.currency, captured, released, event.closed, false);
    }

    fn offer_accepted(&mut self, event: &OfferEnded) {
        let amount = self.positive(event.currency, event.amount);
        self.take(event.offer, event.currency, amount, 0, true, true);
    }

    /// Money leaves held to be paid in the same act; what is not paid goes back to available.
    fn take(&mut self, id: HoldId, currency: Currency, captured: i128, released: i128, closed: bool, is_offer: bool) {
        let now = self.entry.at;
        self.notes.expect(!self.treasury.is_frozen(), || format!("{id} is captured while the treasury is frozen"));
        let Some(hold) = self.find(id, currency, is_offer) else { return };
        let gone = captured.saturating_add(released);
        let (remaining, expired) = (hold.remaining, hold.expires_at <= now);
        let (payees, proposal) = (hold.payees.clone(), hold.proposal);
        hold.remaining = remaining.saturating_sub(gone);
        self.notes.expect(!expired, || format!("{id} is captured after it expired"));
        self.notes.expect(gone <= remaining, || format!("{gone} minor units leave {id}, which holds {remaining}"));
        let passed = proposal.is_none_or(|proposal| self.world.act.passed.contains(&proposal));
        self.notes.expect(passed, || format!("{id} waits for a proposal that has not passed"));
        self.notes
            .expect(closed == (gone == remaining), || format!("{id} is closed with money in it, or open without"));
        self.treasury.change(currency, 0, -gone, self.notes);
        if captured > 0 {
            let (position, treasury) = (self.entry.position, self.id);
            self.world.act.captures.push(Capture { position, treasury, hold: id, amount: captured, payees });
        }
        if closed {
            self.treasury.open.remove(&id);
        }
    }

    fn ended(&mut self, id: HoldId, currency: Currency, amount: Amount, is_offer: bool, by_time: bool) {
        let amount = self.positive(currency, amount);
        let now = self.entry.at;
        let Some(hold) = self.find(id, currency, is_offer) else { return };
        let (remaining, due) = (hold.remaining, hold.expires_at <= now);
        self.notes.expect(amount == remaining, || format!("{id} gives back {amount} minor units of {remaining}"));
        self.notes.expect(due || !by_time, || format!("{id} expires before its time"));
        self.treasury.change(currency, 0, -remaining, self.notes);
        self.treasury.open.remove(&id);
    }

    fn freeze(&mut self, side: Side, on: bool) {
        if side == Side::Owner {
            self.needs_decision(Class::Finance, "a treasury is frozen or unfrozen by its owner");
        }
        let flag = match side {
            Side::City => &mut self.treasury.frozen_by_city,
            Side::Owner => &mut self.treasury.frozen_by_owner,
        };
        let was = std::mem::replace(flag, on);
        self.notes.expect(was != on, || "a treasury is frozen twice, or unfrozen by who did not freeze it".to_owned());
    }

    fn settled(&mut self, Settled { as_of, balances }: &Settled) {
        self.needs_decision(Class::Finance, "a period is settled");
        self.notes.expect(*as_of <= self.entry.at, || "a period is settled that has not ended".to_owned());
        self.notes.expect(self.treasury.settled.is_none_or(|before| before <= *as_of), || {
            "a settled period is settled again".to_owned()
        });
        // Balances as of an earlier moment would need the whole history; as of now they are at hand.
        if *as_of > self.treasury.moved_at {
            for SettledBalance { currency, balance } in balances {
                let recorded = self.at_scale(*currency, *balance);
                let actual = self.treasury.purse(*currency).balance;
                self.notes.expect(recorded == actual, || {
                    format!("{recorded} minor units {currency} are settled, the balance is {actual}")
                });
            }
            let forgotten =
                self.treasury.accounts.iter().find(|purse| {
                    purse.balance != 0 && !balances.iter().any(|settled| settled.currency == purse.currency)
                });
            let forgotten = forgotten.map(|purse| purse.currency);
            self.notes.expect(forgotten.is_none(), || format!("a settlement leaves out {forgotten:?}"));
        }
        self.treasury.settled = Some(*as_of);
    }
}

fn payees(moved: &Moved) -> impl Iterator<Item = &Leg> {
    moved.legs.iter().filter(|leg| leg.amount.minor > 0)
}
