//! Who may decide: the ruling about one governed command, on record before its effects.

use super::event::{GuildEvent, Spend, Vote};
use super::governance::{Class, Delegation, Evidence, Ground, Mandate, Rule, SpendLimit, Tier};
use super::proposals;
use super::state::{Guild, Member, Meter, Status};
use crate::command::{Command, Governed};
use crate::ids::{CitizenId, GuildId, ProposalId, Slug, Stream, TreasuryId};
use crate::money::{Amount, AmountText, BASIS_POINTS, Currency};
use crate::party::MemberId;
use crate::rejection::{Code, Rejection};
use crate::text::Sealed;
use crate::treasury::event::HoldLeg;
use crate::turn::{Mode, Outcome, Stop, Turn};

/// What governance says to a command that it did not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Decided and on record: take effect now.
    Go,
    /// Waiting for votes (or, when the proposer's own vote decided, already done by way of the proposal).
    Proposed(GuildId, ProposalId),
}

/// The money that a command would commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendRequest {
    pub treasury: TreasuryId,
    pub currency: Currency,
    pub amount: Amount,
    /// What is set aside, and for whom, while a proposal is open.
    pub legs: Vec<HoldLeg>,
    pub mandate: Option<Slug>,
    /// What a hold is said to be for.
    pub purpose: Option<Sealed>,
}

/// Rules about a governed command: status, membership, scope, and the tier of its class.
pub fn govern(
    turn: &mut Turn<'_>,
    guild: GuildId,
    command: &Command,
    spend: Option<SpendRequest>,
) -> Result<Ruling, Stop> {
    let Governed::By(class) = command.governed() else { return Err(Code::NotGoverned.into()) };
    govern_as(turn, guild, command, class, spend)
}

/// The same for a command that a class of another guild decides about.
pub(super) fn govern_as(
    turn: &mut Turn<'_>,
    guild: GuildId,
    command: &Command,
    class: Class,
    spend: Option<SpendRequest>,
) -> Result<Ruling, Stop> {
    check_status(turn, guild, command)?;
    if let Mode::Effect(proposal) = turn.mode {
        let ground = proposals::ground(turn.guild(guild)?, proposal)?;
        return record(turn, guild, command, class, ground, spend.as_ref());
    }
    require_scope(turn, guild, class)?;
    let caller = turn.caller()?;
    let state = turn.guild(guild)?;
    let ground = match spend.as_ref().and_then(|spend| spend.mandate.as_ref().map(|id| (spend, id))) {
        Some((spend, id)) => by_mandate(turn, guild, spend, id, caller)?,
        None => match state.tier(class) {
            Tier::PrincipalOnly { decider } if *decider == caller => Ground::Decider { citizen: caller },
            Tier::PrincipalOnly { .. } => return Err(Code::NotTheDecider.into()),
            Tier::Consensus { .. } => return proposals::open(turn, guild, command, class, spend),
            Tier::Delegated { delegations } => by_delegation(turn, state, delegations, class, caller, spend.as_ref())?,
            Tier::Automated { rules } => by_rule(turn, state, rules, class, caller, spend.as_ref())?,
        },
    };
    record(turn, guild, command, class, ground, spend.as_ref())
}

/// Like `govern` for commands that commit no money: `Some` when the command ends here.
pub(crate) fn ask(turn: &mut Turn<'_>, guild: GuildId, command: &Command) -> Result<Option<Outcome>, Stop> {
    match govern(turn, guild, command, None)? {
        Ruling::Go => Ok(None),
        Ruling::Proposed(guild, proposal) => Ok(Some(Outcome::Proposed(guild, proposal))),
    }
}

/// The caller is an active member with that scope. The effect of a ratified proposal needs nobody's scope.
pub fn require_scope(turn: &Turn<'_>, guild: GuildId, scope: Class) -> Result<(), Stop> {
    if turn.mode != Mode::Asked {
        return Ok(());
    }
    let state = turn.guild(guild)?;
    let member = state.active_member(turn.caller()?).ok_or_else(|| Rejection::new(Code::NotAMember))?;
    if state.holds_scope(member, scope) { Ok(()) } else { Err(Code::MissingScope.into()) }
}

