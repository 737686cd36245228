//! For every command the state it needs to be accepted, and who sends it.

use super::hall::*;
use crate::citizen::command::*;
use crate::city::command::{AssignSource, DefineRole, FoundCity, RegisterAction, RegisterCurrency};
use crate::command::Command;
use crate::event::Event;
use crate::grant::command::*;
use crate::grant::event::GrantEvent;
use crate::grant::kind::{CapabilityKind, Source};
use crate::grant::scope::{Effect, Scope};
use crate::guild::command::*;
use crate::guild::default_ranks;
use crate::guild::event::{GuildKind, Rank};
use crate::guild::governance::*;
use crate::ids::{CitizenId, EvidenceId, GrantId, GuildId, HoldId, KeyId, ProposalId, TreasuryId};
use crate::key::command::{IssueKey, RecoverKey, RevokeKey, RotateKey};
use crate::money::{Account, Currency, LegRole};
use crate::party::{Actor, CitizenKind, HolderId, Tier as CityTier};
use crate::rejection::Code;
use crate::reputation::command::*;
use crate::reputation::event::ReputationEvent;
use crate::reputation::evidence::{EvidenceType, Stake};
use crate::testing::{World, currency, join, money, reference, slug, text};
use crate::text::Digest;
use crate::time::Time;
use crate::treasury::command::*;
use crate::turn::Outcome;

pub fn payee(to: Account, amount: &str) -> Payee {
    Payee { to, amount: money(amount), role: LegRole::Principal }
}

pub fn hold(treasury: TreasuryId, amount: &str, expires_at: Time) -> PlaceHold {
    let legs = vec![payee(Account::External, amount)];
    PlaceHold { treasury, currency: currency("USD"), legs, expires_at, purpose: None }
}

pub fn capture(treasury: TreasuryId, hold: HoldId, amount: &str) -> CaptureHold {
    let legs = vec![payee(Account::External, amount)];
    CaptureHold { treasury, hold, legs, is_final: true, effective_at: None, memo: None }
}

pub fn deposit(treasury: TreasuryId, number: u64) -> Deposit {
    Deposit {
        treasury,
        source: slug("bank"),
        reference: reference(2_000_000 + number % 1_000_000),
        currency: currency("USD"),
        amount: money("5.00"),
        fee: None,
        effective_at: None,
        memo: None,
    }
}

/// The hold or offer that was set aside last, anywhere.
pub fn last_hold(world: &World) -> HoldId {
    let id = world.log.iter().rev().find_map(|(_, event, _)| match event.to_parts() {
        (kind, data) if kind == "treasury.hold_placed.v1" => data["hold"].as_str().map(str::to_owned),
        (kind, data) if kind == "treasury.offer_made.v1" => data["offer"].as_str().map(str::to_owned),
        _ => None,
    });
    id.expect("a hold or an offer").parse().unwrap()
}

fn tool(guild: GuildId, holder: HolderId) -> GrantCapability {
    GrantCapability {
        holder,
        kind: CapabilityKind::Tool,
        reference: format!("{guild}/lathe").parse().unwrap(),
        source: Source::Guild(guild),
        scope: Scope::default(),
        delegable: true,
        expires_at: None,
    }
}

fn skill(holder: HolderId) -> ImportCapability {
    ImportCapability {
        holder,
        kind: CapabilityKind::Template,
        reference: "review".parse().unwrap(),
        source: Source::FsSkills,
        scope: Scope::default(),
        expires_at: None,
        details: None,
    }
}

/// The grant that began last, anywhere.
fn last_grant(world: &World) -> GrantId {
    let id = world.log.iter().rev().find_map(|(_, event, _)| match event {
        Event::Grant(GrantEvent::Granted(granted)) => Some(granted.grant),
        _ => None,
    });
    id.expect("a grant")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    PrincipalOnly,
    Consensus,
    Delegated,
    Automated,
}

pub const WAYS: [Way; 4] = [Way::PrincipalOnly, Way::Consensus, Way::Delegated, Way::Automated];

impl Way {
    fn tier(self, hall: &Hall) -> Tier {
        let limits = || vec![limit("1000", "9000", "9000", 30)];
        let each = |n: usize, class: Class| delegation(&format!("to-ann-{n}"), class, &[hall.ann], limits());
        let rules = |n: usize, class: Class| rule(&format!("audited-{n}"), class, &["audit"], limits());
        let all = Class::ALL.iter().copied().enumerate();
        match self {
            Self::PrincipalOnly => only(hall.ann),
            Self::Consensus => consensus(&["founder"], 2),
            Self::Delegated => Tier::Delegated { delegations: all.map(|(n, class)| each(n, class)).collect() },
            Self::Automated => Tier::Automated { rules: all.map(|(n, class)| rules(n, class)).collect() },
        }
    }

