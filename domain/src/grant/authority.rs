//! Who may give and take capabilities: the owner of their source, the guild inside which they count, the city above all.

use super::event::Link;
use super::kind::{CapabilityKind, Source};
use super::state::{Grant, Inventory};
use crate::city::City;
use crate::command::Command;
use crate::guild::{Status, govern};
use crate::ids::{CitizenId, GrantId, GuildId, Slug, Stream};
use crate::party::{Actor, CitizenKind, HolderId, HolderKind, Tier};
use crate::rejection::{Code, Rejection};
use crate::turn::{Mode, Outcome, Permit, Stop, Turn};

/// What to do for whom it says no to.
const WHO_IMPORTS: &str = "services, the source's owner and the principals of the city import: a principal makes somebody its owner \
    (city.assign_source), or the importer runs as a service";

/// The rank from which a guild's members grant inside it.
const COORDINATOR_RANK: &str = "coordinator";

/// The holder, who must exist and be active; and what kind of holder it is.
pub(super) fn active_holder(turn: &Turn<'_>, holder: HolderId) -> Result<HolderKind, Stop> {
    if !is_active(turn, holder)? {
        return Err(Rejection::new(Code::HolderNotActive).field("holder").detail(holder).into());
    }
    match holder {
        HolderId::Citizen(id) => Ok(turn.citizen(id)?.kind().into()),
        HolderId::Squad(_) => Ok(HolderKind::Squad),
        HolderId::Guild(_) => Ok(HolderKind::Guild),
    }
}

pub(super) fn is_active(turn: &Turn<'_>, holder: HolderId) -> Result<bool, Stop> {
    Ok(match holder {
        HolderId::Citizen(id) => turn.citizen(id)?.is_active(),
        // There are no acts of a squad's own: it is there while a guild has it.
        HolderId::Squad(_) => inventory(turn, holder)?.of_kind(CapabilityKind::GuildRole).next().is_some(),
        HolderId::Guild(id) => turn.guild(id)?.status() == Status::Active,
    })
}

pub(super) fn inventory<'t>(turn: &'t Turn<'_>, holder: HolderId) -> Result<&'t Inventory, Stop> {
    turn.inventory(holder)
}

pub(super) const fn stream(holder: HolderId) -> Stream {
    Stream::Inventory(holder)
}

/// The living grant, whether or not its time is over.
pub(super) fn living<'t>(turn: &'t Turn<'_>, holder: HolderId, grant: GrantId) -> Result<&'t Grant, Stop> {
    let found = inventory(turn, holder)?.grant(grant);
    found.ok_or_else(|| Rejection::new(Code::GrantNotLiving).field("grant").detail(grant).into())
}

/// Who may grant from this source to this holder. `Some`: the guild decides later.
pub(super) fn over_source(
    turn: &mut Turn<'_>,
    source: Source,
    holder: HolderId,
    command: &Command,
) -> Result<Option<Outcome>, Stop> {
    match source {
        Source::Guild(guild) => {
            inside(turn, guild, holder)?;
            by_guild(turn, guild, command)
        }
        Source::City if asked(turn) && turn.context.permit.tier >= Tier::Coordinator => Ok(None),
        Source::City => Err(Rejection::new(Code::NotTheSourceOwner).detail("the city's own need a coordinator").into()),
        Source::Membership | Source::Roles => Err(Rejection::new(Code::ComputedCapability).field("source").into()),
        imported if asked(turn) && owns(turn, imported)? => Ok(None),
        _ => Err(Rejection::new(Code::NotTheSourceOwner).field("source").into()),
    }
}

/// Who may take a grant away or narrow it: its holder, whoever is above it in a chain of delegation, the owner of its source, a
/// coordinator of the city; the guild that gave it, by its governance, and where no guild did, who granted it. `Some`: a guild
/// decides later.
pub(super) fn over_grant(
    turn: &mut Turn<'_>,
    holder: HolderId,
    grant: GrantId,
    command: &Command,
) -> Result<Option<Outcome>, Stop> {
    let found = living(turn, holder, grant)?;
    let (source, granted_by, parent) = (found.source(), found.granted_by(), found.parent());
    let guild = guild_over(source, parent, holder);
    if asked(turn) {
        let caller = turn.caller()?;
        let own = holder == HolderId::Citizen(caller) || (guild.is_none() && granted_by == Some(caller));
        let above = is_above(turn, caller, parent)?;
        if own || above || turn.context.permit.tier >= Tier::Coordinator || owns(turn, source)? {
            return Ok(None);
        }
    }
    match guild {
        Some(guild) => by_guild(turn, guild, command),
        None => Err(Code::NotTheGranter.into()),
    }
}

/// Who may say of something that ended that it is not to come back: its holder, which may be a guild and decides as it does, the owner of its
/// source, a coordinator of the city. `Some`: a guild decides later.
pub(super) fn over_ended(
    turn: &mut Turn<'_>,
    holder: HolderId,
    source: Source,
    command: &Command,
) -> Result<Option<Outcome>, Stop> {
    if asked(turn) {
        let own = holder == HolderId::Citizen(turn.caller()?);
        if own || turn.context.permit.tier >= Tier::Coordinator || owns(turn, source)? {
            return Ok(None);
        }
    }
    match guild_over(source, None, holder) {
        Some(guild) => by_guild(turn, guild, command),
        None => Err(Code::NotTheGranter.into()),
    }
}

