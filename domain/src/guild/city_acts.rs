//! What the city does to a citizen, as a guild of theirs sees it: on record, never refused, whatever it leaves behind.

use super::event::GuildEvent;
use super::state::Member;
use super::{lockout, membership, proposals};
use crate::grant::computed::follow_membership;
use crate::ids::{CitizenId, GuildId, Stream};
use crate::party::MemberId;
use crate::turn::{Stop, Turn};

/// The citizen was suspended: their membership rests beside whatever the guild itself decided.
pub fn city_suspend(turn: &mut Turn<'_>, guild: GuildId, citizen: CitizenId) -> Result<(), Stop> {
    let member = MemberId::Citizen(citizen);
    if living(turn, guild, member)?.is_none_or(|member| member.city_suspended) {
        return Ok(());
    }
    turn.record(Stream::Guild(guild), GuildEvent::MemberCitySuspended { member })?;
    follow_membership(turn, guild, member)?;
    settle(turn, guild)
}

/// The citizen was reinstated; a suspension by the guild itself stays.
pub fn city_reinstate(turn: &mut Turn<'_>, guild: GuildId, citizen: CitizenId) -> Result<(), Stop> {
    let member = MemberId::Citizen(citizen);
    if !living(turn, guild, member)?.is_some_and(|member| member.city_suspended) {
        return Ok(());
    }
    turn.record(Stream::Guild(guild), GuildEvent::MemberCityReinstated { member })?;
    follow_membership(turn, guild, member)?;
    settle(turn, guild)
}

/// The citizen is gone for good.
pub fn city_remove(turn: &mut Turn<'_>, guild: GuildId, citizen: CitizenId) -> Result<(), Stop> {
    let member = MemberId::Citizen(citizen);
    if living(turn, guild, member)?.is_none() {
        return Ok(());
    }
    turn.record(Stream::Guild(guild), GuildEvent::MemberLeft { member })?;
    follow_membership(turn, guild, member)?;
    membership::note_left(turn, guild, member)?;
    settle(turn, guild)
}

fn living<'t>(turn: &'t Turn<'_>, guild: GuildId, member: MemberId) -> Result<Option<&'t Member>, Stop> {
    Ok(turn.guild(guild)?.member(member))
}

/// Votes went with the member; what cannot be decided any more ends, and the guild may be without a leader.
fn settle(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    proposals::void_undecidable(turn, guild)?;
    lockout::note_leadership(turn, guild)
}
