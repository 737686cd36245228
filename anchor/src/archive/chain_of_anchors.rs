//! What lies under `anchors/` of a store, every version looked at: what may be an anchor of this log, and which of it is one chain.

use std::collections::{BTreeMap, HashMap, HashSet};

use chain::Hash;
use chain::hash::sha256;
use chain::policy::Policy;
use futures::{StreamExt as _, stream};

use super::{AHEAD, Signed, keys as signatures};
use crate::AnchorError;
use crate::anchor_format::{self, Anchor};
use crate::genuine::{self, FOLDER};
use crate::store::{self, Mode, Object, Store};

/// So many bytes of anchors can be in memory at once; more only if a single one can be larger.
const AT_ONCE: u64 = 256 << 20;

/// An anchor under its own name. Whether it is one of this log, signatures and entries say.
#[derive(Debug, Clone)]
pub struct Link {
    pub key: String,
    pub seq: u64,
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    /// Fingerprints of the policy's keys that signed both it and its checkpoint.
    pub by: Vec<Hash>,
    /// Whether the quorum that the policy asks for cosigned it.
    pub(super) proven: bool,
    /// Key and SHA-256 of the anchor that it names as the one before.
    pub(super) previous: Option<(String, Hash)>,
    pub(super) sha256: Hash,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// In the order of their keys.
    pub links: Vec<Link>,
    /// SHA-256 of every pack as any of them lists it. Somebody else's may say anything, so this is a help to find a good copy.
    pub packs: HashMap<String, Vec<Hash>>,
    /// Of the anchors that a key of the policy signed: the longest checkpoint of each log, and the longest that the quorum cosigned.
    pub signed: Vec<Signed>,
    pub remarks: Vec<String>,
}

/// Reads what is there; with `at`, only as far as that size: what comes after it may be somebody else's.
pub(super) async fn read(store: &dyn Store, policy: &Policy, at: Option<u64>) -> Result<Found, AnchorError> {
    let mut found = Found::default();
    let mut longest: BTreeMap<(String, bool), Signed> = BTreeMap::new();
    let ask = |key: String| async move {
        let object = store.get(&key, None).await;
        (key, object)
    };
    for few in in_few(keys(store, at, &mut found.remarks).await?, |key| key) {
        let objects: Vec<_> = stream::iter(few).map(ask).buffered(AHEAD).collect().await;
        for (key, object) in objects {
            let Some(object) = object? else {
                // Of one that was an anchor the next one says that it is missing.
                found.remarks.push(genuine::stray(&key, "it is listed, and cannot be read"));
                continue;
            };
            let Some(signed) = found.add(store, policy, key, &object) else { continue };
            for witnessed in [false, true].into_iter().take(1 + usize::from(signed.witnessed)) {
                let place = (signed.checkpoint.origin.clone(), witnessed);
                let known = longest.entry(place).or_insert_with(|| signed.clone());
                if known.checkpoint.size < signed.checkpoint.size {
                    *known = signed.clone();
                }
            }
        }
    }
    found.signed = longest.into_values().collect();
    Ok(found)
}

impl Found {
    /// Takes in what lies under this key; answers with its checkpoint if a key of the policy signed it all.
    fn add(&mut self, store: &dyn Store, policy: &Policy, key: String, object: &Object) -> Option<Signed> {
        if let Some(what) = object.too_large(&key) {
            self.remarks.push(format!("{key}: {what}"));
            return None;
        }
        let read = genuine::read(&key, &object.bytes).and_then(|(anchor, _)| {
            let (checkpoint, signed) = signatures::of_anchor(&anchor, &format!("the anchor {key}"), policy)?;
            Ok((anchor, checkpoint, signed))
        });
        let (anchor, checkpoint, signed) = match read {
            Ok(read) => read,
            Err(why) => {
                // If it stands in the place of an anchor, the next one misses it.
                self.remarks.push(genuine::stray(&key, &why));
                return None;
            }
        };
        look_at_lock(store, &key, object, &mut self.remarks);
        for (path, digest) in anchor.files.iter().filter(|(path, _)| path.starts_with("pack/")) {
            let listed = self.packs.entry(path.clone()).or_default();
            if !listed.contains(digest) {
                listed.push(*digest);
            }
        }
        self.links.push(Link {
            seq: anchor.seq,
            size: checkpoint.size,
            root: checkpoint.root,
            by: signed.as_ref().map(|signed| signed.by.clone()).unwrap_or_default(),
            proven: signed.as_ref().is_some_and(|signed| signed.proven),
            previous: anchor.previous.map(|previous| (previous.key, previous.sha256)),
            sha256: sha256(&[&object.bytes]),
            origin: checkpoint.origin,
            key,
        });
        signed
    }
}

