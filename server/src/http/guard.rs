//! The one door: from the `Authorization` header to a permit for one action, or a recorded refusal.

use std::time::Instant;

use axum::http::{HeaderMap, header};
use domain::ids::{KeyId, Stream};
use domain::turn::{Permit, State};
use domain::{Code, Rejection};
use identity::{Credential, PresentedKey};

use super::App;
use super::problem::{CREDENTIAL_MALFORMED, Problem, RATE_LIMITED, UNAUTHENTICATED};
use super::standing::{Fresh, Refusal};

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
        false => app.lookups.acquire().await.ok(),
    };
    match app.city.standing.permit(&presented, action, fresh).await {
        Ok((credential, permit)) => {
            share(app, presented.id())?;
            Ok(Caller { credential, permit })
        }
        Err(Refusal::Failure(failure)) => Err(failure.into()),
        Err(Refusal::Rejected(rejection)) => {
            let who = name(app, presented.id(), &rejection).await;
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
fn stranger(app: &App) -> Result<(), Problem> {
    app.strangers.take((), Instant::now()).map_err(limited)
}

fn limited(wait: std::time::Duration) -> Problem {
    metrics::counter!("guildhall_rate_limited_total").increment(1);
    Problem::new(RATE_LIMITED).retry_after(wait)
}

/// What a refused credential is called on record. Ids that nobody issued are one: else anybody could fill the log with names.
async fn name(app: &App, id: KeyId, rejection: &Rejection) -> String {
    if rejection.code != Code::CredentialInvalid {
        return id.to_string();
    }
    match app.city.standing.state(Stream::Key(id)).await.as_deref() {
        Ok(State::Key(key)) if key.exists() => id.to_string(),
        _ => "unknown".to_owned(),
    }
}
