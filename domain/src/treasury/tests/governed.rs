//! Guild treasuries: the decider, proposals that set money aside, mandates, and status.

use super::bank::*;
use crate::citizen::command::DeprovisionCitizen;
use crate::event::Event;
use crate::guild::command::{MarkDormant, Propose, Ratify, RejectProposal, SetGovernance};
use crate::guild::governance::{Class, ClassTier, Governance, Limit, Mandate, Ratifiers, Tier};
use crate::ids::{CitizenId, GuildId, HoldId, ProposalId, TreasuryId};
use crate::money::Account;
use crate::rejection::Code;
use crate::testing::{World, currency, money, slug, text};
use crate::treasury::command::*;
use crate::treasury::event::{Owner, TreasuryEvent};
use crate::turn::Outcome;

/// What Ann decides alone everywhere, unless a class says otherwise.
pub fn document(decider: CitizenId, finance: Option<Tier>, mandates: Vec<Mandate>) -> Governance {
    Governance {
        default: Tier::PrincipalOnly { decider },
        classes: finance.into_iter().map(|tier| ClassTier { class: Class::Finance, tier }).collect(),
        mandates,
        reservation_limits: Vec::new(),
        proposal_days: 7,
    }
}

pub fn two_of(ann: CitizenId, ben: CitizenId) -> Tier {
    Tier::Consensus { ratifiers: Ratifiers { ranks: Vec::new(), members: vec![ann, ben] }, needed: 2 }
}

/// Ann's guild with 100.00 USD; with `both`, Ann and Ben must both agree to spend.
pub fn guild(bank: &mut Bank, both: bool) -> (GuildId, TreasuryId) {
    let (ann, ben) = (bank.ann, bank.ben);
    let guild = bank.world.guild(ann, "printers");
    let finance = Some(vec![Class::Finance]);
    assert_eq!(bank.ann(crate::testing::join(guild, ben, "builder", finance)), DONE);
    if both {
        govern(bank, guild, document(ann, Some(two_of(ann, ben)), Vec::new()));
    }
    bank.world.fund(TreasuryId::of_guild(guild), "USD", "100.00");
    bank.world.now = bank.world.now.plus_seconds(60);
    (guild, TreasuryId::of_guild(guild))
}

pub fn govern(bank: &mut Bank, guild: GuildId, governance: Governance) {
    let set = SetGovernance { guild: guild.into(), governance: Box::new(governance) };
    assert_eq!(bank.ann(set), DONE);
}

fn ratify(bank: &mut Bank, guild: GuildId, proposal: ProposalId) {
    assert_eq!(bank.ben(Ratify { guild: guild.into(), proposal }), DONE);
}

fn reserved(bank: &Bank, treasury: TreasuryId) -> HoldId {
    bank.treasury(treasury).holds().next().expect("a proposal holds its money").0
}

#[test]
fn a_guild_and_its_treasury_share_their_number() {
    let mut bank = bank();
    let (id, treasury) = guild(&mut bank, false);
    assert_eq!(bank.treasury(treasury).owner(), Some(Owner::Guild(id)));
}

#[test]
fn only_the_decider_spends_under_principal_only() {
    let mut bank = bank();
    let (_, treasury) = guild(&mut bank, false);
    assert_eq!(bank.ben(withdraw(treasury, 1, "1.00")), Err(Code::NotTheDecider));
    assert_eq!(bank.teller(withdraw(treasury, 1, "1.00")), Err(Code::NotAMember));
    assert_eq!(bank.ann(withdraw(treasury, 1, "1.00")), DONE);
    assert_eq!(bank.world.types(), ["guild.decided.v1", "treasury.debited.v1"]);
}

#[test]
fn a_proposed_withdrawal_sets_money_aside_and_the_deciding_vote_pays_it() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let proposal = World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    assert_eq!(usd(bank.treasury(treasury)), (10_000, 3000));
    assert_eq!(bank.treasury(treasury).reserved_by_proposals(&currency("USD")), 3000);
    ratify(&mut bank, guild, proposal);
    assert_eq!(usd(bank.treasury(treasury)), (7000, 0));
    assert_eq!(bank.treasury(treasury).reserved_by_proposals(&currency("USD")), 0);
    assert_eq!(bank.ann(withdraw(treasury, 1, "30.00")), ALREADY);
    assert_eq!(bank.ann(withdraw(treasury, 1, "31.00")), Err(Code::ReferenceReused));
}

