//! Proposals: opened with what they need set aside, decided by votes, in effect with the deciding vote.

use super::command::Propose;
use super::event::{Ending, GuildEvent, Spend, Vote};
use super::govern::{Ruling, SpendRequest, tally};
use super::governance::{Class, Ground, Tier};
use super::state::{Guild, Proposal};
use crate::command::{Command, Governed, run};
use crate::ids::{GuildId, HoldId, ProposalId, Stream, TreasuryId};
use crate::rejection::{Code, Rejection};
use crate::treasury;
use crate::turn::{Mode, Outcome, Stop, Turn};

/// Most proposals that a guild keeps open at a time.
pub const MAX_OPEN: usize = 100;

/// Opens a proposal for a command that would not be refused now. A ratifier's proposing counts as their vote.
pub(super) fn open(
    turn: &mut Turn<'_>,
    guild: GuildId,
    command: &Command,
    class: Class,
    spend: Option<SpendRequest>,
) -> Result<Ruling, Stop> {
    let caller = turn.caller()?;
    let state = turn.guild(guild)?;
    let Tier::Consensus { ratifiers, needed } = state.tier(class) else { return Err(Code::NotUnderConsensus.into()) };
    if state.proposals.len() >= MAX_OPEN {
        return Err(Code::TooManyProposals.into());
    }
    if state.active_ratifiers(ratifiers) < *needed {
        return Err(Code::TooFewRatifiers.into());
    }
    let votes = state.active_member(caller).is_some_and(|member| Guild::ratifies(ratifiers, caller, member));
    let expires_at = turn.now().plus_days(state.governance().proposal_days);
    let proposal = ProposalId::from_bits(turn.fresh_id());
    let reserved = spend.as_ref().map(|spend| Spend { currency: spend.currency.clone(), amount: spend.amount });
    let hold = match spend {
        Some(spend) => {
            check_reservation(turn, guild, &spend)?;
            Some(treasury::reserve(turn, proposal, spend, expires_at)?)
        }
        None => None,
    };
    let command = Box::new(command.clone());
    let opened = GuildEvent::ProposalOpened {
        proposal,
        proposer: caller,
        class,
        command: command.clone(),
        expires_at,
        hold,
        reserved,
    };
    turn.record(Stream::Guild(guild), opened)?;
    // What would be refused now is refused at once, rather than voted on for a week.
    let mut attempt = turn.clone();
    attempt.mode = Mode::Effect(proposal);
    run(&mut attempt, &command)?;
    if votes {
        turn.record(Stream::Guild(guild), GuildEvent::ProposalVoted { proposal, voter: caller, vote: Vote::Yes })?;
        settle(turn, guild, proposal)?;
    }
    Ok(Ruling::Proposed(guild, proposal))
}

/// Proposes a command as if it had been sent directly, but only if votes are what decides about it.
pub(super) fn propose(turn: &mut Turn<'_>, guild: GuildId, propose: &Propose) -> Result<Outcome, Stop> {
    let Governed::By(class) = propose.command.governed() else { return Err(Code::NotGoverned.into()) };
    if super::decide::governing(turn, &propose.command)? != Some(guild) {
        return Err(Code::OtherGuild.into());
    }
    if !matches!(turn.guild(guild)?.tier(class), Tier::Consensus { .. }) {
        return Err(Code::NotUnderConsensus.into());
    }
    match run(turn, &propose.command)? {
        // Under a mandate, or as an act of the city: nobody would vote, so it is not for proposing.
        Outcome::Done => Err(Code::NotUnderConsensus.into()),
        outcome => Ok(outcome),
    }
}

pub(super) fn vote(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId, vote: Vote) -> Result<Outcome, Stop> {
    let caller = turn.caller()?;
    let state = turn.guild(guild)?;
    let proposal = open_proposal(state, id)?;
    if turn.now() >= proposal.expires_at {
        return Err(Code::ProposalExpired.into());
    }
    let Tier::Consensus { ratifiers, .. } = state.tier(proposal.class) else {
        return Err(Code::NotUnderConsensus.into());
    };
    if !state.active_member(caller).is_some_and(|member| Guild::ratifies(ratifiers, caller, member)) {
        return Err(Code::NotARatifier.into());
    }
    if proposal.votes.get(&caller) == Some(&vote) {
        return Ok(Outcome::AlreadyDone);
    }
    turn.record(Stream::Guild(guild), GuildEvent::ProposalVoted { proposal: id, voter: caller, vote })?;
    settle(turn, guild, id)?;
    Ok(Outcome::Done)
}

pub(super) fn withdraw(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId) -> Result<Outcome, Stop> {
    let proposal = open_proposal(turn.guild(guild)?, id)?;
    if turn.now() >= proposal.expires_at {
        return Err(Code::ProposalExpired.into());
    }
    if proposal.proposer != turn.caller()? {
        return Err(Code::NotTheProposer.into());
    }
    close(turn, guild, id, Ending::Withdrawn)?;
    Ok(Outcome::Done)
}

