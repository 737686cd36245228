//! Whose signatures count: the log itself says which of its keys was in force at which size, and whoever trusts one of them knows the others.

use chain::Hash;
use chain::checkpoint::{self, Checkpoint, CheckpointError};
use chain::note::{Note, NoteError};
use chain::policy::Policy;
use chain::rotation::{History, fingerprint};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::chain_of_anchors::{self, Link};
use super::{AHEAD, Archive, Signed};
use crate::AnchorError;
use crate::store::Store;

/// A note, with what the policy says about it. That none of its keys signed it is no error yet: the entries may say that another key was in
/// force then.
pub(super) fn read(note: &str, whence: &str, policy: &Policy) -> Result<(Checkpoint, Option<Signed>), CheckpointError> {
    match examine(note, whence, policy) {
        Ok(signed) => Ok((signed.checkpoint.clone(), Some(signed))),
        Err(CheckpointError::NotSignedByLog(_) | CheckpointError::Note(NoteError::NoKnownKey)) => {
            Ok((Checkpoint::parse_text(&Note::parse(note)?.text)?, None))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn examine(note: &str, whence: &str, policy: &Policy) -> Result<Signed, CheckpointError> {
    let checkpoint::Examined { checkpoint, witnessed, signed, .. } = checkpoint::examine(note, policy)?;
    let by = signed.iter().map(|key| fingerprint(&key.vkey())).collect();
    Ok(Signed { checkpoint, note: note.to_owned(), by, witnessed, whence: whence.to_owned() })
}

/// Judges what was signed, after all entries were read: the checkpoint that is aimed at, which a key of the policy signed, and every anchor
/// below it.
///
/// # Errors
/// [`AnchorError::Unreadable`] names what no key signed that was in force at its size.
pub(super) async fn judge(archive: &Archive, history: &History) -> Result<(), AnchorError> {
    let aim = &archive.aim;
    if !is_in_force(history, aim.checkpoint.size, &aim.by) {
        return Err(nobody(&aim.whence, aim.checkpoint.size));
    }
    let store = archive.places.store.as_ref();
    let below = archive.anchors.iter().filter(|link| link.size <= aim.checkpoint.size);
    let left: Vec<_> = below
        .filter(|link| !is_in_force(history, link.size, &link.by))
        .map(|link| look_again(store, link, history))
        .collect();
    stream::iter(left).buffered(AHEAD).try_collect().await
}

/// Whether one of these keys was. A log that names none has those of the policy.
fn is_in_force(history: &History, size: u64, by: &[Hash]) -> bool {
    if history.eras().is_empty() {
        !by.is_empty()
    } else {
        history.in_force(size).any(|era| by.contains(&era.fingerprint))
    }
}

/// An anchor that was signed by a key which the policy does not give: a rotation may.
async fn look_again(store: &dyn Store, link: &Link, history: &History) -> Result<(), AnchorError> {
    let anchor = chain_of_anchors::again(store, link).await?;
    let is_signed = Note::parse(&anchor.checkpoint).is_ok_and(|note| history.signed(link.size, &note));
    if is_signed { Ok(()) } else { Err(nobody(&link.key, link.size)) }
}

fn nobody(whence: &str, size: u64) -> AnchorError {
    AnchorError::unreadable(whence, format!("no key that was in force at size {size} signed it"))
}
