//! `guild_roster`: memberships with rank and scopes, one row for every time of joining.

use domain::guild::event::GuildEvent;
use domain::guild::governance::Class;
use domain::ids::{GuildId, Slug};
use domain::party::{MemberId, MemberKind};
use domain::time::Time;

use super::Guild;
use crate::field::{Json, word};
use crate::guards::members::{ACTIVE, LEFT, REMOVED, SUSPENDED};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `scopes` absent: the rank's defaults.
    Membership in "guild_roster" by (guild: GuildId, member: MemberId) and (kind: String, joined_position: u64)
    living |row| row.status == ACTIVE || row.status == SUSPENDED, {
        rank: Slug,
        scopes: Option<Json<Vec<Class>>>,
        status: String,
        city_suspended: bool,
        joined_at: Time,
        ended_at: Option<Time>,
    }
}

pub(super) fn fold(
    roster: &mut Sheet<Membership>,
    guilds: &mut Sheet<Guild>,
    recorded: &Recorded,
    guild: GuildId,
    event: &GuildEvent,
) {
    let new = |member: MemberId, kind: MemberKind, rank: Slug, scopes: Option<Vec<Class>>| Membership {
        guild,
        member,
        kind: word(&kind),
        joined_position: recorded.position,
        rank,
        scopes: scopes.map(Json),
        status: ACTIVE.to_owned(),
        city_suspended: false,
        joined_at: recorded.at,
        ended_at: None,
    };
    let mut change = |member: &MemberId, change: &dyn Fn(&mut Membership)| roster.change(&(guild, *member), change);
    let end = |row: &mut Membership, status: &str| {
        status.clone_into(&mut row.status);
        row.ended_at = Some(recorded.at);
    };
    match event {
        GuildEvent::MemberAdded { member, kind, rank, scopes } => {
            roster.put(new(*member, *kind, rank.clone(), scopes.clone()));
        }
        GuildEvent::FounderAppointed { member, kind, .. } => {
            let ranks = guilds.get(&(guild,)).map(|row| &row.ranks.0);
            let Some(founder) = ranks.and_then(|ranks| ranks.first()) else {
                // Not loaded yet: ask for the membership as well, so that one round loads both.
                roster.get(&(guild, *member));
                return;
            };
            let raised = new(*member, *kind, founder.name.clone(), Some(Class::ALL.to_vec()));
            let known = roster.get(&(guild, *member)).cloned();
            roster.put(match known {
                Some(row) => Membership {
                    joined_position: row.joined_position,
                    joined_at: row.joined_at,
                    kind: row.kind,
                    ..raised
                },
                None => raised,
            });
        }
        GuildEvent::RankChanged { member, rank } => change(member, &|row| row.rank = rank.clone()),
        GuildEvent::ScopesSet { member, scopes } => change(member, &|row| row.scopes = scopes.clone().map(Json)),
        GuildEvent::MemberSuspended { member, .. } => change(member, &|row| SUSPENDED.clone_into(&mut row.status)),
        GuildEvent::MemberReinstated { member } => change(member, &|row| ACTIVE.clone_into(&mut row.status)),
        GuildEvent::MemberCitySuspended { member } => change(member, &|row| row.city_suspended = true),
        GuildEvent::MemberCityReinstated { member } => change(member, &|row| row.city_suspended = false),
        GuildEvent::MemberLeft { member } => change(member, &|row| end(row, LEFT)),
        GuildEvent::MemberRemoved { member, .. } => change(member, &|row| end(row, REMOVED)),
        _ => {}
    }
}
