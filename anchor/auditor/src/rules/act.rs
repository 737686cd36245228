//! One act: the entries of one command, which stand together, and what must be true once they all are there.

use std::collections::BTreeSet;

use super::governance::Class;
use super::grant::{Holder, HolderKind};
use super::reputation::Opinion;
use super::treasury::{Movement, Role};
use super::values::{
    Account, CitizenId, GrantId, GuildId, HoldId, KeyId, Member, ProposalId, Slug, Stream, TreasuryId,
};
use super::{Actor, Entry, Notes, World};

/// What an act owes before it ends.
#[derive(Debug, Clone)]
pub enum Due {
    TreasuryOpened(TreasuryId),
    OwnerExists(TreasuryId),
    AgentOf {
        agent: CitizenId,
        operator: CitizenId,
    },
    KeyOf {
        key: KeyId,
        citizen: CitizenId,
    },
    /// The citizen's list of guilds and the guild's list of members agree.
    Membership {
        citizen: CitizenId,
        guild: GuildId,
    },
    /// Parent and child name each other, without a cycle, not too deep.
    Family {
        child: GuildId,
    },
    Parted {
        child: GuildId,
        parent: GuildId,
    },
    /// A decision of the guild, or the end of the citizen in the city.
    RemovalDecided {
        guild: GuildId,
        citizen: Option<CitizenId>,
    },
    Dissolved(GuildId),
    HolderOf {
        holder: Holder,
        kind: HolderKind,
    },
    /// The inventory agrees with the membership.
    GuildRole {
        guild: GuildId,
        member: Member,
    },
    /// The inventory agrees with the roles.
    DataAccess {
        citizen: CitizenId,
        role: Slug,
    },
    /// The grant above, or the first of the chain, says that this one hangs on it.
    DelegationNoted(GrantId),
    DescendantsEnded(Vec<GrantId>),
    /// What a guild grants goes to itself and its active members.
    Inside {
        guild: GuildId,
        holder: Holder,
    },
}

/// Money that left a hold and must leave the balance in the same act.
#[derive(Debug)]
pub struct Capture {
    pub position: u64,
    pub treasury: TreasuryId,
    pub hold: HoldId,
    pub amount: i128,
    /// What the hold still promised to whom.
    pub payees: Vec<(Account, Role, i128)>,
}

/// What the present act has done so far.
#[derive(Debug, Default)]
pub struct Act {
    command: Option<Box<str>>,
    pub due: Vec<(u64, Due)>,
    pub decided: Vec<(GuildId, Class)>,
    pub founded: Vec<GuildId>,
    pub deprovisioned: Vec<CitizenId>,
    /// Citizens who must be registered when it ends.
    pub registered: Vec<(u64, CitizenId)>,
    pub principal_left: bool,
    pub movements: Vec<Movement>,
    pub captures: Vec<Capture>,
    /// Proposals on whose ground something was decided.
    pub passed: Vec<ProposalId>,
    /// Proposals closed as passed: what they asked for.
    pub closed: Vec<(ProposalId, Box<str>, Class)>,
    /// Opinions that were given and are not evidence yet, with where they were given.
    pub opinions: Vec<(u64, Opinion)>,
    /// Grants that another says hang on it.
    pub delegated: BTreeSet<GrantId>,
    /// Guilds whose members, ranks or proposals changed.
    pub touched: BTreeSet<GuildId>,
}

impl Act {
    /// Whether `entry` begins another act.
    pub fn is_over(&self, entry: &Entry) -> bool {
        self.command.as_deref() != Some(&*entry.command)
    }

    pub fn has_decided(&self, guild: GuildId, class: Class) -> bool {
        self.founded.contains(&guild) || self.decided.contains(&(guild, class))
    }

    fn clear(&mut self) {
        self.due.clear();
        self.decided.clear();
        self.founded.clear();
        self.deprovisioned.clear();
        self.registered.clear();
        self.principal_left = false;
        self.movements.clear();
        self.captures.clear();
        self.passed.clear();
        self.closed.clear();
        self.opinions.clear();
        self.delegated.clear();
        self.touched.clear();
    }
}

impl World {
    /// Checks who acts: an active citizen of that kind, with a key of their own that works.
    pub fn begin_act(&mut self, entry: &Entry, notes: &mut Notes) {
        self.act.command = Some(entry.command.clone());
        // The machinery speaks for itself, and refusals say exactly who was not allowed.
        if matches!(entry.stream, Stream::Log | Stream::Refusals) {
            return;
        }
        let Actor::Citizen { kind, id } = entry.actor else { return };
        let Some(citizen) = self.citizens.get(&id) else {
            return notes.add(format!("the actor {id} is not registered"));
        };
        notes.expect(citizen.kind == kind, || format!("the actor {id} is of another kind"));
        notes.expect(citizen.is_active(), || format!("the actor {id} is not active"));
        let Some(via) = entry.via else { return };
        match self.keys.get(&via) {
            None => notes.add(format!("the credential {via} was never issued")),
            Some(key) => {
                notes.expect(key.citizen == id, || format!("the credential {via} is not one of {id}"));
                notes.expect(key.works_at(entry.at), || format!("the credential {via} is revoked or expired"));
            }
        }
    }

