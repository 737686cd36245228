//! The rules of capabilities, each kept and broken.

use serde_json::{Value, json};

use crate::testkit::City;

/// A founded city whose guild has given the founder's own citizen a tool, which may be handed on.
fn equipped() -> (City, String, String, String) {
    let (mut city, citizen, guild) = City::founded();
    city.act(Some(&citizen)).decided(&citizen, &guild, "grant.grant", "work");
    let grant = tool(&mut city, &citizen, &guild, &citizen, |_| ());
    (city, citizen, guild, grant)
}

fn inv(holder: &str) -> String {
    format!("inv_{holder}")
}

/// Records a grant of the guild's tool to a holder, changed by `change` before it is.
fn tool(city: &mut City, by: &str, guild: &str, holder: &str, change: impl Fn(&mut Value)) -> String {
    let grant = city.fresh("grt", u64::try_from(city.records.len()).unwrap());
    let mut data = json!({
        "grant": grant, "holder": holder, "holder_kind": "human", "kind": "tool", "ref": format!("{guild}/lathe"), "source": guild,
        "scope": {"rate_limit": "10/h"}, "delegable": true, "granted_by": by, "verified": false,
    });
    change(&mut data);
    city.add(&inv(holder), "grant.granted.v1", data);
    grant
}

/// The founder's tool handed on to another citizen.
fn handed_on(change: impl Fn(&mut Value)) -> (City, String, String, String, String) {
    let (mut city, citizen, guild, grant) = equipped();
    let other = city.citizen(&citizen);
    city.act(Some(&citizen));
    let child = tool(&mut city, &citizen, &guild, &other, |data| {
        data["parent"] = json!({"holder": citizen, "grant": grant});
        change(data);
    });
    let link = json!({"holder": other, "grant": child});
    city.add(&inv(&citizen), "grant.delegated.v1", json!({"grant": grant, "child": link}));
    (city, citizen, other, grant, child)
}

#[test]
fn a_grant_comes_from_where_it_says() {
    equipped().0.clean();
    let given = |decided: bool, change: &dyn Fn(&mut Value)| {
        let (mut city, citizen, guild) = City::founded();
        city.act(Some(&citizen));
        if decided {
            city.decided(&citizen, &guild, "grant.grant", "work");
        }
        tool(&mut city, &citizen, &guild, &citizen, change);
        city
    };
    given(false, &|_| ()).refused("without a recorded decision");
    given(true, &|data| data["kind"] = json!("guild_role")).refused("does not speak of such capabilities");
    given(true, &|data| data["holder_kind"] = json!("agent")).refused("or of another kind");
    given(true, &|data| data["verified"] = json!(true)).refused("counts as verified without its source");
    given(true, &|data| data["grant"] = json!(crate::testkit::id("grt", 1, 9))).refused("not of this moment");
    given(true, &|data| data["expires_at"] = json!("2023-11-01T00:00:00.000000Z")).refused("begins after its end");
    given(true, &|data| data["holder"] = data["source"].clone()).refused("another holder's inventory");
    given(true, &|data| data["ref"] = json!("payments")).refused("does not give such names");
    given(true, &|data| data["source"] = json!("city")).refused("does not give such names");
    given(true, &|data| {
        data.as_object_mut().unwrap().remove("granted_by");
        data["verified"] = json!(true);
    })
    .refused("granted by nobody");
}

#[test]
fn one_grant_of_a_name_is_living() {
    let (mut city, citizen, guild, _) = equipped();
    city.act(Some(&citizen)).decided(&citizen, &guild, "grant.grant", "work");
    tool(&mut city, &citizen, &guild, &citizen, |_| ());
    city.refused("begins beside");
}

#[test]
fn what_is_handed_on_is_narrower_and_noted_above() {
    handed_on(|_| ()).0.clean();
    handed_on(|data| data["scope"] = json!({})).0.refused("wider than the grant above it");
    handed_on(|data| data["scope"] = json!({"rate_limit": "11/h"})).0.refused("wider than the grant above it");
    handed_on(|data| data["ref"] = json!("anvil")).0.refused("another capability than the one above it");
    handed_on(|data| data["granted_by"] = data["holder"].clone()).0.refused("somebody else");
    let (mut city, ..) = handed_on(|_| ());
    city.records.pop();
    city.refused("does not say that it hangs on it");
    let (mut city, citizen, _, grant, _) = handed_on(|_| ());
    let wider = json!({"grant": grant, "scope": {}});
    city.act(Some(&citizen)).add(&inv(&citizen), "grant.attenuated.v1", wider);
    city.refused("gets wider");
}

