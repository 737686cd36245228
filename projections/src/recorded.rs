//! A stored entry as projections see it: who, when, and the domain's event with its sealed texts back in place.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chain::entry::EntryView;
use chain::gist::Gist;
use domain::event::Event;
use domain::ids::Stream;
use domain::reputation::event::Attested;
use domain::time::Time;
use eventlog::Stored;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// One entry, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub position: u64,
    pub stream: String,
    pub version: u64,
    pub at: Time,
    /// Kind and id.
    pub actor: (String, String),
    /// For whom they acted.
    pub on_behalf_of: Option<String>,
    pub command: String,
    /// `None` for what the domain does not know: `log.*` and `refusal.*`.
    pub event: Option<Event>,
    /// The event's type, such as `treasury.debited.v1`.
    pub kind: String,
}

/// An entry that is there and cannot be understood: nothing may go on past it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry at position {position} cannot be read: {what}")]
pub struct Corrupt {
    pub position: u64,
    pub what: String,
}

impl From<Corrupt> for eventlog::Failure {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt.to_string())
    }
}

/// Reads one entry.
///
/// # Errors
/// When the bytes are no entry, belong to another place of the log, or hold no event of this version of the city.
pub fn decode(stored: &Stored) -> Result<Recorded, Corrupt> {
    let corrupt = |what| Corrupt { position: stored.position, what };
    let view = EntryView::parse(&stored.bytes).map_err(|error| corrupt(error.to_string()))?;
    let (at, event) = understand(&stored.stream, stored.version, &view, event).map_err(corrupt)?;
    Ok(Recorded {
        position: stored.position,
        stream: stored.stream.clone(),
        version: stored.version,
        at,
        actor: (view.actor.kind.into_owned(), view.actor.id.into_owned()),
        on_behalf_of: view.on_behalf_of,
        command: view.command.into_owned(),
        event,
        kind: view.kind.into_owned(),
    })
}

/// Only what happened and when, from an entry's bytes and where they stand. `None` for what the domain does not know.
///
/// # Errors
/// What is wrong with the bytes, as [`decode`] finds it.
pub fn event_of(stream: &str, version: u64, bytes: &[u8]) -> Result<(Time, Option<Event>), String> {
    let view = EntryView::of_ours(bytes).map_err(|error| error.to_string())?;
    understand(stream, version, &view, event)
}

/// The same without the texts that the event can be without: for states that have none in them, and faster.
///
/// # Errors
/// What is wrong with the bytes, as [`decode`] finds it.
pub fn bare_event_of(stream: &str, version: u64, bytes: &[u8]) -> Result<(Time, Option<Event>), String> {
    let view = EntryView::of_ours(bytes).map_err(|error| error.to_string())?;
    understand(stream, version, &view, |view| match Event::from_text(&view.kind, view.data.get()) {
        Ok(event) => Ok(event),
        Err(_) => event(view),
    })
}

/// What an entry of evidence counts for, and when it was recorded, several times as fast again. `None`: it is to be read as the others
/// are, which says what it is, or what is wrong with it.
pub fn attested_of(stream: &str, version: u64, text: &str) -> Option<(Time, Attested)> {
    let gist = Gist::of_ours(stream, version, text).filter(|gist| gist.kind == Attested::TYPE)?;
    Some((gist.at.parse().ok()?, gist.data()?))
}

type NoEvent = Box<dyn std::error::Error>;

