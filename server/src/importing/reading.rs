//! A source while it is listed: who has what, what counts, and what is wrong with the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::grant::event::FailureKind;
use domain::time::Time;
use sources::{About, Account, Item, KeyedHash, Life, Listed, Map, Met, Sink, Unlisted, Wrong};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::spool::Spool;
use super::{CHUNK, Guilds, Holders, Import, Report};
use crate::http::now;

pub(super) struct Reading {
    pub account: Account,
    pub spool: Spool,
    pub report: Report,
    holders: Holders,
}

impl Reading {
    pub fn new(scratch: &Path, report: Report) -> anyhow::Result<Self> {
        let (account, spool) = (Account::new(now()), Spool::open(scratch)?);
        Ok(Self { account, spool, report, holders: Holders::default() })
    }

    /// Lists the source to its end, or for as long as that may take: what was read by then is so.
    pub async fn read(
        &mut self,
        map: Arc<Map>,
        keyed: KeyedHash,
        patience: Duration,
        guilds: &mut impl Guilds,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> anyhow::Result<()> {
        let listed = match tokio::time::timeout(patience, self.list(&map, keyed, guilds, progress)).await {
            Ok(listed) => listed?,
            Err(_) => Err(Unlisted {
                kind: FailureKind::TimedOut,
                place: map.source.to_string(),
                what: format!("is not listed within {} s (sources.listing_seconds)", patience.as_secs()),
            }),
        };
        if let Err(unlisted) = listed {
            self.account.breaks_off(unlisted.kind);
            self.report.unlisted = Some(unlisted.to_string());
        }
        Ok(())
    }

    async fn list(
        &mut self,
        map: &Arc<Map>,
        keyed: KeyedHash,
        guilds: &mut impl Guilds,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> anyhow::Result<Result<(), Unlisted>> {
        let (sender, mut items) = mpsc::channel(CHUNK);
        // Whoever gives this up gives the listing up as well.
        let mut listing = JoinSet::new();
        let listed = Arc::clone(map);
        listing.spawn(async move { sources::list(&listed, &keyed, &Sink::new(sender)).await });
        while let Some(item) = items.recv().await {
            self.report.listed += 1;
            progress(0, self.report.listed);
            match item {
                Item::Wrong(wrong) => self.wrong(wrong),
                Item::Listed(listed) => self.meet(*listed, map, guilds).await?,
            }
        }
        listing.join_next().await.unwrap_or(Ok(Ok(()))).map_err(Into::into)
    }

    fn wrong(&mut self, Wrong { place, what, about }: Wrong) {
        self.account.misses(&about);
        self.report.wrong += 1;
        self.report.row(place, what);
    }

    async fn meet(&mut self, listed: Listed, map: &Map, guilds: &mut impl Guilds) -> anyhow::Result<()> {
        if self.account.is_another(&listed) {
            self.report.wrong += 1;
            let what = format!("another {} stands under {} already: neither counts", listed.kind, listed.reference);
            self.report.row(listed.place, what);
            return Ok(());
        }
        let Some(holder) = self.holders.of(map, &listed, guilds).await? else {
            self.account.misses(&About::unheld(&listed));
            self.report.unmapped += 1;
            let names = listed.names.join(", ");
            let what = format!("unmapped_holder: the map names none of {names}, or a guild that is not there");
            self.report.row(listed.place, what);
            return Ok(());
        };
        if self.account.meet(holder, &listed) == Met::Again {
            self.report.wrong += 1;
            let counts = if listed.life == Life::Living { "the first counts" } else { "that it ended counts" };
            let what = format!("a second {} {} of {holder}: {counts}", listed.kind, listed.reference);
            self.report.row(listed.place, what);
            return Ok(());
        }
        let Listed { kind, reference, read_only, expires_at, details, .. } = listed;
        // What was over before the log's first possible time is over, whenever that was.
        let expires_at = expires_at.map(|end| end.max(Time::from_micros(0)));
        self.spool.push(&Import { holder, kind, reference, source: map.source, read_only, expires_at, details })
    }
}
