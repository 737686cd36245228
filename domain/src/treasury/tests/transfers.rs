//! Offers and splits.

use super::bank::*;
use crate::ids::{HoldId, TreasuryId};
use crate::rejection::Code;
use crate::treasury::command::{
    AcceptTransfer, CancelTransfer, ExpireTransfer, OfferTransfer, RejectTransfer, SetAutoAccept,
};

#[test]
fn an_offer_holds_at_the_sender_until_the_receiver_accepts() {
    let mut bank = bank();
    let offer = bank.offer("20.00");
    assert_eq!((bank.usd(bank.ann), bank.usd(bank.ben)), ((50_000, 2000), (0, 0)));
    let accept = AcceptTransfer { treasury: of(bank.ann), offer };
    assert_eq!(bank.ann(accept.clone()), Err(Code::NotTheOwner));
    assert_eq!(bank.ben(accept.clone()), DONE);
    assert_eq!(bank.world.types(), ["treasury.offer_accepted.v1", "treasury.debited.v1", "treasury.credited.v1"]);
    assert_eq!((bank.usd(bank.ann), bank.usd(bank.ben)), ((48_000, 0), (2000, 0)));
    assert!(bank.moved().memo.is_some());
    assert_eq!(bank.ben(accept), Err(Code::OfferNotOpen));
}

#[test]
fn a_rejected_or_cancelled_offer_gives_the_money_back_to_the_sender() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    let offer = bank.offer("20.00");
    assert_eq!(bank.ann(RejectTransfer { treasury, offer }), Err(Code::NotTheOwner));
    assert_eq!(bank.ben(RejectTransfer { treasury, offer }), DONE);
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
    let offer = bank.offer("20.00");
    assert_eq!(bank.ben(CancelTransfer { treasury, offer }), Err(Code::NotTheOwner));
    assert_eq!(bank.ann(CancelTransfer { treasury, offer }), DONE);
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
    for refused in [bank.ben(RejectTransfer { treasury, offer }), bank.ann(CancelTransfer { treasury, offer })] {
        assert_eq!(refused, Err(Code::OfferNotOpen));
    }
}

#[test]
fn an_offer_lives_seven_days_unless_it_says_otherwise() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    let offer = bank.offer("20.00");
    let ends_at = bank.world.now.plus_days(7);
    bank.world.now = crate::Time::from_micros(ends_at.micros() - 1);
    assert_eq!(bank.world.send_system(ExpireTransfer { treasury, offer }), Err(Code::OfferNotExpired));
    bank.world.now = ends_at;
    assert_eq!(bank.ben(AcceptTransfer { treasury, offer }), Err(Code::OfferExpired));
    assert_eq!(bank.usd(bank.ann), (50_000, 2000));
    assert_eq!(bank.world.send_system(ExpireTransfer { treasury, offer }), DONE);
    assert_eq!(bank.usd(bank.ann), (50_000, 0));
    assert_eq!(bank.world.send_system(ExpireTransfer { treasury, offer }), Err(Code::OfferNotOpen));
}

#[test]
fn an_offer_ends_in_the_future_and_within_366_days() {
    let mut bank = bank();
    let (now, ben) = (bank.world.now, of(bank.ben));
    for (expires_at, code) in [(now, Code::ExpiryInPast), (now.plus_days(366).plus_seconds(1), Code::ExpiryTooFar)] {
        let asked = OfferTransfer { expires_at: Some(expires_at), ..offer(bank.ann, ben, "1.00") };
        assert_eq!(bank.ann(asked), Err(code));
    }
}

