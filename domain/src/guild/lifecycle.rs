//! How a guild begins, rests, ends, and gets a founder again.

use super::command::{AppointFounder, FoundGuild, InitiateDissolution};
use super::event::GuildEvent;
use super::govern::{Ruling, ask, can_receive, govern_as};
use super::governance::{Class, Governance, Ground, Tier, default_proposal_days};
use super::state::Status;
use super::{charter, document, hierarchy, lockout, membership, proposals};
use crate::command::Command;
use crate::grant::computed;
use crate::ids::{CitizenId, GuildId, Stream, TreasuryId};
use crate::money::{Account, check_shares};
use crate::party::{CitizenKind, MemberId, MemberKind, Tier as CityTier};
use crate::rejection::{Code, Rejection};
use crate::treasury;
use crate::treasury::event::Owner;
use crate::turn::{Claim, Mode, Outcome, Stop, Turn};

/// The caller becomes the first member, at the founder rank.
pub(super) fn found(turn: &mut Turn<'_>, c: &FoundGuild) -> Result<Outcome, Stop> {
    let caller = turn.caller()?;
    let citizen = turn.citizen(caller)?;
    if !citizen.is_active() {
        return Err(Code::ActorNotActive.into());
    }
    let kind = citizen.kind();
    if kind == CitizenKind::Service {
        return Err(Code::FounderKind.into());
    }
    if citizen.guilds().len() >= membership::MAX_GUILDS {
        return Err(Code::TooManyGuilds.into());
    }
    let slug = Claim { scope: "guild_slug", key: c.slug.to_string() };
    if turn.claimed(&slug)?.is_some() {
        return Err(Rejection::new(Code::SlugTaken).field("slug").into());
    }
    let ranks = c.ranks.clone().unwrap_or_else(charter::default_ranks);
    charter::check_ranks(&ranks)?;
    let governance = c.governance.clone().unwrap_or_else(|| Box::new(decided_by(caller)));
    document::check(turn, &governance)?;
    let guild = GuildId::from_bits(turn.fresh_id());
    let member = MemberId::Citizen(caller);
    let rank = ranks[0].name.clone();
    let founded = GuildEvent::Founded { slug: c.slug.clone(), kind: c.kind, name: c.name.sealed(), ranks, governance };
    turn.record(Stream::Guild(guild), founded)?;
    let joined = GuildEvent::MemberAdded { member, kind: kind.into(), rank, scopes: None };
    turn.record(Stream::Guild(guild), joined)?;
    computed::follow_membership(turn, guild, member)?;
    membership::note_joined(turn, guild, member)?;
    treasury::open(turn, Owner::Guild(guild))?;
    document::check_named(turn.guild(guild)?)?;
    lockout::check(None, turn.guild(guild)?)?;
    Ok(Outcome::Done)
}

/// One person decides everything.
fn decided_by(decider: CitizenId) -> Governance {
    Governance {
        default: Tier::PrincipalOnly { decider },
        classes: Vec::new(),
        mandates: Vec::new(),
        reservation_limits: Vec::new(),
        proposal_days: default_proposal_days(),
    }
}

