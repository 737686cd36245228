//! Looks at everything that a store is to have: every anchor that the log speaks of, every file that it lists, and what lies beside them.
//!
//! Listings are read in their order, page by page, beside what is expected in the same order: memory does not grow with the log, and nothing is
//! fetched that a listing tells. What an anchor lists follows from its size and the size before, so that no anchor is needed to know it.

use std::collections::BTreeMap;

use chain::Hash;
use chain::hash::sha256;
use eventlog::Log;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::AnchorError;
use crate::anchor_format::{Anchored, new_files, parse};
use crate::genuine::{self, FOLDER, Sort};
use crate::on_record::Records;
use crate::signing_keys::SigningKeys;
use crate::store::{self, Store, Version};

/// Files looked for at a time.
const BATCH: usize = 10_000;
/// Objects asked for at a time.
const AHEAD: usize = 16;
/// So many are named; the others are counted.
const NAMED: usize = 100;
/// So many objects that have several versions, or no business there, are read. Whoever lays more there is found out by the first.
const LOOKS: usize = 1000;

/// What somebody should look at: how many there are, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    pub count: u64,
    pub first: Vec<String>,
}

impl Named {
    fn add(&mut self, what: String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(what);
        }
    }
}

/// What a look at everything in a store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// When it was made, by this server's clock.
    pub at: String,
    /// Whether every byte was read and compared with its hash, or only looked for.
    pub read: bool,
    /// Anchors and files that are there.
    pub anchors: u64,
    pub files: u64,
    /// What is on record or listed by an anchor, and is not there as it was anchored.
    pub missing: Named,
    /// What lies there and was not put there for this log.
    pub strays: Named,
}

impl Survey {
    pub fn is_clean(&self) -> bool {
        self.missing.count == 0 && self.strays.count == 0
    }
}

/// An anchor of which something is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub seq: u64,
    pub key: String,
}

/// How a survey is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// Read and hash everything.
    pub read: bool,
    /// Of a mirror: how many anchors it was brought. What it was not brought yet is not missing there.
    pub brought: Option<u64>,
}

/// One round through a store, in steps.
pub(crate) struct Round<'a> {
    store: &'a dyn Store,
    keys: &'a SigningKeys,
    records: Records,
    scope: Scope,
    /// Entries under the anchor before.
    size: u64,
    looks: usize,
    /// The key of the last anchor that was looked for; what comes after it is nobody's.
    after: Option<String>,
    /// The number of the anchor that was read last, and what it lists.
    lists: Option<(u64, BTreeMap<String, Hash>)>,
    ended: bool,
    survey: Survey,
}

/// The whole round.
pub async fn survey(
    log: &Log,
    keys: &SigningKeys,
    store: &dyn Store,
    scope: Scope,
    at: String,
) -> Result<Survey, AnchorError> {
    keys.catch_up().await?;
    let mut round = Round::new(log, keys, store, scope, at);
    while round.next().await?.is_some() {}
    Ok(round.survey)
}

/// The same of a mirror, as far as it was brought; answers how many anchors that are.
pub async fn survey_mirror(
    log: &Log,
    keys: &SigningKeys,
    store: &dyn Store,
    at: String,
) -> Result<(u64, Survey), AnchorError> {
    keys.catch_up().await?;
    let brought = genuine::newest(store, keys, None).await?.anchor().map_or(0, |newest| newest.anchor.seq + 1);
    let scope = Scope { read: false, brought: Some(brought) };
    Ok((brought, survey(log, keys, store, scope, at).await?))
}

impl<'a> Round<'a> {
    pub fn new(log: &Log, keys: &'a SigningKeys, store: &'a dyn Store, scope: Scope, at: String) -> Self {
        let survey = Survey { at, read: scope.read, ..Survey::default() };
        let (records, looks) = (Records::of(log), LOOKS);
        Self { store, keys, records, scope, size: 0, looks, after: None, lists: None, ended: false, survey }
    }

    /// What was found so far.
    pub fn survey(self) -> Survey {
        self.survey
    }

