//! Questions about capabilities: what a holder can do, who can do something, why not, and what happened to a grant.

use axum::response::Response;
use domain::grant::check::{Answer, Denied, MAX_AGE_SECONDS, charges};
use domain::grant::kind::CapabilityKind;
use domain::ids::{GrantId, Stream};
use domain::party::{Actor, CitizenKind, HolderId, Tier};
use domain::turn::State;
use domain::{Code, Rejection, Time};
use queries::checks::{Checked, Question};
use queries::inventory::{self as grants, Filter};
use serde::Serialize;
use serde_json::json;

use crate::http::asked::{self, Asked};
use crate::http::problem::Problem;
use crate::http::{now, opened, slugs};

/// Longest freshness window that can be asked for: a year, in seconds.
const LONGEST_AGE: u32 = 31_536_000;

/// `GET /v1/holders/{holder}/grants?kind=&ref=&source=&ended=&after=&limit=`
pub async fn of_holder(mut asked: Asked) -> Result<Response, Problem> {
    let kind = asked.take("kind")?;
    let filter = Filter { kind, ..filter(&mut asked).await? };
    let page = asked.page()?;
    asked.nothing_else()?;
    let holder: HolderId = existing(&asked).await?;
    let mut views = asked.views().await?;
    let found = grants::of_holder(&mut views, holder, &filter, &page).await?;
    let found = grants::effective(&mut views, found, now()).await?;
    drop(views);
    opened::json(&asked, &found).await
}

/// `GET /v1/capabilities/{kind}?ref=&source=&ended=&after=&limit=`: who has it.
pub async fn holders(mut asked: Asked) -> Result<Response, Problem> {
    let filter = filter(&mut asked).await?;
    let page = asked.page()?;
    asked.nothing_else()?;
    let kind: CapabilityKind = asked.path("kind")?;
    let mut views = asked.views().await?;
    let found = grants::holders(&mut views, kind, &filter, &page).await?;
    let found = grants::effective(&mut views, found, now()).await?;
    drop(views);
    opened::json(&asked, &found).await
}

/// `GET /v1/grants/stuck?kind=&ref=&source=&after=&limit=`: more than ten attempts to verify in a row came to nothing.
pub async fn stuck(mut asked: Asked) -> Result<Response, Problem> {
    let kind = asked.take("kind")?;
    let filter = Filter { kind, ..filter(&mut asked).await? };
    let page = asked.page()?;
    asked.nothing_else()?;
    let found = grants::stuck(&mut asked.views().await?, &filter, &page).await?;
    opened::json(&asked, &found).await
}

async fn filter(asked: &mut Asked) -> Result<Filter, Problem> {
    let ended = asked.take("ended")?.unwrap_or(false);
    let source = match asked.take::<String>("source")? {
        Some(named) => Some(slugs::source(&asked.app.city, "source", &named).await?),
        None => None,
    };
    Ok(Filter { kind: None, reference: asked.take("ref")?, source, ended })
}

async fn holder(asked: &Asked) -> Result<HolderId, Problem> {
    slugs::holder(&asked.app.city, "holder", asked.path("holder")?).await
}

/// `GET /v1/grants/{grant}`
pub async fn grant(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let id: GrantId = asked.path("grant")?;
    let found = grants::grant(&mut asked.views().await?, id).await?;
    opened::json(&asked, &found.ok_or_else(|| Problem::missing(Code::GrantNotFound, id))?).await
}

/// `GET /v1/grants/{grant}/history?after=&limit=`: also of one that was pruned.
pub async fn history(mut asked: Asked) -> Result<Response, Problem> {
    let page = asked.page()?;
    asked.nothing_else()?;
    let id: GrantId = asked.path("grant")?;
    let found = grants::history(&mut asked.views().await?, id, &page).await?;
    if found.items.is_empty() && page.after().is_none() {
        return Err(Problem::missing(Code::GrantNotFound, id));
    }
    opened::json(&asked, &found).await
}

/// `GET /v1/capability-actions?kind=&after=&limit=`
pub async fn actions(mut asked: Asked) -> Result<Response, Problem> {
    let kind: CapabilityKind = asked.need("kind")?;
    let page = asked.page()?;
    asked.nothing_else()?;
    asked::json(&grants::actions(&mut asked.views().await?, kind, &page).await?)
}

