//! Rules of capabilities: one living grant of a name, chains that only get narrower, ends that take everything below with them.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use super::act::Due;
use super::citizen::Kind as CitizenKind;
use super::governance::Class;
use super::values::{CitizenId, FromText, GrantId, GuildId, InventoryId, Member, Slug, SquadId, Time, read_text};
use super::{Actor, Entry, Notes, World, events};

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
    "grant.pruned.v1" => Pruned(Which), [], "ended 30 days ago or more";
}

/// A citizen, a squad or a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    Citizen(CitizenId),
    Squad(SquadId),
    Guild(GuildId),
}

impl Holder {
    const fn bits(self) -> u128 {
        match self {
            Self::Citizen(id) => id.0,
            Self::Squad(id) => id.0,
            Self::Guild(id) => id.0,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Debug, Clone, Default, Deserialize)]
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
}

/// The capabilities of everybody.
#[derive(Debug, Default)]
pub struct Inventories {
    living: HashMap<GrantId, Grant>,
    names: HashMap<Name, GrantId>,
    /// Revoked by somebody: not for importers to bring back.
    withheld: HashSet<Name>,
    /// Since when; until they are pruned.
    ended: HashMap<GrantId, Time>,
    /// From the first grant on, memberships and roles have theirs. Logs that are older than capabilities begin without any.
    kept: bool,
}

fn hash(text: &str) -> u128 {
    let digest = chain::hash::sha256(&[text.as_bytes()]).0;
    u128::from_be_bytes(digest[..16].try_into().unwrap_or_default())
}

