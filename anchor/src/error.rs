//! Why publishing or anchoring stopped. Commands go on without it; what is not published yet waits.

use std::io;
use std::path::PathBuf;

use crate::time::TimeFailure;

/// A failure of publishing or anchoring.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Reading the log failed.
    #[error(transparent)]
    Log(#[from] eventlog::Failure),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// What is to be published differs from what was published before: the log is not the one it was.
    #[error("{path} was published with other content: the log is not the one it was")]
    Rewritten { path: String },
    /// Signing would contradict the last signed checkpoint.
    #[error("signing is refused: {0}")]
    Fork(String),
    /// The entry at a position is not what its hash says.
    #[error("position {0}: the stored bytes do not hash to the stored hash")]
    Damaged(u64),
    /// A newer epoch has signed already.
    #[error("epoch {ours} of this database is behind epoch {signed}, which signed already")]
    Fenced { ours: i64, signed: i64 },
    /// Another server of this log publishes.
    #[error("another server publishes this log; this one only writes, until that one ends")]
    Seated,
    /// The log was anchored from another place.
    #[error(
        "this log was anchored last from another place, or this place's memory of it in anchoring/ is gone: servers that take turns at \
         publishing share a data directory; if the other place is gone for good, `guildhall anchor adopt` goes on from here"
    )]
    Elsewhere,
    /// Somebody put something under the key of the next anchor, or of an unfinished file that it lists. The next entry makes it another key.
    #[error(
        "the anchor store: somebody put {0} there, which would be the next anchor's: it is anchored once the log has grown"
    )]
    Taken(String),
    /// Other bytes lie under a key that is to be written.
    #[error("the anchor store: {0} holds other bytes than are to be written")]
    OtherBytes(String),
    /// The same of a file that has one name for ever, in a store that keeps one object of a name.
    #[error(
        "the anchor store: {path} holds other bytes than are to be written; this file of the log has no other name, so nothing is anchored there \
         until that object is gone: it is not this log's, no anchor lists it, remove it from {place} (docs/recovery.md, \"A name that is \
         taken\"); commands and checkpoints go on"
    )]
    Occupied { path: String, place: String },
    /// Another process publishes from here.
    #[error("another guildhall runs here: {} is locked", .0.display())]
    Locked(PathBuf),
    /// A signing key does not sign. Checkpoints wait until it does.
    #[error(transparent)]
    Signer(#[from] crate::signer::SignFailure),
    /// A key file is not usable.
    #[error("the key {}: {what}", .path.display())]
    Key { path: PathBuf, what: String },
    /// The anchor store holds other bytes than were written, or refuses.
    #[error("the anchor store: {0}")]
    Store(String),
    /// The anchor store does not answer: whether it did what was asked is not known.
    #[error("the anchor store cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody else's word about the time is required, and there is none.
    #[error("no anchor is written without a time token: {0}")]
    Time(#[from] TimeFailure),
    /// Somebody else's word about the time says that ours is wrong.
    #[error(
        "no anchor is written by a clock that is wrong: {0}; correct it, or set anchor.time.wrong_clock to warn if the authority is wrong"
    )]
    Clock(#[source] TimeFailure),
    /// What was published before cannot be read back.
    #[error("{path}: {what}")]
    Unreadable { path: String, what: String },
    /// A task was cut off: the process is ending.
    #[error("cut off while the process ends")]
    CutOff,
}

impl AnchorError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn unreadable(path: impl Into<String>, what: impl ToString) -> Self {
        Self::Unreadable { path: path.into(), what: what.to_string() }
    }

    /// Whether somebody has to look: time will not mend it.
    pub fn is_alarming(&self) -> bool {
        matches!(
            self,
            Self::Rewritten { .. }
                | Self::Fork(_)
                | Self::Damaged(_)
                | Self::Store(_)
                | Self::Taken(_)
                | Self::OtherBytes(_)
                | Self::Occupied { .. }
                | Self::Clock(_)
        )
    }
}

/// Runs blocking file work beside the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AnchorError> + Send + 'static,
) -> Result<T, AnchorError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(AnchorError::CutOff))
}
