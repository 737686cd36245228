//! What has the shape of a secret: a net for accidents, spread at every door through which texts come in. It proves no absence.
//!
//! It is asked when something is offered, never when the log is read: what a net catches changes, and what is on record stays readable.

mod shape;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use shape::{begins_as_key, is_plain, is_random, is_token};

/// What stands where a secret stood.
pub const HIDDEN: &str = "(hidden)";

/// Fields that are called like secrets in the documented shapes of sources, and hold none.
const HARMLESS_NAMES: [&str; 2] = ["sessionstrategy", "tokentype"];
const NAMES: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "authorization",
    "session",
    "cookie",
];
/// Parameters of a URL that carry its proof.
const PROOFS: [&str; 4] = ["key", "sig", "signature", "code"];
/// Addresses that are secrets themselves: whoever knows them may post there.
const HOOKS: [&str; 5] = [
    "hooks.slack.com/",
    "hooks.zapier.com/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "webhook.office.com/",
];

/// Random characters that are a secret anywhere, and in a URL, where ids of other services are shorter than keys.
const LEAST: usize = 30;
const LEAST_IN_URL: usize = 22;

/// Whether a text has the shape of a secret somewhere.
pub fn looks_like_secret(text: &str) -> bool {
    !parts(text).is_empty()
}

/// The text with what looks like a secret taken out.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    without(text, parts(text))
}

/// The text with these parts taken out.
pub fn without(text: &str, mut parts: Vec<Range<usize>>) -> Cow<'_, str> {
    if parts.is_empty() {
        return Cow::Borrowed(text);
    }
    parts.sort_by_key(|part| part.start);
    let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
    for part in parts {
        if part.start >= from {
            kept.push_str(&text[from..part.start]);
            kept.push_str(HIDDEN);
        }
        from = from.max(part.end);
    }
    kept.push_str(&text[from..]);
    Cow::Owned(kept)
}

/// Whether a field's name says that it holds a secret: as a whole or in part, in any case, however its parts are joined.
pub fn is_secret_name(name: &str) -> bool {
    let joined: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    let is_pass = || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.eq_ignore_ascii_case("pass"));
    !HARMLESS_NAMES.contains(&joined.as_str()) && (NAMES.iter().any(|secret| joined.contains(secret)) || is_pass())
}

/// Whether a value under a name that says so can be a secret. A flag cannot.
pub const fn may_be_secret(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(_))
}

/// Whether a document holds a secret, by its names or by its texts.
pub fn holds_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => looks_like_secret(text),
        Value::Array(list) => list.iter().any(holds_secret),
        Value::Object(fields) => {
            names_secret(value)
                || fields.iter().any(|(name, value)| {
                    looks_like_secret(name) || (is_secret_name(name) && may_be_secret(value)) || holds_secret(value)
                })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A pair that is written as an object of two: `{"name": "API_KEY", "value": "..."}`.
pub fn names_secret(pair: &Value) -> bool {
    let named = ["name", "key"].iter().find_map(|field| pair.get(*field)).and_then(Value::as_str);
    named.is_some_and(is_secret_name) && pair.get("value").is_some_and(may_be_secret)
}

/// Where the secrets of a text stand. Parts may overlap.
fn parts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if let Some(at) = text.find("-----BEGIN") {
        found.push(at..text.len());
    }
    for chunk in runs(text, 0..text.len(), |c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '`' | '<' | '>')) {
        in_chunk(text, chunk, &mut found);
    }
    assigned(text, &mut found);
    found
}

/// What stands between blanks and quotes: words, and perhaps a URL.
fn in_chunk(text: &str, chunk: Range<usize>, found: &mut Vec<Range<usize>>) {
    let lower = text[chunk.clone()].to_ascii_lowercase();
    for hook in HOOKS {
        found.extend(
            lower.find(hook).map(|at| chunk.start + at + hook.len()..chunk.end).filter(|rest| !rest.is_empty()),
        );
    }
    let url = text[chunk.clone()].find("//").map(|at| chunk.start + at + 2);
    let last = text[chunk.clone()].rfind('@').map(|at| chunk.start + at);
    let mut from = url;
    while let Some(start) = from {
        found.extend(userinfo(text, start..chunk.end, last));
        from = text[start..chunk.end].find("//").map(|at| start + at + 2);
    }
    for word in runs(text, chunk, is_inside) {
        let least = if url.is_some_and(|url| word.start >= url) { LEAST_IN_URL } else { LEAST };
        let shown = &text[word.clone()];
        let key = key_in(shown).map(|at| word.start + at..word.end);
        found.extend(key.or_else(|| (is_token(shown) || is_random(shown, least)).then_some(word)));
    }
}

