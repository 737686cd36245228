//! The data directory: mode 700, and in it the server's secrets and the log's name, each in a file of mode 600.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use eventlog::vault::MasterKey;
use zeroize::Zeroizing;

use crate::config::Settings;

/// Holds the master key when it shall not lie in the data directory.
pub const MASTER_KEY_VARIABLE: &str = "GUILDHALL_MASTER_KEY";
const ORIGIN: &str = "origin";

#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The directory, made when it is missing.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("creating the data directory {}", path.display()))?;
        // Somebody made it and put nothing in it: there is nothing that others could have read.
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
            make_private_dir(path).with_context(|| format!("chmod 700 {}", path.display()))?;
        }
        Self::existing(path)
    }

    /// The directory as it is.
    pub fn existing(path: &Path) -> anyhow::Result<Self> {
        let metadata = fs::metadata(path).with_context(|| {
            format!(
                "there is no data directory {}; `guildhall serve` makes one, --data-dir names another",
                path.display()
            )
        })?;
        ensure!(metadata.is_dir(), "{} is not a directory", path.display());
        let mode = metadata.mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{} has mode {mode:o}: others could read its keys; chmod 700 it", path.display());
        Ok(Self { path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The log's name: as given, as remembered, or a new random one, which is then remembered.
    pub fn origin(&self, settings: &Settings) -> anyhow::Result<String> {
        let path = self.file(ORIGIN);
        let known = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        match (known, &settings.origin) {
            (Some(known), Some(given)) if known != *given => {
                bail!("this data directory belongs to the log {known}, not {given}: a log's name never changes")
            }
            (Some(known), _) => Ok(known),
            (None, Some(given)) => self.remember_origin(given),
            (None, None) if settings.database_url.is_some() => {
                bail!(
                    "this data directory does not know the log's name yet: run `guildhall migrate` here, or pass --origin once"
                )
            }
            (None, None) if self.file("log.db").exists() => {
                bail!(
                    "the file {ORIGIN} is gone, but the log is there: restore it, or pass --origin with the log's name once"
                )
            }
            (None, None) => self.remember_origin(&random_origin()?),
        }
    }

    fn remember_origin(&self, origin: &str) -> anyhow::Result<String> {
        self.write_new(ORIGIN, format!("{origin}\n").as_bytes())?;
        Ok(origin.to_owned())
    }

    /// The key that wraps the keys of subjects: from the environment, else from `master.key`, which is made only for a city that is
    /// `new`: a second one would open nothing of what the first one sealed.
    pub fn master_key(&self, new: bool) -> anyhow::Result<MasterKey> {
        match std::env::var(MASTER_KEY_VARIABLE) {
            Ok(text) => MasterKey::from_text(&Zeroizing::new(text)).with_context(|| MASTER_KEY_VARIABLE.to_owned()),
            Err(_) => {
                self.ensure_there("master.key", new)?;
                Ok(MasterKey::from_file(&self.file("master.key"))?)
            }
        }
    }

    fn ensure_there(&self, name: &str, new: bool) -> anyhow::Result<()> {
        let path = self.file(name);
        ensure!(
            new || path.exists(),
            "{} is missing, and this city is not new: restore it from a backup, or copy it from the city's other server",
            path.display()
        );
        Ok(())
    }

    /// Thirty-two secret bytes in a file, which is made only for a city that is `new`.
    pub fn secret(&self, name: &str, new: bool) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        self.ensure_there(name, new)?;
        let path = self.file(name);
        if !path.exists() {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(bytes.as_mut_slice()).context("drawing a key")?;
            let text = Zeroizing::new(format!("{}\n", chain::hex::encode(bytes.as_slice())));
            self.write_new(name, text.as_bytes())?;
        }
        ensure_private(&path)?;
        let text = Zeroizing::new(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
        let bytes = chain::hex::decode::<32>(text.trim());
        bytes.map(Zeroizing::new).with_context(|| format!("{} does not hold 64 hexadecimal digits", path.display()))
    }

    /// Writes a file that must not exist, synced before this returns: a key lost in a crash would take with it what it made.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(name);
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a file that group or others can touch.
pub fn ensure_private(path: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(path).with_context(|| path.display().to_string())?.mode() & 0o777;
    ensure!(mode & 0o077 == 0, "{} must have mode 600, it has {mode:o}: chmod 600 it", path.display());
    Ok(())
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Makes a file private that something else created.
pub fn make_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

fn random_origin() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("drawing the log's name")?;
    Ok(format!("guildhall/{}", chain::hex::encode(&bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let outer = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&outer.path().join("data")).unwrap();
        (outer, dir)
    }

    #[test]
    fn the_logs_name_is_fixed_at_the_first_start() {
        let (_outer, dir) = dir();
        let settings = Settings::in_dir(dir.path());
        let first = dir.origin(&settings).unwrap();
        assert!(chain::entry::is_valid_origin(&first) && first.len() == 26, "{first}");
        assert_eq!(dir.origin(&settings).unwrap(), first);
        let other = Settings { origin: Some("elsewhere".to_owned()), ..settings };
        assert!(dir.origin(&other).unwrap_err().to_string().contains(&first));
    }

    #[test]
    fn secrets_stay_and_are_for_their_owner_only() {
        let (_outer, dir) = dir();
        assert!(dir.secret("pepper.key", false).unwrap_err().to_string().contains("is missing"));
        assert!(dir.master_key(false).is_err());
        let first = dir.secret("pepper.key", true).unwrap();
        assert_eq!(*dir.secret("pepper.key", false).unwrap(), *first);
        let path = dir.file("pepper.key");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(dir.secret("pepper.key", false).unwrap_err().to_string().contains("mode 600"));
    }

    #[test]
    fn a_directory_that_others_can_read_is_refused() {
        let (_outer, dir) = dir();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(DataDir::existing(dir.path()).unwrap_err().to_string().contains("chmod 700"));
        dir.write_new("something", b"there").unwrap();
        assert!(DataDir::create(dir.path()).unwrap_err().to_string().contains("chmod 700"));
        dir.remove("something").unwrap();
        DataDir::create(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    }
}
