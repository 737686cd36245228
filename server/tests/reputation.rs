//! Reputation over HTTP: attested by others, computed by the city, seen by those who may, and checked from the log alone.
#![allow(clippy::unwrap_used, clippy::float_arithmetic)]

mod support;

use domain::Time;
use eventlog::sql::{self, Cell, Kind};
use guildhall::city::reckoner::{Round, Whose, next, round};
use guildhall::http::now;
use serde_json::{Value, json};
use support::Town;

struct Hall {
    town: Town,
    guild: String,
    founder_key: String,
    gate: (String, String),
    other_gate: (String, String),
    ann: (String, String),
    ben: (String, String),
}

const HOUR: i64 = 3_600_000_000;
const RECORDED_TWO: Round = Round { recorded: 2, refused: 0 };

impl Hall {
    async fn open() -> Self {
        let town = Town::start().await;
        let (_, founder_key) = town.citizen("Ada", &["worker"]).await;
        let guild = town.guild(&founder_key, "smiths").await;
        let member = async |name: &str, role: &str| {
            let citizen = town.citizen(name, &[role]).await;
            let join = json!({ "member": citizen.0, "rank": "member" });
            town.post(&founder_key, &format!("/guilds/{guild}/members"), join).await.ok();
            citizen
        };
        let (gate, other_gate) = (member("Gate", "gate").await, member("Other", "gate").await);
        let (ann, ben) = (member("Ann", "customer").await, member("Ben", "customer").await);
        Self { town, guild, founder_key, gate, other_gate, ann, ben }
    }

    async fn attest(&self, holder: &str, outcome: &str, work: &str) -> u64 {
        self.attest_at(holder, outcome, work, json!({})).await
    }