/// Who calls, in front of a URL's host. A password may hold a slash that was meant to be written otherwise. `last`: where the last `@` is.
fn userinfo(text: &str, rest: Range<usize>, last: Option<usize>) -> Option<Range<usize>> {
    let inside = &text[rest.clone()];
    let end = inside.find(['/', '?', '#']).unwrap_or(inside.len());
    let at = inside[..end].rfind('@').or_else(|| {
        let port = inside[..end].rsplit_once(':')?.1;
        if port.bytes().all(|b| b.is_ascii_digit()) { None } else { last?.checked_sub(rest.start) }
    })?;
    Some(rest.start..rest.start + at).filter(|found| !found.is_empty())
}

/// Where a known kind of key begins in a word: at its start, or behind what is no letter and no digit.
fn key_in(word: &str) -> Option<usize> {
    let mut before = None;
    word.char_indices().find_map(|(at, c)| {
        let begins = before.replace(c).is_none_or(|c: char| !c.is_alphanumeric());
        (begins && begins_as_key(&word[at..])).then_some(at)
    })
}

/// `name = value` and `name: value`, where the name says that it is a secret; `Bearer value` and `Basic value`.
fn assigned(text: &str, found: &mut Vec<Range<usize>>) {
    let names: Vec<Range<usize>> =
        runs(text, 0..text.len(), |c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
    let mut end = 0;
    for pair in names.windows(2) {
        let [name, next] = pair else { continue };
        let (named, between) = (&text[name.clone()], &text[name.end..next.start]);
        // What ends the value before ends this one as well, unless it stood in front of it.
        if end < next.start {
            let closes = |c: char| {
                c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '&' | '#' | '<' | '>' | ')' | ']' | '}')
            };
            end = text[next.start..].find(closes).map_or(text.len(), |length| next.start + length);
        }
        let value = &text[next.start..end];
        let scheme = named.eq_ignore_ascii_case("bearer") || named.eq_ignore_ascii_case("basic");
        let is_value = match between.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')) {
            "=" if is_secret_name(named) => true,
            "=" if PROOFS.iter().any(|proof| named.eq_ignore_ascii_case(proof)) => value.len() >= 8 && !is_plain(value),
            ":" | "=>" | ":=" => is_secret_name(named) && !is_plain(value),
            "" => scheme && value.len() >= 16 && !is_plain(value),
            _ => false,
        };
        if is_value {
            found.push(next.start..end);
        }
    }
}

fn is_inside(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+')
}

