//! Delegations, declared rules, mandates: how far they reach, and what is counted.

use super::hall::*;
use crate::guild::governance::*;
use crate::ids::{CitizenId, TreasuryId};
use crate::money::Account;
use crate::party::MemberId;
use crate::rejection::Code;
use crate::testing::{currency, money, slug};
use crate::treasury::command::OfferTransfer;

/// Finance is delegated to Cat and Dan, who hold the scope; Ann decides the rest.
fn delegated(limits: Vec<SpendLimit>) -> (Hall, CitizenId, CitizenId) {
    let mut hall = hall();
    let cat = hall.join("coordinator");
    let dan = hall.join("coordinator");
    let tier = Tier::Delegated { delegations: vec![delegation("purse", Class::Finance, &[cat, dan], limits)] };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Finance, tier))), DONE);
    hall.world.fund(hall.treasury(), "USD", "1000.00");
    (hall, cat, dan)
}

#[test]
fn a_delegation_limits_each_action_each_actor_and_the_whole() {
    let (mut hall, cat, dan) = delegated(vec![limit("30", "50", "80", 30)]);
    assert_eq!(hall.ann(hall.pay(1, "1", None)), Err(Code::NoDelegation));
    assert_eq!(hall.world.send(cat, hall.pay(2, "30.01", None)), Err(Code::LimitExceeded));
    assert_eq!(hall.world.send(cat, hall.pay(3, "30.00", None)), DONE);
    assert_eq!(hall.world.send(cat, hall.pay(4, "20.01", None)), Err(Code::LimitExceeded), "per actor");
    assert_eq!(hall.world.send(cat, hall.pay(5, "20.00", None)), DONE);
    assert_eq!(hall.world.send(dan, hall.pay(6, "30.00", None)), DONE);
    assert_eq!(hall.world.send(dan, hall.pay(7, "0.01", None)), Err(Code::LimitExceeded), "in total");
    hall.world.check_replay();
}

#[test]
fn the_period_rolls_by_days() {
    let (mut hall, cat, _) = delegated(vec![limit("50", "50", "50", 3)]);
    assert_eq!(hall.world.send(cat, hall.pay(1, "20.00", None)), DONE);
    hall.world.pass_days(1);
    assert_eq!(hall.world.send(cat, hall.pay(2, "30.00", None)), DONE);
    hall.world.pass_days(1);
    assert_eq!(hall.world.send(cat, hall.pay(3, "0.01", None)), Err(Code::LimitExceeded));
    hall.world.pass_days(1);
    assert_eq!(hall.world.send(cat, hall.pay(4, "20.01", None)), Err(Code::LimitExceeded));
    assert_eq!(hall.world.send(cat, hall.pay(5, "20.00", None)), DONE);
    // Buckets older than any period are forgotten, by the same rule in the fold.
    hall.world.pass_days(400);
    assert_eq!(hall.world.send(cat, hall.pay(6, "50.00", None)), DONE);
    hall.world.check_replay();
}

#[test]
fn an_unlisted_currency_has_no_limit_above_zero() {
    let (mut hall, cat, _) = delegated(vec![limit("50", "50", "50", 3)]);
    hall.world.fund(hall.treasury(), "EUR", "10.00");
    let euros = crate::treasury::command::Withdraw { currency: currency("EUR"), ..hall.pay(1, "1.00", None) };
    assert_eq!(hall.world.send(cat, euros), Err(Code::LimitExceeded));
}

#[test]
fn a_new_document_does_not_reset_what_was_spent_under_the_same_delegation() {
    let (mut hall, cat, dan) = delegated(vec![limit("50", "50", "50", 30)]);
    assert_eq!(hall.world.send(cat, hall.pay(1, "50.00", None)), DONE);
    let limits = vec![limit("50", "50", "60", 30)];
    let tier = Tier::Delegated { delegations: vec![delegation("purse", Class::Finance, &[cat, dan], limits)] };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Finance, tier))), DONE);
    assert_eq!(hall.world.send(dan, hall.pay(2, "10.01", None)), Err(Code::LimitExceeded));
    assert_eq!(hall.world.send(dan, hall.pay(3, "10.00", None)), DONE);
}

#[test]
fn another_delegation_that_still_has_room_is_used() {
    let mut hall = hall();
    let cat = hall.join("coordinator");
    let small = delegation("small", Class::Finance, &[cat], vec![limit("10", "10", "10", 30)]);
    let large = delegation("large", Class::Finance, &[cat], vec![limit("40", "40", "40", 30)]);
    let tier = Tier::Delegated { delegations: vec![small, large] };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Finance, tier))), DONE);
    hall.world.fund(hall.treasury(), "USD", "100.00");
    assert_eq!(hall.world.send(cat, hall.pay(1, "10.00", None)), DONE);
    assert_eq!(hall.world.send(cat, hall.pay(2, "40.00", None)), DONE);
    assert_eq!(hall.world.send(cat, hall.pay(3, "0.01", None)), Err(Code::LimitExceeded));
}