/// Who may say what a source has, which then counts as verified: services, the source's owner, and the principals of the city. To
/// everybody else it would be a way to give themselves anything.
pub fn may_import(permit: &Permit, city: &City, source: Source) -> Result<(), Rejection> {
    let may = match permit.actor {
        Actor::System | Actor::Citizen { kind: CitizenKind::Service, .. } => true,
        Actor::Citizen { id, .. } => permit.tier >= Tier::Principal || city.source_owner(source) == Some(id),
    };
    if may { Ok(()) } else { Err(Rejection::new(Code::NotTheSourceOwner).field("source").detail(WHO_IMPORTS)) }
}

/// Whether a citizen holds one of the grants that this one came down from.
fn is_above(turn: &Turn<'_>, citizen: CitizenId, parent: Option<Link>) -> Result<bool, Stop> {
    let mut above = parent;
    while let Some(link) = above {
        if link.holder == HolderId::Citizen(citizen) {
            return Ok(true);
        }
        above = living(turn, link.holder, link.grant)?.parent();
    }
    Ok(false)
}

/// The guild that gave it, else the guild that handed it on, else the guild that has it.
fn guild_over(source: Source, parent: Option<Link>, holder: HolderId) -> Option<GuildId> {
    [guild_of_source(source), parent.and_then(guild_of_link), guild_of(holder)].into_iter().flatten().next()
}

/// The guild whose governance decides about a command of the inventory; `None` when no guild's does.
pub(crate) fn governing(turn: &Turn<'_>, command: &Command) -> Result<Option<GuildId>, Stop> {
    let (holder, grant) = match command {
        Command::GrantCapability(c) => return Ok(guild_of_source(c.source)),
        Command::DelegateGrant(c) => return Ok(guild_of(c.holder)),
        Command::RevokeGrant(c) => (c.holder, c.grant),
        Command::AttenuateGrant(c) => (c.holder, c.grant),
        Command::ReverifyGrant(c) => (c.holder, c.grant),
        _ => return Ok(None),
    };
    // What has ended can still be withheld.
    if let (Command::RevokeGrant(_), Some(dead)) = (command, inventory(turn, holder)?.dead(grant)) {
        return Ok(guild_over(dead.source, None, holder));
    }
    let found = living(turn, holder, grant)?;
    Ok(guild_over(found.source(), found.parent(), holder))
}

/// Whoever uses this holder's capabilities: the citizen themselves, or the guild.
pub(super) fn as_holder(turn: &mut Turn<'_>, holder: HolderId, command: &Command) -> Result<Option<Outcome>, Stop> {
    match holder {
        HolderId::Guild(guild) => by_guild(turn, guild, command),
        HolderId::Citizen(id) if asked(turn) && turn.caller()? == id => Ok(None),
        HolderId::Citizen(_) | HolderId::Squad(_) => Err(Code::NotTheHolder.into()),
    }
}

fn asked(turn: &Turn<'_>) -> bool {
    turn.mode == Mode::Asked
}

fn owns(turn: &Turn<'_>, source: Source) -> Result<bool, Stop> {
    Ok(turn.city()?.source_owner(source) == Some(turn.caller()?))
}

/// The guild grants to itself and to its members.
fn inside(turn: &Turn<'_>, guild: GuildId, holder: HolderId) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    let member = match holder {
        HolderId::Guild(id) => return if id == guild { Ok(()) } else { Err(Code::NotInsideGuild.into()) },
        HolderId::Citizen(id) => crate::party::MemberId::Citizen(id),
        HolderId::Squad(id) => crate::party::MemberId::Squad(id),
    };
    if state.member(member).is_some_and(|member| member.is_active()) {
        Ok(())
    } else {
        Err(Code::NotInsideGuild.into())
    }
}

/// A coordinator of the guild, and then its governance.
fn by_guild(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Option<Outcome>, Stop> {
    if asked(turn) {
        let caller = turn.caller()?;
        let state = turn.guild(guild)?;
        let member = state.active_member(caller).ok_or_else(|| Rejection::new(Code::NotAMember))?;
        let coordinator: Option<Slug> = COORDINATOR_RANK.parse().ok();
        let lowest = coordinator.and_then(|rank| state.rank_place(&rank)).unwrap_or(0);
        if state.rank_place(&member.rank).is_none_or(|place| place > lowest) {
            return Err(Code::RankTooLow.into());
        }
    }
    govern::ask(turn, guild, command)
}

const fn guild_of(holder: HolderId) -> Option<GuildId> {
    match holder {
        HolderId::Guild(guild) => Some(guild),
        HolderId::Citizen(_) | HolderId::Squad(_) => None,
    }
}

const fn guild_of_link(link: Link) -> Option<GuildId> {
    guild_of(link.holder)
}

const fn guild_of_source(source: Source) -> Option<GuildId> {
    match source {
        Source::Guild(guild) => Some(guild),
        _ => None,
    }
}
