//! A guild with two founders, and short ways of writing commands and governance documents.

use crate::command::Command;
use crate::guild::command::*;
use crate::guild::governance::*;
use crate::guild::{Guild, Status};
use crate::ids::{CitizenId, GuildId, ProposalId, TreasuryId};
use crate::money::{Account, Share};
use crate::party::MemberId;
use crate::rejection::Code;
use crate::testing::{World, currency, join, money, slug};
use crate::text::Digest;
use crate::treasury::command::Withdraw;
use crate::turn::Outcome;

pub const DONE: Result<Outcome, Code> = Ok(Outcome::Done);
pub const ALREADY: Result<Outcome, Code> = Ok(Outcome::AlreadyDone);

#[derive(Clone)]
pub struct Hall {
    pub world: World,
    pub guild: GuildId,
    pub ann: CitizenId,
    pub ben: CitizenId,
}

/// Ann and Ben are founders; Ann alone decides.
pub fn hall() -> Hall {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "masons");
    let ben = world.member(ann, guild, "founder");
    Hall { world, guild, ann, ben }
}

/// The same under another document.
pub fn hall_under(governance: impl FnOnce(&Hall) -> Governance) -> Hall {
    let mut hall = hall();
    let governance = Box::new(governance(&hall));
    let set = SetGovernance { guild: hall.guild.into(), governance };
    assert_eq!(hall.ann(set), DONE, "setting the governance");
    hall
}

/// Both founders have to agree on everything.
pub fn both_agree() -> Hall {
    hall_under(|_| document(consensus(&["founder"], 2)))
}

impl Hall {
    pub fn ann(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.ann, command)
    }

    pub fn ben(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.ben, command)
    }

    /// As the city's first principal.
    pub fn city(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.world.send(self.world.principal, command)
    }

    pub fn join(&mut self, rank: &str) -> CitizenId {
        self.world.member(self.ann, self.guild, rank)
    }

    /// Joins with exactly these scopes.
    pub fn join_with(&mut self, rank: &str, scopes: &[Class]) -> CitizenId {
        let citizen = self.world.human();
        let added = self.ann(join(self.guild, citizen, rank, Some(scopes.to_vec())));
        assert_eq!(added, DONE);
        citizen
    }

    pub fn state(&self) -> &Guild {
        self.world.guild_state(self.guild)
    }

    pub fn status(&self) -> Status {
        self.state().status()
    }

    pub fn open(&self) -> usize {
        self.state().proposals().len()
    }

    pub fn treasury(&self) -> TreasuryId {
        TreasuryId::of_guild(self.guild)
    }

    /// How the last command closed a proposal, in its recorded form.
    pub fn ending(&self) -> String {
        let closed = self.world.recorded().iter().find_map(|(_, event, _)| match event.to_parts() {
            (kind, data) if kind == "guild.proposal_closed.v1" => Some(data),
            _ => None,
        });
        let ending = &closed.expect("a proposal was closed")["ending"];
        let code = ending["code"].as_str().map(|code| format!("({code})")).unwrap_or_default();
        format!("{}{code}", ending["result"].as_str().unwrap())
    }

    pub fn rename(&self) -> RenameGuild {
        RenameGuild { guild: self.guild.into(), name: crate::testing::text("The Masons") }
    }

    pub fn ratify(&self, proposal: ProposalId) -> Ratify {
        Ratify { guild: self.guild.into(), proposal }
    }

    pub fn reject(&self, proposal: ProposalId) -> RejectProposal {
        RejectProposal { guild: self.guild.into(), proposal }
    }

    pub fn expire(&self, proposal: ProposalId) -> ExpireProposal {
        ExpireProposal { guild: self.guild.into(), proposal }
    }

    pub fn set(&self, governance: Governance) -> SetGovernance {
        SetGovernance { guild: self.guild.into(), governance: Box::new(governance) }
    }

    pub fn rank(&self, citizen: CitizenId, rank: &str) -> ChangeRank {
        ChangeRank { guild: self.guild.into(), member: MemberId::Citizen(citizen), rank: slug(rank) }
    }

    pub fn scopes(&self, citizen: CitizenId, scopes: Option<&[Class]>) -> SetScopes {
        let scopes = scopes.map(<[Class]>::to_vec);
        SetScopes { guild: self.guild.into(), member: MemberId::Citizen(citizen), scopes }
    }

    pub fn suspend(&self, citizen: CitizenId) -> SuspendMember {
        SuspendMember { guild: self.guild.into(), member: MemberId::Citizen(citizen), reason: None }
    }

    pub fn reinstate(&self, citizen: CitizenId) -> ReinstateMember {
        ReinstateMember { guild: self.guild.into(), member: MemberId::Citizen(citizen) }
    }

    pub fn remove(&self, citizen: CitizenId) -> RemoveMember {
        RemoveMember { guild: self.guild.into(), member: MemberId::Citizen(citizen), reason: None }
    }

    pub fn leave(&self) -> LeaveGuild {
        LeaveGuild { guild: self.guild.into() }
    }

    pub fn sleep(&self) -> MarkDormant {
        MarkDormant { guild: self.guild.into() }
    }

    pub fn wake(&self) -> WakeGuild {
        WakeGuild { guild: self.guild.into() }
    }

    /// Everything to this citizen.
    pub fn dissolve(&self, heir: CitizenId) -> InitiateDissolution {
        let to = TreasuryId::of_citizen(heir);
        let shares = vec![Share { to: Account::Treasury(to), basis_points: 10_000 }];
        InitiateDissolution { guild: self.guild.into(), shares, fallback: to }
    }

    pub fn finalize(&self) -> FinalizeDissolution {
        FinalizeDissolution { guild: self.guild.into() }
    }

    pub fn appoint(&self, citizen: CitizenId, as_parent: bool) -> AppointFounder {
        AppointFounder { guild: self.guild.into(), member: MemberId::Citizen(citizen), as_parent }
    }

    pub fn pay(&self, number: u64, amount: &str, mandate: Option<&str>) -> Withdraw {
        withdraw(self.treasury(), number, amount, mandate)
    }
}

