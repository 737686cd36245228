//! Where published files are: `public/` for everybody, `packs/` for who may see entries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chain::Hash;
use chain::pack::{self, PackId};
use chain::tile::{self, BundleId, TileId};

use crate::AnchorError;
use crate::files::{self, Pending};

/// The two publication folders.
#[derive(Debug, Clone)]
pub struct Layout {
    public: PathBuf,
    packs: PathBuf,
}

impl Layout {
    /// `public/` and `packs/` in this directory.
    pub fn within(data_dir: &Path) -> Self {
        Self { public: data_dir.join("public"), packs: data_dir.join("packs") }
    }

    /// What anybody may read: `checkpoint`, `policy`, `tile/`.
    pub fn public(&self) -> &Path {
        &self.public
    }

    /// Where the file of this path is.
    pub fn place(&self, path: &str) -> PathBuf {
        let root = if path.starts_with("pack/") { &self.packs } else { &self.public };
        root.join(path)
    }

    pub(crate) fn pending(&self, path: &str, bytes: Vec<u8>) -> Pending {
        Pending { path: self.place(path), bytes }
    }

    /// The bytes of a file of the tree. A partial one that the full one has replaced is cut from it.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, AnchorError> {
        if let Some(bytes) = files::read(&self.place(path))? {
            return Ok(Some(bytes));
        }
        let Some((full, width)) = path.split_once(".p/") else { return Ok(None) };
        let Some(mut bytes) = files::read(&self.place(full))? else { return Ok(None) };
        let end = width.parse::<u16>().ok().and_then(|width| end_of(path, &bytes, width));
        let end = end.ok_or_else(|| AnchorError::unreadable(full, "it does not hold its beginning"))?;
        bytes.truncate(end);
        Ok(Some(bytes))
    }

    /// Like [`Layout::read`], for a file that was published.
    pub fn expect(&self, path: &str) -> Result<Vec<u8>, AnchorError> {
        self.read(path)?.ok_or_else(|| AnchorError::unreadable(path, "a published file is missing"))
    }

    pub fn tile(&self, id: &TileId) -> Result<Vec<Hash>, AnchorError> {
        let path = id.path();
        tile::decode_tile(id.width, &self.expect(&path)?).map_err(|error| AnchorError::unreadable(path, error))
    }

    pub fn bundle(&self, id: &BundleId) -> Result<Vec<Hash>, AnchorError> {
        let path = id.path();
        tile::decode_bundle(&self.expect(&path)?).map_err(|error| AnchorError::unreadable(path, error))
    }

    pub fn pack(&self, id: &PackId) -> Result<Vec<pack::OwnedRecord>, AnchorError> {
        let path = id.path();
        let bytes = self.expect(&path)?;
        let records = pack::decode(id, &bytes).map_err(|error| AnchorError::unreadable(path, error))?;
        Ok(records.iter().map(pack::Record::to_owned_record).collect())
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> Result<Option<String>, AnchorError> {
        self.text("checkpoint")
    }

    /// The newest published checkpoint that its quorum of witnesses cosigned.
    pub fn witnessed(&self) -> Result<Option<String>, AnchorError> {
        self.text("witnessed")
    }

    /// For how long a file has been as it is, by this machine's clock.
    pub fn age(&self, path: &str) -> Option<Duration> {
        std::fs::metadata(self.place(path)).ok()?.modified().ok()?.elapsed().ok()
    }

    fn text(&self, name: &str) -> Result<Option<String>, AnchorError> {
        let bytes = files::read(&self.place(name))?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(|error| AnchorError::unreadable(name, error))).transpose()
    }
}

/// Where item number `width` of a file ends.
fn end_of(path: &str, bytes: &[u8], width: u16) -> Option<usize> {
    let items = usize::from(width);
    let end = if path.starts_with("pack/") {
        pack::records(bytes).take(items).try_fold(0, |end, record| Some(end + 44 + record.ok()?.bytes.len()))?
    } else if path.starts_with("tile/entries/") {
        items * 34
    } else {
        items * 32
    };
    (end <= bytes.len()).then_some(end)
}
