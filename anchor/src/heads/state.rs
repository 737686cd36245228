//! The committed heads on disk: a snapshot, and a journal of what each commit since then changed.
//!
//! Both are made of blocks, each sealed by a hash over itself and the seal of the block before: the snapshot is one block, the
//! journal goes on from it. A journal that was torn ends with its last whole block; one of an older snapshot does not fit at all.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use chain::Hash;
use chain::hash::sha256;
use chain::heads::{Head, Heads};

use crate::AnchorError;
use crate::files;

const TAG: &[u8] = b"guildhall/heads-state/v1\n";
/// Size, tip, root, number of heads.
const PREFIX: usize = 8 + 32 + 32 + 8;
/// Key, version, entry hash.
const RECORD: usize = 32 + 8 + 32;
/// A journal shorter than this is read in no time, however small the snapshot is.
const LONG: u64 = 1 << 20;

/// Where the committed tree stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saved {
    pub as_of: u64,
    /// The hash of the last entry before `as_of`: by it the log is known.
    pub tip: Hash,
    pub root: Hash,
}

/// The two files.
pub struct State {
    folder: PathBuf,
    origin: String,
    /// Of the last whole block.
    seal: Hash,
    /// Bytes; without a snapshot there is no journal.
    snapshot: u64,
    journal: u64,
}

impl State {
    /// What was saved last, as far as it is whole; the empty tree when nothing is.
    pub fn load(folder: PathBuf, origin: &str) -> Result<(Self, Heads, Saved), AnchorError> {
        let mut state = Self { folder, origin: origin.to_owned(), seal: Hash::ZERO, snapshot: 0, journal: 0 };
        let (mut tree, mut saved) = (Heads::new(), Saved::default());
        let bytes = files::read(&state.folder.join("snapshot"))?.unwrap_or_default();
        let Some(block) = state.block(&bytes).filter(|block| block.length == bytes.len()) else {
            if !bytes.is_empty() {
                tracing::warn!(folder = %state.folder.display(), "the snapshot of the heads is damaged: reading all packs");
            }
            return Ok((state, tree, saved));
        };
        let mut good = block.apply(&mut tree, &mut saved);
        (state.seal, state.snapshot) = (block.seal, bytes.len() as u64);
        let bytes = files::read(&state.folder.join("journal"))?.unwrap_or_default();
        let mut rest = bytes.as_slice();
        while let Some(block) = state.block(rest) {
            good &= block.apply(&mut tree, &mut saved);
            rest = &rest[block.length..];
            state.seal = block.seal;
        }
        state.journal = (bytes.len() - rest.len()) as u64;
        if !good {
            tracing::warn!(folder = %state.folder.display(), "the heads kept here have another root: reading all packs");
            state.forget();
            return Ok((state, Heads::new(), Saved::default()));
        }
        Ok((state, tree, saved))
    }

    /// Makes the tree durable, of which these heads changed since it was saved last.
    pub fn save(&mut self, saved: &Saved, changed: &[(Hash, Head)], tree: &Heads) -> Result<(), AnchorError> {
        let block = PREFIX + RECORD * changed.len() + 32;
        if self.snapshot == 0 || self.journal + block as u64 > self.snapshot.max(LONG) {
            return self.save_whole(saved, tree);
        }
        let (bytes, seal) = self.encode(self.seal, saved, changed.len(), changed.iter());
        let path = self.folder.join("journal");
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            // What a torn write left behind the last whole block goes away before anything is put after it.
            file.set_len(self.journal)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(AnchorError::file(path))?;
        self.seal = seal;
        self.journal += bytes.len() as u64;
        Ok(())
    }

    fn save_whole(&mut self, saved: &Saved, tree: &Heads) -> Result<(), AnchorError> {
        let (bytes, seal) = self.encode(Hash::ZERO, saved, tree.len(), tree.iter());
        files::replace(&self.folder.join("snapshot"), &bytes)?;
        // A crash here leaves the journal of the snapshot before, which does not go on from this one.
        (self.seal, self.snapshot, self.journal) = (seal, bytes.len() as u64, 0);
        files::replace(&self.folder.join("journal"), &[])
    }

    /// What is there is not gone on from: the next save writes everything anew.
    pub fn forget(&mut self) {
        (self.seal, self.snapshot, self.journal) = (Hash::ZERO, 0, 0);
    }

    pub fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn encode<'a>(
        &self,
        before: Hash,
        saved: &Saved,
        count: usize,
        heads: impl Iterator<Item = &'a (Hash, Head)>,
    ) -> (Vec<u8>, Hash) {
        let mut bytes = Vec::with_capacity(PREFIX + RECORD * count + 32);
        bytes.extend(saved.as_of.to_be_bytes());
        bytes.extend(saved.tip.0);
        bytes.extend(saved.root.0);
        bytes.extend((count as u64).to_be_bytes());
        for (key, head) in heads {
            bytes.extend(key.0);
            bytes.extend(head.version.to_be_bytes());
            bytes.extend(head.hash.0);
        }
        let seal = self.seal_of(before, &bytes);
        bytes.extend(seal.0);
        (bytes, seal)
    }

    fn seal_of(&self, before: Hash, body: &[u8]) -> Hash {
        sha256(&[TAG, self.origin.as_bytes(), b"\n", &before.0, body])
    }

    /// The whole block at the beginning of these bytes that goes on from the last one.
    fn block<'a>(&self, bytes: &'a [u8]) -> Option<Block<'a>> {
        let (as_of, tail) = bytes.split_first_chunk::<8>()?;
        let (tip, tail) = tail.split_first_chunk::<32>()?;
        let (root, tail) = tail.split_first_chunk::<32>()?;
        let (count, tail) = tail.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*count)).ok()?.checked_mul(RECORD)?;
        let (records, tail) = tail.split_at_checked(length)?;
        let seal = Hash(*tail.first_chunk::<32>()?);
        let saved = Saved { as_of: u64::from_be_bytes(*as_of), tip: Hash(*tip), root: Hash(*root) };
        let whole = self.seal_of(self.seal, &bytes[..PREFIX + length]) == seal;
        whole.then_some(Block { saved, records, seal, length: PREFIX + length + 32 })
    }
}

/// A block whose seal is good.
struct Block<'a> {
    saved: Saved,
    records: &'a [u8],
    seal: Hash,
    length: usize,
}

impl Block<'_> {
    /// Answers whether the tree has the root then that was saved with it.
    fn apply(&self, tree: &mut Heads, saved: &mut Saved) -> bool {
        for record in self.records.chunks_exact(RECORD) {
            let (key, rest) = record.split_at(32);
            let (version, hash) = rest.split_at(8);
            let version = version.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let (key, hash) = (Hash::from_slice(key).unwrap_or_default(), Hash::from_slice(hash).unwrap_or_default());
            tree.set(key, Head { version, hash });
        }
        *saved = self.saved;
        tree.root() == self.saved.root
    }
}
