//! Every rule, by a log that keeps it and logs that break it.

#![allow(clippy::unwrap_used)]

mod grants;
mod lock;
mod reputation;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::covered;
use crate::testkit::{City, leg};

#[test]
fn every_event_type_of_the_city_has_a_rule_or_a_reason() {
    let domain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../domain/src");
    let mut declared = BTreeSet::new();
    for aggregate in fs::read_dir(&domain).unwrap() {
        let Ok(source) = fs::read_to_string(aggregate.unwrap().path().join("event.rs")) else { continue };
        let renamed = source.split("rename = \"").skip(1).filter_map(|rest| rest.split('"').next());
        declared.extend(renamed.filter(|kind| kind.contains('.')).map(str::to_owned));
    }
    assert!(declared.len() > 60, "the event types were not found where they are declared: {}", domain.display());
    let known: BTreeSet<String> = covered().map(|rule| rule.kind.to_owned()).collect();
    let missing: Vec<_> = declared.difference(&known).collect();
    assert!(missing.is_empty(), "write a rule in rules/, or a line that says why none is needed, for {missing:?}");
    let gone: Vec<_> =
        known.difference(&declared).filter(|kind| !kind.starts_with("log.") && !kind.starts_with("refusal.")).collect();
    assert!(gone.is_empty(), "these types are no longer declared: {gone:?}");
    assert!(covered().all(|rule| !rule.why.is_empty()));
}

#[test]
fn an_unknown_type_or_shape_is_found() {
    let (mut city, citizen, _) = City::founded();
    city.act(Some(&citizen)).add("city", "city.renamed.v1", json!({}));
    city.refused("no rule knows the event type");
    let (mut city, citizen, _) = City::founded();
    city.act(Some(&citizen)).add(
        "city",
        "city.currency_registered.v1",
        json!({"currency": "EUR", "scale": 2, "note": "x"}),
    );
    city.refused("does not fit");
    let (mut city, citizen, guild) = City::founded();
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.rename", "charter").add(
        &guild,
        "guild.renamed.v1",
        json!({}),
    );
    city.refused("lacks its text");
}

/// A founded city with 100.00 in the guild's treasury.
fn funded() -> (City, String, String, String) {
    let (mut city, citizen, guild) = City::founded();
    let treasury = guild.replace("gld", "try");
    city.deposit(&citizen, &treasury, "100.00", 1);
    (city, citizen, guild, treasury)
}

/// A payment from the guild's treasury to the founder's own, changed by `change` before it is recorded.
fn paid(change: impl Fn(&mut Value, &mut Value)) -> City {
    let (mut city, citizen, guild, treasury) = funded();
    let own = citizen.replace("cit", "try");
    city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.split_transfer", "finance");
    let legs = json!([leg(&treasury, "-40.00"), leg(&own, "40.00")]);
    let mut out = city.movement("split", "40.00", &legs);
    let mut into = out.clone();
    change(&mut out, &mut into);
    city.add(&treasury, "treasury.debited.v1", out).add(&own, "treasury.credited.v1", into);
    city
}

#[test]
fn money_that_moves_is_conserved() {
    paid(|_, _| ()).clean();
    paid(|out, into| {
        out["legs"][1]["amount"] = json!("41.00");
        into["legs"][1]["amount"] = json!("41.00");
    })
    .refused("do not sum to zero");
    paid(|out, _| out["amount"] = json!("39.00")).refused("changes");
    paid(|_, into| into["kind"] = json!("transfer")).refused("record different things");
    paid(|out, into| {
        for moved in [out, into] {
            moved["currency"] = json!("EUR");
        }
    })
    .refused("is not registered");
    paid(|out, _| out["amount"] = json!("40.0")).refused("decimals of USD");
    paid(|out, into| {
        for moved in [out, into] {
            moved["effective_at"] = json!("2024-01-01T00:00:00.000000Z");
        }
    })
    .refused("in the future");
    paid(|out, into| {
        for moved in [out, into] {
            moved["movement"] = json!(crate::testkit::id("mov", 1, 9));
        }
    })
    .refused("not of this moment");
}

#[test]
fn a_movement_is_recorded_by_everybody_it_names() {
    let mut city = paid(|_, _| ());
    city.records.pop();
    city.refused("never recorded it");
}

