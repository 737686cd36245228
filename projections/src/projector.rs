//! From a batch of events to one set of changes: fold, load what was missing, fold again.

use eventlog::sql::{self, Change, Conn, SqlError, Table};

use crate::recorded::Recorded;
use crate::sheet::Staged;

/// Some tables and how an event changes them.
pub trait Tables: Send {
    /// `capacity` rows of each table are remembered; `fresh` tables are empty and nobody else writes them.
    fn new(capacity: usize, fresh: bool) -> Self;

    /// Folds one event. It may run on rows that are not loaded yet, which look as if they were not there; the result then counts
    /// for nothing and the fold runs again. So: no panic on a missing row, and the same rows are asked for every time.
    fn fold(&mut self, recorded: &Recorded);

    fn each(&mut self) -> Vec<&mut dyn Staged>;

    /// The tables' descriptions, in the order in which they are written.
    fn tables() -> Vec<&'static Table>
    where
        Self: Sized,
    {
        Self::new(0, true).each().into_iter().map(|staged| staged.table()).collect()
    }
}

/// Turns events into changes of tables.
pub(crate) struct Projector<T> {
    tables: T,
}

impl<T: Tables> Projector<T> {
    pub(crate) fn new(capacity: usize, fresh: bool) -> Self {
        Self { tables: T::new(capacity, fresh) }
    }

    /// The changes that these events make, given what the tables hold. Asks the database once per table for rows that memory does
    /// not know; events that lead from one unknown row to another cost another round.
    pub(crate) async fn prepare(&mut self, conn: &mut Conn, events: &[Recorded]) -> Result<Vec<Change>, SqlError> {
        self.fold_loaded(conn, events).await?;
        Ok(self.tables.each().iter().flat_map(|staged| staged.changes()).collect())
    }

    /// For many batches in a row on tables that nobody else sees: changes are collected and come out when a table has at least so
    /// many rows to write, so that a row that changes often is written seldom. The caller writes them before the next call.
    pub(crate) async fn collect(
        &mut self,
        conn: &mut Conn,
        events: &[Recorded],
        at_least: usize,
    ) -> Result<Vec<Change>, SqlError> {
        self.fold_loaded(conn, events).await?;
        self.tables.each().iter_mut().for_each(|staged| staged.defer());
        Ok(self.flush(at_least))
    }

    pub(crate) fn flush(&mut self, at_least: usize) -> Vec<Change> {
        self.tables.each().iter_mut().flat_map(|staged| staged.flush(at_least)).collect()
    }

    async fn fold_loaded(&mut self, conn: &mut Conn, events: &[Recorded]) -> Result<(), SqlError> {
        loop {
            self.fold(events);
            if !self.load_missing(conn).await? {
                return Ok(());
            }
        }
    }

    fn fold(&mut self, events: &[Recorded]) {
        self.tables.each().iter_mut().for_each(|staged| staged.reset());
        events.iter().for_each(|recorded| self.tables.fold(recorded));
    }

    async fn load_missing(&mut self, conn: &mut Conn) -> Result<bool, SqlError> {
        let mut missing = false;
        for staged in self.tables.each() {
            if let Some((table, keys)) = staged.wanted() {
                missing = true;
                staged.loaded(sql::select_keys(conn, table, &keys).await?)?;
            }
        }
        Ok(missing)
    }

    pub(crate) fn committed(&mut self) {
        self.tables.each().iter_mut().for_each(|staged| staged.committed());
    }

    pub(crate) fn forget_all(&mut self) {
        self.tables.each().iter_mut().for_each(|staged| staged.forget_all());
    }

    /// Forgets the rows that these events touch.
    pub(crate) fn forget_touched(&mut self, events: &[Recorded]) {
        self.fold(events);
        self.tables.each().iter_mut().for_each(|staged| staged.forget_touched());
    }
}
