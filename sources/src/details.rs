//! What else a source says: kept as one document, without what is a secret by its name, by its looks, or because the row itself says so.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use domain::secrets::{is_secret_name, looks_like_secret, may_be_secret, names_secret, without, without_secrets};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Longest document that is kept, in bytes of JSON; beyond that the longest fields go first.
const MOST: usize = 8_192;
/// Longest field that is looked at, in bytes of JSON as it comes.
const MOST_OF_FIELD: usize = 2 * MOST;
/// Most fields that are looked at: more do not fit.
const MOST_FIELDS: usize = 1_000;
/// Most secrets of one row that are looked for in the rest of it.
const MOST_SECRETS: usize = 500;
/// Longest text for people's eyes.
const MOST_SHOWN: usize = 2_000;
const TOO_LONG: &str = "(not kept: too long)";
const TOO_MANY: &str = "(not kept: too many)";
/// A field of manifests that names secrets, and has none.
const NAMES_ONLY: &str = "secrets";
/// Shorter values are met by chance.
const SHORTEST: usize = 8;

/// What a row gives away about its own secrets: what stands under their names, and what a hash is of.
#[derive(Default)]
pub(crate) struct Secrets {
    values: BTreeSet<String>,
    /// There are more than can be looked for: what has them in it cannot be kept.
    too_many: bool,
    hash: Option<String>,
}

impl Secrets {
    pub(crate) fn of(fields: &Map<String, Value>) -> Self {
        let mut secrets = Self::default();
        secrets.collect(fields);
        secrets
    }

    /// The hash itself is told nobody either.
    pub(crate) fn with_hash(fields: &Map<String, Value>, hash: &str) -> Self {
        let mut secrets = Self::of(fields);
        secrets.values.insert(hash.to_owned());
        secrets.hash = Some(hash.to_owned());
        secrets
    }

    fn collect(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            if name != NAMES_ONLY && is_secret_name(name) {
                self.take(value);
            }
        }
        for value in fields.values() {
            self.look_into(value);
        }
    }

    fn look_into(&mut self, value: &Value) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| self.look_into(value)),
            Value::Object(fields) => {
                if names_secret(value) {
                    fields.get("value").into_iter().for_each(|value| self.take(value));
                }
                self.collect(fields);
            }
            _ => {}
        }
    }

    fn take(&mut self, value: &Value) {
        match value {
            Value::String(_) if self.values.len() >= MOST_SECRETS => self.too_many = true,
            Value::String(text) if text.len() >= SHORTEST => drop(self.values.insert(text.clone())),
            Value::Array(list) => list.iter().for_each(|value| self.take(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.take(value)),
            _ => {}
        }
    }

    /// Why a text cannot stay in clear: it is one of the secrets of its own row.
    pub(crate) fn check(&self, name: &str, text: &str) -> Result<(), String> {
        let is_one = self.values.iter().any(|value| value == text) || !self.parts(text).is_empty();
        if is_one { Err(format!("{name} is a secret of the same row")) } else { Ok(()) }
    }

    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let known = self.values.iter().filter(|value| is_telling(value));
        let mut parts: Vec<_> = known
            .flat_map(|value| text.match_indices(value.as_str()).map(|(at, found)| at..at + found.len()))
            .collect();
        if let Some(hash) = &self.hash {
            // As it stands, between blanks and quotes, and between other marks.
            let inside: [fn(char) -> bool; 3] = [
                |_| true,
                |c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '`'),
                |c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'),
            ];
            parts.extend(inside.into_iter().flat_map(|inside| words(text, inside)).filter(|word| {
                word.len() >= SHORTEST && super::tokens::hex(&Sha256::digest(&text.as_bytes()[word.clone()])) == *hash
            }));
        }
        parts
    }
}

/// Whether a text is a secret wherever it stands: not a word that other words have in them.
fn is_telling(value: &str) -> bool {
    value.len() >= 2 * SHORTEST || !value.bytes().all(|b| b.is_ascii_alphabetic())
}

fn words(text: &str, inside: fn(char) -> bool) -> Vec<Range<usize>> {
    let mut at = 0;
    let pieces = text.split(|c| !inside(c)).map(|word| {
        let start = at + text[at..].find(word).unwrap_or_default();
        at = start + word.len();
        start..at
    });
    pieces.filter(|word| !word.is_empty()).collect()
}

