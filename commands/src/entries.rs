//! Decided events become entries: exact bytes, linked to their streams, with sealed texts lifted out of the data.

use std::collections::HashMap;

use chain::Hash;
use chain::canonical::CanonicalError;
use chain::entry::{self, Entry};
use domain::Time;
use domain::party::Actor;
use domain::turn::{Context, Permit};
use eventlog::Stored;
use serde_json::{Map, Value};

use crate::answer::EntryRef;

/// The end of a stream: how many entries it has, and the hash of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub versions: u64,
    pub hash: Hash,
}

impl Tip {
    pub(crate) const NONE: Self = Self { versions: 0, hash: Hash::ZERO };
}

/// Who an entry says it was.
pub(crate) struct Attribution {
    pub actor: entry::Actor,
    pub via: String,
    pub on_behalf_of: Option<String>,
    pub command: String,
}

impl Attribution {
    pub(crate) fn of(context: &Context) -> Self {
        let (actor, via) = actor(&context.permit);
        Self { actor, via, on_behalf_of: None, command: context.command.to_string() }
    }
}

fn actor(permit: &Permit) -> (entry::Actor, String) {
    match permit.actor {
        Actor::Citizen { kind, id } => {
            let via = permit.via.map_or_else(|| "system".to_owned(), |key| key.to_string());
            (entry::Actor { kind: kind.to_string(), id: id.to_string() }, via)
        }
        Actor::System => (entry::Actor { kind: "system".to_owned(), id: "guildhall".to_owned() }, "system".to_owned()),
    }
}

/// Makes the entries of one batch, in order.
pub(crate) struct Maker<'a> {
    origin: &'a str,
    at: String,
    nonce_key: [u8; 32],
    next_position: u64,
    pub tips: HashMap<String, Tip>,
    pub entries: Vec<Stored>,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(origin: &'a str, position: u64, at: Time, nonce_key: [u8; 32]) -> Self {
        Self {
            origin,
            at: at.to_string(),
            nonce_key,
            next_position: position,
            tips: HashMap::new(),
            entries: Vec::new(),
        }
    }

    /// All entries of one command, or none of them: what cannot be written down is that command's affair alone.
    pub(crate) fn push_all(
        &mut self,
        events: impl Iterator<Item = (String, Tip, String, Value)>,
        by: &Attribution,
    ) -> Result<Vec<EntryRef>, CanonicalError> {
        let (start, position) = (self.entries.len(), self.next_position);
        let mut before = Vec::new();
        let mut written = Vec::new();
        for (stream, tip, kind, data) in events {
            let known = self.tips.get(&stream).copied();
            match self.push(&stream, tip, kind, data, by) {
                Ok(entry) => written.push(entry),
                Err(error) => {
                    self.entries.truncate(start);
                    self.next_position = position;
                    for (stream, tip) in before.into_iter().rev() {
                        match tip {
                            Some(tip) => self.tips.insert(stream, tip),
                            None => self.tips.remove(&stream),
                        };
                    }
                    return Err(error);
                }
            }
            before.push((stream, known));
        }
        Ok(written)
    }

    /// Appends one entry to `stream`, whose end before this batch is `tip`.
    pub(crate) fn push(
        &mut self,
        stream: &str,
        tip: Tip,
        kind: String,
        mut data: Value,
        by: &Attribution,
    ) -> Result<EntryRef, CanonicalError> {
        let position = self.next_position;
        let tip = *self.tips.get(stream).unwrap_or(&tip);
        let sealed = lift_sealed(&mut data);
        let entry = Entry {
            stream: stream.to_owned(),
            version: tip.versions,
            kind,
            at: self.at.clone(),
            actor: by.actor.clone(),
            via: by.via.clone(),
            on_behalf_of: by.on_behalf_of.clone(),
            cause: None,
            command: by.command.clone(),
            nonce: self.nonce(position),
            data,
            sealed,
        };
        let bytes = entry.to_bytes()?;
        let hash = entry::entry_hash(self.origin, &tip.hash, &bytes);
        self.tips.insert(stream.to_owned(), Tip { versions: tip.versions + 1, hash });
        self.entries.push(Stored {
            position,
            stream: stream.to_owned(),
            version: tip.versions,
            prev: tip.hash,
            hash,
            bytes: bytes.into(),
        });
        self.next_position += 1;
        let Entry { stream, version, kind, data, .. } = entry;
        Ok(EntryRef { stream, version, position, entry_hash: hash, kind, data })
    }

    /// Sixteen bytes nobody can guess: a keyed hash under a key that is drawn for every batch and never stored.
    fn nonce(&self, position: u64) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.nonce_key, &position.to_be_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&hash.as_bytes()[..16]);
        nonce
    }
}

