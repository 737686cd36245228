//! The rules of reputation, each kept and broken; the figures are those of the golden table.

use serde_json::{Value, json};

use crate::testkit::City;

const EVIDENCE: &str = "reputation.evidence_recorded.v1";
const OPINION: &str = "reputation.opinion_given.v1";

/// A completed task of stake T3, as it is attested in the present act.
fn task(city: &City, by: &str, holder: &str, guild: &str, work: u64) -> Value {
    json!({
        "evidence": city.fresh("evd", work), "holder": holder, "kind": "task_completed", "weight": "1.000", "scope": guild,
        "attested_by": by, "effective_at": city.now(), "stake": "T3", "work_lookup": format!("{work:064x}"), "proof": "44".repeat(32),
    })
}

fn assign(city: &mut City, citizen: &str, role: &str) {
    city.act(Some(citizen)).add(citizen, "citizen.role_assigned.v1", json!({ "role": role }));
}

/// A guild whose founder is a gate, and another citizen, who has one completed task of stake T3 on record, changed by `change`.
fn attested(change: impl Fn(&mut Value)) -> (City, String, String, String, String) {
    let (mut city, citizen, guild) = City::founded();
    assign(&mut city, &citizen, "gate");
    let holder = city.citizen(&citizen);
    city.act(Some(&citizen));
    let mut data = task(&city, &citizen, &holder, &guild, 1);
    let evidence = city.fresh("evd", 1);
    change(&mut data);
    city.add(&rep(&holder), EVIDENCE, data);
    (city, citizen, guild, holder, evidence)
}

/// A guild with a gate and that many members, each of whom has something on record.
fn members(number: u64) -> (City, String, String, Vec<String>) {
    let (mut city, gate, guild) = City::founded();
    assign(&mut city, &gate, "gate");
    let mut members = Vec::new();
    for work in 0..number {
        let member = city.citizen(&gate);
        city.act(Some(&gate))
            .decided(&gate, &guild, "guild.add_member", "membership")
            .add(&guild, "guild.member_added.v1", json!({"member": member, "kind": "human", "rank": "member"}))
            .add(&member, "citizen.guild_joined.v1", json!({ "guild": guild }));
        city.act(Some(&gate));
        let data = task(&city, &gate, &member, &guild, work);
        city.add(&rep(&member), EVIDENCE, data);
        members.push(member);
    }
    (city, gate, guild, members)
}

/// What is said and the evidence that it becomes, within the present act.
fn said(city: &City, by: &str, to: &str, guild: &str, kind: &str, weight: &str) -> (Value, Value) {
    let given = json!({"giver": by, "to": to, "kind": kind, "scope": guild});
    let evidence = json!({
        "evidence": city.fresh("evd", 1), "holder": to, "kind": kind, "weight": weight, "scope": guild, "attested_by": by,
        "effective_at": city.now(),
    });
    (given, evidence)
}

fn endorse(city: &mut City, by: &str, to: &str, guild: &str, weight: &str) {
    city.act(Some(by));
    let (given, evidence) = said(city, by, to, guild, "peer_endorsed", weight);
    city.add(&rep(by), OPINION, given).add(&rep(to), EVIDENCE, evidence);
}

fn rep(citizen: &str) -> String {
    format!("rep_{}", &citizen[4..])
}

#[test]
fn evidence_weighs_what_its_kind_and_stake_give_and_comes_from_another_household() {
    attested(|_| ()).0.clean();
    attested(|data| data["weight"] = json!("1.500")).0.refused("weighs 1500, not 1000");
    attested(|data| data["stake"] = json!("T1")).0.refused("weighs 1000, not 250");
    attested(|data| data["attested_by"] = data["holder"].clone()).0.refused("attested by somebody else than the actor");
    attested(|data| data["scope"] = json!(crate::testkit::id("gld", 1, 9))).0.refused("no active member");
    attested(|data| drop(data.as_object_mut().unwrap().remove("proof"))).0.refused("names no work");
    attested(|data| data["kind"] = json!("peer_endorsed")).0.refused("has a stake and is an opinion");
    attested(|data| data["weight"] = json!("1.0")).0.refused("does not fit");
    let (mut city, citizen, guild, _, _) = attested(|_| ());
    city.act(Some(&citizen));
    let own = task(&city, &citizen, &citizen, &guild, 2);
    city.add(&rep(&citizen), EVIDENCE, own);
    city.refused("for their own household");
}