#[test]
fn a_proposed_hold_is_confirmed_a_proposed_split_paid_and_a_proposed_offer_made() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let teller = of(bank.teller);
    let expires_at = bank.world.now.plus_days(20);
    let hold = PlaceHold { treasury, ..place(bank.ann, vec![to(teller, "10.00")], expires_at) };
    let hold = PlaceHold { purpose: Some(text("yarn")), ..hold };
    let proposal = World::proposal(bank.ann(hold));
    let purpose = bank.world.find(|_, event| match event {
        Event::Treasury(TreasuryEvent::HoldPlaced { purpose, .. }) => purpose.clone(),
        _ => None,
    });
    assert_eq!(purpose, Some(text("yarn").sealed()), "what it is for goes with the money");
    let hold = reserved(&bank, treasury);
    ratify(&mut bank, guild, proposal);
    let confirmed = bank.treasury(treasury).hold(hold).unwrap();
    assert_eq!((confirmed.proposal, confirmed.expires_at), (None, expires_at));
    let capture = CaptureHold { treasury, ..capture(bank.ann, hold, vec![to(teller, "10.00")], true) };
    assert_eq!(bank.ben(capture), DONE);

    let asked = SplitTransfer { treasury, ..split(bank.ann, "20.00", vec![share(teller, 10_000)]) };
    let proposal = World::proposal(bank.ann(asked));
    ratify(&mut bank, guild, proposal);
    assert_eq!(usd(bank.treasury(treasury)), (7000, 0));

    let asked = OfferTransfer { treasury, ..offer(bank.ann, teller, "30.00") };
    let proposal = World::proposal(bank.ann(asked));
    ratify(&mut bank, guild, proposal);
    assert_eq!(usd(bank.treasury(treasury)), (7000, 3000));
    let offer = bank.made();
    assert_eq!(bank.teller(AcceptTransfer { treasury, offer }), DONE);
    assert_eq!((usd(bank.treasury(treasury)), usd(bank.treasury(teller))), ((4000, 0), (6000, 0)));
}

#[test]
fn a_rejected_proposal_gives_its_money_back() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let proposal = World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    assert_eq!(bank.ben(RejectProposal { guild: guild.into(), proposal }), DONE);
    assert_eq!(usd(bank.treasury(treasury)), (10_000, 0));
}

#[test]
fn what_a_proposal_holds_is_touched_by_nobody_else() {
    let mut bank = bank();
    let (_, treasury) = guild(&mut bank, true);
    World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    let hold = reserved(&bank, treasury);
    let capture = CaptureHold { treasury, ..capture(bank.ann, hold, vec![outside("1.00")], true) };
    assert_eq!(bank.ann(capture), Err(Code::HoldAwaitsProposal));
    assert_eq!(bank.ann(ReleaseHold { treasury, hold }), Err(Code::HoldAwaitsProposal));
    bank.world.pass_days(8);
    assert_eq!(bank.world.send_system(ExpireHold { treasury, hold }), Err(Code::HoldAwaitsProposal));
}

#[test]
fn the_effect_of_a_spend_on_a_frozen_treasury_fails_and_releases() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let proposal = World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    let freeze = FreezeTreasury { treasury, reason: crate::testing::text("odd"), as_city: true };
    assert_eq!(bank.world.send(bank.world.principal, freeze), DONE);
    ratify(&mut bank, guild, proposal);
    assert_eq!(usd(bank.treasury(treasury)), (10_000, 0));
    assert_eq!(bank.ann(withdraw(treasury, 2, "30.00")), Err(Code::TreasuryFrozen));
}

#[test]
fn two_proposals_under_one_reference_pay_once() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let first = World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    let second = World::proposal(bank.ann(withdraw(treasury, 1, "30.00")));
    ratify(&mut bank, guild, first);
    ratify(&mut bank, guild, second);
    assert_eq!(usd(bank.treasury(treasury)), (7000, 0));
}

#[test]
fn a_proposal_of_one_guild_never_moves_anothers_money() {
    let mut bank = bank();
    let (ann, teller) = (bank.ann, bank.teller);
    let (guild, _) = guild(&mut bank, true);
    let other = bank.world.guild(teller, "others");
    bank.world.fund(TreasuryId::of_guild(other), "USD", "100.00");
    for target in [TreasuryId::of_guild(other), of(teller), of(ann)] {
        let propose = Propose { guild: guild.into(), command: Box::new(withdraw(target, 1, "30.00").into()) };
        assert!(bank.ann(propose).is_err(), "{target}");
    }
    let hold = HoldId::from_bits(1);
    let ungoverned = ReleaseHold { treasury: TreasuryId::of_guild(guild), hold };
    let propose = Propose { guild: guild.into(), command: Box::new(ungoverned.into()) };
    assert_eq!(bank.ann(propose), Err(Code::NotGoverned));
    let as_city = UnfreezeTreasury { treasury: TreasuryId::of_guild(guild), as_city: true };
    let propose = Propose { guild: guild.into(), command: Box::new(as_city.into()) };
    assert!(bank.ann(propose).is_err());
}