pub fn withdraw(treasury: TreasuryId, number: u64, amount: &str, mandate: Option<&str>) -> Withdraw {
    Withdraw {
        treasury,
        reference: crate::testing::reference(1_000_000 + number),
        currency: currency("USD"),
        amount: money(amount),
        fee: None,
        mandate: mandate.map(slug),
        effective_at: None,
        memo: None,
    }
}

pub fn document(default: Tier) -> Governance {
    Governance {
        default,
        classes: Vec::new(),
        mandates: Vec::new(),
        reservation_limits: Vec::new(),
        proposal_days: default_proposal_days(),
    }
}

/// The default, but this class has a tier of its own.
pub fn except(default: Tier, class: Class, tier: Tier) -> Governance {
    Governance { classes: vec![ClassTier { class, tier }], ..document(default) }
}

pub fn only(decider: CitizenId) -> Tier {
    Tier::PrincipalOnly { decider }
}

pub fn consensus(ranks: &[&str], needed: u32) -> Tier {
    Tier::Consensus {
        ratifiers: Ratifiers { ranks: ranks.iter().map(|rank| slug(rank)).collect(), members: Vec::new() },
        needed,
    }
}

pub fn named(members: &[CitizenId], needed: u32) -> Tier {
    Tier::Consensus { ratifiers: Ratifiers { ranks: Vec::new(), members: members.to_vec() }, needed }
}

pub fn delegation(id: &str, class: Class, members: &[CitizenId], limits: Vec<SpendLimit>) -> Delegation {
    let members = members.iter().map(|id| MemberId::Citizen(*id)).collect();
    Delegation { id: slug(id), class, ranks: Vec::new(), members, limits }
}

pub fn rule(id: &str, class: Class, evidence: &[&str], limits: Vec<SpendLimit>) -> Rule {
    Rule {
        id: slug(id),
        class,
        ranks: Vec::new(),
        limits,
        required_evidence: evidence.iter().map(|kind| slug(kind)).collect(),
        required_reputation: None,
    }
}

pub fn limit(per_action: &str, per_actor: &str, total: &str, period_days: u32) -> SpendLimit {
    SpendLimit {
        currency: currency("USD"),
        per_action: money(per_action),
        per_actor: money(per_actor),
        total: money(total),
        period_days,
    }
}

pub fn evidence(kind: &str) -> Evidence {
    Evidence { kind: slug(kind), digest: Digest([9; 32]) }
}
