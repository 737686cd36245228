//! From a command to its handler, and what is checked around every one of them.

use super::command::*;
use super::event::Vote;
use super::{charter, govern, hierarchy, lifecycle, lockout, membership, proposals};
use crate::command::{Command, Governed};
use crate::grant::authority;
use crate::ids::{GuildId, GuildRef, TreasuryId};
use crate::treasury::event::Owner;
use crate::turn::{Outcome, Stop, Turn};

/// Decides a command about a guild.
pub fn run(turn: &mut Turn<'_>, command: &Command) -> Result<Outcome, Stop> {
    if let Command::FoundGuild(found) = command {
        return lifecycle::found(turn, found);
    }
    let Some(reference) = guild_of(command) else { unreachable!("{} is not about a guild", command.action()) };
    let guild = turn.guild_id(reference)?;
    let before = turn.guild(guild)?.clone();
    govern::check_status(turn, guild, command)?;
    if let Governed::By(class) = command.governed() {
        membership::check_rejoin(turn, guild, command)?;
        govern::require_scope(turn, guild, class)?;
    }
    let outcome = dispatch(turn, guild, command)?;
    if !lockout::untouched(&before, turn.guild(guild)?) {
        lockout::check(Some(&before), turn.guild(guild)?)?;
        proposals::void_undecidable(turn, guild)?;
        lockout::note_leadership(turn, guild)?;
    }
    Ok(outcome)
}

fn dispatch(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Outcome, Stop> {
    match command {
        Command::RenameGuild(c) => charter::rename(turn, guild, c, command),
        Command::AmendCharter(c) => charter::amend(turn, guild, c, command),
        Command::DefineRanks(c) => charter::define_ranks(turn, guild, c, command),
        Command::SetGovernance(c) => charter::set_governance(turn, guild, c, command),
        Command::ProposeParent(c) => hierarchy::propose_parent(turn, guild, c, command),
        Command::AcceptChild(c) => hierarchy::accept_child(turn, guild, c, command),
        Command::DetachChild(c) => hierarchy::detach_child(turn, guild, c, command),
        Command::AddMember(c) => membership::add(turn, guild, c, command),
        Command::ChangeRank(c) => membership::change_rank(turn, guild, c, command),
        Command::SetScopes(c) => membership::set_scopes(turn, guild, c, command),
        Command::SuspendMember(c) => membership::suspend(turn, guild, c, command),
        Command::ReinstateMember(c) => membership::reinstate(turn, guild, c, command),
        Command::LeaveGuild(_) => membership::leave(turn, guild),
        Command::RemoveMember(c) => membership::remove(turn, guild, c, command),
        Command::MarkDormant(_) => lifecycle::mark_dormant(turn, guild, command),
        Command::WakeGuild(_) => lifecycle::wake(turn, guild, command),
        Command::InitiateDissolution(c) => lifecycle::initiate_dissolution(turn, guild, c, command),
        Command::CancelDissolution(_) => lifecycle::cancel_dissolution(turn, guild, command),
        Command::FinalizeDissolution(_) => lifecycle::finalize_dissolution(turn, guild, command),
        Command::AppointFounder(c) => lifecycle::appoint_founder(turn, guild, c, command),
        Command::Propose(c) => proposals::propose(turn, guild, c),
        Command::Ratify(c) => proposals::vote(turn, guild, c.proposal, Vote::Yes),
        Command::RejectProposal(c) => proposals::vote(turn, guild, c.proposal, Vote::No),
        Command::WithdrawProposal(c) => proposals::withdraw(turn, guild, c.proposal),
        Command::ExpireProposal(c) => proposals::expire(turn, guild, c.proposal),
        other => unreachable!("{} is not about a guild", other.action()),
    }
}

/// The guild whose governance decides about a command; `None` when no guild's does.
pub(super) fn governing(turn: &Turn<'_>, command: &Command) -> Result<Option<GuildId>, Stop> {
    if let Some(reference) = guild_of(command) {
        return turn.guild_id(reference).map(Some);
    }
    let Some(treasury) = treasury_of(command) else { return authority::governing(turn, command) };
    match turn.treasury(treasury)?.owner() {
        Some(Owner::Guild(guild)) => Ok(Some(guild)),
        Some(Owner::Citizen(_)) | None => Ok(None),
    }
}

fn guild_of(command: &Command) -> Option<&GuildRef> {
    Some(match command {
        Command::RenameGuild(RenameGuild { guild, .. })
        | Command::ProposeParent(ProposeParent { guild, .. })
        | Command::AcceptChild(AcceptChild { guild, .. })
        | Command::DetachChild(DetachChild { guild, .. })
        | Command::AmendCharter(AmendCharter { guild, .. })
        | Command::DefineRanks(DefineRanks { guild, .. })
        | Command::AddMember(AddMember { guild, .. })
        | Command::ChangeRank(ChangeRank { guild, .. })
        | Command::SetScopes(SetScopes { guild, .. })
        | Command::SuspendMember(SuspendMember { guild, .. })
        | Command::ReinstateMember(ReinstateMember { guild, .. })
        | Command::LeaveGuild(LeaveGuild { guild })
        | Command::RemoveMember(RemoveMember { guild, .. })
        | Command::MarkDormant(MarkDormant { guild })
        | Command::WakeGuild(WakeGuild { guild })
        | Command::InitiateDissolution(InitiateDissolution { guild, .. })
        | Command::CancelDissolution(CancelDissolution { guild })
        | Command::FinalizeDissolution(FinalizeDissolution { guild })
        | Command::SetGovernance(SetGovernance { guild, .. })
        | Command::Propose(Propose { guild, .. })
        | Command::Ratify(Ratify { guild, .. })
        | Command::RejectProposal(RejectProposal { guild, .. })
        | Command::WithdrawProposal(WithdrawProposal { guild, .. })
        | Command::ExpireProposal(ExpireProposal { guild, .. })
        | Command::AppointFounder(AppointFounder { guild, .. }) => guild,
        _ => return None,
    })
}

/// The treasury that a governed command spends from or manages.
const fn treasury_of(command: &Command) -> Option<TreasuryId> {
    Some(match command {
        Command::Withdraw(c) => c.treasury,
        Command::PlaceHold(c) => c.treasury,
        Command::OfferTransfer(c) => c.treasury,
        Command::SplitTransfer(c) => c.treasury,
        Command::FreezeTreasury(c) => c.treasury,
        Command::UnfreezeTreasury(c) => c.treasury,
        Command::SettleTreasury(c) => c.treasury,
        Command::SetAutoAccept(c) => c.treasury,
        _ => return None,
    })
}
