//! Where this server's signing keys are: in the environment, with programs that sign, in files of the data directory.
//!
//! Which of them is in force the log says. A key goes from where it is read into the signer that holds it, and nowhere else: no text that
//! leaves this process has it.

use std::path::Path;
use std::sync::Arc;

use anchor::signer::{InMemory, Program, Signer, id_of};
use anyhow::{Context as _, bail, ensure};
use chain::key::SigningKey;
use zeroize::Zeroizing;

use super::DataDir;
use super::files::ensure_private;
use crate::config::Settings;

/// Holds one key, or several with commas between, when they shall not lie in the data directory.
pub const VARIABLE: &str = "GUILDHALL_SIGNING_KEY";
/// The file of the first key.
const FIRST: &str = "signing.key";

/// Every key that this server has. One is made only for a city that is `new` and has none anywhere.
pub fn held(settings: &Settings, dir: &DataDir, origin: &str, new: bool) -> anyhow::Result<Vec<Arc<dyn Signer>>> {
    let mut signers: Vec<Arc<dyn Signer>> = Vec::new();
    let environment = Zeroizing::new(std::env::var(VARIABLE).unwrap_or_default());
    for text in environment.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        // The value is not repeated: half a key is still a secret.
        let seed = seed(text).with_context(|| format!("{VARIABLE} does not hold 64 hexadecimal digits"))?;
        signers.push(Arc::new(InMemory::new(SigningKey::from_seed(origin, *seed), format!("in {VARIABLE}"))));
    }
    for external in &settings.signing.external {
        let key = external.key()?;
        ensure!(key.name() == origin, "signing.external: the key {} is not named like the log, {origin}", key.name());
        signers.push(Arc::new(Program::new(external.command.clone(), key)));
    }
    let names = names(dir)?;
    if signers.is_empty() && names.is_empty() {
        // With the words that a missing secret has.
        signers.push(from_file(dir, FIRST, origin, new)?);
    }
    for name in names {
        signers.push(from_file(dir, &name, origin, false)?);
    }
    Ok(signers)
}

/// Whether there is a place with a key in it.
pub fn is_anywhere(settings: &Settings, dir: &DataDir) -> bool {
    let in_files = names(dir).is_ok_and(|names| !names.is_empty());
    in_files || std::env::var_os(VARIABLE).is_some() || !settings.signing.external.is_empty()
}

fn from_file(dir: &DataDir, name: &str, origin: &str, new: bool) -> anyhow::Result<Arc<dyn Signer>> {
    let seed = dir.secret(name, new)?;
    Ok(Arc::new(InMemory::new(SigningKey::from_seed(origin, *seed), name)))
}

/// The key files that are there: the first one, then those that came later.
pub fn names(dir: &DataDir) -> anyhow::Result<Vec<String>> {
    let listed = std::fs::read_dir(dir.path()).with_context(|| dir.path().display().to_string())?;
    let mut names = Vec::new();
    for entry in listed {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let later = name.strip_prefix("signing.").and_then(|rest| rest.strip_suffix(".key"));
        if name == FIRST || later.is_some_and(|id| id.len() == 8) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (name != FIRST, name.clone()));
    Ok(names)
}

/// Makes a key in the data directory. Nobody uses it yet.
pub fn make(dir: &DataDir, origin: &str) -> anyhow::Result<Arc<dyn Signer>> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).context("drawing a key")?;
    keep(dir, origin, &seed)
}

/// Takes a key from a file into the data directory.
pub fn take(dir: &DataDir, origin: &str, path: &Path) -> anyhow::Result<Arc<dyn Signer>> {
    ensure_private(path)?;
    let text = Zeroizing::new(std::fs::read_to_string(path).with_context(|| path.display().to_string())?);
    let seed = seed(text.trim()).with_context(|| format!("{} does not hold 64 hexadecimal digits", path.display()))?;
    keep(dir, origin, &seed)
}

/// Durable before it is used: a key that a crash takes away would strand everything that it signed.
fn keep(dir: &DataDir, origin: &str, seed: &[u8; 32]) -> anyhow::Result<Arc<dyn Signer>> {
    let key = SigningKey::from_seed(origin, *seed);
    let name = format!("signing.{}.key", id_of(&key.verifier()));
    if dir.file(&name).exists() {
        let there = dir.secret(&name, false)?;
        ensure!(*there == *seed, "{} is there, and is another key", dir.file(&name).display());
    } else {
        let text = Zeroizing::new(format!("{}\n", chain::hex::encode(seed)));
        dir.write_new(&name, text.as_bytes())?;
    }
    Ok(Arc::new(InMemory::new(key, name)))
}

fn seed(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    chain::hex::decode::<32>(text).map(Zeroizing::new)
}

/// The key to rotate to: one that is held, by its vkey or key id; one in a file; or a new one.
pub fn wanted(
    held: &[Arc<dyn Signer>],
    dir: &DataDir,
    origin: &str,
    to: Option<&str>,
) -> anyhow::Result<Arc<dyn Signer>> {
    let Some(to) = to else { return make(dir, origin) };
    if let Some(known) = held.iter().find(|signer| anchor::is_named(signer.key(), to)) {
        return Ok(Arc::clone(known));
    }
    let path = Path::new(to);
    if !path.is_file() {
        bail!("{to} is neither a key that this server has (`guildhall signing-key list`) nor a file");
    }
    take(dir, origin, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_of_the_data_directory_are_found_and_kept_once() {
        let outer = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&outer.path().join("data")).unwrap();
        let settings = Settings::in_dir(dir.path());
        assert!(held(&settings, &dir, "o", false).unwrap_err().to_string().contains("is missing"));
        let first = held(&settings, &dir, "o", true).unwrap();
        let second = make(&dir, "o").unwrap();
        let all = held(&settings, &dir, "o", false).unwrap();
        let keys: Vec<_> = all.iter().map(|signer| signer.key().clone()).collect();
        assert_eq!(keys, [first[0].key().clone(), second.key().clone()]);
        let given = outer.path().join("given");
        std::fs::write(&given, "0a".repeat(32)).unwrap();
        assert!(take(&dir, "o", &given).unwrap_err().to_string().contains("mode 600"));
        super::super::make_private(&given).unwrap();
        let taken = wanted(&all, &dir, "o", given.to_str()).unwrap();
        assert_eq!(taken.key(), take(&dir, "o", &given).unwrap().key(), "again is the same");
        assert_eq!(names(&dir).unwrap().len(), 3);
        assert_eq!(wanted(&all, &dir, "o", Some(&id_of(second.key()))).unwrap().key(), second.key());
        assert!(wanted(&all, &dir, "o", Some("nothing")).unwrap_err().to_string().contains("neither a key"));
    }

    #[test]
    fn a_key_is_in_no_text() {
        let seed = "5eed".repeat(16);
        let key = SigningKey::from_seed("o", *super::seed(&seed).unwrap());
        let shown = format!("{:?}", InMemory::new(key, "somewhere"));
        assert!(!shown.contains("5eed") && !shown.contains("94, 237"), "{shown}");
    }
}
