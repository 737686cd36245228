//! A command as it is handed to the pipeline: parsed, with its credential and its key for retries.

use domain::Command;
use domain::guild::governance::Evidence;
use domain::ids::{CitizenId, Stream};
use identity::Credential;
use serde_json::Value;

use crate::folded::Folded;

/// Longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// Most pieces of evidence with one command.
const MAX_EVIDENCE: usize = 100;

#[derive(Debug, Clone)]
pub struct Request {
    pub credential: Credential,
    pub command: Command,
    pub evidence: Vec<Evidence>,
    pub idempotency_key: Option<String>,
    /// (stream, number of entries it must have).
    pub expected_version: Option<(Stream, u64)>,
    /// A stream that the command is about, read ahead.
    pub folded: Option<Folded>,
    /// For whom a worker acts: who caused it, as its entries say.
    pub on_behalf_of: Option<CitizenId>,
    /// BLAKE3 over the action and everything the caller sent.
    pub digest: [u8; 32],
    /// About how many bytes were sent.
    pub bytes: usize,
}

/// Why a request could not be read; names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    pub message: String,
}

impl Request {
    /// Reads a command from its JSON object, which carries every field of the command; `action` says which one it is.
    pub fn parse(credential: Credential, action: &str, mut body: Value) -> Result<Self, Unreadable> {
        let unreadable = |message: String| Unreadable { message };
        let Some(object) = body.as_object_mut() else {
            return Err(unreadable("the body must be a JSON object".to_owned()));
        };
        if object.contains_key("type") {
            return Err(unreadable("unknown field `type`".to_owned()));
        }
        let evidence = match object.remove("evidence") {
            None => Vec::new(),
            Some(list) if list.as_array().is_some_and(|list| list.len() > MAX_EVIDENCE) => {
                return Err(unreadable(format!("evidence: at most {MAX_EVIDENCE} pieces")));
            }
            Some(list) => serde_json::from_value(list).map_err(|e| unreadable(format!("evidence: {e}")))?,
        };
        object.insert("type".to_owned(), Value::String(action.to_owned()));
        // serde_json sorts object keys, so equal requests have equal bytes.
        let (digest, bytes) = request_digest(&body, &evidence);
        let command: Command = serde_json::from_value(body).map_err(|e| unreadable(e.to_string()))?;
        let mut sealed_by_caller = false;
        let mut probe = command.clone();
        crate::seal::each_text(&mut probe, &mut |_, text, _| {
            sealed_by_caller |= matches!(text, domain::text::Text::Sealed(_))
        });
        if sealed_by_caller {
            return Err(unreadable("expected a string where an object was sent".to_owned()));
        }
        Ok(Self { evidence, digest, bytes, ..Self::of(credential, command) })
    }

    /// A command built in this process; two requests under one key must not differ, so the digest is the caller's business.
    pub fn of(credential: Credential, command: impl Into<Command>) -> Self {
        let command = command.into();
        let (digest, bytes) = ([0; 32], 0);
        Self {
            credential,
            command,
            evidence: Vec::new(),
            idempotency_key: None,
            expected_version: None,
            folded: None,
            on_behalf_of: None,
            digest,
            bytes,
        }
    }

    pub fn with_folded(mut self, folded: Option<Folded>) -> Self {
        self.folded = folded;
        self
    }

    pub fn on_behalf_of(mut self, citizen: Option<CitizenId>) -> Self {
        self.on_behalf_of = citizen;
        self
    }

    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

fn request_digest(body: &Value, evidence: &[Evidence]) -> ([u8; 32], usize) {
    let mut hasher = blake3::Hasher::new();
    let text = body.to_string();
    hasher.update(text.as_bytes());
    hasher.update(&[0]);
    for item in evidence {
        hasher.update(item.kind.as_str().as_bytes());
        hasher.update(&item.digest.0);
    }
    (*hasher.finalize().as_bytes(), text.len() + 100 * evidence.len())
}
