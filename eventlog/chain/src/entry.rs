//! The entry: the exact bytes of one fact, how they are made and read, and the hash that chains them.

mod members;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use self::members::Members;
use crate::Hash;
use crate::canonical::{self, CanonicalError, Rule};
use crate::hash::sha256;
use crate::hex;

/// The longest entry: 1 MiB.
pub const MAX_ENTRY_BYTES: usize = 1 << 20;

/// The longest origin, in bytes.
pub const MAX_ORIGIN_BYTES: usize = 128;

/// Who did it: a kind (`human`, `agent`, ...) and an id of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub kind: String,
    pub id: String,
}

/// One fact, owned, as a writer makes it and a reader gets it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The stream the fact belongs to.
    pub stream: String,
    /// Its place in the stream, from 0.
    pub version: u64,
    /// The event type, JSON key `type`, for example `treasury.debited.v1`.
    pub kind: String,
    /// Record time, `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
    pub at: String,
    pub actor: Actor,
    /// The credential the actor used.
    pub via: String,
    pub on_behalf_of: Option<String>,
    /// Position of the entry that this one reacts to.
    pub cause: Option<u64>,
    /// Id of the command that made it.
    pub command: String,
    /// Random, so that nobody can guess an entry from its hash.
    pub nonce: [u8; 16],
    /// The event itself; an object.
    pub data: Value,
    /// Path inside `data` to commitment; an object of [`SealedField`]s. An empty one is left out of the bytes.
    pub sealed: Option<Value>,
}

/// What stands in an entry for a text that somebody typed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedField<'a> {
    /// SHA-256 of the ciphertext.
    pub ciphertext: Hash,
    /// SHA-256 over tag, salt and plaintext.
    pub commitment: Hash,
    /// Whose key encrypts it.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
}

/// Who did it, borrowed from the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorView<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
}

/// JSON as it stands in an entry's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    pub const fn get(self) -> &'a str {
        self.0
    }
}

/// An entry read without copying: `data` and `sealed` stay text until somebody asks.
#[derive(Debug, Clone)]
pub struct EntryView<'a> {
    pub stream: Cow<'a, str>,
    pub version: u64,
    pub kind: Cow<'a, str>,
    pub at: &'a str,
    pub actor: ActorView<'a>,
    pub via: Cow<'a, str>,
    pub on_behalf_of: Option<String>,
    pub cause: Option<u64>,
    pub command: Cow<'a, str>,
    pub nonce: [u8; 16],
    pub data: Raw<'a>,
    pub sealed: Option<Raw<'a>>,
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("not canonical: {0}")]
    Canonical(#[from] CanonicalError),
    #[error("not the shape of an entry: {0}")]
    Shape(String),
    #[error("entry format {0} is unknown; this reader knows 1")]
    Format(u64),
    #[error("`at` is not a real time in the form YYYY-MM-DDTHH:MM:SS.ffffffZ")]
    Time,
    #[error("`nonce` is not 32 lower-case hexadecimal digits")]
    Nonce,
    #[error("`{0}` is empty or not of its kind")]
    Field(&'static str),
    #[error("`sealed` is not an object of ciphertext, commitment and subject: {0}")]
    Sealed(String),
    #[error("an entry is at most 1 MiB")]
    TooLong,
}

/// `SHA-256("guildhall/entry/v1" || 0x0A || origin || 0x0A || prev || bytes)`: binds the log's name and the stream's
/// previous entry, neither of which the bytes repeat.
pub fn entry_hash(origin: &str, prev: &Hash, bytes: &[u8]) -> Hash {
    sha256(&[b"guildhall/entry/v1\n", origin.as_bytes(), b"\n", &prev.0, bytes])
}

/// Whether `text` can name a log: 1 to 128 of `a-z 0-9 . / -`.
pub fn is_valid_origin(text: &str) -> bool {
    (1..=MAX_ORIGIN_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'/' | b'-'))
}

