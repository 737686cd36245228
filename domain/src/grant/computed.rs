//! Capabilities that follow from something else: membership gives a guild role, a role assignment gives data access.
//!
//! Always: these are recorded in the append of what they follow from.

use super::Grant;
use super::authority::{inventory, stream};
use super::ending::{How, MOST_AT_ONE_END, end};
use super::event::{EndedBy, GrantEvent, Granted, Link};
use super::kind::{CapabilityKind, CapabilityRef, Source};
use super::scope::Scope;
use crate::guild::Status;
use crate::ids::{CitizenId, GrantId, GuildId, InventoryId, Slug};
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

/// Reaction to whatever changed a membership: the role that an active member has, and no other of this guild.
pub(crate) fn follow_membership(turn: &mut Turn<'_>, guild: GuildId, member: MemberId) -> Result<(), Stop> {
    let holder = HolderId::from(member);
    let state = turn.guild(guild)?;
    let found = state.member(member).filter(|member| member.is_active() && state.status() != Status::Dissolved);
    let wanted = found.map(|member| (HolderKind::from(member.kind), guild_role(guild, &member.rank)));
    let prefix = format!("{guild}/");
    let held: Vec<(GrantId, CapabilityRef)> = inventory(turn, holder)?
        .of_kind(CapabilityKind::GuildRole)
        .filter(|grant| grant.reference().as_str().starts_with(&prefix))
        .map(|grant| (grant.id(), grant.reference().clone()))
        .collect();
    let mut has = false;
    for (grant, reference) in held {
        if wanted.as_ref().is_some_and(|(_, wanted)| *wanted == reference) {
            has = true;
        } else {
            end(turn, Link { holder, grant }, How::Revoked(None), EndedBy::City)?;
        }
    }
    match wanted {
        Some((kind, reference)) if !has => {
            begin(turn, holder, kind, CapabilityKind::GuildRole, reference, Source::Membership)
        }
        _ => Ok(()),
    }
}

/// Reaction to a guild's end: its roles are nobody's any more.
pub(crate) fn follow_dissolution(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    let members: Vec<MemberId> = turn.guild(guild)?.members().keys().copied().collect();
    turn.need(members.iter().map(|member| stream((*member).into())))?;
    for member in members {
        follow_membership(turn, guild, member)?;
    }
    Ok(())
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
    let living = turn.inventory(InventoryId::of(holder))?.living();
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