#[test]
fn an_end_takes_everything_below_with_it() {
    let ended = |below: &str| {
        let (mut city, citizen, other, grant, child) = handed_on(|_| ());
        let end = json!({"grant": grant, "by": "actor"});
        city.act(Some(&citizen)).add(&inv(&citizen), "grant.revoked.v1", end);
        if !below.is_empty() {
            city.add(&inv(&other), "grant.revoked.v1", json!({"grant": child, "by": below}));
        }
        city
    };
    ended("ancestor").clean();
    ended("").refused("lives on below a grant that ended");
    let (mut city, citizen, other, _, child) = handed_on(|_| ());
    let alone = json!({"grant": child, "by": "ancestor"});
    city.act(Some(&citizen)).add(&inv(&other), "grant.revoked.v1", alone);
    city.refused("that has not ended");
    let (mut city, citizen, _, grant, _) = handed_on(|_| ());
    city.act(None).add(&inv(&citizen), "grant.expired.v1", json!({"grant": grant, "by": "city"}));
    city.refused("expires before its time");
    let mut city = ended("ancestor");
    let (_, citizen, _, grant, _) = handed_on(|_| ());
    city.act(None).add(&inv(&citizen), "grant.pruned.v1", json!({"grant": grant}));
    city.refused("did not end 30 days ago");
}

/// The source of skills says that the founder has one.
fn imported(city: &mut City, citizen: &str) -> String {
    imported_with(city, citizen, json!({}), None)
}

fn imported_with(city: &mut City, citizen: &str, scope: Value, end: Option<&str>) -> String {
    let grant = city.fresh("grt", u64::try_from(city.records.len()).unwrap());
    let mut data = json!({
        "grant": grant, "holder": citizen, "holder_kind": "human", "kind": "template", "ref": "review",
        "source": "fs:skills", "scope": scope, "delegable": false, "verified": true,
    });
    if let Some(end) = end {
        data["expires_at"] = json!(end);
    }
    city.add(&inv(citizen), "grant.granted.v1", data);
    grant
}

#[test]
fn importers_bring_back_nothing_that_somebody_revoked_and_only_verifiers_verify() {
    let again = |by: &str| {
        let (mut city, citizen, _) = City::founded();
        city.act(None);
        let grant = imported(&mut city, &citizen);
        let actor = (by == "actor").then_some(citizen.as_str());
        city.act(actor).add(&inv(&citizen), "grant.revoked.v1", json!({"grant": grant, "by": by}));
        city.act(None);
        imported(&mut city, &citizen);
        city
    };
    again("source").clean();
    again("actor").refused("is imported again");
    let verified = |actor: bool, kind: &str| {
        let (mut city, citizen, _) = City::founded();
        city.act(None);
        let grant = imported(&mut city, &citizen);
        city.act(actor.then_some(citizen.as_str())).add(&inv(&citizen), kind, json!({"grant": grant}));
        city
    };
    verified(false, "grant.verified.v1").clean();
    verified(true, "grant.verified.v1").refused("only verifiers");
    verified(false, "grant.went_stale.v1").refused("goes stale before its time");
    verified(true, "grant.reverification_requested.v1").clean();
}

