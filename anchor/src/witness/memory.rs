//! What a witness cosigned last of one log: the cosigned note itself, so that its own signature says whether it is whole.
//!
//! Beside the key, and not beside the memory, stands the register of the logs that the key has cosigned: whoever loses the memory
//! and keeps the key is told so, instead of beginning anew.

use std::fs;
use std::path::{Path, PathBuf};

use chain::checkpoint::Checkpoint;
use chain::key::{CosigningKey, Outcome};
use chain::note::Note;
use chain::witness::Held;

use crate::{AnchorError, files};

/// The memory of one log.
pub struct Memory {
    path: PathBuf,
    register: PathBuf,
    origin: String,
    registered: bool,
    last: Option<Last>,
}

struct Last {
    note: String,
    held: Held,
    cosigned_at: u64,
}

/// The register of the key in this file.
pub fn register(key_file: &Path) -> PathBuf {
    let mut name = key_file.file_name().unwrap_or_default().to_owned();
    name.push(".cosigned");
    key_file.with_file_name(name)
}

/// The memory of every log on the register is there, whether or not this witness still watches it.
pub fn all_there(dir: &Path, register: &Path, key: &CosigningKey) -> Result<(), AnchorError> {
    for origin in registered(register)? {
        let path = super::place(dir, &origin);
        if read(&path, &origin, key)?.is_none() {
            return Err(AnchorError::unreadable(
                path.display().to_string(),
                format!(
                    "this key has cosigned {origin}, and what it cosigned last is gone: a witness without its memory could vouch \
                     for a second history. Bring the memory back, or make a new key under another name"
                ),
            ));
        }
    }
    Ok(())
}

impl Memory {
    pub fn open(path: PathBuf, register: PathBuf, origin: &str, key: &CosigningKey) -> Result<Self, AnchorError> {
        let last = read(&path, origin, key)?;
        let registered = registered(&register)?.iter().any(|known| known == origin);
        let mut memory = Self { path, register, origin: origin.to_owned(), registered, last };
        // Died between memory and register: nothing was answered, and from now on it counts.
        if memory.last.is_some() {
            memory.put_on_register()?;
        }
        Ok(memory)
    }

    pub fn held(&self) -> Option<Held> {
        self.last.as_ref().map(|last| last.held)
    }

    pub fn cosigned_at(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.cosigned_at)
    }

    pub fn note(&self) -> Option<&str> {
        self.last.as_ref().map(|last| last.note.as_str())
    }

    /// Puts a newly cosigned note in place of the last one. Durable when this returns.
    pub fn swap(&mut self, note: &str, key: &CosigningKey) -> Result<(), AnchorError> {
        let last = parse(note, &self.origin, key).map_err(|what| self.unreadable(what))?;
        files::replace(&self.path, note.as_bytes())?;
        self.last = Some(last);
        // After the memory and before the first answer: a key on the register always had a memory to lose.
        self.put_on_register()
    }

    fn put_on_register(&mut self) -> Result<(), AnchorError> {
        if self.registered {
            return Ok(());
        }
        let mut origins = registered(&self.register)?;
        if !origins.contains(&self.origin) {
            origins.push(self.origin.clone());
        }
        let text: String = origins.iter().map(|origin| format!("{origin}\n")).collect();
        files::replace(&self.register, text.as_bytes())?;
        self.registered = true;
        Ok(())
    }

    fn unreadable(&self, what: impl ToString) -> AnchorError {
        AnchorError::unreadable(self.path.display().to_string(), what)
    }
}

/// The logs that the key of this register has cosigned.
pub fn registered(register: &Path) -> Result<Vec<String>, AnchorError> {
    match fs::read_to_string(register) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(AnchorError::file(register)(error)),
    }
}

fn read(path: &Path, origin: &str, key: &CosigningKey) -> Result<Option<Last>, AnchorError> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let unreadable = |what: String| AnchorError::unreadable(path.display().to_string(), what);
    let note = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    parse(&note, origin, key).map(Some).map_err(unreadable)
}

/// A note of this log with a line of this key that verifies: nothing else is a memory of this witness.
fn parse(text: &str, origin: &str, key: &CosigningKey) -> Result<Last, String> {
    let (note, key) = (Note::parse(text).map_err(|error| error.to_string())?, key.verifier());
    let checkpoint = Checkpoint::parse_text(&note.text).map_err(|error| error.to_string())?;
    let line = note.signatures.iter().find(|line| line.is_by(&key));
    match line.map(|line| key.verify(&note.text, &line.signature)) {
        Some(Outcome::Valid { cosigned_at: Some(cosigned_at) }) if checkpoint.origin == origin => {
            let held = Held { size: checkpoint.size, root: checkpoint.root };
            Ok(Last { note: text.to_owned(), held, cosigned_at })
        }
        _ => Err(format!("it is not a checkpoint of {origin} that this key cosigned")),
    }
}