#[test]
fn freezing_settling_and_auto_accept_follow_the_guilds_own_governance() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, true);
    let teller = of(bank.teller);
    let freeze = FreezeTreasury { treasury, reason: crate::testing::text("odd"), as_city: false };
    let auto = SetAutoAccept { treasury, from: vec![teller] };
    let settle = SettleTreasury { treasury, as_of: bank.world.now };
    for command in [freeze.into(), auto.into(), crate::Command::from(settle)] {
        let proposal = World::proposal(bank.ann(command));
        ratify(&mut bank, guild, proposal);
    }
    let state = bank.treasury(treasury);
    assert!(state.is_frozen() && state.auto_accepts(teller) && state.settled_until().is_some());
}

#[test]
fn a_mandated_payment_skips_the_tier_but_not_payee_limit_or_scope() {
    let mut bank = bank();
    let (ann, ben) = (bank.ann, bank.ben);
    let (guild, treasury) = guild(&mut bank, false);
    let mandate =
        |id, payee, basis_points, maximum| Mandate { id: slug(id), payee, basis_points, maximum, period_days: 30 };
    let most = vec![Limit { currency: currency("USD"), amount: money("8.00") }];
    let mandates = vec![
        mandate("host-fee", Account::External, Some(1000), Vec::new()),
        mandate("rent", Account::Treasury(of(bank.teller)), None, most),
    ];
    govern(&mut bank, guild, document(ann, Some(two_of(ann, ben)), mandates));
    let pay = |id, number, amount| Withdraw { mandate: Some(slug(id)), ..withdraw(treasury, number, amount) };
    assert_eq!(bank.ben(pay("nothing", 1, "1.00")), Err(Code::MandateNotFound));
    assert_eq!(bank.ben(pay("rent", 1, "1.00")), Err(Code::MandatePayee));
    assert_eq!(bank.ben(pay("host-fee", 1, "10.01")), Err(Code::LimitExceeded));
    assert_eq!(bank.teller(pay("host-fee", 1, "10.00")), Err(Code::NotAMember));
    assert_eq!(bank.ben(pay("host-fee", 1, "10.00")), DONE);
    assert_eq!(bank.moved().mandate, Some(slug("host-fee")));
    assert_eq!(bank.ben(pay("host-fee", 2, "0.01")), Err(Code::LimitExceeded));

    let rent = OfferTransfer { treasury, mandate: Some(slug("rent")), ..offer(ben, of(bank.teller), "8.00") };
    assert_eq!(bank.ben(rent.clone()), DONE);
    assert_eq!(bank.ben(rent), Err(Code::LimitExceeded));
}

#[test]
fn the_receivers_finance_scope_accepts_for_a_guild() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, false);
    let observer = bank.world.member(bank.ann, guild, "observer");
    bank.world.fund(of(bank.teller), "USD", "10.00");
    assert_eq!(bank.teller(offer(bank.teller, treasury, "5.00")), DONE);
    let accept = AcceptTransfer { treasury: of(bank.teller), offer: bank.made() };
    assert_eq!(bank.world.send(observer, accept.clone()), Err(Code::MissingScope));
    assert_eq!(bank.teller(accept.clone()), Err(Code::NotAMember));
    assert_eq!(bank.ben(accept), DONE);
    assert_eq!(usd(bank.treasury(treasury)).0, 10_500);
}

#[test]
fn a_dormant_guild_takes_nothing_in_and_gives_only_back() {
    let mut bank = bank();
    let (guild, treasury) = guild(&mut bank, false);
    let teller = of(bank.teller);
    assert_eq!(bank.ann(OfferTransfer { treasury, ..offer(bank.ann, teller, "5.00") }), DONE);
    let offered = bank.made();
    assert_eq!(bank.ann(MarkDormant { guild: guild.into() }), DONE);
    let dormant: Result<Outcome, Code> = Err(Code::GuildDormant);
    assert_eq!(bank.teller(deposit(treasury, 1, "1.00")), dormant);
    assert_eq!(bank.ann(offer(bank.ann, treasury, "5.00")), dormant);
    assert_eq!(bank.ann(withdraw(treasury, 1, "1.00")), dormant);
    assert_eq!(bank.teller(AcceptTransfer { treasury, offer: offered }), dormant);
    assert_eq!(bank.ann(CancelTransfer { treasury, offer: offered }), DONE);
    assert_eq!(usd(bank.treasury(treasury)), (10_000, 0));
}

#[test]
fn an_offer_to_somebody_who_went_away_cannot_be_accepted_but_cancelled() {
    let mut bank = bank();
    let offer = bank.offer("5.00");
    let treasury = of(bank.ann);
    assert_eq!(bank.world.send(bank.world.principal, DeprovisionCitizen { citizen: bank.ben, reason: None }), DONE);
    assert!(bank.ben(AcceptTransfer { treasury, offer }).is_err());
    assert_eq!(bank.ann(CancelTransfer { treasury, offer }), DONE);
}
