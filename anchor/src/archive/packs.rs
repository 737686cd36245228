//! The entries of a log, pack by pack: read from wherever a good copy is, and checked up to the root that was signed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::Pin;

use chain::Hash;
use chain::entry::EntryView;
use chain::hash::sha256;
use chain::key::VerifierKey;
use chain::pack::{self, PackId};
use chain::rotation::History;
use chain::tile::FULL_WIDTH;
use chain::tree::{Frontier, leaf_hash};
use eventlog::Stored;
use futures::stream::{self, Stream, StreamExt as _};

use super::{AHEAD, Archive, Places, judgement};
use crate::AnchorError;
use crate::error::blocking;
use crate::signing_keys;

const FULL: u64 = FULL_WIDTH as u64;

/// The bytes of one pack, and where this copy lay.
struct Copy {
    bytes: Vec<u8>,
    whence: &'static str,
}

type Copies<'a> = Pin<Box<dyn Stream<Item = Result<(PackId, Option<Copy>), AnchorError>> + Send + 'a>>;

/// Which copies are looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Those in the store that the anchors list and nothing contradicts.
    Store,
    /// Those that were published, whatever the anchors say: a thief may have anchored packs of their own.
    Published,
}

/// The pack of this index in a log of `size` entries.
fn id(index: u64, size: u64) -> PackId {
    PackId { index, width: u16::try_from((size - index * FULL).min(FULL)).unwrap_or(FULL_WIDTH) }
}

fn copies(archive: &Archive, from: u64, first: First) -> Copies<'_> {
    let size = archive.size();
    let ask = move |index| async move {
        let id = id(index, size);
        Ok((id, archive.places.first_copy(&id, first).await?))
    };
    Box::pin(stream::iter(from / FULL..size.div_ceil(FULL)).map(ask).buffered(AHEAD))
}

impl Places {
    /// The nearest copy; nothing when there is none.
    async fn first_copy(&self, id: &PackId, first: First) -> Result<Option<Copy>, AnchorError> {
        let nearest = match first {
            First::Store => self.in_store(&id.path(), id).await?,
            First::Published => self.in_layout(id).await?,
        };
        if nearest.is_some() {
            return Ok(nearest);
        }
        Ok(self.every_copy(id).await?.into_iter().next())
    }

    async fn in_layout(&self, id: &PackId) -> Result<Option<Copy>, AnchorError> {
        let Some(layout) = self.published.clone() else { return Ok(None) };
        let path = id.path();
        let bytes = blocking(move || Ok(layout.read(&path).ok().flatten())).await?;
        Ok(bytes.map(|bytes| Copy { bytes, whence: "what was published" }))
    }

    /// Every copy there is: of this width, published beside the store, and as the beginning of a wider one.
    async fn every_copy(&self, id: &PackId) -> Result<Vec<Copy>, AnchorError> {
        let mut copies = self.all_in_store(&id.path(), id).await?;
        copies.extend(self.in_layout(id).await?);
        let full = PackId { width: FULL_WIDTH, ..*id }.path();
        if id.width < FULL_WIDTH {
            for key in crate::store::keys(self.store.as_ref(), &format!("{full}.p/")).await? {
                if PackId::parse(&key).is_some_and(|wider| wider.width > id.width) {
                    copies.extend(self.all_in_store(&key, id).await?);
                }
            }
            copies.extend(self.all_in_store(&full, id).await?);
        }
        Ok(copies)
    }

    /// What the store has under `key`, cut to the records of `id`.
    async fn in_store(&self, key: &str, id: &PackId) -> Result<Option<Copy>, AnchorError> {
        let object = self.store.get(key, None).await?;
        Ok(object.map(|object| Copy { bytes: beginning(object.bytes, id), whence: "the store" }))
    }

    /// The same of every version: somebody may have put something there before the city did.
    async fn all_in_store(&self, key: &str, id: &PackId) -> Result<Vec<Copy>, AnchorError> {
        let objects = crate::store::all_versions(self.store.as_ref(), key).await?;
        let copies = objects.into_iter();
        Ok(copies.map(|object| Copy { bytes: beginning(object.bytes, id), whence: "the store" }).collect())
    }
}

/// The first records of a pack that may hold more. What is no pack stays as it is, and is refused by whoever reads it.
fn beginning(mut bytes: Vec<u8>, id: &PackId) -> Vec<u8> {
    let first = pack::records(&bytes).take(usize::from(id.width));
    let end = first.map(|record| record.map(|record| pack::encode(&[record]).len())).sum::<Result<usize, _>>();
    bytes.truncate(end.unwrap_or(bytes.len()));
    bytes
}

