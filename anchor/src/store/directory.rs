//! A folder as a store: good for development, and as good as the owner of its disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{Kind, Object, Page, Put, Retention, Store, Version, Written, most_bytes};
use crate::AnchorError;
use crate::error::blocking;
use crate::files::{self, Created};

/// Keys listed at a time.
const PAGE: usize = 1000;

/// A folder: objects are created exclusively and made read-only. Whoever owns the folder can still remove them.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    immutable: bool,
}

impl Directory {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), immutable: false }
    }

    /// Whose files also get the file system's immutable attribute, which only root can set and take away.
    #[must_use]
    pub fn immutable(self, immutable: bool) -> Self {
        Self { immutable, ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[async_trait]
impl Store for Directory {
    fn kind(&self) -> Kind {
        Kind::Directory
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn guarantee(&self) -> &'static str {
        if self.immutable {
            "development grade: files are created once, read-only and immutable, but root on this machine can change that"
        } else {
            "development grade: files are created once and read-only, but their owner can remove or replace them"
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, _retention: Retention) -> Result<Written, AnchorError> {
        let (path, key, immutable) = (self.root.join(key), key.to_owned(), self.immutable);
        blocking(move || {
            let put = match files::create_for_ever(&path, &bytes)? {
                Created::New => Put::New,
                Created::Same => Put::Same,
                Created::Different => {
                    return Err(AnchorError::OtherBytes(key));
                }
            };
            if immutable {
                make_immutable(&path)?;
            }
            // A disk that says yes and keeps nothing is found out now, not in seven years.
            if files::read(&path)?.as_deref() != Some(bytes.as_slice()) {
                return Err(AnchorError::Store(format!("{key} does not read back")));
            }
            Ok(Written { put, version: None, lock: None })
        })
        .await
    }

    async fn get(&self, key: &str, _version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        let (path, most) = (self.root.join(key), most_bytes(key));
        let read = blocking(move || match std::fs::symlink_metadata(&path) {
            // A link leads elsewhere, and a pipe is waited for: either is there, and none of this log's.
            Ok(there) if !there.is_file() => Ok(Some((0, Vec::new()))),
            _ => files::read_up_to(&path, most),
        })
        .await?;
        Ok(read.map(|(length, bytes)| Object { bytes, length, version: None, lock: None }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let (root, prefix, after) = (self.root.clone(), prefix.to_owned(), after.unwrap_or_default().to_owned());
        blocking(move || {
            // From the deepest folder that all of them are in.
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut walk = Walk { root: &root, prefix: &prefix, after: &after, keys: Vec::new() };
            let more = !walk.through(folder)?;
            let versions = walk.keys.into_iter().map(|key| Version { key, version: None, marker: false });
            Ok(Page { versions: versions.collect(), more })
        })
        .await
    }
}

/// Goes through a folder in the order of keys, and stops when the page is full.
struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    /// Keys up to this one are passed over.
    after: &'a str,
    keys: Vec<String>,
}

impl Walk<'_> {
    /// Answers whether it came to the end.
    fn through(&mut self, folder: &str) -> Result<bool, AnchorError> {
        let place = self.root.join(folder);
        if !place.is_dir() {
            return Ok(true);
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&place).map_err(AnchorError::file(&place))? {
            let entry = entry.map_err(AnchorError::file(&place))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            // With the slash that its keys go on with, a folder sorts where they do.
            names.push(if entry.path().is_dir() { format!("{key}/") } else { key });
        }
        names.sort_unstable();
        for key in names {
            let came_to_the_end = match key.strip_suffix('/') {
                Some(folder) if self.may_hold_some(&key) => self.through(folder)?,
                Some(_) => true,
                None => self.take(key),
            };
            if !came_to_the_end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn may_hold_some(&self, folder: &str) -> bool {
        let is_within = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        is_within && (folder > self.after || self.after.starts_with(folder))
    }

    fn take(&mut self, key: String) -> bool {
        // Half-made files of a crash have no key.
        if !key.starts_with(self.prefix) || key.as_str() <= self.after || key.ends_with(".new") {
            return true;
        }
        if self.keys.len() == PAGE {
            return false;
        }
        self.keys.push(key);
        true
    }
}

fn make_immutable(path: &Path) -> Result<(), AnchorError> {
    let refused = |error: rustix::io::Errno| {
        AnchorError::Store(format!(
            "{} cannot be made immutable ({error}): that takes root and a file system that can; or set anchor.immutable to false",
            path.display()
        ))
    };
    let file = File::open(path).map_err(AnchorError::file(path))?;
    let flags = ioctl_getflags(&file).map_err(refused)?;
    if flags.contains(IFlags::IMMUTABLE) {
        return Ok(());
    }
    ioctl_setflags(&file, flags | IFlags::IMMUTABLE).map_err(refused)
}
