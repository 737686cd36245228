//! Rules of citizens: who they are, what they may do, and that their guilds agree.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;

use super::act::Due;
use super::values::{CitizenId, Currency, Digest, GuildId, KeyId, Slug, TreasuryId};
use super::{Notes, Nothing, World, city, events};

events! {
    "citizen.registered.v1" => Registered(Registered), ["name"], "an agent, and only an agent, has a registered operator; a treasury opens in the same act";
    "citizen.agent_attached.v1" => AgentAttached(AgentAttached), [], "the agent names this citizen as its operator";
    "citizen.suspended.v1" => Suspended(Suspended), ["reason?"], "not twice for one cause, not after deprovisioning";
    "citizen.reinstated.v1" => Reinstated(Nothing), [], "only from suspended";
    "citizen.deprovisioned.v1" => Deprovisioned(Nothing), ["reason?"], "once";
    "citizen.role_assigned.v1" => RoleAssigned(Role), [], "the role exists and is not held yet";
    "citizen.role_unassigned.v1" => RoleUnassigned(Role), [], "the role was held";
    "citizen.attestation_granted.v1" => AttestationGranted(Attestation), [], "not held yet, for a registered currency";
    "citizen.attestation_withdrawn.v1" => AttestationWithdrawn(Attestation), [], "was held";
    "citizen.guild_joined.v1" => GuildJoined(Guild), [], "the guild counts the citizen as a member when the act ends";
    "citizen.guild_left.v1" => GuildLeft(Guild), [], "the guild does not count the citizen as a member when the act ends";
    "citizen.key_attached.v1" => KeyAttached(Key), [], "the key is this citizen's";
    "citizen.key_detached.v1" => KeyDetached(Key), [], "the key is this citizen's";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Human,
    Agent,
    Service,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct AgentFacts {
    operator: CitizenId,
    model_family: Slug,
    instructions: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    kind: Kind,
    agent: Option<AgentFacts>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAttached {
    agent: CitizenId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Direct,
    Operator,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    cause: Cause,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    role: Slug,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    source: Slug,
    currency: Currency,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guild {
    guild: GuildId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    key: KeyId,
}

/// What is living of a citizen.
#[derive(Debug)]
pub struct Citizen {
    pub kind: Kind,
    pub operator: Option<CitizenId>,
    pub deprovisioned: bool,
    pub suspended: BTreeSet<Cause>,
    pub roles: HashSet<Slug>,
    pub guilds: HashSet<GuildId>,
    pub attests: HashSet<(Slug, Currency)>,
}

impl Citizen {
    pub fn is_active(&self) -> bool {
        !self.deprovisioned && self.suspended.is_empty()
    }
}

impl World {
    /// Whoever answers for this citizen in the end: an agent's operator, and that one's.
    pub fn answers_for(&self, mut citizen: CitizenId) -> CitizenId {
        // It ends: whoever is registered names an operator who was registered before.
        while let Some(operator) = self.citizens.get(&citizen).and_then(|citizen| citizen.operator) {
            citizen = operator;
        }
        citizen
    }
}

pub fn apply(event: &Event, id: CitizenId, world: &mut World, notes: &mut Notes) {
    if let Event::Registered(registered) = event {
        return register(registered, id, world, notes);
    }
    if let Event::RoleAssigned(Role { role }) = event {
        notes.expect(city::role_exists(world, role), || format!("there is no role {role}"));
    }
    if let Event::AttestationGranted(Attestation { currency, .. }) = event {
        notes.expect(world.currencies.contains_key(currency), || format!("the currency {currency} is not registered"));
    }
    let Some(citizen) = world.citizens.get_mut(&id) else {
        return notes.add(format!("{id} was never registered"));
    };
    let position = notes.position;
    match event {
        Event::Registered(_) => {}
        Event::AgentAttached(AgentAttached { agent }) => {
            world.act.due.push((position, Due::AgentOf { agent: *agent, operator: id }));
        }
        Event::Suspended(Suspended { cause }) => {
            notes.expect(!citizen.deprovisioned, || format!("{id} is suspended after being deprovisioned"));
            let new = citizen.suspended.insert(*cause);
            notes.expect(new, || format!("{id} is suspended twice for the same cause"));
        }
        Event::Reinstated(_) => {
            notes.expect(!citizen.suspended.is_empty() && !citizen.deprovisioned, || format!("{id} was not suspended"));
            citizen.suspended.clear();
        }
        Event::Deprovisioned(_) => {
            notes.expect(!citizen.deprovisioned, || format!("{id} is deprovisioned twice"));
            citizen.deprovisioned = true;
            let due = citizen.roles.iter().map(|role| (position, Due::DataAccess { citizen: id, role: role.clone() }));
            world.act.due.extend(due);
            world.act.deprovisioned.push(id);
        }
        Event::RoleAssigned(Role { role }) => {
            world.act.due.push((position, Due::DataAccess { citizen: id, role: role.clone() }));
            let new = citizen.roles.insert(role.clone());
            notes.expect(new, || format!("{id} is assigned the role {role} twice"));
        }
        Event::RoleUnassigned(Role { role }) => {
            world.act.due.push((position, Due::DataAccess { citizen: id, role: role.clone() }));
            let held = citizen.roles.remove(role);
            notes.expect(held, || format!("{id} does not hold the role {role}"));
        }
        Event::AttestationGranted(Attestation { source, currency }) => {
            let new = citizen.attests.insert((source.clone(), *currency));
            notes.expect(new, || format!("{id} is granted the attestation of {currency} from {source} twice"));
        }
        Event::AttestationWithdrawn(Attestation { source, currency }) => {
            let held = citizen.attests.remove(&(source.clone(), *currency));
            notes.expect(held, || format!("{id} does not attest {currency} from {source}"));
        }
        Event::GuildJoined(Guild { guild }) => {
            citizen.guilds.insert(*guild);
            world.act.due.push((position, Due::Membership { citizen: id, guild: *guild }));
        }
        Event::GuildLeft(Guild { guild }) => {
            citizen.guilds.remove(guild);
            world.act.due.push((position, Due::Membership { citizen: id, guild: *guild }));
        }
        Event::KeyAttached(Key { key }) | Event::KeyDetached(Key { key }) => {
            world.act.due.push((position, Due::KeyOf { key: *key, citizen: id }));
        }
    }
}

fn register(Registered { kind, agent }: &Registered, id: CitizenId, world: &mut World, notes: &mut Notes) {
    notes.expect((*kind == Kind::Agent) == agent.is_some(), || {
        "an agent, and only an agent, has an operator".to_owned()
    });
    let operator = agent.as_ref().map(|agent| agent.operator);
    if let Some(operator) = operator {
        notes.expect(world.citizens.contains_key(&operator), || format!("the operator {operator} is not registered"));
    }
    let operator = operator.filter(|operator| world.citizens.contains_key(operator));
    let citizen = Citizen {
        kind: *kind,
        operator,
        deprovisioned: false,
        suspended: BTreeSet::new(),
        roles: HashSet::new(),
        guilds: HashSet::new(),
        attests: HashSet::new(),
    };
    // A second one would not be who it was, and its operator could come after it.
    if world.citizens.contains_key(&id) {
        return notes.add(format!("{id} is registered twice"));
    }
    world.citizens.insert(id, citizen);
    world.act.due.push((notes.position, Due::TreasuryOpened(TreasuryId { 0: id.0 })));
}
