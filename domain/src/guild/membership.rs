//! The roster: who joins, at which rank, with which scopes, and who goes.

use super::command::{AddMember, ChangeRank, ReinstateMember, RemoveMember, SetScopes, SuspendMember};
use super::event::GuildEvent;
use super::govern::{ask, authority};
use super::governance::Class;
use super::state::{Guild, Member};
use crate::citizen::event::CitizenEvent;
use crate::command::Command;
use crate::grant::computed::follow_membership;
use crate::ids::{GuildId, Slug, Stream};
use crate::party::{MemberId, MemberKind};
use crate::rejection::{Code, Rejection};
use crate::text::Text;
use crate::turn::{Mode, Outcome, Stop, Turn};

/// Somebody else has to let a removed member in again.
pub(super) fn check_rejoin(turn: &Turn<'_>, guild: GuildId, command: &Command) -> Result<(), Stop> {
    let Command::AddMember(c) = command else { return Ok(()) };
    if turn.mode != Mode::Asked || MemberId::Citizen(turn.caller()?) != c.member {
        return Ok(());
    }
    if turn.guild(guild)?.removed.contains(&c.member) { Err(Code::MemberRemoved.into()) } else { Ok(()) }
}

pub(super) fn add(turn: &mut Turn<'_>, guild: GuildId, c: &AddMember, command: &Command) -> Result<Outcome, Stop> {
    let state = turn.guild(guild)?;
    if state.member(c.member).is_some() {
        return Err(Code::MemberExists.into());
    }
    let kind = kind_of(turn, c.member)?;
    if c.kind.is_some_and(|said| said != kind) {
        return Err(Rejection::new(Code::MemberKindMismatch).field("kind").into());
    }
    check_rank(state, &c.rank, kind)?;
    let (rank, scopes) = (c.rank.clone(), c.scopes.as_deref().map(in_order));
    let joined = Member { kind, rank, scopes, suspended: false, city_suspended: false };
    may_touch(turn, guild, &c.rank)?;
    may_grant(turn, guild, state.scopes_of(&joined))?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    let Member { rank, scopes, .. } = joined;
    turn.record(Stream::Guild(guild), GuildEvent::MemberAdded { member: c.member, kind, rank, scopes })?;
    follow_membership(turn, guild, c.member)?;
    note_joined(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

pub(super) fn change_rank(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &ChangeRank,
    command: &Command,
) -> Result<Outcome, Stop> {
    let state = turn.guild(guild)?;
    let member = living(state, c.member)?;
    if member.rank == c.rank {
        return Ok(Outcome::AlreadyDone);
    }
    check_rank(state, &c.rank, member.kind)?;
    not_own(turn, guild, c.member)?;
    may_touch(turn, guild, &member.rank)?;
    may_touch(turn, guild, &c.rank)?;
    let after = Member { rank: c.rank.clone(), ..member.clone() };
    may_grant(turn, guild, &gained(state, member, &after))?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::RankChanged { member: c.member, rank: c.rank.clone() })?;
    follow_membership(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

pub(super) fn set_scopes(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &SetScopes,
    command: &Command,
) -> Result<Outcome, Stop> {
    let state = turn.guild(guild)?;
    let member = living(state, c.member)?;
    let scopes = c.scopes.as_deref().map(in_order);
    if member.scopes == scopes {
        return Ok(Outcome::AlreadyDone);
    }
    not_own(turn, guild, c.member)?;
    may_touch(turn, guild, &member.rank)?;
    let after = Member { scopes: scopes.clone(), ..member.clone() };
    may_grant(turn, guild, &gained(state, member, &after))?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::ScopesSet { member: c.member, scopes })?;
    Ok(Outcome::Done)
}

pub(super) fn suspend(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &SuspendMember,
    command: &Command,
) -> Result<Outcome, Stop> {
    let member = living(turn.guild(guild)?, c.member)?;
    if member.suspended {
        return Ok(Outcome::AlreadyDone);
    }
    not_own(turn, guild, c.member)?;
    may_touch(turn, guild, &member.rank)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    let reason = c.reason.as_ref().map(Text::sealed);
    turn.record(Stream::Guild(guild), GuildEvent::MemberSuspended { member: c.member, reason })?;
    follow_membership(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

pub(super) fn reinstate(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &ReinstateMember,
    command: &Command,
) -> Result<Outcome, Stop> {
    let member = living(turn.guild(guild)?, c.member)?;
    if !member.suspended {
        return Err(Code::MemberNotSuspended.into());
    }
    may_touch(turn, guild, &member.rank)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::MemberReinstated { member: c.member })?;
    follow_membership(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

/// A suspended member can leave too: nobody is kept against their will.
pub(super) fn leave(turn: &mut Turn<'_>, guild: GuildId) -> Result<Outcome, Stop> {
    let member = MemberId::Citizen(turn.caller()?);
    if turn.guild(guild)?.member(member).is_none() {
        return Err(Code::NotAMember.into());
    }
    turn.record(Stream::Guild(guild), GuildEvent::MemberLeft { member })?;
    follow_membership(turn, guild, member)?;
    note_left(turn, guild, member)?;
    Ok(Outcome::Done)
}

pub(super) fn remove(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &RemoveMember,
    command: &Command,
) -> Result<Outcome, Stop> {
    let member = living(turn.guild(guild)?, c.member)?;
    not_own(turn, guild, c.member)?;
    may_touch(turn, guild, &member.rank)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    let reason = c.reason.as_ref().map(Text::sealed);
    turn.record(Stream::Guild(guild), GuildEvent::MemberRemoved { member: c.member, reason })?;
    follow_membership(turn, guild, c.member)?;
    note_left(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

/// Most guilds of one citizen: whoever leaves the city leaves all of them in one append.
pub const MAX_GUILDS: usize = 1000;

/// What kind somebody joins as. Citizens must be active; a squad's id says all there is to say.
pub(super) fn kind_of(turn: &Turn<'_>, member: MemberId) -> Result<MemberKind, Stop> {
    let MemberId::Citizen(id) = member else { return Ok(MemberKind::Squad) };
    let citizen = turn.citizen(id)?;
    if citizen.guilds().len() >= MAX_GUILDS {
        return Err(Code::TooManyGuilds.into());
    }
    if citizen.is_active() { Ok(citizen.kind().into()) } else { Err(Code::CitizenNotActive.into()) }
}

/// The citizen's own stream lists their guilds, so that city acts find every one.
pub(super) fn note_joined(turn: &mut Turn<'_>, guild: GuildId, member: MemberId) -> Result<(), Stop> {
    let MemberId::Citizen(id) = member else { return Ok(()) };
    if turn.citizen(id)?.guilds().contains(&guild) {
        return Ok(());
    }
    turn.record(Stream::Citizen(id), CitizenEvent::GuildJoined { guild })
}

pub(super) fn note_left(turn: &mut Turn<'_>, guild: GuildId, member: MemberId) -> Result<(), Stop> {
    let MemberId::Citizen(id) = member else { return Ok(()) };
    if !turn.citizen(id)?.guilds().contains(&guild) {
        return Ok(());
    }
    turn.record(Stream::Citizen(id), CitizenEvent::GuildLeft { guild })
}

/// One spelling for one set of scopes.
pub(super) fn in_order(scopes: &[Class]) -> Vec<Class> {
    Class::ALL.into_iter().filter(|class| scopes.contains(class)).collect()
}

fn living(state: &Guild, id: MemberId) -> Result<&Member, Rejection> {
    state.member(id).ok_or_else(|| Rejection::new(Code::MemberNotFound).detail(id))
}

fn check_rank(state: &Guild, rank: &Slug, kind: MemberKind) -> Result<(), Rejection> {
    match state.rank_place(rank) {
        None => Err(Rejection::new(Code::UnknownRank).detail(rank).field("rank")),
        Some(0) if !matches!(kind, MemberKind::Human | MemberKind::Agent) => Err(Rejection::new(Code::FounderKind)),
        Some(_) => Ok(()),
    }
}

/// What a member may do after and could not before.
fn gained(state: &Guild, before: &Member, after: &Member) -> Vec<Class> {
    let had = state.scopes_of(before);
    state.scopes_of(after).iter().copied().filter(|scope| !had.contains(scope)).collect()
}

/// Nobody assigns or edits a rank at or above their own, founders excepted.
fn may_touch(turn: &Turn<'_>, guild: GuildId, rank: &Slug) -> Result<(), Stop> {
    let Some((_, caller)) = authority(turn, guild)? else { return Ok(()) };
    let state = turn.guild(guild)?;
    let allowed = state.is_founder(caller) || state.rank_place(rank) > state.rank_place(&caller.rank);
    if allowed { Ok(()) } else { Err(Code::RankTooHigh.into()) }
}

/// Nobody grants scopes they lack, founders included.
fn may_grant(turn: &Turn<'_>, guild: GuildId, scopes: &[Class]) -> Result<(), Stop> {
    let Some((_, caller)) = authority(turn, guild)? else { return Ok(()) };
    let state = turn.guild(guild)?;
    let lacks = scopes.iter().any(|scope| !state.holds_scope(caller, *scope));
    if lacks { Err(Code::ScopeNotHeld.into()) } else { Ok(()) }
}

/// Nobody changes their own membership; leaving is a command of its own.
fn not_own(turn: &Turn<'_>, guild: GuildId, member: MemberId) -> Result<(), Stop> {
    match authority(turn, guild)? {
        Some((caller, _)) if MemberId::Citizen(caller) == member => Err(Code::OwnMembership.into()),
        _ => Ok(()),
    }
}
