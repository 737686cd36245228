//! Asks sources again whether what they told is still so: every hour, and on demand. One listing of a source verifies all of its grants
//! that are due.
//!
//! Invariant: with healthy sources no grant is ever older than a day: it is due after eighteen hours, and an hour later it was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commands::{Request, SubmitError};
use domain::Time;
use domain::grant::command::{ExpireGrant, Finding, RecordVerifications, Verdict};
use domain::grant::kind::{CapabilityKind, Source};
use domain::ids::{CitizenId, GrantId};
use identity::Credential;
use queries::due::DueGrant;
use serde::Serialize;

use super::City;
use super::listing::Listing;

const EVERY: Duration = Duration::from_secs(3600);
/// After a start, and after a round that left something: soon enough for what somebody asked for.
const SOON: Duration = Duration::from_secs(60);
/// Grants of one batch.
const BATCH: u32 = 1000;
/// Grants of holders who are gone: each may have many below it.
const LEFT: u32 = 100;
/// How long the tables may take to follow.
const VIEWS: Duration = Duration::from_secs(60);

/// Who can say whether a capability of a kind is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verifier {
    /// The source that told of it, by its listing.
    Source(Source),
    /// Memberships and roles end their grants in the append that changes them: there is nothing to ask afterwards.
    City,
}

/// The registry: one verifier for each kind.
pub const fn verifier(kind: CapabilityKind) -> Verifier {
    match kind {
        CapabilityKind::Credential => Verifier::Source(Source::D1Tokens),
        CapabilityKind::Tool | CapabilityKind::McpServer => Verifier::Source(Source::PluginYaml),
        CapabilityKind::Automation => Verifier::Source(Source::GhlWorkflows),
        CapabilityKind::Template => Verifier::Source(Source::FsSkills),
        CapabilityKind::OauthConnection => Verifier::Source(Source::PgConnections),
        CapabilityKind::GuildRole | CapabilityKind::DataAccess => Verifier::City,
    }
}

/// What a round found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Round {
    pub due: u64,
    pub alive: u64,
    pub gone: u64,
    pub revoked: u64,
    pub expired: u64,
    /// The source could not say.
    pub unknown: u64,
    /// Why, by source.
    pub trouble: BTreeMap<String, String>,
    /// Rows that were not understood, by source: `guildhall import --dry-run` shows them.
    pub wrong: BTreeMap<String, u64>,
    /// Living grants of sources without a mapping file; asked for by whoever orders a round.
    pub unconfigured: BTreeMap<String, u64>,
    pub dry_run: bool,
}

impl Round {
    fn count(&mut self, verdict: Verdict) {
        self.due += 1;
        *match verdict {
            Verdict::Alive => &mut self.alive,
            Verdict::Gone => &mut self.gone,
            Verdict::Revoked => &mut self.revoked,
            Verdict::Expired => &mut self.expired,
            Verdict::Unknown(_) => &mut self.unknown,
        } += 1;
    }
}

/// Runs until the city ends, in the middle of a round as well.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    let mut wait = SOON;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if city.pipeline.read_only().is_some() {
            continue;
        }
        let worked = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            worked = hourly(&city) => worked,
        };
        if let Err(error) = worked {
            tracing::warn!(error = format!("{error:#}"), "grants cannot be verified");
            wait = SOON;
        }
    }
}

async fn hourly(city: &City) -> anyhow::Result<()> {
    // The clock that entries are dated by: what was verified is due no more by the same clock.
    let now = Time::from_micros(city.log.clock());
    let round = round(city, now, false).await?;
    if round.due > 0 {
        tracing::info!(?round, "grants were verified");
    }
    end_what_is_left(city).await?;
    city.uses.prune(now).await?;
    Ok(())
}

