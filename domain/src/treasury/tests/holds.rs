//! Holds: placed, captured in parts, released, expired, and everything that is refused about them.

use super::bank::*;
use crate::ids::HoldId;
use crate::money::LegRole;
use crate::rejection::Code;
use crate::treasury::command::{CaptureHold, ExpireHold, PlaceHold, ReleaseHold};

#[test]
fn a_capture_pays_principal_and_fee_and_releases_the_rest() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    assert_eq!(bank.usd(bank.ann), (50_000, 10_500));
    let legs = vec![to(of(bank.ben), "80.00"), fee_leg("4.00")];
    assert_eq!(bank.ann(capture(bank.ann, hold, legs, true)), DONE);
    assert_eq!(bank.world.types(), ["treasury.hold_captured.v1", "treasury.debited.v1", "treasury.credited.v1"]);
    assert_eq!((bank.usd(bank.ann), bank.usd(bank.ben)), ((41_600, 0), (8000, 0)));
    assert_eq!(bank.moved().legs.as_slice().len(), 3);
}

#[test]
fn partial_captures_leave_the_rest_held_until_nothing_is_left() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    let ben = of(bank.ben);
    assert_eq!(bank.ann(capture(bank.ann, hold, vec![to(ben, "60.00")], false)), DONE);
    assert_eq!(bank.usd(bank.ann), (44_000, 4500));
    assert_eq!(bank.ann(capture(bank.ann, hold, vec![to(ben, "40.01")], false)), Err(Code::BeyondHold));
    assert_eq!(bank.ann(capture(bank.ann, hold, vec![to(ben, "40.00"), fee_leg("5.00")], false)), DONE);
    assert_eq!(bank.usd(bank.ann), (39_500, 0));
    assert!(!bank.treasury(of(bank.ann)).has_open_holds());
}

#[test]
fn a_captured_hold_cannot_be_captured_again() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    let legs = vec![to(of(bank.ben), "80.00")];
    assert_eq!(bank.ann(capture(bank.ann, hold, legs.clone(), true)), DONE);
    assert_eq!(bank.ann(capture(bank.ann, hold, legs, true)), Err(Code::HoldNotOpen));
    assert_eq!(bank.ann(ReleaseHold { treasury: of(bank.ann), hold }), Err(Code::HoldNotOpen));
}

#[test]
fn a_capture_stays_within_the_hold_and_its_payees() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    let (ben, stranger) = (of(bank.ben), of(bank.teller));
    let refused = [
        (vec![to(ben, "100.01")], Code::BeyondHold),
        (vec![to(ben, "100.00"), fee_leg("5.01")], Code::BeyondHold),
        (vec![to(stranger, "1.00")], Code::PayeeNotInHold),
        (vec![outside("1.00")], Code::PayeeNotInHold),
        (vec![to(ben, "1.00"), to(ben, "1.00")], Code::PayeeRepeated),
        (vec![to(ben, "0")], Code::AmountNotPositive),
        (vec![to(ben, "0.001")], Code::TooManyDecimals),
        (vec![], Code::LegsInvalid),
    ];
    for (legs, code) in refused {
        assert_eq!(bank.ann(capture(bank.ann, hold, legs, true)), Err(code));
    }
    let later = Some(bank.world.now.plus_seconds(1));
    let future = CaptureHold { effective_at: later, ..capture(bank.ann, hold, vec![to(ben, "1.00")], true) };
    assert_eq!(bank.ann(future), Err(Code::EffectiveInFuture));
    assert_eq!(bank.ben(capture(bank.ann, hold, vec![to(ben, "1.00")], true)), Err(Code::NotTheOwner));
}

#[test]
fn a_hold_past_its_end_is_unusable_at_once_but_its_money_comes_back_with_the_event() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    let expire = ExpireHold { treasury: of(bank.ann), hold };
    let ends_at = bank.world.now.plus_days(10);
    bank.world.now = crate::Time::from_micros(ends_at.micros() - 1);
    assert_eq!(bank.world.send_system(expire.clone()), Err(Code::HoldNotExpired));
    bank.world.now = ends_at;
    assert_eq!(bank.ann(capture(bank.ann, hold, vec![to(of(bank.ben), "1.00")], true)), Err(Code::HoldExpired));
    assert_eq!(bank.usd(bank.ann), (50_000, 10_500));
    assert_eq!(bank.world.send_system(expire.clone()), DONE);
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
    assert_eq!(bank.world.send_system(expire), Err(Code::HoldNotOpen));
}

#[test]
fn a_released_hold_gives_everything_back_and_only_its_owner_releases() {
    let mut bank = bank();
    let hold = bank.hold("100.00", "5.00");
    let release = ReleaseHold { treasury: of(bank.ann), hold };
    assert_eq!(bank.ben(release.clone()), Err(Code::NotTheOwner));
    assert_eq!(bank.ann(release), DONE);
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
}

