//! Decimal numbers and base64 exactly as the C2SP formats write them: one spelling per value.

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// The largest tree size, and one more than the largest position: 2^53, so that every position is an exact integer
/// in every JSON reader.
pub const MAX_SIZE: u64 = 1 << 53;

/// Reads `0` or a decimal number without leading zeros, up to [`MAX_SIZE`].
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let value = parse_decimal(text)?;
    (value <= MAX_SIZE).then_some(value)
}

/// Reads `0` or a decimal number without sign or leading zeros that fits 64 bits.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

/// Standard base64 with padding (RFC 4648 section 4).
pub fn to_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Reads standard base64 and no other spelling: missing padding, stray bits and line breaks give `None`.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{MAX_SIZE, from_base64, parse_decimal, parse_size, to_base64};

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1e3", "18446744073709551616", "١"] {
            assert_eq!(parse_decimal(text), None, "{text:?}");
        }
        assert_eq!(parse_size("9007199254740992"), Some(MAX_SIZE));
        assert_eq!(parse_size("9007199254740993"), None);
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(from_base64(&to_base64(b"guild")).unwrap(), b"guild");
        for text in ["Z3VpbGQ", "Z3VpbGR=", "Z3Vp bGQ=", "Z3VpbGQ=\n", "Z3VpbG_="] {
            assert_eq!(from_base64(text), None, "{text:?}");
        }
    }
}
