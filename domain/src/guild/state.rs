//! A guild as it stands: its roster, its governance, its open proposals, and what was spent on which ground.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::event::{GuildEvent, Rank, Vote};
use super::governance::{Class, Governance, Ground, Ratifiers, Tier};
use crate::command::Command;
use crate::ids::{CitizenId, GuildId, HoldId, ProposalId, Slug, TreasuryId};
use crate::money::{Currency, Share};
use crate::party::{MemberId, MemberKind};
use crate::time::Time;

/// No rolling period is longer, so older buckets are never asked for again.
pub const MAX_PERIOD_DAYS: u32 = 366;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    #[default]
    Active,
    Dormant,
    Dissolving,
    Dissolved,
}

/// A living membership; those who left leave the state, their history stays in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub kind: MemberKind,
    pub rank: Slug,
    /// `None` = the rank's defaults.
    pub scopes: Option<Vec<Class>>,
    /// By the guild.
    pub suspended: bool,
    /// By the city: a state beside the guild's own.
    pub city_suspended: bool,
}

impl Member {
    pub const fn is_active(&self) -> bool {
        !self.suspended && !self.city_suspended
    }

    /// Founders, ratifiers and deciders are people or agents, never services or squads.
    pub const fn can_lead(&self) -> bool {
        matches!(self.kind, MemberKind::Human | MemberKind::Agent)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub proposer: CitizenId,
    pub class: Class,
    pub command: Arc<Command>,
    pub expires_at: Time,
    pub hold: Option<HoldId>,
    /// Only of ratifiers who are active now; a vote goes with its ratifier.
    pub votes: OrdMap<CitizenId, Vote>,
}

/// What kind of permission money was committed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meter {
    Delegation,
    Rule,
    Mandate,
}

/// Minor units by UTC day and actor.
type Buckets = OrdMap<(i64, MemberId), i128>;

#[derive(Debug, Clone, Default)]
pub struct Guild {
    slug: Option<Slug>,
    pub(super) status: Status,
    pub(super) leaderless: bool,
    pub(super) parent: Option<GuildId>,
    pub(super) proposed_parent: Option<GuildId>,
    pub(super) children: OrdSet<GuildId>,
    pub(super) charter_version: u32,
    pub(super) ranks: Arc<Vec<Rank>>,
    pub(super) members: OrdMap<MemberId, Member>,
    pub(super) removed: OrdSet<MemberId>,
    pub(super) governance: Option<Arc<Governance>>,
    pub(super) proposals: OrdMap<ProposalId, Proposal>,
    pub(super) dissolution: Option<Arc<(Vec<Share>, TreasuryId)>>,
    spent: OrdMap<(Meter, Slug, Currency), Buckets>,
}

impl Guild {
    pub const fn exists(&self) -> bool {
        self.slug.is_some()
    }

    pub const fn slug(&self) -> Option<&Slug> {
        self.slug.as_ref()
    }

    pub const fn status(&self) -> Status {
        self.status
    }

    pub const fn is_leaderless(&self) -> bool {
        self.leaderless
    }

    pub const fn parent(&self) -> Option<GuildId> {
        self.parent
    }

    /// The living ones: a dissolved guild leaves its parent.
    pub const fn children(&self) -> &OrdSet<GuildId> {
        &self.children
    }

