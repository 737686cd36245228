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

/// The newest anchors in a store.
#[derive(Default)]
pub(crate) struct Newest {
    /// The one of the highest number; after it those of lower numbers that cover more, each more than the one before. There are none unless
    /// somebody with a key laid an old checkpoint under a high number, or the database is older than the store.
    pub anchors: Vec<Genuine>,
    /// What was found above and is none.
    pub strays: Vec<String>,
}

impl Newest {
    pub fn anchor(self) -> Option<Genuine> {
        self.anchors.into_iter().next()
    }
}

/// The newest anchors of this log that the store has. What only retired keys signed does not count, unless it is the known one.
///
/// With `known`, the key of an anchor that the store had before, what comes before that one is listed only if it is not there any more: a
/// start takes as long with a million anchors as with ten.
pub(crate) async fn newest(store: &dyn Store, of: &SigningKeys, known: Option<&str>) -> Result<Newest, AnchorError> {
    let Some(known) = known else { return newest_among(keys(store, FOLDER).await?, store, of).await };
    let mut newest = newest_among(keys_after(store, FOLDER, Some(known)).await?, store, of).await?;
    if newest.anchors.last().is_some_and(|last| size_of(known) <= last.checkpoint.size) {
        return Ok(newest);
    }
    match look(store, known, of).await? {
        Some(Sort::Anchor(known)) => newest.anchors.push(*known),
        _ if newest.anchors.is_empty() => return newest_among(keys(store, FOLDER).await?, store, of).await,
        _ => {}
    }
    Ok(newest)
}

/// How many entries an anchor of this name covers.
fn size_of(key: &str) -> u64 {
    numbers(key).map_or(0, |(_, size)| size)
}

async fn newest_among(mut found: Vec<String>, store: &dyn Store, of: &SigningKeys) -> Result<Newest, AnchorError> {
    found.reverse();
    let mut newest = Newest::default();
    let ask = |key: String| async move { (look(store, &key, of).await, key) };
    let mut looked = stream::iter(found.clone()).map(ask).buffered(AHEAD);
    while let Some((sort, key)) = looked.next().await {
        match sort? {
            Some(Sort::Anchor(anchor)) if !of.is_current(&anchor.anchor) => newest.strays.push(stray(&key, RETIRED)),
            Some(Sort::Anchor(anchor)) => {
                newest.anchors.push(*anchor);
                break;
            }
            Some(Sort::Stray(stray)) => newest.strays.push(stray),
            None => {}
        }
    }
    for key in found {
        let Some(last) = newest.anchors.last() else { break };
        if key < newest.anchors[0].key
            && size_of(&key) > last.checkpoint.size
            && let Some(Sort::Anchor(anchor)) = look(store, &key, of).await?
            && of.is_current(&anchor.anchor)
        {
            newest.anchors.push(*anchor);
        }
    }
    Ok(newest)
}

/// Why an anchor that nothing is on record about is not believed.
pub(crate) const RETIRED: &str = "no key signed it that is in force by now";

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
        if let Some(Sort::Anchor(anchor)) = look(store, key, of).await?
            && of.is_current(&anchor.anchor)
        {
            anchors.push(*anchor);
        }
    }
    Ok(Numbered { anchors, versions })
}
