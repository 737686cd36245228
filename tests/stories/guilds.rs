//! Guilds: a parent that says yes, votes that take effect, a founder who goes, and an end that pays everybody.

use guildhall_tests::courier::Courier as _;
use guildhall_tests::town::{self, CURRENCY, guild, human};
use serde_json::json;

use crate::tell;

#[test]
fn a_child_joins_its_parent_only_when_the_parent_says_so() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let (_, other) = human(http, "worker", "Other founder").await;
        let (child, _) = guild(http, &other, "spinners").await;
        http.ask(&other, "guild.accept_child", json!({"guild": "weavers", "child": "spinners"}))
            .await
            .refused("not_a_member");
        let accept = json!({"guild": "weavers", "child": "spinners"});
        http.ask(&town.founder, "guild.accept_child", accept.clone()).await.refused("parent_not_proposed");
        http.ask(&other, "guild.propose_parent", json!({"guild": "spinners", "parent": "weavers"})).await.accepted();
        http.ask(&town.founder, "guild.accept_child", accept).await.accepted();
        // The other way round it would be a circle.
        http.ask(&town.founder, "guild.propose_parent", json!({"guild": "weavers", "parent": "spinners"}))
            .await
            .refused("parent_cycle");
        let ending = json!({"guild": "weavers", "shares": [{"to": "external", "basis_points": 10000}], "fallback": town::of(&child)});
        http.ask(&town.founder, "guild.initiate_dissolution", ending).await.refused("living_children");
        http.ask(&town.founder, "guild.detach_child", json!({"guild": "weavers", "child": "spinners"}))
            .await
            .accepted();
    });
}

#[test]
fn under_consensus_a_member_joins_in_the_append_of_the_deciding_vote() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let (second_id, second) = human(http, "customer", "Second").await;
        let (third_id, third) = human(http, "customer", "Third").await;
        for member in [&second_id, &third_id] {
            let add = json!({"guild": town.guild, "member": member, "rank": "coordinator"});
            http.ask(&town.founder, "guild.add_member", add).await.accepted();
        }
        let ratifiers = [&town.founder_id, &second_id, &third_id];
        let consensus = json!({"default": {"tier": "consensus", "ratifiers": {"members": ratifiers}, "needed": 2}});
        http.ask(&town.founder, "guild.set_governance", json!({"guild": town.guild, "governance": consensus}))
            .await
            .accepted();

        let (newcomer, _) = human(http, "customer", "Newcomer").await;
        let add = json!({"guild": town.guild, "member": newcomer, "rank": "member"});
        let proposal = http.ask(&town.founder, "guild.add_member", add.clone()).await.proposed();
        let vote = json!({"guild": town.guild, "proposal": proposal});
        // A stranger's vote is none, and the proposer has voted by proposing.
        http.ask(&town.attester, "guild.ratify", vote.clone()).await.refused("not_a_ratifier");
        let ratified = http.ask(&second, "guild.ratify", vote.clone()).await.accepted();
        assert_eq!(ratified.entry("guild.member_added.v1")["data"]["member"], newcomer);
        assert_eq!(ratified.entry("guild.decided.v1")["data"]["ground"]["by"], "proposal");
        http.ask(&third, "guild.ratify", vote).await.refused("proposal_not_open");
        http.ask(&town.founder, "guild.add_member", add).await.refused("member_exists");
    });
}

#[test]
fn rejections_that_make_the_threshold_unreachable_close_a_proposal_and_free_what_it_held() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let (second_id, second) = human(http, "customer", "Second").await;
        let add = json!({"guild": town.guild, "member": second_id, "rank": "coordinator", "scopes": ["finance"]});
        http.ask(&town.founder, "guild.add_member", add).await.accepted();
        let ratifiers = [&town.founder_id, &second_id];
        let consensus = json!({"default": {"tier": "consensus", "ratifiers": {"members": ratifiers}, "needed": 2}});
        http.ask(&town.founder, "guild.set_governance", json!({"guild": town.guild, "governance": consensus}))
            .await
            .accepted();

        let withdrawal = town.withdrawal("rent", "80");
        let proposal = http.ask(&second, "treasury.withdraw", withdrawal.clone()).await.proposed();
        // What a proposal has set aside nobody else can have.
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("food", "30")).await.refused("insufficient_funds");
        let no = json!({"guild": town.guild, "proposal": proposal});
        let rejected = http.ask(&town.founder, "guild.reject_proposal", no).await.accepted();
        assert_eq!(rejected.entry("treasury.hold_released.v1")["data"]["amount"], "80.00");
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("food", "30")).await.proposed();
    });
}

#[test]
fn the_last_founder_cannot_leave_and_when_the_city_takes_them_a_principal_names_another() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        http.ask(&town.founder, "guild.leave", json!({"guild": town.guild})).await.refused("last_founder");
        let (heir, _) = human(http, "customer", "Heir").await;
        let appoint = json!({"guild": town.guild, "member": heir});
        http.ask(&town.principal, "guild.appoint_founder", appoint.clone()).await.refused("guild_not_leaderless");
        let gone =
            http.ask(&town.principal, "citizen.deprovision", json!({"citizen": town.founder_id})).await.accepted();
        gone.entry("guild.became_leaderless.v1");
        let reply = http.ask(&town.founder, "guild.rename", json!({"guild": town.guild, "name": "Mine"})).await;
        assert_eq!(reply.status, 401, "{}", reply.body);
        http.ask(&town.principal, "guild.appoint_founder", appoint).await.accepted();
    });
}

#[test]
fn a_dissolved_guild_has_paid_everybody_and_does_nothing_more() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let (heir_id, heir) = human(http, "worker", "Heir").await;
        let (_, receiver) = guild(http, &heir, "spinners").await;
        let purse = town::of(&heir_id);
        let shares = json!([{"to": receiver, "basis_points": 3333}, {"to": purse, "basis_points": 6667}]);
        let ending = json!({"guild": "weavers", "shares": shares, "fallback": purse});
        http.ask(&town.founder, "guild.initiate_dissolution", ending).await.accepted();
        http.ask(&town.attester, "treasury.deposit", town.deposit("late", "1")).await.refused("guild_dissolving");
        let finished =
            http.ask(&town.founder, "guild.finalize_dissolution", json!({"guild": "weavers"})).await.accepted();
        assert_eq!(finished.entry("treasury.debited.v1")["data"]["amount"], "100.00");
        let credited: Vec<_> =
            finished.entries.iter().filter(|entry| entry["type"] == "treasury.credited.v1").collect();
        let mut amounts: Vec<_> = credited.iter().map(|entry| entry["data"]["amount"].as_str().unwrap()).collect();
        amounts.sort_unstable();
        assert_eq!(amounts, ["33.33", "66.67"]);
        http.ask(&town.founder, "guild.rename", json!({"guild": "weavers", "name": "Ghost"}))
            .await
            .refused("guild_dissolved");
        // Its name stays taken.
        let again = json!({"slug": "weavers", "kind": "project", "name": "Again"});
        http.ask(&heir, "guild.found", again).await.refused("slug_taken");
        let balances = format!("/v1/treasuries/{purse}/balances?at_least={}", finished.position());
        let told = http.ok(&heir, &balances).await;
        let line = told["balances"].as_array().unwrap().iter().find(|line| line["currency"] == CURRENCY).unwrap();
        assert_eq!(line["balance"], "66.67");
    });
}
