//! A log beside the one that it continues: every entry of the old one must stand in the new one, byte for byte and in its order.

use std::io;

use chain::Hash;
use chain::entry::{EntryView, entry_hash};
use chain::pack::{self, OwnedRecord, PackId};
use chain::policy::Policy;
use chain::rotation::{History, RETIRED, ROTATED};
use chain::tree::{Frontier, empty_root, leaf_hash};

use crate::inputs::Folder;
use crate::keys;
use crate::report::{Check, Finding};
use crate::rules::continued::Continued;
use crate::tiles::{FULL, Published, pack_end};

/// The stream in which a log speaks of itself; it is not carried.
const OWN: &str = "log";
const CONTINUED: &str = "log.continued.v1";
const NAMED: &str = "log.secrets_named.v1";

/// What the first leaf says about the log that is continued, if it is such a leaf.
pub fn said(new: &Folder, size: u64) -> io::Result<Option<Continued>> {
    let Some(Ok(first)) = Records::new(new, size).next()? else { return Ok(None) };
    let Ok(view) = EntryView::parse(&first.bytes) else { return Ok(None) };
    let is_it = view.kind == CONTINUED && view.stream == OWN;
    Ok(if is_it { serde_json::from_str(view.data.get()).ok() } else { None })
}

/// Compares both; answers what is wrong. At most one finding is about entries: what follows it would be its consequence.
pub fn compare(
    (new, size): (&Folder, u64),
    old: &Folder,
    said: &Continued,
    policy: &Policy,
) -> io::Result<Vec<Finding>> {
    let mut carried = Records::new(new, size);
    // The first leaf itself.
    let _ = carried.next()?;
    let mut kept = Records::new(old, said.size);
    let (mut frontier, mut count, mut history) = (Frontier::new(), 0, History::default());
    while let Some(record) = kept.next()? {
        let Ok(record) = record else { return Ok(vec![missing(old, kept.position)]) };
        frontier.push(leaf_hash(&entry_hash(&said.origin, &record.prev, &record.bytes).0));
        if let Some(own) = own(&record) {
            tell(&mut history, said, record.position, &own);
            continue;
        }
        count += 1;
        match carried.next()? {
            Some(Ok(found)) if found.bytes == record.bytes => {}
            Some(Ok(_)) => {
                let what = format!("it is not what stands at position {} of {}", record.position, said.origin);
                return Ok(vec![Finding::at(Check::Continued, count, what)]);
            }
            _ => {
                let what = format!("position {} of {} is not carried: nothing is here", record.position, said.origin);
                return Ok(vec![Finding::at(Check::Continued, count, what)]);
            }
        }
    }
    let root = if said.size == 0 { empty_root() } else { frontier.root() };
    let mut findings = Vec::new();
    if root != said.root {
        findings.push(other_log(old, said, root));
    }
    if !is_signed(said, policy, &history) {
        let what = format!("no key of {} that was in force at size {} signed its checkpoint", said.origin, said.size);
        findings.push(Finding::at(Check::Continued, 0, what));
    }
    if count != said.carried {
        let what = format!(
            "it says that {} entries of {} follow, and that log has {count} to carry",
            said.carried, said.origin
        );
        findings.push(Finding::at(Check::Continued, 0, what));
    }
    Ok(findings)
}

fn other_log(old: &Folder, said: &Continued, root: Hash) -> Finding {
    let what = format!(
        "the first {} entries in {} have the root {root}, and the log says that it continues {}: that is another history of {}",
        said.size,
        old.display(),
        said.root,
        said.origin
    );
    Finding::at(Check::Continued, 0, what)
}

fn missing(folder: &Folder, position: u64) -> Finding {
    let what = format!("position {position} of the log that is continued cannot be read in {}", folder.display());
    Finding::general(Check::Continued, what)
}

/// The entry, if the log speaks of itself in it.
fn own(record: &OwnedRecord) -> Option<EntryView<'_>> {
    EntryView::parse(&record.bytes).ok().filter(|view| view.stream == OWN)
}

/// What the old log says about its keys. What breaks the rules does not count; an audit of that log names it.
fn tell(history: &mut History, said: &Continued, position: u64, entry: &EntryView<'_>) {
    let data = entry.data.get();
    match &*entry.kind {
        NAMED => {
            let named = serde_json::from_str::<serde_json::Value>(data).ok();
            if let Some(print) = named.and_then(|named| named["signing_key"].as_str().and_then(Hash::from_hex)) {
                history.name(print);
            }
        }
        ROTATED => {
            let rotation = serde_json::from_str(data);
            let _ = rotation.map(|rotation| history.rotate(&said.origin, position, &rotation));
        }
        RETIRED => {
            let retirement = serde_json::from_str(data);
            let _ = retirement.map(|retirement| history.retire(position, &retirement));
        }
        _ => {}
    }
}

/// Whether a key of the policy did that was in force. Where the policy knows none of the old log, or the old log names none, that was
/// judged without its entries.
fn is_signed(said: &Continued, policy: &Policy, history: &History) -> bool {
    let is_known = policy.logs.iter().any(|key| key.name() == said.origin);
    if !is_known || history.eras().is_empty() {
        return true;
    }
    // One that no key signed at all is a finding already.
    let by = keys::read(&said.checkpoint, policy).map(|read| read.by).unwrap_or_default();
    by.is_empty() || history.in_force(said.size).any(|era| by.contains(&era.fingerprint))
}

/// The records of a folder's packs, one pack in memory.
struct Records<'a> {
    folder: &'a Folder,
    size: u64,
    position: u64,
    pack: std::vec::IntoIter<OwnedRecord>,
}

impl<'a> Records<'a> {
    fn new(folder: &'a Folder, size: u64) -> Self {
        Self { folder, size, position: 0, pack: Vec::new().into_iter() }
    }

    /// The next one; nothing at the end, and `Err` where it cannot be read.
    fn next(&mut self) -> io::Result<Option<Result<OwnedRecord, ()>>> {
        if self.position >= self.size {
            return Ok(None);
        }
        if self.pack.len() == 0 {
            match self.read()? {
                Some(records) => self.pack = records.into_iter(),
                None => return Ok(Some(Err(()))),
            }
        }
        self.position += 1;
        Ok(self.pack.next().map(Ok))
    }

    fn read(&self) -> io::Result<Option<Vec<OwnedRecord>>> {
        let index = self.position / u64::from(FULL);
        let first = index * u64::from(FULL);
        let width = u16::try_from((self.size - first).min(u64::from(FULL))).unwrap_or(FULL);
        let path = PackId { index, width: FULL }.path();
        let mut bytes = None;
        // A folder of a longer log has a wider pack.
        for wider in width..=FULL {
            let pack =
                Published { folder: self.folder, path: path.clone(), width: wider, check: Check::Pack, first, span: 1 };
            bytes = pack.read(pack_end)?;
            if bytes.is_some() {
                break;
            }
        }
        let Some(mut bytes) = bytes else { return Ok(None) };
        bytes.truncate(pack_end(&bytes, width).unwrap_or(0));
        let records = pack::decode(&PackId { index, width }, &bytes);
        Ok(records.ok().map(|records| records.iter().map(pack::Record::to_owned_record).collect()))
    }
}