/// Reads an anchor once more.
pub(super) async fn again(store: &dyn Store, link: &Link) -> Result<Anchor, AnchorError> {
    let bytes = store.get(&link.key, None).await?.map(|object| object.bytes).unwrap_or_default();
    if sha256(&[&bytes]) != link.sha256 {
        return Err(AnchorError::unreadable(&link.key, "it is not what it was a moment ago"));
    }
    anchor_format::parse(&link.key, &bytes)
}

/// The chain that the longest of these anchors ends, which are in the order of their keys: how many there are in it, and those that are not.
/// Of several that are as long one counts that has all others before it: a thief of the key may have laid more.
///
/// # Errors
/// In words, with the anchor at which it breaks.
pub(super) fn chain<'a>(genuine: &[&'a Link], all: &[Link]) -> Result<(usize, Vec<&'a Link>), AnchorError> {
    let mut reached: HashMap<&str, Result<&Link, (&str, String)>> = HashMap::new();
    for link in genuine {
        let before = link.previous.as_ref().and_then(|(key, _)| reached.get(key.as_str()));
        let follows = match before {
            Some(Err(broken)) => Err(broken.clone()),
            Some(Ok(before)) => follows(link, Some(*before), all),
            None => follows(link, None, all),
        };
        reached.insert(&link.key, follows.map(|()| *link));
    }
    let tip = genuine.iter().max_by_key(|link| (link.size, reached[link.key.as_str()].is_ok(), link.seq));
    let mut members = HashSet::new();
    let mut next = match tip.map(|tip| &reached[tip.key.as_str()]) {
        Some(Err((key, what))) => return Err(AnchorError::unreadable(*key, what)),
        Some(Ok(tip)) => Some(*tip),
        None => None,
    };
    while let Some(link) = next {
        members.insert(link.key.as_str());
        let before = link.previous.as_ref().and_then(|(key, _)| reached.get(key.as_str()));
        next = before.and_then(|before| before.as_ref().ok()).copied();
    }
    let beside = genuine.iter().filter(|link| !members.contains(link.key.as_str())).copied().collect();
    Ok((members.len(), beside))
}

/// Holds an anchor against the one that it names as the one before it, where that is one of this log.
fn follows<'a>(link: &'a Link, before: Option<&Link>, all: &[Link]) -> Result<(), (&'a str, String)> {
    let wrong = |what: String| Err((link.key.as_str(), what));
    let Some((key, sha256)) = &link.previous else {
        return match link.seq {
            0 => Ok(()),
            seq => wrong(format!("the anchor before it, number {}, is missing", seq - 1)),
        };
    };
    let counts = before.is_some();
    let Some(before) = before.or_else(|| all.iter().find(|other| other.key == *key)) else {
        return wrong(format!("the anchor before it, number {}, is missing", link.seq.saturating_sub(1)));
    };
    if before.sha256 != *sha256 || before.seq.checked_add(1) != Some(link.seq) {
        return wrong("it does not name the anchor before it as that one is".to_owned());
    }
    if link.size < before.size {
        return wrong("it covers less than the anchor before it".to_owned());
    }
    if !counts {
        return wrong(format!(
            "the anchor before it does not count: no key that was in force at size {} signed it, or it contradicts what is proved",
            before.size
        ));
    }
    Ok(())
}

/// The keys of what may be anchors, in their order. A marker hides nothing, and is named; so is whatever lies beside an anchor.
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
        if at.is_some_and(|at| size > at) {
            beyond.push(key);
            continue;
        }
        if objects == 0 {
            // Of one that was an anchor the next one says that it is missing.
            remarks.push(format!("{key}: only markers are left of it: if it was an anchor, somebody destroyed it"));
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

/// The same, together as many as can be read at once: whoever named them chose how long they can be.
pub(super) fn in_few<T>(all: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<Vec<T>> {
    let mut few: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for one in all {
        let most = store::most_bytes(key(&one));
        match few.last_mut().filter(|last| last.len() < AHEAD && bytes + most <= AT_ONCE) {
            Some(last) => {
                bytes += most;
                last.push(one);
            }
            None => {
                bytes = most;
                few.push(vec![one]);
            }
        }
    }
    few
}

fn look_at_lock(store: &dyn Store, key: &str, object: &Object, remarks: &mut Vec<String>) {
    let locked = object.lock.is_some_and(|lock| lock.mode == Mode::Compliance);
    if store.kind() == store::Kind::S3ObjectLock && !locked {
        remarks.push(format!("{key} is not locked: it could have been another one until a moment ago"));
    }
}
