//! Everything that can be asked: one closed enum, each command with its action name and its class.

use serde::{Deserialize, Serialize};

use crate::citizen::command::*;
use crate::city::command::*;
use crate::grant::command::*;
use crate::guild::command::*;
use crate::guild::governance::{Class, Evidence};
use crate::ids::{CommandId, Stream};
use crate::key::command::*;
use crate::reputation::command::*;
use crate::treasury::command::*;
use crate::turn::{Context, Decision, Outcome, Scene, Stop, Turn};

/// Whether a guild's governance decides about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Governed {
    By(Class),
    /// No decision is needed, and why.
    No(&'static str),
}

macro_rules! commands {
    ($($variant:ident = $action:literal, $governed:expr;)*) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        pub enum Command {
            $(#[serde(rename = $action)] $variant($variant),)*
        }

        impl Command {
            /// Every command's action name, in the order of the table.
            pub const ACTIONS: &'static [&'static str] = &[$($action),*];
            /// The class table: what decides about each command inside a guild.
            pub const TABLE: &'static [(&'static str, Governed)] = &[$(($action, $governed)),*];

            pub const fn action(&self) -> &'static str {
                match self { $(Self::$variant(_) => $action),* }
            }

            pub const fn governed(&self) -> Governed {
                match self { $(Self::$variant(_) => $governed),* }
            }
        }

        $(impl From<$variant> for Command {
            fn from(command: $variant) -> Self {
                Self::$variant(command)
            }
        })*
    };
}

const CITY: Governed = Governed::No("an act of the city, decided by roles");
const VOTE: Governed = Governed::No("a vote or its proposer's own act");
const INFLOW: Governed = Governed::No("an inflow");
const RECEIVER: Governed = Governed::No("the receiver's own act, under its finance scope");
const ATTEST: Governed = Governed::No("one's own word about another");
const EXPIRY: Governed = Governed::No("expiry gives back what was set aside");
const HELD: Governed = Governed::No("decided when the hold was placed; needs the finance scope");
const RETURN: Governed = Governed::No("gives back what was set aside; needs the finance scope");

commands! {
    FoundCity = "city.found", CITY;
    RegisterCurrency = "city.register_currency", CITY;
    DefineRole = "city.define_role", CITY;
    AssignSource = "city.assign_source", CITY;
    RegisterAction = "city.register_action", CITY;
    RegisterCitizen = "citizen.register", CITY;
    SuspendCitizen = "citizen.suspend", CITY;
    ReinstateCitizen = "citizen.reinstate", CITY;
    DeprovisionCitizen = "citizen.deprovision", CITY;
    AssignRole = "citizen.assign_role", CITY;
    UnassignRole = "citizen.unassign_role", CITY;
    GrantAttestation = "citizen.grant_attestation", CITY;
    WithdrawAttestation = "citizen.withdraw_attestation", CITY;
    IssueKey = "key.issue", CITY;
    RotateKey = "key.rotate", CITY;
    RevokeKey = "key.revoke", CITY;
    RecoverKey = "key.recover", CITY;
    FoundGuild = "guild.found", Governed::No("there is no guild yet");
    RenameGuild = "guild.rename", Governed::By(Class::Charter);
    ProposeParent = "guild.propose_parent", Governed::By(Class::Charter);
    AcceptChild = "guild.accept_child", Governed::By(Class::Charter);
    DetachChild = "guild.detach_child", Governed::By(Class::Charter);
    AmendCharter = "guild.amend_charter", Governed::By(Class::Charter);
    DefineRanks = "guild.define_ranks", Governed::By(Class::Charter);
    AddMember = "guild.add_member", Governed::By(Class::Membership);
    ChangeRank = "guild.change_rank", Governed::By(Class::Membership);
    SetScopes = "guild.set_scopes", Governed::By(Class::Membership);
    SuspendMember = "guild.suspend_member", Governed::By(Class::Membership);
    ReinstateMember = "guild.reinstate_member", Governed::By(Class::Membership);
    LeaveGuild = "guild.leave", Governed::No("nobody is kept against their will");
    RemoveMember = "guild.remove_member", Governed::By(Class::Membership);
    MarkDormant = "guild.mark_dormant", Governed::By(Class::Lifecycle);
    WakeGuild = "guild.wake", Governed::By(Class::Lifecycle);
    InitiateDissolution = "guild.initiate_dissolution", Governed::By(Class::Lifecycle);
    CancelDissolution = "guild.cancel_dissolution", Governed::By(Class::Lifecycle);
    FinalizeDissolution = "guild.finalize_dissolution", Governed::By(Class::Lifecycle);
    SetGovernance = "guild.set_governance", Governed::By(Class::Governance);
    Propose = "guild.propose", VOTE;
    Ratify = "guild.ratify", VOTE;
    RejectProposal = "guild.reject_proposal", VOTE;
    WithdrawProposal = "guild.withdraw_proposal", VOTE;
    ExpireProposal = "guild.expire_proposal", EXPIRY;
    AppointFounder = "guild.appoint_founder", Governed::No("decided by the parent guild's governance or a city principal");
    Deposit = "treasury.deposit", INFLOW;
    Withdraw = "treasury.withdraw", Governed::By(Class::Finance);
    PlaceHold = "treasury.hold", Governed::By(Class::Finance);
    CaptureHold = "treasury.capture", HELD;
    ReleaseHold = "treasury.release", RETURN;
    ExpireHold = "treasury.expire_hold", EXPIRY;
    OfferTransfer = "treasury.offer_transfer", Governed::By(Class::Finance);
    AcceptTransfer = "treasury.accept_transfer", RECEIVER;
    RejectTransfer = "treasury.reject_transfer", RECEIVER;
    CancelTransfer = "treasury.cancel_transfer", RETURN;
    ExpireTransfer = "treasury.expire_transfer", EXPIRY;
    SplitTransfer = "treasury.split_transfer", Governed::By(Class::Finance);
    FreezeTreasury = "treasury.freeze", Governed::By(Class::Finance);
    UnfreezeTreasury = "treasury.unfreeze", Governed::By(Class::Finance);
    SettleTreasury = "treasury.settle", Governed::By(Class::Finance);
    SetAutoAccept = "treasury.set_auto_accept", Governed::By(Class::Finance);
    GrantCapability = "grant.grant", Governed::By(Class::Work);
    ImportCapability = "grant.import", Governed::No("what a source says, told by an importer");
    RevokeGrant = "grant.revoke", Governed::By(Class::Work);
    AttenuateGrant = "grant.attenuate", Governed::By(Class::Work);
    DelegateGrant = "grant.delegate", Governed::By(Class::Work);
    ReverifyGrant = "grant.reverify", Governed::By(Class::Work);
    RecordVerifications = "grant.record_verifications", Governed::No("what a source says, told by a verifier");
    ExpireGrant = "grant.expire", EXPIRY;
    PruneGrant = "grant.prune", Governed::No("what ended long ago leaves the table");
    AttestOutcome = "reputation.attest", ATTEST;
    Endorse = "reputation.endorse", ATTEST;
    Flag = "reputation.flag", ATTEST;
    DisputeEvidence = "reputation.dispute", Governed::No("the holder's own word");
    ReverseEvidence = "reputation.reverse", ATTEST;
    RecomputeReputation = "reputation.recompute", Governed::No("follows from the evidence");
}

