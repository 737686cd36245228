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
use futures::{StreamExt as _, TryStreamExt as _, stream};
use identity::Credential;
use projections::views::ViewsDb;
use queries::reputation::{computed_before, outdated};
use tokio::sync::{Mutex, watch};

use super::City;
use super::side::Side;
use crate::http::now;

const EVERY: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(60);
/// Read ahead at the same time, each with a connection of its own.
const SIDES: usize = 2;
/// Folded at a time by each, in one look at the log: each look finds the file mapped anew.
const AT_A_TIME: usize = 64;
/// So many of these are folded or recorded at once: each side has one before it and one in hand, and the writer as many.
const AT_ONCE: usize = 3 * SIDES;
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
    // The day whose night is over, so that it is not gone through again: for whom it was done, the tables say.
    let night_over = Arc::new(Mutex::new(None));
    let stopping = city.stopping();
    let one = || {
        let (city, night_over) = (Arc::clone(&city), Arc::clone(&night_over));
        async move {
            if city.pipeline.read_only().is_some() {
                return Ok(Round::default());
            }
            next(&city, &mut *night_over.lock().await).await
        }
    };
    rounds(stopping, one).await;
}

/// Every hour one, and sooner after one that left something undone.
async fn rounds<F: Future<Output = anyhow::Result<Round>>>(mut stopping: watch::Receiver<bool>, one: impl Fn() -> F) {
    let mut wait = SOON;
    loop {
        // In the middle of a round as well: what is not on record yet is left for the next start.
        let round = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            round = async {
                tokio::time::sleep(wait).await;
                one().await
            } => round,
        };
        wait = EVERY;
        match round {
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
/// All that was ever attested of everybody is read. Not by the writer, for whom others wait: what it will need is folded beside it, and
/// what it is asked to do it does behind what others ask.
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
            sides.push(Side::start(log.clone())?);
        }
        let holders: Vec<CitizenId> = page.into_iter().map(|row| row.holder).collect();
        let few = holders.chunks(AT_A_TIME).zip(sides.iter().cycle());
        let parts: Vec<_> =
            few.map(|(few, side)| compute(side.clone(), pipeline.clone(), few.to_vec(), as_of)).collect();
        let mut parts = stream::iter(parts).buffer_unordered(AT_ONCE);
        while let Some(part) = parts.try_next().await? {
            round.recorded += part.recorded;
            round.refused += part.refused;
        }
    }
}

/// Folds what was attested of these, and has the writer put on record what it says.
async fn compute(side: Side, pipeline: Pipeline, holders: Vec<CitizenId>, as_of: Time) -> anyhow::Result<Round> {
    let mut folded = side.fold(holders.clone(), as_of).await?;
    let submitted: Vec<_> = holders
        .iter()
        .map(|holder| {
            let command = RecomputeReputation { holder: *holder, as_of };
            let request = Request::of(Credential::System, command).with_folded(folded.remove(&stream_of(*holder)));
            pipeline.submit_behind(request)
        })
        .collect();
    let mut round = Round::default();
    for (holder, answer) in holders.iter().zip(futures::future::join_all(submitted).await) {
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
    Ok(round)
}

const fn stream_of(holder: CitizenId) -> Stream {
    Stream::Reputation(ReputationId::of(holder))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_round_in_the_middle_ends_with_the_city() {
        let (stop, stopping) = watch::channel(false);
        let (begun, done) = (&AtomicU32::new(0), &AtomicU32::new(0));
        let one = || {
            let stop = stop.clone();
            async move {
                match begun.fetch_add(1, Relaxed) {
                    0 => return Ok(Round { recorded: 1, refused: 1 }),
                    1 => anyhow::bail!("nothing can be read"),
                    _ => {}
                }
                stop.send_replace(true);
                tokio::time::sleep(EVERY).await;
                done.fetch_add(1, Relaxed);
                Ok(Round::default())
            }
        };
        let start = tokio::time::Instant::now();
        rounds(stopping, one).await;
        assert_eq!((begun.load(Relaxed), done.load(Relaxed)), (3, 0));
        assert_eq!(start.elapsed(), 3 * SOON, "what was left undone is soon tried again");
    }
}
