//! The rows of one table while a batch is folded: looked up in memory, changed in memory, written as one set.

use std::collections::{BTreeMap, BTreeSet};

use eventlog::sql::{Change, Row, SqlError, Table};

use crate::cache::Cache;
use crate::record::Record;

/// What the projector does with every table, whatever its rows are.
pub trait Staged: Send {
    fn table(&self) -> &'static Table;
    /// Forgets what the last fold made.
    fn reset(&mut self);
    /// What the last fold looked for and did not find in memory: the table by its lookup key, and the keys.
    fn wanted(&mut self) -> Option<(&'static Table, Vec<Row>)>;
    /// Takes the rows for the keys that were wanted.
    fn loaded(&mut self, rows: Vec<Row>) -> Result<(), SqlError>;
    /// The changes that the last fold came to, net per row.
    fn changes(&self) -> Vec<Change>;
    /// The changes of the last fold are durable: they are what the table holds now.
    fn committed(&mut self);
    /// The changes of the last fold are to be written later, with those of the folds that follow.
    fn defer(&mut self);
    /// What was deferred, net per row, once that is at least so many rows. The caller writes it before the next fold.
    fn flush(&mut self, at_least: usize) -> Vec<Change>;
    /// Somebody else may have changed what the last fold touched.
    fn forget_touched(&mut self);
    fn forget_all(&mut self);
}

/// Rows that are looked up and changed.
pub struct Sheet<R: Record> {
    /// What the table is known to hold: by key the living row, or that there is none.
    known: Cache<R::Key, Option<R>>,
    staged: BTreeMap<R::Key, Pending<R>>,
    wanted: BTreeSet<R::Key>,
    /// Loaded for the fold that runs next; moved into `known` as they come.
    asked: BTreeSet<R::Key>,
    /// Folded and not written yet. All of these are in `known`, from which nothing is dropped meanwhile.
    deferred: BTreeMap<R::Key, Pending<R>>,
}

struct Pending<R> {
    living: Option<R>,
    /// Row by row what was before the batch, and what is now: nothing, for a row that was removed.
    rows: Vec<(Option<R>, Option<R>)>,
}

impl<R: Record> Pending<R> {
    /// The next state of a row; what was before the first one stays.
    fn add(&mut self, before: Option<R>, now: Option<R>) {
        let same = |known: &Option<R>| match (known, now.as_ref().or(before.as_ref())) {
            (Some(known), Some(row)) => known.is_same_row(row),
            _ => false,
        };
        match self.rows.iter_mut().find(|(_, known)| same(known)) {
            Some((_, known)) => *known = now,
            None => self.rows.push((before, now)),
        }
    }
}

/// Removals and updates first: a row that ends makes room for the one that follows it.
fn net_changes<'a, R: Record>(pending: impl Iterator<Item = &'a Pending<R>>) -> Vec<Change> {
    let (mut keys, mut updates, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    for change in pending.flat_map(|pending| &pending.rows) {
        match change {
            (Some(before), Some(now)) if before != now => updates.push((before.cells(), now.cells())),
            (Some(before), None) => keys.push(before.cells()[..R::TABLE.key].to_vec()),
            (None, Some(now)) => inserts.push(now.cells()),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let table = R::TABLE;
    let (removals, updates) = (Change::Delete { table, keys }, Change::Update { table, rows: updates });
    let inserts = Change::Insert { table, rows: inserts };
    [removals, updates, inserts].into_iter().filter(|change| !change.is_empty()).collect()
}

impl<R: Record> Sheet<R> {
    /// `fresh`: the table is empty and nobody else writes it.
    pub fn new(capacity: usize, fresh: bool) -> Self {
        Self {
            known: Cache::new(capacity, fresh),
            staged: BTreeMap::new(),
            wanted: BTreeSet::new(),
            asked: BTreeSet::new(),
            deferred: BTreeMap::new(),
        }
    }

    /// The living row. When memory does not know, the answer is "none" and the fold will run again with the row loaded.
    pub fn get(&mut self, key: &R::Key) -> Option<&R> {
        if !self.staged.contains_key(key) {
            self.known.touch(key);
            if self.known.get(key).is_none() && !self.known.is_complete() {
                self.wanted.insert(key.clone());
            }
        }
        match self.staged.get(key) {
            Some(pending) => pending.living.as_ref(),
            None => self.known.get(key).and_then(Option::as_ref),
        }
    }

    /// Whether anything was asked for that memory does not know: the fold runs again.
    pub fn is_waiting(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// A new row, or the next state of one that [`Sheet::get`] gave.
    pub fn put(&mut self, row: R) {
        let key = row.key();
        let known = &self.known;
        let pending = self.staged.entry(key).or_insert_with_key(|key| {
            let living = known.get(key).and_then(Option::clone);
            Pending { living, rows: Vec::new() }
        });
        let before = pending.living.take().filter(|living| living.is_same_row(&row));
        pending.add(before, Some(row.clone()));
        pending.living = row.is_living().then_some(row);
    }

    /// Takes the living row out of the table, if there is one.
    pub fn remove(&mut self, key: &R::Key) {
        if let Some(row) = self.get(key).cloned() {
            let pending = self.staged.entry(key.clone()).or_insert_with(|| Pending { living: None, rows: Vec::new() });
            pending.living = None;
            pending.add(Some(row), None);
        }
    }

    /// Changes the living row, if there is one.
    pub fn change(&mut self, key: &R::Key, change: impl FnOnce(&mut R)) {
        if let Some(row) = self.get(key) {
            let mut row = row.clone();
            change(&mut row);
            self.put(row);
        }
    }
}

impl<R: Record> Staged for Sheet<R> {
    fn table(&self) -> &'static Table {
        R::TABLE
    }

    fn reset(&mut self) {
        self.staged.clear();
        self.wanted.clear();
    }

    fn wanted(&mut self) -> Option<(&'static Table, Vec<Row>)> {
        self.asked = std::mem::take(&mut self.wanted);
        (!self.asked.is_empty()).then(|| (R::LOOKUP, self.asked.iter().map(R::key_cells).collect()))
    }

    fn loaded(&mut self, rows: Vec<Row>) -> Result<(), SqlError> {
        for key in std::mem::take(&mut self.asked) {
            self.known.put(key, None);
        }
        for row in rows {
            let row = R::read(row).ok_or_else(|| SqlError::Shape {
                table: R::TABLE.name.to_owned(),
                what: "a stored row does not read back".to_owned(),
            })?;
            if row.is_living() {
                self.known.put(row.key(), Some(row));
            }
        }
        Ok(())
    }

    fn changes(&self) -> Vec<Change> {
        net_changes(self.staged.values())
    }

    fn committed(&mut self) {
        for (key, pending) in std::mem::take(&mut self.staged) {
            self.known.put(key, pending.living);
        }
        self.known.shrink();
    }

    fn defer(&mut self) {
        for (key, pending) in std::mem::take(&mut self.staged) {
            let deferred = self.deferred.entry(key.clone()).or_insert(Pending { living: None, rows: Vec::new() });
            pending.rows.into_iter().for_each(|(before, now)| deferred.add(before, now));
            self.known.put(key, pending.living);
        }
    }

    fn flush(&mut self, at_least: usize) -> Vec<Change> {
        if self.deferred.len() < at_least {
            return Vec::new();
        }
        let changes = net_changes(self.deferred.values());
        self.deferred.clear();
        // Only now: a key that is dropped would be read from a table that does not have it yet.
        self.known.shrink();
        changes
    }

    fn forget_touched(&mut self) {
        for key in std::mem::take(&mut self.staged).keys().chain(&self.wanted) {
            self.known.forget(key);
        }
        self.wanted.clear();
    }

    fn forget_all(&mut self) {
        self.reset();
        self.known.clear();
    }
}

/// Rows that are only ever added.
pub struct Journal<R: Record> {
    rows: Vec<R>,
    deferred: Vec<R>,
}

impl<R: Record> Default for Journal<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), deferred: Vec::new() }
    }
}

