//! Lower-case hexadecimal, the only hexadecimal any of our formats uses.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes two lower-case digits per byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes; upper case, a wrong length or any other character gives `None`, so that a value has one
/// spelling only.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let (mut bytes, mut seen) = ([0u8; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (seen < 16).then_some(bytes)
}

/// The value of each character, and 255 of one that is no digit: nothing is decided until all are read.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The value of one lower-case digit.
pub(crate) fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn bytes_come_back() {
        assert_eq!(encode(&[0, 0x1f, 0xa0, 0xff]), "001fa0ff");
        assert_eq!(decode("001fa0ff"), Some([0, 0x1f, 0xa0, 0xff]));
    }

    #[test]
    fn a_second_spelling_is_refused() {
        for text in ["001FA0FF", "001fa0f", "001fa0ff0", "001fa0fg", "+01fa0ff", ""] {
            assert_eq!(decode::<4>(text), None, "{text}");
        }
    }
}
