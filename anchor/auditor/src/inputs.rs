//! The folder under audit: `policy`, `checkpoint`, `tile/`, `pack/`, `anchors/`.
//!
//! Only regular files are opened. A pipe would hold an audit up for ever, and a link leads out of what was published.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

/// A folder with everything that was published.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// What is neither a file nor a folder, and what it is instead.
    irregular: Arc<BTreeMap<String, &'static str>>,
}

impl Folder {
    /// Looks through the folder for what must not be opened.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        let mut folder = Self { root, irregular: Arc::default() };
        let mut irregular = BTreeMap::new();
        folder.walk(|path, kind| {
            if !kind.is_file() {
                irregular.insert(path, kind_of(kind));
            }
        })?;
        folder.irregular = Arc::new(irregular);
        Ok(folder)
    }

    /// The bytes of a file, or nothing when it is not there, or is no regular file.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if self.leads_away(path) || !self.is_file(path)? {
            return Ok(None);
        }
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(at(path, &error)),
        }
    }

    /// Names in a folder, sorted; none when it is not there.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        if self.leads_away(path) {
            return Ok(Vec::new());
        }
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(at(path, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is anything of this name.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    pub fn display(&self) -> String {
        self.root.display().to_string()
    }

    /// What is neither a file nor a folder: its path, and what it is.
    pub fn irregular(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.irregular.iter().map(|(path, kind)| (path.as_str(), *kind))
    }

    /// Shows `visit` everything below the folder but the folders, in no order. Links are not followed.
    pub fn walk(&self, mut visit: impl FnMut(String, FileType)) -> io::Result<()> {
        let mut waiting = vec![String::new()];
        while let Some(path) = waiting.pop() {
            let entries = match fs::read_dir(self.root.join(&path)) {
                Ok(entries) => entries,
                // What is not there at all is said when the checkpoint is missed.
                Err(error) if path.is_empty() && is_absent(&error) => return Ok(()),
                Err(error) => return Err(at(&path, &error)),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let within = if path.is_empty() { String::new() } else { format!("{path}/") };
                let below = format!("{within}{}", name.to_string_lossy());
                let kind = entry.file_type()?;
                // A folder whose name is no text is named like nothing that is read.
                if kind.is_dir() && name.to_str().is_some() {
                    waiting.push(below);
                } else {
                    visit(below, kind);
                }
            }
        }
        Ok(())
    }

    fn leads_away(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
        !self.irregular.is_empty() && above.into_iter().any(|path| self.irregular.contains_key(path))
    }

    fn is_file(&self, path: &str) -> io::Result<bool> {
        match self.root.join(path).symlink_metadata() {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(at(path, &error)),
        }
    }
}

fn kind_of(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_dir() => "a folder whose name is no text",
        _ => "a device",
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn at(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
