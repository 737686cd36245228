//! What the events mean, checked again from the raw JSON: one file of rules per aggregate, and the state they share.
//!
//! Nothing here is the city's own code: the rules are written from FORMAT.md section 8. The state holds what is living
//! (balances, open holds, memberships, keys) and claims that are taken for ever; it does not grow with the log.

pub mod act;
pub mod citizen;
pub mod city;
pub mod continued;
pub mod governance;
pub mod grant;
pub mod guild;
pub mod infrastructure;
pub mod key;
pub mod lock;
pub mod reputation;
pub mod signing;
pub mod treasury;
pub mod values;

use std::collections::{BTreeMap, HashMap, HashSet};

use act::Act;
use values::{CitizenId, Currency, GuildId, KeyId, Slug, Stream, Time, TreasuryId};

/// One event type: which sealed texts its entry may carry, and what is checked about it or why nothing is.
#[derive(Debug, Clone, Copy)]
pub struct Covered {
    pub kind: &'static str,
    /// Paths inside `data`; `?` at the end may be absent, `*` stands for any rest.
    pub texts: &'static [&'static str],
    pub why: &'static str,
}

/// Declares the events of one aggregate: type, data, sealed texts, and what is checked.
macro_rules! events {
    ($($kind:literal => $variant:ident($data:ty), [$($text:literal),*], $why:literal;)*) => {
        /// The events of this file, read from their data.
        #[derive(Debug)]
        #[allow(dead_code, reason = "some data is read only to hold it to its shape")]
        pub enum Event {
            $($variant($data)),*
        }

        pub const COVERED: &[$crate::rules::Covered] =
            &[$($crate::rules::Covered { kind: $kind, texts: &[$($text),*], why: $why }),*];

        /// `None` when the type belongs to another file.
        pub fn parse(kind: &str, data: &str) -> Option<(&'static [&'static str], Result<Event, serde_json::Error>)> {
            match kind {
                $($kind => Some((&[$($text),*], serde_json::from_str(data).map(Event::$variant))),)*
                _ => None,
            }
        }
    };
}
pub(crate) use events;

/// The data of an event that says nothing but its type.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Any event.
#[derive(Debug)]
pub enum Event {
    City(city::Event),
    Citizen(citizen::Event),
    Guild(Box<guild::Event>),
    Treasury(treasury::Event),
    Key(key::Event),
    Grant(grant::Event),
    Reputation(reputation::Event),
    Infrastructure(infrastructure::Event),
    /// None that FORMAT.md knows, and why.
    Unreadable(String),
}

/// Every event type that has rules, or a reason to have none.
pub fn covered() -> impl Iterator<Item = &'static Covered> {
    [
        city::COVERED,
        citizen::COVERED,
        guild::COVERED,
        treasury::COVERED,
        key::COVERED,
        grant::COVERED,
        reputation::COVERED,
        infrastructure::COVERED,
    ]
    .into_iter()
    .flatten()
}

impl Event {
    /// Reads an event: its type must be known, its data of exactly that type's shape, its sealed texts the type's.
    pub fn parse<'a>(kind: &str, data: &str, texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (allowed, event) =
            Self::dispatch(kind, data).ok_or_else(|| format!("no rule knows the event type {kind:?}"))?;
        let event = event.map_err(|error| format!("the data of {kind} does not fit: {error}"))?;
        check_texts(kind, allowed, &texts.collect::<Vec<_>>())?;
        Ok(event)
    }

    fn dispatch(kind: &str, data: &str) -> Option<(&'static [&'static str], Result<Self, serde_json::Error>)> {
        let family = kind.split_once('.')?.0;
        Some(match family {
            "treasury" => treasury::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Treasury)))?,
            "guild" => guild::parse(kind, data)
                .map(|(texts, event)| (texts, event.map(|event| Self::Guild(Box::new(event)))))?,
            "citizen" => citizen::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Citizen)))?,
            "city" => city::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::City)))?,
            "grant" => grant::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Grant)))?,
            "reputation" => reputation::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Reputation)))?,
            "key" => key::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Key)))?,
            _ => infrastructure::parse(kind, data).map(|(texts, event)| (texts, event.map(Self::Infrastructure)))?,
        })
    }

    /// Whether this event is the first of its stream, and only that.
    fn opens(&self) -> bool {
        match self {
            Self::City(event) => matches!(event, city::Event::Founded(_)),
            Self::Citizen(event) => matches!(event, citizen::Event::Registered(_)),
            Self::Guild(event) => matches!(**event, guild::Event::Founded(_)),
            Self::Treasury(event) => matches!(event, treasury::Event::Opened(_)),
            Self::Key(event) => matches!(event, key::Event::Issued(_)),
            // An inventory begins with whatever is granted first.
            Self::Grant(_) | Self::Reputation(_) | Self::Infrastructure(_) | Self::Unreadable(_) => false,
        }
    }
}