#[test]
fn nothing_falls_below_zero() {
    let mut city = paid(|_, _| ());
    let (citizen, guild) = (crate::testkit::id("cit", 1, 1), city_guild());
    let (treasury, own) = (guild.replace("gld", "try"), citizen.replace("cit", "try"));
    city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.split_transfer", "finance");
    let legs = json!([leg(&treasury, "-60.01"), leg(&own, "60.01")]);
    let moved = city.movement("split", "60.01", &legs);
    city.add(&treasury, "treasury.debited.v1", moved.clone()).add(&own, "treasury.credited.v1", moved);
    city.refused("falls below zero");
}

fn city_guild() -> String {
    City::founded().2
}

#[test]
fn money_leaves_a_guild_only_decided_and_never_frozen() {
    let (mut city, citizen, guild, treasury) = funded();
    let own = citizen.replace("cit", "try");
    let legs = json!([leg(&treasury, "-1.00"), leg(&own, "1.00")]);
    let mut undecided = city.clone();
    undecided.act(Some(&citizen));
    let moved = undecided.movement("split", "1.00", &legs);
    undecided.add(&treasury, "treasury.debited.v1", moved.clone()).add(&own, "treasury.credited.v1", moved);
    undecided.refused("without a recorded decision");
    city.act(Some(&citizen)).add_sealed(&treasury, "treasury.frozen.v1", json!({"side": "city"}), &["reason"]);
    city.clean();
    city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.split_transfer", "finance");
    let moved = city.movement("split", "1.00", &legs);
    city.add(&treasury, "treasury.debited.v1", moved.clone()).add(&own, "treasury.credited.v1", moved);
    city.refused("leaves a frozen treasury");
}

#[test]
fn a_deposit_is_attested_by_who_may_and_its_reference_used_once() {
    let (mut city, citizen, _, treasury) = funded();
    city.clean();
    let mut again = city.clone();
    again.deposit(&citizen, &treasury, "5.00", 1);
    again.refused("used a second time");
    let mut own = city.clone();
    own.deposit(&citizen, &citizen.replace("cit", "try"), "5.00", 2);
    own.refused("attests money for themself");
    let mut hand = city.clone();
    hand.act(Some(&citizen));
    let agent = hand.fresh("cit", 1);
    let facts = json!({"operator": citizen, "model_family": "model-x", "instructions": "07".repeat(32)});
    let purse = agent.replace("cit", "try");
    hand.add_sealed(&agent, "citizen.registered.v1", json!({"kind": "agent", "agent": facts}), &["name"])
        .add(&purse, "treasury.opened.v1", json!({"owner": {"kind": "citizen", "id": agent}}))
        .add(&citizen, "citizen.agent_attached.v1", json!({"agent": agent}));
    hand.clean();
    hand.deposit(&citizen, &purse, "5.00", 2);
    hand.refused("attests money for themself");
    city.act(Some(&citizen)).add(
        &citizen,
        "citizen.attestation_withdrawn.v1",
        json!({"source": "bank", "currency": "USD"}),
    );
    city.deposit(&citizen, &treasury, "5.00", 3);
    city.refused("may not attest");
}

/// A hold of 30.00 for the founder's own treasury.
fn held() -> (City, String, String, String) {
    let (mut city, citizen, guild, treasury) = funded();
    city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.hold", "finance");
    let hold = city.fresh("hld", 1);
    let own = citizen.replace("cit", "try");
    let legs = json!([{"payee": own, "role": "principal", "maximum": "30.00"}]);
    let data =
        json!({"hold": hold, "currency": "USD", "amount": "30.00", "legs": legs, "expires_at": crate::testkit::at(20)});
    city.add(&treasury, "treasury.hold_placed.v1", data);
    (city, citizen, treasury, hold)
}

