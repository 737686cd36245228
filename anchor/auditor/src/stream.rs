//! One stream alone: that it is complete and ends where it says, from a package, public keys and one root that an audit recomputed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint, Examined};
use chain::entry::{EntryView, entry_hash};
use chain::heads::{Commitment, Head, HeadProof, key};
use chain::policy::Policy;
use chain::tree::{leaf_hash, verify_inclusion};
use serde::{Deserialize, Serialize};

use crate::heads::look_up;
use crate::receipt::witnesses;

/// Names the format in the first line.
pub const FORMAT: &str = "guildhall/stream/v1";
/// No line is longer: an entry of 1 MiB, every byte escaped, and its path.
const LONGEST_LINE: u64 = 8 << 20;

/// The first line of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    pub format: String,
    pub stream: String,
    /// The signed note.
    pub checkpoint: String,
    pub commitment: Committing,
    pub head: HeadProof,
}

/// The entry that commits to the root of heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committing {
    pub position: u64,
    pub prev: Hash,
    /// The exact bytes of the entry.
    pub entry: String,
    /// The audit path under the checkpoint.
    pub path: Vec<Hash>,
}

/// Every other line: the stream's next entry, whose `prev` is the hash of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub position: u64,
    pub entry: String,
    pub path: Vec<Hash>,
}

/// Why a package was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something in it is wrong.
    #[error("the package does not hold: {0}")]
    Wrong(String),
    /// Nothing can be said about it.
    #[error("{0}")]
    CouldNotCheck(String),
}

/// Checks a package and says in words what it proves. `audited` is the record of a full audit: without it nobody knows whether the
/// root of heads is right.
pub fn explain(file: &Path, policy: &Policy, audited: Option<&Path>) -> Result<String, Refused> {
    let could_not = |error: &dyn std::fmt::Display| Refused::CouldNotCheck(format!("{}: {error}", file.display()));
    let mut lines = Lines { reader: BufReader::new(File::open(file).map_err(|error| could_not(&error))?), number: 0 };
    let first = lines.next()?.ok_or_else(|| could_not(&"the file is empty"))?;
    let first: First = serde_json::from_str(&first).map_err(|error| could_not(&error))?;
    if first.format != FORMAT {
        return Err(could_not(&format!("the format {:?} is unknown", first.format)));
    }
    let base = Base::of(first, policy)?;
    let (count, last_at) = base.follow(&mut lines)?;
    Ok(base.words(count, &last_at, policy, &base.vouched(audited)?))
}

/// What the first line proves.
struct Base {
    stream: String,
    examined: Examined,
    position: u64,
    said: Commitment,
    head: Option<Head>,
}

impl Base {
    fn of(first: First, policy: &Policy) -> Result<Self, Refused> {
        let examined = checkpoint::examine(&first.checkpoint, policy)
            .map_err(|error| Refused::Wrong(format!("the checkpoint: {error}")))?;
        let Committing { position, prev, entry, path } = &first.commitment;
        let hash = entry_hash(&examined.checkpoint.origin, prev, entry.as_bytes());
        if !is_in(&examined.checkpoint, *position, &hash, path) {
            return Err(Refused::Wrong(format!(
                "the entry that commits to the heads is not at position {position} of this log"
            )));
        }
        let view = parse(entry.as_bytes(), "the entry that commits to the heads")?;
        if view.stream != "log" || view.kind != "log.heads_committed.v1" {
            return Err(Refused::Wrong(format!(
                "position {position} holds a {}, which commits to no heads",
                view.kind
            )));
        }
        let said: Commitment = serde_json::from_str(view.data.get())
            .map_err(|error| Refused::Wrong(format!("the commitment at position {position}: {error}")))?;
        if !said.fits(*position) {
            let what = format!("the commitment at position {position} is as of {}: it does not count", said.as_of);
            return Err(Refused::Wrong(what));
        }
        let head = first.head.verify(&key(&first.stream), &said.root);
        let head = head.map_err(|error| Refused::Wrong(format!("the head of {:?}: {error}", first.stream)))?;
        Ok(Self { stream: first.stream, position: *position, said, head, examined })
    }

