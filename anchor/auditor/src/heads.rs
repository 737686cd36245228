//! Heads of streams, recomputed: every root that the log commits to is compared with that of the entries themselves.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chain::Hash;
use chain::heads::{Commitment, Head, Heads, WINDOW, key};
use serde::Serialize;

use crate::report::{Check, Finding, Report};
use crate::rules::values::Stream;

/// The first line of a record of recomputed heads.
pub const HEADER: &str = "guildhall/audited-heads/v1";

/// What an audit says about heads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Commitments whose root was recomputed and is right.
    pub recomputed: u64,
    /// Commitments that came too late to count: nothing may rest on them.
    pub late: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
}

/// The newest commitment that was recomputed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub position: u64,
    pub as_of: u64,
    pub root: Hash,
}

/// The tree over the heads, some entries behind: a commitment speaks of the log as it was up to [`WINDOW`] entries before it.
#[derive(Default)]
pub struct Recomputed {
    tree: Heads,
    /// The tree is that of the positions before this one; those that follow it wait.
    applied: u64,
    waiting: VecDeque<(Hash, Head)>,
    record: Option<Record>,
    failed: Option<io::Error>,
}

impl Recomputed {
    /// Keeps what is recomputed in this record.
    pub fn recording(record: Option<Record>) -> Self {
        Self { record, ..Self::default() }
    }

    /// The entry at the next position is the last of its stream now.
    pub fn see(&mut self, key: Hash, head: Head) {
        self.waiting.push_back((key, head));
        if self.waiting.len() as u64 > WINDOW {
            self.apply_next();
        }
    }

    fn apply_next(&mut self) {
        if let Some((key, head)) = self.waiting.pop_front() {
            self.tree.set(key, head);
            self.applied += 1;
        }
    }

    /// The entry at `position`, already seen, commits to this root.
    pub fn check(&mut self, position: u64, said: &Commitment, report: &mut Report) {
        if said.as_of > position {
            // Its rule has found that.
            return;
        }
        if !said.fits(position) || said.as_of < self.applied {
            report.heads.late += 1;
            return;
        }
        while self.applied < said.as_of {
            self.apply_next();
        }
        let root = self.tree.root();
        if root != said.root {
            let what = format!("the root of the heads at size {} is {root}, not {}", said.as_of, said.root);
            report.add(Finding::at(Check::Heads, position, what));
            return;
        }
        report.heads.recomputed += 1;
        report.heads.newest = Some(Newest { position, as_of: said.as_of, root });
        if let Some(record) = &mut self.record
            && let Err(error) = record.add(position, said)
        {
            self.failed.get_or_insert(error);
        }
    }

    /// The record, written to its end.
    pub fn finish(self) -> io::Result<Option<Record>> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.record),
        }
    }
}

/// Where the head of a stream stands in the tree.
pub fn key_of(stream: &Stream) -> Hash {
    match stream {
        Stream::Unknown(name) => key(name),
        known => key(&known.to_string()),
    }
}

/// A file with every commitment that was recomputed, for whoever is shown a stream alone later. It gets its name when the audit is clean.
pub struct Record {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
}

impl Record {
    pub fn begin(path: &Path, origin: &str) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut file = BufWriter::new(File::create(&beside)?);
        writeln!(file, "{HEADER}\n{origin}")?;
        Ok(Self { path: path.to_owned(), beside, file })
    }

    fn add(&mut self, position: u64, said: &Commitment) -> io::Result<()> {
        writeln!(self.file, "{position} {} {}", said.as_of, said.root)
    }

    /// Gives the file its name, or takes it away: an audit that found something vouches for nothing.
    pub fn conclude(mut self, clean: bool) -> io::Result<()> {
        if !clean {
            return fs::remove_file(&self.beside);
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.beside, &self.path)
    }
}

/// What the record of an audit says about the commitment at a position.
///
/// # Errors
/// In words, when the text is no such record, or one of another log.
pub fn look_up(record: &str, origin: &str, position: u64) -> Result<Option<Commitment>, String> {
    let mut lines = record.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("it does not begin with {HEADER}"));
    }
    match lines.next() {
        Some(theirs) if theirs == origin => {}
        other => return Err(format!("it is about the log {}, not {origin}", other.unwrap_or("of no name"))),
    }
    for line in lines {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (at, as_of) = (number(), number());
        let (Some(at), Some(as_of), Some(root), None) =
            (at, as_of, words.next().and_then(Hash::from_hex), words.next())
        else {
            return Err(format!("it holds the line {line:?}"));
        };
        if at == position {
            return Ok(Some(Commitment { as_of, root }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
