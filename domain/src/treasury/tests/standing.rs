//! Freezing by either side, settling, and closing.

use super::bank::*;
use crate::ids::{CitizenId, TreasuryId};
use crate::money::Share;
use crate::party::Tier;
use crate::rejection::Code;
use crate::testing::text;
use crate::time::{DAY_MICROS, Time};
use crate::treasury::command::*;
use crate::treasury::event::{FreezeSide, TreasuryEvent};

fn freeze(owner: CitizenId, as_city: bool) -> FreezeTreasury {
    FreezeTreasury { treasury: of(owner), reason: text("looked odd"), as_city }
}

fn unfreeze(owner: CitizenId, as_city: bool) -> UnfreezeTreasury {
    UnfreezeTreasury { treasury: of(owner), as_city }
}

#[test]
fn each_side_lifts_only_its_own_freeze() {
    let mut bank = bank();
    let ann = bank.ann;
    let (gate, principal) = (bank.world.human(), bank.world.principal);
    assert_eq!(bank.world.send(gate, freeze(ann, true)), Err(Code::NotPermitted));
    bank.world.set_tier(gate, Tier::Gate);
    assert_eq!(bank.world.send(gate, freeze(ann, true)), DONE);
    assert_eq!(bank.world.send(principal, freeze(ann, true)), ALREADY);
    assert_eq!(bank.ann(unfreeze(ann, false)), Err(Code::NotFrozen));
    assert_eq!(bank.ann(unfreeze(ann, true)), Err(Code::NotPermitted));
    assert_eq!(bank.ann(freeze(ann, false)), DONE);
    assert_eq!(bank.ben(unfreeze(ann, false)), Err(Code::NotTheOwner));
    assert_eq!(bank.world.send(principal, unfreeze(ann, true)), DONE);
    assert_eq!(bank.ann(withdraw(of(ann), 1, "1.00")), Err(Code::TreasuryFrozen));
    assert!(bank.treasury(of(ann)).is_frozen_by(FreezeSide::Owner));
    assert_eq!(bank.ann(unfreeze(ann, false)), DONE);
    assert_eq!(bank.ann(withdraw(of(ann), 1, "1.00")), DONE);
}

#[test]
fn a_frozen_treasury_lets_nothing_out_and_sets_nothing_aside() {
    let mut bank = bank();
    let (ann, ben) = (bank.ann, of(bank.ben));
    let hold = bank.hold("10.00", "1.00");
    let offered = bank.offer("10.00");
    bank.freeze_as_city(ann);
    let expires_at = bank.world.now.plus_days(1);
    let frozen = Err(Code::TreasuryFrozen);
    assert_eq!(bank.ann(withdraw(of(ann), 1, "1.00")), frozen);
    assert_eq!(bank.ann(place(ann, vec![outside("1.00")], expires_at)), frozen);
    assert_eq!(bank.ann(capture(ann, hold, vec![to(ben, "1.00")], true)), frozen);
    assert_eq!(bank.ann(offer(ann, ben, "1.00")), frozen);
    assert_eq!(bank.ben(AcceptTransfer { treasury: of(ann), offer: offered }), frozen);
    assert_eq!(bank.ann(split(ann, "1.00", vec![share(ben, 10_000)])), frozen);
}

#[test]
fn a_frozen_treasury_lets_money_in_and_back() {
    let mut bank = bank();
    let (ann, treasury) = (bank.ann, of(bank.ann));
    let (released, expiring) = (bank.hold("10.00", "1.00"), bank.hold("10.00", "1.00"));
    let offers = [bank.offer("1.00"), bank.offer("1.00"), bank.offer("1.00")];
    bank.freeze_as_city(ann);
    let with_fee = Deposit { fee: Some(crate::testing::money("1.00")), ..deposit(treasury, 1, "10.00") };
    assert_eq!(bank.teller(with_fee), DONE);
    assert_eq!(bank.ann(ReleaseHold { treasury, hold: released }), DONE);
    assert_eq!(bank.ben(RejectTransfer { treasury, offer: offers[0] }), DONE);
    assert_eq!(bank.ann(CancelTransfer { treasury, offer: offers[1] }), DONE);
    bank.world.pass_days(11);
    assert_eq!(bank.world.send_system(ExpireTransfer { treasury, offer: offers[2] }), DONE);
    assert_eq!(bank.world.send_system(ExpireHold { treasury, hold: expiring }), DONE);
    assert_eq!(bank.usd(ann), (50_900, 0));
}

#[test]
fn a_settled_period_records_its_balances_and_takes_nothing_more() {
    let mut bank = bank();
    let (treasury, before) = (of(bank.ann), bank.world.now);
    bank.world.pass_days(2);
    let midnight = Time::from_micros(bank.world.now.day() * DAY_MICROS);
    assert_eq!(bank.ann(withdraw(treasury, 1, "100.00")), DONE);
    assert_eq!(bank.ben(SettleTreasury { treasury, as_of: midnight }), Err(Code::NotTheOwner));
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: midnight }), DONE);
    let settled = bank.world.find(|_, event| match event {
        crate::Event::Treasury(TreasuryEvent::Settled { as_of, balances }) => Some((*as_of, balances.clone())),
        _ => None,
    });
    let (as_of, balances) = settled.unwrap();
    assert_eq!((as_of, balances.len(), balances[0].balance.to_string().as_str()), (midnight, 1, "500.00"));

    let backdated = Deposit { effective_at: Some(before), ..deposit(treasury, 2, "1.00") };
    assert_eq!(bank.teller(backdated.clone()), Err(Code::PeriodSettled));
    let out = Withdraw { effective_at: Some(before), ..withdraw(treasury, 3, "1.00") };
    assert_eq!(bank.ann(out), Err(Code::PeriodSettled));
    let first = Deposit { effective_at: Some(midnight), ..backdated };
    assert_eq!(bank.teller(first), DONE);
}

