//! Files that survive crashes: complete under their name or not there, and durable when these functions return.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::AnchorError;

/// How many files are made durable at a time: most of that is waiting for the disk.
const LANES: usize = 8;

/// What a file is, and whether it may take the place of an older one.
#[derive(Debug, Clone)]
pub struct Pending {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Writes `bytes` under `path`, in place of what was there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), AnchorError> {
    let parent = folder(path)?;
    make_folder(parent)?;
    let beside = beside(path);
    // A crash up to the rename leaves the old content, after it the new one. The synced folder makes the rename durable.
    write_synced(&beside, bytes, 0o644).map_err(AnchorError::file(&beside))?;
    fs::rename(&beside, path).map_err(AnchorError::file(path))?;
    sync_folder(parent)
}

/// Gives a finished file its name.
pub fn finish(beside: &Path, path: &Path) -> Result<(), AnchorError> {
    fs::rename(beside, path).map_err(AnchorError::file(path))?;
    sync_folder(folder(path)?)
}

/// Writes files that never change. One that is there already must hold the same bytes.
///
/// # Errors
/// [`AnchorError::Rewritten`] for a file with other content; nothing of it is touched.
pub fn publish(files: &[Pending]) -> Result<(), AnchorError> {
    let mut new = Vec::new();
    for file in files {
        match fs::read(&file.path) {
            Ok(bytes) if bytes == file.bytes => {}
            Ok(_) => return Err(AnchorError::Rewritten { path: file.path.display().to_string() }),
            Err(error) if error.kind() == ErrorKind::NotFound => new.push(file),
            Err(error) => return Err(AnchorError::file(&file.path)(error)),
        }
    }
    let mut folders = BTreeSet::new();
    for file in &new {
        let parent = folder(&file.path)?;
        if folders.insert(parent) {
            make_folder(parent)?;
        }
    }
    in_lanes(&new, |file| {
        write_synced(&beside(&file.path), &file.bytes, 0o644).map_err(AnchorError::file(&file.path))
    })?;
    // Content first, names second, folders last: a crash leaves some of the files, each of them whole.
    for file in &new {
        fs::rename(beside(&file.path), &file.path).map_err(AnchorError::file(&file.path))?;
    }
    let folders: Vec<&Path> = folders.into_iter().collect();
    in_lanes(&folders, |folder| sync_folder(folder))
}

/// Whether a file was created, or was there before with these bytes or with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    Same,
    Different,
}

/// Creates a read-only file that must not exist, whole or not at all.
pub fn create_for_ever(path: &Path, bytes: &[u8]) -> Result<Created, AnchorError> {
    let parent = folder(path)?;
    make_folder(parent)?;
    let beside = beside(path);
    // Left over from a crash: it has no name that anybody reads.
    let _ = fs::remove_file(&beside);
    write_synced(&beside, bytes, 0o444).map_err(AnchorError::file(&beside))?;
    // A link, unlike a rename, never replaces: whoever comes second is told so by the file system.
    let created = match fs::hard_link(&beside, path) {
        Ok(()) => Created::New,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::symlink_metadata(path).map_err(AnchorError::file(path))?;
            // Neither a link is followed nor a pipe waited for.
            let is_same = there.is_file() && fs::read(path).map_err(AnchorError::file(path))? == bytes;
            if is_same { Created::Same } else { Created::Different }
        }
        Err(error) => return Err(AnchorError::file(path)(error)),
    };
    fs::remove_file(&beside).map_err(AnchorError::file(&beside))?;
    sync_folder(parent)?;
    Ok(created)
}

/// The bytes of a file, or nothing when it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, AnchorError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(AnchorError::file(path)(error)),
    }
}

/// The same of a file that somebody else may have written: how long it is, and its bytes if they are no more than `most`.
pub fn read_up_to(path: &Path, most: u64) -> Result<Option<(u64, Vec<u8>)>, AnchorError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(AnchorError::file(path)(error)),
    };
    let length = file.metadata().map_err(AnchorError::file(path))?.len();
    let mut bytes = Vec::new();
    if length <= most {
        file.take(most + 1).read_to_end(&mut bytes).map_err(AnchorError::file(path))?;
    }
    // It may have grown meanwhile.
    let length = length.max(bytes.len() as u64);
    if length > most {
        bytes.clear();
    }
    Ok(Some((length, bytes)))
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), AnchorError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(AnchorError::file(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder of superseded files; one that is not there is fine.
pub fn remove_folder(path: &Path) -> Result<(), AnchorError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(AnchorError::file(path)(error)),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(bytes)?;
    if mode != 0o644 {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// Makes a folder and everything above it, durably: a file in a folder that a crash forgets is forgotten too.
pub fn make_folder(path: &Path) -> Result<(), AnchorError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(AnchorError::file(path)(error)),
        _ => {}
    }
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), AnchorError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(AnchorError::file(path))
}

fn folder(path: &Path) -> Result<&Path, AnchorError> {
    path.parent().ok_or_else(|| AnchorError::unreadable(path.display().to_string(), "it has no folder"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn in_lanes<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), AnchorError> + Sync) -> Result<(), AnchorError> {
    if items.len() <= 1 {
        return items.iter().try_for_each(work);
    }
    let lane = items.len().div_ceil(LANES);
    std::thread::scope(|scope| {
        let work = &work;
        let lanes: Vec<_> =
            items.chunks(lane).map(|chunk| scope.spawn(move || chunk.iter().try_for_each(work))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or(Err(AnchorError::CutOff)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_published_file_never_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| Pending { path: dir.path().join(name), bytes: text.into() };
        publish(&[file("a/b/c", "1"), file("a/d", "2")]).unwrap();
        publish(&[file("a/b/c", "1"), file("e", "3")]).unwrap();
        let error = publish(&[file("f", "4"), file("a/d", "other")]).unwrap_err();
        assert!(matches!(error, AnchorError::Rewritten { .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("a/d")).unwrap(), "2");
    }

    #[test]
    fn what_is_created_for_ever_is_read_only_and_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anchors/0");
        assert_eq!(create_for_ever(&path, b"1").unwrap(), Created::New);
        assert_eq!(create_for_ever(&path, b"1").unwrap(), Created::Same);
        assert_eq!(create_for_ever(&path, b"2").unwrap(), Created::Different);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(fs::read_dir(dir.path().join("anchors")).unwrap().count(), 1);
    }
}
