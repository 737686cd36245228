//! An entry read only for its event: what folding long streams needs, several times as fast as the whole.

use serde::Deserialize;

/// What happened and when; who did it, how and with what texts stays unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gist<'a> {
    pub kind: &'a str,
    pub at: &'a str,
    /// Begins with the event's data and goes on with the rest of the entry.
    data: &'a str,
}

impl<'a> Gist<'a> {
    /// Reads what a log's own writer made: that it is canonical was seen to when it was written, and is not seen here. `None` where
    /// the entry belongs to another place, or does not look like nearly all others: reading the whole of it says what is wrong, if
    /// anything is.
    ///
    /// Keys have a fixed order, and a quote within a string is escaped: what comes before the data is found from the front, and what
    /// comes after it from the back, whatever lies in between.
    pub fn of_ours(stream: &str, version: u64, text: &'a str) -> Option<Self> {
        let (rest, _via) = text.strip_suffix("\"}")?.rsplit_once('"')?;
        let (rest, number) = rest.strip_suffix(",\"via\":")?.rsplit_once(':')?;
        if number.parse() != Ok(version) {
            return None;
        }
        let (rest, kind) = rest.strip_suffix("\",\"v\":1,\"version\"")?.rsplit_once('"')?;
        if kind.contains('\\') {
            return None;
        }
        let rest = rest.strip_suffix("\",\"type\":")?.strip_suffix(stream)?.strip_suffix(",\"stream\":\"")?;

        let (_actor, rest) = rest.strip_prefix("{\"actor\":{\"id\":\"")?.split_once('"')?;
        let (_kind, rest) = rest.strip_prefix(",\"kind\":\"")?.split_once('"')?;
        let (at, rest) = rest.strip_prefix("},\"at\":\"")?.split_once('"')?;
        let (_command, rest) = rest.strip_prefix(",\"command\":\"")?.split_once('"')?;
        let data = rest.strip_prefix(",\"data\":")?;
        Some(Self { kind, at, data })
    }

    /// The event's data, if it is one of these.
    pub fn data<T: Deserialize<'a>>(&self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.data).into_iter::<T>();
        let data = values.next()?.ok()?;
        self.data.get(values.byte_offset()..)?.starts_with(",\"nonce\":\"").then_some(data)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::entry::{Actor, Entry, EntryView};

    fn entry() -> Entry {
        Entry {
            stream: "rep_1".to_owned(),
            version: 7,
            kind: "test.noted.v1".to_owned(),
            at: "2026-07-04T09:08:07.000001Z".to_owned(),
            actor: Actor { kind: "human".to_owned(), id: "cit_1".to_owned() },
            via: "key_1".to_owned(),
            on_behalf_of: None,
            cause: None,
            command: "cmd_1".to_owned(),
            nonce: [3; 16],
            data: json!({"a": {"nonce": "x", "type": "other"}, "text": "\",\"type\":\"x\",\"v\":1"}),
            sealed: None,
        }
    }

    /// What the whole entry says, wherever the gist says anything.
    fn agrees(entry: &Entry) -> bool {
        let bytes = entry.to_bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let view = EntryView::parse(&bytes).unwrap();
        let Some(gist) = Gist::of_ours(&entry.stream, entry.version, text) else { return false };
        assert_eq!((gist.kind, gist.at), (&*view.kind, view.at));
        assert_eq!(gist.data::<Value>().unwrap(), entry.data);
        true
    }

    #[test]
    fn it_is_what_the_whole_entry_says() {
        let sealed = json!({"type": {"ciphertext": "ab".repeat(32), "commitment": "cd".repeat(32), "subject": "\",\"type\":\"y"}});
        assert!(agrees(&entry()));
        assert!(agrees(&Entry { sealed: Some(sealed), ..entry() }));
        assert!(agrees(&Entry { on_behalf_of: Some("cit_2".to_owned()), ..entry() }));
        assert!(agrees(&Entry { data: json!({}), ..entry() }));
    }

    #[test]
    fn what_is_unlike_the_others_is_left_to_the_whole() {
        for odd in ["\",\"kind\":\"", "\"", "\\", "\"}", "\",\"via\":\"x", "\",\"v\":1,\"version\":7,\"via\":\"x"] {
            let (odd, actor) =
                (odd.to_owned(), |id: &str, kind: &str| Actor { id: id.to_owned(), kind: kind.to_owned() });
            let cases = [
                Entry { actor: actor(&odd, "human"), ..entry() },
                Entry { actor: actor("cit_1", &odd), ..entry() },
                Entry { via: odd.clone(), ..entry() },
                Entry { command: odd.clone(), ..entry() },
                Entry { kind: odd.clone(), ..entry() },
                Entry { stream: odd.clone(), ..entry() },
                Entry { on_behalf_of: Some(odd.clone()), ..entry() },
                Entry { data: json!({ "odd": odd }), ..entry() },
            ];
            for case in cases {
                // Left out or the same: never something else.
                let _ = agrees(&case);
            }
        }
        assert!(!agrees(&Entry { cause: Some(3), ..entry() }));
    }

    #[test]
    fn it_is_of_its_place_alone() {
        let bytes = entry().to_bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(Gist::of_ours("rep_1", 7, text).is_some());
        for (stream, version) in [("rep_2", 7), ("ep_1", 7), ("", 7), ("rep_1", 6), ("rep_1", 77)] {
            assert_eq!(Gist::of_ours(stream, version, text), None, "{stream} {version}");
        }
        for end in 0..text.len() {
            assert_eq!(Gist::of_ours("rep_1", 7, &text[..end]), None, "{end}");
        }
        let gist = Gist::of_ours("rep_1", 7, text).unwrap();
        assert_eq!(gist.data::<u64>(), None);
    }
}