#[test]
fn a_rule_decides_when_everything_it_names_holds() {
    let mut hall = hall();
    let cat = hall.join("coordinator");
    let gate = hall.join_with("gate", &[Class::Finance]);
    let mut paid = rule("paid-bill", Class::Finance, &["bill"], vec![limit("20", "20", "20", 1)]);
    paid.ranks = vec![slug("coordinator")];
    let mut trusted = rule("trusted", Class::Finance, &[], vec![limit("20", "20", "20", 1)]);
    trusted.required_reputation = Some(money("0"));
    let tier = Tier::Automated { rules: vec![trusted, paid] };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Finance, tier))), DONE);
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let bill = [evidence("other"), evidence("bill")];
    assert_eq!(hall.world.send(cat, hall.pay(1, "5", None)), Err(Code::NoRuleMatches));
    assert_eq!(hall.world.send_with(gate, hall.pay(2, "5", None), &bill), Err(Code::NoRuleMatches));
    assert_eq!(hall.world.send_with(cat, hall.pay(3, "21", None), &bill), Err(Code::LimitExceeded));
    assert_eq!(hall.world.send_with(cat, hall.pay(4, "20", None), &bill), DONE);
    let decided = hall.world.recorded()[0].1.to_parts().1;
    assert_eq!(decided["ground"]["rule"], "paid-bill", "the rule that decided is recorded");
    assert_eq!(decided["ground"]["evidence"].as_array().unwrap().len(), 1, "and only the evidence it asked for");
    assert_eq!(hall.world.send_with(cat, hall.pay(5, "1", None), &bill), Err(Code::LimitExceeded));
}

fn with_mandate(mandate: Mandate) -> Hall {
    let mut hall = hall_under(|_| Governance { mandates: vec![mandate], ..document(consensus(&["founder"], 2)) });
    hall.world.fund(hall.treasury(), "USD", "1000.00");
    hall
}

fn host_fee(payee: Account) -> Mandate {
    Mandate { id: slug("host-fee"), payee, basis_points: Some(500), maximum: Vec::new(), period_days: 30 }
}

#[test]
fn a_mandate_pays_its_payee_a_share_of_inflows_and_no_more() {
    let mut hall = with_mandate(host_fee(Account::External));
    assert_eq!(hall.ann(hall.pay(1, "1", Some("rent"))), Err(Code::MandateNotFound));
    assert_eq!(hall.ann(hall.pay(2, "50.01", Some("host-fee"))), Err(Code::LimitExceeded));
    assert_eq!(hall.ann(hall.pay(3, "30.00", Some("host-fee"))), DONE, "no vote is needed");
    assert_eq!(hall.ben(hall.pay(4, "20.01", Some("host-fee"))), Err(Code::LimitExceeded));
    assert_eq!(hall.ben(hall.pay(5, "20.00", Some("host-fee"))), DONE);
    hall.world.fund(hall.treasury(), "USD", "100.00");
    assert_eq!(hall.ben(hall.pay(6, "5.00", Some("host-fee"))), DONE);
    let cat = hall.world.human();
    assert_eq!(hall.world.send(cat, hall.pay(7, "0.01", Some("host-fee"))), Err(Code::NotAMember));
    hall.world.check_replay();
}

