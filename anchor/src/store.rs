//! Where anchors go. What a store promises differs, and each says plainly what it does.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::AnchorError;
use crate::error::blocking;
use crate::files::{self, Created};

/// How a write ended that may never replace anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    New,
    /// It was there with the same bytes: an earlier attempt got this far.
    Same,
}

/// A place that keeps what it is given. An object is written once; its key then stands for these bytes for ever.
#[async_trait]
pub trait Store: Send + Sync {
    /// Its name in events and reports.
    fn name(&self) -> &'static str;

    /// What it guarantees, in a sentence for operators and auditors.
    fn guarantee(&self) -> &'static str;

    /// Writes an object that is durable when this returns.
    ///
    /// # Errors
    /// [`AnchorError::Store`] when the key holds other bytes.
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<Put, AnchorError>;

    /// The bytes of an object, or nothing when there is none.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AnchorError>;

    /// The keys that begin with `prefix`, a folder, in ascending order.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, AnchorError>;
}

/// A folder: objects are created exclusively and made read-only. Whoever owns the folder can still remove them.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[async_trait]
impl Store for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn guarantee(&self) -> &'static str {
        "development grade: files are created once and read-only, but their owner can remove or replace them"
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<Put, AnchorError> {
        let (path, key) = (self.root.join(key), key.to_owned());
        blocking(move || match files::create_for_ever(&path, &bytes)? {
            Created::New => Ok(Put::New),
            Created::Same => Ok(Put::Same),
            Created::Different => Err(AnchorError::Store(format!("{key} holds other bytes than are to be written"))),
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AnchorError> {
        let path = self.root.join(key);
        blocking(move || files::read(&path)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, AnchorError> {
        let (folder, prefix) = (self.root.join(prefix), prefix.to_owned());
        blocking(move || {
            if !folder.is_dir() {
                return Ok(Vec::new());
            }
            let mut keys = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(AnchorError::file(&folder))? {
                let name = entry.map_err(AnchorError::file(&folder))?.file_name().to_string_lossy().into_owned();
                // Half-made files of a crash have no key.
                if !name.ends_with(".new") {
                    keys.push(format!("{prefix}/{name}"));
                }
            }
            keys.sort_unstable();
            Ok(keys)
        })
        .await
    }
}
