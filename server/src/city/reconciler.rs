//! Asks sources again whether what they told is still so: every hour, and on demand. One listing of a source verifies all of its grants
//! that are due.
//!
//! Invariant: with healthy sources no grant is ever older than a day: it is due after eighteen hours, and an hour later it was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commands::Request;
use domain::Time;
use domain::grant::command::{Finding, RecordVerifications, Verdict};
use domain::grant::event::FailureKind;
use domain::grant::kind::{CapabilityKind, Source};
use identity::Credential;
use serde::Serialize;
use sources::{About, Account, Item, KeyedHash, Map, Met, Sink, is_too_much};
use tokio::sync::mpsc;

use super::City;
use crate::http::now;
use crate::importing::{Holders, Tables};

const EVERY: Duration = Duration::from_secs(3600);
/// After a start, and after a round that left something: soon enough for what somebody asked for.
const SOON: Duration = Duration::from_secs(60);
/// Grants of one batch.
const BATCH: u32 = 1000;

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

/// Runs until the city ends.
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
        match round(&city, now(), false).await {
            Ok(round) if round.due == 0 => {}
            Ok(round) => tracing::info!(?round, "grants were verified"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "grants cannot be verified");
                wait = SOON;
            }
        }
    }
}

/// Verifies everything that is due, a thousand at a time.
pub async fn round(city: &City, now: Time, dry_run: bool) -> anyhow::Result<Round> {
    let mut round = Round { dry_run, ..Round::default() };
    let mut listings: BTreeMap<String, Listing> = BTreeMap::new();
    loop {
        let due = queries::due::grants_to_verify(&mut city.views.reader().await?, now, BATCH).await?;
        if due.is_empty() {
            return Ok(round);
        }
        let mut findings = Vec::with_capacity(due.len());
        for grant in &due {
            let name = grant.source.to_string();
            if !listings.contains_key(&name) {
                let listing = Listing::of(city, grant.source).await?;
                round.trouble.extend(listing.trouble.as_ref().map(|what| (name.clone(), what.clone())));
                round.wrong.extend((listing.wrong > 0).then(|| (name.clone(), listing.wrong)));
                listings.insert(name.clone(), listing);
            }
            let verdict = listings[&name].account.verdict(grant.holder, grant.kind.parse()?, &grant.reference);
            round.count(verdict);
            findings.push(Finding { holder: grant.holder, grant: grant.grant_id, verdict });
        }
        if dry_run {
            // The rest of what is due would be read as the same again.
            return Ok(round);
        }
        let answer = city.pipeline.submit(Request::of(Credential::System, RecordVerifications { findings })).await?;
        anyhow::ensure!(!answer.is_rejected(), "findings were refused: {:?}", answer.verdict);
        if let Some(position) = answer.position() {
            // What was verified is due no more, once the tables know it.
            city.views_reach(position, Duration::from_secs(60)).await?;
        }
    }
}

/// One source as it is now.
struct Listing {
    account: Account,
    /// Rows that were not understood, or count for nothing.
    wrong: u64,
    /// Why nothing can be said of what is not in it.
    trouble: Option<String>,
}

impl Listing {
    async fn of(city: &City, source: Source) -> anyhow::Result<Self> {
        let mut listing = Self { account: Account::default(), wrong: 0, trouble: None };
        let map = city.settings.sources.map(source).map(|path| Map::read(source, path));
        match map {
            Some(Ok(map)) => listing.read(city, Arc::new(map)).await?,
            Some(Err(error)) => listing.fail(FailureKind::Unreachable, error.to_string()),
            None => listing.fail(FailureKind::Unreachable, "no mapping file is configured (sources)".to_owned()),
        }
        if listing.trouble.is_none() {
            listing.weigh(city, source).await?;
        }
        Ok(listing)
    }

    fn fail(&mut self, failure: FailureKind, what: String) {
        self.account.breaks_off(failure);
        self.trouble = Some(what);
    }

    async fn read(&mut self, city: &City, map: Arc<Map>) -> anyhow::Result<()> {
        let (sender, mut items) = mpsc::channel(1000);
        let keyed = keyed(city);
        let listed = {
            let map = Arc::clone(&map);
            tokio::spawn(async move { sources::list(&map, &keyed, &Sink::new(sender)).await })
        };
        let mut holders = Holders::default();
        while let Some(item) = items.recv().await {
            match item {
                Item::Wrong(wrong) => {
                    self.wrong += 1;
                    self.account.misses(&wrong.about);
                }
                Item::Listed(listed) => match holders.of(&map, &listed, &mut Tables(city)).await? {
                    Some(holder) => self.wrong += u64::from(self.account.meet(holder, &listed) == Met::Again),
                    None => self.account.misses(&About::Refs(vec![listed.reference])),
                },
            }
        }
        if let Err(unlisted) = listed.await? {
            self.fail(unlisted.kind, unlisted.to_string());
        }
        Ok(())
    }

    /// A source that lost too much of what it had is not believed.
    async fn weigh(&mut self, city: &City, source: Source) -> anyhow::Result<()> {
        let (mut all, mut lost, mut after) = (0_u64, 0_u64, None);
        loop {
            let page = queries::inventory::of_source(&mut city.views.reader().await?, source, after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.grant_id);
            all += page.len() as u64;
            for held in page {
                let verdict = self.account.verdict(held.holder, held.kind.parse()?, &held.reference);
                lost += u64::from(verdict == Verdict::Gone);
            }
        }
        if is_too_much(lost, all) {
            let what =
                format!("lists {lost} of {all} living grants no more: `guildhall import --confirm-loss` ends them");
            self.fail(FailureKind::Malformed, what);
        }
        Ok(())
    }
}

fn keyed(city: &City) -> KeyedHash {
    let pepper = city.standing.shared_pepper();
    Arc::new(move |bytes: &[u8]| pepper.keyed_hash(bytes).to_string())
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
