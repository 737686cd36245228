//! The entries of a log, pack by pack: read from wherever a good copy is, and checked up to the root that was signed.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;

use chain::Hash;
use chain::entry::EntryView;
use chain::hash::sha256;
use chain::pack::{self, PackId};
use chain::rotation::History;
use chain::tile::FULL_WIDTH;
use chain::tree::{Frontier, leaf_hash};
use eventlog::Stored;
use futures::stream::{self, Stream, StreamExt as _};

use super::{AHEAD, Archive, Places, chain_of_anchors, keys};
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

/// The pack of this index in a log of `size` entries.
fn id(index: u64, size: u64) -> PackId {
    PackId { index, width: u16::try_from((size - index * FULL).min(FULL)).unwrap_or(FULL_WIDTH) }
}

fn copies(archive: &Archive, from: u64) -> Copies<'_> {
    let size = archive.size();
    let ask = move |index| async move {
        let id = id(index, size);
        Ok((id, archive.places.first_copy(&id).await?))
    };
    Box::pin(stream::iter(from / FULL..size.div_ceil(FULL)).map(ask).buffered(AHEAD))
}

impl Places {
    /// The nearest copy; nothing when there is none.
    async fn first_copy(&self, id: &PackId) -> Result<Option<Copy>, AnchorError> {
        if let Some(copy) = self.in_store(&id.path(), id).await? {
            return Ok(Some(copy));
        }
        Ok(self.every_copy(id).await?.into_iter().next())
    }

    /// Every copy there is: of this width, published beside the store, and as the beginning of a wider one.
    async fn every_copy(&self, id: &PackId) -> Result<Vec<Copy>, AnchorError> {
        let mut copies = self.all_in_store(&id.path(), id).await?;
        if let Some(layout) = self.published.clone() {
            let path = id.path();
            let bytes = blocking(move || Ok(layout.read(&path).ok().flatten())).await?;
            copies.extend(bytes.map(|bytes| Copy { bytes, whence: "what was published" }));
        }
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
    copies: Copies<'a>,
    frontier: Frontier,
    /// The next anchor whose root is to be compared.
    next_root: usize,
    /// The first anchor that is long enough to list the pack that is next, and what it lists.
    lister: usize,
    listed: Option<BTreeMap<String, Hash>>,
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
}

impl<'a> Pass<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self {
            archive,
            copies: copies(archive, 0),
            frontier: Frontier::new(),
            next_root: 0,
            lister: 0,
            listed: None,
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
    /// [`AnchorError::Unreadable`] names the pack or the anchor that does not fit.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, AnchorError> {
        let Some(next) = self.copies.next().await else { return Ok(None) };
        let (id, first) = next?;
        let listed = self.listed(&id).await?;
        let mut tried = Vec::new();
        let mut reason = None;
        if let Some(copy) = first {
            match self.fits(&id, &copy.bytes, listed.as_ref()) {
                Ok(taken) => return self.take(&copy.bytes, taken).map(Some),
                Err(error) => reason = Some((copy.whence, error)),
            }
            tried.push(sha256(&[&copy.bytes]));
        }
        for copy in self.archive.places.every_copy(&id).await? {
            let digest = sha256(&[&copy.bytes]);
            if tried.contains(&digest) {
                continue;
            }
            tried.push(digest);
            match self.fits(&id, &copy.bytes, listed.as_ref()) {
                Ok(taken) => {
                    if let Some((whence, error)) = reason {
                        self.remarks
                            .push(format!("{error}: the copy in {whence} is not used, that in {} is", copy.whence));
                    }
                    return self.take(&copy.bytes, taken).map(Some);
                }
                Err(error) => {
                    reason.get_or_insert((copy.whence, error));
                }
            }
        }
        Err(reason.map_or_else(|| AnchorError::unreadable(id.path(), "the pack is missing"), |(_, error)| error))
    }

    /// Everything was read: what was signed is judged by the keys that the log had.
    ///
    /// # Errors
    /// [`AnchorError::Unreadable`] names what no key signed that was in force then.
    pub async fn finish(self) -> Result<Verified, AnchorError> {
        keys::judge(self.archive, &self.history).await?;
        Ok(Verified { digests: self.digests, remarks: self.remarks, history: self.history })
    }

    /// What the anchors say the bytes of this pack hash to, if one of them lists it: the first that is long enough.
    async fn listed(&mut self, id: &PackId) -> Result<Option<Hash>, AnchorError> {
        let end = id.first_position() + u64::from(id.width);
        let (archive, before) = (self.archive, self.lister);
        while archive.anchors.get(self.lister).is_some_and(|anchor| anchor.size < end) {
            self.lister += 1;
        }
        let Some(anchor) = archive.anchors.get(self.lister) else { return Ok(None) };
        if self.lister != before || self.listed.is_none() {
            self.listed = Some(chain_of_anchors::packs_of(archive.places.store.as_ref(), anchor).await?);
        }
        Ok(self.listed.as_ref().and_then(|listed| listed.get(&id.path())).copied())
    }

    /// Whether these bytes are this pack: as an anchor lists it, with streams that go on, and, of the last one, with the signed root.
    fn fits(&self, id: &PackId, bytes: &[u8], listed: Option<&Hash>) -> Result<Taken, AnchorError> {
        let wrong = |what: String| AnchorError::unreadable(id.path(), what);
        if listed.is_some_and(|listed| *listed != sha256(&[bytes])) {
            return Err(wrong("it is not the file that the anchors list".to_owned()));
        }
        let entries = entries(id, bytes, self.archive.origin())?;
        let mut taken = Taken {
            entries: Vec::new(),
            streams: HashMap::new(),
            frontier: self.frontier.clone(),
            next_root: self.next_root,
        };
        for entry in &entries {
            let known = taken.streams.get(&entry.stream).or_else(|| self.streams.get(&entry.stream)).copied();
            if known.unwrap_or((0, Hash::ZERO)) != (entry.version, entry.prev) {
                return Err(wrong(format!("position {} does not go on its stream {}", entry.position, entry.stream)));
            }
            taken.streams.insert(entry.stream.clone(), (entry.version + 1, entry.hash));
            taken.frontier.push(leaf_hash(&entry.hash.0));
            self.compare_root(&mut taken)?;
        }
        if taken.frontier.size() == self.archive.size() && taken.frontier.root() != self.archive.root() {
            let whence = &self.archive.aim.whence;
            return Err(wrong(format!("with it the root is not the one that was signed ({whence})")));
        }
        Ok(Taken { entries, ..taken })
    }

    fn compare_root(&self, taken: &mut Taken) -> Result<(), AnchorError> {
        let (size, anchors) = (taken.frontier.size(), &self.archive.anchors);
        while let Some(anchor) = anchors.get(taken.next_root).filter(|anchor| anchor.size <= size) {
            if anchor.size == size && anchor.root != taken.frontier.root() {
                let what = format!("the first {size} entries are not those that it covers");
                return Err(AnchorError::unreadable(&anchor.key, what));
            }
            taken.next_root += 1;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], taken: Taken) -> Result<Vec<Stored>, AnchorError> {
        self.frontier = taken.frontier;
        self.next_root = taken.next_root;
        self.streams.extend(taken.streams);
        self.digests.push(sha256(&[bytes]));
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
    next_root: usize,
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
        Self { archive, digests, copies: copies(archive, from), from }
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
