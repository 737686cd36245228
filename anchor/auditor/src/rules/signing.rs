//! Rules of the keys that the log is signed with: named once, rotated with both signatures, retired one after the other.

use chain::key::VerifierKey;
use chain::rotation::{Retirement, Rotation};

use super::{Entry, Notes};
use crate::keys::Told;

/// The log names the key that it begins with.
pub fn named(fingerprint: chain::Hash, entry: &Entry, told: &mut Told) {
    told.first.get_or_insert(entry.position);
    told.history.name(fingerprint);
}

pub fn rotated(rotation: &Rotation, entry: &Entry, told: &mut Told, notes: &mut Notes) {
    told.first.get_or_insert(entry.position);
    // Keys are of one log as long as each rotation leads on from the one before; whose log that is the policy says.
    let key = VerifierKey::parse(&rotation.from);
    let origin = key.as_ref().map(|key| key.name()).unwrap_or_default();
    match told.history.rotate(origin, entry.position, rotation) {
        Ok(()) => told.before.push((entry.position, rotation.size, rotation.root)),
        Err(error) => notes.add(format!("a rotation of the signing key that does not count: {error}")),
    }
}

pub fn retired(retirement: &Retirement, entry: &Entry, told: &mut Told, notes: &mut Notes) {
    if let Err(error) = told.history.retire(entry.position, retirement) {
        notes.add(format!("a retirement of a signing key that does not count: {error}"));
    }
}