fn capture(amount: &str, released: &str, paid: &str, to: Option<&str>, wait: u64) -> City {
    let (mut city, citizen, treasury, hold) = held();
    city.second += wait;
    city.act(Some(&citizen));
    let own = to.map_or_else(|| citizen.replace("cit", "try"), str::to_owned);
    let legs = json!([{"payee": own, "role": "principal", "maximum": amount}]);
    let data = json!({"hold": hold, "currency": "USD", "legs": legs, "captured": amount, "released": released, "closed": true});
    city.add(&treasury, "treasury.hold_captured.v1", data);
    let legs = json!([leg(&treasury, &format!("-{paid}")), leg(&own, paid)]);
    let mut moved = city.movement("capture", paid, &legs);
    moved["hold"] = json!(hold);
    city.add(&treasury, "treasury.debited.v1", moved.clone());
    if own != "external" {
        city.add(&own, "treasury.credited.v1", moved);
    }
    city
}

#[test]
fn a_hold_pays_what_it_promised_to_whom_it_promised_in_time() {
    held().0.clean();
    capture("20.00", "10.00", "20.00", None, 0).clean();
    capture("20.00", "0.00", "20.00", None, 0).refused("closed with money in it");
    capture("31.00", "0.00", "31.00", None, 0).refused("which holds 3000");
    capture("20.00", "10.00", "19.00", None, 0).refused("not captured for that");
    capture("20.00", "10.00", "20.00", Some("external"), 0).refused("more than it promised");
    capture("20.00", "10.00", "20.00", None, 100).refused("after it expired");
}

#[test]
fn a_hold_gives_back_exactly_what_is_left_and_expires_in_its_time() {
    let release = |kind: &str, amount: &str, wait: u64| {
        let (mut city, citizen, treasury, hold) = held();
        city.second += wait;
        city.act(Some(&citizen)).add(&treasury, kind, json!({"hold": hold, "currency": "USD", "amount": amount}));
        city
    };
    release("treasury.hold_released.v1", "30.00", 0).clean();
    release("treasury.hold_released.v1", "29.00", 0).refused("gives back");
    release("treasury.hold_expired.v1", "30.00", 100).clean();
    release("treasury.hold_expired.v1", "30.00", 0).refused("before its time");
    let mut twice = release("treasury.hold_released.v1", "30.00", 0);
    let (citizen, treasury, hold) = {
        let (_, citizen, treasury, hold) = held();
        (citizen, treasury, hold)
    };
    twice.act(Some(&citizen)).add(
        &treasury,
        "treasury.hold_released.v1",
        json!({"hold": hold, "currency": "USD", "amount": "30.00"}),
    );
    twice.refused("no open");
}

#[test]
fn more_than_there_is_cannot_be_held() {
    let (mut city, citizen, guild, treasury) = funded();
    city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.hold", "finance");
    let legs = json!([{"payee": "external", "role": "principal", "maximum": "100.01"}]);
    let data = json!({"hold": city.fresh("hld", 1), "currency": "USD", "amount": "100.01", "legs": legs, "expires_at": crate::testkit::at(50)});
    city.add(&treasury, "treasury.hold_placed.v1", data);
    city.refused("more is held");
}

#[test]
fn a_settlement_records_the_balances_as_they_stand() {
    let settle = |balance: &str, as_of: u64| {
        let (mut city, citizen, guild, treasury) = funded();
        city.second += 10;
        city.act(Some(&citizen)).decided(&citizen, &guild, "treasury.settle", "finance");
        let data = json!({"as_of": crate::testkit::at(as_of), "balances": [{"currency": "USD", "balance": balance}]});
        city.add(&treasury, "treasury.settled.v1", data);
        city
    };
    settle("100.00", 10).clean();
    settle("99.00", 10).refused("are settled");
    settle("100.00", 99).refused("has not ended");
}