#[test]
fn held_money_cannot_be_spent_twice() {
    let mut bank = bank();
    bank.hold("400.00", "50.00");
    assert_eq!(bank.ann(withdraw(of(bank.ann), 1, "50.01")), Err(Code::InsufficientFunds));
    assert_eq!(bank.ann(offer(bank.ann, of(bank.ben), "50.01")), Err(Code::InsufficientFunds));
    let expires_at = bank.world.now.plus_days(1);
    assert_eq!(bank.ann(place(bank.ann, vec![outside("50.01")], expires_at)), Err(Code::InsufficientFunds));
    assert_eq!(bank.ann(split(bank.ann, "50.01", vec![share(of(bank.ben), 10_000)])), Err(Code::InsufficientFunds));
    assert_eq!(bank.ann(withdraw(of(bank.ann), 2, "50.00")), DONE);
}

#[test]
fn a_hold_lives_in_the_future_and_at_most_366_days() {
    let mut bank = bank();
    let now = bank.world.now;
    let until = |expires_at| place(bank.ann, vec![outside("1.00")], expires_at);
    let (past, far, most) = (until(now), until(now.plus_days(366).plus_seconds(1)), until(now.plus_days(366)));
    assert_eq!(bank.ann(past), Err(Code::ExpiryInPast));
    assert_eq!(bank.ann(far), Err(Code::ExpiryTooFar));
    assert_eq!(bank.ann(most), DONE);
}

#[test]
fn the_outside_world_may_appear_once_per_role_and_a_treasury_once() {
    let mut bank = bank();
    let expires_at = bank.world.now.plus_days(1);
    let (ann, ben) = (of(bank.ann), of(bank.ben));
    let fee_to_ben = crate::treasury::command::Payee { role: LegRole::Fee, ..to(ben, "1.00") };
    let refused = [
        (vec![outside("1.00"), outside("2.00")], Code::PayeeRepeated),
        (vec![to(ben, "1.00"), fee_to_ben], Code::PayeeRepeated),
        (vec![to(ann, "1.00")], Code::SameTreasury),
        (vec![], Code::LegsInvalid),
        (vec![outside("1.00"); 101], Code::LegsInvalid),
    ];
    for (legs, code) in refused {
        assert_eq!(bank.ann(place(bank.ann, legs, expires_at)), Err(code));
    }
    assert_eq!(bank.ann(place(bank.ann, vec![outside("1.00"), fee_leg("0.10"), to(ben, "1.00")], expires_at)), DONE);
    let unknown = crate::ids::TreasuryId::from_bits(7);
    assert_eq!(bank.ann(place(bank.ann, vec![to(unknown, "1.00")], expires_at)), Err(Code::TreasuryNotFound));
}

#[test]
fn an_unknown_hold_and_an_offer_are_no_holds() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    let offer = bank.offer("1.00");
    for hold in [HoldId::from_bits(7), offer] {
        assert_eq!(bank.ann(ReleaseHold { treasury, hold }), Err(Code::HoldNotOpen));
        assert_eq!(bank.ann(ExpireHold { treasury, hold }), Err(Code::HoldNotOpen));
        assert_eq!(bank.ann(capture(bank.ann, hold, vec![outside("1.00")], true)), Err(Code::HoldNotOpen));
    }
}

#[test]
fn a_treasury_has_at_most_ten_thousand_open_holds_and_offers() {
    let mut bank = bank();
    let expires_at = bank.world.now.plus_days(1);
    let one = place(bank.ann, vec![outside("0.01")], expires_at);
    bank.offer("0.01");
    for _ in 1..crate::treasury::holds::MAX_OPEN {
        assert_eq!(bank.ann(one.clone()), DONE);
    }
    assert_eq!(bank.ann(one), Err(Code::TooManyHolds));
    assert_eq!(bank.ann(offer(bank.ann, of(bank.ben), "0.01")), Err(Code::TooManyHolds));
}

#[test]
fn a_hold_in_an_unknown_treasury_or_currency_is_refused() {
    let mut bank = bank();
    let expires_at = bank.world.now.plus_days(1);
    let one = place(bank.ann, vec![outside("1.00")], expires_at);
    let nowhere = PlaceHold { treasury: crate::ids::TreasuryId::from_bits(7), ..one.clone() };
    assert_eq!(bank.ann(nowhere), Err(Code::TreasuryNotFound));
    let pounds = PlaceHold { currency: crate::testing::currency("GBP"), ..one };
    assert_eq!(bank.ann(pounds), Err(Code::UnknownCurrency));
}
