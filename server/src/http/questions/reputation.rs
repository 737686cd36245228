//! Questions about reputation: figures now and as of any time, what they are made from, whether somebody can claim, and a curve.

use axum::response::Response;
use domain::guild::Status;
use domain::ids::{CitizenId, EvidenceId, GuildId, GuildRef, ReputationId, Stream};
use domain::party::{MemberId, Tier};
use domain::reputation::evidence::{AsOf, Figure};
use domain::reputation::questions::{Claimant, Explained, Shown, denied, explained, overall, shown};
use domain::reputation::score::{curve, nine, score};
use domain::reputation::{Reputation, figures_of, known};
use domain::time::DAY_MICROS;
use domain::turn::State;
use domain::{Code, Rejection, Time};
use serde::Serialize;
use serde_json::json;

use crate::http::asked::{self, Asked};
use crate::http::now;
use crate::http::problem::{INTERNAL, Problem};

/// Ranks of a guild that see the scoped numbers of its members. Founders make somebody a gate when they want to know.
const SEEING_RANKS: [&str; 2] = ["coordinator", "gate"];
const MOST_POINTS: u32 = 500;
const AXES: [&str; 2] = ["recorded", "effective"];

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

/// A page of evidence, the last recorded first.
#[derive(Serialize)]
struct Pieces {
    holder: CitizenId,
    as_of: Time,
    items: Vec<Explained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<EvidenceId>,
}

/// `GET /v1/citizens/{citizen}/reputation?scope=&as_of=&axis=recorded|effective`: a band for everybody; figures for the holder, the city's gate, and, with a
/// scope, for its gate and coordinators.
pub async fn reputation(mut asked: Asked) -> Result<Response, Problem> {
    let (scope, as_of) = (scope(&mut asked).await?, as_of(&mut asked)?);
    asked.nothing_else()?;
    let (holder, reputation, _) = of(&asked).await?;
    let sees = sees(&asked, holder, scope).await?;
    let answer = worked_out(move || {
        let known = known(reputation.evidence(), scope, as_of);
        let as_of = as_of.time();
        let figures = if sees {
            figures_of(&known, as_of).into_values().filter(|row| scope.is_none() || row.scope == scope).collect()
        } else {
            Vec::new()
        };
        Answer { holder, as_of, shown: shown(&known, as_of), figures }
    });
    asked::json(&answer.await?)
}

/// `GET /v1/citizens/{citizen}/reputation/evidence?scope=&figure=&as_of=&axis=recorded|effective&after=&limit=`: each piece, what is left of it and how much of
/// the figure it is. For those who see figures.
pub async fn evidence(mut asked: Asked) -> Result<Response, Problem> {
    let (scope, as_of) = (scope(&mut asked).await?, as_of(&mut asked)?);
    let figure = figure(&mut asked)?;
    let (after, limit) = (asked.take::<EvidenceId>("after")?, asked.limit()? as usize);
    asked.nothing_else()?;
    let (holder, reputation, _) = of(&asked).await?;
    must_see(&asked, holder, scope).await?;
    let answer = worked_out(move || {
        let explained = explained(reputation.evidence(), scope, figure, as_of);
        let rest = explained.into_iter().skip_while(|piece| after.is_some_and(|after| piece.evidence >= after));
        let mut items: Vec<Explained> = rest.take(limit + 1).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|piece| piece.evidence);
        Pieces { holder, as_of: as_of.time(), items, next }
    });
    asked::json(&answer.await?)
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
    // There is nothing to claim yet but by a threshold: nobody has a claim open.
    let claimant = Claimant { is_active, open_claims: 0 };
    let answer = worked_out(move || {
        let known = known(reputation.evidence(), Some(scope), AsOf::Recorded(as_of));
        let because = denied(&known, claimant, threshold, as_of);
        let lower = nine(overall(&known, as_of).lower());
        json!({ "can": because.is_none(), "because": because, "lower_bound": lower })
    });
    asked::json(&answer.await?)
}

/// `GET /v1/citizens/{citizen}/reputation/history?scope=&figure=&days=&points=&axis=recorded|effective`: a score at equal distances, from
/// all evidence that is known now, or on the axis `recorded` from what was known at each of these times.
pub async fn history(mut asked: Asked) -> Result<Response, Problem> {
    let scope = scope(&mut asked).await?;
    let figure = figure(&mut asked)?;
    let days: u32 = asked.take("days")?.unwrap_or(90);
    let points: u32 = asked.take("points")?.unwrap_or(90);
    let as_it_was_known = asked.one_of("axis", &AXES)? == Some("recorded");
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
    let answer = worked_out(move || {
        let times = (1..=i64::from(points)).map(|place| Time::from_micros(until - step * (i64::from(points) - place)));
        let times: Vec<Time> = times.collect();
        let scores = if as_it_was_known {
            let then = |at: &Time| score(figure, &known(reputation.evidence(), scope, AsOf::Recorded(*at)), *at);
            times.iter().map(then).collect()
        } else {
            let evidence = known(reputation.evidence(), scope, AsOf::Effective(Time::from_micros(until)));
            curve(figure, &evidence, times.iter().copied())
        };
        let items: Vec<_> =
            times.iter().zip(scores).map(|(at, score)| json!({ "at": at, "score": nine(score) })).collect();
        json!({ "holder": holder, "figure": figure, "items": items })
    });
    asked::json(&answer.await?)
}

/// Works on all the evidence somebody has, beside the threads that serve everybody else.
async fn worked_out<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "figures could not be worked out");
        Problem::new(INTERNAL)
    })
}

async fn scope(asked: &mut Asked) -> Result<Option<GuildId>, Problem> {
    let Some(guild) = asked.take::<GuildRef>("scope")? else { return Ok(None) };
    let found = queries::guilds::guild(&mut asked.views().await?, &guild).await?;
    found.map(|guild| Some(guild.guild)).ok_or_else(|| Problem::missing(Code::GuildNotFound, guild))
}

fn as_of(asked: &mut Asked) -> Result<AsOf, Problem> {
    let now = now();
    let (time, axis) = (asked.take::<Time>("as_of")?, asked.one_of("axis", &AXES)?);
    match (time, axis) {
        (Some(time), _) if time > now => Err(Problem::invalid("as_of", "is in the future")),
        (None, Some(_)) => Err(Problem::invalid("axis", "goes with as_of=")),
        (Some(time), Some("effective")) => Ok(AsOf::Effective(time)),
        (time, _) => Ok(AsOf::Recorded(time.unwrap_or(now))),
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
        State::Guild(guild) if guild.exists() && guild.status() != Status::Dissolved => {
            let rank = guild.active_member(caller).map(|member| member.rank.as_str());
            let is_member = guild.member(MemberId::Citizen(holder)).is_some();
            is_member && rank.is_some_and(|rank| SEEING_RANKS.contains(&rank))
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