    /// With what else is said of it.
    async fn attest_at(&self, holder: &str, outcome: &str, work: &str, more: Value) -> u64 {
        let mut body = json!({
            "outcome": outcome, "scope": self.guild, "work": work, "stake": "T3", "proof": "ab".repeat(32),
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.town.post(&self.gate.1, &format!("/citizens/{holder}/outcomes"), body).await.ok().position()
    }

    /// With the tables at the log's end.
    async fn at_the_end(&self) {
        let city = &self.town.open.city;
        let size = city.log.head().await.unwrap().size;
        assert!(city.views_reach(size - 1, std::time::Duration::from_secs(10)).await.unwrap());
    }

    async fn round(&self, whose: Whose, as_of: Time) -> Round {
        self.at_the_end().await;
        round(&self.town.open.city, whose, as_of).await.unwrap()
    }

    async fn next(&self, night_over: &mut Option<i64>) -> Round {
        self.at_the_end().await;
        next(&self.town.open.city, night_over).await.unwrap()
    }

    async fn reputation(&self, key: &str, holder: &str, more: &str) -> Value {
        let size = self.town.open.city.log.head().await.unwrap().size;
        let path = format!("/citizens/{holder}/reputation?scope={}{more}", self.guild);
        self.town.get_after(key, &path, size - 1).await.ok().body
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_a_time_takes_either_axis() {
    let hall = Hall::open().await;
    let (holder, key) = (&hall.ann.0, &hall.ann.1);
    let ago = |days: i64| domain::Time::from_micros(now().micros() - days * 86_400_000_000);
    // Two pieces that are recorded late, one of which is reversed.
    hall.attest_at(holder, "task_completed", "late", json!({ "effective_at": ago(10) })).await;
    hall.attest_at(holder, "audit_violation", "wrong", json!({ "effective_at": ago(9) })).await;
    let before = now();
    let evidence = format!("/citizens/{holder}/reputation/evidence");
    let items = async |more: String| {
        let found = hall.town.get(key, &format!("{evidence}?as_of={more}")).await.ok();
        found.body["items"].as_array().unwrap().clone()
    };
    let wrong = items(before.to_string()).await.into_iter().find(|one| one["kind"] == "audit_violation").unwrap();
    let path = format!("/citizens/{holder}/evidence/{}", wrong["evidence"].as_str().unwrap());
    hall.town.post(key, &format!("{path}/dispute"), json!({ "reason": "not mine" })).await.ok();
    hall.town.post(&hall.other_gate.1, &format!("{path}/reverse"), json!({})).await.ok();

    assert_eq!(items(format!("{}&axis=recorded", ago(5))).await.len(), 0, "nobody knew of it");
    let told = items(format!("{}&axis=effective", ago(5))).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told.iter().filter(|one| one["reversed_at"].is_string()).count(), 1, "{told:?}");
    assert!(items(before.to_string()).await.iter().all(|one| one["reversed_at"].is_null()), "not known then");
    let kinds = async |more: String| {
        let body = hall.reputation(key, holder, &format!("&as_of={more}")).await;
        let rows = body["figures"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| row["figure"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(ago(5).to_string()).await, Vec::<String>::new());
    assert_eq!(kinds(before.to_string()).await, ["compliance", "overall", "reliability"]);
    assert_eq!(kinds(format!("{}&axis=effective", ago(5))).await, ["overall", "reliability"]);
    let plot = async |more: &str| {
        let path = format!("/citizens/{holder}/reputation/history?days=20&points=21{more}");
        let items = hall.town.get(key, &path).await.ok().body["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["score"].as_str().unwrap() != "0.000000000").collect::<Vec<_>>()
    };
    let happened: Vec<bool> = (0..21).map(|point| point >= 10).collect();
    assert_eq!(plot("").await, happened);
    assert_eq!(plot("&axis=effective").await, happened);
    assert_eq!(plot("&axis=recorded").await, (0..21).map(|point| point == 20).collect::<Vec<_>>());
    for (question, field) in [("?axis=effective", "axis"), ("?as_of=2026-01-01T00:00:00.000000Z&axis=both", "axis")] {
        let refused = hall.town.get(key, &format!("/citizens/{holder}/reputation{question}")).await;
        assert_eq!(refused.refused(422, "invalid_field").field(), field, "{question}");
    }
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_attest_is_counted_and_shown_to_whom_it_concerns() {
    let hall = Hall::open().await;
    let (ann, ben) = (&hall.ann, &hall.ben);
    let no = json!({ "outcome": "task_completed", "scope": hall.guild, "work": "w", "stake": "T3", "proof": "ab".repeat(32) });
    hall.town.post(&ann.1, &format!("/citizens/{}/outcomes", ben.0), no).await.refused(403, "not_permitted");
    for number in 0..6 {
        hall.attest(&ann.0, "task_completed", &format!("work {number}")).await;
    }
    let own = hall.reputation(&ann.1, &ann.0, "").await;
    let reliability = own["figures"].as_array().unwrap().iter().find(|row| row["figure"] == "reliability").unwrap();
    assert!(reliability["score"].as_str().unwrap().starts_with("5.99"), "{own}");
    let others = hall.reputation(&ben.1, &ann.0, "").await;
    assert_eq!((&others["band"], &others["active"], others.get("figures")), (&json!("proven"), &json!(true), None));
    assert!(hall.reputation(&hall.gate.1, &ann.0, "").await.get("figures").is_some());
    let evidence = format!("/citizens/{}/reputation/evidence", ann.0);
    hall.town.get(&ben.1, &evidence).await.refused(403, "not_permitted");
    let pieces = hall.town.get(&ann.1, &evidence).await.ok();
    assert_eq!(pieces.body["items"].as_array().unwrap().len(), 6);
    assert!(!pieces.text.contains("work 0"), "which work it was is sealed");
    // In pages, and all of them are the score together.
    let then = pieces.body["as_of"].as_str().unwrap();
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = hall.town.get(&ann.1, &format!("{evidence}?as_of={then}&limit=4{after}")).await.ok().body;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(Value::from(paged.clone()), pieces.body["items"]);
    let moved: f64 = paged.iter().map(|piece| piece["moved"].as_str().unwrap().parse::<f64>().unwrap()).sum();
    let overall = own["figures"].as_array().unwrap().iter().find(|row| row["figure"] == "overall").unwrap();
    assert!((moved - overall["score"].as_str().unwrap().parse::<f64>().unwrap()).abs() < 1e-3, "{moved} {overall}");

    let claim = |threshold: &str| {
        format!("/citizens/{}/reputation/can-claim?scope={}&threshold={threshold}", ann.0, hall.guild)
    };
    assert_eq!(hall.town.get(&ann.1, &claim("-4")).await.ok().body["can"], true);
    let far = hall.town.get(&ann.1, &claim("3")).await.ok().body;
    assert_eq!((&far["can"], &far["because"]), (&json!(false), &json!("below_threshold")), "{far}");
    hall.town.get(&ben.1, &claim("0")).await.refused(403, "not_permitted");
    hall.attest(&ann.0, "audit_violation", "audit 1").await;
    assert_eq!(hall.town.get(&ann.1, &claim("-4")).await.ok().body["because"], "cooling_off");

    // She disputes it; another gate takes it back.
    let pieces = hall.town.get(&ann.1, &evidence).await.ok();
    let violation =
        pieces.body["items"].as_array().unwrap().iter().find(|one| one["kind"] == "audit_violation").unwrap();
    let path = format!("/citizens/{}/evidence/{}", ann.0, violation["evidence"].as_str().unwrap());
    hall.town.post(&hall.other_gate.1, &format!("{path}/reverse"), json!({})).await.refused(422, "not_disputed");
    hall.town.post(&ann.1, &format!("{path}/dispute"), json!({ "reason": "not mine" })).await.ok();
    hall.town.post(&hall.other_gate.1, &format!("{path}/reverse"), json!({})).await.ok();
    assert_eq!(hall.town.get(&ann.1, &claim("-4")).await.ok().body["can"], true);
    let tomorrow = domain::Time::from_micros(now().micros() + 86_400_000_000);
    let future = hall.town.get(&ann.1, &format!("/citizens/{}/reputation?as_of={tomorrow}", ann.0)).await;
    assert_eq!(future.refused(422, "invalid_field").field(), "as_of");
    let history =
        hall.town.get(&ann.1, &format!("/citizens/{}/reputation/history?days=30&points=31", ann.0)).await.ok();
    assert_eq!(history.body["items"].as_array().unwrap().len(), 31);
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_city_computes_what_changed_and_the_guards_hold_one_row_of_each() {
    let hall = Hall::open().await;
    hall.attest(&hall.ann.0, "task_completed", "one").await;
    hall.attest(&hall.ben.0, "verification_passed", "two").await;
    let endorse = json!({ "scope": hall.guild, "note": "well made" });
    hall.town.post(&hall.ann.1, &format!("/citizens/{}/endorsements", hall.ben.0), endorse).await.ok();
    let city = &hall.town.open.city;
    assert_eq!(hall.round(Whose::Changed, now()).await, RECORDED_TWO);
    assert_eq!(hall.round(Whose::Changed, now()).await, Round::default(), "nothing is new");
    assert_eq!(hall.round(Whose::Everybodys, now()).await, Round::default(), "and nothing has moved");
    let mut conn = city.log.reader().await.unwrap();
    for table in ["reputation_scores", "reputation_ratings"] {
        let sql = format!("select count(*) from {table}");
        let rows = sql::query(&mut conn, &sql, &[Kind::Int], &[]).await.unwrap();
        // Ann: reliability and overall, here and everywhere. Ben: quality and overall.
        assert_eq!(rows, [[Cell::Int(8)]], "{table}");
    }
    let rate = "select distinct decay_rate from reputation_scores";
    let rows = sql::query(&mut conn, rate, &[Kind::Text], &[]).await.unwrap();
    assert_eq!(rows, [[Cell::Text("0.023104906".to_owned())]], "lambda, and not the half-life");
    drop(conn);
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guilds_gates_and_coordinators_see_their_members_numbers_and_nobody_elses() {
    let hall = Hall::open().await;
    let (town, ann) = (&hall.town, &hall.ann);
    hall.attest(&ann.0, "task_completed", "one").await;
    let (_, founder_key) = town.citizen("Fay", &["worker"]).await;
    let other = town.guild(&founder_key, "coopers").await;
    let ranks = ["founder", "coordinator", "gate", "builder", "operator", "member", "advisor", "observer"];
    for rank in ranks {
        let (id, key) = town.citizen(rank, &["customer"]).await;
        for (guild, founder) in [(&hall.guild, &hall.founder_key), (&other, &founder_key)] {
            let join = json!({ "member": id, "rank": if rank == "founder" { "member" } else { rank } });
            town.post(founder, &format!("/guilds/{guild}/members"), join).await.ok();
        }
        let key = if rank == "founder" { hall.founder_key.clone() } else { key };
        let sees = rank == "coordinator" || rank == "gate";
        let seen = |reply: &Value| reply.get("figures").is_some();
        assert_eq!(seen(&hall.reputation(&key, &ann.0, "").await), sees, "{rank}");
        let evidence = format!("/citizens/{}/reputation/evidence", ann.0);
        let there = town.get(&key, &format!("{evidence}?scope={}", hall.guild)).await;
        if sees {
            drop(there.ok())
        } else {
            drop(there.refused(403, "not_permitted"))
        }
        // Not everywhere, and not where she is no member.
        town.get(&key, &evidence).await.refused(403, "not_permitted");
        town.get(&key, &format!("{evidence}?scope={other}")).await.refused(403, "not_permitted");
    }
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_round_cannot_compute_is_counted_and_the_night_is_not_over() {
    // The log's clock is an hour behind this server's: everything is of its future.
    eventlog::open_with_clock_skew(-HOUR);
    let hall = Hall::open().await;
    hall.attest(&hall.ann.0, "task_completed", "one").await;
    hall.attest(&hall.ben.0, "task_completed", "two").await;
    let (city, mut night_over) = (&hall.town.open.city, None);
    assert_eq!(hall.next(&mut night_over).await, Round { recorded: 0, refused: 2 }, "each of them was asked");
    assert_eq!(night_over, None);
    city.log.skew_clock(0);
    assert_eq!(hall.next(&mut night_over).await, RECORDED_TWO);
    assert!(night_over.is_some());
    // What is attested in the round's own instant is no less known.
    hall.attest(&hall.ann.0, "audit_clean", "three").await;
    assert_eq!(hall.next(&mut night_over).await, Round { recorded: 1, refused: 0 });
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_attested_during_a_round_is_left_for_the_next() {
    let hall = Hall::open().await;
    hall.attest(&hall.ann.0, "task_completed", "one").await;
    let begun = now();
    hall.attest(&hall.ann.0, "task_failed", "two").await;
    assert_eq!(hall.round(Whose::Changed, begun).await.recorded, 1);
    assert_eq!(hall.round(Whose::Changed, now()).await.recorded, 1, "the second piece");
    assert_eq!(hall.round(Whose::Changed, now()).await.recorded, 0);
    hall.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_midnight_loses_no_night() {
    // The log begins four days ago: no database takes entries of the future.
    let mut skew = -96 * HOUR;
    eventlog::open_with_clock_skew(skew);
    let hall = Hall::open().await;
    let city = &hall.town.open.city;
    hall.attest(&hall.ann.0, "task_completed", "one").await;
    let presently = |skew: i64| Time::from_micros(now().micros() + skew);
    assert_eq!(hall.round(Whose::Everybodys, presently(skew)).await.recorded, 1);
    assert_eq!(hall.round(Whose::Everybodys, presently(skew)).await.recorded, 0, "done since midnight");
    for _ in 0..3 {
        skew += 24 * HOUR;
        city.log.skew_clock(skew);
        // Nothing was remembered from the day before: the tables say for whom it is due.
        assert_eq!(hall.round(Whose::Changed, presently(skew)).await.recorded, 0);
        assert_eq!(hall.round(Whose::Everybodys, presently(skew)).await.recorded, 1);
        assert_eq!(hall.round(Whose::Everybodys, presently(skew)).await.recorded, 0);
    }
    hall.town.end().await;
}

/// Whatever address shows entries, it shows no numbers to whom they do not concern.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_no_more_of_a_reputation_than_the_questions_do() {
    let hall = Hall::open().await;
    let (ann, ben) = (&hall.ann, &hall.ben);
    let position = hall.attest(&ann.0, "task_completed", "a roof").await;
    assert_eq!(hall.round(Whose::Changed, now()).await.recorded, 1);
    let stream = format!("/streams/rep_{}/entries", &ann.0[4..]);
    let everything = format!("/entries?from={position}&limit=100");
    for path in [stream.as_str(), everything.as_str()] {
        let shown = hall.town.get(&ben.1, path).await.ok();
        let first = &shown.body["entries"][0];
        assert_eq!((&first["withheld"], &first["bytes"], &first["entry"]), (&json!(true), &Value::Null, &Value::Null));
        assert!(
            first["entry_hash"].is_string() && first["prev"].is_string(),
            "it is there, and the chain can be followed"
        );
        for word in ["task_completed", "phi", "weight", "reputation."] {
            assert!(!shown.text.contains(word), "{path} says {word}: {}", shown.text);
        }
        for key in [&ann.1, &hall.other_gate.1] {
            let shown = hall.town.get(key, path).await.ok();
            assert_eq!(shown.body["entries"][0]["entry"]["data"]["kind"], "task_completed");
        }
    }
    let receipt = format!("/receipts/{position}?form=entry");
    hall.town.get(&ben.1, &receipt).await.refused(403, "not_permitted");
    hall.town.end().await;
}