impl Entry {
    /// The canonical bytes. Whatever this returns, [`Entry::parse`] accepts and turns back into the same entry
    /// (except that an empty `sealed` comes back as `None`).
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut out = Vec::with_capacity(640);
        out.extend_from_slice(b"{\"actor\":{\"id\":");
        write_name(&self.actor.id, &mut out)?;
        out.extend_from_slice(b",\"kind\":");
        write_name(&self.actor.kind, &mut out)?;
        out.extend_from_slice(b"},\"at\":");
        if !canonical::is_canonical_time(&self.at) {
            return fail(Rule::Time, &out);
        }
        canonical::write_string(&self.at, &mut out);
        if let Some(cause) = self.cause {
            out.extend_from_slice(b",\"cause\":");
            canonical::write_integer(cause, &mut out)?;
        }
        out.extend_from_slice(b",\"command\":");
        write_name(&self.command, &mut out)?;
        out.extend_from_slice(b",\"data\":");
        if !self.data.is_object() {
            return fail(Rule::EntryField, &out);
        }
        canonical::write_value(&self.data, 2, &mut out)?;
        out.extend_from_slice(b",\"nonce\":\"");
        out.extend_from_slice(hex::encode(&self.nonce).as_bytes());
        out.push(b'"');
        if let Some(on_behalf_of) = &self.on_behalf_of {
            out.extend_from_slice(b",\"on_behalf_of\":");
            write_name(on_behalf_of, &mut out)?;
        }
        write_sealed(self.sealed.as_ref(), &mut out)?;
        out.extend_from_slice(b",\"stream\":");
        write_name(&self.stream, &mut out)?;
        out.extend_from_slice(b",\"type\":");
        write_name(&self.kind, &mut out)?;
        out.extend_from_slice(b",\"v\":1,\"version\":");
        canonical::write_integer(self.version, &mut out)?;
        out.extend_from_slice(b",\"via\":");
        write_name(&self.via, &mut out)?;
        out.push(b'}');
        if out.len() > MAX_ENTRY_BYTES {
            return fail(Rule::EntryLength, &out);
        }
        Ok(out)
    }

    /// Reads canonical bytes, with every rule of FORMAT.md section 2.
    pub fn parse(bytes: &[u8]) -> Result<Entry, EntryError> {
        EntryView::parse(bytes)?.to_entry()
    }
}

fn fail<T>(rule: Rule, out: &[u8]) -> Result<T, CanonicalError> {
    Err(CanonicalError { offset: out.len(), rule })
}

/// Writes a string that may not be empty.
fn write_name(text: &str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if text.is_empty() {
        return fail(Rule::EntryField, out);
    }
    canonical::write_string(text, out);
    Ok(())
}

fn write_sealed(sealed: Option<&Value>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let Some(sealed) = sealed else { return Ok(()) };
    let Value::Object(fields) = sealed else {
        return fail(Rule::Sealed, out);
    };
    if fields.is_empty() {
        return Ok(());
    }
    let good_hash = |field: &Value, key: &str| {
        field.get(key).and_then(Value::as_str).is_some_and(|text| Hash::from_hex(text).is_some())
    };
    let good = fields.values().all(|field| {
        field.as_object().is_some_and(|object| object.len() == 3)
            && good_hash(field, "ciphertext")
            && good_hash(field, "commitment")
            && field.get("subject").and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    });
    if !good {
        return fail(Rule::Sealed, out);
    }
    out.extend_from_slice(b",\"sealed\":");
    canonical::write_value(sealed, 2, out)
}