pub(super) fn mark_dormant(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Outcome, Stop> {
    must_be_led(turn, guild)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    proposals::void_others(turn, guild)?;
    turn.record(Stream::Guild(guild), GuildEvent::MarkedDormant {})?;
    Ok(Outcome::Done)
}

pub(super) fn wake(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Outcome, Stop> {
    if turn.guild(guild)?.status != Status::Dormant {
        return Err(Code::GuildNotDormant.into());
    }
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::Woken {})?;
    Ok(Outcome::Done)
}

pub(super) fn initiate_dissolution(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &InitiateDissolution,
    command: &Command,
) -> Result<Outcome, Stop> {
    must_be_led(turn, guild)?;
    must_have_no_children(turn, guild)?;
    check_receivers(turn, guild, c)?;
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    proposals::void_others(turn, guild)?;
    let initiated = GuildEvent::DissolutionInitiated { shares: c.shares.clone(), fallback: c.fallback };
    turn.record(Stream::Guild(guild), initiated)?;
    Ok(Outcome::Done)
}

pub(super) fn cancel_dissolution(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Outcome, Stop> {
    if turn.guild(guild)?.status != Status::Dissolving {
        return Err(Code::GuildNotDissolving.into());
    }
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    turn.record(Stream::Guild(guild), GuildEvent::DissolutionCancelled {})?;
    Ok(Outcome::Done)
}

/// Pays every share at once and ends the guild; what is recorded after its end would change something.
pub(super) fn finalize_dissolution(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Outcome, Stop> {
    let plan = turn.guild(guild)?.dissolution.clone().ok_or_else(|| Rejection::new(Code::GuildNotDissolving))?;
    must_have_no_children(turn, guild)?;
    let treasury = turn.treasury(TreasuryId::of_guild(guild))?;
    if treasury.has_open_holds() {
        return Err(Code::HoldsOpen.into());
    }
    // Ending is no way around a freeze.
    if treasury.is_frozen() {
        return Err(Code::TreasuryFrozen.into());
    }
    if let Some(outcome) = ask(turn, guild, command)? {
        return Ok(outcome);
    }
    treasury::pay_shares(turn, guild, &plan.0, plan.1)?;
    proposals::close_before_the_end(turn, guild)?;
    if let Some(parent) = turn.guild(guild)?.parent() {
        hierarchy::part(turn, parent, guild)?;
    }
    let members: Vec<MemberId> = turn.guild(guild)?.members().keys().copied().collect();
    turn.record(Stream::Guild(guild), GuildEvent::Dissolved {})?;
    computed::follow_dissolution(turn, guild, &members)?;
    Ok(Outcome::Done)
}

/// Gives a leaderless guild a founder, by its parent's governance or by a city principal. When the governance names
/// nobody who is left, the new founder alone decides from now on.
pub(super) fn appoint_founder(
    turn: &mut Turn<'_>,
    guild: GuildId,
    c: &AppointFounder,
    command: &Command,
) -> Result<Outcome, Stop> {
    let by = turn.caller()?;
    if !turn.guild(guild)?.is_leaderless() {
        return Err(Code::GuildNotLeaderless.into());
    }
    let kind = membership::kind_of(turn, c.member)?;
    if !matches!(kind, MemberKind::Human | MemberKind::Agent) {
        return Err(Code::FounderKind.into());
    }
    if c.as_parent {
        let parent = turn.guild(guild)?.parent().ok_or_else(|| Rejection::new(Code::NotAChild))?;
        if turn.guild(parent)?.status != Status::Active {
            return Err(Code::GuildNotActive.into());
        }
        if let Ruling::Proposed(parent, proposal) = govern_as(turn, parent, command, Class::Governance, None)? {
            return Ok(Outcome::Proposed(parent, proposal));
        }
    } else if turn.mode != Mode::Asked || turn.context.permit.tier != CityTier::Principal {
        return Err(Code::NotPermitted.into());
    }
    let (action, class, ground) = (command.action().to_owned(), Class::Governance, Ground::Appointment { citizen: by });
    turn.record(Stream::Guild(guild), GuildEvent::Decided { action, class, ground, spend: None })?;
    turn.record(Stream::Guild(guild), GuildEvent::FounderAppointed { member: c.member, kind, by })?;
    computed::follow_membership(turn, guild, c.member)?;
    membership::note_joined(turn, guild, c.member)?;
    restore_path(turn, guild, c.member)?;
    Ok(Outcome::Done)
}

fn restore_path(turn: &mut Turn<'_>, guild: GuildId, founder: MemberId) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    let MemberId::Citizen(founder) = founder else { return Ok(()) };
    if lockout::is_led(state) {
        return Ok(());
    }
    let governance = Box::new(lockout::sole_decider(state.governance(), founder));
    proposals::void_others(turn, guild)?;
    turn.record(Stream::Guild(guild), GuildEvent::GovernanceSet { governance })
}

/// Whoever is appointed to a leaderless guild finds it as it was.
fn must_be_led(turn: &Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    if turn.guild(guild)?.is_leaderless() { Err(Code::GuildLeaderless.into()) } else { Ok(()) }
}

fn must_have_no_children(turn: &Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    if turn.guild(guild)?.children().is_empty() { Ok(()) } else { Err(Code::LivingChildren.into()) }
}

/// Shares go to treasuries that exist and are not the guild's own; the fallback can receive today.
fn check_receivers(turn: &Turn<'_>, guild: GuildId, c: &InitiateDissolution) -> Result<(), Stop> {
    check_shares(&c.shares).map_err(|no| no.field("shares"))?;
    let own = TreasuryId::of_guild(guild);
    for share in &c.shares {
        let missing = || Rejection::new(Code::TreasuryNotFound).detail("external").field("shares");
        let Account::Treasury(to) = share.to else { return Err(missing().into()) };
        if to == own {
            return Err(Rejection::new(Code::ReceiverIsSelf).field("shares").into());
        }
        turn.treasury(to)?;
    }
    if c.fallback == own {
        return Err(Rejection::new(Code::ReceiverIsSelf).field("fallback").into());
    }
    let fallback = turn.treasury(c.fallback)?;
    let receives = match fallback.owner() {
        Some(Owner::Guild(owner)) => match can_receive(turn, owner) {
            Err(Stop::Rejected(_)) => false,
            other => other.map(|()| true)?,
        },
        Some(Owner::Citizen(_)) | None => true,
    };
    if fallback.is_frozen() || !receives {
        return Err(Rejection::new(Code::FallbackCannotReceive).field("fallback").into());
    }
    Ok(())
}