    /// What the governance log says decided.
    pub const fn ground(self) -> &'static str {
        match self {
            Self::PrincipalOnly => "decider",
            Self::Consensus => "proposal",
            Self::Delegated => "delegation",
            Self::Automated => "rule",
        }
    }
}

/// A hall under one tier, and everything a scenario needs around it.
#[derive(Clone)]
pub struct Stage {
    pub hall: Hall,
    way: Way,
    /// Somebody outside, with money of their own.
    pub eve: CitizenId,
    /// A plain member of the guild.
    pub cat: CitizenId,
}

impl Stage {
    pub fn new(way: Way) -> Self {
        let mut hall = hall();
        let cat = hall.join("member");
        let eve = hall.world.human();
        let tier = way.tier(&hall);
        if way != Way::PrincipalOnly {
            assert_eq!(hall.ann(hall.set(document(tier))), DONE);
        }
        hall.world.fund(hall.treasury(), "USD", "1000.00");
        hall.world.fund(TreasuryId::of_citizen(eve), "USD", "1000.00");
        Self { hall, way, eve, cat }
    }

    fn eves(&self) -> TreasuryId {
        TreasuryId::of_citizen(self.eve)
    }

    fn ann(&mut self, command: impl Into<Command>) -> Result<Outcome, Code> {
        self.hall.world.send_with(self.hall.ann, command, &[evidence("audit")])
    }

    /// Has Ann's command take effect, whatever that takes here.
    fn carry(&mut self, command: impl Into<Command>) {
        match self.ann(command) {
            Ok(Outcome::Done) => assert_ne!(self.way, Way::Consensus, "nothing was voted on"),
            Ok(Outcome::Proposed(_, proposal)) => assert_eq!(self.hall.ben(self.hall.ratify(proposal)), DONE),
            other => panic!("{other:?}"),
        }
    }

    fn offer(&self, treasury: TreasuryId, to: TreasuryId) -> OfferTransfer {
        OfferTransfer {
            treasury,
            to,
            currency: currency("USD"),
            amount: money("5.00"),
            expires_at: None,
            mandate: None,
            effective_at: None,
            memo: None,
        }
    }

    /// Eve offers the guild money.
    fn offered(&mut self) -> (TreasuryId, HoldId) {
        let (from, to) = (self.eves(), self.hall.treasury());
        assert_eq!(self.hall.world.send(self.eve, self.offer(from, to)), DONE);
        (from, last_hold(&self.hall.world))
    }

    /// The guild set money aside.
    fn held(&mut self) -> (TreasuryId, HoldId) {
        let treasury = self.hall.treasury();
        self.carry(hold(treasury, "5.00", self.hall.world.now.plus_days(3)));
        (treasury, last_hold(&self.hall.world))
    }

    /// The guild gave itself a capability.
    fn granted(&mut self) -> GrantId {
        self.carry(tool(self.hall.guild, self.hall.guild.into()));
        last_grant(&self.hall.world)
    }

    /// A source said that the guild has a capability.
    fn imported(&mut self) -> GrantId {
        assert_eq!(self.hall.city(skill(self.hall.guild.into())), DONE);
        last_grant(&self.hall.world)
    }

    /// A member who is a gate of the city.
    fn gate(&mut self) -> CitizenId {
        self.hall.world.set_tier(self.hall.ann, CityTier::Gate);
        self.hall.ann
    }

    fn outcome(&self, holder: CitizenId) -> AttestOutcome {
        AttestOutcome {
            holder,
            outcome: EvidenceType::TaskCompleted,
            scope: self.hall.guild.into(),
            work: reference(7),
            stake: Stake::T2,
            proof: Digest([9; 32]),
            effective_at: None,
        }
    }

    /// The gate attested an outcome of this citizen; its id.
    fn attest(&mut self, holder: CitizenId) -> EvidenceId {
        let (gate, outcome) = (self.gate(), self.outcome(holder));
        assert_eq!(self.hall.world.send(gate, outcome), DONE);
        self.hall
            .world
            .find(|_, event| match event {
                Event::Reputation(ReputationEvent::EvidenceRecorded { evidence, .. }) => Some(*evidence),
                _ => None,
            })
            .expect("evidence")
    }

