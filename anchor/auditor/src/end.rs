//! Where an audit ends: at the folder's checkpoint or, in a copy of the anchors' store, which has none, at that of the newest anchor.

use std::io;

use chain::checkpoint::{self, Examined};
use chain::policy::Policy;

use crate::anchors;
use crate::inputs::Folder;
use crate::survey;

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
pub fn find(folder: &Folder, policy: &Policy) -> io::Result<Found> {
    if folder.has("checkpoint") {
        let bytes = folder.read("checkpoint")?.unwrap_or_default();
        let note = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(match checkpoint::examine(&note, policy) {
            Ok(examined) => Found::End(Box::new(End { examined, note, anchor: None })),
            Err(error) => Found::Refused(format!("the checkpoint: {error}")),
        });
    }
    let names = folder.names("anchors")?;
    let mut keys = names.iter().rev().filter(|name| !survey::is_unfinished(name)).map(|name| format!("anchors/{name}"));
    let is_empty = keys.clone().next().is_none();
    let found = keys.find_map(|key| of_anchor(folder, policy, key).transpose()).transpose()?;
    Ok(match found {
        Some(end) => Found::End(Box::new(end)),
        None if is_empty => Found::Nothing,
        None => Found::Refused(
            "there is no checkpoint, and no anchor that can be read and that a key of the policy signed".to_owned(),
        ),
    })
}

/// What this anchor promises, if it stands under its own name and a key of the policy signed it.
fn of_anchor(folder: &Folder, policy: &Policy, key: String) -> io::Result<Option<End>> {
    let bytes = folder.read(&key)?.unwrap_or_default();
    let Ok(anchor) = anchors::parse(&bytes) else { return Ok(None) };
    let Ok(examined) = checkpoint::examine(&anchor.checkpoint, policy) else { return Ok(None) };
    let is_own =
        anchor.origin == examined.checkpoint.origin && key == anchors::key(anchor.seq, examined.checkpoint.size);
    Ok(is_own.then_some(End { examined, note: anchor.checkpoint, anchor: Some(key) }))
}