impl Inventories {
    /// Whether this membership's or role's grant is there exactly if it should be.
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
            Holder::Squad(_) => kind == HolderKind::Squad,
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

pub fn apply(event: &Event, id: InventoryId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    if let Event::Granted(granted) = event {
        return begin(granted, id, entry, world, notes);
    }
    if let Event::Pruned(Which { grant }) = event {
        let ended = world.inventories.ended.remove(grant);
        let due = ended.is_some_and(|ended| ended.0 + 30 * DAY <= entry.at.0);
        notes.expect(due, || format!("{grant} is pruned, and did not end 30 days ago"));
        return;
    }
    let which = match event {
        Event::Granted(_) | Event::Pruned(_) => return,
        Event::Delegated(Delegated { grant, .. })
        | Event::DelegationEnded(DelegationEnded { grant, .. })
        | Event::Attenuated(Attenuated { grant, .. })
        | Event::ReverificationRequested(Which { grant })
        | Event::Verified(Which { grant })
        | Event::VerificationFailed(Failed { grant, .. })
        | Event::WentStale(Which { grant })
        | Event::Revoked(Ended { grant, .. })
        | Event::Expired(Ended { grant, .. })
        | Event::Orphaned(Ended { grant, .. }) => *grant,
    };
    let Some(grant) = world.inventories.living.get(&which) else {
        return notes.add(format!("{which} is not living"));
    };
    notes.expect(grant.name.0.bits() == id.0, || format!("{which} belongs to another inventory"));
    match event {
        Event::Revoked(Ended { by, .. }) | Event::Expired(Ended { by, .. }) | Event::Orphaned(Ended { by, .. }) => {
            let timed = matches!((event, by), (Event::Expired(_), By::City));
            let over = grant.expires_at.is_some_and(|end| end <= entry.at);
            notes.expect(!timed || over, || format!("{which} expires before its time"));
            let fits = match event {
                Event::Revoked(_) => true,
                Event::Expired(_) => matches!(by, By::City | By::Source),
                _ => *by == By::Source,
            };
            notes.expect(fits, || format!("{which} does not end like that by {by:?}"));
            end(which, event, *by, entry, world, notes);
        }
        _ => change(which, event, entry, world, notes),
    }
}

fn change(which: GrantId, event: &Event, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let verifier = matches!(entry.actor, Actor::System | Actor::Citizen { kind: CitizenKind::Service, .. });
    match event {
        Event::Delegated(Delegated { child, .. }) => {
            let hangs = above(world, child.grant).any(|above| above == which);
            notes.expect(hangs, || format!("{} does not hang on {which}", child.grant));
            world.act.delegated.insert(child.grant);
        }
        Event::DelegationEnded(DelegationEnded { children, .. }) => {
            for child in children {
                let living = world.inventories.living.contains_key(&child.grant);
                notes.expect(!living, || format!("{} has not ended", child.grant));
            }
        }
        Event::VerificationFailed(_) => {
            notes.expect(verifier, || "only verifiers say what a source could not".to_owned());
        }
        _ => {}
    }
    let Some(grant) = world.inventories.living.get_mut(&which) else { return };
    let asked = grant.source.is_imported() && grant.parent.is_none();
    match event {
        Event::Attenuated(Attenuated { scope, expires_at, .. }) => {
            let later = grant.expires_at.is_some_and(|end| expires_at.is_none_or(|wanted| wanted > end));
            notes.expect(scope.is_within(&grant.scope) && !later, || format!("{which} gets wider"));
            notes.expect(scope.is_short(), || format!("{which} lists more than {MAX_ACTIONS} actions"));
            grant.scope = scope.clone();
            grant.expires_at = *expires_at;
        }
        Event::ReverificationRequested(_) => {
            notes.expect(asked, || format!("{which} has no source to ask"));
        }
        Event::Verified(_) => {
            notes.expect(verifier, || "only verifiers say what a source has".to_owned());
            grant.fresh_since = entry.at;
            grant.stale = false;
        }
        Event::WentStale(_) => {
            let old = entry.at.0 - grant.fresh_since.0 > DAY;
            notes.expect(old && !grant.stale, || format!("{which} goes stale before its time, or twice"));
            grant.stale = true;
        }
        _ => {}
    }
}

fn begin(granted: &Granted, id: InventoryId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let Granted { grant: which, holder, kind, source, scope, parent, expires_at, .. } = granted;
    let position = notes.position;
    let name = (*holder, *kind, hash(&granted.r#ref));
    world.inventories.kept = true;
    notes.expect(holder.bits() == id.0, || format!("{which} begins in another holder's inventory"));
    let now = u128::try_from(entry.at.0.div_euclid(1000)).unwrap_or(0);
    notes.expect(which.millis() == now, || format!("the id of the new grant {which} is not of this moment"));
    notes.expect(source.speaks_of(*kind), || format!("the source of {which} does not speak of such capabilities"));
    notes.expect(scope.is_short(), || format!("{which} lists more than {MAX_ACTIONS} actions"));
    notes.expect(expires_at.is_none_or(|end| end > entry.at), || format!("{which} begins after its end"));
    world.act.due.push((position, Due::HolderOf { holder: *holder, kind: granted.holder_kind }));
    match parent {
        Some(parent) => delegate(granted, parent, name, entry, world, notes),
        None => authorize(granted, name, entry, world, notes),
    }
    if let Some(living) = world.inventories.names.insert(name, *which) {
        notes.add(format!("{which} begins beside {living}, which is living and has the same holder, kind and ref"));
    }
    world.inventories.withheld.remove(&name);
    let grant = Grant {
        name,
        source: *source,
        scope: scope.clone(),
        delegable: granted.delegable,
        expires_at: *expires_at,
        parent: parent.map(|link| link.grant),
        children: HashSet::new(),
        fresh_since: entry.at,
        stale: false,
    };
    world.inventories.living.insert(*which, grant);
}

/// What was not handed on by somebody: from its source, with that source's authority.
fn authorize(granted: &Granted, name: Name, entry: &Entry, world: &World, notes: &mut Notes) {
    let Granted { grant: which, source, granted_by, verified, .. } = granted;
    let told = granted_by.is_none();
    notes
        .expect(told == *verified, || format!("{which} counts as verified without its source, or the other way round"));
    if told {
        notes.expect(source.is_imported() || source.is_computed(), || format!("{which} is granted by nobody"));
        notes.expect(!world.inventories.withheld.contains(&name), || {
            format!("{which} was revoked, and is imported again")
        });
        return;
    }
    notes.expect(!source.is_computed(), || format!("{which} follows from nothing"));
    is_actor(*granted_by, entry, which, notes);
    if let Source::Guild(guild) = source {
        world.needs_decision(*guild, Class::Work, "a guild grants a capability", notes);
    }
}

fn is_actor(granted_by: Option<CitizenId>, entry: &Entry, which: &GrantId, notes: &mut Notes) {
    let actor = match entry.actor {
        Actor::Citizen { id, .. } => Some(id),
        Actor::System => None,
    };
    notes.expect(granted_by == actor, || format!("{which} is granted by somebody else than the actor"));
}

fn delegate(granted: &Granted, parent: &Link, name: Name, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let which = granted.grant;
    is_actor(granted.granted_by, entry, &which, notes);
    let depth = 2 + above(world, parent.grant).count();
    notes.expect(depth <= MAX_DEPTH, || format!("{which} is deeper than {MAX_DEPTH} grants"));
    let top = above(world, parent.grant).last().unwrap_or(parent.grant);
    let Some(above) = world.inventories.living.get_mut(&parent.grant) else {
        return notes.add(format!("{which} is delegated from {}, which is not living", parent.grant));
    };
    let same = above.name.0 == parent.holder && (above.name.1, above.name.2) == (name.1, name.2);
    notes.expect(same && above.source == granted.source, || {
        format!("{which} is another capability than the one above it")
    });
    notes.expect(above.delegable, || format!("{} may not be handed on", parent.grant));
    let later = above.expires_at.is_some_and(|end| granted.expires_at.is_none_or(|wanted| wanted > end));
    let within = granted.scope.is_within(&above.scope) && !later;
    notes.expect(within, || format!("{which} is wider than the grant above it"));
    above.children.insert(which);
    let below = below(world, top).len();
    notes.expect(below <= MAX_DESCENDANTS, || format!("more than {MAX_DESCENDANTS} grants hang on {top}"));
    world.act.due.push((notes.position, Due::DelegationNoted(which)));
    match parent.holder {
        Holder::Guild(guild) => world.needs_decision(guild, Class::Work, "a guild hands a capability on", notes),
        Holder::Citizen(citizen) => {
            notes.expect(granted.granted_by == Some(citizen), || format!("{which} is handed on by somebody else"));
        }
        Holder::Squad(_) => {}
    }
}

/// The living grants above one, the nearest first.
fn above(world: &World, grant: GrantId) -> impl Iterator<Item = GrantId> + '_ {
    let parent = move |grant: &GrantId| world.inventories.living.get(grant).and_then(|grant| grant.parent);
    // Longer than any chain can be, in case one comes back to itself.
    std::iter::successors(parent(&grant), parent).take(2 * MAX_DEPTH)
}

/// The living grants below one.
fn below(world: &World, grant: GrantId) -> Vec<GrantId> {
    let (mut found, mut next) = (Vec::new(), vec![grant]);
    while let Some(grant) = next.pop() {
        let children = world.inventories.living.get(&grant).map(|grant| &grant.children);
        for child in
            children.into_iter().flatten().copied().filter(|child| world.inventories.living.contains_key(child))
        {
            found.push(child);
            next.push(child);
        }
    }
    found
}

fn end(which: GrantId, event: &Event, by: By, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let below = below(world, which);
    if !below.is_empty() {
        world.act.due.push((notes.position, Due::DescendantsEnded(below)));
    }
    let Some(grant) = world.inventories.living.remove(&which) else { return };
    if by == By::Ancestor {
        let gone = grant.parent.is_some_and(|parent| !world.inventories.living.contains_key(&parent));
        notes.expect(gone, || format!("{which} ends with a grant above it that has not ended"));
    }
    if let Some(above) = grant.parent.and_then(|parent| world.inventories.living.get_mut(&parent)) {
        above.children.remove(&which);
    }
    world.inventories.names.remove(&grant.name);
    world.inventories.ended.insert(which, entry.at);
    if by == By::Actor && matches!(event, Event::Revoked(_)) {
        world.inventories.withheld.insert(grant.name);
    }
}