    fn child(&mut self) -> GuildRefs {
        let child = self.hall.world.guild(self.eve, "bakers");
        let asked = ProposeParent { guild: child.into(), parent: self.hall.guild.into() };
        assert_eq!(self.hall.world.send(self.eve, asked), DONE);
        (self.hall.guild.into(), child.into())
    }

    /// An open proposal under consensus; elsewhere there are none, so any id will do.
    fn proposal(&mut self) -> ProposalId {
        match self.way {
            Way::Consensus => World::proposal(self.ann(self.hall.rename())),
            _ => ProposalId::from_bits(7),
        }
    }
}

type GuildRefs = (crate::ids::GuildRef, crate::ids::GuildRef);

/// Sets up what a command needs to be accepted once it is decided, and says who sends it.
pub fn scenario(action: &str, stage: &mut Stage) -> (Actor, Command) {
    let (principal, ann, ben) = (stage.hall.world.principal, stage.hall.ann, stage.hall.ben);
    let (guild, treasury, now) = (stage.hall.guild, stage.hall.treasury(), stage.hall.world.now);
    let (eve, cat, key) = (stage.eve, stage.cat, KeyId::from_bits(40));
    let verifier = Digest([3; 32]);
    let issue = IssueKey { key, verifier, citizen: principal, actions: None, expires_at: None };
    let usd: Currency = currency("USD");
    let source = slug("bank");
    let (sender, command): (CitizenId, Command) = match action {
        "city.found" => {
            let found = FoundCity { name: text("Zoe"), key, verifier };
            return (Actor::System, found.into());
        }
        "city.register_currency" => (principal, RegisterCurrency { currency: currency("GBP"), scale: 2 }.into()),
        "city.define_role" => {
            let role = slug("clerk");
            (principal, DefineRole { role, tier: CityTier::Worker, actions: Vec::new(), mfa_required: false }.into())
        }
        "citizen.register" => {
            (principal, RegisterCitizen { kind: CitizenKind::Human, name: text("Dan"), agent: None }.into())
        }
        "citizen.suspend" => (principal, SuspendCitizen { citizen: cat, reason: None }.into()),
        "citizen.reinstate" => {
            assert_eq!(stage.hall.city(SuspendCitizen { citizen: cat, reason: None }), DONE);
            (principal, ReinstateCitizen { citizen: cat }.into())
        }
        "citizen.deprovision" => (principal, DeprovisionCitizen { citizen: cat, reason: None }.into()),
        "citizen.assign_role" => (principal, AssignRole { citizen: cat, role: slug("worker") }.into()),
        "citizen.unassign_role" => {
            assert_eq!(stage.hall.city(AssignRole { citizen: cat, role: slug("worker") }), DONE);
            (principal, UnassignRole { citizen: cat, role: slug("worker") }.into())
        }
        "citizen.grant_attestation" => (principal, GrantAttestation { citizen: eve, source, currency: usd }.into()),
        "citizen.withdraw_attestation" => {
            let grant = GrantAttestation { citizen: eve, source: source.clone(), currency: usd.clone() };
            assert_eq!(stage.hall.city(grant), DONE);
            (principal, WithdrawAttestation { citizen: eve, source, currency: usd }.into())
        }
        "key.issue" => (principal, issue.into()),
        "key.rotate" => {
            assert_eq!(stage.hall.city(issue), DONE);
            let key = KeyId::from_bits(41);
            (principal, RotateKey { old: KeyId::from_bits(40), key, verifier, overlap_seconds: 60 }.into())
        }
        "key.revoke" => {
            assert_eq!(stage.hall.city(issue), DONE);
            (principal, RevokeKey { key }.into())
        }
        "key.recover" => return (Actor::System, RecoverKey { key, verifier, citizen: cat }.into()),
        "guild.found" => {
            let kind = GuildKind::Community;
            (ann, FoundGuild { slug: slug("new"), kind, name: text("N"), ranks: None, governance: None }.into())
        }
        "guild.rename" => (ann, stage.hall.rename().into()),
        "guild.propose_parent" => {
            let parent = stage.hall.world.guild(eve, "bakers").into();
            (ann, ProposeParent { guild: guild.into(), parent }.into())
        }
        "guild.accept_child" => {
            let (guild, child) = stage.child();
            (ann, AcceptChild { guild, child }.into())
        }
        "guild.detach_child" => {
            let (guild, child) = stage.child();
            stage.carry(AcceptChild { guild: guild.clone(), child: child.clone() });
            (ann, DetachChild { guild, child }.into())
        }
        "guild.amend_charter" => {
            (ann, AmendCharter { guild: guild.into(), digest: verifier, location: text("here") }.into())
        }
        "guild.define_ranks" => {
            let mut ranks = default_ranks();
            ranks.push(Rank { name: slug("guest"), scopes: Vec::new() });
            (ann, DefineRanks { guild: guild.into(), ranks }.into())
        }
        "guild.add_member" => (ann, join(guild, eve, "member", None).into()),
        "guild.change_rank" => (ann, stage.hall.rank(cat, "builder").into()),
        "guild.set_scopes" => (ann, stage.hall.scopes(cat, Some(&[Class::Work])).into()),
        "guild.suspend_member" => (ann, stage.hall.suspend(cat).into()),
        "guild.reinstate_member" => {
            stage.carry(stage.hall.suspend(cat));
            (ann, stage.hall.reinstate(cat).into())
        }
        "guild.leave" => (cat, stage.hall.leave().into()),
        "guild.remove_member" => (ann, stage.hall.remove(cat).into()),
        "guild.mark_dormant" => (ann, stage.hall.sleep().into()),
        "guild.wake" => {
            stage.carry(stage.hall.sleep());
            (ann, stage.hall.wake().into())
        }
        "guild.initiate_dissolution" => (ann, stage.hall.dissolve(eve).into()),
        "guild.cancel_dissolution" => {
            stage.carry(stage.hall.dissolve(eve));
            (ann, CancelDissolution { guild: guild.into() }.into())
        }
        "guild.finalize_dissolution" => {
            stage.carry(stage.hall.dissolve(eve));
            (ann, stage.hall.finalize().into())
        }
        "guild.set_governance" => {
            let governance = Governance { proposal_days: 3, ..stage.hall.state().governance().clone() };
            (ann, stage.hall.set(governance).into())
        }
        "guild.propose" => (ann, Propose { guild: guild.into(), command: Box::new(stage.hall.rename().into()) }.into()),
        "guild.ratify" => {
            let proposal = stage.proposal();
            (ben, stage.hall.ratify(proposal).into())
        }
        "guild.reject_proposal" => {
            let proposal = stage.proposal();
            (ben, stage.hall.reject(proposal).into())
        }
        "guild.withdraw_proposal" => {
            let proposal = stage.proposal();
            (ann, WithdrawProposal { guild: guild.into(), proposal }.into())
        }
        "guild.expire_proposal" => {
            let proposal = stage.proposal();
            stage.hall.world.pass_days(8);
            return (Actor::System, stage.hall.expire(proposal).into());
        }
        "guild.appoint_founder" => {
            for founder in [ann, ben] {
                assert_eq!(stage.hall.city(SuspendCitizen { citizen: founder, reason: None }), DONE);
            }
            (principal, stage.hall.appoint(eve, false).into())
        }
        "treasury.deposit" => {
            assert_eq!(stage.hall.city(GrantAttestation { citizen: eve, source, currency: usd }), DONE);
            (eve, deposit(treasury, 1).into())
        }
        "treasury.withdraw" => (ann, withdraw(treasury, 1, "5.00", None).into()),
        "treasury.hold" => (ann, hold(treasury, "5.00", now.plus_days(3)).into()),
        "treasury.capture" => {
            let (treasury, hold) = stage.held();
            (ann, capture(treasury, hold, "5.00").into())
        }
        "treasury.release" => {
            let (treasury, hold) = stage.held();
            (ann, ReleaseHold { treasury, hold }.into())
        }
        "treasury.expire_hold" => {
            let (treasury, hold) = stage.held();
            stage.hall.world.pass_days(4);
            return (Actor::System, ExpireHold { treasury, hold }.into());
        }
        "treasury.offer_transfer" => (ann, stage.offer(treasury, stage.eves()).into()),
        "treasury.accept_transfer" => {
            let (treasury, offer) = stage.offered();
            (ann, AcceptTransfer { treasury, offer }.into())
        }
        "treasury.reject_transfer" => {
            let (treasury, offer) = stage.offered();
            (ann, RejectTransfer { treasury, offer }.into())
        }
        "treasury.cancel_transfer" => {
            stage.carry(stage.offer(treasury, stage.eves()));
            (ann, CancelTransfer { treasury, offer: last_hold(&stage.hall.world) }.into())
        }
        "treasury.expire_transfer" => {
            let (treasury, offer) = stage.offered();
            stage.hall.world.pass_days(8);
            return (Actor::System, ExpireTransfer { treasury, offer }.into());
        }
        "treasury.split_transfer" => {
            let share = |to, basis_points| crate::money::Share { to, basis_points };
            let shares = vec![share(Account::Treasury(stage.eves()), 5_000), share(Account::External, 5_000)];
            let amount = money("5.00");
            (ann, SplitTransfer { treasury, currency: usd, amount, shares, effective_at: None, memo: None }.into())
        }
        "treasury.freeze" => (ann, FreezeTreasury { treasury, reason: text("rest"), as_city: false }.into()),
        "treasury.unfreeze" => {
            stage.carry(FreezeTreasury { treasury, reason: text("rest"), as_city: false });
            (ann, UnfreezeTreasury { treasury, as_city: false }.into())
        }
        "treasury.settle" => (ann, SettleTreasury { treasury, as_of: now }.into()),
        "treasury.set_auto_accept" => (ann, SetAutoAccept { treasury, from: vec![stage.eves()] }.into()),
        "city.assign_source" => (principal, AssignSource { source: Source::FsSkills, owner: Some(eve) }.into()),
        "city.register_action" => {
            let (kind, action) = (CapabilityKind::Tool, "list".parse().unwrap());
            (principal, RegisterAction { kind, action, effect: Effect::Read }.into())
        }
        "grant.grant" => (ann, tool(guild, guild.into()).into()),
        "grant.import" => (principal, skill(guild.into()).into()),
        "grant.revoke" => {
            let grant = stage.granted();
            (ann, RevokeGrant { holder: guild.into(), grant, reason: None }.into())
        }
        "grant.attenuate" => {
            let (grant, scope) = (stage.granted(), Scope { read_only: true, ..Scope::default() });
            (ann, AttenuateGrant { holder: guild.into(), grant, scope, expires_at: None }.into())
        }
        "grant.delegate" => {
            let (grant, holder) = (stage.granted(), guild.into());
            (
                ann,
                DelegateGrant { holder, grant, to: eve.into(), scope: None, delegable: false, expires_at: None }.into(),
            )
        }
        "grant.reverify" => {
            let grant = stage.imported();
            (ann, ReverifyGrant { holder: guild.into(), grant }.into())
        }
        "grant.record_verifications" => {
            let finding = Finding { holder: guild.into(), grant: stage.imported(), verdict: Verdict::Alive };
            return (Actor::System, RecordVerifications { findings: vec![finding], asked_at: None }.into());
        }
        "grant.expire" => {
            let ends = Some(now.plus_days(1));
            stage.carry(GrantCapability { expires_at: ends, ..tool(guild, guild.into()) });
            let grant = last_grant(&stage.hall.world);
            stage.hall.world.pass_days(2);
            return (Actor::System, ExpireGrant { holder: guild.into(), grant }.into());
        }
        "grant.prune" => {
            let grant = stage.granted();
            stage.carry(RevokeGrant { holder: guild.into(), grant, reason: None });
            stage.hall.world.pass_days(30);
            return (Actor::System, PruneGrant { holder: guild.into(), grant }.into());
        }
        "reputation.attest" => (stage.gate(), stage.outcome(stage.cat).into()),
        "reputation.endorse" => {
            stage.attest(ben);
            (ben, Endorse { to: cat, scope: guild.into(), note: None }.into())
        }
        "reputation.flag" => {
            stage.attest(ben);
            (ben, Flag { to: cat, scope: guild.into(), note: None }.into())
        }
        "reputation.dispute" => {
            let evidence = stage.attest(cat);
            (cat, DisputeEvidence { holder: cat, piece: evidence, reason: None }.into())
        }
        "reputation.reverse" => {
            let evidence = stage.attest(cat);
            assert_eq!(
                stage.hall.world.send(cat, DisputeEvidence { holder: cat, piece: evidence, reason: None }),
                DONE
            );
            stage.hall.world.set_tier(ben, CityTier::Gate);
            (ben, ReverseEvidence { holder: cat, piece: evidence, reason: None }.into())
        }
        "reputation.recompute" => {
            stage.attest(cat);
            return (Actor::System, RecomputeReputation { holder: cat, as_of: now }.into());
        }
        missing => panic!("{missing} has no scenario yet: add the state it needs and who sends it"),
    };
    let kind = CitizenKind::Human;
    (Actor::Citizen { kind, id: sender }, command)
}