#[test]
fn a_mandate_counts_offers_when_they_are_made_and_pays_nobody_else() {
    let mut hall = hall();
    let host = hall.world.human();
    let mandate = Mandate {
        basis_points: None,
        maximum: vec![Limit { currency: currency("USD"), amount: money("40") }],
        ..host_fee(Account::Treasury(TreasuryId::of_citizen(host)))
    };
    let set = hall.set(Governance { mandates: vec![mandate], ..document(consensus(&["founder"], 2)) });
    assert_eq!(hall.ann(set), DONE);
    hall.world.fund(hall.treasury(), "USD", "100.00");
    let offer = |to: CitizenId, amount: &str| OfferTransfer {
        treasury: hall.treasury(),
        to: TreasuryId::of_citizen(to),
        currency: currency("USD"),
        amount: money(amount),
        expires_at: None,
        mandate: Some(slug("host-fee")),
        effective_at: None,
        memo: None,
    };
    let (wrong, first, second) = (offer(hall.ben, "1"), offer(host, "40"), offer(host, "0.01"));
    assert_eq!(hall.ann(wrong), Err(Code::MandatePayee));
    assert_eq!(hall.ann(first), DONE);
    assert_eq!(hall.ann(second), Err(Code::LimitExceeded));
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let mut hall = hall();
    let (ann, ben) = (hall.ann, hall.ben);
    let finance = |tier| except(only(ann), Class::Finance, tier);
    let lent = |id: &str| delegation(id, Class::Finance, &[ben], Vec::new());
    let delegated = |delegations| finance(Tier::Delegated { delegations });
    let with_limit = |limit| delegated(vec![Delegation { limits: vec![limit], ..lent("purse") }]);
    let mandate = |change: &dyn Fn(&mut Mandate)| {
        let mut mandate = host_fee(Account::External);
        change(&mut mandate);
        Governance { mandates: vec![mandate], ..document(only(ann)) }
    };
    let contradictions = vec![
        ("nobody needed", document(named(&[ann, ben], 0))),
        ("more needed than there are", document(named(&[ann, ben], 3))),
        ("no ratifiers", document(named(&[], 1))),
        ("a ratifier twice", document(named(&[ann, ann], 1))),
        ("no delegations", delegated(Vec::new())),
        ("a delegation twice", delegated(vec![lent("purse"), lent("purse")])),
        ("a delegation to nobody", delegated(vec![Delegation { members: Vec::new(), ..lent("purse") }])),
        ("a delegation of another class", delegated(vec![Delegation { class: Class::Work, ..lent("purse") }])),
        ("no period", with_limit(limit("1", "1", "1", 0))),
        ("a long period", with_limit(limit("1", "1", "1", 367))),
        ("a limit below zero", with_limit(limit("1", "-1", "1", 1))),
        ("no rules", finance(Tier::Automated { rules: Vec::new() })),
        ("a rule of another class", finance(Tier::Automated { rules: vec![rule("r1", Class::Work, &[], Vec::new())] })),
        ("no life", Governance { proposal_days: 0, ..document(only(ann)) }),
        ("a long life", Governance { proposal_days: 91, ..document(only(ann)) }),
        ("a class twice", Governance { classes: vec![class_tier(ann), class_tier(ben)], ..document(only(ann)) }),
        ("a mandate of nothing", mandate(&|mandate| mandate.basis_points = None)),
        ("a mandate of more than all", mandate(&|mandate| mandate.basis_points = Some(10_001))),
        ("a mandate without a period", mandate(&|mandate| mandate.period_days = 0)),
        ("a long list", delegated((0..101).map(|n| lent(&format!("purse-{n}"))).collect())),
    ];
    for (what, document) in contradictions {
        assert_eq!(hall.ann(hall.set(document)), Err(Code::GovernanceInvalid), "{what}");
    }
    let unknown = SpendLimit { currency: currency("ZZZ"), ..limit("1", "1", "1", 1) };
    assert_eq!(hall.ann(hall.set(with_limit(unknown))), Err(Code::UnknownCurrency));
    assert_eq!(hall.ann(hall.set(with_limit(limit("0.001", "1", "1", 1)))), Err(Code::TooManyDecimals));
    assert_eq!(hall.ann(hall.set(document(consensus(&["wizard"], 1)))), Err(Code::UnknownRank));
    let stranger = hall.world.human();
    let absent = except(only(ann), Class::Finance, only(stranger));
    assert_eq!(hall.ann(hall.set(absent)), Err(Code::MemberNotActive));
}

fn class_tier(decider: CitizenId) -> ClassTier {
    ClassTier { class: Class::Work, tier: only(decider) }
}

#[test]
fn whoever_can_spend_is_known_to_those_who_ask() {
    let mut hall = hall();
    let cat = hall.join_with("gate", &[]);
    let dan = hall.join("member");
    let tier = Tier::Delegated {
        delegations: vec![Delegation {
            ranks: vec![slug("gate")],
            members: vec![MemberId::Citizen(dan)],
            ..delegation("purse", Class::Finance, &[], Vec::new())
        }],
    };
    assert_eq!(hall.ann(hall.set(except(only(hall.ann), Class::Finance, tier))), DONE);
    let eve = hall.join("member");
    let stranger = hall.world.human();
    let grant = |citizen| crate::citizen::command::GrantAttestation {
        citizen,
        source: slug("bank"),
        currency: currency("USD"),
    };
    for (citizen, conflict) in [(hall.ann, true), (cat, true), (dan, true), (eve, false), (stranger, false)] {
        assert_eq!(hall.city(grant(citizen)), DONE);
        let outcome = hall.world.send(citizen, super::scenarios::deposit(hall.treasury(), citizen.bits() as u64));
        assert_eq!(outcome, if conflict { Err(Code::AttesterConflict) } else { DONE });
    }
}
