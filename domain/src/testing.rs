//! A whole city in memory for tests: sends commands, applies what was decided, and replays the log.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use crate::citizen::command::{GrantAttestation, RegisterCitizen};
use crate::citizen::event::{AgentFacts, CitizenEvent};
use crate::city::command::{FoundCity, RegisterCurrency};
use crate::city::event::CityEvent;
use crate::command::{Command, decide};
use crate::event::Event;
use crate::guild::Guild;
use crate::guild::command::{AddMember, FoundGuild};
use crate::guild::event::{GuildEvent, GuildKind};
use crate::guild::governance::{Class, Evidence, Governance};
use crate::ids::{CitizenId, CommandId, GuildId, KeyId, ProposalId, Slug, Stream, TreasuryId};
use crate::money::{AmountText, Currency};
use crate::party::{Actor, CitizenKind, MemberId, Tier};
use crate::rejection::{Code, Rejection};
use crate::text::{Digest, Reference, Sealed, Text};
use crate::time::Time;
use crate::treasury::command::Deposit;
use crate::turn::{Claim, Context, Missing, Outcome, Permit, Scene, State, Stop};

/// Loads everything by itself; the log is a plain list.
#[derive(Clone)]
pub struct World {
    pub now: Time,
    /// The first principal, who registers everybody.
    pub principal: CitizenId,
    /// Everything recorded since the beginning.
    pub log: Vec<(Stream, Event, Time)>,
    states: HashMap<Stream, Arc<State>>,
    claims: HashMap<Claim, Option<String>>,
    people: HashMap<CitizenId, (CitizenKind, Tier)>,
    teller: Option<CitizenId>,
    commands: u64,
    last: usize,
}

impl Scene for World {
    fn state(&self, stream: Stream) -> Option<&Arc<State>> {
        self.states.get(&stream)
    }

    fn claim(&self, claim: &Claim) -> Option<Option<&str>> {
        self.claims.get(claim).map(Option::as_deref)
    }
}

impl World {
    #[expect(clippy::new_without_default, reason = "a whole city is no default")]
    /// A founded city at noon of 2026-05-01, with USD (2 decimals) and EUR (2 decimals).
    pub fn new() -> Self {
        let mut world = Self {
            now: "2026-05-01T12:00:00Z".parse().unwrap(),
            principal: CitizenId::from_bits(0),
            log: Vec::new(),
            states: HashMap::new(),
            claims: HashMap::new(),
            people: HashMap::new(),
            teller: None,
            commands: 0,
            last: 0,
        };
        let found = FoundCity { name: text("Ada"), key: KeyId::from_bits(1), verifier: Digest([1; 32]) };
        world.send_as(Actor::System, Tier::Principal, &found.into(), &[]).unwrap();
        world.principal = world
            .find(|_, event| match event {
                Event::City(CityEvent::Founded { principal }) => Some(*principal),
                _ => None,
            })
            .unwrap();
        world.people.insert(world.principal, (CitizenKind::Human, Tier::Principal));
        for code in ["USD", "EUR"] {
            world.send(world.principal, RegisterCurrency { currency: currency(code), scale: 2 }).unwrap();
        }
        world
    }

    /// Sends a command as a citizen with the tier they were given (worker unless `set_tier` said otherwise).
    pub fn send(&mut self, actor: CitizenId, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.send_with(actor, command, &[])
    }

    pub fn send_with(
        &mut self,
        actor: CitizenId,
        command: impl Into<Command>,
        evidence: &[Evidence],
    ) -> Result<Outcome, Code> {
        let (kind, tier) = self.people.get(&actor).copied().unwrap_or((CitizenKind::Human, Tier::Worker));
        self.send_as(Actor::Citizen { kind, id: actor }, tier, &command.into(), evidence).map_err(|no| no.code)
    }

    /// Sends a command as one of the city's own workers.
    pub fn send_system(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.send_as(Actor::System, Tier::Principal, &command.into(), &[]).map_err(|no| no.code)
    }

