//! Canonical JSON: our subset of RFC 8785 (JCS), written one way and checked in one pass over the bytes.
//!
//! The subset: objects, arrays, strings, `true`, `false`, `null` and integers of at most 2^53-1 in magnitude; no
//! fractions, no exponents; keys are printable ASCII without quote and backslash, strictly ascending (so also
//! unique); nesting of at most 16; valid UTF-8; nothing before, between or after. Because keys are ASCII and never
//! escaped, comparing their bytes is the same as comparing the UTF-16 units that RFC 8785 speaks of.

use std::ops::Range;

use serde_json::Value;

use crate::hex;

/// The deepest nesting of objects and arrays; the outermost one is 1.
pub const MAX_DEPTH: usize = 16;

/// The largest magnitude of an integer: 2^53-1, exact in every JSON reader.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Where a text leaves the canonical form, and which rule it breaks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {rule}")]
pub struct CanonicalError {
    /// Byte offset into the text that was checked, or into the text written so far.
    pub offset: usize,
    /// The rule that is broken there.
    pub rule: Rule,
}

/// The rules of the canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    #[error("the text is not valid UTF-8")]
    Utf8,
    #[error("the text ends too early")]
    Truncated,
    #[error("something follows the value")]
    Trailing,
    #[error("white space is not allowed between tokens")]
    Whitespace,
    #[error("this is not JSON")]
    Syntax,
    #[error("objects and arrays nest at most 16 deep")]
    Depth,
    #[error("a key is printable ASCII without quote and backslash")]
    Key,
    #[error("keys are in ascending order of their bytes")]
    KeyOrder,
    #[error("a key occurs once")]
    DuplicateKey,
    #[error("a control character in a string is escaped")]
    ControlCharacter,
    #[error("this escape is not the one that RFC 8785 writes")]
    Escape,
    #[error("a number has no fraction and no exponent")]
    Fraction,
    #[error("an integer has no leading zero")]
    LeadingZero,
    #[error("zero has no sign")]
    NegativeZero,
    #[error("an integer is at most 2^53-1 in magnitude")]
    IntegerRange,
    #[error("the time is not a real YYYY-MM-DDTHH:MM:SS.ffffffZ")]
    Time,
    #[error("this field of an entry is empty or not of its kind")]
    EntryField,
    #[error("a sealed field is not ciphertext, commitment and subject")]
    Sealed,
    #[error("an entry is at most 1 MiB")]
    EntryLength,
}

/// Writes `value` in canonical form, whatever order its maps iterate in.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write_value(value, 1, &mut out)?;
    Ok(out)
}

/// Accepts exactly the canonical form; the error names the byte and the rule.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    checked(bytes).map(|_| ())
}

/// Like [`check`], and hands back the text, so that nobody validates the UTF-8 twice.
pub fn checked(bytes: &[u8]) -> Result<&str, CanonicalError> {
    members(bytes, |_, _| ())
}

/// Like [`checked`], and shows every member of the outermost object: its key, and its value as it stands there.
pub(crate) fn members<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a str, &'a str)) -> Result<&'a str, CanonicalError> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| CanonicalError { offset: error.valid_up_to(), rule: Rule::Utf8 })?;
    let mut scanner = Scanner { text: bytes, at: 0 };
    match scanner.peek() {
        // Keys and values begin and end at ASCII characters.
        Some(b'{') => scanner.members(1, |key, value| each(&text[key], &text[value]))?,
        _ => scanner.value(1)?,
    }
    match scanner.peek() {
        None => Ok(text),
        Some(_) => scanner.fail(Rule::Trailing),
    }
}

/// Whether `text` is an amount with exactly `scale` decimals: an optional minus, no plus, no exponent, no leading
/// zeros, no sign on zero, and no point when `scale` is 0.
pub fn is_canonical_amount(text: &str, scale: u32) -> bool {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, decimals) = match magnitude.split_once('.') {
        Some((_, "")) => return false,
        Some((whole, decimals)) => (whole, decimals),
        None => (magnitude, ""),
    };
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let zero = whole == "0" && decimals.bytes().all(|byte| byte == b'0');
    digits_only(whole)
        && digits_only(decimals)
        && !whole.is_empty()
        && (whole == "0" || !whole.starts_with('0'))
        && u32::try_from(decimals.len()) == Ok(scale)
        && !(negative && zero)
}