#[test]
fn members_join_once_with_their_kind_and_their_citizen_agrees() {
    let add = |change: fn(&mut City, &str, &str, &str)| {
        let (mut city, founder, guild) = City::founded();
        let citizen = city.citizen(&founder);
        city.act(Some(&founder)).decided(&founder, &guild, "guild.add_member", "membership");
        change(&mut city, &guild, &citizen, &founder);
        city
    };
    let join = |city: &mut City, guild: &str, citizen: &str| {
        city.add(guild, "guild.member_added.v1", json!({"member": citizen, "kind": "human", "rank": "member"}));
        city.add(citizen, "citizen.guild_joined.v1", json!({"guild": guild}));
    };
    add(|city, guild, citizen, _| {
        city.add(guild, "guild.member_added.v1", json!({"member": citizen, "kind": "human", "rank": "member"})).add(
            citizen,
            "citizen.guild_joined.v1",
            json!({"guild": guild}),
        );
    })
    .clean();
    add(|city, guild, citizen, _| {
        city.add(guild, "guild.member_added.v1", json!({"member": citizen, "kind": "human", "rank": "member"}));
    })
    .refused("do not agree about the membership");
    add(|city, guild, citizen, _| {
        city.add(guild, "guild.member_added.v1", json!({"member": citizen, "kind": "agent", "rank": "member"}));
    })
    .refused("is not a registered Agent");
    add(|city, guild, citizen, _| {
        city.add(guild, "guild.member_added.v1", json!({"member": citizen, "kind": "human", "rank": "emperor"}));
    })
    .refused("there is no rank emperor");
    let mut twice = add(|_, _, _, _| ());
    let (guild, citizen) = (city_guild(), crate::testkit::id("cit", twice.second - 1, 7));
    join(&mut twice, &guild, &citizen);
    join(&mut twice, &guild, &citizen);
    twice.refused("already a living member");
}

#[test]
fn what_is_governed_is_decided_first_and_on_a_given_ground() {
    let (mut city, founder, guild) = City::founded();
    let mut undecided = city.clone();
    undecided.act(Some(&founder)).add_sealed(&guild, "guild.renamed.v1", json!({}), &["name"]);
    undecided.refused("without a recorded decision");
    let mut other_class = city.clone();
    other_class.act(Some(&founder)).decided(&founder, &guild, "guild.rename", "finance").add_sealed(
        &guild,
        "guild.renamed.v1",
        json!({}),
        &["name"],
    );
    other_class.refused("without a recorded decision");
    let stranger = city.citizen(&founder);
    city.act(Some(&stranger)).decided(&stranger, &guild, "guild.rename", "charter").add_sealed(
        &guild,
        "guild.renamed.v1",
        json!({}),
        &["name"],
    );
    city.refused("on a ground that the governance in force does not give");
}

/// A guild of two ratifiers who must both agree, with an open proposal to rename.
fn proposed() -> (City, String, String, String, String) {
    let (mut city, founder, _) = City::founded();
    let other = city.citizen(&founder);
    let ratifiers = json!({"members": [founder, other]});
    let governance = json!({"default": {"tier": "principal-only", "decider": founder}, "proposal_days": 7,
        "classes": [{"class": "charter", "tier": {"tier": "consensus", "ratifiers": ratifiers, "needed": 2}}]});
    let guild = city.found_guild(&founder, "second", governance);
    city.act(Some(&founder))
        .decided(&founder, &guild, "guild.add_member", "membership")
        .add(&guild, "guild.member_added.v1", json!({"member": other, "kind": "human", "rank": "member"}))
        .add(&other, "citizen.guild_joined.v1", json!({"guild": guild}));
    city.act(Some(&founder));
    let proposal = city.fresh("prp", 1);
    let opened = json!({"proposal": proposal, "proposer": founder, "class": "charter", "command": {"type": "guild.rename", "guild": guild},
        "expires_at": crate::testkit::at(1000)});
    city.add_sealed(&guild, "guild.proposal_opened.v1", opened, &["command.name"]).add(
        &guild,
        "guild.proposal_voted.v1",
        json!({"proposal": proposal, "voter": founder, "vote": "yes"}),
    );
    (city, founder, other, guild, proposal)
}

fn take_effect(city: &mut City, guild: &str, proposal: &str) {
    let ground = json!({"by": "proposal", "proposal": proposal, "yes": 2, "no": 0});
    city.add(guild, "guild.decided.v1", json!({"action": "guild.rename", "class": "charter", "ground": ground}))
        .add_sealed(guild, "guild.renamed.v1", json!({}), &["name"])
        .add(guild, "guild.proposal_closed.v1", json!({"proposal": proposal, "ending": {"result": "passed"}}));
}

