//! One command's turn: what it may read, what it records, and why it can stop.

use std::collections::HashMap;
use std::sync::Arc;

use crate::citizen::Citizen;
use crate::city::City;
use crate::event::Event;
use crate::grant::Inventory;
use crate::guild::Guild;
use crate::ids::{CitizenId, CommandId, GuildId, GuildRef, KeyId, ProposalId, ReputationId, Stream, TreasuryId};
use crate::key::Key;
use crate::party::{Actor, HolderId, Tier};
use crate::rejection::{Code, Rejection};
use crate::reputation::Reputation;
use crate::time::Time;
use crate::treasury::Treasury;

/// Most events that one command may append.
pub const MAX_EVENTS: usize = 10_000;

/// A value that can be taken once in the whole city, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    pub scope: &'static str,
    pub key: String,
}

/// What a decision needs and was not given yet: load it and decide again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    Stream(Stream),
    /// Several that are known to be needed together.
    Streams(Vec<Stream>),
    Claim(Claim),
}

/// Why a decision did not come to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Rejected(Rejection),
    Missing(Missing),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Rejected(Rejection::new(code))
    }
}

/// The state of one stream. Cheap to clone: the collections inside are persistent.
#[derive(Debug, Clone)]
pub enum State {
    City(City),
    Citizen(Citizen),
    Guild(Guild),
    Treasury(Treasury),
    Key(Key),
    Inventory(Inventory),
    Reputation(Reputation),
}

impl State {
    /// The state of a stream that has no entries.
    pub fn empty(stream: Stream) -> Self {
        match stream {
            Stream::City => Self::City(City::default()),
            Stream::Citizen(_) => Self::Citizen(Citizen::default()),
            Stream::Guild(_) => Self::Guild(Guild::default()),
            Stream::Treasury(_) => Self::Treasury(Treasury::default()),
            Stream::Key(_) => Self::Key(Key::default()),
            Stream::Inventory(_) => Self::Inventory(Inventory::default()),
            Stream::Reputation(_) => Self::Reputation(Reputation::default()),
        }
    }

    /// Applies a recorded event. Total: what was recorded was decided, so nothing is checked again here.
    pub fn evolve(&mut self, event: &Event, at: Time) {
        match (self, event) {
            (Self::City(state), Event::City(event)) => state.evolve(event, at),
            (Self::Citizen(state), Event::Citizen(event)) => state.evolve(event, at),
            (Self::Guild(state), Event::Guild(event)) => state.evolve(event, at),
            (Self::Treasury(state), Event::Treasury(event)) => state.evolve(event, at),
            (Self::Key(state), Event::Key(event)) => state.evolve(event, at),
            (Self::Inventory(state), Event::Grant(event)) => state.evolve(event, at),
            (Self::Reputation(state), Event::Reputation(event)) => state.evolve(event, at),
            (state, event) => unreachable!("a {event:?} in the stream of {state:?}"),
        }
    }
}

/// What a turn reads from: states folded to the head, and claims taken.
pub trait Scene {
    /// `None` when the stream was not loaded; the empty state when it has no entries.
    fn state(&self, stream: Stream) -> Option<&Arc<State>>;
    /// `None` when it was not looked up; `Some(None)` when nobody took it.
    fn claim(&self, claim: &Claim) -> Option<Option<&str>>;
}

/// What the caller may do, as the writer established it from the log.
#[derive(Debug, Clone)]
pub struct Permit {
    pub actor: Actor,
    pub tier: Tier,
    /// The credential relied on; `None` for the city's own workers.
    pub via: Option<KeyId>,
}

/// Everything a decision may know besides states: no clock, no randomness of its own.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: Time,
    pub permit: Permit,
    pub command: CommandId,
    /// Unpredictable bytes from which new ids are derived, so that deciding again gives the same ids.
    pub seed: [u8; 32],
}

/// How the present code came to run: asked for by the caller, or as the effect of a ratified proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Asked,
    Effect(ProposalId),
}

/// Reads through to the scene, sees its own events, and keeps them in order.
#[derive(Clone)]
pub struct Turn<'a> {
    scene: &'a dyn Scene,
    pub context: &'a Context,
    pub mode: Mode,
    pub evidence: Vec<crate::guild::governance::Evidence>,
    changed: HashMap<Stream, Arc<State>>,
    claimed: HashMap<Claim, String>,
    events: Vec<(Stream, Event)>,
    ids: u64,
}

/// What a command that was not refused came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The world is already as the command wants it; nothing was recorded.
    AlreadyDone,
    /// Waiting for votes.
    Proposed(GuildId, ProposalId),
}

/// The end of a turn.
#[derive(Debug)]
pub struct Decision {
    pub outcome: Outcome,
    pub events: Vec<(Stream, Event)>,
    pub states: HashMap<Stream, Arc<State>>,
    pub claims: HashMap<Claim, String>,
}

impl<'a> Turn<'a> {
    pub fn new(scene: &'a dyn Scene, context: &'a Context) -> Self {
        Self {
            scene,
            context,
            mode: Mode::Asked,
            evidence: Vec::new(),
            changed: HashMap::new(),
            claimed: HashMap::new(),
            events: Vec::new(),
            ids: 0,
        }
    }

    pub fn finish(self, outcome: Outcome) -> Decision {
        Decision { outcome, events: self.events, states: self.changed, claims: self.claimed }
    }

    pub const fn now(&self) -> Time {
        self.context.now
    }