#[test]
fn what_somebody_left_of_a_grant_is_all_that_is_imported_again() {
    // Narrowed or not, by whom; ended by the source, and told again with this scope and end.
    let again = |told: Option<bool>, lifted_by: &str, scope: Value, end: Option<&str>| {
        let (mut city, citizen, _) = City::founded();
        city.act(None);
        let grant = imported(&mut city, &citizen);
        if let Some(told) = told {
            let mut narrower =
                json!({"grant": grant, "scope": {"read_only": true}, "expires_at": "2030-01-01T00:00:00.000000Z"});
            if told {
                narrower["told"] = json!(true);
            }
            city.act(Some(&citizen)).add(&inv(&citizen), "grant.attenuated.v1", narrower);
        }
        city.act(None).add(&inv(&citizen), "grant.orphaned.v1", json!({"grant": grant, "by": "source"}));
        if !lifted_by.is_empty() {
            city.act(Some(&citizen));
            let given = city.fresh("grt", u64::try_from(city.records.len()).unwrap());
            let data = json!({
                "grant": given, "holder": citizen, "holder_kind": "human", "kind": "template", "ref": "review",
                "source": lifted_by, "scope": {}, "delegable": false, "granted_by": citizen, "verified": false,
            });
            city.add(&inv(&citizen), "grant.granted.v1", data);
            let ended = json!({"grant": given, "by": "city"});
            city.act(None).add(&inv(&citizen), "grant.revoked.v1", ended);
        }
        city.act(None);
        imported_with(&mut city, &citizen, scope, end);
        city
    };
    let (end, later) = (Some("2030-01-01T00:00:00.000000Z"), Some("2030-01-01T00:00:00.000001Z"));
    let narrow = || json!({"read_only": true});
    again(Some(false), "", narrow(), end).clean();
    for (scope, end) in [(json!({}), end), (narrow(), None), (narrow(), later)] {
        again(Some(false), "", scope.clone(), end).refused("wider than somebody left it");
        again(Some(false), "city", scope.clone(), end).refused("wider than somebody left it");
        for (told, lifted_by) in [(Some(true), ""), (None, ""), (Some(false), "fs:skills")] {
            again(told, lifted_by, scope.clone(), end).clean();
        }
    }
    // What came back narrow goes, and comes back wide.
    let (mut city, citizen, _) = City::founded();
    city.act(None);
    let first = imported(&mut city, &citizen);
    let narrower = json!({"grant": first, "scope": {"read_only": true}});
    city.act(Some(&citizen)).add(&inv(&citizen), "grant.attenuated.v1", narrower);
    let lost = |grant: &str| json!({"grant": grant, "by": "source"});
    city.act(None).add(&inv(&citizen), "grant.revoked.v1", lost(&first));
    city.act(None);
    let second = imported_with(&mut city, &citizen, narrow(), None);
    city.act(None).add(&inv(&citizen), "grant.orphaned.v1", lost(&second));
    city.clean();
    city.act(None);
    imported(&mut city, &citizen);
    city.refused("wider than somebody left it");
}

#[test]
fn a_no_after_the_end_is_about_what_ended_and_keeps_importers_away() {
    let ended = |withheld: &dyn Fn(&mut City, &str, &str)| {
        let (mut city, citizen, _) = City::founded();
        city.act(None);
        let grant = imported(&mut city, &citizen);
        let lost = json!({"grant": grant, "by": "source"});
        city.act(None).add(&inv(&citizen), "grant.orphaned.v1", lost);
        city.act(Some(&citizen));
        withheld(&mut city, &citizen, &grant);
        (city, citizen)
    };
    let no = |city: &mut City, citizen: &str, grant: &str| {
        city.add(&inv(citizen), "grant.withheld.v1", json!({"grant": grant}));
    };
    let (mut again, citizen) = ended(&no);
    again.clean();
    again.act(None);
    imported(&mut again, &citizen);
    again.refused("is imported again");
    ended(&|city, citizen, grant| {
        city.act(None);
        imported(city, citizen);
        city.act(Some(citizen));
        no(city, citizen, grant);
    })
    .0
    .refused("is withheld beside a living grant");
    let (mut city, citizen, _) = City::founded();
    city.act(None);
    let living = imported(&mut city, &citizen);
    city.act(Some(&citizen));
    no(&mut city, &citizen, &living);
    city.refused("is withheld, and did not end");
}

