//! The master key: 32 bytes outside the database that wrap every subject's key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{VaultError, cipher};

/// The key that wraps subject keys. Without it the vault is noise; with a copy of the database it opens everything not erased.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> MasterKey {
        MasterKey(bytes)
    }

    /// A key written as 64 hexadecimal digits or as base64, as it stands in an environment variable.
    pub fn from_text(text: &str) -> Result<MasterKey, VaultError> {
        let text = text.trim();
        if let Some(bytes) = chain::hex::decode::<32>(text) {
            return Ok(MasterKey(bytes));
        }
        let decoded = STANDARD.decode(text).map(Zeroizing::new).ok();
        let bytes = decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes.map(MasterKey).ok_or_else(|| VaultError::MasterKey("not 32 bytes in hexadecimal or base64".to_owned()))
    }

    /// The key in this file; a missing file is created with a random key and mode 600.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] when the file can be read by group or others, or does not hold a key.
    pub fn from_file(path: &Path) -> Result<MasterKey, VaultError> {
        let failed = |error: io::Error| VaultError::MasterKey(format!("{}: {error}", path.display()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = MasterKey(cipher::random()?);
                let text = Zeroizing::new(format!("{}\n", chain::hex::encode(&key.0)));
                // Synced before the first use: a key lost in a crash would make everything sealed under it unreadable.
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
                sync_parent(path).map_err(failed)?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(VaultError::MasterKey(format!(
                        "{} must have mode 600, it has {:o}",
                        path.display(),
                        mode & 0o777
                    )));
                }
                MasterKey::from_text(&Zeroizing::new(fs::read_to_string(path).map_err(failed)?))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_and_base64_mean_the_same_key() {
        let hex = MasterKey::from_text(&"07".repeat(32)).map(|key| key.0).ok();
        let base64 = MasterKey::from_text("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n").map(|key| key.0).ok();
        assert_eq!(hex, Some([7; 32]));
        assert_eq!(base64, hex);
        assert!(MasterKey::from_text("too short").is_err());
    }
}
