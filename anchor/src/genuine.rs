//! What lies under `anchors/`: the anchors of this log, and whatever else somebody put there.
//!
//! Whoever can write to a store can put anything under any name that is still free, and the lock then keeps it for years. So an object counts
//! by the signature of a key of this log over all of it, and by nothing else: a checkpoint in it proves nothing, because checkpoints are there
//! for everybody to have. The rest is named as a stray, and stops nothing.

use chain::checkpoint::Checkpoint;
use chain::note::Note;
use futures::stream::{self, StreamExt as _};

use crate::AnchorError;
use crate::anchor_format::{self, Anchor, Anchored, numbers};
use crate::anchorer::anchored;
use crate::signing_keys::SigningKeys;
use crate::store::{Kind, Object, Store, Version, keys, keys_after};

pub(crate) const FOLDER: &str = "anchors/";
/// Objects asked for at a time. Few: what lies above the newest anchor is for whoever put it there to choose, its length too.
const AHEAD: usize = 4;

/// An anchor of this log.
pub(crate) struct Genuine {
    pub key: String,
    pub anchor: Anchor,
    pub checkpoint: Checkpoint,
    pub object: Object,
}

impl Genuine {
    /// What the log says of it.
    pub fn recorded(self, kind: Kind) -> Anchored {
        let Self { key, anchor, checkpoint, object } = self;
        anchored(kind, (&key, anchor.seq, &checkpoint), &object.bytes, (object.version, object.lock))
    }
}

/// What an object under `anchors/` is.
pub(crate) enum Sort {
    Anchor(Box<Genuine>),
    /// In words, with its key.
    Stray(String),
}

/// The name of an object that can be no anchor.
pub(crate) fn no_name(key: &str) -> String {
    format!("{key}: no anchor has such a name")
}

/// Reads the oldest object of this key, and says what it is. Nothing where there is none.
pub(crate) async fn look(store: &dyn Store, key: &str, of: &SigningKeys) -> Result<Option<Sort>, AnchorError> {
    if numbers(key).is_none() {
        return Ok(Some(Sort::Stray(no_name(key))));
    }
    let Some(object) = store.get(key, None).await? else { return Ok(None) };
    Ok(Some(sort(key, object, of)))
}

/// What this object is.
pub(crate) fn sort(key: &str, object: Object, of: &SigningKeys) -> Sort {
    if let Some(what) = object.too_large(key) {
        return Sort::Stray(format!("{key}: {what}"));
    }
    let judged = read(key, &object.bytes).and_then(|(anchor, _)| Ok((of.open_anchor(&anchor)?, anchor)));
    match judged {
        Ok((checkpoint, anchor)) => Sort::Anchor(Box::new(Genuine { key: key.to_owned(), anchor, checkpoint, object })),
        Err(why) => Sort::Stray(stray(key, &why)),
    }
}

/// The anchor that these bytes are under its own name, and what its checkpoint says, whoever signed that.
pub(crate) fn read(key: &str, bytes: &[u8]) -> Result<(Anchor, Checkpoint), String> {
    let anchor = anchor_format::parse(key, bytes).map_err(|_| "it is no anchor at all".to_owned())?;
    let note = Note::parse(&anchor.checkpoint).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse_text(&note.text).map_err(|error| error.to_string())?;
    let is_named = anchor_format::key(anchor.seq, checkpoint.size) == key && anchor.origin == checkpoint.origin;
    if is_named { Ok((anchor, checkpoint)) } else { Err("it is an anchor of another name".to_owned()) }
}

/// What is said of an object that counts for nothing.
pub(crate) fn stray(key: &str, why: &str) -> String {
    format!("{key}: {why}: it was not put there for this log")
}

/// The newest anchor of this log that the store has, and what was found above it that is none.
///
/// With `known`, the key of an anchor that the store had before, what comes before that one is listed only if it is not there any more: a
/// start takes as long with a million anchors as with ten.
pub(crate) async fn newest(
    store: &dyn Store,
    of: &SigningKeys,
    known: Option<&str>,
) -> Result<(Option<Genuine>, Vec<String>), AnchorError> {
    let Some(known) = known else { return newest_among(keys(store, FOLDER).await?, store, of).await };
    let (newest, strays) = newest_among(keys_after(store, FOLDER, Some(known)).await?, store, of).await?;
    if newest.is_some() {
        return Ok((newest, strays));
    }
    match look(store, known, of).await? {
        Some(Sort::Anchor(known)) => Ok((Some(*known), strays)),
        _ => newest_among(keys(store, FOLDER).await?, store, of).await,
    }
}

async fn newest_among(
    mut found: Vec<String>,
    store: &dyn Store,
    of: &SigningKeys,
) -> Result<(Option<Genuine>, Vec<String>), AnchorError> {
    found.reverse();
    let mut strays = Vec::new();
    let look = |key: String| async move { look(store, &key, of).await };
    let mut looked = stream::iter(found).map(look).buffered(AHEAD);
    while let Some(sort) = looked.next().await {
        match sort? {
            Some(Sort::Anchor(newest)) => return Ok((Some(*newest), strays)),
            Some(Sort::Stray(stray)) => strays.push(stray),
            None => {}
        }
    }
    Ok((None, strays))
}

/// What the store has under one number: the anchors of this log, and the versions of every key.
pub(crate) struct Numbered {
    pub anchors: Vec<Genuine>,
    pub versions: Vec<Version>,
}

/// Whatever lies under the keys of this number.
pub(crate) async fn of_number(store: &dyn Store, seq: u64, of: &SigningKeys) -> Result<Numbered, AnchorError> {
    let versions = store.versions(&format!("{FOLDER}{seq:020}-"), None).await?;
    let mut keys: Vec<&str> =
        versions.iter().filter(|version| !version.marker).map(|version| version.key.as_str()).collect();
    keys.dedup();
    let mut anchors = Vec::new();
    for key in keys {
        if let Some(Sort::Anchor(anchor)) = look(store, key, of).await? {
            anchors.push(*anchor);
        }
    }
    Ok(Numbered { anchors, versions })
}
