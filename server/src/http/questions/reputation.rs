//! Questions about reputation: figures now and as of any time, what they are made from, whether somebody can claim, and a curve.

use axum::response::Response;
use domain::ids::{CitizenId, GuildId, GuildRef, ReputationId, Stream};
use domain::party::Tier;
use domain::reputation::evidence::{Evidence, Figure};
use domain::reputation::questions::{Explained, Shown, denied, explained, known, overall, shown};
use domain::reputation::score::{nine, score};
use domain::reputation::{Reputation, figures};
use domain::time::DAY_MICROS;
use domain::turn::State;
use domain::{Code, Rejection, Time};
use serde::Serialize;
use serde_json::json;

use crate::http::asked::{self, Asked};
use crate::http::now;
use crate::http::problem::Problem;

/// Ranks of a guild that see the scoped numbers of its members.
const SEEING_RANKS: [&str; 3] = ["founder", "gate", "coordinator"];
const MOST_POINTS: u32 = 500;

#[derive(Serialize)]
struct Answer {
    holder: CitizenId,
    as_of: Time,
    #[serde(flatten)]
    shown: Shown,
    /// Raw numbers, for those who may see them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    figures: Vec<domain::reputation::event::Row>,
}

/// `GET /v1/citizens/{citizen}/reputation?scope=&as_of=`: a band for everybody; figures for the holder, the city's gate, and, with a
/// scope, for its gate and coordinators.
pub async fn reputation(mut asked: Asked) -> Result<Response, Problem> {
    let (scope, as_of) = (scope(&mut asked).await?, as_of(&mut asked)?);
    asked.nothing_else()?;
    let (holder, reputation, _) = of(&asked).await?;
    let known = known(reputation.evidence(), scope, as_of);
    let figures = if sees(&asked, holder, scope).await? {
        figures(&known, as_of).into_values().filter(|row| scope.is_none() || row.scope == scope).collect()
    } else {
        Vec::new()
    };
    asked::json(&Answer { holder, as_of, shown: shown(&known, as_of), figures })
}

/// `GET /v1/citizens/{citizen}/reputation/evidence?scope=&figure=&as_of=`: each piece, and what it is worth. For those who see figures.
pub async fn evidence(mut asked: Asked) -> Result<Response, Problem> {
    let (scope, as_of) = (scope(&mut asked).await?, as_of(&mut asked)?);
    let figure = figure(&mut asked)?;
    asked.nothing_else()?;
    let (holder, reputation, _) = of(&asked).await?;
    must_see(&asked, holder, scope).await?;
    let items: Vec<Explained> = explained(&known(reputation.evidence(), scope, as_of), figure, as_of);
    asked::json(&json!({ "holder": holder, "as_of": as_of, "items": items }))
}

/// `GET /v1/citizens/{citizen}/reputation/can-claim?scope=&threshold=`: whether the overall lower bound in a scope reaches so far, and
/// why not. For the holder and the city's gate.
pub async fn can_claim(mut asked: Asked) -> Result<Response, Problem> {
    let scope = scope(&mut asked).await?.ok_or_else(|| Problem::invalid("scope", "is missing"))?;
    let threshold: f64 = asked.need("threshold")?;
    asked.nothing_else()?;
    if !threshold.is_finite() {
        return Err(Problem::invalid("threshold", "a number"));
    }
    let (holder, reputation, is_active) = of(&asked).await?;
    must_see(&asked, holder, None).await?;
    let as_of = now();
    let known = known(reputation.evidence(), Some(scope), as_of);
    let because = denied(&known, is_active, threshold, as_of);
    let lower = nine(overall(&known, as_of).lower());
    asked::json(&json!({ "can": because.is_none(), "because": because, "lower_bound": lower }))
}

