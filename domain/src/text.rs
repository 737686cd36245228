//! Text that somebody typed: never in an event in clear, only as a commitment to a sealed payload.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use unicode_normalization::is_nfc;

use crate::ids::{Malformed, text_serde};

/// The longest text a caller may send, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 16_384;

/// A 32-byte digest, printed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("64 lower-case hex digits", text);
        if text.len() != 64 {
            return Err(malformed());
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (value(pair[0]), value(pair[1])) else { return Err(malformed()) };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

text_serde!(Digest);

/// What an entry says of a sealed text: which ciphertext, which commitment, under whose key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// SHA-256 of the ciphertext kept in the vault.
    pub ciphertext: Digest,
    /// SHA-256 over a tag, a salt inside the ciphertext, and the plaintext.
    pub commitment: Digest,
    /// Whose key opens it.
    pub subject: String,
}

/// A text on its way into the city: plain from the caller, sealed before any rule sees it.
#[derive(Clone, PartialEq, Eq)]
pub enum Text {
    Plain(String),
    Sealed(Sealed),
}

impl Text {
    /// The sealed form. A plain text here is a bug of the pipeline, never of the caller.
    pub fn sealed(&self) -> Sealed {
        match self {
            Self::Sealed(sealed) => sealed.clone(),
            Self::Plain(_) => unreachable!("texts are sealed before a command is decided"),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(..)"),
            Self::Sealed(sealed) => sealed.fmt(f),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sealed(sealed) => sealed.serialize(serializer),
            Self::Plain(_) => Err(ser::Error::custom("a plain text may not be written down")),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// What a reader cannot see and a log keeps for ever. Lines and tabs are text; the isolating marks of mixed scripts are, too.
pub(crate) fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || ('\u{202a}'..='\u{202e}').contains(&c)
}

/// What takes no place on a page by itself: blanks, joiners, fillers, marks of direction, tags.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}'
        )
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether every mark that isolates a direction of writing is closed again, so that none reaches into what follows the text.
fn is_balanced(text: &str) -> bool {
    let open = text.chars().try_fold(0_u32, |open, c| match c {
        '\u{2066}'..='\u{2068}' => open.checked_add(1),
        '\u{2069}' => open.checked_sub(1),
        _ => Some(open),
    });
    open == Some(0)
}

/// A string from a caller, an object from the log.
struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        if text.chars().all(is_blank) {
            Err(E::custom("a text may not be empty"))
        } else if text.chars().any(is_invisible) || !is_balanced(text) {
            Err(E::custom("a text may not hold control characters, or marks that turn the direction of writing"))
        } else if text.len() > MAX_TEXT_BYTES {
            Err(E::custom(format!("a text may have at most {MAX_TEXT_BYTES} bytes")))
        } else {
            Ok(Text::Plain(text.to_owned()))
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        Sealed::deserialize(de::value::MapAccessDeserializer::new(map)).map(Text::Sealed)
    }
}

/// A reference into somebody else's books: sealed, with a keyed digest by which the city finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub text: Text,
    /// Keyed digest of the plaintext; all zero until sealed.
    pub lookup: Digest,
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.text, self.lookup).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

/// A string from a caller, a list of the sealed text and its lookup from the log.
struct ReferenceVisitor;

impl<'de> de::Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Reference, E> {
        if text.trim() != text || text.chars().any(|c| is_blank(c) && c != ' ') {
            return Err(E::custom("a reference may not begin or end with a space, nor hold blanks that nobody sees"));
        }
        if !is_nfc(text) {
            return Err(E::custom("a reference is written in composed characters (Unicode NFC)"));
        }
        TextVisitor.visit_str(text).map(|text| Reference { text, lookup: Digest([0; 32]) })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Reference, A::Error> {
        match (list.next_element()?, list.next_element()?) {
            (Some(text), Some(lookup)) => Ok(Reference { text, lookup }),
            _ => Err(de::Error::custom("expected a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reference_has_one_spelling() {
        let read = |text: &str| serde_json::from_value::<Reference>(serde_json::Value::from(text));
        for good in ["job-1", "Order 7, line 2", "j\u{f6}b", "\u{4ed5}\u{4e8b}"] {
            assert!(read(good).is_ok(), "{good:?}");
        }
        for bad in ["job-1 ", " job-1", "job\u{a0}1", "job\u{200b}-1", "job-1\u{fe0f}", "a\tb"] {
            assert!(read(bad).unwrap_err().to_string().contains("blanks that nobody sees"), "{bad:?}");
        }
        assert!(read("jo\u{308}b").unwrap_err().to_string().contains("NFC"));
    }
}