fn check_texts(kind: &str, allowed: &[&str], found: &[&str]) -> Result<(), String> {
    let fits = |pattern: &str, path: &str| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern.trim_end_matches('?') == path,
    };
    if let Some(path) = found.iter().find(|path| !allowed.iter().any(|pattern| fits(pattern, path))) {
        return Err(format!("{kind} has no text at {path:?}"));
    }
    let required = allowed.iter().filter(|pattern| !pattern.ends_with(['?', '*']));
    match required.into_iter().find(|pattern| !found.contains(pattern)) {
        Some(missing) => Err(format!("{kind} lacks its text {missing:?}")),
        None => Ok(()),
    }
}

/// Who an entry says it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Citizen { kind: citizen::Kind, id: CitizenId },
    System,
}

/// What an entry says besides its event.
#[derive(Debug)]
pub struct Entry {
    pub position: u64,
    pub stream: Stream,
    pub version: u64,
    /// The position of the entry that this one reacts to.
    pub cause: Option<u64>,
    pub at: Time,
    pub actor: Actor,
    /// The credential, when it was a key.
    pub via: Option<KeyId>,
    pub command: Box<str>,
    pub event: Event,
}

/// What is found wrong, with the position it was found at.
#[derive(Debug, Default)]
pub struct Notes {
    pub position: u64,
    pub found: Vec<(u64, String)>,
}

impl Notes {
    pub fn add(&mut self, what: impl Into<String>) {
        self.found.push((self.position, what.into()));
    }

    pub fn at(&mut self, position: u64, what: impl Into<String>) {
        self.found.push((position, what.into()));
    }

    /// Notes what is wrong unless `holds`; answers `holds`.
    pub fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) -> bool {
        if !holds {
            self.add(what());
        }
        holds
    }
}

/// The living state of the city, as the events tell it.
#[derive(Debug, Default)]
pub struct World {
    pub founded: bool,
    pub currencies: HashMap<Currency, u8>,
    /// The defined roles, beside those every city has.
    pub roles: HashMap<Slug, city::Tier>,
    pub principals: HashSet<CitizenId>,
    pub citizens: HashMap<CitizenId, citizen::Citizen>,
    pub guilds: HashMap<GuildId, guild::Guild>,
    pub slugs: HashSet<Slug>,
    pub treasuries: HashMap<TreasuryId, treasury::Treasury>,
    pub keys: HashMap<KeyId, key::Key>,
    /// References of deposits and withdrawals: taken for ever. The first 16 bytes of a hash stand for each.
    pub references: HashSet<u128>,
    pub inventories: grant::Inventories,
    pub reputations: reputation::Reputations,
    pub anchored: infrastructure::Anchored,
    pub act: Act,
}

impl World {
    /// Applies the next entry of the log.
    pub fn apply(&mut self, entry: &Entry, notes: &mut Notes) {
        notes.position = entry.position;
        if self.act.is_over(entry) {
            self.end_act(notes);
            notes.position = entry.position;
            self.begin_act(entry, notes);
        }
        let opens = entry.event.opens();
        let free = matches!(
            entry.event,
            Event::Grant(_) | Event::Reputation(_) | Event::Infrastructure(_) | Event::Unreadable(_)
        );
        notes.expect(free || opens == (entry.version == 0), || {
            if opens {
                "a stream begins twice".to_owned()
            } else {
                "the stream begins with something else than its beginning".to_owned()
            }
        });
        match (&entry.event, &entry.stream) {
            (Event::City(event), Stream::City) => city::apply(event, self, notes),
            (Event::Citizen(event), Stream::Citizen(id)) => citizen::apply(event, *id, self, notes),
            (Event::Guild(event), Stream::Guild(id)) => guild::apply(event, *id, entry, self, notes),
            (Event::Treasury(event), Stream::Treasury(id)) => treasury::apply(event, *id, entry, self, notes),
            (Event::Key(event), Stream::Key(id)) => key::apply(event, *id, self, notes),
            (Event::Grant(event), Stream::Inventory(id)) => grant::apply(event, *id, entry, self, notes),
            (Event::Reputation(event), Stream::Reputation(id)) => reputation::apply(event, *id, entry, self, notes),
            (Event::Infrastructure(event), stream) => infrastructure::apply(event, stream, entry, self, notes),
            (Event::Unreadable(why), _) => notes.add(why.as_str()),
            (_, stream) => notes.add(format!("an event of another kind in the stream {stream}")),
        }
    }

    /// Ends the log: the last command must be complete.
    pub fn finish(&mut self, notes: &mut Notes) {
        self.end_act(notes);
    }

    /// Money inside the city per currency: balance and held, in minor units, with the scale.
    pub fn totals(&self) -> BTreeMap<String, (i128, i128, u8)> {
        let mut totals = BTreeMap::new();
        for account in self.treasuries.values().flat_map(|treasury| &treasury.accounts) {
            let scale = self.currencies.get(&account.currency).copied().unwrap_or(0);
            let total = totals.entry(account.currency.to_string()).or_insert((0_i128, 0_i128, scale));
            total.0 = total.0.saturating_add(account.balance);
            total.1 = total.1.saturating_add(account.held);
        }
        totals
    }
}

#[cfg(test)]
pub(crate) mod tests;
