//! What can be asked of API keys. The id and the verifier are made where the secret is made, before the command.

use serde::{Deserialize, Serialize};

use crate::guild::command::command;
use crate::ids::{CitizenId, KeyId};
use crate::text::Digest;
use crate::time::Time;

command! {
    /// A key for oneself, or (tier coordinator and above) for somebody of a lower tier.
    IssueKey {
        key: KeyId,
        verifier: Digest,
        citizen: CitizenId,
        #[serde(default, skip_serializing_if = "Option::is_none")] actions: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
    }
    /// A successor with the same scope; the old key works for `overlap_seconds` more (0 to 604800).
    RotateKey { old: KeyId, key: KeyId, verifier: Digest, overlap_seconds: u32 }
    RevokeKey { key: KeyId }
    /// The one key of a citizen from now on, given by whoever runs the city: nobody else could let them in again.
    RecoverKey { key: KeyId, verifier: Digest, citizen: CitizenId }
}
