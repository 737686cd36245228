//! What was signed, judged after all entries were read: they say which key was in force at which size, and what the roots are.

use std::collections::{BTreeSet, HashSet};

use chain::Hash;
use chain::key::VerifierKey;
use chain::rotation::{History, fingerprint};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::chain_of_anchors::{self, Link};
use super::{AHEAD, Archive, Mark, keys, later};
use crate::AnchorError;
use crate::genuine::stray;

/// What the anchors came to.
pub(super) struct Judged {
    /// How many there are in the chain that the longest one ends.
    pub anchors: usize,
    /// Whether that chain has no gap.
    pub unbroken: bool,
    pub remarks: Vec<String>,
    /// The keys that the log rotated to after the aim.
    pub later: Vec<VerifierKey>,
}

/// Judges the checkpoint that is aimed at, which a key of the policy signed, and all that lies under `anchors/`. `contradicted` are those
/// of the archive's marks that say another root than the entries give.
///
/// An anchor counts if a key signed it that was in force at its size; whatever else lies there is named, and does nothing.
///
/// # Errors
/// [`AnchorError::Unreadable`] names what a key of the log signed and the entries contradict; a gap in the chain; and what says that the
/// policy is of before a rotation. Of the first two the quorum's word makes remarks.
pub(super) async fn judge(
    archive: &Archive,
    history: &History,
    contradicted: &BTreeSet<usize>,
) -> Result<Judged, AnchorError> {
    let (aim, size) = (&archive.aim, archive.size());
    if !keys::is_in_force(history, size, &aim.by) {
        return Err(keys::nobody(&aim.whence, size));
    }
    let later = later::keys(archive, history).await?;
    let mut judged = Judged { anchors: 0, unbroken: true, remarks: Vec::new(), later };
    let below = archive.anchors.iter().filter(|link| link.size <= size);
    let counting = counting(archive, below.clone().collect(), history, &mut judged.remarks).await?;
    let counting = believed(archive, counting, history, &mut judged.remarks).await?;
    let keys: HashSet<&str> = counting.iter().map(|link| link.key.as_str()).collect();
    let mut wrong: HashSet<&str> = HashSet::new();
    for mark in contradicted.iter().filter_map(|index| archive.marks.get(*index)) {
        // Of what counts for nothing that was said already.
        if mark.is_anchor && !keys.contains(mark.whence.as_str()) {
            continue;
        }
        wrong.insert(&mark.whence);
        let what = mark.wrong();
        if !aim.outweighs(mark) {
            return Err(AnchorError::unreadable(&mark.whence, what));
        }
        judged.remarks.push(format!("{}: {what}: {} CONTRADICTS it, and counts", mark.whence, aim.whence));
    }
    let genuine: Vec<&Link> = counting.into_iter().filter(|link| !wrong.contains(link.key.as_str())).collect();
    match chain_of_anchors::chain(&genuine, &archive.anchors) {
        Ok((anchors, beside)) => {
            judged.anchors = anchors;
            let why = "it carries a checkpoint of this log, and no later anchor leads to it";
            judged.remarks.extend(beside.into_iter().map(|link| stray(&link.key, why)));
        }
        Err(gap) if aim.proven => {
            (judged.anchors, judged.unbroken) = (genuine.len(), false);
            judged.remarks.push(format!("{gap}; the entries are proved without it"));
        }
        Err(gap) => return Err(gap),
    }
    look_beyond(archive, history, &mut judged).await?;
    Ok(judged)
}

/// Those of these anchors that a key signed which was in force; the others are named.
async fn counting<'a>(
    archive: &Archive,
    links: Vec<&'a Link>,
    history: &History,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'a Link>, AnchorError> {
    let store = archive.places.store.as_ref();
    let why = |link: &Link| format!("no key that was in force at size {} signed it", link.size);
    let mut ours = Vec::new();
    for few in chain_of_anchors::in_few(links, |link| &link.key) {
        let asked: Vec<_> = few.iter().map(|link| keys::counts(store, link, history)).collect();
        let counts: Vec<bool> = stream::iter(asked).buffered(AHEAD).try_collect().await?;
        let (counting, others): (Vec<_>, Vec<_>) = few.into_iter().zip(counts).partition(|(_, counts)| *counts);
        remarks.extend(others.into_iter().map(|(link, _)| stray(&link.key, &why(link))));
        ours.extend(counting.into_iter().map(|(link, _)| link));
    }
    Ok(ours)
}

/// Those of these that a key signed which is still in force at the aim, and those that they lead to by hash; the others are named. Whoever
/// has a retired key can choose a size at which it was in force. Where there are none of the former, all are as good.
async fn believed<'a>(
    archive: &Archive,
    links: Vec<&'a Link>,
    history: &History,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'a Link>, AnchorError> {
    let store = archive.places.store.as_ref();
    let given: Vec<Hash> = archive.keys.iter().map(|key| fingerprint(&key.vkey())).collect();
    let mut current = HashSet::new();
    for link in &links {
        if keys::counts_at(store, link, (history, archive.size()), &given).await? {
            current.insert(link.key.as_str());
        }
    }
    if current.is_empty() {
        return Ok(links);
    }
    let mut named: HashSet<(&str, Hash)> = HashSet::new();
    for link in links.iter().rev() {
        if current.contains(link.key.as_str()) || named.contains(&(link.key.as_str(), link.sha256)) {
            named.extend(link.previous.as_ref().map(|(key, sha256)| (key.as_str(), *sha256)));
        }
    }
    let is_believed =
        |link: &&Link| current.contains(link.key.as_str()) || named.contains(&(link.key.as_str(), link.sha256));
    let (believed, others): (Vec<_>, Vec<_>) = links.iter().copied().partition(is_believed);
    let why = "only a key that is retired by now signed it, and no later anchor leads to it";
    remarks.extend(others.into_iter().map(|link| stray(&link.key, why)));
    Ok(believed)
}

/// What no key of the policy signed beyond the aim is a stray, or else the policy is of before a rotation: whether the log has the key that
/// signed it tells the two apart.
async fn look_beyond(archive: &Archive, history: &History, judged: &mut Judged) -> Result<(), AnchorError> {
    for link in archive.anchors.iter().filter(|link| link.size > archive.size() && link.by.is_empty()) {
        let anchor = chain_of_anchors::again(archive.places.store.as_ref(), link).await?;
        let is_later = anchor.note().is_ok_and(|note| later::signed(&note, &judged.later));
        if is_later || keys::signed(history, link.size, &anchor) {
            return Err(AnchorError::unreadable(
                &link.key,
                format!(
                    "no key that the policy gives signed it, but another key of the log did: the policy has to give the newest one; or \
                     say which size is the last good one (the newest that the policy knows is {})",
                    archive.size()
                ),
            ));
        }
        judged
            .remarks
            .push(stray(&link.key, "neither a key that the policy gives nor another key of the log signed it"));
    }
    Ok(())
}

impl Mark {
    pub(super) fn wrong(&self) -> String {
        format!("the first {} entries are not those that it covers", self.size)
    }
}