/// Whether `text` is exactly `YYYY-MM-DDTHH:MM:SS.ffffffZ` and names a real moment: years 0001 to 9999 of the
/// Gregorian calendar, hours 00 to 23, no leap second.
pub fn is_canonical_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let template = b"0000-00-00T00:00:00.000000Z";
    let shaped = bytes.len() == template.len()
        && bytes.iter().zip(template).all(|(byte, expected)| match expected {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    if !shaped {
        return false;
    }
    let number =
        |from: usize, to: usize| bytes[from..to].iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    year >= 1
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && number(11, 13) < 24
        && number(14, 16) < 60
        && number(17, 19) < 60
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Appends `value`, which stands at nesting `depth` if it is an object or an array.
pub(crate) fn write_value(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => return write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            open(b'[', depth, out)?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, depth + 1, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            open(b'{', depth, out)?;
            // The map may or may not be sorted, depending on a serde_json feature that any crate of a build can
            // switch on; the bytes must not depend on that.
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_unstable_by(|left, right| left.0.cmp(right.0));
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_key(key, out)?;
                write_value(member, depth + 1, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Appends a quoted key and its colon.
pub(crate) fn write_key(key: &str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if !key.bytes().all(is_key_byte) {
        return Err(CanonicalError { offset: out.len(), rule: Rule::Key });
    }
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    Ok(())
}

/// Appends a quoted string with the escapes of RFC 8785 section 3.2.2.2.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(run) = rest.iter().position(|byte| STOPS[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..run]);
        match rest[run] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(hex::encode(&[control]).as_bytes());
            }
        }
        rest = &rest[run + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends an integer that is not negative.
pub(crate) fn write_integer(value: u64, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if value > MAX_INTEGER {
        return Err(CanonicalError { offset: out.len(), rule: Rule::IntegerRange });
    }
    out.extend_from_slice(value.to_string().as_bytes());
    Ok(())
}

fn write_number(number: &serde_json::Number, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if let Some(value) = number.as_u64() {
        return write_integer(value, out);
    }
    let Some(value) = number.as_i64() else {
        return Err(CanonicalError { offset: out.len(), rule: Rule::Fraction });
    };
    // Not representable as u64, so it is below zero and there is no minus zero here.
    let start = out.len();
    out.push(b'-');
    write_integer(value.unsigned_abs(), out).map_err(|error| CanonicalError { offset: start, rule: error.rule })
}

fn open(bracket: u8, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if depth > MAX_DEPTH {
        return Err(CanonicalError { offset: out.len(), rule: Rule::Depth });
    }
    out.push(bracket);
    Ok(())
}

fn is_key_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Bytes at which a run of ordinary string bytes stops.
static STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        stops[control] = true;
        control += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// Where a run of ordinary string bytes stops: eight of them are looked at together.
fn stop(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES << 7;
    let zero = |eight: u64| eight.wrapping_sub(ONES) & !eight & TOPS;
    let (eights, rest) = text.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let control = eight.wrapping_sub(ONES * 0x20) & !eight & TOPS;
        let found = control | zero(eight ^ (ONES * u64::from(b'"'))) | zero(eight ^ (ONES * u64::from(b'\\')));
        // The lowest that is marked is one; borrows mark only what is above it.
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| STOPS[usize::from(*byte)]).map(|place| eights.len() * 8 + place)
}

/// A cursor over text that is known to be valid UTF-8.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// One value; `depth` is the nesting it has if it is an object or an array.
    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.unexpected(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.members(depth, |_, _| ())
    }

    /// An object; `each` is shown where every key and its value stand.
    fn members(
        &mut self,
        depth: usize,
        mut each: impl FnMut(Range<usize>, Range<usize>),
    ) -> Result<(), CanonicalError> {
        if self.enter(depth, b'}')? {
            return Ok(());
        }
        let mut previous: Option<&'a [u8]> = None;
        loop {
            let start = self.at;
            let key = self.key()?;
            let place = start + 1..self.at - 1;
            if let Some(previous) = previous
                && previous >= key
            {
                let rule = if previous == key { Rule::DuplicateKey } else { Rule::KeyOrder };
                return Err(CanonicalError { offset: start, rule });
            }
            previous = Some(key);
            self.expect(b':')?;
            let value = self.at;
            self.value(depth + 1)?;
            each(place, value..self.at);
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if self.enter(depth, b']')? {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if !self.take(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Steps over an opening bracket; true if the closing one follows at once.
    fn enter(&mut self, depth: usize, close: u8) -> Result<bool, CanonicalError> {
        if depth > MAX_DEPTH {
            return self.fail(Rule::Depth);
        }
        self.at += 1;
        Ok(self.take(close))
    }

    fn key(&mut self) -> Result<&'a [u8], CanonicalError> {
        self.expect(b'"')?;
        let text = self.text;
        let rest = &text[self.at..];
        let Some(length) = rest.iter().position(|byte| !is_key_byte(*byte)) else {
            self.at = text.len();
            return self.fail(Rule::Truncated);
        };
        self.at += length;
        if rest[length] != b'"' {
            return self.fail(Rule::Key);
        }
        self.at += 1;
        Ok(&rest[..length])
    }

    fn string(&mut self) -> Result<(), CanonicalError> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(run) = stop(rest) else {
                self.at = self.text.len();
                return self.fail(Rule::Truncated);
            };
            self.at += run;
            match rest[run] {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                _ => return self.fail(Rule::ControlCharacter),
            }
        }
    }

    /// The two-letter escapes where they exist, `\u00xx` in lower case for the other control characters, and nothing
    /// else: no `\/`, no escaped letters, no surrogates.
    fn escape(&mut self) -> Result<(), CanonicalError> {
        match self.text.get(self.at + 1) {
            None => self.fail(Rule::Truncated),
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some([b'0', b'0', high @ (b'0' | b'1'), low]) = self.text.get(self.at + 2..self.at + 6) else {
                    return self.fail(Rule::Escape);
                };
                let low = hex::digit(*low);
                let short = *high == b'0' && matches!(low, Some(0x8 | 0x9 | 0xa | 0xc | 0xd));
                if low.is_none() || short {
                    return self.fail(Rule::Escape);
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => self.fail(Rule::Escape),
        }
    }

    fn integer(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        let negative = self.take(b'-');
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let digits = &rest[..length];
        self.at += length;
        if digits.is_empty() {
            return self.unexpected();
        }
        let broken = if matches!(rest.get(length), Some(b'.' | b'e' | b'E')) {
            Some(Rule::Fraction)
        } else if digits[0] == b'0' && length > 1 {
            Some(Rule::LeadingZero)
        } else if digits[0] == b'0' && negative {
            Some(Rule::NegativeZero)
        } else if length > 16 || decimal(digits) > MAX_INTEGER {
            Some(Rule::IntegerRange)
        } else {
            None
        };
        match broken {
            Some(rule) => Err(CanonicalError { offset: start, rule }),
            None => Ok(()),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), CanonicalError> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail(Rule::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.take(byte) { Ok(()) } else { self.unexpected() }
    }

    fn unexpected<T>(&self) -> Result<T, CanonicalError> {
        match self.peek() {
            None => self.fail(Rule::Truncated),
            Some(b' ' | b'\t' | b'\n' | b'\r') => self.fail(Rule::Whitespace),
            Some(_) => self.fail(Rule::Syntax),
        }
    }

    fn fail<T>(&self, rule: Rule) -> Result<T, CanonicalError> {
        Err(CanonicalError { offset: self.at, rule })
    }
}

/// The value of at most 16 digits, which cannot overflow.
fn decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests;
