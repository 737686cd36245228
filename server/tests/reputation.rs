//! Reputation over HTTP: attested by others, computed by the city, seen by those who may, and checked from the log alone.
#![allow(clippy::unwrap_used)]

mod support;

use guildhall::city::reckoner::{Whose, round};
use guildhall::http::now;
use serde_json::{Value, json};
use support::Town;

struct Hall {
    town: Town,
    guild: String,
    gate: (String, String),
    other_gate: (String, String),
    ann: (String, String),
    ben: (String, String),
}

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
        Self { town, guild, gate, other_gate, ann, ben }
    }

    async fn attest(&self, holder: &str, outcome: &str, work: &str) -> u64 {
        let body = json!({
            "outcome": outcome, "scope": self.guild, "work": work, "stake": "T3", "proof": "ab".repeat(32),
        });
        self.town.post(&self.gate.1, &format!("/citizens/{holder}/outcomes"), body).await.ok().position()
    }

    async fn reputation(&self, key: &str, holder: &str, more: &str) -> Value {
        let size = self.town.open.city.log.head().await.unwrap().size;
        let path = format!("/citizens/{holder}/reputation?scope={}{more}", self.guild);
        self.town.get_after(key, &path, size - 1).await.ok().body
    }
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
    let size = city.log.head().await.unwrap().size;
    assert!(city.views_reach(size - 1, std::time::Duration::from_secs(10)).await.unwrap());
    assert_eq!(round(city, Whose::Changed, now()).await.unwrap(), 2);
    let size = city.log.head().await.unwrap().size;
    assert!(city.views_reach(size - 1, std::time::Duration::from_secs(10)).await.unwrap());
    assert_eq!(round(city, Whose::Changed, now()).await.unwrap(), 0, "nothing is new");
    assert_eq!(round(city, Whose::Everybodys, now()).await.unwrap(), 0, "and nothing has moved");
    let mut conn = city.log.reader().await.unwrap();
    for table in ["reputation_scores", "reputation_ratings"] {
        let sql = format!("select count(*) from {table}");
        let rows = eventlog::sql::query(&mut conn, &sql, &[eventlog::sql::Kind::Int], &[]).await.unwrap();
        // Ann: reliability and overall, here and everywhere. Ben: quality and overall.
        assert_eq!(rows, [[eventlog::sql::Cell::Int(8)]], "{table}");
    }
    let rate = "select distinct decay_rate from reputation_scores";
    let rows = eventlog::sql::query(&mut conn, rate, &[eventlog::sql::Kind::Text], &[]).await.unwrap();
    assert_eq!(rows, [[eventlog::sql::Cell::Text("0.023104906".to_owned())]], "lambda, and not the half-life");
    drop(conn);
    hall.town.end().await;
}
