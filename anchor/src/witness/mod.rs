//! A witness: remembers one checkpoint of each log it knows, and cosigns what continues it. It needs no database.
//!
//! Invariants:
//! - Nothing is cosigned that does not continue what was cosigned before: compare, swap and cosign are one step under the log's lock.
//! - The new memory is durable before the answer leaves.
//! - A key whose memory is gone cosigns no more: it could be led to say yes to a second history.
//! - What was cosigned is shown for as long as the memory is there, also of a log that is watched no more.

mod key;
mod memory;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use chain::key::{CosigningKey, VerifierKey};
use chain::witness::{Refusal, Request, judge, monitoring_path, origin};

use crate::{AnchorError, files};
pub use key::new_key;
use memory::Memory;

/// What a request led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cosignature line, with its newline.
    Cosigned(String),
    Refused(Refusal),
}

/// Why a witness did not answer at all.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error(transparent)]
    File(#[from] AnchorError),
    #[error("the clock ({now}) is behind this witness's last cosignature ({last})")]
    Clock { now: u64, last: u64 },
    #[error("an earlier request ended in a panic")]
    Poisoned,
}

/// A witness with its memory; the lock on that is held for life.
pub struct Witness {
    key: CosigningKey,
    logs: Vec<Watched>,
    clock: fn() -> u64,
    _lock: File,
}

/// A log that is watched, or was.
struct Watched {
    origin: String,
    /// None of one that is watched no more: nothing of it is cosigned, whoever signed it.
    keys: Vec<VerifierKey>,
    memory: std::sync::Mutex<Memory>,
}

impl Witness {
    /// Opens the witness of the key in `key_file`, whose memory is in `dir`, for the logs that have these keys.
    ///
    /// # Errors
    /// [`AnchorError::Locked`] when another process runs it; [`AnchorError::Unreadable`] when the memory of a log that this key has
    /// cosigned is missing or is not what this key signed.
    pub fn open(dir: &Path, key_file: &Path, watched: &[VerifierKey], clock: fn() -> u64) -> Result<Self, AnchorError> {
        files::make_folder(dir)?;
        let lock = lock(dir)?;
        let key = key::read(key_file)?;
        let register = memory::register(key_file);
        memory::all_there(dir, &register, &key)?;
        let mut origins = memory::registered(&register)?;
        origins.extend(watched.iter().map(|key| key.name().to_owned()));
        // Keys of one log stand on several lines while it changes them.
        origins.sort_unstable();
        origins.dedup();
        let logs = origins.into_iter().map(|origin| {
            let keys = watched.iter().filter(|key| key.name() == origin).cloned().collect();
            let memory = Memory::open(place(dir, &origin), register.clone(), &origin, &key)?;
            Ok(Watched { origin, keys, memory: std::sync::Mutex::new(memory) })
        });
        let logs = logs.collect::<Result<_, AnchorError>>()?;
        Ok(Self { key, logs, clock, _lock: lock })
    }

    /// The public key, as policies name it.
    pub fn vkey(&self) -> String {
        self.key.vkey()
    }

    /// Answers `POST /add-checkpoint`. Blocks on the disk.
    ///
    /// # Errors
    /// When it could not be settled; nothing was cosigned then, and asking again is safe.
    pub fn add_checkpoint(&self, body: &str) -> Result<Answer, WitnessError> {
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let Some(log) = self.logs.iter().find(|log| log.origin == origin(&request.checkpoint)) else {
            // Nobody's lock is needed to say no; judged all the same, for the order of refusals is part of the protocol.
            let unknown = || Refusal::UnknownLog(origin(&request.checkpoint).to_owned());
            return Ok(Answer::Refused(judge(&request, None, &[]).err().unwrap_or_else(unknown)));
        };
        let mut memory = log.memory.lock().map_err(|_| WitnessError::Poisoned)?;
        let note = match judge(&request, memory.held(), &log.keys) {
            Ok((_, note)) => note,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let now = (self.clock)();
        if let Some(last) = memory.cosigned_at().filter(|last| now < *last) {
            return Err(WitnessError::Clock { now, last });
        }
        let line = self.key.cosign(&note.text, now);
        // Swap, then answer. A crash before this has cosigned nothing; a crash after it leaves a log that was told nothing and
        // is told the new size the next time it asks.
        memory.swap(&format!("{}{line}", note.format()), &self.key)?;
        Ok(Answer::Cosigned(line))
    }

    /// The note that was cosigned last, by its address below this witness's url ([`monitoring_path`]).
    pub fn cosigned(&self, path: &str) -> Result<Option<String>, WitnessError> {
        let Some(log) = self.logs.iter().find(|log| monitoring_path(&log.origin) == path) else { return Ok(None) };
        Ok(log.memory.lock().map_err(|_| WitnessError::Poisoned)?.note().map(str::to_owned))
    }
}

/// Where the memory of a log is.
fn place(dir: &Path, origin: &str) -> PathBuf {
    dir.join(monitoring_path(origin).replace('/', "."))
}

fn lock(dir: &Path) -> Result<File, AnchorError> {
    let path = dir.join("lock");
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(AnchorError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AnchorError::Locked(path)),
        Err(TryLockError::Error(error)) => Err(AnchorError::file(path)(error)),
    }
}

#[cfg(test)]
mod tests;