    /// The citizen who acts; the city's own workers are nobody here.
    pub fn caller(&self) -> Result<CitizenId, Rejection> {
        self.context.permit.actor.citizen().ok_or_else(|| Rejection::new(Code::ActorNotActive))
    }

    fn state(&self, stream: Stream) -> Result<&State, Stop> {
        let state = self.changed.get(&stream).or_else(|| self.scene.state(stream));
        state.map(Arc::as_ref).ok_or(Stop::Missing(Missing::Stream(stream)))
    }

    pub fn city(&self) -> Result<&City, Stop> {
        match self.state(Stream::City)? {
            State::City(city) => Ok(city),
            other => unreachable!("the city's stream holds {other:?}"),
        }
    }

    /// The citizen, who must exist.
    pub fn citizen(&self, id: CitizenId) -> Result<&Citizen, Stop> {
        match self.state(Stream::Citizen(id))? {
            State::Citizen(citizen) if citizen.exists() => Ok(citizen),
            _ => Err(Rejection::new(Code::CitizenNotFound).detail(id).into()),
        }
    }

    /// The guild, which must exist.
    pub fn guild(&self, id: GuildId) -> Result<&Guild, Stop> {
        match self.state(Stream::Guild(id))? {
            State::Guild(guild) if guild.exists() => Ok(guild),
            _ => Err(Rejection::new(Code::GuildNotFound).detail(id).into()),
        }
    }

    /// The treasury, which must exist.
    pub fn treasury(&self, id: TreasuryId) -> Result<&Treasury, Stop> {
        match self.state(Stream::Treasury(id))? {
            State::Treasury(treasury) if treasury.exists() => Ok(treasury),
            _ => Err(Rejection::new(Code::TreasuryNotFound).detail(id).into()),
        }
    }

    /// The key, which must exist.
    pub fn key(&self, id: KeyId) -> Result<&Key, Stop> {
        match self.state(Stream::Key(id))? {
            State::Key(key) if key.exists() => Ok(key),
            _ => Err(Rejection::new(Code::KeyNotFound).detail(id).into()),
        }
    }

    /// What a holder has; empty for one who never had anything.
    pub fn inventory(&self, holder: HolderId) -> Result<&Inventory, Stop> {
        match self.state(Stream::Inventory(holder))? {
            State::Inventory(inventory) => Ok(inventory),
            other => unreachable!("an inventory's stream holds {other:?}"),
        }
    }

    /// What was attested about a citizen; empty for one of whom nothing was.
    pub fn reputation(&self, id: ReputationId) -> Result<&Reputation, Stop> {
        match self.state(Stream::Reputation(id))? {
            State::Reputation(reputation) => Ok(reputation),
            other => unreachable!("a reputation's stream holds {other:?}"),
        }
    }

    /// Asks for everything at once that the next lines read: one round instead of one a stream.
    pub fn need(&self, streams: impl IntoIterator<Item = Stream>) -> Result<(), Stop> {
        let unknown = |stream: &Stream| !self.changed.contains_key(stream) && self.scene.state(*stream).is_none();
        let missing: Vec<Stream> = streams.into_iter().filter(unknown).collect();
        if missing.is_empty() { Ok(()) } else { Err(Stop::Missing(Missing::Streams(missing))) }
    }

    pub fn guild_id(&self, guild: &GuildRef) -> Result<GuildId, Stop> {
        match guild {
            GuildRef::Id(id) => Ok(*id),
            GuildRef::Slug(slug) => {
                let claim = Claim { scope: "guild_slug", key: slug.to_string() };
                let id = self.claimed(&claim)?.and_then(|id| id.parse().ok());
                id.ok_or_else(|| Rejection::new(Code::GuildNotFound).detail(slug).into())
            }
        }
    }

    /// What a claim stands for, if anybody took it.
    pub fn claimed(&self, claim: &Claim) -> Result<Option<&str>, Stop> {
        if let Some(value) = self.claimed.get(claim) {
            return Ok(Some(value));
        }
        self.scene.claim(claim).ok_or_else(|| Stop::Missing(Missing::Claim(claim.clone())))
    }

    /// Records an event: later reads of this turn see its effect. Claims follow from the event (`Event::claims`).
    pub fn record(&mut self, stream: Stream, event: impl Into<Event>) -> Result<(), Stop> {
        if self.events.len() >= MAX_EVENTS {
            return Err(Code::TooManyEvents.into());
        }
        let event = event.into();
        let mut state = self.state(stream)?.clone();
        state.evolve(&event, self.context.now);
        self.changed.insert(stream, Arc::new(state));
        for (claim, value) in event.claims(stream) {
            self.claimed.insert(claim, value);
        }
        self.events.push((stream, event));
        Ok(())
    }

    pub fn recorded(&self) -> usize {
        self.events.len()
    }

    /// The bits of a fresh id: the first of a turn is `derive_id(seed, 1, now)`, and so on.
    pub fn fresh_id(&mut self) -> u128 {
        self.ids += 1;
        derive_id(&self.context.seed, self.ids, self.context.now)
    }
}

/// A ULID whose time is `now` and whose random part follows from the seed, so that deciding again gives the same ids.
pub fn derive_id(seed: &[u8; 32], number: u64, now: Time) -> u128 {
    let mut bits = [0; 16];
    bits.copy_from_slice(&blake3::keyed_hash(seed, &number.to_be_bytes()).as_bytes()[..16]);
    let millis = u128::from(now.millis().unsigned_abs());
    (millis << 80) | (u128::from_be_bytes(bits) >> 48)
}