/// The document of these fields; none when there are none. `hashed`: what is kept of secrets, by the names of their fields.
pub(crate) fn document(
    fields: Map<String, Value>,
    secrets: &Secrets,
    hashed: impl IntoIterator<Item = (&'static str, String)>,
) -> Option<String> {
    let mut kept = Kept::of(fields, secrets);
    for (name, hash) in hashed {
        kept.put(name, &Value::String(hash));
    }
    kept.document()
}

/// Fields without secrets, as JSON: every one is written once, however often documents are made of them.
#[derive(Clone, Default)]
pub(crate) struct Kept(BTreeMap<String, String>);

impl Kept {
    pub(crate) fn of(fields: Map<String, Value>, secrets: &Secrets) -> Self {
        let mut kept = Self::default();
        if fields.len() > MOST_FIELDS || secrets.too_many {
            kept.put("fields", &Value::from(TOO_MANY));
            return kept;
        }
        for (name, mut value) in fields {
            if is_longer(&value, MOST_OF_FIELD) {
                value = Value::from(TOO_LONG);
            }
            if name.len() <= MOST && !is_secret(&name, &value, secrets) && !value.is_null() {
                clean(&mut value, secrets);
                kept.put(&name, &value);
            }
        }
        kept
    }

    pub(crate) fn put(&mut self, name: &str, value: &Value) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// With these beside and instead.
    pub(crate) fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The longest ones give way until the rest fits. What does not fit even then is not kept at all.
    pub(crate) fn trimmed(mut self) -> Self {
        let length = |(name, value): (&String, &String)| Value::from(name.as_str()).to_string().len() + value.len() + 2;
        let mut total: usize = 1 + self.0.iter().map(length).sum::<usize>();
        if total <= MOST {
            return self;
        }
        let too_long = Value::from(TOO_LONG).to_string();
        let mut lengths: Vec<(usize, String)> =
            self.0.iter().map(|(name, value)| (value.len(), name.clone())).collect();
        lengths.sort_unstable();
        while total > MOST {
            match lengths.pop() {
                Some((length, name)) if length > too_long.len() => {
                    total -= length - too_long.len();
                    self.0.insert(name, too_long.clone());
                }
                _ => return Self::default(),
            }
        }
        self
    }

    pub(crate) fn document(self) -> Option<String> {
        let Self(fields) = self.trimmed();
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
        (!fields.is_empty()).then(|| format!("{{{}}}", fields.join(",")))
    }
}

/// Whether a value is longer than this as JSON: it is written no further than that.
fn is_longer(value: &Value, most: usize) -> bool {
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(most), value).is_err()
}

fn clean(value: &mut Value, secrets: &Secrets) {
    if names_secret(value)
        && let Value::Object(pair) = value
    {
        pair.remove("value");
    }
    match value {
        Value::String(text) => {
            text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
            let known = without(text, secrets.parts(text)).into_owned();
            *text = without_secrets(&known).into_owned();
        }
        Value::Array(list) => list.iter_mut().for_each(|value| clean(value, secrets)),
        Value::Object(fields) => clean_fields(fields, secrets),
        _ => {}
    }
}

fn clean_fields(fields: &mut Map<String, Value>, secrets: &Secrets) {
    fields.retain(|name, value| !is_secret(name, value, secrets) && !value.is_null());
    fields.values_mut().for_each(|value| clean(value, secrets));
}

fn is_secret(name: &str, value: &Value, secrets: &Secrets) -> bool {
    looks_like_secret(name) || !secrets.parts(name).is_empty() || (is_secret_name(name) && may_be_secret(value))
}

fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// A text for people's eyes: what is wrong with a row may repeat a part of it, and a part of it may be a secret.
pub fn shown(text: &str) -> String {
    // Names of files and rows are foreign: none of them begins a line of its own, or speaks to a terminal.
    let text = &*printable(text);
    if text.len() <= MOST_SHOWN {
        return without_secrets(text).into_owned();
    }
    let mut end = MOST_SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // Half a word is not known for what it is.
    let end = text[..end].rfind(char::is_whitespace).unwrap_or(0);
    format!("{}...", without_secrets(&text[..end]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_read_speaks_to_no_terminal_and_begins_no_line() {
        assert_eq!(shown("x\n+ added \u{1b}[31m\u{9b}1m"), r"x\n+ added \u{1b}[31m\u{9b}1m");
    }

    fn kept(fields: Value) -> Option<String> {
        let Value::Object(fields) = fields else { unreachable!() };
        let secrets = Secrets::of(&fields);
        document(fields, &secrets, [])
    }

    #[test]
    fn what_is_named_like_a_secret_stays_out_and_is_taken_out_of_the_rest() {
        let odd = "hunter2-of-the-north";
        let document = kept(json!({
            "raw_token": odd, "label": format!("use {odd}!"), "LEDGER_API_KEY": 4711, "deep": [{"Pass-Word": "x", "kept": odd}],
            "env": [{"name": "DB_PASS", "value": "another-word"}, {"name": "PORT", "value": "80"}], "is_secret": true, "secrets": ["A_KEY"],
            "cookie": "required", "title": "required-docs", (odd): 1, "url": "https://me:pw@host/x", "session_strategy": "sticky",
        }));
        let expected = json!({
            "label": "use (hidden)!", "deep": [{"kept": "(hidden)"}], "env": [{"name": "DB_PASS"}, {"name": "PORT", "value": "80"}],
            "is_secret": true, "title": "required-docs", "url": "https://(hidden)@host/x", "session_strategy": "sticky",
        });
        assert_eq!(serde_json::from_str::<Value>(&document.unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_a_hash_is_of_is_known_without_its_name() {
        let raw = "correct-horse";
        let hash = super::super::tokens::hex(&Sha256::digest(raw));
        let Value::Object(fields) = json!({"label": format!("the one, {raw}, of {hash}")}) else { unreachable!() };
        let secrets = Secrets::with_hash(&fields, &hash);
        assert!(
            secrets.check("id", raw).is_err()
                && secrets.check("id", &hash).is_err()
                && secrets.check("id", "t1").is_ok()
        );
        assert_eq!(document(fields, &secrets, []).unwrap(), r#"{"label":"the one, (hidden), of (hidden)"}"#);
    }

    #[test]
    fn what_looks_like_a_secret_stays_out_however_deep() {
        let secret = "ghp_0123456789abcdefghij";
        let fields = json!({"label": "x", "note": format!("use {secret}"), "deep": [{"a": secret, (secret): 1}], "none": null, (secret): 2});
        let document = kept(fields).unwrap();
        assert!(!document.contains(secret) && document.contains("\"label\":\"x\"") && !document.contains("none"));
    }

    #[test]
    fn what_people_see_has_no_secret_in_it() {
        for (text, seen) in [
            ("/a/sk-loom-0123456789abcdef/SKILL.md:1", "/a/(hidden)/SKILL.md:1"),
            ("none of workspace:ghp_0123456789abcdefghij, größe", "none of workspace:(hidden), größe"),
            ("found `AKIAIOSFODNN7EXAMPLE` at line 3", "found `(hidden)` at line 3"),
            ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer (hidden)"),
            ("a plain line, with 1.4.0", "a plain line, with 1.4.0"),
            ("", ""),
        ] {
            assert_eq!(shown(text), seen);
        }
    }

    #[test]
    fn what_people_see_has_an_end() {
        let text = format!("a row of {}", "x".repeat(3_000));
        assert_eq!(shown(&text), "a row of...");
    }

    /// A row may be a MiB: looking at each field again for each that gives way would take minutes.
    #[test]
    fn a_row_of_many_fields_is_looked_at_once() {
        let started = std::time::Instant::now();
        let long = "y".repeat(900);
        let fields: Map<String, Value> = (0..1_000).map(|n| (format!("f{n}"), json!(long))).collect();
        assert!(kept(Value::Object(fields)).is_none(), "not even their names fit");
        let fields: Map<String, Value> = (0..100).map(|n| (format!("f{n}"), json!(long))).collect();
        let document = kept(Value::Object(fields)).unwrap();
        assert!(document.len() <= MOST && document.contains(&long) && document.contains(TOO_LONG), "{document}");
        let many: Map<String, Value> = (0..100_000).map(|n| (format!("f{n}"), json!("short"))).collect();
        assert_eq!(kept(Value::Object(many)).unwrap(), format!(r#"{{"fields":"{TOO_MANY}"}}"#));
        let marks = json!({"a": "x//b:c".repeat(200_000), "b": "a/".repeat(500_000), "c": "token:a/".repeat(2_000)});
        assert!(kept(marks).is_some());
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    }

    #[test]
    fn a_document_has_an_end() {
        let fields = json!({"label": "x", "schema": "y".repeat(100_000)});
        let document = kept(fields).unwrap();
        assert!(document.len() < MOST && document.contains("\"label\":\"x\""));
        assert_eq!(kept(json!({})), None);
    }
}
