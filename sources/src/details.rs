//! What else a source says: kept as one document, without what looks like a secret.

use domain::grant::kind::looks_like_secret;
use serde_json::{Map, Value};

/// Longest document that is kept, in bytes of JSON; beyond that the longest fields go first.
const MOST: usize = 8_192;
const WITHHELD: &str = "(not kept: it looks like a secret)";
const HIDDEN: &str = "(hidden)";
const TOO_LONG: &str = "(not kept: too long)";

/// The document of these fields; none when there are none.
pub(crate) fn document(mut fields: Map<String, Value>) -> Option<String> {
    fields.retain(|_, value| !value.is_null());
    clean_fields(&mut fields);
    while text(&fields).len() > MOST {
        let longest = fields.iter().max_by_key(|(_, value)| value.to_string().len()).map(|(name, _)| name.clone())?;
        if fields.get(&longest).is_some_and(|value| value == TOO_LONG) {
            return None;
        }
        fields.insert(longest, Value::String(TOO_LONG.to_owned()));
    }
    (!fields.is_empty()).then(|| text(&fields))
}

fn text(fields: &Map<String, Value>) -> String {
    serde_json::to_string(fields).unwrap_or_default()
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            if looks_like_secret(text) {
                *text = WITHHELD.to_owned();
            } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                text.retain(|c| !c.is_control());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(clean),
        Value::Object(object) => clean_fields(object),
        _ => {}
    }
}

fn clean_fields(fields: &mut Map<String, Value>) {
    fields.retain(|name, _| !looks_like_secret(name));
    fields.values_mut().for_each(clean);
}

/// A text for people's eyes: what is wrong with a row may repeat a part of it, and a part of it may be a secret.
pub fn shown(text: &str) -> String {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_inside(first);
        let end = rest.find(|c| is_inside(c) != inside).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        shown.push_str(if inside && looks_like_secret(word) { HIDDEN } else { word });
        rest = after;
    }
    // What only shows as a whole.
    if looks_like_secret(&shown) { HIDDEN.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_stays_out_however_deep() {
        let secret = "ghp_0123456789abcdefghij";
        let fields = json!({"label": "x", "note": format!("use {secret}"), "deep": [{"a": secret, (secret): 1}], "none": null, (secret): 2});
        let document = document(fields.as_object().unwrap().clone()).unwrap();
        assert!(!document.contains(secret) && document.contains("\"label\":\"x\"") && !document.contains("none"));
    }

    #[test]
    fn what_people_see_has_no_secret_in_it() {
        for (text, seen) in [
            ("/a/sk-loom-0123456789abcdef/SKILL.md:1", "/a/(hidden)/SKILL.md:1"),
            ("none of workspace:ghp_0123456789abcdefghij, größe", "none of workspace:(hidden), größe"),
            ("found `AKIAIOSFODNN7EXAMPLE` at line 3", "found `(hidden)` at line 3"),
            ("Authorization: Bearer abcdefghijklmnop1234", "(hidden)"),
            ("a plain line, with 1.4.0", "a plain line, with 1.4.0"),
            ("", ""),
        ] {
            assert_eq!(shown(text), seen);
        }
    }

    #[test]
    fn a_document_has_an_end() {
        let fields = json!({"label": "x", "schema": "y".repeat(100_000)});
        let document = document(fields.as_object().unwrap().clone()).unwrap();
        assert!(document.len() < MOST && document.contains("\"label\":\"x\""));
        assert_eq!(super::document(Map::new()), None);
    }
}
