//! What one batch writes, and the proof that it continues the log.

use std::collections::HashMap;

use chain::Hash;

use crate::Failure;
use crate::sql::{Cell, Change, Row};
use crate::tables::{
    ENTRIES, HEAD, Head, PAYLOADS, RECEIPTS, Receipt, STREAM_TIPS, SUBJECT_KEYS, Stored, hash, number,
};
use crate::vault::{Payload, WrappedKey};

/// Everything that one batch commits: all of it, or none of it.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// The batch's time in microseconds since 1970, not before the head's.
    pub at: i64,
    /// In order of position, from the head's size, without a gap.
    pub entries: Vec<Stored>,
    pub receipts: Vec<Receipt>,
    /// Changes of guard tables. One that cannot be made trips the batch.
    pub guards: Vec<Change>,
    pub vault: VaultWrites,
}

/// What one batch changes in the vault.
#[derive(Clone, Debug, Default)]
pub struct VaultWrites {
    pub keys: Vec<WrappedKey>,
    pub payloads: Vec<Payload>,
    /// Subjects whose key and payloads are destroyed, including those written by this batch.
    pub erase: Vec<String>,
}

impl Append {
    /// The head after this append.
    pub(crate) fn next_head(&self, head: &Head) -> Head {
        Head { size: head.size + self.entries.len() as u64, at: self.at, ..head.clone() }
    }

    /// All changes of this append, in the order in which they must hold.
    ///
    /// # Errors
    /// [`Failure::Contradiction`] when the entries do not continue `head`, their streams or their hashes.
    pub(crate) fn into_changes(self, head: &Head) -> Result<Vec<Change>, Failure> {
        let next = self.next_head(head);
        if next.at < head.at {
            return Err(Failure::Contradiction(format!("time {} is before the head's {}", next.at, head.at)));
        }
        let tips = self.tips(head)?;
        let mut changes = vec![
            Change::Expect { table: &STREAM_TIPS, rows: tips },
            Change::Insert { table: &ENTRIES, rows: self.entries.iter().map(Stored::row).collect() },
            Change::Insert { table: &RECEIPTS, rows: self.receipts.iter().map(Receipt::row).collect() },
        ];
        changes.extend(self.guards);
        changes
            .push(Change::Insert { table: &SUBJECT_KEYS, rows: self.vault.keys.iter().map(WrappedKey::row).collect() });
        changes.push(Change::Insert { table: &PAYLOADS, rows: self.vault.payloads.iter().map(Payload::row).collect() });
        changes.push(Change::Update { table: &HEAD, rows: vec![(head.row(), next.row())] });
        Ok(changes)
    }

    /// Checks positions, versions, links and hashes within the batch; returns the rows of `entries` that the batch links to, which
    /// the database must then confirm. A stream that begins here needs none: the unique index refuses a second beginning.
    fn tips(&self, head: &Head) -> Result<Vec<Row>, Failure> {
        let mut tips = Vec::new();
        let mut newest: HashMap<&str, (u64, Hash)> = HashMap::new();
        for (position, entry) in (head.size..).zip(&self.entries) {
            let refuse = |what: &str| Err(Failure::Contradiction(format!("position {}: {what}", entry.position)));
            if entry.position != position {
                return refuse("positions do not continue the head");
            }
            if !(1..=chain::entry::MAX_ENTRY_BYTES).contains(&entry.bytes.len()) {
                return refuse("an entry has at least one byte and at most 1 MiB");
            }
            if chain::entry::entry_hash(&head.origin, &entry.prev, &entry.bytes) != entry.hash {
                return refuse("the hash is not that of the bytes");
            }
            match newest.insert(&entry.stream, (entry.version, entry.hash)) {
                Some((version, hash)) if entry.version != version + 1 || entry.prev != hash => {
                    return refuse("the entry does not continue its stream");
                }
                Some(_) => {}
                None if entry.version == 0 && entry.prev != Hash::ZERO => {
                    return refuse("a first entry links to something");
                }
                None if entry.version == 0 => {}
                None => tips.push(vec![Cell::Text(entry.stream.clone()), number(entry.version - 1), hash(&entry.prev)]),
            }
        }
        Ok(tips)
    }
}

/// How to recognise a batch in the log when nobody saw its COMMIT answered.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// Its first entry.
    Entry { position: u64, hash: Hash },
    /// Its first receipt, when it wrote no entry. The whole row counts: another server may have answered the same request, and then
    /// the command's id is not ours.
    Receipt(Receipt),
    /// It wrote neither.
    Nothing,
}

impl Append {
    pub(crate) fn mark(&self) -> Mark {
        if let Some(entry) = self.entries.first() {
            return Mark::Entry { position: entry.position, hash: entry.hash };
        }
        self.receipts.first().cloned().map_or(Mark::Nothing, Mark::Receipt)
    }
}
