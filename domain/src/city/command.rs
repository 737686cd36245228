//! What can be asked of the city as a whole.

use serde::{Deserialize, Serialize};

use crate::grant::kind::{CapabilityKind, Source};
use crate::grant::scope::{Action, Effect};
use crate::guild::command::command;
use crate::ids::{CitizenId, KeyId, Slug};
use crate::money::Currency;
use crate::party::Tier;
use crate::text::{Digest, Text};

command! {
    /// First start only, by the city itself: registers the first principal and their key.
    FoundCity { name: Text, key: KeyId, verifier: Digest }
    RegisterCurrency { currency: Currency, scale: u8 }
    /// A role beside the nine seed roles: a tier, and actions beyond that tier's own (closed list).
    DefineRole { role: Slug, tier: Tier, #[serde(default)] actions: Vec<String>, #[serde(default)] mfa_required: bool }
    /// Who may grant from an imported source by hand. Absent: nobody but importers.
    AssignSource {
        source: Source,
        #[serde(default, skip_serializing_if = "Option::is_none")] owner: Option<CitizenId>,
    }
    /// Whether an action with capabilities of a kind reads or writes. What is not registered counts as writing.
    RegisterAction { kind: CapabilityKind, action: Action, effect: Effect }
}
