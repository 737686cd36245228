//! What can have happened to the city as a whole.

use serde::{Deserialize, Serialize};

use crate::grant::kind::{CapabilityKind, Source};
use crate::grant::scope::{Action, Effect};
use crate::ids::{CitizenId, Slug};
use crate::money::Currency;
use crate::party::Tier;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum CityEvent {
    /// Once, at the first start: who the first principal is.
    #[serde(rename = "city.founded.v1")]
    Founded { principal: CitizenId },
    #[serde(rename = "city.currency_registered.v1")]
    CurrencyRegistered { currency: Currency, scale: u8 },
    #[serde(rename = "city.role_defined.v1")]
    RoleDefined { role: Slug, tier: Tier, actions: Vec<String>, mfa_required: bool },
    /// Absent owner: only importers grant from it.
    #[serde(rename = "city.source_assigned.v1")]
    SourceAssigned {
        source: Source,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<CitizenId>,
    },
    #[serde(rename = "city.action_registered.v1")]
    ActionRegistered { kind: CapabilityKind, action: Action, effect: Effect },
    /// Reaction: an active principal came or went.
    #[serde(rename = "city.principal_changed.v1")]
    PrincipalChanged { citizen: CitizenId, active: bool },
}
