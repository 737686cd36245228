//! From a credential and an action to a permit, against states folded from the log.
//!
//! Called twice for every command: when the request arrives, and by the writer under its lock against the head. The
//! second answer counts, so a revocation takes effect at its own position, on every server.

use std::sync::Arc;

use domain::Time;
use domain::citizen::Citizen;
use domain::city::City;
use domain::city::policy::lowest_tier;
use domain::ids::{CitizenId, KeyId, Stream};
use domain::key::Key;
use domain::party::{Actor, Tier};
use domain::rejection::{Code, Rejection};
use domain::turn::{Missing, Permit, Scene, State, Stop};

use crate::key::{Pepper, PresentedKey};

/// What a request relies on, once its secret has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    Key(KeyId),
    /// The city's own workers: the first start, and what time alone brings about.
    System,
}

/// What a refusal by this room means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The credential is not good (any more): present another one.
    Unauthenticated,
    /// The credential is good and does not reach this far: asking again changes nothing.
    Forbidden,
}

/// A refusal by this room, with what it means. The codes of the rules of commands are not for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rejection}")]
pub struct Refused {
    pub verdict: Verdict,
    pub rejection: Rejection,
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        let verdict = match rejection.code {
            Code::CredentialInvalid | Code::CredentialRevoked | Code::CredentialExpired => Verdict::Unauthenticated,
            _ => Verdict::Forbidden,
        };
        Self { verdict, rejection }
    }
}

/// Says which credential a presented key is. A key that never existed and a wrong secret get one answer.
pub fn authenticate(scene: &dyn Scene, presented: &PresentedKey, pepper: &Pepper) -> Result<Credential, Stop> {
    let key = issued(scene, presented.id())?;
    if pepper.fits(presented, &key.verifier()) {
        return Ok(Credential::Key(presented.id()));
    }
    Err(Code::CredentialInvalid.into())
}

/// Says what the credential may do now. Denies whatever nothing allows.
pub fn authorize(scene: &dyn Scene, credential: &Credential, action: &str, now: Time) -> Result<Permit, Stop> {
    match credential {
        Credential::System => authorize_worker(action),
        Credential::Key(id) => authorize_key(scene, *id, action, now),
    }
}

/// Workers hold no tier, so no rule that asks for one lets them through.
fn authorize_worker(action: &str) -> Result<Permit, Stop> {
    if is_workers_own(action) {
        return Ok(Permit { actor: Actor::System, tier: Tier::Observer, via: None });
    }
    Err(Rejection::new(Code::NotPermitted).detail("not a worker's action").into())
}

/// What the city's own workers do: the first start, letting somebody in again, what time alone brings about, and what sources say.
const WORKERS_OWN: [&str; 9] = [
    "city.found",
    "key.recover",
    "guild.expire_proposal",
    "treasury.expire_hold",
    "treasury.expire_transfer",
    "grant.record_verifications",
    "grant.expire",
    "grant.prune",
    "reputation.recompute",
];

fn is_workers_own(action: &str) -> bool {
    WORKERS_OWN.contains(&action)
}

fn authorize_key(scene: &dyn Scene, id: KeyId, action: &str, now: Time) -> Result<Permit, Stop> {
    let key = issued(scene, id)?;
    if key.is_revoked() {
        return Err(Code::CredentialRevoked.into());
    }
    if key.is_expired(now) {
        return Err(Code::CredentialExpired.into());
    }
    let citizen = citizen(scene, key.citizen())?;
    if !citizen.is_active() {
        return Err(Code::ActorNotActive.into());
    }
    let Some(lowest) = lowest_tier(action) else { return Err(Code::UnknownAction.into()) };
    if !key.allows(action) {
        return Err(Rejection::new(Code::CredentialScope).detail(action).into());
    }
    let city = city(scene)?;
    let refused = || {
        let detail = format!("{action} takes tier {} or a role that lists it", domain::city::seed_role(lowest));
        Stop::from(Rejection::new(Code::NotPermitted).detail(detail))
    };
    // Without any role there is no tier to name, and nothing to permit.
    let tier = city.tier_of(citizen).ok_or_else(refused)?;
    if !city.permits(citizen, action) {
        return Err(refused());
    }
    Ok(Permit { actor: Actor::Citizen { kind: citizen.kind(), id: key.citizen() }, tier, via: Some(id) })
}

fn state(scene: &dyn Scene, stream: Stream) -> Result<&State, Stop> {
    scene.state(stream).map(Arc::as_ref).ok_or(Stop::Missing(Missing::Stream(stream)))
}

fn issued(scene: &dyn Scene, id: KeyId) -> Result<&Key, Stop> {
    match state(scene, Stream::Key(id))? {
        State::Key(key) if key.exists() => Ok(key),
        _ => Err(Code::CredentialInvalid.into()),
    }
}

fn citizen(scene: &dyn Scene, id: CitizenId) -> Result<&Citizen, Stop> {
    match state(scene, Stream::Citizen(id))? {
        State::Citizen(citizen) => Ok(citizen),
        other => unreachable!("a citizen's stream holds {other:?}"),
    }
}

fn city(scene: &dyn Scene) -> Result<&City, Stop> {
    match state(scene, Stream::City)? {
        State::City(city) => Ok(city),
        other => unreachable!("the city's stream holds {other:?}"),
    }
}

#[cfg(test)]
mod tests;
