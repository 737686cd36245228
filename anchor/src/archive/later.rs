//! What the log did after the aim, as far as its keys go. A rotation needs nothing around it to be believed: both keys signed it.

use std::collections::BTreeSet;

use chain::entry::EntryView;
use chain::key::VerifierKey;
use chain::note::Note;
use chain::pack::{self, PackId};
use chain::rotation::{History, ROTATED, Rotation};
use chain::tile::FULL_WIDTH;

use super::{Archive, Places};
use crate::AnchorError;
use crate::error::blocking;
use crate::signing_keys::STREAM;

/// The keys that the log rotated to after the aim: each by one that the policy or the log has given before it.
pub(super) async fn keys(archive: &Archive, history: &History) -> Result<Vec<VerifierKey>, AnchorError> {
    let mut rotations = Vec::new();
    let mut index = archive.size() / u64::from(FULL_WIDTH);
    loop {
        let packs = archive.places.packs(index, archive.published_size).await?;
        if packs.is_empty() {
            break;
        }
        rotations.extend(packs.iter().flat_map(|bytes| of_pack(bytes, archive.origin())));
        index += 1;
    }
    let mut known = archive.keys.clone();
    known.extend(history.eras().iter().filter_map(|era| era.key.clone()));
    let mut later = Vec::new();
    // They may lie there in any order, and more than once.
    while let Some(index) = rotations.iter().position(|(from, to)| known.contains(from) && !known.contains(to)) {
        let (_, to) = rotations.swap_remove(index);
        known.push(to.clone());
        later.push(to);
    }
    Ok(later)
}

/// Whether one of these keys signed the note.
pub(super) fn signed(note: &Note, keys: &[VerifierKey]) -> bool {
    let by = |key: &VerifierKey| {
        let mut lines = note.signatures.iter().filter(|line| line.is_by(key));
        lines.any(|line| key.verify_raw(note.text.as_bytes(), &line.signature))
    };
    keys.iter().any(by)
}

/// The two keys of every rotation in a pack, whole or not: this looks for what may be there, and believes nothing else.
fn of_pack(bytes: &[u8], origin: &str) -> Vec<(VerifierKey, VerifierKey)> {
    let read = |record: pack::Record<'_>| {
        let view = EntryView::parse(record.bytes).ok().filter(|view| view.stream == STREAM && view.kind == ROTATED)?;
        serde_json::from_str::<Rotation>(view.data.get()).ok()?.verify(origin).ok()
    };
    pack::records(bytes).map_while(Result::ok).filter_map(read).collect()
}

impl Places {
    /// Every pack of this index, of any width, that is in the store or was published by that size.
    async fn packs(&self, index: u64, published: u64) -> Result<Vec<Vec<u8>>, AnchorError> {
        let full = PackId { index, width: FULL_WIDTH };
        let mut packs = BTreeSet::new();
        for key in crate::store::keys(self.store.as_ref(), &full.path()).await? {
            if PackId::parse(&key).is_some_and(|id| id.index == index) {
                packs.extend(self.store.get(&key, None).await?.map(|object| object.bytes));
            }
        }
        let first = full.first_position();
        if let Some(layout) = self.published.clone().filter(|_| published > first) {
            let width = u16::try_from(published - first).unwrap_or(FULL_WIDTH).min(FULL_WIDTH);
            let path = PackId { index, width }.path();
            packs.extend(blocking(move || Ok(layout.read(&path).ok().flatten())).await?);
        }
        Ok(packs.into_iter().collect())
    }
}