#[test]
fn a_source_speaks_only_of_what_it_told_of() {
    let said = |grant: &str, data: Value, kind: &str| {
        let (mut city, citizen, other, given, child) = handed_on(|_| ());
        let (holder, grant) = if grant == "given" { (citizen, given) } else { (other, child) };
        let mut all = json!({"grant": grant});
        all.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        city.act(None).add(&inv(&holder), kind, all);
        city
    };
    for grant in ["given", "handed on"] {
        said(grant, json!({}), "grant.verified.v1").refused("has no source to ask");
        said(grant, json!({"failure": "unreachable"}), "grant.verification_failed.v1").refused("has no source to ask");
        for kind in ["grant.revoked.v1", "grant.expired.v1", "grant.orphaned.v1"] {
            said(grant, json!({"by": "source"}), kind).refused("has no source that ends it");
        }
    }
}

#[test]
fn roles_and_memberships_have_their_grants_once_there_are_any() {
    let (mut city, citizen, _, _) = equipped();
    city.act(Some(&citizen)).add(&citizen, "citizen.role_assigned.v1", json!({"role": "knight"}));
    city.refused("does not agree about the role knight");
    let (mut city, citizen, guild, _) = equipped();
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.change_rank", "membership").add(
        &guild,
        "guild.rank_changed.v1",
        json!({"member": citizen, "rank": "founder"}),
    );
    city.refused("does not agree about the rank founder");
}

/// A founded city in which the founder's rank and role have their grants: what they are, and how each is called.
fn with_computed() -> (City, String, [String; 2]) {
    let (mut city, citizen, guild) = City::founded();
    city.act(Some(&citizen)).decided(&citizen, &guild, "guild.change_rank", "membership").add(
        &guild,
        "guild.rank_changed.v1",
        json!({"member": citizen, "rank": "founder"}),
    );
    let computed = |kind: &'static str, reference: String, source: &'static str| {
        move |data: &mut Value| {
            let own = json!({
                "kind": kind, "ref": reference, "source": source, "scope": {}, "delegable": false, "verified": true,
            });
            data.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            data.as_object_mut().unwrap().remove("granted_by");
        }
    };
    let rank =
        tool(&mut city, &citizen, &guild, &citizen, computed("guild_role", format!("{guild}/founder"), "membership"));
    city.act(Some(&citizen)).add(&citizen, "citizen.role_assigned.v1", json!({"role": "knight"}));
    let role = tool(&mut city, &citizen, &guild, &citizen, computed("data_access", "role/knight".to_owned(), "roles"));
    (city, citizen, [rank, role])
}

#[test]
fn what_follows_from_something_else_begins_and_ends_with_that() {
    with_computed().0.clean();
    for which in 0..2 {
        let then = |kind: &str, data: Value, actor: bool| {
            let (mut city, citizen, grants) = with_computed();
            let mut all = json!({"grant": grants[which]});
            all.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
            city.act(actor.then_some(citizen.as_str())).add(&inv(&citizen), kind, all);
            city
        };
        then("grant.attenuated.v1", json!({"scope": {"read_only": true}}), true).refused("is narrowed, and follows");
        then("grant.revoked.v1", json!({"by": "actor"}), true).refused("ends by itself");
        // By the city, and from nothing.
        then("grant.revoked.v1", json!({"by": "city"}), false).refused("does not agree about the r");
    }
    let (mut city, citizen, grants) = with_computed();
    city.act(Some(&citizen)).add(&citizen, "citizen.role_unassigned.v1", json!({"role": "knight"}));
    city.add(&inv(&citizen), "grant.revoked.v1", json!({"grant": grants[1], "by": "city"}));
    city.clean();
    city.act(None);
    let given = json!({
        "grant": city.fresh("grt", u64::try_from(city.records.len()).unwrap()), "holder": citizen, "holder_kind": "human",
        "kind": "data_access", "ref": "role/knight", "source": "roles", "scope": {}, "delegable": false, "verified": true,
    });
    city.add(&inv(&citizen), "grant.granted.v1", given);
    city.refused("does not agree about the role knight");
}

/// The guild's tool given to a citizen who is no member of it.
#[test]
fn a_guild_grants_to_its_active_members_only() {
    let (mut city, citizen, guild, _) = equipped();
    let other = city.citizen(&citizen);
    city.act(Some(&citizen)).decided(&citizen, &guild, "grant.grant", "work");
    tool(&mut city, &citizen, &guild, &other, |_| ());
    city.refused("who is no active member");
}