    pub fn send_as(
        &mut self,
        actor: Actor,
        tier: Tier,
        command: &Command,
        evidence: &[Evidence],
    ) -> Result<Outcome, Rejection> {
        self.commands += 1;
        let seed = *blake3::hash(&self.commands.to_be_bytes()).as_bytes();
        let permit = Permit { actor, tier, via: None };
        let context = Context { now: self.now, permit, command: CommandId::from_bits(self.commands.into()), seed };
        let decision = loop {
            match decide(self, command, evidence, &context) {
                Ok(decision) => break decision,
                Err(Stop::Rejected(rejection)) => return Err(rejection),
                Err(Stop::Missing(Missing::Stream(stream))) => {
                    let empty = Arc::new(State::empty(stream));
                    assert!(self.states.insert(stream, empty).is_none(), "{stream} was loaded");
                }
                Err(Stop::Missing(Missing::Streams(streams))) => {
                    for stream in streams {
                        self.states.entry(stream).or_insert_with(|| Arc::new(State::empty(stream)));
                    }
                }
                Err(Stop::Missing(Missing::Claim(claim))) => {
                    assert!(self.claims.insert(claim, None).is_none(), "a claim was asked for twice");
                }
            }
        };
        self.last = self.log.len();
        self.states.extend(decision.states);
        self.claims.extend(decision.claims.into_iter().map(|(claim, value)| (claim, Some(value))));
        self.log.extend(decision.events.into_iter().map(|(stream, event)| (stream, event, self.now)));
        Ok(decision.outcome)
    }

    /// What the last accepted command recorded.
    pub fn recorded(&self) -> &[(Stream, Event, Time)] {
        &self.log[self.last..]
    }

    /// The event types that the last accepted command recorded, in order; of the inventory's see `inventory_types`.
    pub fn types(&self) -> Vec<String> {
        let types = self.recorded().iter().map(|(_, event, _)| event.to_parts().0);
        types.filter(|kind| !kind.starts_with("grant.")).collect()
    }

    /// What the last accepted command recorded in inventories: reactions, mostly.
    pub fn inventory_types(&self) -> Vec<String> {
        let types = self.recorded().iter().map(|(_, event, _)| event.to_parts().0);
        types.filter(|kind| kind.starts_with("grant.")).collect()
    }

    /// The first thing that `pick` finds in what the last accepted command recorded.
    pub fn find<T>(&self, pick: impl Fn(Stream, &Event) -> Option<T>) -> Option<T> {
        self.recorded().iter().find_map(|(stream, event, _)| pick(*stream, event))
    }

    pub fn set_tier(&mut self, citizen: CitizenId, tier: Tier) {
        self.people.entry(citizen).or_insert((CitizenKind::Human, tier)).1 = tier;
    }

    pub fn pass_days(&mut self, days: u32) {
        self.now = self.now.plus_days(days);
    }

    /// An agent is operated by the first principal; use `agent_of` for another operator.
    pub fn citizen(&mut self, kind: CitizenKind) -> CitizenId {
        let operator = (kind == CitizenKind::Agent).then_some(self.principal);
        self.register(kind, operator)
    }

    pub fn human(&mut self) -> CitizenId {
        self.citizen(CitizenKind::Human)
    }

    pub fn agent_of(&mut self, operator: CitizenId) -> CitizenId {
        self.register(CitizenKind::Agent, Some(operator))
    }

    fn register(&mut self, kind: CitizenKind, operator: Option<CitizenId>) -> CitizenId {
        let facts = |operator| AgentFacts { operator, model_family: slug("model-x"), instructions: Digest([7; 32]) };
        let register = RegisterCitizen { kind, name: text("somebody"), agent: operator.map(facts) };
        self.send(self.principal, register).unwrap();
        let id = self.find(|stream, event| match (stream, event) {
            (Stream::Citizen(id), Event::Citizen(CitizenEvent::Registered { .. })) => Some(id),
            _ => None,
        });
        let id = id.unwrap();
        self.people.insert(id, (kind, Tier::Worker));
        id
    }

    /// A guild with default ranks in which the founder alone decides.
    pub fn guild(&mut self, founder: CitizenId, name: &str) -> GuildId {
        self.guild_under(founder, name, None)
    }

    pub fn guild_under(&mut self, founder: CitizenId, name: &str, governance: Option<Governance>) -> GuildId {
        let found = FoundGuild {
            slug: slug(name),
            kind: GuildKind::Project,
            name: text(name),
            ranks: None,
            governance: governance.map(Box::new),
        };
        self.send(founder, found).unwrap();
        let id = self.find(|stream, event| match (stream, event) {
            (Stream::Guild(id), Event::Guild(GuildEvent::Founded { .. })) => Some(id),
            _ => None,
        });
        id.unwrap()
    }

