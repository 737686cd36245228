//! Capabilities that follow from something else: membership gives a guild role, a role assignment gives data access.
//!
//! Always: these are recorded in the append of what they follow from.

use super::authority::{inventory, stream};
use super::ending::{How, MOST_AT_ONE_END, end};
use super::event::{EndedBy, GrantEvent, Granted, Link};
use super::kind::{CapabilityKind, CapabilityRef, Source};
use super::scope::Scope;
use super::state::Grant;
use crate::guild::Status;
use crate::ids::{CitizenId, GrantId, GuildId, Slug};
use crate::party::{HolderId, HolderKind, MemberId};
use crate::turn::{MAX_EVENTS, Stop, Turn};

/// Events up to which a holder's end ends grants: half of what an append may have, since the command goes on after this.
const ROOM: usize = MAX_EVENTS / 2;

/// `gld_<ULID>/<rank>`.
fn guild_role(guild: GuildId, rank: &Slug) -> CapabilityRef {
    format!("{guild}/{rank}").parse().expect("an id and a slug are printable and short")
}

/// `role/<role>`.
fn data_access(role: &Slug) -> CapabilityRef {
    format!("role/{role}").parse().expect("a slug is printable and short")
}

/// Reaction to whatever changed a membership: the role that an active member has, and no other of this guild; and nothing that the
/// guild granted to one who is no active member any more.
pub(crate) fn follow_membership(turn: &mut Turn<'_>, guild: GuildId, member: MemberId) -> Result<(), Stop> {
    let holder = HolderId::from(member);
    let state = turn.guild(guild)?;
    let found = state.member(member).filter(|member| member.is_active() && state.status() != Status::Dissolved);
    let wanted = found.map(|member| (HolderKind::from(member.kind), guild_role(guild, &member.rank)));
    let is_wanted = |grant: &Grant| match (&wanted, grant.source()) {
        (Some((_, role)), Source::Membership) => grant.reference() == role,
        (wanted, _) => wanted.is_some(),
    };
    let of_guild = |grant: &&Grant| grant.parent().is_none() && grant.reference().guild() == Some(guild);
    let inventory = inventory(turn, holder)?;
    let has = wanted.as_ref().is_some_and(|(_, role)| inventory.named(CapabilityKind::GuildRole, role).is_some());
    let held = inventory.living().values().filter(of_guild);
    let unwanted: Vec<GrantId> = held.filter(|grant| !is_wanted(grant)).map(Grant::id).collect();
    for grant in unwanted {
        end(turn, Link { holder, grant }, How::Revoked(None), EndedBy::City)?;
    }
    match wanted {
        Some((kind, reference)) if !has => {
            begin(turn, holder, kind, CapabilityKind::GuildRole, reference, Source::Membership)
        }
        _ => Ok(()),
    }
}

/// Reaction to a guild's end: its roles and what it granted are nobody's any more, and what it had is gone.
pub(crate) fn follow_dissolution(turn: &mut Turn<'_>, guild: GuildId, members: &[MemberId]) -> Result<(), Stop> {
    turn.need(members.iter().map(|member| stream((*member).into())))?;
    for member in members {
        follow_membership(turn, guild, *member)?;
    }
    end_all(turn, HolderId::Guild(guild))
}

/// Reaction to a role that was assigned.
pub(crate) fn role_assigned(turn: &mut Turn<'_>, citizen: CitizenId, role: &Slug) -> Result<(), Stop> {
    let holder = HolderId::Citizen(citizen);
    let reference = data_access(role);
    if inventory(turn, holder)?.named(CapabilityKind::DataAccess, &reference).is_some() {
        return Ok(());
    }
    let kind = turn.citizen(citizen)?.kind().into();
    begin(turn, holder, kind, CapabilityKind::DataAccess, reference, Source::Roles)
}

/// Reaction to a role that was taken away.
pub(crate) fn role_unassigned(turn: &mut Turn<'_>, citizen: CitizenId, role: &Slug) -> Result<(), Stop> {
    let holder = HolderId::Citizen(citizen);
    let found = inventory(turn, holder)?.named(CapabilityKind::DataAccess, &data_access(role)).map(Grant::id);
    match found {
        Some(grant) => end(turn, Link { holder, grant }, How::Revoked(None), EndedBy::City),
        None => Ok(()),
    }
}

/// Reaction to a holder's end: nothing of theirs can be used any more. What follows from the city's own ends here, and as much of the
/// rest as one append has room for; workers end what is left.
pub(crate) fn end_all(turn: &mut Turn<'_>, holder: HolderId) -> Result<(), Stop> {
    let living = inventory(turn, holder)?.living();
    let (own, rest): (Vec<&Grant>, Vec<&Grant>) = living.values().partition(|grant| grant.kind().is_computed());
    let grants: Vec<(GrantId, bool)> =
        own.into_iter().chain(rest).map(|grant| (grant.id(), grant.kind().is_computed())).collect();
    for (grant, is_computed) in grants {
        if !is_computed && turn.recorded() + MOST_AT_ONE_END > ROOM {
            return Ok(());
        }
        end(turn, Link { holder, grant }, How::Revoked(None), EndedBy::City)?;
    }
    Ok(())
}

fn begin(
    turn: &mut Turn<'_>,
    holder: HolderId,
    holder_kind: HolderKind,
    kind: CapabilityKind,
    reference: CapabilityRef,
    source: Source,
) -> Result<(), Stop> {
    let granted = Granted {
        grant: GrantId::from_bits(turn.fresh_id()),
        holder,
        holder_kind,
        kind,
        reference,
        source,
        scope: Scope::default(),
        delegable: false,
        granted_by: None,
        expires_at: None,
        parent: None,
        verified: true,
        details: None,
    };
    turn.record(stream(holder), GrantEvent::Granted(Box::new(granted)))
}
