//! The anchors of a store: every version looked at, the chain followed from the first, and whose of the policy's keys signed each.

use std::collections::BTreeMap;

use chain::Hash;
use chain::hash::sha256;
use chain::policy::Policy;
use futures::{StreamExt as _, stream};

use super::{AHEAD, Signed, keys as signatures};
use crate::AnchorError;
use crate::anchor_format::{self, Anchor};
use crate::genuine::{self, FOLDER};
use crate::store::{self, Mode, Object, Store};

/// One anchor, as far as the next one and the entries need it.
#[derive(Debug, Clone)]
pub struct Link {
    pub key: String,
    pub seq: u64,
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    pub at: String,
    /// Fingerprints of the policy's keys that signed its checkpoint.
    pub by: Vec<Hash>,
    sha256: Hash,
}

/// What the anchors say.
#[derive(Default)]
pub(super) struct Chain {
    pub links: Vec<Link>,
    /// Of those that a key of the policy signed: the newest checkpoint, and the newest witnessed one.
    pub newest: Vec<Signed>,
    pub remarks: Vec<String>,
}

/// Reads the chain; with `at`, only as far as that size: what comes after it may be somebody else's.
pub(super) async fn read(store: &dyn Store, policy: &Policy, at: Option<u64>) -> Result<Chain, AnchorError> {
    let mut chain = Chain::default();
    let (mut newest, mut witnessed) = (None, None);
    let ask = |key: String| async move {
        let object = store.get(&key, None).await;
        (key, object)
    };
    let mut objects = stream::iter(keys(store, at, &mut chain.remarks).await?).map(ask).buffered(AHEAD);
    while let Some((key, object)) = objects.next().await {
        let object = object?.ok_or_else(|| AnchorError::unreadable(&key, "it is listed, and cannot be read"))?;
        if let Some(what) = object.too_large(&key) {
            chain.remarks.push(format!("{key}: {what}"));
            continue;
        }
        look_at_lock(store, &key, &object, &mut chain.remarks);
        let Ok(anchor) = anchor_format::parse(&key, &object.bytes) else {
            // If it stands in the place of an anchor, the next one misses it.
            chain.remarks.push(format!("{key}: it is no anchor at all, and is passed over"));
            continue;
        };
        let (checkpoint, signed) = signatures::read(&anchor.checkpoint, &format!("the anchor {key}"), policy)
            .map_err(|error| AnchorError::unreadable(&key, error))?;
        let link = Link {
            seq: anchor.seq,
            origin: checkpoint.origin,
            size: checkpoint.size,
            root: checkpoint.root,
            at: anchor.at.clone(),
            by: signed.as_ref().map(|signed| signed.by.clone()).unwrap_or_default(),
            sha256: sha256(&[&object.bytes]),
            key,
        };
        follows(&anchor, &link, chain.links.last())?;
        if let Some(signed) = signed {
            if signed.witnessed {
                witnessed = Some(signed.clone());
            }
            newest = Some(signed);
        }
        chain.links.push(link);
    }
    chain.newest = witnessed.into_iter().chain(newest).collect();
    Ok(chain)
}

/// SHA-256 of every pack that this anchor lists.
pub(super) async fn packs_of(store: &dyn Store, link: &Link) -> Result<BTreeMap<String, Hash>, AnchorError> {
    let anchor = again(store, link).await?;
    Ok(anchor.files.into_iter().filter(|(path, _)| path.starts_with("pack/")).collect())
}

/// Reads an anchor once more.
pub(super) async fn again(store: &dyn Store, link: &Link) -> Result<Anchor, AnchorError> {
    let bytes = store.get(&link.key, None).await?.map(|object| object.bytes).unwrap_or_default();
    if sha256(&[&bytes]) != link.sha256 {
        return Err(AnchorError::unreadable(&link.key, "it is not what it was a moment ago"));
    }
    anchor_format::parse(&link.key, &bytes)
}

/// The keys of the anchors in their order. A marker hides nothing, and is named; so is whatever lies beside an anchor.
async fn keys(store: &dyn Store, at: Option<u64>, remarks: &mut Vec<String>) -> Result<Vec<String>, AnchorError> {
    let mut versions: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for version in store.versions(FOLDER, None).await? {
        let (markers, objects) = versions.entry(version.key).or_default();
        *(if version.marker { markers } else { objects }) += 1;
    }
    let (mut keys, mut beyond) = (Vec::new(), Vec::new());
    for (key, (markers, objects)) in versions {
        let Some((_, size)) = anchor_format::numbers(&key) else {
            remarks.push(genuine::no_name(&key));
            continue;
        };
        if objects == 0 {
            return Err(AnchorError::unreadable(
                key,
                "only markers are left of it: somebody destroyed the anchor itself",
            ));
        }
        if at.is_some_and(|at| size > at) {
            beyond.push(key);
            continue;
        }
        if markers > 0 || objects > 1 {
            let oldest = store.get(&key, None).await?.map(|object| sha256(&[&object.bytes]));
            remarks.extend(store::strays(store, &key, oldest.unwrap_or(Hash::ZERO)).await?);
        }
        keys.push(key);
    }
    if let Some(first) = beyond.first() {
        remarks.push(format!(
            "{} anchors beyond the size that is asked for are left behind, the first {first}",
            beyond.len()
        ));
    }
    Ok(keys)
}

/// Holds an anchor against its name and the one before it.
fn follows(anchor: &Anchor, link: &Link, last: Option<&Link>) -> Result<(), AnchorError> {
    let wrong = |what: String| Err(AnchorError::unreadable(&link.key, what));
    if anchor_format::key(anchor.seq, link.size) != link.key || anchor.origin != link.origin {
        return wrong("it is not the anchor that its name says".to_owned());
    }
    let expected = last.map_or(0, |last| last.seq + 1);
    if link.seq > expected {
        return wrong(format!("the anchor before it, number {}, is missing", link.seq - 1));
    }
    if link.seq < expected {
        return wrong(format!("there is another anchor number {}", link.seq));
    }
    let named = anchor.previous.as_ref().map(|previous| (previous.key.as_str(), previous.sha256));
    if named != last.map(|last| (last.key.as_str(), last.sha256)) {
        return wrong("it does not name the anchor before it as that one is".to_owned());
    }
    if last.is_some_and(|last| link.size < last.size) {
        return wrong("it covers less than the anchor before it".to_owned());
    }
    Ok(())
}

fn look_at_lock(store: &dyn Store, key: &str, object: &Object, remarks: &mut Vec<String>) {
    let locked = object.lock.is_some_and(|lock| lock.mode == Mode::Compliance);
    if store.kind() == store::Kind::S3ObjectLock && !locked {
        remarks.push(format!("{key} is not locked: it could have been another one until a moment ago"));
    }
}