#[test]
fn the_receivers_settled_period_counts_too() {
    let mut bank = bank();
    let (before, treasury) = (bank.world.now, of(bank.ben));
    bank.world.pass_days(2);
    let as_of = bank.world.now;
    assert_eq!(bank.ben(SettleTreasury { treasury, as_of }), DONE);
    let early = SplitTransfer { effective_at: Some(before), ..split(bank.ann, "1.00", vec![share(treasury, 10_000)]) };
    assert_eq!(bank.ann(early), Err(Code::PeriodSettled));
}

#[test]
fn periods_are_settled_in_order_and_never_ahead() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    bank.world.pass_days(400);
    let now = bank.world.now;
    let future = now.plus_seconds(1);
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: future }), Err(Code::SettleInFuture));
    let old = Time::from_micros((now.day() - 367) * DAY_MICROS);
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: old }), Err(Code::SettleInexact));
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: now }), DONE);
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: now }), ALREADY);
    let midnight = Time::from_micros(now.day() * DAY_MICROS);
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: midnight }), Err(Code::PeriodSettled));
}

#[test]
fn a_settlement_that_would_have_to_guess_is_refused() {
    let mut bank = bank();
    let treasury = of(bank.ann);
    let between = bank.world.now;
    bank.world.now = between.plus_seconds(3600);
    assert_eq!(bank.ann(withdraw(treasury, 1, "1.00")), DONE);
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of: between }), Err(Code::SettleInexact));
    bank.world.now = bank.world.now.plus_seconds(1);
    let as_of = bank.world.now;
    assert_eq!(bank.ann(SettleTreasury { treasury, as_of }), DONE);
}

mod dissolution {
    //! Paying out and closing, called the way the guild's last command calls it.
    use super::*;
    use crate::ids::{CommandId, GuildId, Stream};
    use crate::party::Actor;
    use crate::testing::World;
    use crate::treasury::pay_shares;
    use crate::turn::{Context, Permit, State, Stop, Turn};

    fn paid(
        world: &World,
        guild: GuildId,
        shares: &[Share],
        fallback: TreasuryId,
    ) -> Result<Vec<(TreasuryId, i128)>, Code> {
        let permit = Permit { actor: Actor::System, tier: Tier::Principal, via: None };
        let context = Context { now: world.now, permit, command: CommandId::from_bits(1), seed: [3; 32] };
        let mut turn = Turn::new(world, &context);
        match pay_shares(&mut turn, guild, shares, fallback) {
            Ok(()) => {}
            Err(Stop::Rejected(rejection)) => return Err(rejection.code),
            Err(Stop::Missing(missing)) => panic!("{missing:?} was not loaded"),
        }
        let decision = turn.finish(crate::turn::Outcome::Done);
        let mut balances: Vec<_> = decision
            .states
            .iter()
            .filter_map(|(stream, state)| match (stream, state.as_ref()) {
                (Stream::Treasury(id), State::Treasury(treasury)) => Some((*id, usd(treasury).0)),
                _ => None,
            })
            .collect();
        balances.sort_unstable();
        Ok(balances)
    }

    fn guild_with(bank: &mut Bank, amount: &str) -> GuildId {
        let guild = bank.world.guild(bank.ann, "ending");
        bank.world.fund(TreasuryId::of_guild(guild), "USD", amount);
        guild
    }

    #[test]
    fn every_share_is_paid_at_once_and_the_treasury_closed() {
        let mut bank = bank();
        let guild = guild_with(&mut bank, "0.05");
        let (ben, teller) = (of(bank.ben), of(bank.teller));
        let mut expected = vec![(TreasuryId::of_guild(guild), 0), (ben, 2), (teller, 3)];
        expected.sort_unstable();
        assert_eq!(paid(&bank.world, guild, &[share(ben, 5000), share(teller, 5000)], of(bank.ann)), Ok(expected));
    }

    #[test]
    fn a_frozen_receiver_is_replaced_by_the_fallback() {
        let mut bank = bank();
        let guild = guild_with(&mut bank, "1.00");
        let (ben, teller) = (of(bank.ben), of(bank.teller));
        bank.freeze_as_city(bank.ben);
        let mut expected = vec![(TreasuryId::of_guild(guild), 0), (teller, 100)];
        expected.sort_unstable();
        assert_eq!(paid(&bank.world, guild, &[share(ben, 5000), share(teller, 5000)], teller), Ok(expected));
    }

    #[test]
    fn a_fallback_that_is_gone_is_refused() {
        let mut bank = bank();
        let guild = guild_with(&mut bank, "1.00");
        let gone = crate::citizen::command::DeprovisionCitizen { citizen: bank.ben, reason: None };
        assert_eq!(bank.world.send(bank.world.principal, gone), DONE);
        let shares = [share(of(bank.ben), 10_000)];
        assert_eq!(paid(&bank.world, guild, &shares, of(bank.ben)), Err(Code::FallbackCannotReceive));
    }

    #[test]
    fn a_treasury_with_open_holds_is_not_paid_out() {
        let mut bank = bank();
        let guild = guild_with(&mut bank, "1.00");
        let hold = PlaceHold {
            treasury: TreasuryId::of_guild(guild),
            ..place(bank.ann, vec![outside("1.00")], bank.world.now.plus_days(1))
        };
        assert_eq!(bank.ann(hold), DONE);
        let shares = [share(of(bank.ben), 10_000)];
        assert_eq!(paid(&bank.world, guild, &shares, of(bank.ann)), Err(Code::HoldsOpen));
    }
}
