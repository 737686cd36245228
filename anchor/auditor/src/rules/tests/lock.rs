//! What is recorded about anchors in a locked store, and about attacks on its lock.

use serde_json::{Value, json};

use crate::testkit::City;

const ATTACKS: [&str; 10] = [
    "delete_version",
    "delete_version_with_bypass",
    "shorten",
    "shorten_with_bypass",
    "downgrade",
    "downgrade_with_bypass",
    "remove_retention",
    "overwrite",
    "delete",
    "suspend_versioning",
];

fn proven() -> Value {
    let control = |name: &str| json!({"control": name, "status": 200, "code": "", "worked": true});
    let attempt = |name: &str| json!({"attack": name, "status": 403, "code": "AccessDenied", "controlled": true, "harmed": false});
    let controls = ["bypass", "delete_unlocked", "delete_version", "extend", "set_versioning"].map(control);
    json!({"store": "s3-object-lock", "verdict": "proven", "controls": controls, "attempts": ATTACKS.map(attempt)})
}

fn refused(change: impl Fn(&mut Value), words: &str) {
    let (mut city, _, _) = City::founded();
    let mut data = proven();
    change(&mut data);
    city.act(None).add("log", "log.lock_tried.v1", data);
    city.refused(words);
}

#[test]
fn a_verdict_about_a_lock_follows_from_what_was_tried() {
    let (mut city, _, _) = City::founded();
    city.act(None).add("log", "log.lock_tried.v1", proven());
    let mut yielded = proven();
    yielded["attempts"][2]["harmed"] = true.into();
    (yielded["verdict"], yielded["reason"]) = ("yielded".into(), "harmed".into());
    city.act(None).add("log", "log.lock_tried.v1", yielded);
    let untried = json!({"store": "r2-bucket-lock", "verdict": "unproven", "reason": "no_prover", "controls": [], "attempts": []});
    city.act(None).add("log", "log.lock_tried.v1", untried);
    city.clean();

    refused(|data| data["attempts"][0]["harmed"] = true.into(), "did harm");
    refused(|data| data["attempts"][0]["controlled"] = false.into(), "without all attacks and their controls");
    refused(|data| data["attempts"].as_array_mut().unwrap().truncate(9), "without all attacks and their controls");
    refused(|data| data["controls"][3]["worked"] = false.into(), "without all attacks and their controls");
    refused(|data| data["reason"] = "no_control".into(), "proven without a reason");
    refused(|data| data["verdict"] = "unproven".into(), "proven without a reason");
    refused(
        |data| (data["verdict"], data["reason"]) = ("unproven".into(), "not_locked".into()),
        "does not fit its reason",
    );
    refused(|data| data["attempts"][0]["code"] = "no, because".into(), "neither a status nor a name");
    refused(|data| data["store"] = "directory".into(), "does not fit");
}

#[test]
fn an_anchor_is_recorded_with_its_lock_or_without() {
    let (city, _, _) = City::founded();
    let anchored = |more: Value| {
        let mut data = json!({"seq": 0, "size": 3, "root": "44".repeat(32), "key": crate::anchors::key(0, 3), "sha256": "55".repeat(32),
            "store": "s3-object-lock"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let locked = json!({"version": "abc", "mode": "compliance", "retain_until": "2033-12-29T00:00:00.000000Z"});
    let mut good = city.clone();
    good.act(None).add("log", "log.anchored.v2", anchored(locked.clone()));
    good.act(None).add("log", "log.anchored.v2", anchored(locked));
    good.clean();
    let mut bare = city.clone();
    bare.act(None).add("log", "log.anchored.v2", anchored(json!({})));
    bare.clean();
    let mut half = city.clone();
    half.act(None).add("log", "log.anchored.v2", anchored(json!({"mode": "compliance"})));
    half.refused("in a mode without a date");
    let mut old = city;
    old.act(None).add("log", "log.anchored.v1", anchored(json!({"version": "abc"})));
    old.refused("does not fit");
}
