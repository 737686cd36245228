//! Random commands, each lawful after those before it.

mod reputation;

use std::collections::HashMap;

use domain::citizen::event::CitizenEvent;
use domain::event::Event;
use domain::grant::event::{EndedBy, FailureKind, GrantEvent, Granted};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::scope::Scope;
use domain::guild::event::{Ending, GuildEvent, Spend, Vote};
use domain::guild::governance::{Class, Ground};
use domain::ids::{CitizenId, EvidenceId, GrantId, HoldId, KeyId, ProposalId, Stream, TreasuryId};
use domain::key::event::KeyEvent;
use domain::money::{self, LegRole, Legs};
use domain::party::{HolderKind, MemberId, MemberKind};
use domain::text::Digest;
use domain::time::Time;
use domain::treasury::event::{FreezeSide, HoldLeg, MovementKind, TreasuryEvent};

use super::{Act, CURRENCIES, amount, citizen, currency, deposit, guild, member_added, moved, payment, sealed, slug};

/// Makes commands at random, each lawful after those before it. The same seed gives the same life.
pub struct Life {
    random: u64,
    next_id: u128,
    treasuries: Vec<TreasuryId>,
    balances: HashMap<(TreasuryId, usize), (i128, i128)>,
    holds: Vec<(HoldId, TreasuryId, usize, i128)>,
    offers: Vec<(HoldId, TreasuryId, TreasuryId, usize, i128)>,
    members: HashMap<(u128, u128), bool>,
    proposals: Vec<(u128, ProposalId)>,
    keys: Vec<(u128, KeyId)>,
    /// Living grants with their holders and whether an importer gave them, and the ended.
    grants: Vec<(u128, GrantId, bool)>,
    ended: Vec<(u128, GrantId, bool)>,
    /// Evidence that nobody took back, with its holders.
    evidence: Vec<(u128, EvidenceId)>,
    citizens: u128,
    guilds: u128,
}

impl Life {
    pub fn new(seed: u64, citizens: u128, guilds: u128) -> Self {
        let treasuries = (1..=citizens).map(|number| TreasuryId::of_citizen(citizen(number)));
        let treasuries = treasuries.chain((1..=guilds).map(|number| TreasuryId::of_guild(guild(number)))).collect();
        Self {
            random: seed | 1,
            next_id: 1,
            treasuries,
            balances: HashMap::new(),
            holds: Vec::new(),
            offers: Vec::new(),
            members: HashMap::new(),
            proposals: Vec::new(),
            keys: Vec::new(),
            grants: Vec::new(),
            ended: Vec::new(),
            evidence: Vec::new(),
            citizens,
            guilds,
        }
    }

    /// Below `limit`; xorshift (Marsaglia 2003).
    fn below(&mut self, limit: u128) -> u128 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u128::from(self.random) % limit.max(1)
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn treasury(&mut self) -> TreasuryId {
        let index = self.below(self.treasuries.len() as u128) as usize;
        self.treasuries[index]
    }

    /// The next command's events; sometimes none.
    pub fn act(&mut self) -> Act {
        let (treasury, index) = (self.treasury(), self.below(3) as usize);
        match self.below(23) {
            0..=3 => self.deposit(treasury, index),
            4 | 5 => self.pay(treasury, index),
            6 => self.place_hold(treasury, index),
            7 => self.end_hold(),
            8 => self.offer(treasury, index),
            9 => self.end_offer(),
            10..=12 => self.membership(),
            13 => self.proposal(),
            14 => self.key(),
            15 | 16 => self.grant(),
            17 | 18 => self.grant_life(),
            19..=21 => self.reputation(),
            _ => self.standing(treasury),
        }
    }

    fn deposit(&mut self, treasury: TreasuryId, index: usize) -> Act {
        let (code, scale) = CURRENCIES[index];
        let minor = 1 + self.below(if index == 2 { 10_i128.pow(24) as u128 } else { 100_000 }) as i128;
        self.balances.entry((treasury, index)).or_default().0 += minor;
        deposit(self.id(), treasury, code, minor, scale)
    }

