//! The rules of reputation, each kept and broken; the figures are those of the golden table.

use serde_json::{Value, json};

use crate::testkit::City;

/// A guild with another member, who has one completed task of stake T3 on record, changed by `change` before it is.
fn attested(change: impl Fn(&mut Value)) -> (City, String, String, String, String) {
    let (mut city, citizen, guild) = City::founded();
    let holder = city.citizen(&citizen);
    city.act(Some(&citizen));
    let evidence = city.fresh("evd", 1);
    let mut data = json!({
        "evidence": evidence, "holder": holder, "kind": "task_completed", "weight": "1.000", "scope": guild,
        "attested_by": citizen, "effective_at": city.now(), "stake": "T3", "work_lookup": "33".repeat(32), "proof": "44".repeat(32),
    });
    change(&mut data);
    city.add(&rep(&holder), "reputation.evidence_recorded.v1", data);
    (city, citizen, guild, holder, evidence)
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
    let own = json!({
        "evidence": city.fresh("evd", 2), "holder": citizen, "kind": "audit_clean", "weight": "0.200", "scope": guild,
        "attested_by": citizen, "effective_at": city.now(), "stake": "T3", "work_lookup": "55".repeat(32), "proof": "44".repeat(32),
    });
    city.add(&rep(&citizen), "reputation.evidence_recorded.v1", own);
    city.refused("for their own household");
}

#[test]
fn an_outcome_of_one_work_is_attested_once() {
    let (mut city, citizen, guild, holder, _) = attested(|_| ());
    city.act(Some(&citizen));
    let again = json!({
        "evidence": city.fresh("evd", 2), "holder": holder, "kind": "task_completed", "weight": "1.000", "scope": guild,
        "attested_by": citizen, "effective_at": city.now(), "stake": "T3", "work_lookup": "33".repeat(32), "proof": "44".repeat(32),
    });
    city.add(&rep(&holder), "reputation.evidence_recorded.v1", again);
    city.refused("was attested before");
}

#[test]
fn opinions_are_given_by_those_who_have_shown_something() {
    let (mut city, _, guild, holder, _) = attested(|_| ());
    city.act(Some(&holder));
    let opinion =
        json!({"giver": holder, "to": crate::testkit::id("cit", 1, 1), "kind": "peer_endorsed", "scope": guild});
    city.add(&rep(&holder), "reputation.opinion_given.v1", opinion.clone());
    let mut again = city.clone();
    city.clean();
    again.act(Some(&holder)).add(&rep(&holder), "reputation.opinion_given.v1", opinion.clone());
    again.refused("again within 30 days");
    let (mut city, citizen, guild, holder, _) = attested(|_| ());
    let opinion = json!({"giver": citizen, "to": holder, "kind": "peer_flagged", "scope": guild});
    city.act(Some(&citizen)).add(&rep(&citizen), "reputation.opinion_given.v1", opinion);
    city.refused("has shown nothing");
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
fn evidence_is_taken_back_by_a_third_party_only() {
    let taken = |disputed: bool, by_attester: bool| {
        let (mut city, citizen, _, holder, evidence) = attested(|_| ());
        let third = city.citizen(&citizen);
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
        city
    };
    taken(true, false).clean();
    taken(false, false).refused("was not disputed");
    taken(true, true).refused("of their own household");
}
