//! Everything that can have happened: one closed enum over the aggregates, and the claims that events take.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, IntoDeserializer as _, MapAccess};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::citizen::event::CitizenEvent;
use crate::city::event::CityEvent;
use crate::grant::event::GrantEvent;
use crate::guild::event::GuildEvent;
use crate::ids::Stream;
use crate::key::event::KeyEvent;
use crate::reputation::event::ReputationEvent;
use crate::treasury::event::TreasuryEvent;
use crate::turn::Claim;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    City(CityEvent),
    Citizen(CitizenEvent),
    Guild(GuildEvent),
    Treasury(TreasuryEvent),
    Key(KeyEvent),
    Grant(GrantEvent),
    Reputation(ReputationEvent),
}

macro_rules! from {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for Event {
            fn from(event: $type) -> Self {
                Self::$variant(event)
            }
        })*
    };
}
from!(
    City(CityEvent),
    Citizen(CitizenEvent),
    Guild(GuildEvent),
    Treasury(TreasuryEvent),
    Key(KeyEvent),
    Grant(GrantEvent),
    Reputation(ReputationEvent)
);

/// Why recorded data is not an event of this version of the city.
#[derive(Debug, thiserror::Error)]
pub enum UnknownEvent {
    #[error("no event type {0:?}")]
    Type(String),
    #[error("the data of {kind} does not fit: {source}")]
    Data { kind: String, source: serde_json::Error },
}

/// An event's type and the text of its data, as the object they would be together.
struct Parts<'k, 't, 'r> {
    kind: Option<&'k str>,
    data: Option<&'r mut serde_json::Deserializer<serde_json::de::StrRead<'t>>>,
}

impl<'t> MapAccess<'t> for Parts<'_, 't, '_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let key = match self {
            Self { kind: Some(_), .. } => "type",
            Self { data: Some(_), .. } => "data",
            _ => return Ok(None),
        };
        let key: StrDeserializer<'_, Self::Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        if let Some(kind) = self.kind.take() {
            let kind: StrDeserializer<'_, Self::Error> = kind.into_deserializer();
            return seed.deserialize(kind);
        }
        let data = self.data.take().ok_or_else(|| serde::de::Error::missing_field("data"))?;
        seed.deserialize(data)
    }
}

impl Event {
    /// The event as an entry stores it: its type, and its data with sealed texts inline.
    pub fn to_parts(&self) -> (String, Value) {
        let value = serde_json::to_value(self).expect("events hold only texts, numbers and lists");
        match value {
            Value::Object(mut object) => match (object.remove("type"), object.remove("data")) {
                (Some(Value::String(kind)), data) => (kind, data.unwrap_or_else(|| Value::Object(Default::default()))),
                other => unreachable!("an event without a type: {other:?}"),
            },
            other => unreachable!("an event is an object: {other:?}"),
        }
    }

    /// Reads what an entry stores.
    pub fn from_parts(kind: &str, data: Value) -> Result<Self, UnknownEvent> {
        let mut object = serde_json::Map::new();
        object.insert("type".to_owned(), Value::String(kind.to_owned()));
        object.insert("data".to_owned(), data);
        Self::read(kind, Value::Object(object))
    }

    /// The same from the text of the data, several times as fast.
    pub fn from_text(kind: &str, data: &str) -> Result<Self, UnknownEvent> {
        let mut reader = serde_json::Deserializer::from_str(data);
        let parts = Parts { kind: Some(kind), data: Some(&mut reader) };
        let event = Self::read(kind, MapAccessDeserializer::new(parts))?;
        reader.end().map(|()| event).map_err(|source| UnknownEvent::Data { kind: kind.to_owned(), source })
    }

    fn read<'de>(kind: &str, from: impl Deserializer<'de, Error = serde_json::Error>) -> Result<Self, UnknownEvent> {
        let wrap = |source| UnknownEvent::Data { kind: kind.to_owned(), source };
        match kind.split_once('.').map(|(aggregate, _)| aggregate) {
            Some("city") => Deserialize::deserialize(from).map(Self::City).map_err(wrap),
            Some("citizen") => Deserialize::deserialize(from).map(Self::Citizen).map_err(wrap),
            Some("guild") => Deserialize::deserialize(from).map(Self::Guild).map_err(wrap),
            Some("treasury") => Deserialize::deserialize(from).map(Self::Treasury).map_err(wrap),
            Some("key") => Deserialize::deserialize(from).map(Self::Key).map_err(wrap),
            Some("grant") => Deserialize::deserialize(from).map(Self::Grant).map_err(wrap),
            Some("reputation") => Deserialize::deserialize(from).map(Self::Reputation).map_err(wrap),
            _ => Err(UnknownEvent::Type(kind.to_owned())),
        }
    }

    /// What this event takes for ever, and what it stands for.
    pub fn claims(&self, stream: Stream) -> Vec<(Claim, String)> {
        match self {
            Self::Guild(GuildEvent::Founded { slug, .. }) => {
                vec![(Claim { scope: "guild_slug", key: slug.to_string() }, stream.to_string())]
            }
            Self::Treasury(TreasuryEvent::Credited(moved) | TreasuryEvent::Debited(moved)) => {
                crate::treasury::reference_claim(moved).into_iter().collect()
            }
            Self::Reputation(event) => crate::reputation::decide::outcome_taken(event).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