/// Verifies everything that is due, a thousand at a time.
pub async fn round(city: &City, now: Time, dry_run: bool) -> anyhow::Result<Round> {
    let mut round = Round { dry_run, ..Round::default() };
    let mut listings: BTreeMap<String, Listing> = BTreeMap::new();
    let asked_at = Time::from_micros(city.log.clock());
    loop {
        let due = queries::due::grants_to_verify(&mut city.views.reader().await?, now, BATCH).await?;
        if due.is_empty() {
            return Ok(round);
        }
        let mut findings = Vec::with_capacity(due.len());
        for grant in &due {
            let kind = grant.kind.parse()?;
            let Verifier::Source(source) = verifier(kind) else { continue };
            let name = source.to_string();
            if !listings.contains_key(&name) {
                let listing = Listing::of(city, source, now).await?;
                round.trouble.extend(listing.trouble.as_ref().map(|what| (name.clone(), what.clone())));
                round.wrong.extend((listing.wrong > 0).then(|| (name.clone(), listing.wrong)));
                listings.insert(name.clone(), listing);
            }
            let verdict = listings[&name].account.verdict(grant.holder, kind, &grant.reference);
            round.count(verdict);
            findings.push(Finding { holder: grant.holder, grant: grant.grant_id, verdict });
        }
        if dry_run {
            // The rest of what is due would be read as the same again.
            return Ok(round);
        }
        let Recorded { position, refused } = record(city, findings, Some(asked_at), None).await?;
        anyhow::ensure!(refused.is_empty(), "findings were refused: {refused:?}");
        // What was verified is due no more, once the tables know it. Without news they are behind: next time.
        let Some(position) = position else { return Ok(round) };
        anyhow::ensure!(city.views_reach(position, VIEWS).await?, "the tables do not follow");
    }
}

/// What became of findings.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The last entry, if there is any.
    pub position: Option<u64>,
    /// Findings that the rules refuse, and why.
    pub refused: Vec<(GrantId, String)>,
}

/// Records findings in as many acts as it takes: one that would change too much is halved, and so is one that is refused for one finding
/// among many. One alone is never too much. `asked_at`: when the source was asked. `importer`: whose import found it out, who may say what
/// the source has.
pub async fn record(
    city: &City,
    findings: Vec<Finding>,
    asked_at: Option<Time>,
    importer: Option<CitizenId>,
) -> Result<Recorded, SubmitError> {
    let mut recorded = Recorded::default();
    let mut waiting = vec![findings];
    while let Some(mut findings) = waiting.pop() {
        let Some(first) = findings.first().map(|finding| finding.grant) else { continue };
        let command = RecordVerifications { findings: findings.clone(), asked_at };
        let request = Request::of(Credential::System, command).on_behalf_of(importer);
        let answer = city.pipeline.submit(request).await?;
        recorded.position = recorded.position.max(answer.position());
        let commands::Verdict::Rejected { code, .. } = answer.verdict else { continue };
        if findings.len() == 1 {
            recorded.refused.push((first, code));
        } else {
            waiting.push(findings.split_off(findings.len() / 2));
            waiting.push(findings);
        }
    }
    Ok(recorded)
}

/// Of holders who are gone: what had no room in the append of their end.
pub async fn end_what_is_left(city: &City) -> anyhow::Result<()> {
    loop {
        let left = queries::due::grants_of_the_gone(&mut city.views.reader().await?, LEFT).await?;
        let mut position = None;
        for DueGrant { grant_id: grant, holder } in left {
            let answer = city.pipeline.submit(Request::of(Credential::System, ExpireGrant { holder, grant })).await?;
            position = position.max(answer.position());
        }
        let Some(position) = position else { return Ok(()) };
        anyhow::ensure!(city.views_reach(position, VIEWS).await?, "the tables do not follow");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_verifier_that_speaks_of_it() {
        for kind in CapabilityKind::ALL {
            match verifier(kind) {
                Verifier::Source(source) => assert!(source.is_imported() && source.speaks_of(kind), "{kind}"),
                Verifier::City => assert!(kind.is_computed(), "{kind}"),
            }
        }
    }
}