impl<R: Record> Journal<R> {
    pub fn push(&mut self, row: R) {
        self.rows.push(row);
    }
}

impl<R: Record> Staged for Journal<R> {
    fn table(&self) -> &'static Table {
        R::TABLE
    }

    fn reset(&mut self) {
        self.rows.clear();
    }

    fn wanted(&mut self) -> Option<(&'static Table, Vec<Row>)> {
        None
    }

    fn loaded(&mut self, _rows: Vec<Row>) -> Result<(), SqlError> {
        Ok(())
    }

    fn changes(&self) -> Vec<Change> {
        let rows: Vec<Row> = self.rows.iter().map(R::cells).collect();
        if rows.is_empty() { Vec::new() } else { vec![Change::Insert { table: R::TABLE, rows }] }
    }

    fn committed(&mut self) {
        self.rows.clear();
    }

    fn defer(&mut self) {
        self.deferred.append(&mut self.rows);
    }

    fn flush(&mut self, at_least: usize) -> Vec<Change> {
        if self.deferred.is_empty() || self.deferred.len() < at_least {
            return Vec::new();
        }
        let mut rows: Vec<Row> = std::mem::take(&mut self.deferred).iter().map(R::cells).collect();
        // In the order of the key, neighbours are written to the same page.
        rows.sort_unstable_by(|a, b| a[..R::TABLE.key].cmp(&b[..R::TABLE.key]));
        vec![Change::Insert { table: R::TABLE, rows }]
    }

    fn forget_touched(&mut self) {
        self.rows.clear();
    }

    fn forget_all(&mut self) {
        self.rows.clear();
    }
}
