//! The words of the events, read strictly and kept small: ids, slugs, currencies, amounts, times, digests.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::grant::Holder;

/// A type that is read from one text, and what to say when the text is not one.
pub trait FromText: Sized {
    const EXPECTED: &'static str;
    fn from_text(text: &str) -> Option<Self>;
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Reads a `FromText` from a JSON string without copying the string.
pub fn read_text<'de, T: FromText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor(PhantomData))
}

macro_rules! deserialize_text {
    ($($name:ty),*) => {
        $(impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read_text(deserializer)
            }
        })*
    };
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The 128 bits of a ULID in its canonical 26 characters: upper case, no aliases, no overflow.
fn ulid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0_u128, |bits, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'H' => byte - b'A' + 10,
            b'J' | b'K' => byte - b'J' + 18,
            b'M' | b'N' => byte - b'M' + 20,
            b'P'..=b'T' => byte - b'P' + 22,
            b'V'..=b'Z' => byte - b'V' + 27,
            _ => return None,
        };
        Some((bits << 5) | u128::from(digit))
    })
}

fn ulid_text(bits: u128) -> String {
    (0..26).rev().map(|place| char::from(CROCKFORD[usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0)])).collect()
}

/// An id with a three-letter prefix; the prefix is part of the type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<const PREFIX: u32>(pub u128);

/// Three letters as a number.
pub const fn prefix(letters: &[u8; 3]) -> u32 {
    (letters[0] as u32) << 16 | (letters[1] as u32) << 8 | letters[2] as u32
}

pub type CitizenId = Id<{ prefix(b"cit") }>;
pub type GuildId = Id<{ prefix(b"gld") }>;
pub type TreasuryId = Id<{ prefix(b"try") }>;
pub type MovementId = Id<{ prefix(b"mov") }>;
pub type HoldId = Id<{ prefix(b"hld") }>;
pub type ProposalId = Id<{ prefix(b"prp") }>;
pub type SquadId = Id<{ prefix(b"sqd") }>;
pub type KeyId = Id<{ prefix(b"key") }>;
pub type GrantId = Id<{ prefix(b"grt") }>;
pub type EvidenceId = Id<{ prefix(b"evd") }>;
pub type ReputationId = Id<{ prefix(b"rep") }>;

impl<const PREFIX: u32> Id<PREFIX> {
    /// The milliseconds since 1970 in the first 48 bits.
    pub const fn millis(self) -> u128 {
        self.0 >> 80
    }

    fn letters() -> String {
        let [_, a, b, c] = PREFIX.to_be_bytes();
        [a, b, c].into_iter().map(char::from).collect()
    }
}

impl<const PREFIX: u32> FromText for Id<PREFIX> {
    const EXPECTED: &'static str = "an id of the right prefix and 26 upper-case characters of a ULID";

    fn from_text(text: &str) -> Option<Self> {
        let [a, b, c, b'_', tail @ ..] = text.as_bytes() else { return None };
        if prefix(&[*a, *b, *c]) != PREFIX {
            return None;
        }
        ulid(std::str::from_utf8(tail).ok()?).map(Self)
    }
}

impl<'de, const PREFIX: u32> Deserialize<'de> for Id<PREFIX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer)
    }
}

impl<const PREFIX: u32> fmt::Display for Id<PREFIX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", Self::letters(), ulid_text(self.0))
    }
}