    pub fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    /// The living membership, active or suspended.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    pub const fn members(&self) -> &OrdMap<MemberId, Member> {
        &self.members
    }

    pub fn active_member(&self, id: CitizenId) -> Option<&Member> {
        self.member(MemberId::Citizen(id)).filter(|member| member.is_active())
    }

    pub fn proposal(&self, id: ProposalId) -> Option<&Proposal> {
        self.proposals.get(&id)
    }

    pub const fn proposals(&self) -> &OrdMap<ProposalId, Proposal> {
        &self.proposals
    }

    /// The document in force.
    pub fn governance(&self) -> &Governance {
        self.governance.as_deref().expect("a founded guild has a governance document")
    }

    /// Who decides a class: its own rule, else the default.
    pub fn tier(&self, class: Class) -> &Tier {
        let governance = self.governance();
        let own = governance.classes.iter().find(|rule| rule.class == class);
        own.map_or(&governance.default, |rule| &rule.tier)
    }

    /// The place of a rank in the list: 0 is the founder rank, smaller is higher.
    pub fn rank_place(&self, rank: &Slug) -> Option<usize> {
        self.ranks.iter().position(|known| known.name == *rank)
    }

    pub fn is_founder(&self, member: &Member) -> bool {
        self.ranks.first().is_some_and(|first| first.name == member.rank)
    }

    pub fn active_founders(&self) -> usize {
        self.members.values().filter(|member| member.is_active() && self.is_founder(member)).count()
    }

    /// A member's own scopes, else the rank's declared defaults, else nothing.
    pub fn scopes_of<'a>(&'a self, member: &'a Member) -> &'a [Class] {
        let declared = || self.ranks.iter().find(|rank| rank.name == member.rank);
        member.scopes.as_deref().or_else(|| declared().map(|rank| rank.scopes.as_slice())).unwrap_or_default()
    }

    pub fn holds_scope(&self, member: &Member, scope: Class) -> bool {
        self.scopes_of(member).contains(&scope)
    }

    /// Whether the member is named by these ratifiers and may ratify at all.
    pub fn ratifies(ratifiers: &Ratifiers, id: CitizenId, member: &Member) -> bool {
        member.can_lead() && (ratifiers.ranks.contains(&member.rank) || ratifiers.members.contains(&id))
    }

    pub fn active_ratifiers(&self, ratifiers: &Ratifiers) -> u32 {
        let counts = |(id, member): &(&MemberId, &Member)| match id {
            MemberId::Citizen(id) => member.is_active() && Self::ratifies(ratifiers, *id, member),
            MemberId::Squad(_) => false,
        };
        u32::try_from(self.members.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }

    /// What was committed on one ground since a UTC day (that day included), by one actor or by everybody.
    pub fn spent(&self, meter: Meter, id: &Slug, currency: &Currency, since_day: i64, by: Option<MemberId>) -> i128 {
        let Some(buckets) = self.spent.get(&(meter, id.clone(), currency.clone())) else { return 0 };
        let counted = |((day, actor), _): &(&(i64, MemberId), &i128)| {
            *day >= since_day && by.is_none_or(|wanted| wanted == *actor)
        };
        buckets.iter().filter(counted).map(|(_, minor)| *minor).fold(0, i128::saturating_add)
    }

    pub fn evolve(&mut self, event: &GuildEvent, at: Time) {
        match event {
            GuildEvent::Founded { slug, ranks, governance, .. } => {
                self.slug = Some(slug.clone());
                self.ranks = Arc::new(ranks.clone());
                self.governance = Some(Arc::new((**governance).clone()));
            }
            GuildEvent::Renamed { .. } => {}
            GuildEvent::ParentProposed { parent } => self.proposed_parent = Some(*parent),
            GuildEvent::ChildAccepted { child } => {
                self.children.insert(*child);
            }
            GuildEvent::ParentSet { parent } => {
                self.parent = Some(*parent);
                self.proposed_parent = None;
            }
            GuildEvent::ChildDetached { child } => {
                self.children.remove(child);
            }
            GuildEvent::ParentCleared { .. } => self.parent = None,
            GuildEvent::CharterAmended { version, .. } => self.charter_version = *version,
            GuildEvent::RanksDefined { ranks } => self.ranks = Arc::new(ranks.clone()),
            GuildEvent::BecameLeaderless {} => self.leaderless = true,
            GuildEvent::LeadershipRestored {} => self.leaderless = false,
            GuildEvent::MarkedDormant {} => self.status = Status::Dormant,
            GuildEvent::Woken {} => self.status = Status::Active,
            GuildEvent::DissolutionInitiated { shares, fallback } => {
                self.status = Status::Dissolving;
                self.dissolution = Some(Arc::new((shares.clone(), *fallback)));
            }
            GuildEvent::DissolutionCancelled {} => {
                self.status = Status::Active;
                self.dissolution = None;
            }
            GuildEvent::Dissolved {} => self.end(),
            GuildEvent::GovernanceSet { governance } => self.governance = Some(Arc::new((**governance).clone())),
            GuildEvent::Decided { ground, spend: Some(spend), .. } => {
                self.count(ground, &spend.currency, spend.amount.minor(), at.day());
            }
            GuildEvent::Decided { spend: None, .. } => {}
            GuildEvent::ProposalOpened { .. }
            | GuildEvent::ProposalVoted { .. }
            | GuildEvent::ProposalClosed { .. } => {
                self.evolve_proposal(event);
            }
            GuildEvent::MemberAdded { .. }
            | GuildEvent::FounderAppointed { .. }
            | GuildEvent::RankChanged { .. }
            | GuildEvent::ScopesSet { .. }
            | GuildEvent::MemberSuspended { .. }
            | GuildEvent::MemberReinstated { .. }
            | GuildEvent::MemberCitySuspended { .. }
            | GuildEvent::MemberCityReinstated { .. }
            | GuildEvent::MemberLeft { .. }
            | GuildEvent::MemberRemoved { .. } => {
                self.evolve_member(event);
                self.drop_stale_votes();
            }
        }
    }

    fn evolve_member(&mut self, event: &GuildEvent) {
        match event {
            GuildEvent::MemberAdded { member, kind, rank, scopes } => {
                let (rank, scopes) = (rank.clone(), scopes.clone());
                self.join(*member, Member { kind: *kind, rank, scopes, suspended: false, city_suspended: false });
            }
            GuildEvent::FounderAppointed { member, kind, .. } => {
                let rank = self.ranks.first().expect("a guild has at least one rank").name.clone();
                let scopes = Some(Class::ALL.to_vec());
                self.join(*member, Member { kind: *kind, rank, scopes, suspended: false, city_suspended: false });
                self.leaderless = false;
            }
            GuildEvent::RankChanged { member, rank } => self.change(member, |m| m.rank = rank.clone()),
            GuildEvent::ScopesSet { member, scopes } => self.change(member, |m| m.scopes = scopes.clone()),
            GuildEvent::MemberSuspended { member, .. } => self.change(member, |m| m.suspended = true),
            GuildEvent::MemberReinstated { member } => self.change(member, |m| m.suspended = false),
            GuildEvent::MemberCitySuspended { member } => self.change(member, |m| m.city_suspended = true),
            GuildEvent::MemberCityReinstated { member } => self.change(member, |m| m.city_suspended = false),
            GuildEvent::MemberLeft { member } => {
                self.members.remove(member);
            }
            GuildEvent::MemberRemoved { member, .. } => {
                self.members.remove(member);
                self.removed.insert(*member);
            }
            other => unreachable!("{other:?} is no event about a member"),
        }
    }

    fn evolve_proposal(&mut self, event: &GuildEvent) {
        match event {
            GuildEvent::ProposalOpened { proposal, proposer, class, command, expires_at, hold, .. } => {
                let command = Arc::new((**command).clone());
                let (proposer, class, expires_at, hold) = (*proposer, *class, *expires_at, *hold);
                let votes = OrdMap::new();
                self.proposals.insert(*proposal, Proposal { proposer, class, command, expires_at, hold, votes });
            }
            GuildEvent::ProposalVoted { proposal, voter, vote } => {
                if let Some(proposal) = self.proposals.get_mut(proposal) {
                    proposal.votes.insert(*voter, *vote);
                }
            }
            GuildEvent::ProposalClosed { proposal, .. } => {
                self.proposals.remove(proposal);
            }
            other => unreachable!("{other:?} is no event about a proposal"),
        }
    }

    fn join(&mut self, id: MemberId, member: Member) {
        self.removed.remove(&id);
        self.members.insert(id, member);
    }

    fn change(&mut self, id: &MemberId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(id) {
            change(member);
        }
    }

    /// A vote counts only while its ratifier is active, and does not come back by itself: nothing may take effect
    /// without somebody's deciding act.
    fn drop_stale_votes(&mut self) {
        let mut stale = Vec::new();
        for (id, proposal) in &self.proposals {
            let Tier::Consensus { ratifiers, .. } = self.tier(proposal.class) else { continue };
            let counts = |voter: &CitizenId| {
                self.active_member(*voter).is_some_and(|member| Self::ratifies(ratifiers, *voter, member))
            };
            stale.extend(proposal.votes.keys().filter(|voter| !counts(voter)).map(|voter| (*id, *voter)));
        }
        for (id, voter) in stale {
            if let Some(proposal) = self.proposals.get_mut(&id) {
                proposal.votes.remove(&voter);
            }
        }
    }

    fn count(&mut self, ground: &Ground, currency: &Currency, minor: i128, day: i64) {
        let (meter, id, actor) = match ground {
            Ground::Delegation { delegation, member } => (Meter::Delegation, delegation, *member),
            Ground::Rule { rule, member, .. } => (Meter::Rule, rule, *member),
            Ground::Mandate { mandate, member } => (Meter::Mandate, mandate, *member),
            Ground::Decider { .. } | Ground::Proposal { .. } | Ground::Appointment { .. } => return,
        };
        let buckets = self.spent.entry((meter, id.clone(), currency.clone())).or_default();
        let oldest = day - i64::from(MAX_PERIOD_DAYS);
        while let Some(key) = buckets.get_min().map(|(key, _)| *key).filter(|(day, _)| *day < oldest) {
            buckets.remove(&key);
        }
        let counter = buckets.entry((day, actor)).or_default();
        *counter = counter.saturating_add(minor);
    }

    /// Nothing changes any more: only the name, the ranks and the end itself are kept.
    fn end(&mut self) {
        self.status = Status::Dissolved;
        self.members = OrdMap::new();
        self.removed = OrdSet::new();
        self.proposals = OrdMap::new();
        self.spent = OrdMap::new();
        self.dissolution = None;
    }
}