/// `GET /v1/citizens/{citizen}/reputation/history?scope=&figure=&days=&points=`: a score at equal distances, from evidence known now.
pub async fn history(mut asked: Asked) -> Result<Response, Problem> {
    let scope = scope(&mut asked).await?;
    let figure = figure(&mut asked)?;
    let days: u32 = asked.take("days")?.unwrap_or(90);
    let points: u32 = asked.take("points")?.unwrap_or(90);
    asked.nothing_else()?;
    if !(1..=3650).contains(&days) {
        return Err(Problem::invalid("days", "1 to 3650"));
    }
    if !(2..=MOST_POINTS).contains(&points) {
        return Err(Problem::invalid("points", format!("2 to {MOST_POINTS}")));
    }
    let (holder, reputation, _) = of(&asked).await?;
    must_see(&asked, holder, scope).await?;
    let (until, step) = (now().micros(), i64::from(days) * DAY_MICROS / i64::from(points - 1));
    let evidence: Vec<Evidence> = known(reputation.evidence(), scope, Time::from_micros(until));
    let items: Vec<_> = (0..i64::from(points))
        .map(|place| Time::from_micros(until - step * (i64::from(points) - 1 - place)))
        .map(|at| {
            let counts = |piece: &&Evidence| piece.effective_at <= at && figure.counts(piece.kind);
            let by_then: Vec<Evidence> = evidence.iter().filter(counts).copied().collect();
            json!({ "at": at, "score": nine(score(figure, &by_then, at)) })
        })
        .collect();
    asked::json(&json!({ "holder": holder, "figure": figure, "items": items }))
}

async fn scope(asked: &mut Asked) -> Result<Option<GuildId>, Problem> {
    let Some(guild) = asked.take::<GuildRef>("scope")? else { return Ok(None) };
    let found = queries::guilds::guild(&mut asked.views().await?, &guild).await?;
    found.map(|guild| Some(guild.guild)).ok_or_else(|| Problem::missing(Code::GuildNotFound, guild))
}

fn as_of(asked: &mut Asked) -> Result<Time, Problem> {
    let now = now();
    match asked.take::<Time>("as_of")? {
        Some(as_of) if as_of > now => Err(Problem::invalid("as_of", "is in the future")),
        as_of => Ok(as_of.unwrap_or(now)),
    }
}

fn figure(asked: &mut Asked) -> Result<Figure, Problem> {
    let word = asked.one_of("figure", &["overall", "reliability", "quality", "compliance"])?;
    Ok(match word {
        Some("reliability") => Figure::Reliability,
        Some("quality") => Figure::Quality,
        Some("compliance") => Figure::Compliance,
        _ => Figure::Overall,
    })
}

async fn of(asked: &Asked) -> Result<(CitizenId, Reputation, bool), Problem> {
    let holder: CitizenId = asked.path("citizen")?;
    let standing = &asked.app.city.standing;
    let is_active = match standing.state(Stream::Citizen(holder)).await?.as_ref() {
        State::Citizen(citizen) if citizen.exists() => citizen.is_active(),
        _ => return Err(Problem::missing(Code::CitizenNotFound, holder)),
    };
    let reputation = match standing.state(Stream::Reputation(ReputationId::of(holder))).await?.as_ref() {
        State::Reputation(reputation) => reputation.clone(),
        _ => Reputation::default(),
    };
    Ok((holder, reputation, is_active))
}

/// Who sees raw numbers: the holder, the city's gate and above; those of one scope also its gate and coordinators, of its members.
async fn sees(asked: &Asked, holder: CitizenId, scope: Option<GuildId>) -> Result<bool, Problem> {
    let permit = &asked.caller.permit;
    let Some(caller) = permit.actor.citizen() else { return Ok(permit.tier >= Tier::Gate) };
    if caller == holder || permit.tier >= Tier::Gate {
        return Ok(true);
    }
    let Some(scope) = scope else { return Ok(false) };
    Ok(match asked.app.city.standing.state(Stream::Guild(scope)).await?.as_ref() {
        State::Guild(guild) if guild.exists() => {
            let rank = guild.active_member(caller).map(|member| member.rank.as_str().to_owned());
            rank.is_some_and(|rank| SEEING_RANKS.contains(&rank.as_str())) && guild.active_member(holder).is_some()
        }
        _ => false,
    })
}

async fn must_see(asked: &Asked, holder: CitizenId, scope: Option<GuildId>) -> Result<(), Problem> {
    if sees(asked, holder, scope).await? {
        return Ok(());
    }
    let detail = "numbers are the holder's, the city's gate's, and in a scope its gate's and coordinators'";
    Err(Problem::rejected(&Rejection::new(Code::NotPermitted).detail(detail)))
}