#[test]
fn an_outcome_of_one_work_is_attested_once() {
    let (mut city, citizen, guild, holder, _) = attested(|_| ());
    city.act(Some(&citizen));
    let again = task(&city, &citizen, &holder, &guild, 1);
    city.add(&rep(&holder), EVIDENCE, again);
    city.refused("was attested before");
}

#[test]
fn outcomes_are_attested_by_gates() {
    let by = |role: Option<&str>| {
        let (mut city, citizen, guild) = City::founded();
        let defined = json!({"role": "porter", "tier": "coordinator", "actions": [], "mfa_required": false});
        city.act(Some(&citizen)).add("city", "city.role_defined.v1", defined);
        if let Some(role) = role {
            assign(&mut city, &citizen, role);
        }
        let holder = city.citizen(&citizen);
        city.act(Some(&citizen));
        let data = task(&city, &citizen, &holder, &guild, 1);
        city.add(&rep(&holder), EVIDENCE, data);
        (city, citizen, guild, holder)
    };
    by(Some("gate")).0.clean();
    by(Some("principal")).0.clean();
    by(Some("porter")).0.clean();
    by(Some("builder")).0.refused("attests an outcome and is no gate");
    by(None).0.refused("attests an outcome and is no gate");
    let (mut city, citizen, guild, holder) = by(Some("gate"));
    city.act(Some(&citizen)).add(&citizen, "citizen.role_unassigned.v1", json!({ "role": "gate" }));
    city.act(Some(&citizen));
    let data = task(&city, &citizen, &holder, &guild, 2);
    city.add(&rep(&holder), EVIDENCE, data);
    city.refused("attests an outcome and is no gate");
}

#[test]
fn a_scope_is_an_active_guild() {
    let (mut city, citizen, guild, holder, _) = attested(|_| ());
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.mark_dormant", "lifecycle").add(
        &guild,
        "guild.marked_dormant.v1",
        json!({}),
    );
    city.act(Some(&citizen));
    let data = task(&city, &citizen, &holder, &guild, 2);
    city.add(&rep(&holder), EVIDENCE, data);
    city.refused("is no active guild");
}

#[test]
fn an_id_of_evidence_is_used_once() {
    let (mut city, citizen, guild, holder, _) = attested(|_| ());
    let other = city.citizen(&citizen);
    city.act(Some(&citizen));
    let (first, mut second) = (task(&city, &citizen, &holder, &guild, 2), task(&city, &citizen, &other, &guild, 3));
    second["evidence"] = first["evidence"].clone();
    city.add(&rep(&holder), EVIDENCE, first).add(&rep(&other), EVIDENCE, second);
    city.refused("is used twice");
}

#[test]
fn opinions_are_given_by_those_who_have_shown_something() {
    let (mut city, _, guild, people) = members(2);
    endorse(&mut city, &people[0], &people[1], &guild, "0.500");
    city.clean();
    let mut again = city.clone();
    again.act(Some(&people[0]));
    let (given, evidence) = said(&again, &people[0], &people[1], &guild, "peer_flagged", "-1.000");
    again.add(&rep(&people[0]), OPINION, given).add(&rep(&people[1]), EVIDENCE, evidence);
    again.refused("again within 30 days");
    let (mut city, gate, guild, people) = members(1);
    endorse(&mut city, &gate, &people[0], &guild, "0.500");
    city.refused("has shown nothing");
}