#[test]
fn an_offer_to_an_auto_accepting_receiver_arrives_at_once() {
    let mut bank = bank();
    let auto = SetAutoAccept { treasury: of(bank.ben), from: vec![of(bank.ann)] };
    assert_eq!(bank.ann(auto.clone()), Err(Code::NotTheOwner));
    assert_eq!(bank.ben(auto.clone()), DONE);
    assert_eq!(bank.ben(auto), ALREADY);
    let effective_at = Some(bank.world.now.plus_days(0));
    bank.world.pass_days(1);
    let asked = OfferTransfer { effective_at, ..offer(bank.ann, of(bank.ben), "20.00") };
    assert_eq!(bank.ann(asked), DONE);
    assert_eq!(
        bank.world.types(),
        ["treasury.offer_made.v1", "treasury.offer_accepted.v1", "treasury.debited.v1", "treasury.credited.v1"]
    );
    assert_eq!(Some(bank.moved().effective_at), effective_at);
    assert_eq!((bank.usd(bank.ann), bank.usd(bank.ben)), ((48_000, 0), (2000, 0)));
}

#[test]
fn auto_accept_names_existing_others_and_at_most_a_hundred() {
    let mut bank = bank();
    let (ann, treasury) = (of(bank.ann), of(bank.ben));
    let refused = [
        (vec![treasury], Code::SameTreasury),
        (vec![TreasuryId::from_bits(7)], Code::TreasuryNotFound),
        (vec![ann; 101], Code::AutoAcceptTooLong),
    ];
    for (from, code) in refused {
        assert_eq!(bank.ben(SetAutoAccept { treasury, from }), Err(code));
    }
}

#[test]
fn money_never_moves_from_a_treasury_to_itself() {
    let mut bank = bank();
    let ann = of(bank.ann);
    assert_eq!(bank.ann(offer(bank.ann, ann, "1.00")), Err(Code::SameTreasury));
    assert_eq!(bank.ann(split(bank.ann, "1.00", vec![share(ann, 10_000)])), Err(Code::SameTreasury));
}

#[test]
fn only_the_owner_offers_and_splits() {
    let mut bank = bank();
    let teller = of(bank.teller);
    assert_eq!(bank.ben(offer(bank.ann, teller, "1.00")), Err(Code::NotTheOwner));
    assert_eq!(bank.ben(split(bank.ann, "1.00", vec![share(teller, 10_000)])), Err(Code::NotTheOwner));
    assert_eq!(bank.ann(offer(bank.ann, TreasuryId::from_bits(7), "1.00")), Err(Code::TreasuryNotFound));
}

#[test]
fn an_unknown_offer_and_a_hold_are_no_offers() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    let hold = bank.hold("1.00", "1.00");
    for offer in [HoldId::from_bits(7), hold] {
        assert_eq!(bank.ben(AcceptTransfer { treasury, offer }), Err(Code::OfferNotOpen));
        assert_eq!(bank.ann(CancelTransfer { treasury, offer }), Err(Code::OfferNotOpen));
        assert_eq!(bank.world.send_system(ExpireTransfer { treasury, offer }), Err(Code::OfferNotOpen));
    }
}

#[test]
fn a_split_rounds_down_and_gives_the_remainder_to_the_last() {
    let mut bank = bank();
    let (ben, teller) = (of(bank.ben), of(bank.teller));
    let third = of(bank.world.human());
    let shares = vec![share(ben, 3333), share(teller, 3333), share(third, 3334)];
    assert_eq!(bank.ann(split(bank.ann, "1.00", shares)), DONE);
    let got = [ben, teller, third].map(|treasury| usd(bank.treasury(treasury)).0);
    assert_eq!((got, bank.usd(bank.ann)), ([33, 33, 34], (49_900, 0)));
    assert_eq!(bank.world.types().len(), 4);
}

#[test]
fn shares_are_whole_name_nobody_twice_and_round_to_something() {
    let mut bank = bank();
    let (ben, teller) = (of(bank.ben), of(bank.teller));
    let refused = [
        (vec![share(ben, 9999)], Code::SharesNotWhole),
        (vec![share(ben, 10_000), share(teller, 0)], Code::SharesNotWhole),
        (vec![], Code::SharesNotWhole),
        (vec![share(ben, 5000), share(ben, 5000)], Code::PayeeRepeated),
        (vec![share(ben, 1), share(teller, 9999)], Code::LegTooSmall),
    ];
    for (shares, code) in refused {
        assert_eq!(bank.ann(split(bank.ann, "1.00", shares)), Err(code));
    }
}