    /// Follows the entries to the head; answers how many there are and when the last one was.
    fn follow(&self, lines: &mut Lines) -> Result<(u64, String), Refused> {
        let (mut version, mut prev, mut after, mut last_at) = (0, Hash::ZERO, None, String::new());
        while let Some(line) = lines.next()? {
            let place = format!("line {}", lines.number);
            let wrong = |what: String| Refused::Wrong(format!("{place}: {what}"));
            let line: Line = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            let view = parse(line.entry.as_bytes(), &place)?;
            if view.stream != self.stream {
                return Err(wrong(format!("this entry is of the stream {:?}, not {:?}", view.stream, self.stream)));
            }
            if view.version > version {
                return Err(wrong(format!("version {version} is left out: version {} stands here", view.version)));
            }
            if view.version < version {
                return Err(wrong(format!("version {} stands here once more", view.version)));
            }
            if self.head.is_none_or(|head| version > head.version) {
                return Err(wrong(format!("version {version} is beyond the head that the log committed to")));
            }
            let hash = entry_hash(&self.examined.checkpoint.origin, &prev, line.entry.as_bytes());
            if !is_in(&self.examined.checkpoint, line.position, &hash, &line.path) {
                return Err(wrong(format!(
                    "version {version} is not at position {} of this log, or does not follow the version before it",
                    line.position
                )));
            }
            if after.is_some_and(|after| line.position <= after) || line.position >= self.said.as_of {
                return Err(wrong(format!("position {} is out of order", line.position)));
            }
            (version, prev, after) = (version + 1, hash, Some(line.position));
            last_at = view.at.to_owned();
        }
        match self.head {
            Some(head) if version <= head.version => Err(Refused::Wrong(format!(
                "the end is left out: {version} entries are here, and the head is version {}",
                head.version
            ))),
            Some(head) if prev != head.hash => {
                Err(Refused::Wrong(format!("version {} is not the head that the log committed to", head.version)))
            }
            _ => Ok((version, last_at)),
        }
    }

    /// What the record of a full audit says about this root.
    fn vouched(&self, audited: Option<&Path>) -> Result<String, Refused> {
        let Some(path) = audited else {
            return Ok("That nothing is left out holds IF this root is right. The log signed it, which shows who said so, not that it is so:\n\
                       only a full audit recomputes it (auditor verify --heads FILE), and --audited FILE then says so here.\n"
                .to_owned());
        };
        let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| Refused::CouldNotCheck(named(&error)))?;
        let found = look_up(&text, &self.examined.checkpoint.origin, self.position);
        match found.map_err(|what| Refused::CouldNotCheck(named(&what)))? {
            Some(theirs) if theirs == self.said => {
                Ok(format!("The audit recorded in {} recomputed this root from all entries.\n", path.display()))
            }
            Some(_) => {
                let what =
                    format!("the audit found another root of heads at position {}: two logs are shown", self.position);
                Err(Refused::Wrong(named(&what)))
            }
            None => Err(Refused::CouldNotCheck(named(&format!(
                "that audit did not come by position {}: ask for a package of a size that it covers, or audit again",
                self.position
            )))),
        }
    }

    fn words(&self, count: u64, last_at: &str, policy: &Policy, vouched: &str) -> String {
        let Checkpoint { origin, size, .. } = &self.examined.checkpoint;
        let what = match count {
            0 => format!("The stream {:?} of the log {origin} has no entry", self.stream),
            1 => format!("The stream {:?} of the log {origin} has 1 entry, of {last_at}, and no other", self.stream),
            _ => format!(
                "The stream {:?} of the log {origin} has these {count} entries, versions 0 to {}, the last of {last_at}, and no other",
                self.stream,
                count - 1
            ),
        };
        format!(
            "{what},\nup to position {}.\nEach is in the tree of {size} entries that the log signed, and the last one is the head under the root of heads\n\
             {} at position {}.\n{vouched}{}",
            self.said.as_of,
            self.said.root,
            self.position,
            witnesses(policy, self.examined.witnessed, self.examined.cosigned.len())
        )
    }
}

fn is_in(checkpoint: &Checkpoint, position: u64, entry_hash: &Hash, path: &[Hash]) -> bool {
    verify_inclusion(&leaf_hash(&entry_hash.0), position, checkpoint.size, path, &checkpoint.root)
}

fn parse<'a>(bytes: &'a [u8], place: &str) -> Result<EntryView<'a>, Refused> {
    EntryView::parse(bytes).map_err(|error| Refused::Wrong(format!("{place}: {error}")))
}

/// The lines of a file, each ended, none too long.
struct Lines {
    reader: BufReader<File>,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<String>, Refused> {
        self.number += 1;
        let mut line = String::new();
        let read = self.reader.by_ref().take(LONGEST_LINE).read_line(&mut line);
        read.map_err(|error| Refused::CouldNotCheck(format!("line {}: {error}", self.number)))?;
        match line.pop() {
            None => Ok(None),
            Some('\n') => Ok(Some(line)),
            Some(_) => Err(Refused::Wrong(format!("line {} is cut off, or too long", self.number))),
        }
    }
}

#[cfg(test)]
mod tests;
