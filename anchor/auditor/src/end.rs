//! Where an audit ends: at the folder's checkpoint or, in a copy of the anchors' store, which has none, at that of the newest anchor.

use std::collections::BTreeSet;
use std::io;

use chain::checkpoint::{self, Examined};
use chain::policy::Policy;

use crate::anchors::{self, Candidate, Under};
use crate::checkpoints::Promise;
use crate::inputs::Folder;
use crate::report::{Check, Finding};

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
    /// No checkpoint, and anchors of these logs, all of which the policy gives.
    Several(Vec<String>),
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

    /// What follows from a checkpoint of more entries that the log's key signed, wherever it lies.
    pub fn cut(&self, beyond: &Promise) -> Finding {
        let size = self.examined.checkpoint.size;
        let instead = match self.anchor {
            None => format!("the checkpoint has {size}: the log was cut"),
            Some(_) => format!("the newest anchor that is signed has {size}"),
        };
        let what = format!(
            "{}: a key of the log signed a checkpoint of {} entries in it; {instead}",
            beyond.whence, beyond.size
        );
        Finding::within(Check::Checkpoint, size, beyond.size, what)
    }

    /// How a finding speaks of it.
    pub fn whence(&self) -> String {
        self.anchor.clone().unwrap_or_else(|| "the checkpoint".to_owned())
    }
}

/// Looks for the end. A checkpoint that is there and is none is not made up for by an anchor.
pub fn find(folder: &Folder, policy: &Policy, under: &Under, origin: Option<&str>) -> io::Result<Found> {
    if folder.has("checkpoint") {
        let bytes = folder.read("checkpoint")?.unwrap_or_default();
        let note = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(match checkpoint::examine(&note, policy) {
            Ok(examined) if origin.is_some_and(|origin| origin != examined.checkpoint.origin) => {
                Found::Refused(format!("the checkpoint is one of {}", examined.checkpoint.origin))
            }
            Ok(examined) => Found::End(Box::new(End { examined, note, anchor: None })),
            Err(error) => Found::Refused(format!("the checkpoint: {error}")),
        });
    }
    let signed = under.candidates.iter().filter(|candidate| !candidate.known.by.is_empty());
    let signed: Vec<&Candidate> =
        signed.filter(|candidate| origin.is_none_or(|origin| origin == candidate.origin)).collect();
    // Anybody can lay another log's anchors here: how many there are of each says nothing.
    let logs: BTreeSet<&str> = signed.iter().map(|candidate| candidate.origin.as_str()).collect();
    if logs.len() > 1 {
        return Ok(Found::Several(logs.into_iter().map(str::to_owned).collect()));
    }
    // No number counts: it is the one that covers most, the last of them by name.
    let newest = signed.into_iter().max_by_key(|candidate| candidate.known.size);
    let note = newest.map(|newest| anchors::checkpoint(folder, &newest.known.key)).transpose()?.flatten();
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
