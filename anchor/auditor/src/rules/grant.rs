//! Rules of capabilities: one living grant of a name, chains that only get narrower, ends that take everything below with them.

mod apply;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::Deserialize;

use super::act::Due;
use super::citizen::Kind as CitizenKind;
use super::values::{CitizenId, FromText, GrantId, GuildId, Member, Slug, SquadId, Time, read_text};
use super::{Notes, World, events};

pub use apply::apply;

const MAX_DEPTH: usize = 5;
const MAX_DESCENDANTS: usize = 1000;
const MAX_ACTIONS: usize = 100;
const DAY: i64 = 86_400_000_000;

events! {
    "grant.granted.v1" => Granted(Box<Granted>), ["details?"], "no other living grant of that holder, kind and ref; what was delegated is within what it came from; importers bring back nothing that somebody revoked";
    "grant.delegated.v1" => Delegated(Delegated), [], "the grant named hangs on this one";
    "grant.delegation_ended.v1" => DelegationEnded(DelegationEnded), [], "the grants named have ended";
    "grant.attenuated.v1" => Attenuated(Attenuated), [], "within what it allowed, ending no later";
    "grant.reverification_requested.v1" => ReverificationRequested(Which), [], "it is living and has a source to ask";
    "grant.verified.v1" => Verified(Which), [], "it is living; by the city's own workers or a service";
    "grant.verification_failed.v1" => VerificationFailed(Failed), [], "it is living; by the city's own workers or a service";
    "grant.went_stale.v1" => WentStale(Which), [], "it is living, and was not verified for more than 24 hours";
    "grant.revoked.v1" => Revoked(Ended), ["reason?"], "it was living; nothing below it lives when the act ends";
    "grant.expired.v1" => Expired(Ended), [], "as revoked; by the city only once its time is over";
    "grant.orphaned.v1" => Orphaned(Ended), [], "as revoked; its source does not know it";
    "grant.withheld.v1" => Withheld(Which), ["reason?"], "it ended, its source is imported, and the holder has none of that kind and ref";
    "grant.pruned.v1" => Pruned(Which), [], "ended 30 days ago or more";
}

/// A citizen, a squad or a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    Citizen(CitizenId),
    Squad(SquadId),
    Guild(GuildId),
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Citizen(id) => fmt::Display::fmt(id, formatter),
            Self::Squad(id) => fmt::Display::fmt(id, formatter),
            Self::Guild(id) => fmt::Display::fmt(id, formatter),
        }
    }
}

impl FromText for Holder {
    const EXPECTED: &'static str = "the id of a citizen, a squad or a guild";

    fn from_text(text: &str) -> Option<Self> {
        match Member::from_text(text) {
            Some(Member::Citizen(id)) => Some(Self::Citizen(id)),
            Some(Member::Squad(id)) => Some(Self::Squad(id)),
            None => GuildId::from_text(text).map(Self::Guild),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    Human,
    Agent,
    Service,
    Squad,
    Guild,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityKind {
    Credential,
    Tool,
    Automation,
    Template,
    OauthConnection,
    GuildRole,
    DataAccess,
    McpServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Imported(CapabilityKind),
    Plugins,
    Guild(GuildId),
    City,
    Membership,
    Roles,
}

impl Source {
    pub const fn is_imported(self) -> bool {
        matches!(self, Self::Imported(_) | Self::Plugins)
    }

    const fn is_computed(self) -> bool {
        matches!(self, Self::Membership | Self::Roles)
    }

    fn speaks_of(self, kind: CapabilityKind) -> bool {
        match self {
            Self::Imported(of) => kind == of,
            Self::Plugins => matches!(kind, CapabilityKind::Tool | CapabilityKind::McpServer),
            Self::Membership => kind == CapabilityKind::GuildRole,
            Self::Roles => kind == CapabilityKind::DataAccess,
            Self::Guild(_) | Self::City => !matches!(kind, CapabilityKind::GuildRole | CapabilityKind::DataAccess),
        }
    }

    /// What a grant of this source follows from, if it does from something.
    fn follows(self, holder: Holder, reference: &str) -> Option<Due> {
        match (self, holder, guild_of(reference)) {
            (Self::Membership, Holder::Citizen(id), Some(guild)) => {
                Some(Due::GuildRole { guild, member: Member::Citizen(id) })
            }
            (Self::Membership, Holder::Squad(id), Some(guild)) => {
                Some(Due::GuildRole { guild, member: Member::Squad(id) })
            }
            (Self::Roles, Holder::Citizen(citizen), None) => {
                let role = Slug::from_text(reference.strip_prefix("role/")?)?;
                Some(Due::DataAccess { citizen, role })
            }
            _ => None,
        }
    }

    /// Names that begin with a guild's id and a slash are that guild's, and it has no others.
    fn names(self, reference: &str) -> bool {
        match (self, guild_of(reference)) {
            (Self::Guild(guild), named) => named == Some(guild),
            (Self::Membership, named) => named.is_some(),
            (_, named) => named.is_none(),
        }
    }
}

/// The guild whose id a ref begins with.
fn guild_of(reference: &str) -> Option<GuildId> {
    GuildId::from_text(reference.split_once('/')?.0)
}

impl FromText for Source {
    const EXPECTED: &'static str = "a source of capabilities";

    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "d1:tokens" => Self::Imported(CapabilityKind::Credential),
            "plugin:yaml" => Self::Plugins,
            "ghl:workflows" => Self::Imported(CapabilityKind::Automation),
            "fs:skills" => Self::Imported(CapabilityKind::Template),
            "pg:profile_tool_connections" => Self::Imported(CapabilityKind::OauthConnection),
            "city" => Self::City,
            "membership" => Self::Membership,
            "roles" => Self::Roles,
            guild => Self::Guild(GuildId::from_text(guild)?),
        })
    }
}