/// `GET /v1/capability-sources`
pub async fn sources(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    asked::json(&json!({ "items": grants::sources(&mut asked.views().await?).await? }))
}

/// `GET /v1/holders/{holder}/check?kind=&ref=&action=&max_age=`: whether, and why not. Uses nothing up.
pub async fn check(mut asked: Asked) -> Result<Response, Problem> {
    let question = question(&mut asked).await?;
    asked::json(&checked(&asked, &question, now()).await?)
}

async fn checked(asked: &Asked, question: &Question, now: Time) -> Result<Checked, Problem> {
    let city = &asked.app.city;
    city.checks.check(question, now, city.views_reached(), async || asked.views().await).await
}

/// A check, and when a use was refused, from when on another may be possible.
#[derive(Serialize)]
struct Asserted {
    #[serde(flatten)]
    checked: Checked,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_at: Option<Time>,
}

/// `POST /v1/holders/{holder}/assert {kind, ref, action, max_age}`: a check that also consumes one use of the grant and of every one
/// above it. For the holder themselves, for services, and for the city's gate.
pub async fn assert(mut asked: Asked) -> Result<Response, Problem> {
    let question = question(&mut asked).await?;
    may_use(&asked, question.holder).await?;
    // What was taken away before anybody asked is not used any more.
    if let Some(newest) = asked.app.city.log.head().await?.size.checked_sub(1) {
        asked.reach(newest, "at_least").await?;
    }
    let now = now();
    let mut checked = checked(&asked, &question, now).await?;
    let mut free_at = None;
    if checked.answer.is_yes() {
        let rates = charges(&checked.chain).collect();
        if let Err(used_up) = asked.app.city.uses.charge(&rates, now).await? {
            checked.answer = Answer::No { because: Denied::RateLimited, grant: Some(used_up.grant) };
            free_at = Some(used_up.free_at);
        }
    }
    asked::json(&Asserted { checked, free_at })
}

async fn question(asked: &mut Asked) -> Result<Question, Problem> {
    let question = Question {
        holder: holder(asked).await?,
        kind: asked.need("kind")?,
        reference: asked.need("ref")?,
        action: asked.need("action")?,
        max_age_seconds: asked.take("max_age")?.unwrap_or(MAX_AGE_SECONDS),
    };
    asked.nothing_else()?;
    if !(1..=LONGEST_AGE).contains(&question.max_age_seconds) {
        return Err(Problem::invalid("max_age", format!("1 to {LONGEST_AGE} seconds")));
    }
    Ok(question)
}

/// Uses are the holder's: nobody else uses them up, but for those who stand at the doors.
async fn may_use(asked: &Asked, holder: HolderId) -> Result<(), Problem> {
    let permit = &asked.caller.permit;
    let doorkeeper = matches!(permit.actor, Actor::Citizen { kind: CitizenKind::Service, .. });
    if doorkeeper || permit.tier >= Tier::Gate {
        return Ok(());
    }
    let own = match (holder, permit.actor.citizen()) {
        (HolderId::Citizen(holder), Some(caller)) => holder == caller,
        (HolderId::Guild(guild), Some(caller)) => {
            match asked.app.city.standing.state(Stream::Guild(guild)).await?.as_ref() {
                State::Guild(guild) => guild.exists() && guild.active_member(caller).is_some(),
                _ => false,
            }
        }
        _ => false,
    };
    if own {
        Ok(())
    } else {
        Err(Problem::rejected(
            &Rejection::new(Code::NotPermitted).detail("uses are the holder's, a service's or the gate's"),
        ))
    }
}

async fn existing(asked: &Asked) -> Result<HolderId, Problem> {
    let holder = holder(asked).await?;
    let stream = match holder {
        HolderId::Citizen(id) => Stream::Citizen(id),
        HolderId::Guild(id) => Stream::Guild(id),
        HolderId::Squad(_) => return Ok(holder),
    };
    let exists = match asked.app.city.standing.state(stream).await?.as_ref() {
        State::Citizen(citizen) => citizen.exists(),
        State::Guild(guild) => guild.exists(),
        _ => false,
    };
    if exists { Ok(holder) } else { Err(Problem::missing(Code::HolderNotFound, holder)) }
}
