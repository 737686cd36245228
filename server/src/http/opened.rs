//! Sealed texts in answers: opened for those they belong to and for the city's gate and above, left sealed for everybody else.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::{IntoResponse, Response};
use chain::Hash;
use domain::ids::{CitizenId, GuildId, Stream, TreasuryId};
use domain::party::Tier;
use domain::turn::State;
use eventlog::vault::{Opened, SealedRef};
use eventlog::{Failure, Log};
use serde::Serialize;
use serde_json::Value;

use super::asked::Asked;
use super::problem::{INTERNAL, Problem};
use crate::city::City;

/// Lowest tier that sees every text of the city.
const SEES_ALL: Tier = Tier::Gate;

/// A 200 with JSON, in which a sealed text that the caller may see has its `text` beside its commitment.
pub async fn json(asked: &Asked, body: &impl Serialize) -> Result<Response, Problem> {
    let mut value = serde_json::to_value(body).map_err(|error| {
        tracing::error!(%error, "an answer is no JSON");
        Problem::new(INTERNAL)
    })?;
    let mut sealed = Vec::new();
    collect(&value, &mut sealed);
    if !sealed.is_empty() {
        let texts = texts(asked, sealed).await?;
        show(&mut value, &texts);
    }
    Ok(axum::Json(value).into_response())
}

/// The object that stands for a sealed text.
pub fn reference(value: &Value) -> Option<SealedRef> {
    let object = value.as_object().filter(|object| object.len() == 3)?;
    let hash = |name: &str| object.get(name)?.as_str().and_then(Hash::from_hex);
    let subject = object.get("subject")?.as_str()?.to_owned();
    Some(SealedRef { subject, ciphertext: hash("ciphertext")?, commitment: hash("commitment")? })
}

fn collect(value: &Value, found: &mut Vec<SealedRef>) {
    if let Some(sealed) = reference(value) {
        found.push(sealed);
        return;
    }
    match value {
        Value::Object(object) => object.values().for_each(|child| collect(child, found)),
        Value::Array(list) => list.iter().for_each(|child| collect(child, found)),
        _ => {}
    }
}

fn show(value: &mut Value, texts: &BTreeMap<Hash, Opened>) {
    if let Some(sealed) = reference(value) {
        if let (Some(opened), Some(object)) = (texts.get(&sealed.ciphertext), value.as_object_mut()) {
            object.insert("text".to_owned(), Value::String(opened.text.as_str().to_owned()));
        }
        return;
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(|child| show(child, texts)),
        Value::Array(list) => list.iter_mut().for_each(|child| show(child, texts)),
        _ => {}
    }
}

/// The texts among these that the caller may see and that were not erased, by the hash of their ciphertext.
pub async fn texts(asked: &Asked, sealed: Vec<SealedRef>) -> Result<BTreeMap<Hash, Opened>, Problem> {
    let city = &asked.app.city;
    let mut visible = BTreeMap::new();
    for subject in sealed.iter().map(|sealed| sealed.subject.as_str()).collect::<BTreeSet<_>>() {
        visible.insert(subject.to_owned(), may_see(city, asked, subject).await?);
    }
    let sealed: Vec<SealedRef> =
        sealed.into_iter().filter(|sealed| visible.get(&sealed.subject) == Some(&true)).collect();
    Ok(open(city, &city.log, &sealed).await?)
}

async fn open(city: &City, log: &Log, sealed: &[SealedRef]) -> Result<BTreeMap<Hash, Opened>, Failure> {
    let digests: Vec<Hash> = sealed.iter().map(|sealed| sealed.ciphertext).collect();
    let payloads = log.payloads(&digests).await?;
    let ciphertexts: BTreeMap<Hash, Vec<u8>> =
        payloads.into_iter().map(|payload| (payload.digest, payload.ciphertext)).collect();
    let mut conn = log.reader().await?;
    let mut texts = BTreeMap::new();
    for reference in sealed {
        let Some(ciphertext) = ciphertexts.get(&reference.ciphertext) else { continue };
        let key = city.vault.subject_key(&mut conn, &reference.subject).await;
        let key = key.map_err(|error| Failure::System(error.to_string()))?;
        let Some(key) = key else { continue };
        match city.vault.open(reference, &key, ciphertext) {
            Ok(opened) => {
                texts.insert(reference.ciphertext, opened);
            }
            // One text that does not open takes nothing from the rest of the answer.
            Err(error) => tracing::error!(%error, ciphertext = %reference.ciphertext, "a sealed text does not open"),
        }
    }
    Ok(texts)
}

async fn may_see(city: &City, asked: &Asked, subject: &str) -> Result<bool, Failure> {
    let permit = &asked.caller.permit;
    if permit.tier >= SEES_ALL {
        return Ok(true);
    }
    let Some(caller) = permit.actor.citizen() else { return Ok(false) };
    if let Ok(citizen) = subject.parse::<CitizenId>() {
        return Ok(citizen == caller);
    }
    if let Ok(guild) = subject.parse::<GuildId>() {
        return is_member(city, guild, caller).await;
    }
    if let Ok(treasury) = subject.parse::<TreasuryId>() {
        if treasury == TreasuryId::of_citizen(caller) {
            return Ok(true);
        }
        return is_member(city, GuildId::from_bits(treasury.bits()), caller).await;
    }
    Ok(false)
}

async fn is_member(city: &City, guild: GuildId, citizen: CitizenId) -> Result<bool, Failure> {
    match city.standing.state(Stream::Guild(guild)).await?.as_ref() {
        State::Guild(guild) if guild.exists() => Ok(guild.active_member(citizen).is_some()),
        _ => Ok(false),
    }
}
