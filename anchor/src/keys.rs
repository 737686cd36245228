//! The log's signing key: 32 bytes in a file that only its owner can read, made at the first start.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use chain::note::SigningKey;
use chain::policy::Policy;
use zeroize::Zeroizing;

use crate::AnchorError;
use crate::files;

/// The key in this file, as 64 hexadecimal digits; a missing file is created with a random key and mode 600.
pub fn signing_key(path: &Path, origin: &str) -> Result<SigningKey, AnchorError> {
    let failed = |what: &dyn std::fmt::Display| AnchorError::Key { path: path.to_owned(), what: what.to_string() };
    if let Some(parent) = path.parent() {
        files::make_folder(parent)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).map_err(|error| failed(&error))?;
            let text = Zeroizing::new(format!("{}\n", chain::hex::encode(&*seed)));
            // Durable before the first signature: a key that a crash takes away would strand everything it signed.
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
            if let Some(parent) = path.parent() {
                fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
            }
            Ok(SigningKey::from_seed(origin, *seed))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path).map_err(|error| failed(&error))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(failed(&format!("it must have mode 600, it has {:o}", mode & 0o777)));
            }
            let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| failed(&error))?);
            let seed =
                chain::hex::decode::<32>(text.trim_end()).ok_or_else(|| failed(&"it is not 64 hexadecimal digits"))?;
            Ok(SigningKey::from_seed(origin, seed))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// The policy that trusts this key for the log, and the witnesses of `witnesses`, a policy file whose lines about logs do not count.
/// Without one nobody is asked to witness.
pub fn policy_text(key: &SigningKey, witnesses: Option<&str>) -> String {
    let about_witnesses = |line: &&str| {
        let first = line.split_ascii_whitespace().next();
        first.is_some_and(|first| first != "log" && !first.starts_with('#'))
    };
    let lines = witnesses.unwrap_or("quorum none").lines().filter(about_witnesses);
    format!("log {}\n{}\n", key.vkey(), lines.collect::<Vec<_>>().join("\n"))
}

/// The same, read.
pub fn policy(key: &SigningKey, witnesses: Option<&str>) -> Result<Policy, AnchorError> {
    Policy::parse(&policy_text(key, witnesses)).map_err(|error| AnchorError::unreadable("the witnesses' policy", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chain::key::CosigningKey;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/log.key");
        let key = signing_key(&path, "guildhall.example").unwrap();
        assert_eq!(signing_key(&path, "guildhall.example").unwrap().vkey(), key.vkey());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(signing_key(&path, "guildhall.example").unwrap_err().to_string().contains("mode 600"));
        assert_eq!(policy(&key, None).unwrap().logs, [key.verifier()]);
    }

    #[test]
    fn the_log_of_the_policy_is_this_one_whatever_the_file_says() {
        let witness = CosigningKey::from_seed("w.example", [9; 32]).vkey();
        let own = SigningKey::from_seed("guildhall.example", [7; 32]);
        let other = SigningKey::from_seed("another", [8; 32]).vkey();
        let file = format!("# ours\n\n log {other}\nwitness w {witness} https://w.example\nquorum w\n");
        let text = policy_text(&own, Some(&file));
        assert_eq!(text, format!("log {}\nwitness w {witness} https://w.example\nquorum w\n", own.vkey()));
        assert!(policy(&own, Some(&file)).unwrap().quorum.is_some());
        assert!(policy(&own, Some("witness w w.example\n")).is_err());
    }
}
