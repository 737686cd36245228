//! Whose signatures count: the log itself says which of its keys was in force at which size, and whoever trusts one of them knows the others.

use chain::Hash;
use chain::anchor::signers;
use chain::checkpoint::{self, Checkpoint, CheckpointError};
use chain::note::{Note, NoteError};
use chain::policy::Policy;
use chain::rotation::{History, fingerprint};

use super::Signed;
use super::chain_of_anchors::{self, Link};
use crate::AnchorError;
use crate::anchor_format::{Anchor, NOT_SIGNED};
use crate::store::Store;

/// A note, with what the policy says about it. That none of its keys signed it is no error yet: the entries may say that another key was in
/// force then.
pub(super) fn read(note: &str, whence: &str, policy: &Policy) -> Result<(Checkpoint, Option<Signed>), CheckpointError> {
    match examine(note, whence, policy) {
        Ok(signed) => Ok((signed.checkpoint.clone(), Some(signed))),
        Err(
            CheckpointError::NotSignedByLog(_)
            | CheckpointError::UnknownOrigin(_)
            | CheckpointError::Note(NoteError::NoKnownKey),
        ) => Ok((Checkpoint::parse_text(&Note::parse(note)?.text)?, None)),
        Err(error) => Err(error),
    }
}

/// The checkpoint of an anchor; with it, if keys of the policy signed it, those that signed the anchor as well.
///
/// # Errors
/// In words. That none of the policy's keys signed anything is no error yet.
pub(super) fn of_anchor(
    anchor: &Anchor,
    whence: &str,
    policy: &Policy,
) -> Result<(Checkpoint, Option<Signed>), String> {
    let (checkpoint, signed) = read(&anchor.checkpoint, whence, policy).map_err(|error| error.to_string())?;
    let note = anchor.note().map_err(|error| error.to_string())?;
    let by = signers(&note, &checkpoint.origin, policy).map_err(|error| error.to_string())?;
    let Some(mut signed) = signed else { return Ok((checkpoint, None)) };
    signed.by.retain(|print| by.iter().any(|key| fingerprint(&key.vkey()) == *print));
    if signed.by.is_empty() { Err(NOT_SIGNED.to_owned()) } else { Ok((checkpoint, Some(signed))) }
}

/// Whether a key of the log that was in force at this size signed the anchor, and its checkpoint.
pub(super) fn signed(history: &History, size: u64, anchor: &Anchor) -> bool {
    let is_by = |note: Note| history.signed(size, &note);
    Note::parse(&anchor.checkpoint).is_ok_and(is_by) && anchor.note().is_ok_and(is_by)
}

pub(super) fn examine(note: &str, whence: &str, policy: &Policy) -> Result<Signed, CheckpointError> {
    let checkpoint::Examined { checkpoint, witnessed, signed, .. } = checkpoint::examine(note, policy)?;
    let by = signed.iter().map(|key| fingerprint(&key.vkey())).collect();
    let proven = witnessed && policy.quorum.is_some();
    Ok(Signed { checkpoint, note: note.to_owned(), by, witnessed, proven, is_given: false, whence: whence.to_owned() })
}

/// Whether one of these keys was. A log that names none has those of the policy.
pub(super) fn is_in_force(history: &History, size: u64, by: &[Hash]) -> bool {
    if history.eras().is_empty() {
        !by.is_empty()
    } else {
        history.in_force(size).any(|era| by.contains(&era.fingerprint))
    }
}

/// Whether a key that was in force at its size signed this anchor; one that the policy does not give may have been.
pub(super) async fn counts(store: &dyn Store, link: &Link, history: &History) -> Result<bool, AnchorError> {
    counts_at(store, link, (history, link.size), &[]).await
}

/// Whether a key that was in force at this size signed it; `given` are fingerprints of those that the policy gives.
pub(super) async fn counts_at(
    store: &dyn Store,
    link: &Link,
    (history, size): (&History, u64),
    given: &[Hash],
) -> Result<bool, AnchorError> {
    if is_in_force(history, size, &link.by) {
        return Ok(true);
    }
    // Of these it is known already which of them signed.
    if history.in_force(size).all(|era| given.contains(&era.fingerprint)) {
        return Ok(false);
    }
    let anchor = chain_of_anchors::again(store, link).await?;
    Ok(signed(history, size, &anchor))
}

pub(super) fn nobody(whence: &str, size: u64) -> AnchorError {
    AnchorError::unreadable(whence, format!("no key that was in force at size {size} signed it"))
}