/// Uses, and the seconds of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    uses: u32,
    seconds: u32,
}

impl FromText for Rate {
    const EXPECTED: &'static str = "a rate such as 100/h";

    fn from_text(text: &str) -> Option<Self> {
        let (number, window) = text.split_once('/')?;
        let uses: u32 = number.parse().ok().filter(|uses| (1..=1_000_000).contains(uses))?;
        let seconds = match window {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        (uses.to_string() == number).then_some(Self { uses, seconds })
    }
}

macro_rules! deserialize {
    ($($name:ty),*) => {
        $(impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read_text(deserializer)
            }
        })*
    };
}
deserialize!(Holder, Source, Rate);

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    allow_actions: Option<BTreeSet<Box<str>>>,
    #[serde(default)]
    read_only: bool,
    rate_limit: Option<Rate>,
}

impl Scope {
    fn is_within(&self, above: &Self) -> bool {
        let actions = match (&self.allow_actions, &above.allow_actions) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        let rate = match (self.rate_limit, above.rate_limit) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.uses <= theirs.uses && mine.seconds >= theirs.seconds,
        };
        actions && rate && (self.read_only || !above.read_only)
    }

    fn is_short(&self) -> bool {
        self.allow_actions.as_ref().is_none_or(|actions| actions.len() <= MAX_ACTIONS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    holder: Holder,
    grant: GrantId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    grant: GrantId,
    holder: Holder,
    holder_kind: HolderKind,
    kind: CapabilityKind,
    r#ref: Box<str>,
    source: Source,
    #[serde(default)]
    scope: Scope,
    delegable: bool,
    granted_by: Option<CitizenId>,
    expires_at: Option<Time>,
    parent: Option<Link>,
    verified: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    grant: GrantId,
    child: Link,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationEnded {
    grant: GrantId,
    children: Vec<Link>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attenuated {
    grant: GrantId,
    scope: Scope,
    expires_at: Option<Time>,
    #[serde(default)]
    told: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    grant: GrantId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    Unreachable,
    TimedOut,
    Unauthorized,
    RateLimited,
    Malformed,
    Forbidden,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Failed {
    grant: GrantId,
    failure: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Actor,
    Source,
    Ancestor,
    City,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    grant: GrantId,
    by: By,
}

/// A holder, a kind, and the first 16 bytes of the hash of a ref.
type Name = (Holder, CapabilityKind, u128);

/// A scope and an end that are somebody's word.
#[derive(Debug, Clone, Default)]
struct Left {
    scope: Scope,
    end: Option<Time>,
}

/// What somebody said of a name.
#[derive(Debug)]
enum Word {
    /// It was taken away.
    Nothing,
    /// It was narrowed, or given with limits.
    AtMost(Left),
}

/// A living grant.
#[derive(Debug)]
struct Grant {
    name: Name,
    source: Source,
    scope: Scope,
    delegable: bool,
    expires_at: Option<Time>,
    parent: Option<GrantId>,
    children: HashSet<GrantId>,
    fresh_since: Time,
    stale: bool,
    /// What somebody left of it.
    left: Option<Box<Left>>,
    /// What a computed one agrees with whenever it begins or ends.
    follows: Option<Box<Due>>,
}

/// A grant that ended.
#[derive(Debug)]
struct Gone {
    at: Time,
    name: Name,
    source: Source,
}

/// What is counted of a holder's living grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counted {
    /// Roles in guilds: while a squad has one, it is there.
    GuildRoles,
    /// Granted by this guild.
    From(GuildId),
}

impl Grant {
    fn counted(&self) -> impl Iterator<Item = (Holder, Counted)> {
        let holder = self.name.0;
        let role = (self.source == Source::Membership).then_some(Counted::GuildRoles);
        let from = match self.source {
            Source::Guild(guild) if self.parent.is_none() => Some(Counted::From(guild)),
            _ => None,
        };
        [role, from].into_iter().flatten().map(move |counted| (holder, counted))
    }
}

/// The capabilities of everybody.
#[derive(Debug, Default)]
pub struct Inventories {
    living: HashMap<GrantId, Grant>,
    names: HashMap<Name, GrantId>,
    counts: HashMap<(Holder, Counted), u64>,
    /// What somebody said of what ended since, of each source's: not for importers to undo.
    words: HashMap<Name, HashMap<Source, Word>>,
    /// Until they are pruned.
    ended: HashMap<GrantId, Gone>,
    /// From the first grant on, memberships and roles have theirs. Logs that are older than capabilities begin without any.
    kept: bool,
}

fn hash(text: &str) -> u128 {
    let digest = chain::hash::sha256(&[text.as_bytes()]).0;
    u128::from_be_bytes(digest[..16].try_into().unwrap_or_default())
}

impl Inventories {
    /// Whether this membership's or role's grant is there exactly if it should be.
    fn count(&self, holder: Holder, counted: Counted) -> u64 {
        self.counts.get(&(holder, counted)).copied().unwrap_or(0)
    }

    fn add(&mut self, id: GrantId, grant: Grant) {
        for counted in grant.counted() {
            *self.counts.entry(counted).or_default() += 1;
        }
        self.living.insert(id, grant);
    }

    fn remove(&mut self, id: GrantId) -> Option<Grant> {
        let grant = self.living.remove(&id)?;
        for counted in grant.counted() {
            if let Some(count) = self.counts.get_mut(&counted) {
                *count -= 1;
            }
        }
        self.names.remove(&grant.name);
        Some(grant)
    }

    fn agrees(&self, holder: Holder, kind: CapabilityKind, reference: &str, wanted: bool) -> bool {
        !self.kept || self.names.contains_key(&(holder, kind, hash(reference))) == wanted
    }
}

impl World {
    /// An active member has the role of their rank.
    pub fn settle_guild_role(&self, guild: GuildId, member: Member, notes: &mut Notes) {
        let Some(state) = self.guilds.get(&guild) else { return };
        let holder = match member {
            Member::Citizen(id) => Holder::Citizen(id),
            Member::Squad(id) => Holder::Squad(id),
        };
        let active = state.active_rank(member);
        for rank in state.rank_names() {
            let agrees = self.inventories.agrees(
                holder,
                CapabilityKind::GuildRole,
                &format!("{guild}/{rank}"),
                active == Some(rank),
            );
            notes.expect(agrees, || {
                format!("the inventory of {member} does not agree about the rank {rank} in {guild}")
            });
        }
        let left = active.is_none() && self.inventories.count(holder, Counted::From(guild)) > 0;
        notes.expect(!left, || format!("{member} is no active member of {guild} and has what it granted"));
    }

    /// A guild grants to itself and to its active members.
    pub fn settle_inside(&self, guild: GuildId, holder: Holder, notes: &mut Notes) {
        let active = |member| self.guilds.get(&guild).is_some_and(|guild| guild.active_rank(member).is_some());
        let inside = match holder {
            Holder::Guild(id) => id == guild,
            Holder::Citizen(id) => active(Member::Citizen(id)),
            Holder::Squad(id) => active(Member::Squad(id)),
        };
        notes.expect(inside, || format!("{guild} grants to {holder}, who is no active member"));
    }

    /// Whoever is gone gets nothing any more.
    fn is_gone(&self, holder: Holder) -> bool {
        match holder {
            Holder::Citizen(id) => self.citizens.get(&id).is_some_and(|citizen| citizen.deprovisioned),
            Holder::Guild(id) => self.guilds.get(&id).is_some_and(|guild| guild.is_dissolved()),
            Holder::Squad(_) => false,
        }
    }

    /// A citizen who has a role has its data access.
    pub fn settle_data_access(&self, citizen: CitizenId, role: &Slug, notes: &mut Notes) {
        let Some(state) = self.citizens.get(&citizen) else { return };
        let wanted = !state.deprovisioned && state.roles.contains(role);
        let (holder, reference) = (Holder::Citizen(citizen), format!("role/{role}"));
        let agrees = self.inventories.agrees(holder, CapabilityKind::DataAccess, &reference, wanted);
        notes.expect(agrees, || format!("the inventory of {citizen} does not agree about the role {role}"));
    }

    pub fn settle_holder(&self, holder: Holder, kind: HolderKind, notes: &mut Notes) {
        let fits = match holder {
            Holder::Citizen(id) => self.citizens.get(&id).is_some_and(|citizen| {
                matches!(
                    (citizen.kind, kind),
                    (CitizenKind::Human, HolderKind::Human)
                        | (CitizenKind::Agent, HolderKind::Agent)
                        | (CitizenKind::Service, HolderKind::Service)
                )
            }),
            Holder::Guild(id) => kind == HolderKind::Guild && self.guilds.contains_key(&id),
            Holder::Squad(_) => kind == HolderKind::Squad && self.inventories.count(holder, Counted::GuildRoles) > 0,
        };
        notes.expect(fits, || "the holder of a grant is not there, or of another kind".to_owned());
    }

    /// Everything below a grant that ended has ended.
    pub fn settle_descendants(&self, ended: &[GrantId], notes: &mut Notes) {
        for grant in ended {
            let left = self.inventories.living.contains_key(grant);
            notes.expect(!left, || format!("{grant} lives on below a grant that ended"));
        }
    }
}
