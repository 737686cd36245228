//! One citizen folded from their events.

use imbl::OrdSet;

use super::event::{AgentFacts, CitizenEvent, SuspensionCause};
use crate::ids::{CitizenId, GuildId, KeyId, Slug};
use crate::money::Currency;
use crate::party::CitizenKind;
use crate::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Status {
    #[default]
    Absent,
    Active,
    Suspended(SuspensionCause),
    Deprovisioned,
}

/// The default is a citizen who was never registered.
#[derive(Debug, Clone, Default)]
pub struct Citizen {
    status: Status,
    kind: Option<CitizenKind>,
    facts: Option<AgentFacts>,
    agents: OrdSet<CitizenId>,
    roles: OrdSet<Slug>,
    attestations: OrdSet<(Slug, Currency)>,
    guilds: OrdSet<GuildId>,
    keys: OrdSet<KeyId>,
}

impl Citizen {
    pub fn exists(&self) -> bool {
        self.status != Status::Absent
    }

    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }

    /// Why the citizen is suspended; `None` when they are not.
    pub const fn suspension(&self) -> Option<SuspensionCause> {
        match self.status {
            Status::Suspended(cause) => Some(cause),
            _ => None,
        }
    }

    pub fn is_deprovisioned(&self) -> bool {
        self.status == Status::Deprovisioned
    }

    pub fn kind(&self) -> CitizenKind {
        self.kind.expect("a citizen is asked about only once they exist")
    }

    pub fn operator(&self) -> Option<CitizenId> {
        self.facts.as_ref().map(|facts| facts.operator)
    }

    /// What only an agent has: its operator, model family and instructions digest.
    pub const fn agent_facts(&self) -> Option<&AgentFacts> {
        self.facts.as_ref()
    }

    /// The agents that this citizen operates, whatever their status.
    pub const fn agents(&self) -> &OrdSet<CitizenId> {
        &self.agents
    }

    pub const fn roles(&self) -> &OrdSet<Slug> {
        &self.roles
    }

    pub fn may_attest(&self, source: &Slug, currency: &Currency) -> bool {
        self.attestations.contains(&(source.clone(), currency.clone()))
    }

    /// The guilds with a living membership of theirs.
    pub const fn guilds(&self) -> &OrdSet<GuildId> {
        &self.guilds
    }

    /// Keys that were issued and not revoked; some may have expired since.
    pub const fn keys(&self) -> &OrdSet<KeyId> {
        &self.keys
    }

    pub fn evolve(&mut self, event: &CitizenEvent, _at: Time) {
        match event {
            CitizenEvent::Registered { kind, name: _, agent } => {
                self.status = Status::Active;
                self.kind = Some(*kind);
                self.facts = agent.clone();
            }
            CitizenEvent::AgentAttached { agent } => {
                self.agents.insert(*agent);
            }
            CitizenEvent::Suspended { cause, reason: _ } => self.status = Status::Suspended(*cause),
            CitizenEvent::Reinstated {} => self.status = Status::Active,
            CitizenEvent::Deprovisioned { reason: _ } => {
                self.status = Status::Deprovisioned;
                self.keys.clear();
            }
            CitizenEvent::RoleAssigned { role } => {
                self.roles.insert(role.clone());
            }
            CitizenEvent::RoleUnassigned { role } => {
                self.roles.remove(role);
            }
            CitizenEvent::AttestationGranted { source, currency } => {
                self.attestations.insert((source.clone(), currency.clone()));
            }
            CitizenEvent::AttestationWithdrawn { source, currency } => {
                self.attestations.remove(&(source.clone(), currency.clone()));
            }
            CitizenEvent::GuildJoined { guild } => {
                self.guilds.insert(*guild);
            }
            CitizenEvent::GuildLeft { guild } => {
                self.guilds.remove(guild);
            }
            CitizenEvent::KeyAttached { key } => {
                self.keys.insert(*key);
            }
            CitizenEvent::KeyDetached { key } => {
                self.keys.remove(key);
            }
        }
    }
}