/// Whether the guild's status admits this command at all. Votes follow the command they are about.
pub fn check_status(turn: &Turn<'_>, guild: GuildId, command: &Command) -> Result<(), Stop> {
    let state = turn.guild(guild)?;
    let command = match command {
        Command::Propose(propose) => &propose.command,
        Command::Ratify(ratify) => state.proposal(ratify.proposal).map_or(command, |open| &open.command),
        _ => command,
    };
    let always = matches!(
        command,
        Command::LeaveGuild(_)
            | Command::RejectProposal(_)
            | Command::WithdrawProposal(_)
            | Command::ExpireProposal(_)
            | Command::ReleaseHold(_)
            | Command::ExpireHold(_)
            | Command::RejectTransfer(_)
            | Command::CancelTransfer(_)
            | Command::ExpireTransfer(_)
            | Command::AppointFounder(_)
    );
    let ending =
        matches!(command, Command::CaptureHold(_) | Command::CancelDissolution(_) | Command::FinalizeDissolution(_));
    match state.status() {
        Status::Active => Ok(()),
        Status::Dormant if always || matches!(command, Command::WakeGuild(_)) => Ok(()),
        Status::Dormant => Err(Code::GuildDormant.into()),
        Status::Dissolving if always || ending => Ok(()),
        Status::Dissolving => Err(Code::GuildDissolving.into()),
        Status::Dissolved => Err(Code::GuildDissolved.into()),
    }
}

/// Whether the guild's status lets money in.
pub fn can_receive(turn: &Turn<'_>, guild: GuildId) -> Result<(), Stop> {
    match turn.guild(guild)?.status() {
        Status::Active => Ok(()),
        Status::Dormant => Err(Code::GuildDormant.into()),
        Status::Dissolving => Err(Code::GuildDissolving.into()),
        Status::Dissolved => Err(Code::GuildDissolved.into()),
    }
}

/// Whether this citizen has any part in spending here. A suspended member counts: suspensions end.
pub fn spends_from(turn: &Turn<'_>, guild: GuildId, citizen: CitizenId) -> Result<bool, Stop> {
    let state = turn.guild(guild)?;
    let Some(member) = state.member(MemberId::Citizen(citizen)) else { return Ok(false) };
    let named = match state.tier(Class::Finance) {
        Tier::PrincipalOnly { decider } => *decider == citizen,
        Tier::Consensus { ratifiers, .. } => Guild::ratifies(ratifiers, citizen, member),
        Tier::Delegated { delegations } => delegations.iter().any(|delegation| {
            delegation.class == Class::Finance && delegation.covers(MemberId::Citizen(citizen), &member.rank)
        }),
        Tier::Automated { .. } => false,
    };
    Ok(named || state.holds_scope(member, Class::Finance))
}

fn record(
    turn: &mut Turn<'_>,
    guild: GuildId,
    command: &Command,
    class: Class,
    ground: Ground,
    spend: Option<&SpendRequest>,
) -> Result<Ruling, Stop> {
    let action = command.action().to_owned();
    let spend = spend.map(|spend| Spend { currency: spend.currency.clone(), amount: spend.amount });
    turn.record(Stream::Guild(guild), GuildEvent::Decided { action, class, ground, spend })?;
    Ok(Ruling::Go)
}

fn by_delegation(
    turn: &Turn<'_>,
    state: &Guild,
    delegations: &[Delegation],
    class: Class,
    caller: CitizenId,
    spend: Option<&SpendRequest>,
) -> Result<Ground, Stop> {
    let member = MemberId::Citizen(caller);
    let rank = &state.active_member(caller).ok_or_else(|| Rejection::new(Code::NotAMember))?.rank;
    let mut refusal = Rejection::new(Code::NoDelegation);
    for delegation in delegations.iter().filter(|it| it.class == class && it.covers(member, rank)) {
        match within(turn, state, Meter::Delegation, &delegation.id, &delegation.limits, member, spend) {
            Ok(()) => return Ok(Ground::Delegation { delegation: delegation.id.clone(), member }),
            Err(no) => refusal = no,
        }
    }
    Err(refusal.into())
}

fn by_rule(
    turn: &Turn<'_>,
    state: &Guild,
    rules: &[Rule],
    class: Class,
    caller: CitizenId,
    spend: Option<&SpendRequest>,
) -> Result<Ground, Stop> {
    let member = MemberId::Citizen(caller);
    let rank = &state.active_member(caller).ok_or_else(|| Rejection::new(Code::NotAMember))?.rank;
    let mut refusal = Rejection::new(Code::NoRuleMatches);
    // While no reputation is recorded, a rule that asks for it does not match.
    let open = |rule: &&Rule| rule.class == class && rule.admits_rank(rank) && rule.required_reputation.is_none();
    for rule in rules.iter().filter(open) {
        let Some(evidence) = required(&turn.evidence, &rule.required_evidence) else { continue };
        match within(turn, state, Meter::Rule, &rule.id, &rule.limits, member, spend) {
            Ok(()) => return Ok(Ground::Rule { rule: rule.id.clone(), member, evidence }),
            Err(no) => refusal = no,
        }
    }
    Err(refusal.into())
}