    /// Looks for the next anchors and their files; answers with those of which something is missing. Nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Lack>>, AnchorError> {
        if self.ended {
            return Ok(None);
        }
        let (mut anchors, mut files) = (Vec::new(), BTreeMap::new());
        while files.len() + anchors.len() < BATCH {
            let wanted = self.scope.brought.is_none_or(|most| self.records.seen() < most);
            let Some(anchored) = (if wanted { self.records.next().await? } else { None }) else {
                self.ended = true;
                break;
            };
            let listed = new_files(self.size, anchored.size).into_iter().map(|path| (path, anchors.len()));
            files.extend(listed);
            self.size = anchored.size;
            anchors.push(anchored);
        }
        let mut lacks = vec![false; anchors.len()];
        self.look_for_anchors(&anchors, &mut lacks).await?;
        self.look_for_files(&files, &anchors, &mut lacks).await?;
        if self.scope.read {
            self.read(&anchors, &mut lacks).await?;
        }
        let lacks = anchors.into_iter().zip(lacks).filter(|(_, lacks)| *lacks);
        Ok(Some(lacks.map(|(anchored, _)| Lack { seq: anchored.seq, key: anchored.key }).collect()))
    }

    /// Listed from where the last ones ended; to the end, once no more are on record.
    async fn look_for_anchors(&mut self, anchors: &[Anchored], lacks: &mut [bool]) -> Result<(), AnchorError> {
        let mut wanted = anchors.iter().zip(lacks).peekable();
        let last = anchors.last().map(|anchored| anchored.key.clone());
        let mut more = true;
        while more {
            let page = self.store.page(FOLDER, self.after.as_deref()).await?;
            more = page.more;
            for versions in by_key(&page.versions) {
                let key = versions[0].key.as_str();
                if !self.ended && last.as_deref().is_none_or(|last| key > last) {
                    more = false;
                    break;
                }
                self.after = Some(key.to_owned());
                while let Some((anchored, lacks)) = wanted.next_if(|(anchored, _)| anchored.key.as_str() < key) {
                    *lacks = true;
                    self.survey.missing.add(gone(anchored));
                }
                match wanted.next_if(|(anchored, _)| anchored.key == key) {
                    Some((anchored, lacks)) => *lacks = !self.look_at_anchor(anchored, versions).await?,
                    None => self.look_at_stranger(key, versions).await?,
                }
            }
        }
        for (anchored, lacks) in wanted {
            *lacks = true;
            self.survey.missing.add(gone(anchored));
        }
        Ok(())
    }

    /// Whether this anchor is there as it is on record.
    async fn look_at_anchor(&mut self, anchored: &Anchored, versions: &[Version]) -> Result<bool, AnchorError> {
        let is_first = self.scope.brought.is_none();
        let mut there = versions.iter().any(|found| !found.marker);
        // A mirror has its own names for versions.
        let recorded = anchored.version.as_deref().filter(|_| is_first);
        let is_found =
            recorded.is_none_or(|version| versions.iter().any(|found| found.version.as_deref() == Some(version)));
        // What a lock keeps is what was written. Elsewhere the bytes are what can be compared.
        if there && (self.scope.read || !is_found || !self.store.kind().has_lock()) {
            let object = self.store.get(&anchored.key, None).await?;
            there = object.is_some_and(|object| sha256(&[&object.bytes]) == anchored.sha256);
        }
        if there {
            self.survey.anchors += 1;
        } else {
            self.survey.missing.add(gone(anchored));
        }
        self.look_beside(&anchored.key, Some(anchored.sha256), versions).await?;
        Ok(there)
    }

    /// A key that nothing is on record about.
    async fn look_at_stranger(&mut self, key: &str, versions: &[Version]) -> Result<(), AnchorError> {
        let hidden = versions.iter().all(|version| version.marker);
        let found = match hidden || !self.may_look() {
            true => Some(Sort::Stray(format!("{key}: nothing is on record about it"))),
            false => genuine::look(self.store, key, self.keys).await?,
        };
        match found {
            Some(Sort::Stray(stray)) => self.survey.strays.add(stray),
            Some(Sort::Anchor(anchor)) if !self.keys.is_current(&anchor.anchor) => {
                self.survey.strays.add(genuine::stray(key, genuine::RETIRED));
            }
            // On its way to be recorded, or not brought to this mirror yet; of an older number it is one too many.
            Some(Sort::Anchor(anchor)) if anchor.anchor.seq < self.records.seen() => {
                self.survey
                    .strays
                    .add(format!("{key}: a key of this log signed it, and another anchor of its number is on record"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks for these files, of which each says whose it is.
    async fn look_for_files(
        &mut self,
        files: &BTreeMap<String, usize>,
        anchors: &[Anchored],
        lacks: &mut [bool],
    ) -> Result<(), AnchorError> {
        let mut wanted = files.iter().peekable();
        let mut after: Option<String> = None;
        while let Some((next, _)) = wanted.peek() {
            // Over what nobody asks about.
            let start = before(next);
            let from = after.take().filter(|after| *after > start).unwrap_or(start);
            let page = self.store.page("", Some(&from)).await?;
            for versions in by_key(&page.versions) {
                let key = versions[0].key.as_str();
                while let Some((path, of)) = wanted.next_if(|(path, _)| path.as_str() < key) {
                    self.lack(path, &mut lacks[*of]);
                }
                if let Some((path, of)) = wanted.next_if(|(path, _)| path.as_str() == key) {
                    if versions.iter().all(|version| version.marker) {
                        self.lack(path, &mut lacks[*of]);
                    } else {
                        self.survey.files += 1;
                        let is = if versions.len() > 1 { self.listed(&anchors[*of], path).await? } else { None };
                        self.look_beside(key, is, versions).await?;
                    }
                }
            }
            after = page.versions.last().map(|version| version.key.clone());
            if !page.more {
                break;
            }
        }
        for (path, of) in wanted {
            self.lack(path, &mut lacks[*of]);
        }
        Ok(())
    }

    /// What this anchor says that the file hashes to: of several versions only that tells which one is the log's.
    async fn listed(&mut self, by: &Anchored, path: &str) -> Result<Option<Hash>, AnchorError> {
        if self.lists.as_ref().is_none_or(|(seq, _)| *seq != by.seq) {
            let object = self.store.get(&by.key, None).await?;
            let anchor = object.and_then(|object| parse(&by.key, &object.bytes).ok());
            self.lists = Some((by.seq, anchor.map(|anchor| anchor.files).unwrap_or_default()));
        }
        Ok(self.lists.as_ref().and_then(|(_, files)| files.get(path)).copied())
    }

    fn lack(&mut self, path: &str, lacks: &mut bool) {
        *lacks = true;
        self.survey.missing.add(format!("{path}: an anchor lists it, and it is gone"));
    }

    /// Markers and further versions. One version alone needs no look.
    async fn look_beside(&mut self, key: &str, is: Option<Hash>, versions: &[Version]) -> Result<(), AnchorError> {
        if versions.len() < 2 {
            return Ok(());
        }
        if !self.may_look() {
            self.survey.strays.add(format!("{key}: {} versions and markers, which were not looked at", versions.len()));
            return Ok(());
        }
        let is = match is {
            Some(is) => is,
            None => {
                let oldest = self.store.get(key, None).await?;
                oldest.map_or(Hash::ZERO, |oldest| sha256(&[&oldest.bytes]))
            }
        };
        for stray in store::strays_among(self.store, key, is, versions.iter().cloned()).await? {
            self.survey.strays.add(stray);
        }
        Ok(())
    }

    fn may_look(&mut self) -> bool {
        let may = self.looks > 0;
        self.looks = self.looks.saturating_sub(1);
        may
    }

    /// Reads every file of these anchors. What is not there was said already.
    async fn read(&mut self, anchors: &[Anchored], lacks: &mut [bool]) -> Result<(), AnchorError> {
        for (anchored, lacks) in anchors.iter().zip(lacks) {
            let Some(object) = self.store.get(&anchored.key, None).await? else { continue };
            if sha256(&[&object.bytes]) != anchored.sha256 {
                // By its version it is there; without one it was compared already.
                continue;
            }
            let listed = parse(&anchored.key, &object.bytes)?.files;
            let store = self.store;
            let read = listed.into_iter().map(|(path, digest)| async move {
                let object = store::get_listed(store, &path, digest).await?;
                Ok::<_, AnchorError>(object.is_some_and(|object| sha256(&[&object.bytes]) != digest).then_some(path))
            });
            let changed: Vec<_> = stream::iter(read.collect::<Vec<_>>()).buffered(AHEAD).try_collect().await?;
            for path in changed.into_iter().flatten() {
                *lacks = true;
                self.survey.missing.add(format!("{path}: it holds other bytes than were anchored"));
            }
        }
        Ok(())
    }
}

fn gone(anchored: &Anchored) -> String {
    format!("anchor {} ({}): it is on record, and not there as it was recorded", anchored.seq, anchored.key)
}

/// The versions of one key after the other.
fn by_key(versions: &[Version]) -> impl Iterator<Item = &[Version]> {
    versions.chunk_by(|one, other| one.key == other.key)
}

/// A key right before this one, so that a listing after it begins with it: all keys of files end with a digit.
fn before(path: &str) -> String {
    let mut before = path.to_owned();
    let last = before.pop().map_or('~', |last| char::from_u32(u32::from(last) - 1).unwrap_or('~'));
    before.push(last);
    before.push('~');
    before
}
