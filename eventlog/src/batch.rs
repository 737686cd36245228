//! A batch: one transaction under the head's lock, from the first look to the COMMIT.

use chain::Hash;

use crate::append::Mark;
use crate::faults::{LOSE_ANSWER, LOSE_REQUEST};
use crate::pages::{self, Span};
use crate::sql::{self, Change, Conn, SqlError};
use crate::tables::{Head, Stored, is_ours};
use crate::writer::{self, Opened};
use crate::{Append, CommitError, Failure, Reading, Writer};

/// An open batch. Dropping it without a commit undoes everything.
pub struct Batch<'a> {
    writer: &'a mut Writer,
    head: Head,
    db_clock: i64,
    finished: bool,
}

/// How COMMIT ended.
enum Outcome {
    Committed,
    /// The server said no and is certain about it.
    Refused(SqlError),
    /// The answer never came.
    Unknown(Failure),
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // Also when the future that held the batch was cancelled in the middle of a statement: the session is of no further use,
        // and closing it frees the head for the others.
        if !self.finished {
            self.writer.disconnect();
        }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(writer: &'a mut Writer, opened: Opened) -> Batch<'a> {
        Batch { writer, head: opened.head, db_clock: opened.db_clock, finished: false }
    }

    /// The head, which nobody else can move while this batch is open.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The database's clock when the lock was granted, in microseconds since 1970.
    pub fn db_clock(&self) -> i64 {
        self.db_clock
    }

    /// The time of this batch, in microseconds since 1970: the database's clock, never before the head.
    pub fn now(&self) -> i64 {
        self.db_clock.max(self.head.at)
    }

    /// All entries from position `from` on. Read the bulk with [`crate::Log::read`] before opening the batch.
    pub async fn tail(&mut self, from: u64) -> Result<Vec<Stored>, Failure> {
        if from >= self.head.size {
            return Ok(Vec::new());
        }
        let end = Some(self.head.size);
        let entries = pages::read(self.writer.conn(), Span::Log { from }, usize::MAX, usize::MAX, end).await?;
        if entries.len() as u64 != self.head.size - from {
            return Err(Failure::Corrupt(format!("the log does not hold every entry from {from} to its head")));
        }
        if let Some(newest) = entries.last() {
            self.writer.log().learn(newest.position, newest.hash);
        }
        Ok(entries)
    }

    /// All entries of these streams, in order of position.
    pub async fn load(&mut self, streams: &[String]) -> Result<Vec<Stored>, Failure> {
        let mut entries = Vec::new();
        let keep = |entry| {
            entries.push(entry);
            Ok(())
        };
        self.reading().load_each(streams, keep).await?;
        entries.sort_unstable_by_key(|entry| entry.position);
        Ok(entries)
    }

    /// What a decision looks at: the log up to this batch, which nobody else can make longer.
    pub fn reading(&mut self) -> Reading<'_> {
        let size = self.head.size;
        Reading::beside(self.writer.conn(), size)
    }

    /// The connection, for guards that look rows up. Do not end its transaction.
    pub fn conn(&mut self) -> &mut Conn {
        self.writer.conn()
    }

    /// Undoes everything and frees the head.
    pub async fn rollback(mut self) {
        self.writer.rollback().await;
        self.finished = true;
    }

    /// Writes the append, moves the head and commits. When this returns `Ok`, all of it is durable; otherwise none of it is, except
    /// after [`Failure::CommitUnknown`].
    ///
    /// # Errors
    /// [`CommitError::GuardTripped`] when a guard says no; [`Failure::Contradiction`] when the append does not continue the log.
    pub async fn commit(mut self, append: Append) -> Result<(), CommitError> {
        let mark = append.mark();
        let newest = append.entries.last().map(|entry| (entry.position, entry.hash));
        let erase = append.vault.erase.clone();
        let written = match append.into_changes(&self.head) {
            Ok(changes) => self.write(&changes, &erase).await,
            Err(contradiction) => Err(contradiction.into()),
        };
        if let Err(error) = written {
            self.rollback().await;
            return Err(error);
        }
        match self.send_commit().await {
            Outcome::Committed => self.finished = true,
            Outcome::Refused(error) => {
                // PostgreSQL has rolled back already, SQLite has not.
                self.rollback().await;
                return Err(refusal(error));
            }
            Outcome::Unknown(lost) => self.resolve(&mark, lost).await?,
        }
        self.committed(newest);
        if !erase.is_empty() {
            self.writer.erased().await;
        }
        Ok(())
    }

    fn committed(&self, newest: Option<(u64, Hash)>) {
        if let Some((position, hash)) = newest {
            self.writer.log().learn(position, hash);
            self.writer.log().announce(position + 1);
        }
    }

    async fn write(&mut self, changes: &[Change], erase: &[String]) -> Result<(), CommitError> {
        let conn = self.writer.conn();
        sql::apply(conn, changes).await.map_err(refusal)?;
        if erase.is_empty() { Ok(()) } else { writer::erase(conn, erase).await.map_err(refusal) }
    }

    async fn send_commit(&mut self) -> Outcome {
        let fault = self.writer.log().faults().take_commit();
        if fault == LOSE_REQUEST {
            self.writer.disconnect();
            return Outcome::Unknown(Failure::Unavailable("the connection was cut before COMMIT".to_owned()));
        }
        let answer = self.writer.conn().commit().await;
        if fault == LOSE_ANSWER {
            self.writer.disconnect();
            return Outcome::Unknown(Failure::Unavailable("the connection was cut after COMMIT".to_owned()));
        }
        match answer {
            Ok(()) => Outcome::Committed,
            Err(error) if error.is_certain() => Outcome::Refused(error),
            Err(error) => Outcome::Unknown(error.into()),
        }
    }

    async fn resolve(&mut self, mark: &Mark, lost: Failure) -> Result<(), CommitError> {
        tracing::warn!(failure = %lost, "the connection was lost during COMMIT");
        let committed = self.writer.resolve(mark, lost.clone()).await?;
        // The writer has a new, quiet session now.
        self.finished = true;
        if committed { Ok(()) } else { Err(Failure::Unavailable(format!("not committed: {lost}")).into()) }
    }
}

/// A violation in the log's own tables means that the append was wrong; in any other table, that a guard tripped.
fn refusal(error: SqlError) -> CommitError {
    match error {
        SqlError::Constraint { table, .. } | SqlError::Mismatch { table, .. } if is_ours(&table) => {
            Failure::Contradiction(format!("table {table} refuses it")).into()
        }
        SqlError::Constraint { name, .. } => CommitError::GuardTripped { name },
        SqlError::Mismatch { table, .. } => CommitError::GuardTripped { name: table },
        other => Failure::from(other).into(),
    }
}