#[test]
fn a_proposal_takes_effect_with_the_votes_of_active_ratifiers_only() {
    let (city, founder, other, guild, proposal) = proposed();
    city.clean();
    let mut passed = city.clone();
    passed.act(Some(&other)).add(
        &guild,
        "guild.proposal_voted.v1",
        json!({"proposal": proposal, "voter": other, "vote": "yes"}),
    );
    passed.refused("was neither decided nor failed");
    take_effect(&mut passed, &guild, &proposal);
    passed.clean();
    let mut early = city.clone();
    early.act(Some(&founder));
    take_effect(&mut early, &guild, &proposal);
    early.refused("does not give");
    early.refused("cannot end as");
    let mut outsider = city.clone();
    let stranger = outsider.citizen(&founder);
    outsider.act(Some(&stranger)).add(
        &guild,
        "guild.proposal_voted.v1",
        json!({"proposal": proposal, "voter": stranger, "vote": "yes"}),
    );
    outsider.refused("is not an active ratifier");
    let mut late = city.clone();
    late.second += 5000;
    late.act(Some(&other)).add(
        &guild,
        "guild.proposal_voted.v1",
        json!({"proposal": proposal, "voter": other, "vote": "no"}),
    );
    late.refused("after it expired");
    let mut forged = city;
    forged.act(Some(&founder)).add(
        &guild,
        "guild.proposal_voted.v1",
        json!({"proposal": proposal, "voter": other, "vote": "yes"}),
    );
    forged.refused("cast by somebody else");
}

#[test]
fn a_guild_without_a_founder_says_so() {
    let (mut city, founder, guild) = City::founded();
    city.act(Some(&founder)).add(&guild, "guild.member_left.v1", json!({"member": founder})).add(
        &founder,
        "citizen.guild_left.v1",
        json!({"guild": guild}),
    );
    city.refused("no active founder");
    city.add(&guild, "guild.became_leaderless.v1", json!({}));
    city.clean();
}

#[test]
fn slugs_are_never_used_again() {
    let (mut city, founder, _) = City::founded();
    let governance = json!({"default": {"tier": "principal-only", "decider": founder}, "proposal_days": 7});
    city.found_guild(&founder, "first", governance);
    city.refused("the slug first was used before");
}

#[test]
fn parents_and_children_agree_without_cycles_and_not_too_deep() {
    let (mut city, founder, root) = City::founded();
    let governance = json!({"default": {"tier": "principal-only", "decider": founder}, "proposal_days": 7});
    let adopt = |city: &mut City, parent: &str, child: &str| {
        city.act(Some(&founder)).decided(&founder, child, "guild.propose_parent", "charter");
        city.add(child, "guild.parent_proposed.v1", json!({"parent": parent}));
        city.act(Some(&founder)).decided(&founder, parent, "guild.accept_child", "charter");
        city.add(parent, "guild.child_accepted.v1", json!({"child": child})).add(
            child,
            "guild.parent_set.v1",
            json!({"parent": parent}),
        );
    };
    let mut line = vec![root.clone()];
    for level in 2..=8 {
        let child = city.found_guild(&founder, &format!("level-{level}"), governance.clone());
        adopt(&mut city, &line[line.len() - 1], &child);
        line.push(child);
    }
    city.clean();
    let mut one_sided = city.clone();
    one_sided.records.pop();
    one_sided.refused("do not name each other");
    let mut cycle = city.clone();
    adopt(&mut cycle, &line[7], &root);
    cycle.refused("its own ancestor");
    let ninth = city.found_guild(&founder, "level-9", governance);
    adopt(&mut city, &line[7], &ninth);
    city.refused("deeper than 8");
}

#[test]
fn a_dissolved_guild_is_empty_and_stays_as_it_is() {
    let (mut city, citizen, guild, treasury) = funded();
    let own = citizen.replace("cit", "try");
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.initiate_dissolution", "lifecycle");
    city.add(
        &guild,
        "guild.dissolution_initiated.v1",
        json!({"shares": [{"to": own, "basis_points": 10000}], "fallback": own}),
    );
    let mut unpaid = city.clone();
    unpaid.act(Some(&citizen)).decided(&citizen, &guild, "guild.finalize_dissolution", "lifecycle").add(
        &guild,
        "guild.dissolved.v1",
        json!({}),
    );
    unpaid.refused("with money left");
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.finalize_dissolution", "lifecycle");
    let legs = json!([leg(&treasury, "-100.00"), leg(&own, "100.00")]);
    let moved = city.movement("dissolution", "100.00", &legs);
    city.add(&treasury, "treasury.debited.v1", moved.clone())
        .add(&own, "treasury.credited.v1", moved)
        .add(&treasury, "treasury.closed.v1", json!({}))
        .add(&guild, "guild.dissolved.v1", json!({}));
    city.clean();
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.rename", "charter").add_sealed(
        &guild,
        "guild.renamed.v1",
        json!({}),
        &["name"],
    );
    city.refused("a dissolved guild changes");
}

