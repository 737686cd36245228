//! Where an audit ends: at the folder's checkpoint or, in a copy of the anchors' store, which has none, at that of the newest anchor.

use std::collections::BTreeMap;
use std::io;

use chain::checkpoint::{self, Examined};
use chain::policy::Policy;

use crate::anchors::{self, Candidate, Under};
use crate::inputs::Folder;

/// The newest promise that the folder holds.
pub struct End {
    pub examined: Examined,
    /// The signed note.
    pub note: String,
    /// The anchor that it stands in; none when it is the folder's checkpoint.
    pub anchor: Option<String>,
}

/// What a folder holds of it.
pub enum Found {
    End(Box<End>),
    /// Something is there, and none of it is a promise of the log.
    Refused(String),
    Nothing,
}

impl End {
    /// Why an anchor that covers more is wrong.
    pub fn beyond(&self) -> &'static str {
        match self.anchor {
            None => "the checkpoint has less: the log was cut",
            Some(_) => "no key that the policy gives signed it: the audit ends before it",
        }
    }

    /// How a finding speaks of it.
    pub fn whence(&self) -> String {
        self.anchor.clone().unwrap_or_else(|| "the checkpoint".to_owned())
    }
}

/// Looks for the end. A checkpoint that is there and is none is not made up for by an anchor.
pub fn find(folder: &Folder, policy: &Policy, under: &Under) -> io::Result<Found> {
    if folder.has("checkpoint") {
        let bytes = folder.read("checkpoint")?.unwrap_or_default();
        let note = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(match checkpoint::examine(&note, policy) {
            Ok(examined) => Found::End(Box::new(End { examined, note, anchor: None })),
            Err(error) => Found::Refused(format!("the checkpoint: {error}")),
        });
    }
    let newest = newest(&under.candidates);
    let note = newest.map(|newest| anchors::note(folder, &newest.known.key)).transpose()?.flatten();
    let end = newest.zip(note).and_then(|(newest, note)| {
        let examined = checkpoint::examine(&note, policy).ok()?;
        Some(End { examined, note, anchor: Some(newest.known.key.clone()) })
    });
    Ok(match end {
        Some(end) => Found::End(Box::new(end)),
        None if under.candidates.is_empty() && under.strays.is_empty() => Found::Nothing,
        None => Found::Refused(
            "there is no checkpoint, and no anchor that can be read and that a key of the policy signed".to_owned(),
        ),
    })
}

/// Of those that a key of the policy signed, and of the log that most of these are of, the one that covers most, the last of them by name. No
/// number counts: whoever can write to a store can lay an old checkpoint there under a high one.
fn newest(candidates: &[Candidate]) -> Option<&Candidate> {
    let signed = || candidates.iter().filter(|candidate| !candidate.known.by.is_empty());
    let mut logs: BTreeMap<&str, usize> = BTreeMap::new();
    signed().for_each(|candidate| *logs.entry(&candidate.origin).or_default() += 1);
    let (log, _) = logs.into_iter().max_by_key(|(_, count)| *count)?;
    signed().filter(|candidate| candidate.origin == log).max_by_key(|candidate| candidate.known.size)
}
