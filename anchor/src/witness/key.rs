//! A witness's key: its name and 32 bytes, in one line of a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use chain::key::{CosigningKey, is_valid_key_name};
use zeroize::Zeroizing;

use crate::{AnchorError, files};

/// Makes a key: `<name> <64 hexadecimal digits>`. Answers with its public half.
///
/// # Errors
/// When the file is there already: a key is never replaced.
pub fn new_key(path: &Path, name: &str) -> Result<String, AnchorError> {
    let failed = |what: &dyn std::fmt::Display| AnchorError::Key { path: path.to_owned(), what: what.to_string() };
    if !is_valid_key_name(name) {
        return Err(failed(&"a name holds no space, no plus and no control character"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or(Ok(()), files::make_folder)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| failed(&error))?;
    let text = Zeroizing::new(format!("{name} {}\n", chain::hex::encode(&*seed)));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
    let folder = fs::File::open(parent.unwrap_or(Path::new(".")));
    folder.and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
    Ok(CosigningKey::from_seed(name, *seed).vkey())
}

/// Reads what [`new_key`] wrote.
pub fn read(path: &Path) -> Result<CosigningKey, AnchorError> {
    let failed = |what: &dyn std::fmt::Display| AnchorError::Key { path: path.to_owned(), what: what.to_string() };
    let mode = fs::metadata(path).map_err(|error| failed(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failed(&format!("it must have mode 600, it has {:o}", mode & 0o777)));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| failed(&error))?);
    let parts = text.trim_end().split_once(' ').filter(|(name, _)| is_valid_key_name(name));
    let key = parts.and_then(|(name, seed)| Some((name, chain::hex::decode::<32>(seed)?)));
    let (name, seed) = key.ok_or_else(|| failed(&"it is not a name and 64 hexadecimal digits"))?;
    Ok(CosigningKey::from_seed(name, seed))
}