    fn spendable(&mut self, treasury: TreasuryId, index: usize) -> Option<i128> {
        let (balance, held) = self.balances.get(&(treasury, index)).copied().unwrap_or_default();
        let available = balance - held;
        (available > 0).then(|| 1 + self.below(available as u128) as i128)
    }

    fn pay(&mut self, from: TreasuryId, index: usize) -> Act {
        let to = self.treasury();
        let Some(minor) = self.spendable(from, index).filter(|_| to != from) else { return Vec::new() };
        self.balances.entry((from, index)).or_default().0 -= minor;
        self.balances.entry((to, index)).or_default().0 += minor;
        let (code, scale) = CURRENCIES[index];
        payment(self.id(), from, to, code, amount(minor, scale))
    }

    fn place_hold(&mut self, treasury: TreasuryId, index: usize) -> Act {
        let Some(minor) = self.spendable(treasury, index) else { return Vec::new() };
        let (code, scale) = CURRENCIES[index];
        let (hold, amount) = (HoldId::from_bits(self.id()), amount(minor, scale));
        self.balances.entry((treasury, index)).or_default().1 += minor;
        self.holds.push((hold, treasury, index, minor));
        let legs = vec![HoldLeg { payee: money::Account::External, role: LegRole::Principal, maximum: amount }];
        let placed = TreasuryEvent::HoldPlaced {
            hold,
            currency: currency(code),
            amount,
            legs,
            expires_at: Time::from_micros(1),
            purpose: Some(sealed(3)),
            proposal: None,
        };
        vec![(Stream::Treasury(treasury), placed.into())]
    }

