//! Treasuries: references that count once, holds that pay what they promised, offers, freezes, and periods that are closed.

use guildhall_tests::courier::Courier as _;
use guildhall_tests::town::{CURRENCY, human, in_seconds};
use serde_json::{Value, json};

use crate::{Stage, tell, tell_on};
use guildhall_tests::Engine;

async fn balance(stage: &Stage, position: u64) -> (String, String) {
    let path = format!("/v1/treasuries/{}/balances?at_least={position}", stage.town.treasury);
    let told = stage.http.ok(&stage.town.founder, &path).await;
    let line = told["balances"].as_array().unwrap().iter().find(|line| line["currency"] == CURRENCY).cloned().unwrap();
    (line["balance"].as_str().unwrap().to_owned(), line["held"].as_str().unwrap().to_owned())
}

fn references_count_once(engine: Engine) {
    tell_on(engine, async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "invoice 7", "10").await;
        // The same again is done already; anything else under that reference is refused, for ever.
        let again = http.ask(&town.attester, "treasury.deposit", town.deposit("invoice 7", "10.00")).await.accepted();
        assert_eq!((again.outcome.as_str(), again.entries.len()), ("already_done", 0));
        http.ask(&town.attester, "treasury.deposit", town.deposit("invoice 7", "11")).await.refused("reference_reused");
        // Who may spend may not attest, and who may not attest may not.
        http.ask(&town.founder, "treasury.deposit", town.deposit("invoice 8", "10")).await.refused("not_an_attester");
    });
}

#[test]
fn a_reference_counts_once_on_sqlite() {
    references_count_once(Engine::Sqlite);
}

#[test]
fn a_reference_counts_once_on_postgres() {
    references_count_once(Engine::Postgres);
}

#[test]
fn every_amount_that_cannot_be_is_refused_with_its_own_code() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let mut cases = 0;
        for (amount, code) in [
            ("0", "amount_not_positive"),
            ("-5", "amount_not_positive"),
            ("0.001", "too_many_decimals"),
            ("999999999999999999999999999", "amount_overflow"),
        ] {
            http.ask(&town.attester, "treasury.deposit", town.deposit("x", amount)).await.refused(code);
            cases += 1;
        }
        for nonsense in ["1e3", "ten", "1,5", "0x10", "NaN", "", "79228162514264337593543950336"] {
            let reply = http.ask(&town.attester, "treasury.deposit", town.deposit("x", nonsense)).await;
            assert_eq!(
                (reply.status, reply.body["field"].as_str()),
                (422, Some("amount")),
                "{nonsense}: {}",
                reply.body
            );
            cases += 1;
        }
        let mut foreign = town.deposit("x", "5");
        foreign["currency"] = json!("EUR");
        http.ask(&town.attester, "treasury.deposit", foreign).await.refused("unknown_currency");
        assert_eq!(cases, 11);
        let told = http.ok(&town.founder, &format!("/v1/treasuries/{}/balances", town.treasury)).await;
        assert_eq!(told["balances"], json!([]));
    });
}

#[test]
fn a_hold_pays_whom_it_names_what_it_promised_and_gives_back_the_rest() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let legs = json!([{"to": "external", "amount": "60"}, {"to": "external", "amount": "5", "role": "fee"}]);
        let hold =
            json!({"treasury": town.treasury, "currency": CURRENCY, "legs": legs, "expires_at": in_seconds(3600)});
        let placed = http.ask(&town.founder, "treasury.hold", hold).await.accepted();
        let hold = placed.entry("treasury.hold_placed.v1")["data"]["hold"].clone();
        assert_eq!(balance(&stage, placed.position()).await, ("100.00".to_owned(), "65.00".to_owned()));
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("too much", "36"))
            .await
            .refused("insufficient_funds");

        let capture = |legs: Value| json!({"treasury": town.treasury, "hold": hold, "legs": legs});
        let beyond = capture(json!([{"to": "external", "amount": "60.01"}]));
        http.ask(&town.founder, "treasury.capture", beyond).await.refused("beyond_hold");
        let elsewhere = capture(json!([{"to": town.treasury.replace("try_0", "try_1"), "amount": "1"}]));
        http.ask(&town.founder, "treasury.capture", elsewhere).await.refused("payee_not_in_hold");
        let paid =
            capture(json!([{"to": "external", "amount": "50"}, {"to": "external", "amount": "5", "role": "fee"}]));
        let captured = http.ask(&town.founder, "treasury.capture", paid.clone()).await.accepted();
        assert_eq!(balance(&stage, captured.position()).await, ("45.00".to_owned(), "0.00".to_owned()));
        http.ask(&town.founder, "treasury.capture", paid).await.refused("hold_not_open");
    });
}

