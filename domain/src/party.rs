//! Who acts and who is meant: holders are always a kind and an id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, GuildId, Malformed, Slug, SquadId, text_serde};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CitizenKind {
    Human,
    Agent,
    Service,
}

impl fmt::Display for CitizenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Service => "service",
        })
    }
}

/// Who sent a command: a citizen, or the city's own workers (expiry, first start).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    Citizen { kind: CitizenKind, id: CitizenId },
    System,
}

impl Actor {
    pub const fn citizen(&self) -> Option<CitizenId> {
        match self {
            Self::Citizen { id, .. } => Some(*id),
            Self::System => None,
        }
    }
}

/// A member of a guild: a citizen or a squad. The id's prefix tells which; the kind travels beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberId {
    Citizen(CitizenId),
    Squad(SquadId),
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Citizen(id) => fmt::Display::fmt(id, f),
            Self::Squad(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MemberId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("sqd_") { text.parse().map(Self::Squad) } else { text.parse().map(Self::Citizen) }
    }
}

text_serde!(MemberId);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    Human,
    Agent,
    Service,
    Squad,
}

impl From<CitizenKind> for MemberKind {
    fn from(kind: CitizenKind) -> Self {
        match kind {
            CitizenKind::Human => Self::Human,
            CitizenKind::Agent => Self::Agent,
            CitizenKind::Service => Self::Service,
        }
    }
}

/// Whoever can hold capabilities. The id's prefix tells which; the kind travels beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HolderId {
    Citizen(CitizenId),
    Squad(SquadId),
    Guild(GuildId),
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Citizen(id) => fmt::Display::fmt(id, f),
            Self::Squad(id) => fmt::Display::fmt(id, f),
            Self::Guild(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HolderId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text.get(..4) {
            Some("sqd_") => text.parse().map(Self::Squad),
            Some("gld_") => text.parse().map(Self::Guild),
            Some("cit_") => text.parse().map(Self::Citizen),
            _ => {
                Err(Malformed::new("the id of a citizen (cit_), guild (gld_) or squad (sqd_), or a guild's slug", text))
            }
        }
    }
}

text_serde!(HolderId);

/// A holder as people write it: by id, and a guild by its slug as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HolderRef {
    Id(HolderId),
    Guild(Slug),
}

impl fmt::Display for HolderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Guild(slug) => fmt::Display::fmt(slug, f),
        }
    }
}

impl FromStr for HolderRef {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // No slug has the underscore that every id has.
        match text.parse() {
            Ok(slug) => Ok(Self::Guild(slug)),
            Err(_) => text.parse().map(Self::Id),
        }
    }
}

text_serde!(HolderRef);

impl From<CitizenId> for HolderId {
    fn from(citizen: CitizenId) -> Self {
        Self::Citizen(citizen)
    }
}

impl From<GuildId> for HolderId {
    fn from(guild: GuildId) -> Self {
        Self::Guild(guild)
    }
}

impl From<SquadId> for HolderId {
    fn from(squad: SquadId) -> Self {
        Self::Squad(squad)
    }
}

impl From<MemberId> for HolderId {
    fn from(member: MemberId) -> Self {
        match member {
            MemberId::Citizen(id) => Self::Citizen(id),
            MemberId::Squad(id) => Self::Squad(id),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    Human,
    Agent,
    Service,
    Squad,
    Guild,
}

impl From<MemberKind> for HolderKind {
    fn from(kind: MemberKind) -> Self {
        match kind {
            MemberKind::Human => Self::Human,
            MemberKind::Agent => Self::Agent,
            MemberKind::Service => Self::Service,
            MemberKind::Squad => Self::Squad,
        }
    }
}

impl From<CitizenKind> for HolderKind {
    fn from(kind: CitizenKind) -> Self {
        MemberKind::from(kind).into()
    }
}

/// The city's tiers, low to high. An unknown tier does not parse: it is never "below".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Observer,
    Customer,
    Partner,
    Worker,
    Knight,
    Builder,
    Gate,
    Coordinator,
    Principal,
}

impl Tier {
    pub const ALL: [Self; 9] = [
        Self::Observer,
        Self::Customer,
        Self::Partner,
        Self::Worker,
        Self::Knight,
        Self::Builder,
        Self::Gate,
        Self::Coordinator,
        Self::Principal,
    ];
}
