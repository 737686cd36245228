//! Identifiers: `<prefix>_<ULID>`, each its own type, and the names made from them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use ulid::{ULID_LEN, Ulid};

use crate::party::HolderId;

/// Why a text is not the identifier or name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct Malformed {
    pub expected: &'static str,
    pub got: String,
}

impl Malformed {
    pub fn new(expected: &'static str, got: &str) -> Self {
        Self { expected, got: got.chars().take(80).collect() }
    }
}

/// Serialises through `Display` and reads through `FromStr`.
macro_rules! text_serde {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::ids::Parsing(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use text_serde;

/// Reads a value from its text where it stands: nearly all of an event are such values.
pub(crate) struct Parsing<T>(pub(crate) PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Parsing<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits of the ULID, without the prefix.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), Ulid(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let malformed = || Malformed::new(concat!("an id of the form ", $prefix, "_<ULID>"), text);
                let tail = text.strip_prefix(concat!($prefix, "_")).ok_or_else(malformed)?;
                parse_ulid(tail).map(Self).ok_or_else(malformed)
            }
        }

        text_serde!($name);
    };
}

/// Exactly the canonical 26 upper-case characters: aliases would give one thing two names.
fn parse_ulid(tail: &str) -> Option<u128> {
    let digits: &[u8; ULID_LEN] = tail.as_bytes().try_into().ok()?;
    let (mut bits, mut seen) = (0, 0);
    for digit in digits {
        let value = VALUES[usize::from(*digit)];
        seen |= value;
        bits = (bits << 5) | u128::from(value & 31);
    }
    // 26 digits of five bits are two bits too many.
    (seen < 32 && VALUES[usize::from(digits[0])] < 8).then_some(bits)
}

/// The value of each digit, and 255 of what is none: nothing is decided until all are read.
const VALUES: [u8; 256] = {
    let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut values = [255; 256];
    let mut value = 0;
    while value < 32 {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
};

id!(/// A human, an agent or a service.
    CitizenId, "cit");
id!(/// A durable guild.
    GuildId, "gld");
id!(/// A treasury; shares its ULID with its owner, so that an owner has exactly one.
    TreasuryId, "try");
id!(/// One act that moves money between accounts.
    MovementId, "mov");
id!(/// Money set aside: a hold, or an offer waiting for its receiver.
    HoldId, "hld");
id!(/// A governed command waiting for votes.
    ProposalId, "prp");
id!(/// A temporary squad.
    SquadId, "sqd");
id!(/// A capability that a holder has.
    GrantId, "grt");
id!(/// A piece of evidence about somebody.
    EvidenceId, "evd");
id!(/// Everything attested about one citizen; shares its ULID with the citizen.
    ReputationId, "rep");
id!(/// An API key (the public half).
    KeyId, "key");
id!(/// One command, whoever sent it and however often.
    CommandId, "cmd");

impl TreasuryId {
    pub const fn of_guild(guild: GuildId) -> Self {
        Self::from_bits(guild.bits())
    }

    pub const fn of_citizen(citizen: CitizenId) -> Self {
        Self::from_bits(citizen.bits())
    }
}

impl ReputationId {
    pub const fn of(citizen: CitizenId) -> Self {
        Self::from_bits(citizen.bits())
    }
}

/// A public name: `[a-z0-9][a-z0-9-]{1,62}`, and never something that looks like an id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(std::sync::Arc<str>);

impl Slug {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = (2..=63).contains(&bytes.len()) && plain(&bytes[0]) && bytes.iter().all(|b| plain(b) || *b == b'-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(Malformed::new("a slug of 2 to 63 characters a-z, 0-9 and '-', not starting with '-'", text))
        }
    }
}

text_serde!(Slug);

/// A guild as callers write it: by id or by slug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuildRef {
    Id(GuildId),
    Slug(Slug),
}

impl fmt::Display for GuildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Slug(slug) => fmt::Display::fmt(slug, f),
        }
    }
}

