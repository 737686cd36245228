//! What a caller is told: the verdict, every entry written, and why not.

use std::time::Duration;

use chain::Hash;
use domain::turn::Outcome;
use domain::{Code, Rejection};
use eventlog::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry that a command wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    pub stream: String,
    pub version: u64,
    pub position: u64,
    pub entry_hash: Hash,
    #[serde(rename = "type")]
    pub kind: String,
    /// The recorded data; sealed texts are left out.
    pub data: Value,
}

/// What a settled command came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Verdict {
    Done,
    AlreadyDone,
    Proposed { guild: String, proposal: String },
    Rejected { code: String, because: String, detail: Option<String>, field: Option<String> },
}

/// The answer to a settled command; the same request with the same key gets it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub command: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub entries: Vec<EntryRef>,
    /// Whether this answer was given before.
    #[serde(skip)]
    pub replayed: bool,
}

impl Answer {
    pub(crate) fn accepted(command: String, outcome: Outcome, entries: Vec<EntryRef>) -> Self {
        let verdict = match outcome {
            Outcome::Done => Verdict::Done,
            Outcome::AlreadyDone => Verdict::AlreadyDone,
            Outcome::Proposed(guild, proposal) => {
                Verdict::Proposed { guild: guild.to_string(), proposal: proposal.to_string() }
            }
        };
        Self { command, verdict, entries, replayed: false }
    }

    pub(crate) fn rejected(command: String, rejection: &Rejection) -> Self {
        let verdict = Verdict::Rejected {
            code: rejection.code.as_str().to_owned(),
            because: rejection.code.because().to_owned(),
            detail: rejection.detail.clone(),
            field: rejection.field.map(str::to_owned),
        };
        Self { command, verdict, entries: Vec::new(), replayed: false }
    }

    pub fn is_rejected(&self) -> bool {
        matches!(self.verdict, Verdict::Rejected { .. })
    }

    /// The highest position this answer depends on, for `?at_least=`.
    pub fn position(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.position)
    }
}

/// Why a command was not settled: nothing was stored, and the same key may be used again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The credential or the role says no.
    #[error("{0}")]
    Denied(Rejection),
    #[error("{}", Code::KeyReused.because())]
    KeyReused,
    /// The queue is full.
    #[error("too many commands are waiting")]
    Busy { retry_after: Duration },
    /// The whole server only reads.
    #[error("this server is read-only: {0}")]
    ReadOnly(String),
    #[error(transparent)]
    Failure(#[from] Failure),
    /// A guard or an invariant of ours caught a bug; this command alone was dropped.
    #[error("internal error: {0}")]
    Bug(String),
    #[error("the server is stopping")]
    Stopping,
}