/// The entries of a pack, linked and hashed; nothing about them is compared yet.
fn entries(id: &PackId, bytes: &[u8], origin: &str) -> Result<Vec<Stored>, AnchorError> {
    let records = pack::decode(id, bytes).map_err(|error| AnchorError::unreadable(id.path(), error))?;
    let read = |record: &pack::Record<'_>| {
        let at = |error: chain::entry::EntryError| {
            AnchorError::unreadable(id.path(), format!("position {}: {error}", record.position))
        };
        let view = EntryView::parse(record.bytes).map_err(at)?;
        Ok(Stored {
            position: record.position,
            stream: view.stream.into_owned(),
            version: view.version,
            prev: record.prev,
            hash: record.entry_hash(origin),
            bytes: record.bytes.to_vec().into(),
        })
    };
    records.iter().map(read).collect()
}

/// The first reading, in which everything is checked. Memory grows with streams, and by 32 bytes for each pack.
pub struct Pass<'a> {
    archive: &'a Archive,
    first: First,
    copies: Copies<'a>,
    frontier: Frontier,
    /// The next mark whose root is to be compared.
    next_mark: usize,
    /// Those of the marks whose root is another.
    contradicted: BTreeSet<usize>,
    /// What spoke against the first pack that was taken all the same: should a later one not fit, this is where it began.
    suspicion: Option<AnchorError>,
    /// How many entries each stream has, and the hash of the last.
    streams: HashMap<String, (u64, Hash)>,
    /// What the entries say about the keys.
    history: History,
    digests: Vec<Hash>,
    remarks: Vec<String>,
}