fn understand(
    stream: &str,
    version: u64,
    view: &EntryView<'_>,
    event: impl FnOnce(&EntryView<'_>) -> Result<Event, NoEvent>,
) -> Result<(Time, Option<Event>), String> {
    if view.stream != stream || view.version != version {
        return Err("it belongs to another place".to_owned());
    }
    let at: Time = view.at.parse().map_err(|error: domain::ids::Malformed| error.to_string())?;
    let event = if is_of_the_domain(&view.kind) { Some(event(view).map_err(|error| error.to_string())?) } else { None };
    if let Some(event) = &event
        && !fits(event, stream)
    {
        return Err(format!("a {} in the stream {stream}", view.kind));
    }
    Ok((at, event))
}

/// Reads entries in order.
pub fn decode_all(stored: &[Stored]) -> Result<Vec<Recorded>, Corrupt> {
    stored.iter().map(decode).collect()
}

fn is_of_the_domain(kind: &str) -> bool {
    !kind.starts_with("log.") && !kind.starts_with("refusal.")
}

fn event(view: &EntryView<'_>) -> Result<Event, NoEvent> {
    if let Some(event) = event_of_texts(view) {
        return Ok(event);
    }
    let mut data: Value = serde_json::from_str(view.data.get())?;
    if let Some(sealed) = view.sealed {
        merge_sealed(&mut data, &serde_json::from_str(sealed.get())?);
    }
    Ok(Event::from_parts(&view.kind, data)?)
}

/// The event straight from the texts of the entry, as nearly all can be read. `None`: the slower way says what is wrong, if anything is.
fn event_of_texts(view: &EntryView<'_>) -> Option<Event> {
    let data = view.data.get();
    let Some(sealed) = view.sealed else { return Event::from_text(&view.kind, data).ok() };
    let sealed: BTreeMap<&str, &RawValue> = serde_json::from_str(sealed.get()).ok()?;
    let mut whole = data.strip_suffix('}')?.to_owned();
    for (path, text) in sealed {
        if path.contains(['.', '"', '\\']) {
            return None;
        }
        let comma = if whole.ends_with('{') { "" } else { "," };
        write!(whole, "{comma}\"{path}\":{}", text.get()).ok()?;
    }
    whole.push('}');
    Event::from_text(&view.kind, &whole).ok()
}

/// Whether an event of this aggregate can stand in this stream.
fn fits(event: &Event, stream: &str) -> bool {
    let Ok(stream) = stream.parse::<Stream>() else { return false };
    matches!(
        (event, stream),
        (Event::City(_), Stream::City)
            | (Event::Citizen(_), Stream::Citizen(_))
            | (Event::Guild(_), Stream::Guild(_))
            | (Event::Treasury(_), Stream::Treasury(_))
            | (Event::Key(_), Stream::Key(_))
            | (Event::Grant(_), Stream::Inventory(_))
            | (Event::Reputation(_), Stream::Reputation(_))
    )
}

/// Puts what an entry keeps in `sealed` back where it stood in `data`. Keys are dotted paths; a number is a place in a list, where
/// `null` kept it free. A path that leads nowhere is left out, and the event then misses the text that it needs.
pub fn merge_sealed(data: &mut Value, sealed: &Value) {
    for (path, commitment) in sealed.as_object().into_iter().flatten() {
        if let Some(place) = place(data, path)
            && place.is_null()
        {
            *place = commitment.clone();
        }
    }
}

/// Where a dotted path leads; objects on the way that lost all they had are made again.
fn place<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let next = match value {
        Value::Object(object) => object.entry(name).or_insert(Value::Null),
        Value::Array(list) => list.get_mut(name.parse::<usize>().ok()?)?,
        _ => return None,
    };
    match rest {
        Some(rest) => place(next, rest),
        None => Some(next),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chain::entry::{Actor, Entry};
    use domain::reputation::event::ReputationEvent;
    use domain::treasury::event::TreasuryEvent;
    use serde_json::json;

    use super::*;

    #[test]
    fn sealed_texts_go_back_where_they_stood() {
        let cases = [
            (json!({}), "memo", json!({"memo": 1})),
            (json!({"command": {"type": "x"}}), "command.memo", json!({"command": {"type": "x", "memo": 1}})),
            (
                json!({"command": {"reference": [null, "l"]}}),
                "command.reference.0",
                json!({"command": {"reference": [1, "l"]}}),
            ),
            (json!({"a": "taken"}), "a", json!({"a": "taken"})),
            (json!({"list": [null]}), "list.7", json!({"list": [null]})),
        ];
        for (mut data, path, expected) in cases {
            merge_sealed(&mut data, &json!({path: 1}));
            assert_eq!(data, expected, "{path}");
        }
    }

    fn stored(stream: &str, kind: &str, data: Value, sealed: Option<Value>) -> Stored {
        let entry = Entry {
            stream: stream.to_owned(),
            version: 3,
            kind: kind.to_owned(),
            at: "2026-07-04T09:08:07.000001Z".to_owned(),
            actor: Actor { kind: "system".to_owned(), id: "guildhall".to_owned() },
            via: "system".to_owned(),
            on_behalf_of: None,
            cause: None,
            command: "cmd".to_owned(),
            nonce: [0; 16],
            data,
            sealed,
        };
        let (prev, bytes) = (chain::Hash::ZERO, entry.to_bytes().unwrap().into());
        Stored { position: 7, stream: stream.to_owned(), version: 3, prev, hash: prev, bytes }
    }

    const TREASURY: &str = "try_00000000000000000000000001";

    #[test]
    fn an_entry_is_read_with_its_texts_in_place() {
        let hash = "ab".repeat(32);
        let sealed = json!({"reason": {"ciphertext": hash, "commitment": hash, "subject": "s"}});
        let frozen = decode(&stored(TREASURY, "treasury.frozen.v1", json!({"side": "city"}), Some(sealed))).unwrap();
        assert_eq!(
            (frozen.position, frozen.at.micros(), frozen.actor.0.as_str()),
            (7, 1_783_156_087_000_001, "system")
        );
        assert!(
            matches!(frozen.event, Some(Event::Treasury(TreasuryEvent::Frozen { reason, .. })) if reason.subject == "s")
        );
        for (stream, kind) in [("log", "log.heads_committed"), ("refusals", "refusal.recorded.v1")] {
            assert_eq!(decode(&stored(stream, kind, json!({"anything": 1}), None)).unwrap().event, None);
        }
    }

    #[test]
    fn what_can_be_read_straight_is_what_the_slower_way_reads() {
        let text = json!({"ciphertext": "ab".repeat(32), "commitment": "cd".repeat(32), "subject": "s"});
        let opened = json!({"owner": {"kind": "citizen", "id": "cit_00000000000000000000000001"}});
        let cases = [
            ("treasury.opened.v1", opened, None, true),
            ("treasury.frozen.v1", json!({"side": "city"}), Some(json!({"reason": text})), true),
            ("treasury.unfrozen.v1", json!({"side": "city"}), None, true),
            // A path into something is for the slower way, and so is whatever is wrong.
            ("treasury.frozen.v1", json!({"side": "city"}), Some(json!({"reason": text, "a.b": text})), false),
            ("treasury.frozen.v1", json!({"side": "city", "reason": text}), Some(json!({"reason": text})), false),
            ("treasury.closed.v1", json!({"more": 1}), None, false),
        ];
        for (kind, data, sealed, straight) in cases {
            let entry = stored(TREASURY, kind, data.clone(), sealed.clone());
            let read = event_of_texts(&EntryView::parse(&entry.bytes).unwrap());
            assert_eq!(read.is_some(), straight, "{kind} {data}");
            let mut whole = data;
            merge_sealed(&mut whole, &sealed.unwrap_or_default());
            if let Some(read) = read {
                assert_eq!(read, Event::from_parts(kind, whole).unwrap());
            }
        }
    }

    #[test]
    fn evidence_alone_counts_for_what_the_whole_entry_says() {
        const STREAM: &str = "rep_00000000000000000000000001";
        let (hash, cit) = ("ab".repeat(32), "cit_00000000000000000000000002");
        let data = json!({
            "attested_by": cit, "effective_at": "2026-07-03T00:00:00.000000Z", "evidence": "evd_00000000000000000000000003",
            "holder": "cit_00000000000000000000000001", "kind": "task_failed", "proof": hash, "scope": "gld_00000000000000000000000004",
            "stake": "T2", "weight": "-0.400", "work_lookup": hash,
        });
        let text = json!({"work": {"ciphertext": hash, "commitment": hash, "subject": cit}});
        let of = |entry: &Stored| attested_of(STREAM, 3, std::str::from_utf8(&entry.bytes).unwrap());
        let entry = stored(STREAM, Attested::TYPE, data.clone(), Some(text));
        let whole = decode(&entry).unwrap();
        let Some(Event::Reputation(ReputationEvent::EvidenceRecorded {
            evidence,
            kind,
            weight,
            scope,
            attested_by,
            effective_at,
            ..
        })) = whole.event
        else {
            panic!("{whole:?}")
        };
        let attested = Attested { evidence, kind, weight, scope, attested_by, effective_at };
        assert_eq!(of(&entry), Some((whole.at, attested)));
        // Anything else, and whatever is wrong, is for the whole entry to say.
        let mut lacking = data.clone();
        lacking.as_object_mut().unwrap().remove("weight");
        assert_eq!(of(&stored(STREAM, Attested::TYPE, lacking, None)), None);
        assert_eq!(of(&stored(STREAM, "reputation.evidence_disputed.v1", data.clone(), None)), None);
        assert_eq!(of(&stored("rep_00000000000000000000000009", Attested::TYPE, data, None)), None);
    }

    #[test]
    fn what_cannot_be_understood_is_corrupt_and_says_where() {
        let cases = [
            stored(TREASURY, "treasury.closed.v9", json!({}), None),
            stored(TREASURY, "bounty.posted.v1", json!({}), None),
            stored(TREASURY, "treasury.closed.v1", json!({"more": 1}), None),
            // A text is missing; an event of another aggregate; an entry that stands elsewhere; no entry at all.
            stored(TREASURY, "treasury.frozen.v1", json!({"side": "city"}), None),
            stored("city", "treasury.closed.v1", json!({}), None),
            Stored { version: 4, ..stored(TREASURY, "treasury.closed.v1", json!({}), None) },
            Stored { bytes: b"{}".as_slice().into(), ..stored(TREASURY, "treasury.closed.v1", json!({}), None) },
        ];
        for case in cases {
            assert_eq!(decode(&case).unwrap_err().position, 7);
        }
    }
}