/// Anybody's: the time has passed or it has not.
pub(super) fn expire(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId) -> Result<Outcome, Stop> {
    if turn.now() < open_proposal(turn.guild(guild)?, id)?.expires_at {
        return Err(Code::ProposalNotExpired.into());
    }
    close(turn, guild, id, Ending::Expired)?;
    Ok(Outcome::Done)
}

/// The votes an effect takes place on.
pub(super) fn ground(state: &Guild, id: ProposalId) -> Result<Ground, Rejection> {
    let (yes, no) = tally(open_proposal(state, id)?.votes.values().copied());
    Ok(Ground::Proposal { proposal: id, yes, no })
}

/// Voids every open proposal but the one in effect: what they were decided on is no more.
pub(super) fn void_others(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    void(turn, guild, |_, _| true)
}

/// Voids the open proposals that the ratifiers who are left cannot pass any more.
pub(super) fn void_undecidable(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    void(turn, guild, |state, proposal| standing(state, proposal) == Standing::OutOfReach)
}

fn void(turn: &mut Turn<'_>, guild: GuildId, wanted: impl Fn(&Guild, &Proposal) -> bool) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    let spared = |id: &ProposalId| turn.mode == Mode::Effect(*id);
    let doomed = state.proposals.iter().filter(|(id, proposal)| !spared(id) && wanted(state, proposal));
    let doomed: Vec<_> = doomed.map(|(id, _)| *id).collect();
    doomed.into_iter().try_for_each(|id| close(turn, guild, id, Ending::Voided))
}

/// Closes the proposal in effect before its guild's end is recorded: after that nothing changes.
pub(super) fn close_before_the_end(turn: &mut Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    void_others(turn, guild)?;
    match turn.mode {
        Mode::Effect(id) => record_closed(turn, guild, id, Ending::Passed),
        Mode::Asked => Ok(()),
    }
}

fn open_proposal(state: &Guild, id: ProposalId) -> Result<&Proposal, Rejection> {
    state.proposal(id).ok_or_else(|| Rejection::new(Code::ProposalNotOpen))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Passed,
    Undecided,
    OutOfReach,
}

fn standing(state: &Guild, proposal: &Proposal) -> Standing {
    let Tier::Consensus { ratifiers, needed } = state.tier(proposal.class) else { return Standing::OutOfReach };
    let (yes, no) = tally(proposal.votes.values().copied());
    if yes >= *needed {
        Standing::Passed
    } else if state.active_ratifiers(ratifiers).saturating_sub(no) < *needed {
        Standing::OutOfReach
    } else {
        Standing::Undecided
    }
}

fn settle(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    match standing(state, open_proposal(state, id)?) {
        Standing::Undecided => Ok(()),
        Standing::OutOfReach => close(turn, guild, id, Ending::Rejected),
        Standing::Passed => take_effect(turn, guild, id),
    }
}

/// Decided against the state of now. If the effect is refused the votes stay, and what was set aside goes back.
fn take_effect(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId) -> Result<(), Stop> {
    let command = open_proposal(turn.guild(guild)?, id)?.command.clone();
    let mut attempt = turn.clone();
    attempt.mode = Mode::Effect(id);
    match run(&mut attempt, &command) {
        Ok(outcome) => {
            attempt.mode = turn.mode;
            *turn = attempt;
            if outcome == Outcome::AlreadyDone {
                release(turn, guild, id)?;
            }
            record_closed(turn, guild, id, Ending::Passed)
        }
        Err(Stop::Rejected(no)) => close(turn, guild, id, Ending::failed(no.code)),
        Err(Stop::Missing(missing)) => Err(Stop::Missing(missing)),
    }
}

/// Ends a proposal without effect and gives back what it held.
fn close(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId, ending: Ending) -> Result<(), Stop> {
    release(turn, guild, id)?;
    record_closed(turn, guild, id, ending)
}

fn release(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId) -> Result<(), Stop> {
    let hold: Option<HoldId> = turn.guild(guild)?.proposal(id).and_then(|proposal| proposal.hold);
    hold.map_or(Ok(()), |hold| treasury::release_reserved(turn, TreasuryId::of_guild(guild), hold))
}

fn record_closed(turn: &mut Turn<'_>, guild: GuildId, id: ProposalId, ending: Ending) -> Result<(), Stop> {
    if turn.guild(guild)?.proposal(id).is_none() {
        return Ok(());
    }
    turn.record(Stream::Guild(guild), GuildEvent::ProposalClosed { proposal: id, ending })
}

/// Open proposals together may set aside no more than the governance says.
fn check_reservation(turn: &Turn<'_>, guild: GuildId, spend: &SpendRequest) -> Result<(), Stop> {
    let limits = &turn.guild(guild)?.governance().reservation_limits;
    let Some(limit) = limits.iter().find(|limit| limit.currency == spend.currency) else { return Ok(()) };
    let most = limit.amount.at_scale(spend.amount.scale())?.minor();
    let reserved = turn.treasury(spend.treasury)?.reserved_by_proposals(&spend.currency);
    let wanted = reserved.saturating_add(spend.amount.minor());
    if wanted > most { Err(Code::ReservationLimit.into()) } else { Ok(()) }
}
