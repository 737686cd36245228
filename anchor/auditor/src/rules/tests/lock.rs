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

/// Whether this is on record without a complaint.
fn holds(data: Value) -> bool {
    let (mut city, _, _) = City::founded();
    city.act(None).add("log", "log.lock_tried.v1", data);
    city.judge().is_empty()
}

fn said(mut data: Value, verdict: &str, reason: Option<&str>) -> Value {
    data["verdict"] = verdict.into();
    let fields = data.as_object_mut().unwrap();
    fields.remove("reason");
    fields.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    data
}

fn on_keys() -> Value {
    json!({"store": "r2-bucket-lock", "verdict": "proven",
        "controls": [{"control": "overwrite", "status": 200, "code": "", "worked": true},
            {"control": "delete_unlocked", "status": 204, "code": "", "worked": true}],
        "attempts": [{"attack": "overwrite", "status": 403, "code": "ObjectLockedByBucketPolicy", "controlled": true, "harmed": false},
            {"attack": "delete", "status": 403, "code": "ObjectLockedByBucketPolicy", "controlled": true, "harmed": false}]})
}

/// Of all verdicts with all reasons, those that hold for what was tried.
fn verdicts(data: &Value) -> Vec<String> {
    let reasons = ["harmed", "not_locked", "left_suspended", "no_prover", "no_canary", "no_control", "no_answer"];
    let mut held = Vec::new();
    for verdict in ["proven", "yielded", "unproven"] {
        for reason in [None].into_iter().chain(reasons.map(Some)) {
            if holds(said(data.clone(), verdict, reason)) {
                held.push(format!("{verdict} {}", reason.unwrap_or_default()));
            }
        }
    }
    held
}

#[test]
fn the_verdict_about_a_lock_is_the_one_that_follows_from_what_was_tried() {
    let changed = |change: fn(&mut Value)| {
        let mut data = proven();
        change(&mut data);
        verdicts(&data)
    };
    let bare = |store: &str| json!({"store": store, "verdict": "", "controls": [], "attempts": []});
    // What the record cannot show: a look that was not answered, versioning that stayed off.
    let held = ["proven ", "yielded left_suspended", "unproven no_answer"];
    assert_eq!(changed(|_| ()), held);
    assert_eq!(verdicts(&on_keys()), ["proven ", "unproven no_answer"]);
    assert_eq!(verdicts(&bare("r2-bucket-lock")), ["unproven no_prover", "unproven no_answer"]);
    assert_eq!(verdicts(&bare("s3-object-lock")), ["unproven no_prover", "unproven no_answer"]);
    // No canary was taken, or not as asked.
    let mut early = proven();
    early["controls"].as_array_mut().unwrap().truncate(3);
    early["attempts"] = json!([]);
    assert_eq!(verdicts(&early), ["yielded not_locked", "unproven no_canary", "unproven no_answer"]);
    // An attack did harm: the run goes on with another canary, or ends there.
    let harm = |data: &mut Value| data["attempts"][2]["harmed"] = true.into();
    assert_eq!(
        changed(|data| data["attempts"][2]["harmed"] = true.into()),
        ["yielded harmed", "yielded left_suspended"]
    );
    let mut ended = proven();
    harm(&mut ended);
    ended["attempts"].as_array_mut().unwrap().truncate(3);
    assert_eq!(verdicts(&ended), ["yielded harmed"]);
    // A control did not work, so that what it controls proves nothing.
    let uncontrolled = changed(|data| {
        (data["controls"][3]["worked"], data["controls"][3]["status"]) = (false.into(), 403.into());
        (2..7).for_each(|attack| data["attempts"][attack]["controlled"] = false.into());
    });
    assert_eq!(uncontrolled, ["yielded left_suspended", "unproven no_control"]);
    // An attack was not answered, or is to be tried again.
    for status in [0, 302, 408, 429, 503] {
        let mut data = proven();
        data["attempts"][4]["status"] = status.into();
        assert_eq!(verdicts(&data), ["yielded left_suspended", "unproven no_answer"], "{status}");
    }
    // Nothing unlocked could be put.
    let mut cut = proven();
    cut["controls"].as_array_mut().unwrap().remove(1);
    (cut["controls"][1]["worked"], cut["controls"][1]["status"]) = (false.into(), 403.into());
    (0..2).for_each(|attack| cut["attempts"][attack]["controlled"] = false.into());
    cut["attempts"][8]["controlled"] = false.into();
    assert_eq!(verdicts(&cut), ["yielded left_suspended", "unproven no_control"]);
    // Where there are no versions, one that was done made no marker: without its control it is only a word.
    let mut word = on_keys();
    (word["controls"][1]["worked"], word["attempts"][1]["status"]) = (false.into(), 204.into());
    assert!(verdicts(&word).is_empty());
    word["attempts"][1]["controlled"] = false.into();
    assert_eq!(verdicts(&word), ["unproven no_control"]);
    // Over versions, a plain delete that was done and did no harm needs no control.
    (cut["attempts"][8]["controlled"], cut["attempts"][8]["status"]) = (true.into(), 204.into());
    assert_eq!(verdicts(&cut), ["yielded left_suspended", "unproven no_control"]);
}

#[test]
fn a_verdict_about_a_lock_that_was_made_up_is_found() {
    let all = |data: &mut Value, list: &str, field: &str, value: Value| {
        data[list].as_array_mut().unwrap().iter_mut().for_each(|tried| tried[field] = value.clone());
    };
    // Nobody answered anything, and yet it was proven.
    refused(|data| all(data, "attempts", "status", 0.into()), "does not follow");
    refused(|data| all(data, "controls", "status", 0.into()), "not answered so");
    refused(|data| all(data, "controls", "status", 403.into()), "not answered so");
    refused(|data| all(data, "attempts", "status", 204.into()), "others than are tried");
    refused(|data| *data = said(data.take(), "unproven", Some("no_control")), "does not follow");
    refused(|data| *data = said(data.take(), "unproven", Some("no_prover")), "does not follow");
    refused(|data| *data = said(data.take(), "yielded", Some("harmed")), "does not follow");
    refused(|data| data["attempts"][0]["harmed"] = true.into(), "does not follow");
    refused(|data| data["attempts"][0]["controlled"] = false.into(), "is not controlled by what it says");
    refused(|data| data["controls"][3]["worked"] = false.into(), "is not controlled by what it says");
    refused(|data| data["controls"][1]["worked"] = false.into(), "not answered so");
    refused(|data| data["attempts"].as_array_mut().unwrap().truncate(9), "end early");
    refused(|data| data["attempts"].as_array_mut().unwrap().swap(0, 1), "end early");
    refused(|data| data["controls"].as_array_mut().unwrap().truncate(4), "the controls of a lock are others");
    refused(|data| data["controls"] = json!([]), "the controls of a lock are others");
    refused(|data| data["attempts"][0]["code"] = "no, because".into(), "neither a status nor a name");
    refused(|data| data["store"] = "directory".into(), "does not fit");
    refused(|data| data["store"] = "r2-bucket-lock".into(), "others than are tried");
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
