//! The witness protocol (C2SP tlog-witness): what a log asks of a witness, and what the witness has to answer.
//!
//! A witness remembers one checkpoint of each log and cosigns what continues it. [`judge`] is the whole of that judgement; whoever
//! calls it compares and swaps the memory before the answer leaves.

use crate::Hash;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::sha256;
use crate::key::VerifierKey;
use crate::note::{Note, NoteError};
use crate::text::parse_size;
use crate::tree::{empty_root, verify_consistency};

/// The most hashes of a consistency proof that a request may carry.
pub const MAX_HASHES: usize = 63;

/// The longest request.
pub const MAX_REQUEST_BYTES: usize = 256 << 10;

/// The media type of a 409: its body is the size that the witness holds.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// What is posted to `<url>/add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The size that the log takes the witness to hold; 0 when it has never cosigned this log.
    pub old: u64,
    /// From the tree of `old` leaves to that of the checkpoint.
    pub proof: Vec<Hash>,
    /// The checkpoint, a whole signed note.
    pub checkpoint: String,
}

/// The checkpoint of a log that a witness cosigned last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub size: u64,
    pub root: Hash,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a request is at most 256 KiB")]
    TooLong,
    #[error("the first line is `old` and a decimal number of at most 2^53 without leading zeros")]
    Old,
    #[error("proof line {0} is not 32 bytes of standard base64")]
    Hash(usize),
    #[error("a proof has at most 63 hashes")]
    TooManyHashes,
    #[error("no empty line before the checkpoint")]
    NoCheckpoint,
    #[error("the note: {0}")]
    Note(NoteError),
    #[error("the checkpoint: {0}")]
    Checkpoint(CheckpointError),
    #[error("the old size {old} is beyond the checkpoint's {new}")]
    OldBeyond { old: u64, new: u64 },
    #[error("this witness knows no log {0}")]
    UnknownLog(String),
    #[error("no known key of the log signed the checkpoint, or a line of one fails")]
    NotSigned,
    #[error("this witness holds the checkpoint of size {0}")]
    Holds(u64),
    #[error("a tree without leaves has the root SHA-256 of nothing")]
    EmptyRoot,
    #[error("the tree does not continue the one of size {0} that this witness cosigned")]
    Inconsistent(u64),
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::TooLong => 413,
            Refusal::Old
            | Refusal::Hash(_)
            | Refusal::TooManyHashes
            | Refusal::NoCheckpoint
            | Refusal::Note(_)
            | Refusal::Checkpoint(_)
            | Refusal::OldBeyond { .. } => 400,
            Refusal::NotSigned => 403,
            Refusal::UnknownLog(_) => 404,
            Refusal::Holds(_) => 409,
            Refusal::EmptyRoot | Refusal::Inconsistent(_) => 422,
        }
    }
}

impl Request {
    /// The body of the request.
    pub fn format(&self) -> String {
        let hashes: String = self.proof.iter().map(|hash| format!("{}\n", hash.to_base64())).collect();
        format!("old {}\n{hashes}\n{}", self.old, self.checkpoint)
    }

    /// Reads what [`Request::format`] writes. The checkpoint is not looked into yet.
    pub fn parse(body: &str) -> Result<Request, Refusal> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(Refusal::TooLong);
        }
        let (head, checkpoint) = body.split_once("\n\n").ok_or(Refusal::NoCheckpoint)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_size).ok_or(Refusal::Old)?;
        let mut proof = Vec::new();
        for (number, line) in lines.enumerate() {
            if number >= MAX_HASHES {
                return Err(Refusal::TooManyHashes);
            }
            proof.push(Hash::from_base64(line).ok_or(Refusal::Hash(number + 1))?);
        }
        Ok(Request { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

/// The origin of the checkpoint that a request carries, before anything about it is believed: by it a witness finds its memory.
pub fn origin(checkpoint: &str) -> &str {
    checkpoint.split('\n').next().unwrap_or_default()
}

/// Where a witness shows the checkpoint of a log that it cosigned last, below its url: `<SHA-256 of the origin>/checkpoint`.
pub fn monitoring_path(origin: &str) -> String {
    format!("{}/checkpoint", sha256(&[origin.as_bytes()]))
}

/// What a witness has to answer that trusts `logs` and holds `held` of this log: the checkpoint that it now cosigns, with the
/// note's text and the log's own lines, or why it does not.
pub fn judge(request: &Request, held: Option<Held>, logs: &[VerifierKey]) -> Result<(Checkpoint, Note), Refusal> {
    let mut note = Note::parse(&request.checkpoint).map_err(Refusal::Note)?;
    let origin = origin(&note.text);
    let keys: Vec<&VerifierKey> = logs.iter().filter(|key| key.name() == origin).collect();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog(origin.to_owned()));
    }
    note.verify_by(&keys).map_err(|_| Refusal::NotSigned)?;
    let checkpoint = Checkpoint::parse_text(&note.text).map_err(Refusal::Checkpoint)?;
    if request.old > checkpoint.size {
        return Err(Refusal::OldBeyond { old: request.old, new: checkpoint.size });
    }
    let size = held.map_or(0, |held| held.size);
    if request.old != size {
        return Err(Refusal::Holds(size));
    }
    if checkpoint.size == 0 && checkpoint.root != empty_root() {
        return Err(Refusal::EmptyRoot);
    }
    let root = held.map_or_else(empty_root, |held| held.root);
    if !verify_consistency(size, &root, checkpoint.size, &checkpoint.root, &request.proof) {
        return Err(Refusal::Inconsistent(size));
    }
    // Whatever else stands on the note was checked by nobody.
    note.signatures.retain(|line| keys.iter().any(|key| line.is_by(key)));
    Ok((checkpoint, note))
}

#[cfg(test)]
mod tests;