/// A command with everything that travels beside it.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub id: CommandId,
    pub command: Command,
    pub evidence: Vec<Evidence>,
    /// The version a stream must have: (stream, number of its entries).
    pub expected_version: Option<(Stream, u64)>,
}

/// Decides one command against the scene: pure, and the same answer for the same arguments.
pub fn decide(
    scene: &dyn Scene,
    command: &Command,
    evidence: &[Evidence],
    context: &Context,
) -> Result<Decision, Stop> {
    let mut turn = Turn::new(scene, context);
    turn.evidence = evidence.to_vec();
    let outcome = run(&mut turn, command)?;
    Ok(turn.finish(outcome))
}

/// One command inside a turn: as asked, or as the effect of a ratified proposal.
pub(crate) fn run(turn: &mut Turn<'_>, command: &Command) -> Result<Outcome, Stop> {
    match command {
        Command::FoundCity(c) => crate::city::decide::found_city(turn, c),
        Command::RegisterCurrency(c) => crate::city::decide::register_currency(turn, c),
        Command::DefineRole(c) => crate::city::decide::define_role(turn, c),
        Command::AssignSource(c) => crate::city::decide::assign_source(turn, c),
        Command::RegisterAction(c) => crate::city::decide::register_action(turn, c),
        Command::RegisterCitizen(c) => crate::citizen::decide::register(turn, c),
        Command::SuspendCitizen(c) => crate::citizen::decide::suspend(turn, c),
        Command::ReinstateCitizen(c) => crate::citizen::decide::reinstate(turn, c),
        Command::DeprovisionCitizen(c) => crate::citizen::decide::deprovision(turn, c),
        Command::AssignRole(c) => crate::citizen::decide::assign_role(turn, c),
        Command::UnassignRole(c) => crate::citizen::decide::unassign_role(turn, c),
        Command::GrantAttestation(c) => crate::citizen::decide::grant_attestation(turn, c),
        Command::WithdrawAttestation(c) => crate::citizen::decide::withdraw_attestation(turn, c),
        Command::IssueKey(c) => crate::key::decide::issue(turn, c),
        Command::RotateKey(c) => crate::key::decide::rotate(turn, c),
        Command::RevokeKey(c) => crate::key::decide::revoke(turn, c),
        Command::RecoverKey(c) => crate::key::decide::recover(turn, c),
        Command::Deposit(_)
        | Command::Withdraw(_)
        | Command::PlaceHold(_)
        | Command::CaptureHold(_)
        | Command::ReleaseHold(_)
        | Command::ExpireHold(_)
        | Command::OfferTransfer(_)
        | Command::AcceptTransfer(_)
        | Command::RejectTransfer(_)
        | Command::CancelTransfer(_)
        | Command::ExpireTransfer(_)
        | Command::SplitTransfer(_)
        | Command::FreezeTreasury(_)
        | Command::UnfreezeTreasury(_)
        | Command::SettleTreasury(_)
        | Command::SetAutoAccept(_) => crate::treasury::decide::run(turn, command),
        Command::GrantCapability(_)
        | Command::ImportCapability(_)
        | Command::RevokeGrant(_)
        | Command::AttenuateGrant(_)
        | Command::DelegateGrant(_)
        | Command::ReverifyGrant(_)
        | Command::RecordVerifications(_)
        | Command::ExpireGrant(_)
        | Command::PruneGrant(_) => crate::grant::decide::run(turn, command),
        Command::AttestOutcome(_)
        | Command::Endorse(_)
        | Command::Flag(_)
        | Command::DisputeEvidence(_)
        | Command::ReverseEvidence(_)
        | Command::RecomputeReputation(_) => crate::reputation::decide::run(turn, command),
        _ => crate::guild::decide::run(turn, command),
    }
}
