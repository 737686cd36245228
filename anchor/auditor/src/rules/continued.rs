//! Rules of a log that continues another one: what its first leaf says about that one, and about what follows.

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::note::Note;
use serde::Deserialize;

use super::values::Stream;
use super::{Entry, Notes};

/// What the first leaf says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continued {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    /// The signed note of the log that is continued.
    pub checkpoint: String,
    /// How many entries of that log follow this one.
    pub carried: u64,
}

impl Continued {
    /// Whether the entry at this position is one of the old log's.
    pub fn carries(&self, position: u64) -> bool {
        position > 0 && position <= self.carried
    }
}

/// The positions before `bound` that an entry at `position` may name as its cause: carried ones count in the log they come from.
pub fn cause_bound(continued: Option<&Continued>, position: u64) -> u64 {
    continued.filter(|continued| continued.carries(position)).map_or(position, |continued| continued.size)
}

pub fn continued(said: &Continued, entry: &Entry, notes: &mut Notes) {
    notes.expect(entry.position == 0, || "a log can only begin as the continuation of another one".to_owned());
    notes.expect(said.carried > 0 && said.carried <= said.size, || {
        format!("it carries {} entries of the {} that the old log had", said.carried, said.size)
    });
    let opened = Note::parse(&said.checkpoint).ok().and_then(|note| Checkpoint::parse_text(&note.text).ok());
    let is_it = opened
        .is_some_and(|opened| opened.origin == said.origin && opened.size == said.size && opened.root == said.root);
    notes.expect(is_it, || "its checkpoint is not one of the log, the size and the root that it names".to_owned());
}

/// What a log says about itself stays with that log.
pub fn not_carried(continued: Option<&Continued>, entry: &Entry, notes: &mut Notes) {
    let carried = continued.is_some_and(|continued| continued.carries(entry.position));
    notes.expect(!carried || entry.stream != Stream::Log, || {
        "an entry of the stream log is carried from another log".to_owned()
    });
}
