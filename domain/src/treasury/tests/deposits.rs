//! Deposits and withdrawals: attestation, references, amounts, and the fee.

use super::bank::*;
use crate::ids::TreasuryId;
use crate::money::LegRole;
use crate::rejection::Code;
use crate::testing::{currency, money, slug};
use crate::treasury::event::MovementKind;
use crate::treasury::reference_claim;

#[test]
fn a_deposit_credits_the_gross_and_its_fee_leaves_as_a_movement_of_its_own() {
    let mut bank = bank();
    let arriving = deposit(of(bank.ben), 1, "100.00");
    assert_eq!(bank.teller(crate::treasury::command::Deposit { fee: Some(money("2.50")), ..arriving }), DONE);
    assert_eq!(bank.world.types(), ["treasury.credited.v1", "treasury.debited.v1"]);
    assert_eq!(bank.usd(bank.ben), (9750, 0));
    let gross = bank.moved();
    assert_eq!((gross.kind, gross.amount.to_string().as_str()), (MovementKind::Deposit, "100.00"));
    assert_eq!(bank.treasury(of(bank.ben)).deposited_since(&currency("USD"), bank.world.now.day()), 10_000);
    assert!(reference_claim(&gross).is_some());
}

#[test]
fn the_same_deposit_again_is_already_done_and_another_under_its_reference_is_refused() {
    let mut bank = bank();
    let ben = of(bank.ben);
    assert_eq!(bank.teller(deposit(ben, 1, "10.00")), DONE);
    assert_eq!(bank.teller(deposit(ben, 1, "10")), ALREADY);
    assert_eq!(bank.teller(deposit(ben, 1, "10.01")), Err(Code::ReferenceReused));
    assert_eq!(bank.teller(deposit(of(bank.ann), 1, "10.00")), Err(Code::ReferenceReused));
    let fee = crate::treasury::command::Deposit { fee: Some(money("1")), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(fee), Err(Code::ReferenceReused));
    let euros = crate::treasury::command::Deposit { currency: currency("EUR"), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(euros), Err(Code::ReferenceReused));
    let then = crate::treasury::command::Deposit { effective_at: Some(bank.world.now), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(then), Err(Code::ReferenceReused));
    assert_eq!(bank.usd(bank.ben), (1000, 0));
}

#[test]
fn a_deposit_repeated_after_its_period_was_settled_is_still_already_done() {
    let mut bank = bank();
    let ben = of(bank.ben);
    let then = crate::treasury::command::Deposit { effective_at: Some(bank.world.now), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(then.clone()), DONE);
    bank.world.pass_days(1);
    let as_of = bank.world.now;
    assert_eq!(bank.ben(crate::treasury::command::SettleTreasury { treasury: ben, as_of }), DONE);
    assert_eq!(bank.teller(then), ALREADY);
}

#[test]
fn only_an_attester_of_that_source_and_currency_deposits() {
    let mut bank = bank();
    let ben = of(bank.ben);
    assert_eq!(bank.ann(deposit(ben, 1, "10.00")), Err(Code::NotAnAttester));
    let other = crate::treasury::command::Deposit { source: slug("cash"), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(other), Err(Code::NotAnAttester));
}

#[test]
fn nobody_attests_to_their_own_treasury_or_one_they_can_spend_from() {
    let mut bank = bank();
    let teller = bank.teller;
    assert_eq!(bank.teller(deposit(of(teller), 1, "10.00")), Err(Code::AttesterConflict));
    let guild = bank.world.guild(teller, "tellers");
    assert_eq!(bank.teller(deposit(TreasuryId::of_guild(guild), 1, "10.00")), Err(Code::AttesterConflict));
}

