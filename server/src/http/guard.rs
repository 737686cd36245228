//! The one door: from the `Authorization` header to a permit for one action, or a recorded refusal.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use domain::Code;
use domain::ids::KeyId;
use domain::turn::Permit;
use identity::{Credential, PresentedKey};

use tokio::sync::SemaphorePermit;

use super::App;
use super::problem::{CREDENTIAL_MALFORMED, Problem, RATE_LIMITED, UNAUTHENTICATED};
use super::standing::{Fresh, Refusal};

/// Longest wait for a turn at looking a key up.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(1);

/// Who asks, and what was established about them.
pub struct Caller {
    pub credential: Credential,
    pub permit: Permit,
}

/// Admits the caller to one action. Whoever is turned away is on record: first each, then summarised.
pub async fn admit(app: &App, headers: &HeaderMap, action: &str, fresh: Fresh) -> Result<Caller, Problem> {
    let pipeline = &app.city.pipeline;
    let presented = match presented(headers) {
        Ok(presented) => presented,
        Err(problem) => {
            // On record before the limit: how many there were is part of it.
            pipeline.denied("none", action, &problem.code);
            stranger(app)?;
            return Err(problem);
        }
    };
    // Looking an id up costs reads of the database, and anybody can make up ids: a few at a time, so that those who are known go on.
    let _turn = match app.city.standing.knows(presented.id()) {
        true => None,
        false => Some(turn(app).await?),
    };
    match app.city.standing.permit(&presented, action, fresh).await {
        Ok((credential, permit)) => {
            share(app, presented.id())?;
            Ok(Caller { credential, permit })
        }
        Err(Refusal::Failure(failure)) => Err(failure.into()),
        Err(Refusal::Rejected(rejection)) => {
            let who = app.city.standing.name(presented.id(), &rejection).await;
            pipeline.denied(&who, action, rejection.code.as_str());
            if rejection.code == Code::CredentialInvalid {
                stranger(app)?;
            } else {
                share(app, presented.id())?;
            }
            Err(Problem::rejected(&rejection))
        }
    }
}

/// A turn at looking a key up. Behind too many others nobody waits: asked again, whoever has a good key gets in between.
async fn turn(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    let _place = app.waiting.try_acquire().map_err(|_| limited(LOOKUP_PATIENCE))?;
    let turn = tokio::time::timeout(LOOKUP_PATIENCE, app.lookups.acquire()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| limited(LOOKUP_PATIENCE))
}

fn presented(headers: &HeaderMap) -> Result<PresentedKey, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| Problem::new(UNAUTHENTICATED))?;
    if values.next().is_some() {
        return Err(Problem::new(CREDENTIAL_MALFORMED).detail("two Authorization headers"));
    }
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    let Some((scheme, key)) = text else { return Err(Problem::new(CREDENTIAL_MALFORMED)) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::new(UNAUTHENTICATED).detail("the scheme is Bearer"));
    }
    PresentedKey::parse(key.trim()).map_err(Problem::credential)
}

fn share(app: &App, key: KeyId) -> Result<(), Problem> {
    app.rates.take(key, Instant::now()).map_err(limited)
}

/// Whoever has no good key shares what is left for all of those; callers with one are not held up by them.
pub fn stranger(app: &App) -> Result<(), Problem> {
    app.strangers.take((), Instant::now()).map_err(limited)
}

fn limited(wait: std::time::Duration) -> Problem {
    metrics::counter!("guildhall_rate_limited_total").increment(1);
    Problem::new(RATE_LIMITED).retry_after(wait)
}