#[test]
fn an_actor_is_active_and_a_revoked_key_opens_nothing() {
    let (mut city, founder, _) = City::founded();
    let other = city.citizen(&founder);
    let key = crate::testkit::id("key", 1, 1);
    city.act(Some(&founder)).add(&key, "key.issued.v1", json!({"citizen": founder, "verifier": "33".repeat(32)})).add(
        &founder,
        "citizen.key_attached.v1",
        json!({"key": key}),
    );
    city.act(Some(&founder)).add(&key, "key.revoked.v1", json!({}));
    city.clean();
    let mut twice = city.clone();
    twice.act(Some(&founder)).add(&key, "key.revoked.v1", json!({}));
    twice.refused("was revoked before");
    city.act(Some(&founder)).add_sealed(&other, "citizen.suspended.v1", json!({"cause": "direct"}), &["reason"]);
    city.clean();
    city.act(Some(&other)).add("city", "city.currency_registered.v1", json!({"currency": "EUR", "scale": 2}));
    city.refused("is not active");
}

#[test]
fn the_city_keeps_a_principal_and_its_currencies_their_scale() {
    let (mut city, founder, _) = City::founded();
    let mut again = city.clone();
    again.act(Some(&founder)).add("city", "city.currency_registered.v1", json!({"currency": "USD", "scale": 3}));
    again.refused("registered twice");
    let mut role = city.clone();
    role.act(Some(&founder)).add(
        "city",
        "city.role_defined.v1",
        json!({"role": "gate", "tier": "gate", "actions": [], "mfa_required": false}),
    );
    role.refused("is defined twice");
    city.act(Some(&founder)).add("city", "city.principal_changed.v1", json!({"citizen": founder, "active": false}));
    city.refused("without a principal");
}

#[test]
fn a_stream_begins_with_its_beginning_and_once() {
    let (mut city, founder, _) = City::founded();
    let mut twice = city.clone();
    twice.act(Some(&founder)).add_sealed(&founder, "citizen.registered.v1", json!({"kind": "human"}), &["name"]);
    twice.refused("begins twice");
    city.act(Some(&founder)).add(&crate::testkit::id("key", 9, 9), "key.revoked.v1", json!({}));
    city.refused("begins with something else");
}

#[test]
fn the_citys_secrets_are_named_once_and_for_all() {
    let (mut city, _, _) = City::founded();
    let named = |pepper: &str| json!({"pepper": pepper.repeat(32), "master_key": "66".repeat(32), "signing_key": "77".repeat(32)});
    city.act(None).add("log", "log.secrets_named.v1", named("44"));
    city.act(None).add("log", "log.secrets_named.v1", named("44"));
    city.clean();
    city.act(None).add("log", "log.secrets_named.v1", named("45"));
    city.refused("other secrets are named");
}

#[test]
fn anchors_are_recorded_in_order() {
    let (city, _, _) = City::founded();
    let anchored = |seq: u64, size: u64| json!({"seq": seq, "size": size, "root": "44".repeat(32), "key": crate::anchors::key(seq, size), "sha256": "55".repeat(32), "store": "directory"});
    let mut good = city.clone();
    good.act(None).add("log", "log.anchored.v1", anchored(0, 3));
    good.act(None).add("log", "log.anchored.v1", anchored(0, 3));
    good.act(None).add("log", "log.anchored.v1", anchored(1, 5));
    good.clean();
    let mut gap = city.clone();
    gap.act(None).add("log", "log.anchored.v1", anchored(0, 3));
    gap.act(None).add("log", "log.anchored.v1", anchored(2, 5));
    gap.refused("follows anchor 0");
    let mut early = city;
    early.act(None).add("log", "log.anchored.v1", anchored(0, 5000));
    early.refused("not there yet");
}