impl FromStr for GuildRef {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("gld_") {
            return text.parse().map(Self::Id);
        }
        text.parse().map(Self::Slug).map_err(|_| Malformed::new("a guild id (gld_<ULID>) or a guild slug", text))
    }
}

text_serde!(GuildRef);

impl From<GuildId> for GuildRef {
    fn from(id: GuildId) -> Self {
        Self::Id(id)
    }
}

const INVENTORY: &str = "inv_";

/// The name of a stream of events: one aggregate, one chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    City,
    Citizen(CitizenId),
    Guild(GuildId),
    Treasury(TreasuryId),
    Key(KeyId),
    /// `inv_<holder>`: a citizen, a guild and a squad of the same bits are three holders.
    Inventory(HolderId),
    Reputation(ReputationId),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::City => f.write_str("city"),
            Self::Citizen(id) => fmt::Display::fmt(id, f),
            Self::Guild(id) => fmt::Display::fmt(id, f),
            Self::Treasury(id) => fmt::Display::fmt(id, f),
            Self::Key(id) => fmt::Display::fmt(id, f),
            Self::Inventory(holder) => write!(f, "{INVENTORY}{holder}"),
            Self::Reputation(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Stream {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text.get(..4) {
            Some("city") if text == "city" => Ok(Self::City),
            Some("cit_") => text.parse().map(Self::Citizen),
            Some("gld_") => text.parse().map(Self::Guild),
            Some("try_") => text.parse().map(Self::Treasury),
            Some("key_") => text.parse().map(Self::Key),
            Some(INVENTORY) => text[INVENTORY.len()..].parse().map(Self::Inventory),
            Some("rep_") => text.parse().map(Self::Reputation),
            _ => Err(Malformed::new("a stream of the domain", text)),
        }
    }
}

text_serde!(Stream);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn three_kinds_of_holder_of_the_same_bits_have_three_streams() {
        let holders = [CitizenId::from_bits(7).into(), GuildId::from_bits(7).into(), SquadId::from_bits(7).into()];
        let names = holders.map(|holder: HolderId| Stream::Inventory(holder).to_string());
        assert_eq!(names[0], "inv_cit_00000000000000000000000007");
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
        for (name, holder) in names.iter().zip(holders) {
            assert_eq!(name.parse::<Stream>().unwrap(), Stream::Inventory(holder));
        }
        assert!("inv_00000000000000000000000007".parse::<Stream>().is_err());
    }

    #[test]
    fn an_id_round_trips_and_has_one_spelling() {
        let id = GuildId::from_bits(0x0192_0000_0000_0000_0000_0000_0000_0001);
        assert_eq!(id.to_string().parse::<GuildId>().unwrap(), id);
        assert!(id.to_string().to_lowercase().parse::<GuildId>().is_err());
        assert!(id.to_string().replace("gld", "cit").parse::<GuildId>().is_err());
        for bits in [0, 1, u128::MAX, u128::MAX >> 1, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let text = GuildId::from_bits(bits).to_string();
            assert_eq!(text.parse::<GuildId>().unwrap().bits(), bits, "{text}");
            // A digit more than 128 bits have; letters that look like digits; what is no digit.
            for (place, other) in [(4, '8'), (4, 'Z'), (9, 'I'), (9, 'L'), (9, 'O'), (9, 'U'), (29, '-'), (29, ' ')] {
                let mut other_text: Vec<char> = text.chars().collect();
                other_text[place] = other;
                assert!(
                    other_text.into_iter().collect::<String>().parse::<GuildId>().is_err(),
                    "{text} {place} {other}"
                );
            }
        }
    }

    #[test]
    fn a_slug_is_two_to_sixty_three_plain_characters() {
        for good in ["ab", "a-b", "0x", &"a".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "a", "-ab", "Ab", "a_b", "a b", "ä1", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }
}
