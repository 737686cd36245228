//! Puts on record what evidence says: every hour for those of whom something new was attested, every night for everybody whose figures
//! have moved.

use std::sync::Arc;
use std::time::Duration;

use commands::Request;
use domain::Time;
use domain::ids::CitizenId;
use domain::reputation::command::RecomputeReputation;
use futures::StreamExt as _;
use identity::Credential;
use queries::reputation::{all, outdated};

use super::City;
use crate::http::now;

const EVERY: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(60);
/// Computed at a time: few, so that whoever sends commands meanwhile hardly notices.
const AT_A_TIME: usize = 32;

/// Whose figures are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Changed,
    Everybodys,
}

/// Runs until the city ends.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    let mut wait = SOON;
    let mut night = now().day();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if city.pipeline.read_only().is_some() {
            continue;
        }
        let today = now().day();
        let whose = if today == night { Whose::Changed } else { Whose::Everybodys };
        match round(&city, whose, now()).await {
            Ok(computed) => {
                night = today;
                if computed > 0 {
                    tracing::info!(computed, ?whose, "reputations were computed");
                }
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "reputations cannot be computed");
                wait = SOON;
            }
        }
    }
}

/// Computes them as of a time; answers of how many something was put on record.
pub async fn round(city: &City, whose: Whose, as_of: Time) -> anyhow::Result<u64> {
    let (mut recorded, mut after) = (0, None::<CitizenId>);
    loop {
        let mut conn = city.views.reader().await?;
        let page = match whose {
            Whose::Changed => outdated(&mut conn, after).await?,
            Whose::Everybodys => all(&mut conn, after).await?,
        };
        drop(conn);
        let Some(last) = page.last() else { return Ok(recorded) };
        after = Some(last.holder);
        let mut submitted = Vec::with_capacity(page.len());
        for holder in page {
            let command = RecomputeReputation { holder: holder.holder, as_of };
            submitted.push(city.pipeline.submit(Request::of(Credential::System, command)));
        }
        let mut settled = futures::stream::iter(submitted).buffer_unordered(AT_A_TIME);
        while let Some(answer) = settled.next().await {
            recorded += u64::from(answer?.verdict == commands::Verdict::Done);
        }
    }
}
