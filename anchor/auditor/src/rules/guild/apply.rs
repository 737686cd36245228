//! What each event of a guild must find true, and what it changes.

use std::collections::{BTreeSet, HashMap};

use super::{
    Charter, Child, Closed, Decided, Dissolution, Ending, Event, Founded, FounderAppointed, GovernanceSet, Guild,
    MemberAdded, MemberKind, Membership, Parent, Proposal, ProposalOpened, Rank, RankChanged, Ranks, ScopesSet,
    Standing, Status, Voted, Who, shares_are_whole,
};
use crate::rules::act::Due;
use crate::rules::citizen::Kind as CitizenKind;
use crate::rules::governance::{Class, Ground, Tier, within};
use crate::rules::values::{CitizenId, GuildId, Member, ProposalId, Slug, TreasuryId};
use crate::rules::{Actor, Entry, Notes, World};

pub fn apply(event: &Event, id: GuildId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    world.act.touched.insert(id);
    if let Event::Founded(founded) = event {
        // The entry is read once; taking the governance out would need it by value.
        return found(founded, id, world, notes);
    }
    let Some(mut guild) = world.guilds.remove(&id) else {
        return notes.add(format!("{id} was never founded"));
    };
    let mut case = Case { id, entry, world, guild: &mut guild, notes };
    case.apply(event);
    world.guilds.insert(id, guild);
}

fn found(founded: &Founded, id: GuildId, world: &mut World, notes: &mut Notes) {
    let Founded { slug, ranks, governance, .. } = founded;
    let new = world.slugs.insert(slug.clone());
    notes.expect(new, || format!("the slug {slug} was used before"));
    let guild = Guild {
        status: Status::Active,
        leaderless: false,
        parent: None,
        proposed_parent: None,
        children: BTreeSet::new(),
        charter: 0,
        ranks: rank_names(ranks, notes),
        governance: governance.clone(),
        members: HashMap::new(),
        proposals: HashMap::new(),
    };
    world.guilds.insert(id, guild);
    world.act.founded.push(id);
    world.act.due.push((notes.position, Due::TreasuryOpened(TreasuryId { 0: id.0 })));
}

fn rank_names(ranks: &[Rank], notes: &mut Notes) -> Vec<Slug> {
    let names: Vec<Slug> = ranks.iter().map(|rank| rank.name.clone()).collect();
    let distinct: BTreeSet<&Slug> = names.iter().collect();
    notes.expect(!names.is_empty() && distinct.len() == names.len(), || "ranks are empty or repeat a name".to_owned());
    names
}

/// One event of one guild, with everything its rules may look at.
struct Case<'a> {
    id: GuildId,
    entry: &'a Entry,
    world: &'a mut World,
    guild: &'a mut Guild,
    notes: &'a mut Notes,
}