    /// Checks what the act owed.
    pub fn end_act(&mut self, notes: &mut Notes) {
        for (position, due) in std::mem::take(&mut self.act.due) {
            notes.position = position;
            self.settle(&due, notes);
        }
        for (position, citizen) in &self.act.registered {
            if !self.citizens.contains_key(citizen) {
                notes.at(*position, format!("{citizen} is not registered"));
            }
        }
        for movement in &self.act.movements {
            movement.complete(notes);
        }
        for capture in &self.act.captures {
            notes.at(capture.position, format!("{} of {} is captured but never paid", capture.hold, capture.treasury));
        }
        for (position, Opinion { giver, to, .. }) in &self.act.opinions {
            notes.at(*position, format!("the opinion that {giver} gave of {to} is no evidence"));
        }
        if self.act.principal_left && self.principals.is_empty() {
            notes.add("the city is left without a principal");
        }
        for guild in std::mem::take(&mut self.act.touched) {
            self.check_guild(guild, notes);
        }
        self.act.clear();
    }

    fn settle(&self, due: &Due, notes: &mut Notes) {
        match due {
            Due::TreasuryOpened(id) => {
                notes.expect(self.treasuries.contains_key(id), || {
                    format!("the treasury {id} is not opened in the same act")
                });
            }
            Due::OwnerExists(id) => {
                let owner = self.treasuries.get(id).and_then(|treasury| treasury.owner);
                let exists = owner.is_some_and(|owner| owner.exists(self));
                notes.expect(exists, || format!("the owner of {id} does not exist"));
            }
            Due::AgentOf { agent, operator } => {
                let fits = self.citizens.get(agent).is_some_and(|agent| agent.operator == Some(*operator));
                notes.expect(fits, || format!("{agent} does not name {operator} as its operator"));
            }
            Due::KeyOf { key, citizen } => {
                let fits = self.keys.get(key).is_some_and(|key| key.citizen == *citizen);
                notes.expect(fits, || format!("{key} is not a key of {citizen}"));
            }
            Due::Membership { citizen, guild } => self.settle_membership(*citizen, *guild, notes),
            Due::Family { child } => self.settle_family(*child, notes),
            Due::Parted { child, parent } => {
                let still = self.guilds.get(parent).is_some_and(|parent| parent.children.contains(child))
                    || self.guilds.get(child).is_some_and(|child| child.parent == Some(*parent));
                notes.expect(!still, || format!("{child} and {parent} do not agree that they parted"));
            }
            Due::RemovalDecided { guild, citizen } => {
                let by_city = citizen.is_some_and(|citizen| self.act.deprovisioned.contains(&citizen));
                let decided = by_city || self.act.has_decided(*guild, Class::Membership);
                notes.expect(decided, || format!("{guild} removes a member without a recorded decision"));
            }
            Due::HolderOf { holder, kind } => self.settle_holder(*holder, *kind, notes),
            Due::GuildRole { guild, member } => self.settle_guild_role(*guild, *member, notes),
            Due::DataAccess { citizen, role } => self.settle_data_access(*citizen, role, notes),
            Due::DelegationNoted(grant) => {
                let noted = self.act.delegated.contains(grant);
                notes.expect(noted, || format!("the grant above {grant} does not say that it hangs on it"));
            }
            Due::DescendantsEnded(grants) => self.settle_descendants(grants, notes),
            Due::Inside { guild, holder } => self.settle_inside(*guild, *holder, notes),
            Due::Dissolved(guild) => {
                let treasury = self.treasuries.get(&TreasuryId { 0: guild.0 });
                let empty = treasury.is_none_or(|treasury| treasury.is_empty());
                notes.expect(empty, || format!("{guild} is dissolved with money left or set aside"));
            }
        }
    }

    fn settle_membership(&self, citizen: CitizenId, guild_id: GuildId, notes: &mut Notes) {
        let Some(guild) = self.guilds.get(&guild_id) else {
            return notes.add(format!("there is no guild {guild_id}"));
        };
        let listed = self.citizens.get(&citizen).is_some_and(|citizen| citizen.guilds.contains(&guild_id));
        let member = guild.is_living_member(citizen);
        notes.expect(listed == member || guild.is_dissolved(), || {
            format!("{citizen} and {guild_id} do not agree about the membership")
        });
    }

    fn settle_family(&self, child: GuildId, notes: &mut Notes) {
        let parent = self.guilds.get(&child).and_then(|guild| guild.parent);
        let mutual =
            parent.and_then(|parent| self.guilds.get(&parent)).is_some_and(|parent| parent.children.contains(&child));
        if !notes.expect(mutual, || format!("{child} and its parent do not name each other")) {
            return;
        }
        let mut above = parent;
        let mut levels = 0;
        while let Some(id) = above.filter(|id| *id != child && levels <= super::guild::MAX_DEPTH) {
            levels += 1;
            above = self.guilds.get(&id).and_then(|guild| guild.parent);
        }
        if notes.expect(above != Some(child), || format!("{child} is its own ancestor")) {
            let depth = levels + self.height(child, 0);
            notes.expect(depth <= super::guild::MAX_DEPTH, || format!("the hierarchy around {child} is deeper than 8"));
        }
    }

    /// Levels from a guild down to its deepest descendant, itself included; stops counting past the limit.
    fn height(&self, guild: GuildId, above: usize) -> usize {
        if above > super::guild::MAX_DEPTH {
            return 1;
        }
        let children = self.guilds.get(&guild).map(|guild| &guild.children);
        1 + children.into_iter().flatten().map(|child| self.height(*child, above + 1)).max().unwrap_or(0)
    }

    /// Notes a missing decision of the guild that owns a treasury, or of the guild itself.
    pub fn needs_decision(&self, guild: GuildId, class: Class, what: &str, notes: &mut Notes) {
        notes.expect(self.act.has_decided(guild, class), || format!("{what} without a recorded decision of {guild}"));
    }
}