#[test]
fn one_opinion_is_one_piece_of_evidence_at_once() {
    let opined = |change: &dyn Fn(&mut City, &str, &mut Value, &mut Value)| {
        let (mut city, _, guild, people) = members(2);
        city.act(Some(&people[0]));
        let (mut given, mut evidence) = said(&city, &people[0], &people[1], &guild, "peer_endorsed", "0.500");
        change(&mut city, &people[1], &mut given, &mut evidence);
        city.add(&rep(&people[0]), OPINION, given).add(&rep(&people[1]), EVIDENCE, evidence);
        (city, people)
    };
    opined(&|_, _, _, _| ()).0.clean();
    opined(&|_, _, _, evidence| evidence["weight"] = json!("0.125")).0.refused("weighs 125, not 500");
    opined(&|_, _, given, _| given["kind"] = json!("peer_flagged")).0.refused("that nobody gave");
    opined(&|_, _, given, _| given["kind"] = json!("peer_flagged")).0.refused("is no evidence");
    opined(&|_, _, _, evidence| evidence["effective_at"] = json!("2023-11-14T22:13:21.000000Z"))
        .0
        .refused("of another time than it was given");
    opined(&|_, _, _, evidence| evidence["proof"] = json!("44".repeat(32))).0.refused("names a work");
    let (mut twice, people) = opined(&|_, _, _, _| ());
    let mut evidence = said(&twice, &people[0], &people[1], "", "peer_endorsed", "0.500").1;
    evidence["scope"] = json!(crate::testkit::id("gld", 4, 1));
    evidence["evidence"] = json!(twice.fresh("evd", 2));
    twice.add(&rep(&people[1]), EVIDENCE, evidence);
    assert_eq!(twice.judge().len(), 1, "{:?}", twice.judge());
    twice.refused("that nobody gave");
    let (mut city, _, guild, people) = members(2);
    city.act(Some(&people[0]));
    let (given, _) = said(&city, &people[0], &people[1], &guild, "peer_endorsed", "0.500");
    city.add(&rep(&people[0]), OPINION, given).act(Some(&people[0]));
    city.refused("is no evidence");
}

#[test]
fn praise_in_a_circle_weighs_a_quarter() {
    for length in 2..=5_u64 {
        let closed = |weight: &str| {
            let (mut city, _, guild, people) = members(length);
            for pair in people.windows(2) {
                endorse(&mut city, &pair[0], &pair[1], &guild, "0.500");
            }
            endorse(&mut city, people.last().unwrap(), &people[0], &guild, weight);
            city
        };
        let (right, wrong) = if length <= 4 { ("0.125", "0.500") } else { ("0.500", "0.125") };
        closed(right).clean();
        closed(wrong).refused("thousandths");
    }
    // Through another guild as well, and not for longer than 90 days.
    let returned = |seconds: u64, weight: &str| {
        let (mut city, gate, guild, people) = members(2);
        let governance = json!({"default": {"tier": "principal-only", "decider": gate}, "proposal_days": 7});
        let other = city.found_guild(&gate, "second", governance);
        city.act(Some(&gate))
            .decided(&gate, &other, "guild.add_member", "membership")
            .add(&other, "guild.member_added.v1", json!({"member": people[1], "kind": "human", "rank": "member"}))
            .add(&people[1], "citizen.guild_joined.v1", json!({ "guild": other }));
        city.act(Some(&gate));
        let data = task(&city, &gate, &people[1], &other, 9);
        city.add(&rep(&people[1]), EVIDENCE, data);
        endorse(&mut city, &people[0], &people[1], &guild, "0.500");
        city.second += seconds;
        endorse(&mut city, &people[1], &people[0], &other, weight);
        city
    };
    returned(0, "0.125").clean();
    returned(0, "0.500").refused("weighs 500, not 125");
    returned(89 * 86_400, "0.125").clean();
    returned(91 * 86_400, "0.500").clean();
}

