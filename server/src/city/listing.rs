//! What a source says now of everything that it told of: one listing, within its time, weighed against what is held.

use std::sync::Arc;

use domain::Time;
use domain::grant::command::Verdict;
use domain::grant::event::FailureKind;
use domain::grant::kind::Source;
use sources::{About, Account, Item, KeyedHash, Map, Met, Sink, is_too_much};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::City;
use crate::importing::{Holders, Tables};

/// One source as it is now.
pub struct Listing {
    pub account: Account,
    /// Rows that were not understood, or count for nothing.
    pub wrong: u64,
    /// Why nothing can be said of what is not in it.
    pub trouble: Option<String>,
}

impl Listing {
    pub async fn of(city: &City, source: Source, now: Time) -> anyhow::Result<Self> {
        let mut listing = Self { account: Account::new(now), wrong: 0, trouble: None };
        let map = city.settings.sources.map(source).map(|path| Map::read(source, path));
        match map {
            Some(Ok(map)) => listing.read_in_time(city, map).await?,
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

    /// A source that hangs is one that could not say, and keeps nobody from asking the others.
    async fn read_in_time(&mut self, city: &City, map: Map) -> anyhow::Result<()> {
        let patience = city.settings.sources.patience();
        match tokio::time::timeout(patience, self.read(city, map)).await {
            Ok(read) => read,
            Err(_) => {
                self.fail(FailureKind::TimedOut, format!("is not listed within {} s", patience.as_secs()));
                Ok(())
            }
        }
    }

    async fn read(&mut self, city: &City, map: Map) -> anyhow::Result<()> {
        let (sender, mut items) = mpsc::channel(1000);
        let (keyed, map) = (keyed(city), Arc::new(map));
        // Whoever gives this up gives the listing up as well.
        let mut listing = JoinSet::new();
        let listed = Arc::clone(&map);
        listing.spawn(async move { sources::list(&listed, &keyed, &Sink::new(sender)).await });
        let mut holders = Holders::default();
        while let Some(item) = items.recv().await {
            match item {
                Item::Wrong(wrong) => {
                    self.wrong += 1;
                    self.account.misses(&wrong.about);
                }
                Item::Listed(listed) if self.account.is_another(&listed) => self.wrong += 1,
                Item::Listed(listed) => match holders.of(&map, &listed, &mut Tables(city)).await? {
                    Some(holder) => self.wrong += u64::from(self.account.meet(holder, &listed) == Met::Again),
                    None => self.account.misses(&About::unheld(&listed)),
                },
            }
        }
        while let Some(listed) = listing.join_next().await {
            if let Err(unlisted) = listed? {
                self.fail(unlisted.kind, unlisted.to_string());
            }
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