#[test]
fn nobody_attests_to_what_their_agents_or_their_operator_can_spend() {
    let mut bank = bank();
    let teller = bank.teller;
    let agent = bank.world.agent_of(teller);
    let agents_own = bank.world.agent_of(agent);
    for one in [agent, agents_own] {
        assert_eq!(bank.teller(deposit(of(one), 1, "10.00")), Err(Code::AttesterConflict));
    }
    let guild = bank.world.guild(agent, "hands");
    assert_eq!(bank.teller(deposit(TreasuryId::of_guild(guild), 1, "10.00")), Err(Code::AttesterConflict));

    let grant = crate::citizen::command::GrantAttestation {
        citizen: agents_own,
        source: slug("wire"),
        currency: currency("USD"),
    };
    bank.world.send(bank.world.principal, grant).unwrap();
    for one in [teller, agent, agents_own] {
        assert_eq!(bank.world.send(agents_own, deposit(of(one), 1, "10.00")), Err(Code::AttesterConflict));
    }
    let stranger = bank.ben;
    assert_eq!(bank.world.send(agents_own, deposit(of(stranger), 1, "10.00")), DONE);
}

#[test]
fn an_unknown_treasury_takes_no_deposit() {
    let mut bank = bank();
    assert_eq!(bank.teller(deposit(TreasuryId::from_bits(7), 1, "10.00")), Err(Code::TreasuryNotFound));
}

#[test]
fn every_wrong_amount_has_its_own_code() {
    let mut bank = bank();
    let ben = of(bank.ben);
    for (amount, code) in [
        ("0", Code::AmountNotPositive),
        ("-1", Code::AmountNotPositive),
        ("0.001", Code::TooManyDecimals),
        ("9999999999999999999999999999", Code::AmountOverflow),
    ] {
        assert_eq!(bank.teller(deposit(ben, 1, amount)), Err(code), "{amount}");
        assert_eq!(bank.ann(withdraw(of(bank.ann), 1, amount)), Err(code), "{amount}");
        assert_eq!(bank.ann(offer(bank.ann, ben, amount)), Err(code), "{amount}");
        let expires_at = bank.world.now.plus_days(1);
        assert_eq!(bank.ann(place(bank.ann, vec![outside(amount)], expires_at)), Err(code), "{amount}");
        assert_eq!(bank.ann(split(bank.ann, amount, vec![share(ben, 10_000)])), Err(code), "{amount}");
    }
    let pounds = crate::treasury::command::Deposit { currency: currency("GBP"), ..deposit(ben, 1, "10.00") };
    assert_eq!(bank.teller(pounds), Err(Code::UnknownCurrency));
}

#[test]
fn a_balance_that_would_outgrow_the_limit_is_refused() {
    let mut bank = bank();
    let ben = of(bank.ben);
    let most = "99999999999999999999999999.99";
    assert_eq!(bank.teller(deposit(ben, 1, most)), DONE);
    assert_eq!(bank.teller(deposit(ben, 2, "0.01")), Err(Code::AmountOverflow));
    assert_eq!(
        bank.teller(crate::treasury::command::Deposit { currency: currency("EUR"), ..deposit(ben, 3, "1") }),
        DONE
    );
}

#[test]
fn a_fee_is_at_most_the_amount_and_never_negative() {
    let mut bank = bank();
    let with = |number, fee: &str| crate::treasury::command::Deposit {
        fee: Some(money(fee)),
        ..deposit(of(bank.ben), number, "10.00")
    };
    let (above, below, all, none) = (with(1, "10.01"), with(1, "-1"), with(1, "10.00"), with(2, "0"));
    assert_eq!(bank.teller(above), Err(Code::FeeTooLarge));
    assert_eq!(bank.teller(below), Err(Code::AmountNotPositive));
    assert_eq!(bank.teller(all), DONE);
    assert_eq!(bank.usd(bank.ben), (0, 0));
    assert_eq!(bank.teller(none), DONE);
    assert_eq!(bank.world.types(), ["treasury.credited.v1"]);
}

#[test]
fn what_takes_effect_in_the_future_is_refused() {
    let mut bank = bank();
    let effective_at = Some(bank.world.now.plus_seconds(1));
    let arriving = crate::treasury::command::Deposit { effective_at, ..deposit(of(bank.ben), 1, "10.00") };
    assert_eq!(bank.teller(arriving), Err(Code::EffectiveInFuture));
    let leaving = crate::treasury::command::Withdraw { effective_at, ..withdraw(of(bank.ann), 1, "10.00") };
    assert_eq!(bank.ann(leaving), Err(Code::EffectiveInFuture));
}