impl Case<'_> {
    fn apply(&mut self, event: &Event) {
        let by_city = matches!(
            event,
            Event::MemberCitySuspended(_)
                | Event::MemberCityReinstated(_)
                | Event::MemberRemoved(_)
                | Event::BecameLeaderless(_)
        );
        self.notes.expect(by_city || self.guild.status != Status::Dissolved, || "a dissolved guild changes".to_owned());
        match event {
            Event::MemberAdded(MemberAdded { member, .. })
            | Event::RankChanged(RankChanged { member, .. })
            | Event::FounderAppointed(FounderAppointed { member, .. })
            | Event::MemberSuspended(Who { member })
            | Event::MemberReinstated(Who { member })
            | Event::MemberCitySuspended(Who { member })
            | Event::MemberCityReinstated(Who { member })
            | Event::MemberLeft(Who { member })
            | Event::MemberRemoved(Who { member }) => self.due(Due::GuildRole { guild: self.id, member: *member }),
            Event::Dissolved(_) => {
                for member in self.guild.members.keys() {
                    let due = Due::GuildRole { guild: self.id, member: *member };
                    self.world.act.due.push((self.entry.position, due));
                }
            }
            _ => {}
        }
        match event {
            Event::Founded(_) => {}
            Event::Renamed(_) => self.decided_first(Class::Charter),
            Event::ParentProposed(Parent { parent }) => {
                self.decided_first(Class::Charter);
                let exists = self.world.guilds.contains_key(parent);
                self.notes.expect(exists, || format!("the proposed parent {parent} does not exist"));
                self.guild.proposed_parent = Some(*parent);
            }
            Event::ChildAccepted(Child { child }) => self.child_accepted(*child),
            Event::ParentSet(Parent { parent }) => {
                self.notes.expect(self.guild.parent.is_none(), || "a guild gets a second parent".to_owned());
                self.guild.parent = Some(*parent);
                self.guild.proposed_parent = None;
                self.due(Due::Family { child: self.id });
            }
            Event::ChildDetached(Child { child }) => {
                // A child that dissolves leaves its parent without asking it.
                if !self.world.act.has_decided(*child, Class::Lifecycle) {
                    self.decided_first(Class::Charter);
                }
                let was = self.guild.children.remove(child);
                self.notes.expect(was, || format!("{child} was not a child"));
                self.due(Due::Parted { child: *child, parent: self.id });
            }
            Event::ParentCleared(Parent { parent }) => {
                let was = self.guild.parent.take() == Some(*parent);
                self.notes.expect(was, || format!("{parent} was not the parent"));
                self.due(Due::Parted { child: self.id, parent: *parent });
            }
            Event::CharterAmended(Charter { version, .. }) => {
                self.decided_first(Class::Charter);
                let next = self.guild.charter + 1;
                self.notes.expect(*version == next, || format!("charter version {version} follows {}", next - 1));
                self.guild.charter = *version;
            }
            Event::RanksDefined(Ranks { ranks }) => self.ranks_defined(ranks),
            Event::MemberAdded(added) => self.member_added(added),
            Event::RankChanged(RankChanged { member, rank }) => {
                self.decided_first(Class::Membership);
                self.rank_exists(rank);
                if let Some(membership) = self.living(*member) {
                    membership.rank = rank.clone();
                    let kind = membership.kind;
                    self.founder_kind(rank, kind);
                }
            }
            Event::ScopesSet(ScopesSet { member, .. }) => {
                self.decided_first(Class::Membership);
                self.living(*member);
            }
            Event::MemberSuspended(Who { member }) => {
                self.decided_first(Class::Membership);
                self.standing(*member, Standing::Active, Standing::Suspended);
            }
            Event::MemberReinstated(Who { member }) => {
                self.decided_first(Class::Membership);
                self.standing(*member, Standing::Suspended, Standing::Active);
            }
            Event::MemberCitySuspended(Who { member }) => self.city_suspended(*member, true),
            Event::MemberCityReinstated(Who { member }) => self.city_suspended(*member, false),
            Event::MemberLeft(Who { member }) => self.gone(*member),
            Event::MemberRemoved(Who { member }) => {
                let citizen = if let Member::Citizen(citizen) = member { Some(*citizen) } else { None };
                self.due(Due::RemovalDecided { guild: self.id, citizen });
                self.gone(*member);
            }
            Event::BecameLeaderless(_) => {
                let was = std::mem::replace(&mut self.guild.leaderless, true);
                self.notes.expect(!was, || "a leaderless guild becomes leaderless".to_owned());
            }
            Event::LeadershipRestored(_) => {
                let restored = self.guild.leaderless && self.guild.has_active_founder();
                self.notes.expect(restored, || {
                    "leadership is restored without a founder, or where it was not missing".to_owned()
                });
                self.guild.leaderless = false;
            }
            Event::FounderAppointed(appointed) => self.founder_appointed(appointed),
            Event::MarkedDormant(_) => self.turn(Status::Active, Status::Dormant),
            Event::Woken(_) => self.turn(Status::Dormant, Status::Active),
            Event::DissolutionInitiated(Dissolution { shares, fallback }) => {
                self.turn(Status::Active, Status::Dissolving);
                self.notes.expect(shares_are_whole(shares), || "the shares do not make a whole".to_owned());
                self.notes
                    .expect(self.guild.children.is_empty(), || "a guild with children is being dissolved".to_owned());
                let exists = self.world.treasuries.contains_key(fallback);
                self.notes.expect(exists, || format!("the fallback {fallback} does not exist"));
            }
            Event::DissolutionCancelled(_) => self.turn(Status::Dissolving, Status::Active),
            Event::Dissolved(_) => {
                self.turn(Status::Dissolving, Status::Dissolved);
                self.due(Due::Dissolved(self.id));
            }
            Event::GovernanceSet(GovernanceSet { governance }) => {
                self.decided_first(Class::Governance);
                self.guild.governance = governance.clone();
            }
            Event::ProposalOpened(opened) => self.proposal_opened(opened),
            Event::ProposalVoted(voted) => self.proposal_voted(voted),
            Event::ProposalClosed(closed) => self.proposal_closed(closed),
            Event::Decided(decided) => self.decided(decided),
        }
        let about_a_member = matches!(
            event,
            Event::MemberAdded(_)
                | Event::RankChanged(_)
                | Event::ScopesSet(_)
                | Event::MemberSuspended(_)
                | Event::MemberReinstated(_)
                | Event::MemberCitySuspended(_)
                | Event::MemberCityReinstated(_)
                | Event::MemberLeft(_)
                | Event::MemberRemoved(_)
                | Event::FounderAppointed(_)
        );
        if about_a_member {
            self.guild.drop_stale_votes();
        }
    }

    fn due(&mut self, due: Due) {
        self.world.act.due.push((self.entry.position, due));
    }

    /// A governed change is recorded after the decision that allows it.
    fn decided_first(&mut self, class: Class) {
        self.world.needs_decision(self.id, class, "a governed change", self.notes);
    }

    fn turn(&mut self, from: Status, to: Status) {
        self.decided_first(Class::Lifecycle);
        let was = std::mem::replace(&mut self.guild.status, to);
        self.notes.expect(was == from, || format!("a guild becomes {to:?} from {was:?}, not from {from:?}"));
    }

    fn child_accepted(&mut self, child: GuildId) {
        self.decided_first(Class::Charter);
        let id = self.id;
        // By the order of the act the child may already have turned its proposal into a parent.
        let asked = self
            .world
            .guilds
            .get(&child)
            .is_some_and(|child| child.proposed_parent == Some(id) || child.parent == Some(id));
        self.notes.expect(asked, || format!("{child} never proposed this parent"));
        let new = self.guild.children.insert(child);
        self.notes.expect(new, || format!("{child} is accepted twice"));
        self.due(Due::Family { child });
    }

    fn ranks_defined(&mut self, ranks: &[Rank]) {
        self.decided_first(Class::Charter);
        self.guild.ranks = rank_names(ranks, self.notes);
        let guild = &*self.guild;
        let lost = guild
            .members
            .values()
            .find(|member| member.standing != Standing::Gone && !guild.ranks.contains(&member.rank));
        let lost = lost.map(|member| member.rank.clone());
        self.notes.expect(lost.is_none(), || format!("the rank {lost:?} disappears while it is held"));
    }

    fn rank_exists(&mut self, rank: &Slug) {
        let exists = self.guild.ranks.contains(rank);
        self.notes.expect(exists, || format!("there is no rank {rank}"));
    }

    /// The first rank is for humans and agents.
    fn founder_kind(&mut self, rank: &Slug, kind: MemberKind) {
        let fits = self.guild.ranks.first() != Some(rank) || matches!(kind, MemberKind::Human | MemberKind::Agent);
        self.notes.expect(fits, || format!("a {kind:?} holds the founder rank"));
    }

    fn member_added(&mut self, MemberAdded { member, kind, rank, .. }: &MemberAdded) {
        self.decided_first(Class::Membership);
        self.admit(*member, *kind, rank.clone());
    }

    fn admit(&mut self, member: Member, kind: MemberKind, rank: Slug) {
        self.rank_exists(&rank);
        self.founder_kind(&rank, kind);
        let actual = match member {
            Member::Squad(_) => Some(MemberKind::Squad),
            Member::Citizen(id) => self.world.citizens.get(&id).map(|citizen| match citizen.kind {
                CitizenKind::Human => MemberKind::Human,
                CitizenKind::Agent => MemberKind::Agent,
                CitizenKind::Service => MemberKind::Service,
            }),
        };
        self.notes.expect(actual == Some(kind), || format!("{member} is not a registered {kind:?}"));
        let membership = Membership { kind, rank, standing: Standing::Active, city_suspended: false };
        let before = self.guild.members.insert(member, membership);
        let living = before.is_some_and(|before| before.standing != Standing::Gone);
        self.notes.expect(!living, || format!("{member} is already a living member"));
        self.agree(member);
    }

    /// The citizen's own list of guilds must say the same when the act ends.
    fn agree(&mut self, member: Member) {
        if let Member::Citizen(citizen) = member {
            self.due(Due::Membership { citizen, guild: self.id });
        }
    }

    fn living(&mut self, member: Member) -> Option<&mut Membership> {
        let found = self.guild.members.get_mut(&member).filter(|membership| membership.standing != Standing::Gone);
        if found.is_none() {
            self.notes.add(format!("{member} is not a living member"));
        }
        found
    }

    fn standing(&mut self, member: Member, from: Standing, to: Standing) {
        let Some(membership) = self.living(member) else { return };
        let was = std::mem::replace(&mut membership.standing, to);
        self.notes.expect(was == from, || format!("{member} becomes {to:?} from {was:?}"));
    }

    fn gone(&mut self, member: Member) {
        if let Some(membership) = self.living(member) {
            membership.standing = Standing::Gone;
        }
        self.agree(member);
    }

    fn city_suspended(&mut self, member: Member, on: bool) {
        let Some(membership) = self.living(member) else { return };
        let was = std::mem::replace(&mut membership.city_suspended, on);
        self.notes.expect(was != on, || format!("the city suspends or reinstates {member} twice"));
    }

    fn founder_appointed(&mut self, FounderAppointed { member, kind, by }: &FounderAppointed) {
        self.notes.expect(self.guild.leaderless, || "a founder is appointed to a guild that has one".to_owned());
        let known = self.world.citizens.contains_key(by);
        self.notes.expect(known, || format!("{by}, who appoints, is not registered"));
        let Some(rank) = self.guild.ranks.first().cloned() else { return };
        let living = self.guild.members.get_mut(member).filter(|membership| membership.standing != Standing::Gone);
        match living {
            Some(membership) => {
                membership.rank = rank.clone();
                membership.standing = Standing::Active;
                membership.city_suspended = false;
                self.founder_kind(&rank, *kind);
            }
            None => self.admit(*member, *kind, rank),
        }
        self.guild.leaderless = false;
    }

    fn proposal_opened(&mut self, opened: &ProposalOpened) {
        let ProposalOpened { proposal: id, proposer, class, command, expires_at, .. } = opened;
        let consensus = self.guild.governance.consensus(*class).is_some();
        self.notes.expect(consensus, || format!("{class:?} is not decided by proposals here"));
        self.notes.expect(*expires_at > self.entry.at, || format!("{id} has expired before it began"));
        let now = u128::try_from(self.entry.at.0 / 1000).unwrap_or(0);
        self.notes.expect(id.millis() == now, || format!("the id of the new proposal {id} is not of this moment"));
        let proposal = Proposal {
            class: *class,
            action: command.action.clone(),
            proposer: *proposer,
            expires_at: *expires_at,
            votes: HashMap::new(),
            passing: false,
        };
        let known = self.guild.proposals.insert(*id, proposal);
        self.notes.expect(known.is_none(), || format!("{id} is opened twice"));
    }

    fn proposal_voted(&mut self, Voted { proposal: id, voter, vote }: &Voted) {
        let now = self.entry.at;
        let Some(proposal) = self.guild.proposals.get_mut(id) else {
            return self.notes.add(format!("there is no open {id}"));
        };
        proposal.votes.insert(*voter, *vote);
        let (class, expired) = (proposal.class, proposal.expires_at <= now);
        self.notes.expect(!expired, || format!("a vote on {id} after it expired"));
        let ratifier = self.guild.is_active_ratifier(class, *voter);
        self.notes.expect(ratifier, || format!("{voter} is not an active ratifier"));
        let own = matches!(self.entry.actor, Actor::Citizen { id, .. } if id == *voter);
        self.notes.expect(own, || format!("the vote of {voter} is cast by somebody else"));
        self.guild.count(*id);
    }

    fn proposal_closed(&mut self, Closed { proposal: id, ending }: &Closed) {
        let Some(proposal) = self.guild.proposals.remove(id) else {
            return self.notes.add(format!("there is no open {id}"));
        };
        let fits = match ending {
            Ending::Passed {} | Ending::Failed { .. } => proposal.passing,
            Ending::Rejected {} => !proposal.passing,
            Ending::Expired {} => proposal.expires_at <= self.entry.at,
            Ending::Withdrawn {} => matches!(self.entry.actor, Actor::Citizen { id, .. } if id == proposal.proposer),
            Ending::Voided {} => true,
        };
        self.notes.expect(fits, || format!("{id} cannot end as {ending:?}"));
        if matches!(ending, Ending::Passed {}) {
            self.world.act.closed.push((*id, proposal.action, proposal.class));
        }
    }

    fn decided(&mut self, decided: &Decided) {
        let Decided { action, class, ground, spend } = decided;
        let spend = spend.as_ref();
        let fits = match (ground, self.guild.governance.tier(*class)) {
            (Ground::Decider { citizen }, Tier::PrincipalOnly { decider }) => citizen == decider && self.acts(*citizen),
            (Ground::Proposal { proposal, yes, .. }, Tier::Consensus { needed, .. }) => {
                yes >= needed && self.was_proposed(*proposal, action, *class)
            }
            (Ground::Delegation { delegation: id, member }, Tier::Delegated { delegations }) => {
                delegations.iter().any(|delegation| {
                    delegation.id == *id
                        && delegation.class == *class
                        && self.covers(*member, &delegation.ranks, &delegation.members)
                        && within(&delegation.limits, spend)
                })
            }
            (Ground::Rule { rule: id, member, evidence }, Tier::Automated { rules }) => rules.iter().any(|rule| {
                rule.id == *id
                    && rule.class == *class
                    && (rule.ranks.is_empty() || self.covers(*member, &rule.ranks, &[]))
                    && within(&rule.limits, spend)
                    && rule.required_evidence.iter().all(|kind| evidence.iter().any(|given| given.kind == *kind))
            }),
            (Ground::Mandate { mandate, .. }, _) => self.guild.governance.names_a_mandate(mandate),
            (Ground::Appointment { citizen }, _) => self.acts(*citizen),
            _ => false,
        };
        self.notes.expect(fits, || {
            format!("{action} is decided on a ground that the governance in force does not give: {ground:?}")
        });
        if let Ground::Proposal { proposal, .. } = ground {
            self.world.act.passed.push(*proposal);
        }
        self.world.act.decided.push((self.id, *class));
    }

    fn acts(&self, citizen: CitizenId) -> bool {
        matches!(self.entry.actor, Actor::Citizen { id, .. } if id == citizen)
    }

    /// Whether an active member holds one of the ranks or is named.
    fn covers(&self, member: Member, ranks: &[Slug], members: &[Member]) -> bool {
        self.guild.members.get(&member).is_some_and(|membership| {
            membership.is_active() && (ranks.contains(&membership.rank) || members.contains(&member))
        })
    }

    /// Whether that very action was proposed and has the votes: still open, or closed earlier in this act.
    fn was_proposed(&self, id: ProposalId, action: &str, class: Class) -> bool {
        let open = self
            .guild
            .proposals
            .get(&id)
            .is_some_and(|open| open.passing && *open.action == *action && open.class == class);
        let closed =
            self.world.act.closed.iter().any(|closed| closed.0 == id && *closed.1 == *action && closed.2 == class);
        open || closed
    }
}
