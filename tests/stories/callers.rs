//! Callers: retries that are safe, versions that were expected, keys that stop, and refusals that name what is wrong.

use guildhall_tests::courier::{Courier as _, Who};
use guildhall_tests::town::human;
use serde_json::json;

use crate::tell;

#[test]
fn the_same_key_gets_the_same_answer_and_another_request_under_it_is_refused() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let deposit = town.deposit("first", "5");
        let first = http.send(&town.attester, "treasury.deposit", deposit.clone(), Some("k1")).await.accepted();
        let again = http.send(&town.attester, "treasury.deposit", deposit, Some("k1")).await.accepted();
        assert!(again.replayed && !first.replayed);
        assert_eq!((first.entries, &first.body["command"]), (again.entries, &again.body["command"]));
        let other = http.send(&town.attester, "treasury.deposit", town.deposit("second", "5"), Some("k1")).await;
        assert_eq!((other.status, other.outcome.as_str()), (409, "key_reused"), "{}", other.body);
        // A refusal is an answer too, and stays one when the world has changed.
        let debit = town.withdrawal("out", "6");
        http.send(&town.founder, "treasury.withdraw", debit.clone(), Some("k2")).await.refused("insufficient_funds");
        town.fund(http, "more", "5").await;
        http.send(&town.founder, "treasury.withdraw", debit.clone(), Some("k2")).await.refused("insufficient_funds");
        http.send(&town.founder, "treasury.withdraw", debit, Some("k3")).await.accepted();
    });
}

#[test]
fn a_key_still_answers_after_the_server_was_killed() {
    tell(async |mut stage| {
        let deposit = stage.town.deposit("first", "5");
        let first =
            stage.http.send(&stage.town.attester, "treasury.deposit", deposit.clone(), Some("k1")).await.accepted();
        stage.server.kill();
        stage.server = stage.place.home.serve();
        let again = stage.http.send(&stage.town.attester, "treasury.deposit", deposit, Some("k1")).await.accepted();
        assert!(again.replayed);
        assert_eq!(first.entries, again.entries);
    });
}

#[test]
fn a_revoked_key_stops_and_a_narrow_key_reaches_no_further() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let (citizen, _) = human(http, "customer", "Somebody").await;
        let narrow = json!({"citizen": citizen, "actions": ["query.city"]});
        let issued = http.ask(&town.principal, "key.issue", narrow).await.accepted();
        let key = Who(issued.body["api_key"].as_str().unwrap().to_owned());
        http.ok(&key, "/v1/currencies").await;
        let (status, told) = http.get(&key, "/v1/guilds").await;
        assert_eq!((status, told["code"].as_str()), (403, Some("credential_scope")), "{told}");
        let id = issued.stream_of("key.issued.v1");
        http.ask(&town.principal, "key.revoke", json!({"key": id})).await.accepted();
        let (status, told) = http.get(&key, "/v1/currencies").await;
        assert_eq!((status, told["code"].as_str()), (401, Some("credential_revoked")), "{told}");
    });
}

#[test]
fn nobody_gets_in_without_a_key_and_a_wrong_one_says_nothing() {
    tell(async |stage| {
        for key in ["", "gh_nonsense", "Bearer"] {
            let (status, told) = stage.http.get(&Who(key.to_owned()), "/v1/guilds").await;
            assert_eq!(status, 401, "{key:?}: {told}");
        }
        let mut forged = stage.town.founder.0.clone();
        let last = if forged.pop() == Some('0') { '1' } else { '0' };
        forged.push(last);
        let (status, _) = stage.http.get(&Who(forged), "/v1/guilds").await;
        assert_eq!(status, 401);
    });
}

#[test]
fn an_unreadable_command_names_the_field() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let cases = [
            ("guild.found", json!({"slug": "UPPER", "kind": "project", "name": "x"}), "slug"),
            ("guild.found", json!({"slug": "fine", "kind": "club", "name": "x"}), "kind"),
            ("guild.found", json!({"slug": "fine", "kind": "project", "name": ""}), "name"),
            ("guild.found", json!({"slug": "fine", "kind": "project"}), "name"),
            ("guild.found", json!({"slug": "fine", "kind": "project", "name": "x", "colour": "red"}), "colour"),
        ];
        for (action, body, field) in cases {
            let reply = http.ask(&town.founder, action, body.clone()).await;
            assert_eq!((reply.status, reply.body["field"].as_str()), (422, Some(field)), "{body}: {}", reply.body);
        }
    });
}

#[test]
fn refusals_of_permission_are_on_record() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let register = json!({"currency": "EUR", "scale": 2});
        let refused = http.ask(&town.founder, "city.register_currency", register).await;
        assert_eq!((refused.status, refused.outcome.as_str()), (403, "not_permitted"), "{}", refused.body);
        let log = stage.place.home.log().await;
        for _ in 0..100 {
            if !log.read_stream("refusals", 0, 10).await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the refusal was not recorded");
    });
}
