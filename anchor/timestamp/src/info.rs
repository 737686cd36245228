//! The time stamp itself: `TSTInfo` (RFC 3161 section 2.4.2), the content that an authority signs.

use std::fmt;

use der::asn1::{AnyRef, IntRef, ObjectIdentifier};
use der::{DateTime, Decode as _, Encode as _, Sequence, Tag, Tagged as _};
use x509_cert::ext::Extensions;

use crate::Fault;
use crate::digest::Digest;
use crate::request::Imprint;

#[derive(Debug, Sequence)]
struct TstInfo<'a> {
    version: u8,
    policy: ObjectIdentifier,
    message_imprint: Imprint<'a>,
    serial_number: IntRef<'a>,
    /// With fractions of a second, which the type for this tag does not read.
    gen_time: AnyRef<'a>,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<IntRef<'a>>,
    /// `GeneralName`.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    tsa: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Debug, Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u64>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    micros: Option<u16>,
}

/// When an authority says that it stamped, rounded down to microseconds. Its text is a canonical time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GenTime {
    second: DateTime,
    micros: u32,
}

impl GenTime {
    /// Whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.second.unix_duration().as_secs()
    }

    /// Whole seconds between this and a canonical time; nothing if that is none, or before 1970.
    pub fn seconds_from(&self, at: &str) -> Option<u64> {
        let (second, _) = at.split_at_checked(19)?;
        let other: DateTime = format!("{second}Z").parse().ok()?;
        Some(self.unix_seconds().abs_diff(other.unix_duration().as_secs()))
    }

    /// `YYYYMMDDhhmmss`, a fraction that does not end in 0, `Z` (RFC 3161 section 2.4.2).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (digits, rest) = text.split_at_checked(14)?;
        let fraction = match rest.strip_suffix(b"Z")? {
            [] => &[],
            [b'.', fraction @ ..] if fraction.last().is_some_and(|last| *last != b'0') => fraction,
            _ => return None,
        };
        if !digits.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let part = |from: usize| (digits[from] - b'0') * 10 + (digits[from + 1] - b'0');
        let year = u16::from(part(0)) * 100 + u16::from(part(2));
        let second = DateTime::new(year, part(4), part(6), part(8), part(10), part(12)).ok()?;
        let micros = fraction.iter().chain(std::iter::repeat(&b'0')).take(6);
        let micros = micros.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        Some(Self { second, micros })
    }
}

impl fmt::Display for GenTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.second;
        write!(out, "{:04}-{:02}-{:02}T", at.year(), at.month(), at.day())?;
        write!(out, "{:02}:{:02}:{:02}.{:06}Z", at.hour(), at.minutes(), at.seconds(), self.micros)
    }
}

/// What is used of a time stamp.
pub(crate) struct Info {
    pub gen_time: GenTime,
    /// Absent also when it is negative or longer than any that we send.
    pub nonce: Option<u64>,
    /// The DER of the name that the authority gives itself.
    pub name: Option<Vec<u8>>,
}

/// Reads a time stamp over this SHA-256.
pub(crate) fn read(content: &[u8], imprint: &[u8; 32]) -> Result<Info, Fault> {
    let malformed = Fault::malformed("the time stamp");
    let info = TstInfo::from_der(content).map_err(&malformed)?;
    if info.version != 1 {
        return Err(Fault::Unsupported("the version of its time stamp"));
    }
    let hashed = &info.message_imprint;
    if Digest::named(&hashed.hash_algorithm) != Ok(Digest::Sha256) || hashed.hashed_message.as_bytes() != imprint {
        return Err(Fault::OtherImprint);
    }
    if info.extensions.iter().flatten().any(|extension| extension.critical) {
        return Err(Fault::Unsupported("a critical extension of its time stamp"));
    }
    let text = (info.gen_time.tag() == Tag::GeneralizedTime).then(|| info.gen_time.value());
    let gen_time = text.and_then(GenTime::parse);
    let why = "the time is none".to_owned();
    let gen_time = gen_time.ok_or(Fault::Malformed { what: "the time stamp", why })?;
    let name = info.tsa.map(|name| name.to_der()).transpose().map_err(&malformed)?;
    Ok(Info { gen_time, name, nonce: info.nonce.as_ref().and_then(|nonce| unsigned(nonce.as_bytes())) })
}

/// The value of an INTEGER that is not negative and below 2^64.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let digits = match bytes {
        [0, rest @ ..] => rest,
        [first, ..] if *first < 0x80 => bytes,
        _ => return None,
    };
    (digits.len() <= 8).then(|| digits.iter().fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
}
