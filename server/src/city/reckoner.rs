//! Puts on record what evidence says: every hour for those of whom something new was attested, every night for everybody whose figures
//! have moved.

use std::sync::Arc;
use std::time::Duration;

use commands::{Pipeline, Request, SubmitError, Verdict};
use domain::Time;
use domain::ids::{CitizenId, ReputationId, Stream};
use domain::reputation::command::RecomputeReputation;
use domain::time::DAY_MICROS;
use eventlog::Log;
use eventlog::sql::Conn;
use identity::Credential;
use projections::views::ViewsDb;
use queries::reputation::{computed_before, outdated};

use super::City;
use crate::http::now;

const EVERY: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(60);
/// Read ahead at the same time, each with a connection of its own.
const SIDES: usize = 2;
/// Computed at a time by each: few, so that whoever sends commands meanwhile hardly notices.
const AT_A_TIME: usize = 16;
/// How far this server's clock may be ahead of the database's, and more: beyond two seconds nobody writes.
const AHEAD_MICROS: i64 = 5_000_000;

/// Whose figures are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of those about whom something changed.
    Changed,
    /// And of those for whom it was not done since midnight.
    Everybodys,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Of how many something was put on record.
    pub recorded: u64,
    /// Of how many it was refused, or could not be asked.
    pub refused: u64,
}

/// Runs until the city ends.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    let mut wait = SOON;
    // The day whose night is over, so that it is not gone through again: for whom it was done, the tables say.
    let mut night_over = None;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if city.pipeline.read_only().is_some() {
            continue;
        }
        match next(&city, &mut night_over).await {
            Ok(Round { refused: 0, recorded: 0 }) => {}
            Ok(Round { refused: 0, recorded }) => tracing::info!(recorded, "reputations were computed"),
            Ok(round) => {
                tracing::warn!(?round, "not every reputation could be computed");
                wait = SOON;
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "reputations cannot be computed");
                wait = SOON;
            }
        }
    }
}

/// The round that is due. A night is over when nothing of it was refused.
pub async fn next(city: &City, night_over: &mut Option<i64>) -> anyhow::Result<Round> {
    let as_of = presently(city).await?;
    let today = as_of.day();
    let whose = if *night_over == Some(today) { Whose::Changed } else { Whose::Everybodys };
    let round = round(city, whose, as_of).await?;
    if round.refused == 0 {
        *night_over = Some(today);
    }
    Ok(round)
}

/// A time that is not in the future for the database: a little ago by this server's clock, and no less than what is recorded.
async fn presently(city: &City) -> anyhow::Result<Time> {
    let recorded = city.log.head().await?.at;
    Ok(Time::from_micros(recorded.max(now().micros() - AHEAD_MICROS)))
}

/// Computes them as of a time. What is refused of one holder stops nothing for the next.
pub async fn round(city: &City, whose: Whose, as_of: Time) -> anyhow::Result<Round> {
    reckon(&city.log, &city.views, &city.pipeline, whose, as_of).await
}

/// The same, wherever there is a log with its tables and its writer.
///
/// All that was ever attested of everybody is read. Not by the writer, for whom others wait: two tasks beside it fold what it will need.
pub async fn reckon(
    log: &Log,
    views: &ViewsDb,
    pipeline: &Pipeline,
    whose: Whose,
    as_of: Time,
) -> anyhow::Result<Round> {
    let midnight = Time::from_micros(as_of.day() * DAY_MICROS);
    let (mut round, mut after) = (Round::default(), None::<CitizenId>);
    let mut sides = Vec::new();
    loop {
        let mut conn = views.reader().await?;
        let page = match whose {
            Whose::Changed => outdated(&mut conn, after).await?,
            Whose::Everybodys => computed_before(&mut conn, midnight, after).await?,
        };
        drop(conn);
        let Some(last) = page.last() else { return Ok(round) };
        after = Some(last.holder);
        while sides.len() < SIDES {
            sides.push(log.beside().await?);
        }
        let holders: Vec<CitizenId> = page.into_iter().map(|row| row.holder).collect();
        let shares = holders.chunks(holders.len().div_ceil(SIDES)).zip(sides.drain(..));
        let tasks = shares.map(|(share, side)| tokio::spawn(compute(side, pipeline.clone(), share.to_vec(), as_of)));
        for task in futures::future::join_all(tasks).await {
            let (side, part) = task??;
            round.recorded += part.recorded;
            round.refused += part.refused;
            sides.push(side);
        }
    }
}

/// Folds what was attested of these, a few at a time, and has the writer put on record what it says.
async fn compute(
    mut side: Conn,
    pipeline: Pipeline,
    holders: Vec<CitizenId>,
    as_of: Time,
) -> anyhow::Result<(Conn, Round)> {
    let mut round = Round::default();
    for few in holders.chunks(AT_A_TIME) {
        let streams = few.iter().map(|holder| stream(*holder)).collect();
        let mut folded = commands::fold(&mut side, &streams).await?;
        let submitted: Vec<_> = few
            .iter()
            .map(|holder| {
                let command = RecomputeReputation { holder: *holder, as_of };
                let request = Request::of(Credential::System, command).with_folded(folded.remove(&stream(*holder)));
                pipeline.submit(request)
            })
            .collect();
        for (holder, answer) in few.iter().zip(futures::future::join_all(submitted).await) {
            match answer.map(|answer| answer.verdict) {
                Ok(Verdict::Done) => round.recorded += 1,
                Ok(Verdict::AlreadyDone) => {}
                Ok(verdict) => {
                    tracing::warn!(%holder, ?verdict, "a reputation was not computed");
                    round.refused += 1;
                }
                Err(SubmitError::Busy { .. }) => round.refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((side, round))
}

const fn stream(holder: CitizenId) -> Stream {
    Stream::Reputation(ReputationId::of(holder))
}