/// Moves every sealed text out of `data` into one object of dotted paths; a list keeps `null` in its place.
pub(crate) fn lift_sealed(data: &mut Value) -> Option<Value> {
    let mut found = Map::new();
    lift(data, &mut String::new(), &mut found);
    if found.is_empty() { None } else { Some(Value::Object(found)) }
}

fn is_sealed(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    object.len() == 3 && ["ciphertext", "commitment", "subject"].iter().all(|key| object.contains_key(*key))
}

fn lift(value: &mut Value, path: &mut String, found: &mut Map<String, Value>) {
    let length = path.len();
    match value {
        Value::Object(object) => {
            let mut taken = Vec::new();
            for (key, child) in object.iter_mut() {
                step(path, key);
                if is_sealed(child) {
                    found.insert(path.clone(), child.take());
                    taken.push(key.clone());
                } else {
                    lift(child, path, found);
                }
                path.truncate(length);
            }
            for key in taken {
                object.remove(&key);
            }
        }
        Value::Array(list) => {
            for (index, child) in list.iter_mut().enumerate() {
                step(path, &index.to_string());
                if is_sealed(child) {
                    found.insert(path.clone(), child.take());
                } else {
                    lift(child, path, found);
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn step(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sealed_texts_leave_the_data_and_can_be_put_back() {
        let sealed = json!({"ciphertext": "c", "commitment": "m", "subject": "s"});
        let whole =
            json!({"memo": sealed, "amount": "1", "command": {"reference": [sealed, "l"], "x": {"name": sealed}}});
        let mut data = whole.clone();
        let lifted = lift_sealed(&mut data).expect("three texts");
        assert_eq!(data, json!({"amount": "1", "command": {"reference": [null, "l"], "x": {}}}));
        assert_eq!(lifted, json!({"memo": sealed, "command.reference.0": sealed, "command.x.name": sealed}));
        projections::recorded::merge_sealed(&mut data, &lifted);
        assert_eq!(data, whole);
        assert_eq!(lift_sealed(&mut json!({"a": 1})), None);
    }

    #[test]
    fn what_cannot_be_written_takes_back_what_its_command_wrote_before() {
        let by = Attribution {
            actor: entry::Actor { kind: "system".to_owned(), id: "guildhall".to_owned() },
            via: "system".to_owned(),
            on_behalf_of: None,
            command: "cmd".to_owned(),
        };
        let event = |stream: &str, data: Value| (stream.to_owned(), Tip::NONE, "test.noted.v1".to_owned(), data);
        let mut maker = Maker::new("test/log", 7, Time::from_micros(0), [0; 32]);
        maker.push_all([event("a", json!({}))].into_iter(), &by).expect("short");
        let before = (maker.tips.clone(), maker.entries.len(), maker.next_position);
        let long = "x".repeat(chain::entry::MAX_ENTRY_BYTES);
        let events = [event("a", json!({})), event("b", json!({})), event("a", json!({ "n": long }))];
        assert!(maker.push_all(events.into_iter(), &by).is_err());
        assert_eq!((maker.tips.clone(), maker.entries.len(), maker.next_position), before);
    }
}