#[test]
fn a_withdrawal_pays_amount_and_fee_to_the_outside() {
    let mut bank = bank();
    let leaving = withdraw(of(bank.ann), 1, "100.00");
    assert_eq!(bank.ann(crate::treasury::command::Withdraw { fee: Some(money("1.50")), ..leaving }), DONE);
    let moved = bank.moved();
    assert_eq!(moved.amount.to_string(), "101.50");
    assert_eq!(moved.legs.as_slice().len(), 3);
    assert_eq!(moved.legs.as_slice()[2].role, LegRole::Fee);
    assert_eq!(bank.usd(bank.ann), (39_850, 0));
}

#[test]
fn a_withdrawal_is_claimed_per_treasury_and_only_its_owner_may_ask() {
    let mut bank = bank();
    let (ann, ben) = (of(bank.ann), of(bank.ben));
    assert_eq!(bank.teller(deposit(ben, 1, "50.00")), DONE);
    assert_eq!(bank.ann(withdraw(ann, 1, "10.00")), DONE);
    assert_eq!(bank.ann(withdraw(ann, 1, "10.00")), ALREADY);
    assert_eq!(bank.ann(withdraw(ann, 1, "11.00")), Err(Code::ReferenceReused));
    assert_eq!(bank.ben(withdraw(ann, 1, "10.00")), Err(Code::NotTheOwner));
    assert_eq!(bank.ben(withdraw(ben, 1, "10.00")), DONE);
}

#[test]
fn a_thousand_debits_of_one_on_five_hundred_succeed_exactly_five_hundred_times() {
    let mut bank = bank();
    let mut done = 0;
    for number in 0..1000 {
        match bank.ann(withdraw(of(bank.ann), number, "1.00")) {
            DONE => done += 1,
            refused => assert_eq!(refused, Err(Code::InsufficientFunds)),
        }
    }
    assert_eq!((done, bank.usd(bank.ann)), (500, (0, 0)));
}

#[test]
fn a_suspended_owner_moves_nothing() {
    let mut bank = bank();
    let suspend = crate::citizen::command::SuspendCitizen { citizen: bank.ann, reason: None };
    assert_eq!(bank.world.send(bank.world.principal, suspend), DONE);
    assert!(bank.ann(withdraw(of(bank.ann), 1, "1.00")).is_err());
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
}

#[test]
fn a_deprovisioned_citizen_takes_nothing_in() {
    let mut bank = bank();
    let ben = of(bank.ben);
    let gone = crate::citizen::command::DeprovisionCitizen { citizen: bank.ben, reason: None };
    assert_eq!(bank.world.send(bank.world.principal, gone), DONE);
    assert_eq!(bank.teller(deposit(ben, 1, "10.00")), Err(Code::TreasuryClosed));
    assert_eq!(bank.ann(offer(bank.ann, ben, "1.00")), Err(Code::TreasuryClosed));
    assert_eq!(bank.ann(split(bank.ann, "1.00", vec![share(ben, 10_000)])), Err(Code::TreasuryClosed));
    let expires_at = bank.world.now.plus_days(1);
    assert_eq!(bank.ann(place(bank.ann, vec![to(ben, "1.00")], expires_at)), Err(Code::TreasuryClosed));
}

#[test]
fn a_citizen_has_no_mandates() {
    let mut bank = bank();
    let mandate = Some(slug("host-fee"));
    let leaving = crate::treasury::command::Withdraw { mandate, ..withdraw(of(bank.ann), 1, "10.00") };
    assert_eq!(bank.ann(leaving), Err(Code::MandateNotFound));
}

#[test]
fn inflow_sums_forget_what_is_older_than_366_days() {
    let mut bank = bank();
    let ann = of(bank.ann);
    let day = bank.world.now.day();
    bank.world.pass_days(366);
    assert_eq!(bank.teller(deposit(ann, 1, "1.00")), DONE);
    assert_eq!(bank.treasury(ann).deposited_since(&currency("USD"), day), 50_100);
    bank.world.pass_days(1);
    assert_eq!(bank.teller(deposit(ann, 2, "1.00")), DONE);
    assert_eq!(bank.treasury(ann).deposited_since(&currency("USD"), day), 200);
}
