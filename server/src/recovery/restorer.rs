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
}

impl Restorer {
    /// On SQLite nobody else writes from now on.
    pub async fn new(log: &Log) -> anyhow::Result<Self> {
        let writer = log.writer().await.context("writing to the log; is a server of this city still running?")?;
        Ok(Self { writer, guards: Guards::default(), waiting: Vec::new(), events: Vec::new(), bytes: 0 })
    }

    /// Takes the next entry; a full batch before it is durable when this returns.
    pub async fn push(&mut self, entry: Stored) -> anyhow::Result<()> {
        let event = decode(&entry)?;
        let is_full = self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES;
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