    /// A new human who joins at that rank, added by `by`.
    pub fn member(&mut self, by: CitizenId, guild: GuildId, rank: &str) -> CitizenId {
        let citizen = self.human();
        let outcome = self.send(by, join(guild, citizen, rank, None));
        assert_eq!(outcome, Ok(Outcome::Done), "adding a member");
        citizen
    }

    /// Deposits from outside, attested by a teller who is nobody else. The amount is decimal text such as "500.00".
    pub fn fund(&mut self, treasury: TreasuryId, code: &str, amount: &str) {
        let teller = match self.teller {
            Some(teller) => teller,
            None => self.human(),
        };
        if self.teller.replace(teller).is_none() {
            for code in ["USD", "EUR"] {
                let grant = GrantAttestation { citizen: teller, source: slug("bank"), currency: currency(code) };
                self.send(self.principal, grant).unwrap();
            }
        }
        let deposit = Deposit {
            treasury,
            source: slug("bank"),
            reference: reference(self.commands),
            currency: currency(code),
            amount: money(amount),
            fee: None,
            effective_at: None,
            memo: None,
        };
        assert_eq!(self.send(teller, deposit), Ok(Outcome::Done));
    }

    /// The folded state of a guild; panics when it does not exist.
    pub fn guild_state(&self, id: GuildId) -> &Guild {
        match self.states.get(&Stream::Guild(id)).map(Arc::as_ref) {
            Some(State::Guild(guild)) if guild.exists() => guild,
            other => panic!("no guild {id}: {other:?}"),
        }
    }

    /// Whether the city lets this citizen act at all.
    pub fn is_active(&self, id: CitizenId) -> bool {
        matches!(self.state_of(Stream::Citizen(id)), Some(State::Citizen(citizen)) if citizen.is_active())
    }

    /// The live state of a stream, if it was ever touched.
    pub fn state_of(&self, stream: Stream) -> Option<&State> {
        self.states.get(&stream).map(Arc::as_ref)
    }

    /// The proposal that an outcome speaks of.
    pub fn proposal(outcome: Result<Outcome, Code>) -> ProposalId {
        match outcome {
            Ok(Outcome::Proposed(_, proposal)) => proposal,
            other => panic!("expected a proposal, got {other:?}"),
        }
    }

    /// Folds every recorded event from scratch, by way of its recorded form, and compares with the live states.
    pub fn check_replay(&self) {
        let mut fresh: HashMap<Stream, State> = HashMap::new();
        for (stream, event, at) in &self.log {
            let (kind, data) = event.to_parts();
            let read = Event::from_parts(&kind, data).unwrap();
            assert_eq!(&read, event, "a recorded event reads back as itself");
            let (kind, data) = event.to_parts();
            assert_eq!(&Event::from_text(&kind, &data.to_string()).unwrap(), event, "and so it does from its text");
            fresh.entry(*stream).or_insert_with(|| State::empty(*stream)).evolve(&read, *at);
        }
        for (stream, live) in &self.states {
            let replayed = fresh.remove(stream).unwrap_or_else(|| State::empty(*stream));
            assert_eq!(format!("{replayed:?}"), format!("{live:?}"), "{stream} replays to its live state");
        }
        assert!(fresh.is_empty(), "every recorded stream is live");
    }
}

pub fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

pub fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

pub fn money(amount: &str) -> AmountText {
    amount.parse().unwrap()
}

/// A text as the pipeline hands it over: already sealed.
pub fn text(content: &str) -> Text {
    let digest = Digest(*blake3::hash(content.as_bytes()).as_bytes());
    Text::Sealed(Sealed { ciphertext: digest, commitment: digest, subject: "city".to_owned() })
}

/// A sealed reference whose lookup is the number.
pub fn reference(number: u64) -> Reference {
    let mut lookup = [0; 32];
    lookup[24..].copy_from_slice(&number.to_be_bytes());
    Reference { text: text(&format!("reference {number}")), lookup: Digest(lookup) }
}

pub fn join(guild: GuildId, citizen: CitizenId, rank: &str, scopes: Option<Vec<Class>>) -> AddMember {
    AddMember { guild: guild.into(), member: MemberId::Citizen(citizen), kind: None, rank: slug(rank), scopes }
}