/// The first piece of evidence of every kind a rule asks for, or `None` when one is missing.
fn required(evidence: &[Evidence], kinds: &[Slug]) -> Option<Vec<Evidence>> {
    kinds.iter().map(|kind| evidence.iter().find(|piece| piece.kind == *kind).cloned()).collect()
}

/// The first day of a rolling period of whole UTC days that ends today.
fn since(turn: &Turn<'_>, period_days: u32) -> i64 {
    turn.now().day() - i64::from(period_days) + 1
}

fn at_most(limit: i128, wanted: i128, what: &'static str) -> Result<(), Rejection> {
    if wanted > limit { Err(Rejection::new(Code::LimitExceeded).detail(what)) } else { Ok(()) }
}

fn within(
    turn: &Turn<'_>,
    state: &Guild,
    meter: Meter,
    id: &Slug,
    limits: &[SpendLimit],
    member: MemberId,
    spend: Option<&SpendRequest>,
) -> Result<(), Rejection> {
    let Some(spend) = spend else { return Ok(()) };
    let unlisted = || Rejection::new(Code::LimitExceeded).detail("currency not listed");
    let limit = limits.iter().find(|limit| limit.currency == spend.currency).ok_or_else(unlisted)?;
    let minor = |amount: AmountText| amount.at_scale(spend.amount.scale()).map(Amount::minor);
    let wanted = spend.amount.minor();
    let since = since(turn, limit.period_days);
    let spent = |by| state.spent(meter, id, &spend.currency, since, by).saturating_add(wanted);
    at_most(minor(limit.per_action)?, wanted, "per action")?;
    at_most(minor(limit.per_actor)?, spent(Some(member)), "per actor")?;
    at_most(minor(limit.total)?, spent(None), "in total")
}

/// A mandate replaces the tier's decision: it was decided when the governance was.
fn by_mandate(
    turn: &Turn<'_>,
    guild: GuildId,
    spend: &SpendRequest,
    id: &Slug,
    caller: CitizenId,
) -> Result<Ground, Stop> {
    let state = turn.guild(guild)?;
    let found = state.governance().mandates.iter().find(|mandate| mandate.id == *id);
    let mandate = found.ok_or_else(|| Rejection::new(Code::MandateNotFound))?;
    if spend.legs.is_empty() || spend.legs.iter().any(|leg| leg.payee != mandate.payee) {
        return Err(Code::MandatePayee.into());
    }
    let since = since(turn, mandate.period_days);
    let spent = state.spent(Meter::Mandate, id, &spend.currency, since, None);
    let wanted = spent.saturating_add(spend.amount.minor());
    if let Some(most) = mandate_maximum(mandate, spend)? {
        at_most(most, wanted, "mandate maximum")?;
    }
    if let Some(points) = mandate.basis_points {
        let inflow = turn.treasury(spend.treasury)?.deposited_since(&spend.currency, since);
        let share = inflow.saturating_mul(i128::from(points)) / i128::from(BASIS_POINTS);
        at_most(share, wanted, "mandate share")?;
    }
    Ok(Ground::Mandate { mandate: id.clone(), member: MemberId::Citizen(caller) })
}

/// An unlisted currency has no maximum when there is a share to limit it, else it may not be paid at all.
fn mandate_maximum(mandate: &Mandate, spend: &SpendRequest) -> Result<Option<i128>, Rejection> {
    match mandate.maximum.iter().find(|limit| limit.currency == spend.currency) {
        Some(limit) => Ok(Some(limit.amount.at_scale(spend.amount.scale())?.minor())),
        None => Ok(mandate.basis_points.is_none().then_some(0)),
    }
}

/// The caller's own membership, for rules about who may do what to whom. `None` in the effect of a proposal: what
/// its proposer may ask for was checked when it was opened.
pub(super) fn authority<'t>(turn: &'t Turn<'_>, guild: GuildId) -> Result<Option<(CitizenId, &'t Member)>, Stop> {
    if turn.mode != Mode::Asked {
        return Ok(None);
    }
    let caller = turn.caller()?;
    let member = turn.guild(guild)?.active_member(caller).ok_or_else(|| Rejection::new(Code::NotAMember))?;
    Ok(Some((caller, member)))
}

/// Votes for and against.
pub(super) fn tally(votes: impl Iterator<Item = Vote>) -> (u32, u32) {
    votes.fold((0, 0), |(yes, no), vote| match vote {
        Vote::Yes => (yes + 1, no),
        Vote::No => (yes, no + 1),
    })
}
