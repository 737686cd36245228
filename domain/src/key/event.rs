//! What can have happened to an API key.

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, KeyId};
use crate::text::Digest;
use crate::time::Time;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum KeyEvent {
    #[serde(rename = "key.issued.v1")]
    Issued {
        citizen: CitizenId,
        /// HMAC-SHA-256 of the secret under the server's pepper.
        verifier: Digest,
        /// Actions it is limited to; absent = all that the citizen may do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actions: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<KeyId>,
    },
    /// A successor was issued; this one works until then.
    #[serde(rename = "key.retired.v1")]
    Retired { expires_at: Time },
    #[serde(rename = "key.revoked.v1")]
    Revoked {},
}
