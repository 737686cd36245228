//! Rules of guilds: members and ranks, the hierarchy, the life of a guild, and that what took effect was decided.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

mod apply;

use super::governance::{Class, Governance, Ground, Spend};
use super::values::{Account, CitizenId, Digest, GuildId, HoldId, Member, ProposalId, Slug, Time, TreasuryId};
use super::{Notes, Nothing, World, events};
pub use apply::apply;

/// Levels of the deepest hierarchy; the root is 1.
pub const MAX_DEPTH: usize = 8;

events! {
    "guild.founded.v1" => Founded(Founded), ["name"], "first in its stream, under a slug never used before; a treasury opens in the same act";
    "guild.renamed.v1" => Renamed(Nothing), ["name"], "decided";
    "guild.parent_proposed.v1" => ParentProposed(Parent), [], "decided; the parent exists";
    "guild.child_accepted.v1" => ChildAccepted(Child), [], "decided by the parent, after the child proposed it";
    "guild.parent_set.v1" => ParentSet(Parent), [], "parent and child name each other; no cycle, at most 8 levels";
    "guild.child_detached.v1" => ChildDetached(Child), [], "decided; it was a child";
    "guild.parent_cleared.v1" => ParentCleared(Parent), [], "it was the parent";
    "guild.charter_amended.v1" => CharterAmended(Charter), ["location"], "decided; versions without a gap";
    "guild.ranks_defined.v1" => RanksDefined(Ranks), [], "decided; no rank in use disappears";
    "guild.member_added.v1" => MemberAdded(MemberAdded), [], "decided; one living membership, of the right kind, in a rank that exists";
    "guild.rank_changed.v1" => RankChanged(RankChanged), [], "decided; a living member, a rank that exists";
    "guild.scopes_set.v1" => ScopesSet(ScopesSet), [], "decided; a living member";
    "guild.member_suspended.v1" => MemberSuspended(Who), ["reason?"], "decided; was active";
    "guild.member_reinstated.v1" => MemberReinstated(Who), [], "decided; was suspended";
    "guild.member_city_suspended.v1" => MemberCitySuspended(Who), [], "a living member, not twice";
    "guild.member_city_reinstated.v1" => MemberCityReinstated(Who), [], "was suspended by the city";
    "guild.member_left.v1" => MemberLeft(Who), [], "a living member";
    "guild.member_removed.v1" => MemberRemoved(Who), ["reason?"], "a living member; decided, or ended by the city";
    "guild.became_leaderless.v1" => BecameLeaderless(Nothing), [], "not twice; whoever has no active founder when an act ends must have said so";
    "guild.leadership_restored.v1" => LeadershipRestored(Nothing), [], "was leaderless; an active founder is there";
    "guild.founder_appointed.v1" => FounderAppointed(FounderAppointed), [], "the guild was leaderless; a human or an agent";
    "guild.marked_dormant.v1" => MarkedDormant(Nothing), [], "decided; was active";
    "guild.woken.v1" => Woken(Nothing), [], "decided; was dormant";
    "guild.dissolution_initiated.v1" => DissolutionInitiated(Dissolution), [], "decided; was active, without children; shares make a whole";
    "guild.dissolution_cancelled.v1" => DissolutionCancelled(Nothing), [], "decided; was dissolving";
    "guild.dissolved.v1" => Dissolved(Nothing), [], "decided; was dissolving; its treasury ends empty; nothing changes afterwards";
    "guild.governance_set.v1" => GovernanceSet(GovernanceSet), [], "decided by the governance in force";
    "guild.proposal_opened.v1" => ProposalOpened(Box<ProposalOpened>), ["command.*"], "the class is under consensus; it has not expired before it began";
    "guild.proposal_voted.v1" => ProposalVoted(Voted), [], "an open, unexpired proposal; the voter is an active ratifier";
    "guild.proposal_closed.v1" => ProposalClosed(Closed), [], "passes or fails only with enough votes of active ratifiers; expires not before its time";
    "guild.decided.v1" => Decided(Box<Decided>), [], "the ground is one that the governance in force gives for this class";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Company,
    Project,
    Community,
    MetaGuild,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Rank {
    name: Slug,
    #[serde(default)]
    scopes: Vec<Class>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Founded {
    slug: Slug,
    kind: Kind,
    ranks: Vec<Rank>,
    governance: Box<Governance>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    parent: GuildId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    child: GuildId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct Charter {
    version: u32,
    digest: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranks {
    ranks: Vec<Rank>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    Human,
    Agent,
    Service,
    Squad,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct MemberAdded {
    member: Member,
    kind: MemberKind,
    rank: Slug,
    scopes: Option<Vec<Class>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankChanged {
    member: Member,
    rank: Slug,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct ScopesSet {
    member: Member,
    scopes: Option<Vec<Class>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    member: Member,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FounderAppointed {
    member: Member,
    kind: MemberKind,
    by: CitizenId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub to: Account,
    pub basis_points: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dissolution {
    shares: Vec<Share>,
    fallback: TreasuryId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceSet {
    governance: Box<Governance>,
}

/// The proposed command: only its name matters until it takes effect.
#[derive(Debug, Deserialize)]
pub struct Proposed {
    #[serde(rename = "type")]
    action: Box<str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub struct ProposalOpened {
    proposal: ProposalId,
    proposer: CitizenId,
    class: Class,
    command: Proposed,
    expires_at: Time,
    hold: Option<HoldId>,
    reserved: Option<Spend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    Yes,
    No,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voted {
    proposal: ProposalId,
    voter: CitizenId,
    vote: Vote,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "read to hold the data to its shape")]
pub enum Ending {
    Passed {},
    Failed { code: String },
    Rejected {},
    Expired {},
    Withdrawn {},
    Voided {},
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    proposal: ProposalId,
    ending: Ending,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    action: Box<str>,
    class: Class,
    ground: Ground,
    spend: Option<Spend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Dormant,
    Dissolving,
    Dissolved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Active,
    Suspended,
    Gone,
}

#[derive(Debug)]
struct Membership {
    kind: MemberKind,
    rank: Slug,
    standing: Standing,
    city_suspended: bool,
}

impl Membership {
    fn is_active(&self) -> bool {
        self.standing == Standing::Active && !self.city_suspended
    }
}

#[derive(Debug)]
struct Proposal {
    class: Class,
    action: Box<str>,
    proposer: CitizenId,
    expires_at: Time,
    votes: HashMap<CitizenId, Vote>,
    /// Whether the votes sufficed when they were last counted.
    passing: bool,
}

/// Whether shares are positive, name nobody twice and make a whole.
pub fn shares_are_whole(shares: &[Share]) -> bool {
    let sum = shares.iter().try_fold(0_u32, |sum, share| sum.checked_add(share.basis_points));
    let twice =
        shares.iter().enumerate().any(|(index, share)| shares[..index].iter().any(|other| other.to == share.to));
    sum == Some(10_000) && !twice && shares.iter().all(|share| share.basis_points > 0)
}

/// What is living of a guild.
#[derive(Debug)]
pub struct Guild {
    status: Status,
    leaderless: bool,
    pub parent: Option<GuildId>,
    proposed_parent: Option<GuildId>,
    pub children: BTreeSet<GuildId>,
    charter: u32,
    ranks: Vec<Slug>,
    governance: Box<Governance>,
    members: HashMap<Member, Membership>,
    proposals: HashMap<ProposalId, Proposal>,
}

impl Guild {
    pub fn is_dissolved(&self) -> bool {
        self.status == Status::Dissolved
    }

    /// Neither asleep nor ending.
    pub fn is_awake(&self) -> bool {
        self.status == Status::Active
    }

    pub fn is_living_member(&self, citizen: CitizenId) -> bool {
        self.members.get(&Member::Citizen(citizen)).is_some_and(|member| member.standing != Standing::Gone)
    }

    /// The rank of an active member of a guild that is not dissolved.
    pub fn active_rank(&self, member: Member) -> Option<&Slug> {
        let active = self.members.get(&member).filter(|membership| membership.is_active() && !self.is_dissolved());
        active.map(|membership| &membership.rank)
    }

    pub fn is_active_member(&self, citizen: CitizenId) -> bool {
        self.members.get(&Member::Citizen(citizen)).is_some_and(Membership::is_active)
    }

    pub fn rank_names(&self) -> &[Slug] {
        &self.ranks
    }

    fn has_active_founder(&self) -> bool {
        self.members.values().any(|member| member.is_active() && self.ranks.first() == Some(&member.rank))
    }

    fn is_active_ratifier(&self, class: Class, citizen: CitizenId) -> bool {
        let Some((ratifiers, _)) = self.governance.consensus(class) else { return false };
        self.members.get(&Member::Citizen(citizen)).is_some_and(|member| {
            let named = ratifiers.ranks.contains(&member.rank) || ratifiers.members.contains(&citizen);
            named && member.is_active() && matches!(member.kind, MemberKind::Human | MemberKind::Agent)
        })
    }

    /// Counts the votes for a proposal.
    fn count(&mut self, id: ProposalId) {
        let Some(proposal) = self.proposals.get_mut(&id) else { return };
        let needed = self.governance.consensus(proposal.class).map(|(_, needed)| needed as usize);
        let yes = proposal.votes.values().filter(|vote| **vote == Vote::Yes).count();
        proposal.passing = needed.is_some_and(|needed| yes >= needed);
    }

    /// A vote counts only while its ratifier is active, and does not come back with them.
    fn drop_stale_votes(&mut self) {
        let mut proposals = std::mem::take(&mut self.proposals);
        for proposal in proposals.values_mut().filter(|proposal| !proposal.votes.is_empty()) {
            if self.governance.consensus(proposal.class).is_some() {
                proposal.votes.retain(|voter, _| self.is_active_ratifier(proposal.class, *voter));
            }
        }
        self.proposals = proposals;
    }
}

impl World {
    /// What must hold of a guild when an act that touched it ends.
    pub fn check_guild(&self, id: GuildId, notes: &mut Notes) {
        let Some(guild) = self.guilds.get(&id) else { return };
        if guild.is_dissolved() {
            return;
        }
        let led = guild.has_active_founder();
        notes.expect(led || guild.leaderless, || format!("{id} has no active founder, and nobody says so"));
        let undecided = guild.proposals.iter().find(|(_, proposal)| proposal.passing);
        let undecided = undecided.map(|(proposal, _)| *proposal);
        notes.expect(undecided.is_none(), || {
            format!("{undecided:?} of {id} has the votes and was neither decided nor failed")
        });
    }
}