    fn end_hold(&mut self) -> Act {
        if self.holds.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.holds.len() as u128) as usize;
        let (hold, treasury, index, minor) = self.holds.swap_remove(place);
        let (code, scale) = CURRENCIES[index];
        let (currency, all) = (currency(code), amount(minor, scale));
        self.balances.entry((treasury, index)).or_default().1 -= minor;
        if self.below(2) == 0 {
            let released = TreasuryEvent::HoldReleased { hold, currency, amount: all };
            return vec![(Stream::Treasury(treasury), released.into())];
        }
        let part = amount(1 + self.below(minor as u128) as i128, scale);
        self.balances.entry((treasury, index)).or_default().0 -= part.minor();
        let released = amount(minor - part.minor(), scale);
        let captured = TreasuryEvent::HoldCaptured {
            hold,
            currency: currency.clone(),
            legs: Vec::new(),
            captured: part,
            released,
            closed: true,
        };
        let payee = vec![(money::Account::External, part, LegRole::Principal)];
        let legs = Legs::pay(money::Account::Treasury(treasury), payee).expect("a lawful movement");
        let moved = moved(self.id(), MovementKind::Capture, &currency, part, &legs);
        let stream = Stream::Treasury(treasury);
        vec![(stream, captured.into()), (stream, TreasuryEvent::Debited(moved).into())]
    }

    fn offer(&mut self, from: TreasuryId, index: usize) -> Act {
        let to = self.treasury();
        let Some(minor) = self.spendable(from, index).filter(|_| to != from) else { return Vec::new() };
        let (code, scale) = CURRENCIES[index];
        let offer = HoldId::from_bits(self.id());
        self.balances.entry((from, index)).or_default().1 += minor;
        self.offers.push((offer, from, to, index, minor));
        let made = TreasuryEvent::OfferMade {
            offer,
            to,
            currency: currency(code),
            amount: amount(minor, scale),
            expires_at: Time::from_micros(1),
            memo: None,
            mandate: None,
        };
        vec![(Stream::Treasury(from), made.into())]
    }

    fn end_offer(&mut self) -> Act {
        if self.offers.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.offers.len() as u128) as usize;
        let (offer, from, to, index, minor) = self.offers.swap_remove(place);
        let (code, scale) = CURRENCIES[index];
        let (currency, amount) = (currency(code), amount(minor, scale));
        self.balances.entry((from, index)).or_default().1 -= minor;
        if self.below(3) == 0 {
            let rejected = TreasuryEvent::OfferRejected { offer, currency, amount };
            return vec![(Stream::Treasury(from), rejected.into())];
        }
        self.balances.entry((from, index)).or_default().0 -= minor;
        self.balances.entry((to, index)).or_default().0 += minor;
        let accepted = TreasuryEvent::OfferAccepted { offer, currency, amount };
        let mut act = vec![(Stream::Treasury(from), accepted.into())];
        act.extend(payment(self.id(), from, to, code, amount));
        act
    }

    fn membership(&mut self) -> Act {
        let (number, person) = (1 + self.below(self.guilds), 1 + self.below(self.citizens));
        let living = self.members.entry((number, person)).or_insert(false);
        let member = MemberId::Citizen(citizen(person));
        if !*living {
            *living = true;
            return vec![member_added(number, person, "member")];
        }
        let event = match self.below(6) {
            0 => GuildEvent::RankChanged { member, rank: slug("founder") },
            1 => GuildEvent::ScopesSet { member, scopes: Some(vec![Class::Work]) },
            2 => GuildEvent::MemberSuspended { member, reason: None },
            3 => GuildEvent::MemberCitySuspended { member },
            4 => GuildEvent::FounderAppointed { member, kind: MemberKind::Human, by: citizen(1) },
            _ => {
                self.members.insert((number, person), false);
                GuildEvent::MemberLeft { member }
            }
        };
        vec![(Stream::Guild(guild(number)), event.into())]
    }

    fn proposal(&mut self) -> Act {
        if self.below(2) == 0 || self.proposals.is_empty() {
            let (number, proposal) = (1 + self.below(self.guilds), ProposalId::from_bits(self.id()));
            self.proposals.push((number, proposal));
            let command = domain::guild::command::WakeGuild { guild: guild(number).into() };
            let opened = GuildEvent::ProposalOpened {
                proposal,
                proposer: citizen(1),
                class: Class::Lifecycle,
                command: Box::new(command.into()),
                expires_at: Time::from_micros(1),
                hold: None,
                reserved: Some(Spend { currency: currency("USD"), amount: amount(5, 2) }),
            };
            let voted = GuildEvent::ProposalVoted { proposal, voter: citizen(1), vote: Vote::Yes };
            let stream = Stream::Guild(guild(number));
            return vec![(stream, opened.into()), (stream, voted.into())];
        }
        let place = self.below(self.proposals.len() as u128) as usize;
        let (number, proposal) = self.proposals.swap_remove(place);
        let ground = Ground::Proposal { proposal, yes: 1, no: 0 };
        let closed = GuildEvent::ProposalClosed { proposal, ending: Ending::Passed };
        let decided =
            GuildEvent::Decided { action: "guild.wake".to_owned(), class: Class::Lifecycle, ground, spend: None };
        let stream = Stream::Guild(guild(number));
        vec![(stream, closed.into()), (stream, decided.into())]
    }

    fn key(&mut self) -> Act {
        let person = 1 + self.below(self.citizens);
        if self.below(2) == 0 || self.keys.is_empty() {
            let key = KeyId::from_bits(self.id());
            self.keys.push((person, key));
            let verifier = Digest([7; 32]);
            let issued = KeyEvent::Issued {
                citizen: citizen(person),
                verifier,
                actions: None,
                expires_at: None,
                replaces: None,
            };
            return vec![(Stream::Key(key), issued.into())];
        }
        let place = self.below(self.keys.len() as u128) as usize;
        let (person, key) = self.keys.swap_remove(place);
        let role = CitizenEvent::RoleAssigned { role: slug("teller") };
        vec![(Stream::Key(key), KeyEvent::Revoked {}.into()), (Stream::Citizen(citizen(person)), role.into())]
    }

    fn grant(&mut self) -> Act {
        let (person, grant) = (1 + self.below(self.citizens), GrantId::from_bits(self.id()));
        let (source, by) = if self.below(2) == 0 { (Source::FsSkills, None) } else { (Source::City, Some(citizen(1))) };
        // Each is another capability: no two living ones of one name.
        let reference = format!("skill-{grant}").parse().expect("a ref");
        vec![self.granted(person, grant, (source, by), reference)]
    }

    fn granted(
        &mut self,
        person: u128,
        grant: GrantId,
        (source, granted_by): (Source, Option<CitizenId>),
        reference: CapabilityRef,
    ) -> (Stream, Event) {
        let imported = source == Source::FsSkills;
        self.grants.push((person, grant, imported));
        let begun = Granted {
            grant,
            holder: citizen(person).into(),
            holder_kind: HolderKind::Human,
            kind: CapabilityKind::Template,
            reference,
            source,
            scope: Scope { read_only: self.below(2) == 0, ..Scope::default() },
            delegable: false,
            granted_by,
            expires_at: None,
            parent: None,
            verified: imported && granted_by.is_none(),
            details: imported.then(|| sealed(5)),
        };
        in_inventory(person, GrantEvent::Granted(Box::new(begun)))
    }

    fn grant_life(&mut self) -> Act {
        if self.below(4) == 0 && !self.ended.is_empty() {
            let place = self.below(self.ended.len() as u128) as usize;
            let (person, grant, imported) = self.ended[place];
            if imported && self.below(2) == 0 {
                let withheld = in_inventory(person, GrantEvent::Withheld { grant, reason: Some(sealed(7)) });
                if self.below(2) == 0 {
                    return vec![withheld];
                }
                // Whoever owns the source gives it again.
                self.ended.swap_remove(place);
                let (anew, reference) =
                    (GrantId::from_bits(self.id()), format!("skill-{grant}").parse().expect("a ref"));
                let granted = self.granted(person, anew, (Source::FsSkills, Some(citizen(1))), reference);
                return vec![withheld, granted];
            }
            self.ended.swap_remove(place);
            return vec![in_inventory(person, GrantEvent::Pruned { grant })];
        }
        if self.grants.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.grants.len() as u128) as usize;
        let (person, grant, imported) = self.grants[place];
        let event = match self.below(7) {
            0 => GrantEvent::Verified { grant },
            1 => GrantEvent::VerificationFailed { grant, failure: FailureKind::TimedOut },
            2 => GrantEvent::WentStale { grant },
            3 => GrantEvent::Attenuated {
                grant,
                scope: Scope::default(),
                expires_at: Some(Time::from_micros(9)),
                told: false,
            },
            4 => GrantEvent::ReverificationRequested { grant },
            end => {
                self.grants.swap_remove(place);
                self.ended.push((person, grant, imported));
                match end {
                    5 => GrantEvent::Revoked { grant, by: EndedBy::Actor, reason: Some(sealed(6)) },
                    _ => GrantEvent::Orphaned { grant, by: EndedBy::Source },
                }
            }
        };
        vec![in_inventory(person, event)]
    }

    fn standing(&mut self, treasury: TreasuryId) -> Act {
        let event = if self.below(2) == 0 {
            TreasuryEvent::Frozen { side: FreezeSide::City, reason: sealed(9) }
        } else {
            TreasuryEvent::Unfrozen { side: FreezeSide::City }
        };
        vec![(Stream::Treasury(treasury), event.into())]
    }
}

fn in_inventory(person: u128, event: GrantEvent) -> (Stream, Event) {
    (Stream::Inventory(citizen(person).into()), event.into())
}
