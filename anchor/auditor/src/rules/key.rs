//! Rules of API keys: whose they are, and that an ended one stays ended.

use serde::Deserialize;

use super::values::{CitizenId, Digest, KeyId, Time};
use super::{Notes, Nothing, World, events};

events! {
    "key.issued.v1" => Issued(Issued), [], "for a registered citizen; a replaced key is the same citizen's";
    "key.retired.v1" => Retired(Retired), [], "not after its revocation, and never later than it would have ended";
    "key.revoked.v1" => Revoked(Nothing), [], "once; from then on no entry may name it as its credential";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Issued {
    citizen: CitizenId,
    verifier: Digest,
    actions: Option<Vec<String>>,
    expires_at: Option<Time>,
    replaces: Option<KeyId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    expires_at: Time,
}

/// What is living of a key.
#[derive(Debug)]
pub struct Key {
    pub citizen: CitizenId,
    pub expires_at: Option<Time>,
    pub revoked: bool,
}

impl Key {
    /// Whether it opens anything at `now`.
    pub fn works_at(&self, now: Time) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| end > now)
    }
}

pub fn apply(event: &Event, id: KeyId, world: &mut World, notes: &mut Notes) {
    if let Event::Issued(Issued { citizen, expires_at, replaces, .. }) = event {
        world.act.registered.push((notes.position, *citizen));
        if let Some(old) = replaces {
            let same = world.keys.get(old).is_some_and(|old| old.citizen == *citizen);
            notes.expect(same, || format!("{id} replaces {old}, which is not a key of {citizen}"));
        }
        world.keys.insert(id, Key { citizen: *citizen, expires_at: *expires_at, revoked: false });
        return;
    }
    let Some(key) = world.keys.get_mut(&id) else {
        return notes.add(format!("{id} was never issued"));
    };
    notes.expect(!key.revoked, || format!("{id} was revoked before"));
    match event {
        Event::Issued(_) => {}
        Event::Retired(Retired { expires_at }) => {
            let later = key.expires_at.is_some_and(|end| *expires_at > end);
            notes.expect(!later, || format!("retiring {id} makes it live longer"));
            key.expires_at = Some(*expires_at);
        }
        Event::Revoked(_) => key.revoked = true,
    }
}