#[test]
fn a_hold_that_nobody_captures_comes_back_by_itself() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let legs = json!([{"to": "external", "amount": "60"}]);
        let hold = json!({"treasury": town.treasury, "currency": CURRENCY, "legs": legs, "expires_at": in_seconds(2)});
        let placed = http.ask(&town.founder, "treasury.hold", hold).await.accepted();
        let mut held = balance(&stage, placed.position()).await;
        for _ in 0..200 {
            if held.1 == "0.00" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            held = balance(&stage, placed.position()).await;
        }
        assert_eq!(held, ("100.00".to_owned(), "0.00".to_owned()));
    });
}

#[test]
fn an_offer_waits_for_its_receiver_unless_the_sender_is_trusted() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let (receiver_id, receiver) = human(http, "customer", "Receiver").await;
        let purse = guildhall_tests::town::of(&receiver_id);
        let offer =
            |amount: &str| json!({"treasury": town.treasury, "to": purse, "currency": CURRENCY, "amount": amount});
        let made = http.ask(&town.founder, "treasury.offer_transfer", offer("30")).await.accepted();
        let answer = json!({"treasury": town.treasury, "offer": made.entry("treasury.offer_made.v1")["data"]["offer"]});
        http.ask(&town.founder, "treasury.accept_transfer", answer.clone()).await.refused("not_the_owner");
        let accepted = http.ask(&receiver, "treasury.accept_transfer", answer.clone()).await.accepted();
        assert_eq!(accepted.entry("treasury.credited.v1")["stream"], purse);
        http.ask(&receiver, "treasury.reject_transfer", answer).await.refused("offer_not_open");

        http.ask(&receiver, "treasury.set_auto_accept", json!({"treasury": purse, "from": [town.treasury]}))
            .await
            .accepted();
        let at_once = http.ask(&town.founder, "treasury.offer_transfer", offer("20")).await.accepted();
        assert_eq!(balance(&stage, at_once.position()).await, ("50.00".to_owned(), "0.00".to_owned()));
    });
}

#[test]
fn a_freeze_stops_what_goes_out_and_only_its_own_side_lifts_it() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        town.fund(http, "funds", "100").await;
        let freeze = json!({"treasury": town.treasury, "reason": "an open question", "as_city": true});
        http.ask(&town.founder, "treasury.freeze", freeze.clone()).await.refused("not_permitted");
        http.ask(&town.principal, "treasury.freeze", freeze).await.accepted();
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("out", "1")).await.refused("treasury_frozen");
        town.fund(http, "in", "1").await;
        http.ask(&town.founder, "treasury.unfreeze", json!({"treasury": town.treasury})).await.refused("not_frozen");
        http.ask(&town.principal, "treasury.unfreeze", json!({"treasury": town.treasury, "as_city": true}))
            .await
            .accepted();
        http.ask(&town.founder, "treasury.withdraw", town.withdrawal("out", "1")).await.accepted();
    });
}

#[test]
fn nothing_is_booked_into_a_period_that_was_settled() {
    tell(async |stage| {
        let (http, town) = (&stage.http, &stage.town);
        let mut early = town.deposit("early", "7");
        early["effective_at"] = json!(in_seconds(-7200));
        http.ask(&town.attester, "treasury.deposit", early).await.accepted();
        let settled = in_seconds(-1);
        let settle = json!({"treasury": town.treasury, "as_of": settled});
        let done = http.ask(&town.founder, "treasury.settle", settle).await.accepted();
        assert_eq!(
            done.entry("treasury.settled.v1")["data"]["balances"],
            json!([{"currency": CURRENCY, "balance": "7.00"}])
        );
        let mut late = town.deposit("late", "1");
        late["effective_at"] = json!(in_seconds(-3600));
        http.ask(&town.attester, "treasury.deposit", late).await.refused("period_settled");
    });
}
