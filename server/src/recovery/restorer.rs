//! Entries that are there already, written again: through the log's one door, in batches, with the guards that they change.

use anyhow::{Context as _, ensure};
use eventlog::{Append, CommitError, Log, Stored, Writer};
use projections::guards::Guards;
use projections::recorded::{Recorded, decode};

/// Entries of one batch, and about how many bytes. A command's entries stay together: guards hold when it ends, and not before.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 8 << 20;

pub(super) struct Restorer {
    writer: Writer,
    guards: Guards,
    waiting: Vec<Stored>,
    events: Vec<Recorded>,
    bytes: usize,
    /// Entries of one batch, about.
    most: usize,
}

impl Restorer {
    /// On SQLite nobody else writes from now on.
    pub async fn new(log: &Log) -> anyhow::Result<Self> {
        let writer = log.writer().await.context("writing to the log; is a server of this city still running?")?;
        let (guards, waiting, events) = (Guards::default(), Vec::new(), Vec::new());
        Ok(Self { writer, guards, waiting, events, bytes: 0, most: BATCH })
    }

    /// Takes the next entry; a full batch before it is durable when this returns.
    pub async fn push(&mut self, entry: Stored) -> anyhow::Result<()> {
        let event = decode(&entry)?;
        let is_full = self.waiting.len() >= self.most || self.bytes >= BATCH_BYTES;
        if is_full && self.events.last().is_some_and(|last| last.command != event.command) {
            self.flush().await?;
        }
        self.bytes += entry.bytes.len();
        self.waiting.push(entry);
        self.events.push(event);
        Ok(())
    }

    /// Everything that was taken is durable when this returns.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        let entries = std::mem::take(&mut self.waiting);
        let events = std::mem::take(&mut self.events);
        self.bytes = 0;
        let (Some(first), Some(last)) = (entries.first().map(|entry| entry.position), events.last()) else {
            return Ok(());
        };
        let at = last.at.micros();
        let mut batch = self.writer.begin().await?;
        ensure!(
            batch.head().size == first,
            "somebody else writes to this log: it has {} entries, and {first} were to be there; end every server of this city first",
            batch.head().size
        );
        let guards = self.guards.prepare(batch.conn(), &events).await.map_err(eventlog::Failure::from)?;
        let at = at.max(batch.head().at);
        match batch.commit(Append { at, entries, guards, ..Append::default() }).await {
            Ok(()) => {
                self.guards.committed();
                Ok(())
            }
            Err(CommitError::GuardTripped { name }) => anyhow::bail!(
                "the table {name} refuses the entries from position {first} on, so it does not say what the entries below do: `guildhall \
                 replay` makes it again, then recover once more"
            ),
            Err(CommitError::Failure(failure)) => Err(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use eventlog::{Location, LogConfig};
    use projections::replay::check;
    use projections::testing::{Life, Town, beginning};
    use projections::views::ViewsDb;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_come_back_with_their_guards_whatever_the_batches_are() {
        let mut town = Town::sqlite().await;
        town.append(&[beginning(5, 3)]).await.unwrap();
        let mut life = Life::new(3, 5, 3);
        for _ in 0..40 {
            let acts: Vec<_> = (0..10).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
            town.append(&acts).await.unwrap();
        }
        let entries = town.log.read(0, 10_000).await.unwrap();
        for most in [1, 7, BATCH] {
            let dir = tempfile::tempdir().unwrap();
            let location = Location::Sqlite { dir: dir.path().join("data") };
            let Location::Sqlite { dir: data } = &location else { unreachable!() };
            eventlog::init_sqlite(data, town.log.origin(), &projections::ddl::SQLITE).await.unwrap();
            let origin = town.log.origin().to_owned();
            let log = Log::open(LogConfig { location, origin, allow_unsafe: false, allow_owner: false, create: false });
            let log = log.await.unwrap();
            let mut restorer = Restorer { most, ..Restorer::new(&log).await.unwrap() };
            for entry in &entries {
                restorer.push(entry.clone()).await.unwrap();
            }
            restorer.flush().await.unwrap();
            assert_eq!(log.read(0, 10_000).await.unwrap(), entries);
            let views = ViewsDb::open(&log, true).await.unwrap();
            let mut found = Vec::new();
            let checked = check(&log, &views, &mut |_, _| {}, &mut |difference| found.push(difference)).await.unwrap();
            assert_eq!((checked.guards, found), (entries.len() as u64, Vec::new()), "batches of {most}");
            // Whoever else wrote meanwhile is noticed before anything is.
            let refused = restorer.push(entries[0].clone()).await.and(restorer.flush().await).unwrap_err();
            assert!(refused.to_string().contains("somebody else writes to this log"), "{refused}");
        }
    }
}
