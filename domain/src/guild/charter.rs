//! What a guild is called, what its charter says, which ranks it has, and the document it is governed by.

use super::command::{AmendCharter, DefineRanks, RenameGuild, SetGovernance};
use super::event::{GuildEvent, Rank};
use super::govern::{ask, authority};
use super::governance::Class;
use super::state::{Guild, Member};
use super::{document, proposals};
use crate::command::Command;
use crate::ids::{GuildId, Stream};
use crate::rejection::{Code, Rejection};
use crate::turn::{Outcome, Stop, Turn};

pub const MAX_RANKS: usize = 64;

/// The ranks of a guild that names none of its own, highest first, and what each may do by default.
pub fn default_ranks() -> Vec<Rank> {
    let table: [(&str, &[Class]); 8] = [
        ("founder", &Class::ALL),
        ("coordinator", &[Class::Membership, Class::Finance, Class::Work]),
        ("gate", &[Class::Work]),
        ("builder", &[Class::Work]),
        ("operator", &[Class::Work]),
        ("member", &[]),
        ("advisor", &[]),
        ("observer", &[]),
    ];
    let rank = |(name, scopes): (&str, &[Class])| Rank {
        name: name.parse().expect("the names of the default ranks are slugs"),
        scopes: scopes.to_vec(),
    };
    table.map(rank).into()
}

/// Refuses a list that is empty, too long, or says something twice.
pub(super) fn check_ranks(ranks: &[Rank]) -> Result<(), Rejection> {
    let mut names: Vec<_> = ranks.iter().map(|rank| &rank.name).collect();
    names.sort_unstable();
    names.dedup();
    let repeated = |rank: &Rank| super::membership::in_order(&rank.scopes).len() != rank.scopes.len();
    let bad = ranks.is_empty() || ranks.len() > MAX_RANKS || names.len() != ranks.len() || ranks.iter().any(repeated);
    if bad { Err(Rejection::new(Code::RanksInvalid).field("ranks")) } else { Ok(()) }
}

pub(super) fn rename(turn: &mut Turn<'_>, guild: GuildId, c: &RenameGuild, command: &Command) -> Result<Outcome, Stop> {
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::Renamed { name: c.name.sealed() })?;
    Ok(Outcome::Done)
}

pub(super) fn amend(turn: &mut Turn<'_>, guild: GuildId, c: &AmendCharter, command: &Command) -> Result<Outcome, Stop> {
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    let version = turn.guild(guild)?.charter_version.saturating_add(1);
    let (digest, location) = (c.digest, c.location.sealed());
    turn.record(Stream::Guild(guild), GuildEvent::CharterAmended { version, digest, location })?;
    Ok(Outcome::Done)
}

pub(super) fn define_ranks(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &DefineRanks,
    command: &Command,
) -> Result<Outcome, Stop> {
    check_ranks(&c.ranks)?;
    let state = turn.guild(guild)?;
    if state.ranks() == c.ranks {
        return Ok(Outcome::AlreadyDone);
    }
    check_holders(state, &c.ranks)?;
    if let Some((_, caller)) = authority(turn, guild)? {
        check_editor(state, caller, &c.ranks)?;
    }
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::RanksDefined { ranks: c.ranks.clone() })?;
    document::check_ranks_kept(turn.guild(guild)?)?;
    Ok(Outcome::Done)
}

/// Every living member keeps a rank, and whoever comes to hold the founder rank may.
fn check_holders(state: &Guild, ranks: &[Rank]) -> Result<(), Rejection> {
    for member in state.members.values() {
        match ranks.iter().position(|rank| rank.name == member.rank) {
            None => return Err(Rejection::new(Code::RankInUse).detail(&member.rank).field("ranks")),
            Some(0) if !member.can_lead() => return Err(Rejection::new(Code::FounderKind).field("ranks")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Ranks are edited by the same rules as memberships: nothing at or above one's own, no scopes one lacks, not one's own.
fn check_editor(state: &Guild, caller: &Member, ranks: &[Rank]) -> Result<(), Rejection> {
    let place = state.rank_place(&caller.rank).unwrap_or(0);
    if !state.is_founder(caller) && state.ranks().get(..=place) != ranks.get(..=place) {
        return Err(Rejection::new(Code::RankTooHigh).field("ranks"));
    }
    for rank in ranks {
        let had = state.ranks().iter().find(|old| old.name == rank.name).map(|old| old.scopes.as_slice());
        let new = rank.scopes.iter().filter(|scope| !had.unwrap_or_default().contains(scope));
        if new.into_iter().any(|scope| !state.holds_scope(caller, *scope)) {
            return Err(Rejection::new(Code::ScopeNotHeld).detail(&rank.name).field("ranks"));
        }
        let own = caller.scopes.is_none() && rank.name == caller.rank;
        if own && had != Some(rank.scopes.as_slice()) {
            return Err(Rejection::new(Code::OwnMembership).detail(&rank.name).field("ranks"));
        }
    }
    Ok(())
}

/// Other open proposals were opened under the old document: they end with it.
pub(super) fn set_governance(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &SetGovernance,
    command: &Command,
) -> Result<Outcome, Stop> {
    document::check(turn, &c.governance)?;
    if *turn.guild(guild)?.governance() == *c.governance {
        return Ok(Outcome::AlreadyDone);
    }
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    proposals::void_others(turn, guild)?;
    turn.record(Stream::Guild(guild), GuildEvent::GovernanceSet { governance: c.governance.clone() })?;
    document::check_named(turn.guild(guild)?)?;
    Ok(Outcome::Done)
}