impl<const PREFIX: u32> fmt::Debug for Id<PREFIX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A public name: `[a-z0-9][a-z0-9-]{1,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Box<str>);

impl FromText for Slug {
    const EXPECTED: &'static str = "a slug of 2 to 63 characters a-z, 0-9 and '-', not starting with '-'";

    fn from_text(text: &str) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = (2..=63).contains(&text.len())
            && text.as_bytes().first().is_some_and(plain)
            && text.bytes().all(|byte| plain(&byte) || byte == b'-');
        good.then(|| Self(text.into()))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Slug {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A currency code: `[A-Z][A-Z0-9]{2,11}`, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 12]);

impl FromText for Currency {
    const EXPECTED: &'static str = "a currency code such as USD";

    fn from_text(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let good = (3..=12).contains(&bytes.len())
            && bytes[0].is_ascii_uppercase()
            && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let mut code = [0; 12];
        code.get_mut(..bytes.len())?.copy_from_slice(bytes);
        good.then_some(Self(code))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// An amount in minor units and the decimals it was written with; its text has exactly one spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    pub minor: i128,
    pub scale: u8,
}

/// Every amount is smaller in size than this many minor units.
const LIMIT: i128 = 10_i128.pow(28);
const MAX_SCALE: usize = 18;

impl FromText for Amount {
    const EXPECTED: &'static str = "a canonical decimal amount of less than 10^28 minor units";

    fn from_text(text: &str) -> Option<Self> {
        let amount = decimal(text, MAX_SCALE)?;
        chain::canonical::is_canonical_amount(text, u32::from(amount.scale)).then_some(amount)
    }
}

fn decimal(text: &str, most_decimals: usize) -> Option<Amount> {
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if decimals > most_decimals || text.len() > 48 {
        return None;
    }
    let minor = text
        .bytes()
        .filter(|byte| byte.is_ascii_digit())
        .try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit - b'0')))?;
    let minor = if text.starts_with('-') { -minor } else { minor };
    (minor.abs() < LIMIT).then_some(Amount { minor, scale: u8::try_from(decimals).ok()? })
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let digits = format!("{:0width$}", self.minor.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.minor < 0 { "-" } else { "" };
        if scale == 0 { write!(formatter, "{sign}{whole}") } else { write!(formatter, "{sign}{whole}.{fraction}") }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A limit in a governance document: a plain decimal that need not be at its currency's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Amount);

impl FromText for Limit {
    const EXPECTED: &'static str = "a plain decimal such as 12.5";

    fn from_text(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) { None } else { decimal(text, 28).map(Self) }
    }
}

impl Limit {
    /// Whether `amount` is at most this limit.
    pub fn allows(self, amount: Amount) -> bool {
        let scale = self.0.scale.max(amount.scale);
        let at = |value: Amount| value.minor.checked_mul(10_i128.checked_pow(u32::from(scale - value.scale))?);
        match (at(amount), at(self.0)) {
            (Some(amount), Some(limit)) => amount <= limit,
            // An amount too large to scale is above any limit that is not.
            (amount, _) => amount.is_some(),
        }
    }
}

/// Microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl FromText for Time {
    const EXPECTED: &'static str = "a time in the form YYYY-MM-DDTHH:MM:SS.ffffffZ";

    fn from_text(text: &str) -> Option<Self> {
        if !chain::canonical::is_canonical_time(text) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let days = days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let seconds = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
        Some(Self(seconds * 1_000_000 + number(20, 26)?))
    }
}

impl Time {
    /// The same day and time of day so many years of the calendar later; after a 29 February perhaps a 1 March.
    pub fn years_later(self, years: i64) -> Self {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY));
        Self(days_from_civil(year + years, month, day) * DAY + self.0.rem_euclid(DAY))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY));
        let (seconds, micros) = (self.0.rem_euclid(DAY) / 1_000_000, self.0.rem_euclid(1_000_000));
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
    }
}

/// A day in microseconds.
const DAY: i64 = 86_400 * 1_000_000;

/// The Gregorian date of a day since 1970 (same source as below).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A 32-byte digest in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl FromText for Digest {
    const EXPECTED: &'static str = "64 lower-case hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        chain::hex::decode(text).map(Self)
    }
}

/// A member of a guild: a citizen or a squad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    Citizen(CitizenId),
    Squad(SquadId),
}

impl FromText for Member {
    const EXPECTED: &'static str = "a citizen id or a squad id";

    fn from_text(text: &str) -> Option<Self> {
        CitizenId::from_text(text).map(Self::Citizen).or_else(|| SquadId::from_text(text).map(Self::Squad))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Citizen(id) => fmt::Display::fmt(id, formatter),
            Self::Squad(id) => fmt::Display::fmt(id, formatter),
        }
    }
}

/// Where money can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    External,
    Treasury(TreasuryId),
}

impl FromText for Account {
    const EXPECTED: &'static str = "a treasury id or \"external\"";

    fn from_text(text: &str) -> Option<Self> {
        if text == "external" { Some(Self::External) } else { TreasuryId::from_text(text).map(Self::Treasury) }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => formatter.write_str("external"),
            Self::Treasury(id) => fmt::Display::fmt(id, formatter),
        }
    }
}

deserialize_text!(Slug, Currency, Amount, Limit, Time, Digest, Member, Account);

/// The name of a stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Stream {
    City,
    Log,
    Refusals,
    Citizen(CitizenId),
    Guild(GuildId),
    Treasury(TreasuryId),
    Key(KeyId),
    Inventory(Holder),
    Reputation(ReputationId),
    /// None that FORMAT.md knows.
    Unknown(Box<str>),
}

impl Stream {
    pub fn of(text: &str) -> Self {
        let known = match text {
            "city" => Some(Self::City),
            "log" => Some(Self::Log),
            "refusals" => Some(Self::Refusals),
            _ => match text.get(..4) {
                Some("try_") => Id::from_text(text).map(Self::Treasury),
                Some("gld_") => Id::from_text(text).map(Self::Guild),
                Some("cit_") => Id::from_text(text).map(Self::Citizen),
                Some("key_") => Id::from_text(text).map(Self::Key),
                Some("inv_") => Holder::from_text(&text[4..]).map(Self::Inventory),
                Some("rep_") => Id::from_text(text).map(Self::Reputation),
                _ => None,
            },
        };
        known.unwrap_or_else(|| Self::Unknown(text.into()))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::City => formatter.write_str("city"),
            Self::Log => formatter.write_str("log"),
            Self::Refusals => formatter.write_str("refusals"),
            Self::Citizen(id) => fmt::Display::fmt(id, formatter),
            Self::Guild(id) => fmt::Display::fmt(id, formatter),
            Self::Treasury(id) => fmt::Display::fmt(id, formatter),
            Self::Key(id) => fmt::Display::fmt(id, formatter),
            Self::Inventory(holder) => write!(formatter, "inv_{holder}"),
            Self::Reputation(id) => fmt::Display::fmt(id, formatter),
            Self::Unknown(name) => write!(formatter, "{name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let text = "cit_01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let id = CitizenId::from_text(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.millis(), 1_469_922_850_259);
        for bad in [
            "gld_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "cit_01arz3ndektsv4rrffq69g5fav",
            "cit_81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "cit_01ARZ3NDEKTSV4RRFFQ69G5FA",
            "cit_O1ARZ3NDEKTSV4RRFFQ69G5FAV",
            "cit-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            assert!(CitizenId::from_text(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn amounts_have_one_spelling_at_their_scale() {
        let amount = Amount::from_text("12.50").unwrap();
        assert_eq!((amount.minor, amount.scale), (1250, 2));
        for good in ["0", "0.00", "-0.05", "0.000000000000000001", "9999999999999999999999999999"] {
            assert_eq!(Amount::from_text(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "-",
            "01",
            "1.",
            ".5",
            "-0",
            "-0.00",
            "1e3",
            "+1",
            "10000000000000000000000000000",
            "0.0000000000000000001",
        ] {
            assert!(Amount::from_text(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_limit_compares_across_scales() {
        let limit = |text| Limit::from_text(text).unwrap();
        let amount = |text| Amount::from_text(text).unwrap();
        assert!(limit("12.5").allows(amount("12.50")));
        assert!(!limit("12.5").allows(amount("12.51")));
        assert!(limit("100").allows(amount("0.000000000000000001")));
        assert!(!limit("0").allows(amount("0.000000000000000001")));
    }

    #[test]
    fn times_count_microseconds() {
        assert_eq!(Time::from_text("1970-01-01T00:00:00.000001Z"), Some(Time(1)));
        assert_eq!(Time::from_text("2024-02-29T23:59:59.999999Z"), Some(Time(1_709_251_199_999_999)));
        assert_eq!(Time::from_text("2024-02-29T23:59:59Z"), None);
        for text in [
            "0001-01-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "2000-02-29T12:00:00.000001Z",
            "2026-11-28T02:56:54.808522Z",
            "9999-12-31T23:59:59.999999Z",
        ] {
            assert_eq!(Time::from_text(text).unwrap().to_string(), text);
        }
        let later = |text| Time::from_text(text).unwrap().years_later(7).to_string();
        assert_eq!(later("2026-11-28T02:56:54.808522Z"), "2033-11-28T02:56:54.808522Z");
        assert_eq!(later("2024-02-29T00:00:00.000000Z"), "2031-03-01T00:00:00.000000Z");
    }
}
