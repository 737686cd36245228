//! What is wrong with a file that people write: which line, and what is the matter with it. Never what stands there, which may be a secret
//! in the wrong place.

use domain::secrets::looks_like_secret;

/// Longest name of a field that is repeated.
const LONGEST: usize = 40;

/// What to say of a TOML text that cannot be read.
pub fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let what = unquoted(error.message().lines().next().unwrap_or_default());
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {what}", before.matches('\n').count() + 1),
        None => what,
    }
}

/// Whether a text is a name as variables of an environment have it. What is none may be what should have stood in the variable.
pub(crate) fn is_variable(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty() && text.bytes().all(plain)
}

/// A message without what it repeats of the file: values stand in quotes, names in backticks.
fn unquoted(message: &str) -> String {
    let (mut told, mut rest) = (String::with_capacity(message.len()), message);
    while let Some(at) = rest.find(['"', '`']) {
        let mark = rest.as_bytes()[at];
        told.push_str(&rest[..at]);
        let inside = &rest[at + 1..];
        let end = end_of(inside, mark).unwrap_or(inside.len());
        let repeated = &inside[..end];
        let is_name =
            mark == b'`' && is_variable(repeated) && repeated.len() <= LONGEST && !looks_like_secret(repeated);
        told.push_str(&if is_name { format!("`{repeated}`") } else { domain::secrets::HIDDEN.to_owned() });
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    told + rest
}

/// Where the mark stands that closes what it opened, and is not escaped.
fn end_of(inside: &str, mark: u8) -> Option<usize> {
    let mut escaped = false;
    inside.bytes().position(|byte| {
        let closes = byte == mark && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_of_a_value_is_repeated() {
        for (message, told) in [
            (
                "unknown field `credential`, expected `url` or `paths`",
                "unknown field `credential`, expected `url` or `paths`",
            ),
            (
                "invalid type: string \"hunter\\\"2\", expected a boolean",
                "invalid type: string (hidden), expected a boolean",
            ),
            ("invalid type: integer `4711`, expected a string", "invalid type: integer (hidden), expected a string"),
            ("unknown field `pit-0-1`, expected `x`", "unknown field (hidden), expected `x`"),
            ("expected a name, got \"half", "expected a name, got (hidden)"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(unquoted(message), told);
        }
    }

    #[test]
    fn a_line_has_a_number_and_is_not_shown() {
        let text = "a = 1\npassword = \"hunter2\nb = 2\n";
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        let told = toml_error(text, &error);
        assert!(told.starts_with("line 2: ") && !told.contains("hunter2"), "{told}");
    }
}