impl<'a> EntryView<'a> {
    /// Reads canonical bytes without copying them; exactly as strict as [`Entry::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<EntryView<'a>, EntryError> {
        Self::parse_all(bytes).map(|(view, _)| view)
    }

    /// The same, with the sealed fields.
    pub fn parse_all(bytes: &'a [u8]) -> Result<(EntryView<'a>, BTreeMap<&'a str, SealedField<'a>>), EntryError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong);
        }
        let mut members = Members::default();
        let text = canonical::members(bytes, |key, value| members.take(key, value))?;
        let view = match members.view() {
            Some(view) => view,
            None => serde_json::from_str::<Wire<'a>>(text).map_err(shape)?.into_view()?,
        };
        let sealed = view.sealed_fields()?;
        Ok((view, sealed))
    }

    /// Reads what a log's own writer made: what is sealed was seen to when it was written, and is not seen here.
    pub fn of_ours(bytes: &'a [u8]) -> Result<EntryView<'a>, EntryError> {
        let mut members = Members::default();
        let text = canonical::members(bytes, |key, value| members.take(key, value))?;
        match members.view() {
            Some(view) => Ok(view),
            None => serde_json::from_str::<Wire<'a>>(text).map_err(shape)?.into_view(),
        }
    }

    /// The sealed fields by their path inside `data`; empty when the entry has none.
    pub fn sealed_fields(&self) -> Result<BTreeMap<&'a str, SealedField<'a>>, EntryError> {
        match self.sealed {
            Some(sealed) => parse_sealed(sealed),
            None => Ok(BTreeMap::new()),
        }
    }

    /// An owned copy.
    pub fn to_entry(&self) -> Result<Entry, EntryError> {
        let value = |raw: Raw<'_>| serde_json::from_str::<Value>(raw.get()).map_err(shape);
        Ok(Entry {
            stream: self.stream.clone().into_owned(),
            version: self.version,
            kind: self.kind.clone().into_owned(),
            at: self.at.to_owned(),
            actor: Actor { kind: self.actor.kind.clone().into_owned(), id: self.actor.id.clone().into_owned() },
            via: self.via.clone().into_owned(),
            on_behalf_of: self.on_behalf_of.clone(),
            cause: self.cause,
            command: self.command.clone().into_owned(),
            nonce: self.nonce,
            data: value(self.data)?,
            sealed: self.sealed.map(value).transpose()?,
        })
    }
}

/// The keys as they stand in the bytes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow)]
    actor: ActorView<'a>,
    at: &'a str,
    #[serde(default, deserialize_with = "present")]
    cause: Option<u64>,
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    nonce: &'a str,
    #[serde(default, deserialize_with = "present")]
    on_behalf_of: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    sealed: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    v: u64,
    version: u64,
    #[serde(borrow)]
    via: Cow<'a, str>,
}

/// A key that may be absent but not null: absence has one spelling.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl<'a> Wire<'a> {
    fn into_view(self) -> Result<EntryView<'a>, EntryError> {
        if self.v != 1 {
            return Err(EntryError::Format(self.v));
        }
        if !canonical::is_canonical_time(self.at) {
            return Err(EntryError::Time);
        }
        let nonce = hex::decode(self.nonce).ok_or(EntryError::Nonce)?;
        for (name, text) in [
            ("stream", &self.stream),
            ("type", &self.kind),
            ("actor.kind", &self.actor.kind),
            ("actor.id", &self.actor.id),
            ("via", &self.via),
            ("command", &self.command),
        ] {
            if text.is_empty() {
                return Err(EntryError::Field(name));
            }
        }
        if self.on_behalf_of.as_deref() == Some("") {
            return Err(EntryError::Field("on_behalf_of"));
        }
        if !self.data.get().starts_with('{') {
            return Err(EntryError::Field("data"));
        }
        Ok(EntryView {
            stream: self.stream,
            version: self.version,
            kind: self.kind,
            at: self.at,
            actor: self.actor,
            via: self.via,
            on_behalf_of: self.on_behalf_of,
            cause: self.cause,
            command: self.command,
            nonce,
            data: Raw(self.data.get()),
            sealed: self.sealed.map(|sealed| Raw(sealed.get())),
        })
    }
}

/// Keys borrow without unescaping because a canonical key has no escapes.
fn parse_sealed(raw: Raw<'_>) -> Result<BTreeMap<&str, SealedField<'_>>, EntryError> {
    let fields: BTreeMap<&str, SealedField<'_>> =
        serde_json::from_str(raw.get()).map_err(|error| EntryError::Sealed(error.to_string()))?;
    if fields.is_empty() {
        return Err(EntryError::Sealed("an empty object is left out".to_owned()));
    }
    if fields.values().any(|field| field.subject.is_empty()) {
        return Err(EntryError::Sealed("an empty subject".to_owned()));
    }
    Ok(fields)
}

/// Keeps the text only, so that the error can be compared and cloned.
fn shape(error: serde_json::Error) -> EntryError {
    EntryError::Shape(error.to_string())
}

#[cfg(test)]
mod tests;