#[test]
fn whoever_leaves_has_nothing_left_of_the_guild() {
    let left = |ended: bool| {
        let (mut city, citizen, guild, grant) = equipped();
        city.act(Some(&citizen)).add(&guild, "guild.member_left.v1", json!({"member": citizen}));
        city.add(&citizen, "citizen.guild_left.v1", json!({"guild": guild}));
        city.add(&guild, "guild.became_leaderless.v1", json!({}));
        if ended {
            city.add(&inv(&citizen), "grant.revoked.v1", json!({"grant": grant, "by": "city"}));
        }
        city
    };
    left(true).clean();
    left(false).refused("has what it granted");
}

#[test]
fn whoever_is_gone_gets_nothing() {
    let (mut city, citizen, _) = City::founded();
    let other = city.citizen(&citizen);
    city.act(Some(&citizen)).add(&other, "citizen.deprovisioned.v1", json!({}));
    city.clean();
    city.act(None);
    imported(&mut city, &other);
    city.refused("who is gone");
}

#[test]
fn a_squad_has_capabilities_while_a_guild_has_the_squad() {
    let (mut city, citizen, _) = City::founded();
    let squad = crate::testkit::id("sqd", 1, 7);
    let grant = city.fresh("grt", u64::try_from(city.records.len()).unwrap());
    let data = json!({
        "grant": grant, "holder": squad, "holder_kind": "squad", "kind": "tool", "ref": "crane", "source": "city",
        "scope": {}, "delegable": true, "granted_by": citizen, "verified": false,
    });
    city.act(Some(&citizen)).add(&inv(&squad), "grant.granted.v1", data);
    city.refused("is not there, or of another kind");
}

#[test]
fn nothing_begins_below_a_grant_whose_time_is_over() {
    let (mut city, citizen, guild, grant) = equipped();
    let other = city.citizen(&citizen);
    let sooner = json!({"grant": grant, "scope": {"rate_limit": "10/h"}, "expires_at": city.now()});
    city.act(Some(&citizen)).add(&inv(&citizen), "grant.attenuated.v1", sooner);
    let child = tool(&mut city, &citizen, &guild, &other, |data| {
        data["parent"] = json!({"holder": citizen, "grant": grant});
        data["expires_at"] = json!(crate::testkit::at(99));
    });
    let link = json!({"holder": other, "grant": child});
    city.add(&inv(&citizen), "grant.delegated.v1", json!({"grant": grant, "child": link}));
    city.refused("below a grant whose time is over");
}

#[test]
fn an_end_that_somebody_set_binds_importers_and_only_its_source_lifts_it() {
    let ended = |limit: bool, told: bool, lifted_by: &str| {
        let (mut city, citizen, _) = City::founded();
        city.act(None);
        let grant = imported(&mut city, &citizen);
        city.act(Some(&citizen));
        let end = city.now();
        if limit {
            let mut sooner = json!({"grant": grant, "scope": {}, "expires_at": end});
            if told {
                sooner["told"] = json!(true);
            }
            city.add(&inv(&citizen), "grant.attenuated.v1", sooner);
        }
        let kind = if limit { "grant.expired.v1" } else { "grant.orphaned.v1" };
        let by = if limit { "city" } else { "source" };
        city.act(None).add(&inv(&citizen), kind, json!({"grant": grant, "by": by}));
        if !lifted_by.is_empty() {
            city.act(Some(&citizen));
            let given = city.fresh("grt", u64::try_from(city.records.len()).unwrap());
            let data = json!({
                "grant": given, "holder": citizen, "holder_kind": "human", "kind": "template", "ref": "review",
                "source": lifted_by, "scope": {}, "delegable": false, "granted_by": citizen, "verified": false,
            });
            city.add(&inv(&citizen), "grant.granted.v1", data);
            city.act(None).add(&inv(&citizen), "grant.revoked.v1", json!({"grant": given, "by": "source"}));
        }
        city.act(None);
        imported(&mut city, &citizen);
        city
    };
    ended(false, false, "").clean();
    ended(true, false, "").refused("is imported again");
    ended(true, true, "").clean();
    ended(true, false, "fs:skills").clean();
    ended(true, false, "city").refused("is imported again");
}
