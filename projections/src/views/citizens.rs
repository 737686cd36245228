//! `citizens`: who lives here, with roles and attestations; names as commitments.

use std::collections::BTreeSet;

use domain::citizen::event::CitizenEvent;
use domain::ids::{CitizenId, Slug};
use domain::money::Currency;
use domain::text::{Digest, Sealed};
use domain::time::Time;

use crate::field::{Json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    Citizen in "citizens" by (citizen: CitizenId) {
        kind: String,
        name: Json<Sealed>,
        status: String,
        operator: Option<CitizenId>,
        model_family: Option<Slug>,
        instructions: Option<Digest>,
        roles: Json<BTreeSet<Slug>>,
        attestations: Json<BTreeSet<(Slug, Currency)>>,
        registered_at: Time,
        position: u64,
    }
}

pub(super) fn fold(citizens: &mut Sheet<Citizen>, recorded: &Recorded, citizen: CitizenId, event: &CitizenEvent) {
    let mut change = |change: &dyn Fn(&mut Citizen)| citizens.change(&(citizen,), change);
    match event {
        CitizenEvent::Registered { kind, name, agent } => citizens.put(Citizen {
            citizen,
            kind: word(kind),
            name: Json(name.clone()),
            status: "active".to_owned(),
            operator: agent.as_ref().map(|agent| agent.operator),
            model_family: agent.as_ref().map(|agent| agent.model_family.clone()),
            instructions: agent.as_ref().map(|agent| agent.instructions),
            roles: Json::default(),
            attestations: Json::default(),
            registered_at: recorded.at,
            position: recorded.position,
        }),
        CitizenEvent::Suspended { .. } => change(&|row| "suspended".clone_into(&mut row.status)),
        CitizenEvent::Reinstated {} => change(&|row| "active".clone_into(&mut row.status)),
        CitizenEvent::Deprovisioned { .. } => change(&|row| "deprovisioned".clone_into(&mut row.status)),
        CitizenEvent::RoleAssigned { role } => change(&|row| {
            row.roles.0.insert(role.clone());
        }),
        CitizenEvent::RoleUnassigned { role } => change(&|row| {
            row.roles.0.remove(role);
        }),
        CitizenEvent::AttestationGranted { source, currency } => change(&|row| {
            row.attestations.0.insert((source.clone(), currency.clone()));
        }),
        CitizenEvent::AttestationWithdrawn { source, currency } => change(&|row| {
            row.attestations.0.remove(&(source.clone(), currency.clone()));
        }),
        // Told by the agent's, the guild's and the key's own events.
        CitizenEvent::AgentAttached { .. }
        | CitizenEvent::GuildJoined { .. }
        | CitizenEvent::GuildLeft { .. }
        | CitizenEvent::KeyAttached { .. }
        | CitizenEvent::KeyDetached { .. } => {}
    }
}
