//! What can be asked about a citizen.

use serde::{Deserialize, Serialize};

use super::event::AgentFacts;
use crate::guild::command::command;
use crate::ids::{CitizenId, Slug};
use crate::money::Currency;
use crate::party::CitizenKind;
use crate::text::Text;

command! {
    /// Registers a human, an agent (with its operator, model family and instructions digest) or a service.
    RegisterCitizen {
        kind: CitizenKind,
        name: Text,
        #[serde(default, skip_serializing_if = "Option::is_none")] agent: Option<AgentFacts>,
    }
    SuspendCitizen {
        citizen: CitizenId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    ReinstateCitizen { citizen: CitizenId }
    DeprovisionCitizen {
        citizen: CitizenId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    AssignRole { citizen: CitizenId, role: Slug }
    UnassignRole { citizen: CitizenId, role: Slug }
    GrantAttestation { citizen: CitizenId, source: Slug, currency: Currency }
    WithdrawAttestation { citizen: CitizenId, source: Slug, currency: Currency }
}