/// What the first reading came to.
pub struct Verified {
    /// SHA-256 of every pack that was read.
    pub digests: Vec<Hash>,
    pub remarks: Vec<String>,
    /// The keys that the log had.
    pub history: History,
    /// Keys that it rotated to later.
    pub later: Vec<VerifierKey>,
    /// How many anchors there are up to the aim, one leading to the next, and whether none is missing among them.
    pub anchors: usize,
    pub unbroken: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(archive: &'a Archive, first: First) -> Self {
        Self {
            archive,
            first,
            copies: copies(archive, 0, first),
            frontier: Frontier::new(),
            next_mark: 0,
            contradicted: BTreeSet::new(),
            suspicion: None,
            streams: HashMap::new(),
            history: History::default(),
            digests: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The entries of the next pack; nothing after the last. All of them are believed only once the last pack is there: it is given
    /// out after the root was found to be the signed one.
    ///
    /// # Errors
    /// [`AnchorError::Unreadable`] names the pack that does not fit.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, AnchorError> {
        let Some(next) = self.copies.next().await else { return Ok(None) };
        let (id, first) = next?;
        let mut tried = Vec::new();
        let mut doubts: Vec<(&'static str, AnchorError)> = Vec::new();
        let mut doubtful = None;
        let (mut waiting, mut is_every) = (VecDeque::from_iter(first), false);
        loop {
            let Some(copy) = waiting.pop_front() else {
                // The others are looked at only where the nearest one is not as it should be.
                if is_every {
                    break;
                }
                is_every = true;
                waiting.extend(self.archive.places.every_copy(&id).await?);
                continue;
            };
            let digest = sha256(&[&copy.bytes]);
            if tried.contains(&digest) {
                continue;
            }
            tried.push(digest);
            let unlisted = self.unlisted(&id, digest);
            let taken = match self.fits(&id, &copy.bytes) {
                Ok(taken) => taken,
                Err(error) => {
                    doubts.push((copy.whence, unlisted.unwrap_or(error)));
                    continue;
                }
            };
            let doubt = unlisted.or_else(|| self.contradiction(&taken)).filter(|_| self.first == First::Store);
            match doubt {
                None => {
                    if let Some((whence, error)) = doubts.into_iter().next() {
                        let remark = format!("{error}: the copy in {whence} is not used, that in {} is", copy.whence);
                        self.remarks.push(remark);
                    }
                    return self.take(digest, taken).map(Some);
                }
                Some(doubt) => {
                    doubts.push((copy.whence, doubt));
                    doubtful.get_or_insert((digest, taken));
                }
            }
        }
        let doubt = doubts.into_iter().next().map(|(_, error)| error);
        let Some((digest, taken)) = doubtful else {
            let began = self.suspicion.take().or(doubt);
            return Err(began.unwrap_or_else(|| AnchorError::unreadable(id.path(), "the pack is missing")));
        };
        // Whoever can write to the store can list anything: the last root says whether the pack or the list is wrong.
        if let Some(unlisted) = self.unlisted(&id, digest) {
            self.remarks.push(format!("{unlisted}; it gives the root that was signed, and is used"));
        }
        self.suspicion = self.suspicion.take().or(doubt);
        self.take(digest, taken).map(Some)
    }

    /// How many entries were given out.
    pub fn reached(&self) -> u64 {
        self.frontier.size()
    }

    /// Everything was read: what was signed is judged by the keys that the log had.
    ///
    /// # Errors
    /// [`AnchorError::Unreadable`] names what no key signed that was in force then, what the entries contradict, and what is missing.
    pub async fn finish(mut self) -> Result<Verified, AnchorError> {
        let judged = judgement::judge(self.archive, &self.history, &self.contradicted).await?;
        self.remarks.extend(judged.remarks);
        Ok(Verified {
            digests: self.digests,
            remarks: self.remarks,
            history: self.history,
            later: judged.later,
            anchors: judged.anchors,
            unbroken: judged.unbroken,
        })
    }

    /// Why a file of this digest may not be the pack, if there are anchors that list it and none lists this.
    fn unlisted(&self, id: &PackId, digest: Hash) -> Option<AnchorError> {
        let listed = self.archive.listed.get(&id.path())?;
        let is_listed = listed.contains(&digest);
        (!is_listed).then(|| AnchorError::unreadable(id.path(), "it is not the file that the anchors list"))
    }

    /// The first checkpoint by a key of the policy, short of the one that is aimed at, that says another root than these entries give.
    fn contradiction(&self, taken: &Taken) -> Option<AnchorError> {
        let mut marks = taken.contradicted.iter().filter_map(|index| self.archive.marks.get(*index));
        let mark = marks.find(|mark| mark.is_known && mark.size < self.archive.size())?;
        Some(AnchorError::unreadable(&mark.whence, mark.wrong()))
    }

    /// Whether these bytes are a pack that goes on every stream and, of the last one, gives the signed root.
    fn fits(&self, id: &PackId, bytes: &[u8]) -> Result<Taken, AnchorError> {
        let wrong = |what: String| AnchorError::unreadable(id.path(), what);
        let entries = entries(id, bytes, self.archive.origin())?;
        let mut taken = Taken {
            entries: Vec::new(),
            streams: HashMap::new(),
            frontier: self.frontier.clone(),
            next_mark: self.next_mark,
            contradicted: Vec::new(),
        };
        for entry in &entries {
            let known = taken.streams.get(&entry.stream).or_else(|| self.streams.get(&entry.stream)).copied();
            if known.unwrap_or((0, Hash::ZERO)) != (entry.version, entry.prev) {
                return Err(wrong(format!("position {} does not go on its stream {}", entry.position, entry.stream)));
            }
            taken.streams.insert(entry.stream.clone(), (entry.version + 1, entry.hash));
            taken.frontier.push(leaf_hash(&entry.hash.0));
            self.compare_roots(&mut taken);
        }
        if taken.frontier.size() == self.archive.size() && taken.frontier.root() != self.archive.root() {
            if let Some(contradiction) = self.contradiction(&taken) {
                return Err(contradiction);
            }
            let whence = &self.archive.aim.whence;
            return Err(wrong(format!("with it the root is not the one that was signed ({whence})")));
        }
        Ok(Taken { entries, ..taken })
    }

    fn compare_roots(&self, taken: &mut Taken) {
        let (size, marks) = (taken.frontier.size(), &self.archive.marks);
        while let Some(mark) = marks.get(taken.next_mark).filter(|mark| mark.size <= size) {
            if mark.size == size && mark.root != taken.frontier.root() {
                taken.contradicted.push(taken.next_mark);
            }
            taken.next_mark += 1;
        }
    }

    fn take(&mut self, digest: Hash, taken: Taken) -> Result<Vec<Stored>, AnchorError> {
        self.frontier = taken.frontier;
        self.next_mark = taken.next_mark;
        self.contradicted.extend(taken.contradicted);
        self.streams.extend(taken.streams);
        self.digests.push(digest);
        for entry in &taken.entries {
            if let Some(why) = signing_keys::tell(&mut self.history, self.archive.origin(), entry)? {
                self.remarks.push(format!("position {}: {why}", entry.position));
            }
        }
        Ok(taken.entries)
    }
}

/// A pack that fits, and what is known after it.
struct Taken {
    entries: Vec<Stored>,
    streams: HashMap<String, (u64, Hash)>,
    frontier: Frontier,
    next_mark: usize,
    contradicted: Vec<usize>,
}

/// A later reading: each pack is the one that was verified, or it is refused.
pub struct Again<'a> {
    archive: &'a Archive,
    digests: &'a [Hash],
    copies: Copies<'a>,
    from: u64,
}

impl<'a> Again<'a> {
    pub(super) fn new(archive: &'a Archive, digests: &'a [Hash], from: u64) -> Self {
        Self { archive, digests, copies: copies(archive, from, First::Store), from }
    }

    /// The entries of the next pack; nothing after the last.
    ///
    /// # Errors
    /// When no copy is what was verified.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, AnchorError> {
        let Some(next) = self.copies.next().await else { return Ok(None) };
        let (id, first) = next?;
        let verified = usize::try_from(id.index).ok().and_then(|index| self.digests.get(index));
        let is_it = |copy: &Copy| verified == Some(&sha256(&[&copy.bytes]));
        let copy = match first.filter(is_it) {
            Some(copy) => Some(copy),
            None => self.archive.places.every_copy(&id).await?.into_iter().find(is_it),
        };
        let copy = copy.ok_or_else(|| AnchorError::unreadable(id.path(), "it is not what it was a moment ago"))?;
        let mut entries = entries(&id, &copy.bytes, self.archive.origin())?;
        entries.retain(|entry| entry.position >= self.from);
        Ok(Some(entries))
    }
}
