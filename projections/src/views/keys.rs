//! `keys`: API keys and their lives; never what would let anybody check or guess one.

use domain::ids::{CitizenId, KeyId};
use domain::key::event::KeyEvent;
use domain::time::Time;

use crate::field::Json;
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    Key in "keys" by (key: KeyId) {
        citizen: CitizenId,
        actions: Option<Json<Vec<String>>>,
        issued_at: Time,
        expires_at: Option<Time>,
        replaces: Option<KeyId>,
        revoked_at: Option<Time>,
        position: u64,
    }
}

pub(super) fn fold(keys: &mut Sheet<Key>, recorded: &Recorded, key: KeyId, event: &KeyEvent) {
    match event {
        KeyEvent::Issued { citizen, verifier: _, actions, expires_at, replaces } => keys.put(Key {
            key,
            citizen: *citizen,
            actions: actions.clone().map(Json),
            issued_at: recorded.at,
            expires_at: *expires_at,
            replaces: *replaces,
            revoked_at: None,
            position: recorded.position,
        }),
        KeyEvent::Retired { expires_at } => keys.change(&(key,), |row| row.expires_at = Some(*expires_at)),
        KeyEvent::Revoked {} => keys.change(&(key,), |row| row.revoked_at = Some(recorded.at)),
    }
}
