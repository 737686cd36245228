//! Records what time alone brings about: holds, offers and proposals past their end give back what they set aside, grants past
//! theirs end, and those that ended long ago leave the table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::{Request, Verdict};
use domain::Command;
use domain::grant::command::{ExpireGrant, PruneGrant};
use domain::grant::verification::PRUNE_AFTER_DAYS;
use domain::guild::command::ExpireProposal;
use domain::time::{DAY_MICROS, Time};
use domain::treasury::command::{ExpireHold, ExpireTransfer};
use identity::Credential;
use queries::QueryError;
use queries::due::{DueGrant, DueHold, DueProposal, DueTransfer};

use super::City;
use crate::http::now;

const EVERY: Duration = Duration::from_secs(1);
/// What was refused is tried again after this long: the views were behind, or a rule says no for now.
const AGAIN: Duration = Duration::from_secs(30);

/// Runs until the city ends.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    let mut tried: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if city.pipeline.read_only().is_some() {
            continue;
        }
        tried.retain(|_, at| at.elapsed() < AGAIN);
        match due(&city).await {
            Ok(due) => {
                let due: Vec<(String, Command)> = due.into_iter().filter(|(id, _)| !tried.contains_key(id)).collect();
                // All at once: the writer settles them in one batch.
                let settled = due.into_iter().map(|(id, command)| expire(&city, id, command));
                tried.extend(futures::future::join_all(settled).await.into_iter().map(|id| (id, Instant::now())));
            }
            Err(failure) => tracing::warn!(%failure, "what has expired cannot be looked up"),
        }
    }
}

async fn due(city: &City) -> Result<Vec<(String, Command)>, QueryError> {
    let mut conn = city.views.reader().await?;
    let now = now();
    let mut due: Vec<(String, Command)> = Vec::new();
    for DueHold { hold, treasury, .. } in queries::due::holds(&mut conn, now).await? {
        due.push((hold.to_string(), ExpireHold { treasury, hold }.into()));
    }
    for DueTransfer { offer, sender, .. } in queries::due::transfers(&mut conn, now).await? {
        due.push((offer.to_string(), ExpireTransfer { treasury: sender, offer }.into()));
    }
    for DueProposal { proposal, guild, .. } in queries::due::proposals(&mut conn, now).await? {
        due.push((proposal.to_string(), ExpireProposal { guild: guild.into(), proposal }.into()));
    }
    for DueGrant { grant_id: grant, holder } in queries::due::grants_to_expire(&mut conn, now).await? {
        due.push((grant.to_string(), ExpireGrant { holder, grant }.into()));
    }
    for DueGrant { grant_id: grant, holder } in queries::due::grants_to_prune(&mut conn, long_ago(now)).await? {
        due.push((grant.to_string(), PruneGrant { holder, grant }.into()));
    }
    Ok(due)
}

fn long_ago(now: Time) -> Time {
    Time::from_micros(now.micros() - i64::from(PRUNE_AFTER_DAYS) * DAY_MICROS)
}

async fn expire(city: &City, id: String, command: Command) -> String {
    let action = command.action();
    match city.pipeline.submit(Request::of(Credential::System, command)).await {
        Ok(answer) => match answer.verdict {
            // Somebody else was faster, or the views had not heard of its end yet.
            Verdict::Rejected { code, .. } => tracing::debug!(%id, action, %code, "not expired"),
            _ => {
                metrics::counter!("guildhall_expired_total", "action" => action).increment(1);
                tracing::info!(%id, action, "expired");
            }
        },
        Err(error) => tracing::warn!(%id, action, %error, "could not be expired"),
    }
    id
}
