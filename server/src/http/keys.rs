//! New API keys: the secret is made here, its verifier goes into the command, and the text out with the answer, once.

use domain::ids::KeyId;
use identity::ApiKey;
use serde_json::{Map, Value};

use super::problem::{INTERNAL, Problem};
use crate::city::City;

/// A key that is not issued yet.
pub struct Made {
    pub api_key: ApiKey,
    /// Over what the caller sent: equal requests are equal although their secrets differ.
    pub digest: [u8; 32],
}

/// For commands that issue a key, makes one and adds its id and verifier to the fields.
pub fn make(city: &City, action: &str, fields: &mut Map<String, Value>) -> Result<Option<Made>, Problem> {
    if !matches!(action, "key.issue" | "key.rotate") {
        return Ok(None);
    }
    for made_here in ["key", "verifier"] {
        if fields.contains_key(made_here) {
            return Err(Problem::invalid(made_here, "the server makes this"));
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(action.as_bytes()).update(&[0]).update(Value::Object(fields.clone()).to_string().as_bytes());
    let digest = *hasher.finalize().as_bytes();
    let api_key = draw(city)?;
    let verifier = city.standing.pepper().verifier(&api_key.presented());
    fields.insert("key".to_owned(), Value::String(api_key.id().to_string()));
    fields.insert("verifier".to_owned(), Value::String(verifier.to_string()));
    Ok(Some(Made { api_key, digest }))
}

fn draw(city: &City) -> Result<ApiKey, Problem> {
    let made = fresh_key_id().and_then(ApiKey::generate);
    made.map_err(|error| {
        tracing::error!(%error, origin = city.log.origin(), "no randomness");
        Problem::new(INTERNAL)
    })
}

/// An id with today's time in front, like every id.
pub fn fresh_key_id() -> Result<KeyId, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(KeyId::from_bits(domain::turn::derive_id(&seed, 1, super::standing::now())))
}