#[test]
fn nobody_speaks_of_more_than_a_hundred_in_a_month() {
    let (mut city, gate, guild, people) = members(1);
    let crowd: Vec<String> = (0..101).map(|_| city.citizen(&gate)).collect();
    for one in &crowd[..100] {
        endorse(&mut city, &people[0], one, &guild, "0.500");
    }
    city.clean();
    let mut later = city.clone();
    endorse(&mut city, &people[0], &crowd[100], &guild, "0.500");
    city.refused("more than 100 opinions");
    later.second += 31 * 86_400;
    endorse(&mut later, &people[0], &crowd[100], &guild, "0.500");
    later.clean();
}

/// The figures of that one task on the day it was attested, as the golden table has them.
fn computed(change: impl Fn(&mut Value)) -> City {
    let (mut city, _, guild, holder, _) = attested(|_| ());
    let as_of = city.now();
    let row = |figure: &str, scope: Option<&str>, score: &str| {
        let mut row = json!({
            "figure": figure, "evidence": 1, "score": score, "mu": "1.007796893", "phi": "1.419716094", "sigma": "0.059999156",
        });
        if let Some(scope) = scope {
            row["scope"] = json!(scope);
        }
        row
    };
    let mut data = json!({"holder": holder, "as_of": as_of, "rows": [
        row("overall", None, "0.400000000"), row("reliability", None, "1.000000000"),
        row("overall", Some(&guild), "0.400000000"), row("reliability", Some(&guild), "1.000000000"),
    ]});
    change(&mut data);
    city.act(None).add(&rep(&holder), "reputation.recomputed.v1", data);
    city
}

#[test]
fn every_figure_on_record_is_what_the_evidence_gives() {
    computed(|_| ()).clean();
    computed(|data| data["rows"][1]["score"] = json!("1.000000001")).refused("and the evidence gives");
    computed(|data| data["rows"][3]["phi"] = json!("1.4")).refused("and the evidence gives");
    computed(|data| drop(data["rows"].as_array_mut().unwrap().pop())).refused("and no row");
    computed(|data| data["rows"][0]["figure"] = json!("quality")).refused("and no evidence for it");
    computed(|data| data["gone"] = json!([{"figure": "quality"}])).refused("which rows are gone");
    computed(|data| data["as_of"] = json!("2030-01-01T00:00:00.000000Z")).refused("of the future");
}

#[test]
fn evidence_is_taken_back_by_a_third_gate_only() {
    let taken = |disputed: bool, by_attester: bool, role: &str| {
        let (mut city, citizen, _, holder, evidence) = attested(|_| ());
        let third = city.citizen(&citizen);
        assign(&mut city, &third, role);
        if disputed {
            city.act(Some(&holder)).add(
                &rep(&holder),
                "reputation.evidence_disputed.v1",
                json!({"evidence": evidence}),
            );
        }
        let by = if by_attester { &citizen } else { &third };
        let data = json!({"evidence": evidence, "by": by});
        city.act(Some(by)).add(&rep(&holder), "reputation.evidence_reversed.v1", data);
        (city, holder)
    };
    taken(true, false, "gate").0.clean();
    taken(false, false, "gate").0.refused("was not disputed");
    taken(true, true, "gate").0.refused("of their own household");
    taken(true, false, "builder").0.refused("reverses evidence and is no gate");
    // Whoever has nothing left in a scope speaks of nobody there.
    let (mut city, holder) = taken(true, false, "gate");
    let guild = crate::testkit::id("gld", 4, 1);
    city.act(Some(&holder));
    let to = crate::testkit::id("cit", 1, 1);
    let (given, evidence) = said(&city, &holder, &to, &guild, "peer_endorsed", "0.500");
    city.add(&rep(&holder), OPINION, given).add(&rep(&to), EVIDENCE, evidence);
    city.refused("has shown nothing");
}
