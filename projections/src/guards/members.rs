//! `guild_members`: who is a member of what, one living membership at most per guild, kind and member.

use domain::guild::event::GuildEvent;
use domain::ids::GuildId;
use domain::party::{MemberId, MemberKind};

use crate::field::word;
use crate::record::record;
use crate::sheet::Sheet;

pub(crate) const ACTIVE: &str = "active";
pub(crate) const SUSPENDED: &str = "suspended";
pub(crate) const LEFT: &str = "left";
pub(crate) const REMOVED: &str = "removed";

record! {
    /// One time of being a member. Rank and scopes are in the roster: a guard keeps only what it can refuse.
    Member in "guild_members" by (guild: GuildId, member: MemberId) and (kind: String, joined_position: u64)
    living |row| row.status == ACTIVE || row.status == SUSPENDED, {
        status: String,
        city_suspended: bool,
    }
}

pub(super) fn fold(members: &mut Sheet<Member>, position: u64, guild: GuildId, event: &GuildEvent) {
    let new = |member: MemberId, kind: MemberKind| Member {
        guild,
        member,
        kind: word(&kind),
        joined_position: position,
        status: ACTIVE.to_owned(),
        city_suspended: false,
    };
    let mut status =
        |member: &MemberId, status: &str| members.change(&(guild, *member), |row| status.clone_into(&mut row.status));
    match event {
        // Without a look at what is there: a second living membership must reach the table and be refused.
        GuildEvent::MemberAdded { member, kind, .. } => members.put(new(*member, *kind)),
        // Raises a living membership, whatever it was; otherwise begins one.
        GuildEvent::FounderAppointed { member, kind, .. } => match members.get(&(guild, *member)).cloned() {
            Some(row) => members.put(Member { status: ACTIVE.to_owned(), city_suspended: false, ..row }),
            None => members.put(new(*member, *kind)),
        },
        GuildEvent::MemberSuspended { member, .. } => status(member, SUSPENDED),
        GuildEvent::MemberReinstated { member } => status(member, ACTIVE),
        GuildEvent::MemberLeft { member } => status(member, LEFT),
        GuildEvent::MemberRemoved { member, .. } => status(member, REMOVED),
        GuildEvent::MemberCitySuspended { member } => {
            members.change(&(guild, *member), |row| row.city_suspended = true)
        }
        GuildEvent::MemberCityReinstated { member } => {
            members.change(&(guild, *member), |row| row.city_suspended = false)
        }
        _ => {}
    }
}
