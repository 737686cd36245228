//! The folder under audit: `policy`, `checkpoint`, `tile/`, `pack/`, `anchors/`.
//!
//! Only regular files are opened, and none that is larger than such a file can be. A pipe would hold an audit up for ever, a link leads out
//! of what was published, and what somebody laid there of any size is not for memory to hold.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::limits::{LARGEST, most_bytes};

/// A folder with everything that was published.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// What is not opened, and why.
    shut: Arc<BTreeMap<String, String>>,
}

impl Folder {
    /// Looks through the folder for what must not be opened.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        let mut folder = Self { root, shut: Arc::default() };
        let mut shut = BTreeMap::new();
        folder.walk(|path, kind| {
            let why = if kind.is_file() { folder.too_large(&path) } else { Some(kind_of(kind).to_owned()) };
            shut.extend(why.map(|why| (path, why)));
        })?;
        folder.shut = Arc::new(shut);
        Ok(folder)
    }

    /// The bytes of a file, or nothing when it is not there, or is not opened.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if self.leads_away(path) || !self.is_file(path)? {
            return Ok(None);
        }
        let most = most_bytes(path).unwrap_or(LARGEST);
        match read_up_to(&self.root.join(path), most + 1) {
            // It has grown since the folder was looked through.
            Ok(bytes) if bytes.len() as u64 > most => Ok(None),
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

    /// What is not opened: its path, and why.
    pub fn shut(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shut.iter().map(|(path, why)| (path.as_str(), why.as_str()))
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
        !self.shut.is_empty() && above.into_iter().any(|path| self.shut.contains_key(path))
    }

    fn too_large(&self, path: &str) -> Option<String> {
        let most = most_bytes(path)?;
        let length = self.root.join(path).symlink_metadata().ok()?.len();
        (length > most).then(|| format!("{length} bytes long, and such a file has {most} at most"))
    }

    fn is_file(&self, path: &str) -> io::Result<bool> {
        match self.root.join(path).symlink_metadata() {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(at(path, &error)),
        }
    }
}

fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kind_of(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match kind {
        _ if kind.is_symlink() => "a symbolic link, not a file",
        _ if kind.is_fifo() => "a pipe, not a file",
        _ if kind.is_socket() => "a socket, not a file",
        _ if kind.is_dir() => "a folder whose name is no text, not a file",
        _ => "a device, not a file",
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn at(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