/// The longest runs of characters of one kind.
fn runs(text: &str, within: Range<usize>, inside: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut from = within.start;
    std::iter::from_fn(move || {
        let start = from + text[from..within.end].find(&inside)?;
        let end = text[start..within.end].find(|c| !inside(c)).map_or(within.end, |length| start + length);
        from = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRETS: [(&str, &str); 36] = [
        ("pit-550e8400-e29b-41d4-a716-446655440000", "(hidden)"),
        ("token/pit-550e8400-e29b-41d4-a716-446655440000:", "token/(hidden):"),
        ("sk-loom-0123456789abcdef", "(hidden)"),
        ("call/sk-loom-c0ffeec0ffeec0ffee", "call/(hidden)"),
        ("[ghp_0123456789abcdefghij0123]", "[(hidden)]"),
        ("{glpat-0123456789abcdefghij}", "{(hidden)}"),
        ("use(xoxb-0123456789-abcdefghij)", "use((hidden))"),
        ("me@sk-loom-c0ffeec0ffee", "me@(hidden)"),
        ("a,SK-LOOM-C0FFEEC0FFEE", "a,(hidden)"),
        ("tool:ghp_0123456789abcdefghij", "tool:(hidden)"),
        ("`AKIAIOSFODNN7EXAMPLE`", "`(hidden)`"),
        ("x-ghp_0123456789abcdefghij", "x-(hidden)"),
        ("key=AKIAIOSFODNN7EXAMPLE", "key=(hidden)"),
        ("token: ghp_0123456789abcdefghij", "token: (hidden)"),
        ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer (hidden)"),
        ("postgres://admin:Sup3rS3cretPassw0rd@db.internal/prod", "postgres://(hidden)@db.internal/prod"),
        ("postgres://admin:pa/ss@db.internal/prod", "postgres://(hidden)@db.internal/prod"),
        ("see https://user@host/a", "see https://(hidden)@host/a"),
        ("https://hooks.slack.com/services/T00000000/B00000000/a8Zk", "https://hooks.slack.com/(hidden)"),
        ("https://bus/auth/sk-loom-beefbeefbeefbeef00", "https://bus/auth/(hidden)"),
        ("https://bus/T0/a8Zk3Qw9mN7pL2xR4vT6yB1c", "https://bus/T0/(hidden)"),
        ("https://bus/a?access_token=hunter2&b=1", "https://bus/a?access_token=(hidden)&b=1"),
        ("https://bus/a?sig=q9Zk3LmX&b=1", "https://bus/a?sig=(hidden)&b=1"),
        ("LEDGER_API_KEY=hunter2", "LEDGER_API_KEY=(hidden)"),
        ("{\"password\": \"hunter2\"}", "{\"password\": \"(hidden)\"}"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0x.c2lnbmF0dXJl", "(hidden)"),
        ("at/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0x.c2lnbmF0dXJl", "at/(hidden)"),
        ("run[Zk3LmXq9TbV7wRcY2NdHs8PfGj4AeUx6]", "run[(hidden)]"),
        ("x:b7Qe-Zk3LmXq9TbV7wR_cY2NdHs8PfGj4AeUx6", "x:(hidden)"),
        ("x/q9zk3lm7xt4bv8wr2cy6nd1hs5pf0gj3aeu", "x/(hidden)"),
        ("3f9c0ffee1234567890abcdef3f9c0ffee1234567890abcdef", "(hidden)"),
        ("gh_01J80000000000000000000001_3AHOVcjqx4BIPWdkry5CJQXelsz6DKRYfmt07ELSZgnIuxHzM", "(hidden)"),
        ("a -----BEGIN PRIVATE KEY-----\nMIIE", "a (hidden)"),
        ("sk-loom-abcdefghijklmnop", "(hidden)"),
        ("npm_0123456789abcdefghij", "(hidden)"),
        ("größe/sk-loom-c0ffeec0ffee", "größe/(hidden)"),
    ];

    const HONEST: [&str; 39] = [
        "pit-stop-checklist-for-drivers",
        "sk-short",
        "skill-review",
        "sk-translation-review",
        "task-sk-translation-review",
        "risk-assessment-of-guilds",
        "the bearer of news",
        "eyJ",
        "gh_pages",
        "gh_pages_deployment_workflow",
        "npm_install_dependencies",
        "hf_model_download_cache",
        "post_invoice",
        "AKIA",
        "AKIAKIRI",
        "createInvoiceForCustomer2024WithTaxNumberV2",
        "Create-Invoice-For-Customer-2024-Q3-Region",
        "EXPORT_ALL_CUSTOMERS_OF_2024_TO_LEDGER_V2",
        "cit_01J80000000000000000000001",
        "workflow_run_01HZXK3V6W8Q9R2T4Y6U8J0P1A",
        "01M8GR6EZVA5MDVZ4XZBPYZ7RA",
        "550e8400-e29b-41d4-a716-446655440000",
        "9f86d081884c7d65",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ve9EPM428h8vShlRW1KT",
        "507f1f77bcf86cd799439011",
        "https://app.example/location/ve9EPM428h8vShlRW1KT/workflow/550e8400-e29b-41d4-a716-446655440000",
        "https://github.com/org/repo/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709/internationalization",
        "https://host:8080/@scope/pkg?mail=a@b.c&page=2",
        "gld_01J80000000000000000000001/lathe",
        "secret:read",
        "token:refresh",
        "password_reset",
        "d1:tokens",
        "vault/secret/path",
        "left-pad@1.3.0",
        "größe der Halle",
    ];

    #[test]
    fn a_secret_is_seen_behind_anything_and_taken_out_alone() {
        for (text, kept) in SECRETS {
            assert!(looks_like_secret(text), "{text}");
            assert_eq!(without_secrets(text), kept, "{text}");
        }
    }

    #[test]
    fn names_slugs_and_ids_are_no_secrets() {
        for text in HONEST {
            assert_eq!(without_secrets(text), text);
        }
    }

    #[test]
    fn a_name_says_so_in_any_spelling() {
        for name in [
            "password",
            "PassWord",
            "db_passwd",
            "pwd",
            "DB_PASS",
            "client-secret",
            "raw_token",
            "refreshToken",
            "LEDGER_API_KEY",
            "apikey",
            "Api Key",
            "private.key",
            "credentials",
            "Authorization",
            "session_id",
            "Set-Cookie",
            "accessKeyId",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["name", "passport", "bypass_reason", "author", "token_type", "session_strategy", "key", "compass"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_document_is_looked_through_to_its_ground() {
        for secret in [
            json!({"a": [{"b": {"raw_token": "x"}}]}),
            json!({"env": [{"name": "LEDGER_API_KEY", "value": "hunter2"}]}),
            json!({"pin": {"password": 1234}}),
            json!(["at/sk-loom-c0ffeec0ffee"]),
            json!({"sk-loom-c0ffeec0ffee": 1}),
        ] {
            assert!(holds_secret(&secret), "{secret}");
        }
        assert!(!holds_secret(
            &json!({"needs_token": true, "secret": null, "name": "token", "n": 7, "env": [{"name": "A", "value": "b"}]})
        ));
    }
}
