//! What the log records about locks, in the report: the last verdict, every yield, and anchors that are locked weakly or not for long.

use serde_json::{Value, json};

use super::{audit, found};
use crate::anchors;
use crate::report::Report;
use crate::testkit::{City, Published, at};
use crate::{Options, verify};

/// An attempt on the rules of a bucket: the answers to overwriting and deleting, and whether they did harm.
fn tried(verdict: &str, reason: Option<&str>, harmed: bool) -> Value {
    let control = |name: &str| json!({"control": name, "status": 200, "code": "", "worked": true});
    let attempt = |name: &str| {
        let status = if harmed { 204 } else { 403 };
        json!({"attack": name, "status": status, "code": "", "controlled": true, "harmed": harmed})
    };
    let (controls, attempts) = (["overwrite", "delete_unlocked"].map(control), ["overwrite", "delete"].map(attempt));
    let mut data = json!({"store": "r2-bucket-lock", "verdict": verdict, "controls": controls, "attempts": attempts});
    if let Some(reason) = reason {
        data["reason"] = reason.into();
    }
    data
}

#[test]
fn the_last_verdict_about_the_lock_and_every_yield_are_named() {
    let (mut city, _, _) = City::founded();
    let position = city.records.len() as u64;
    let quiet = audit(&Published::of(&city.records, &[position]));
    assert!(quiet.to_text().contains("lock         no attempt on the lock"), "{}", quiet.to_text());
    city.act(None).add("log", "log.lock_tried.v1", tried("proven", None, false));
    city.act(None).add("log", "log.lock_tried.v1", tried("yielded", Some("harmed"), true));
    let yielded = city.now();
    city.act(None).add("log", "log.lock_tried.v1", tried("unproven", Some("no_answer"), false));
    let report = audit(&Published::of(&city.records, &[position + 3]));
    assert!(report.is_clean(), "{}", report.to_text());
    let text = report.to_text();
    let last =
        format!("lock         r2-bucket-lock: unproven at {}, position {} (no_answer)", city.now(), position + 2);
    assert!(text.contains(&last) && text.contains("3 attempts on record, 1 of them proved it"), "{text}");
    let line = format!(
        "YIELDED      r2-bucket-lock: yielded at {yielded}, position {} (harmed) by overwrite, delete",
        position + 1
    );
    assert!(text.contains(&line), "{text}");
    let locks = report.locks.as_ref().unwrap();
    assert_eq!((locks.yields, locks.yielded[0].position), (1, position + 1));
    assert!(report.to_json().contains("\"verdict\": \"unproven\""), "{}", report.to_json());
}

/// A log with one anchor on record, locked like this, and another anchor that says how the store calls the first.
fn locked(lock: Value, named: Option<&str>) -> (Published, u64) {
    let (mut city, _, _) = City::founded();
    let size = city.records.len() as u64;
    let key = anchors::key(0, size);
    let bytes = Published::of(&city.records, &[size]).files[&key].clone();
    let anchor: anchors::Anchor = serde_json::from_slice(&bytes).unwrap();
    let text = &anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()];
    let root = chain::checkpoint::Checkpoint::parse_text(text).unwrap().root;
    let mut data = json!({"seq": 0, "size": size, "root": root, "key": key, "sha256": chain::hash::sha256(&[&bytes]), "store": "s3-object-lock"});
    data.as_object_mut().unwrap().extend(lock.as_object().unwrap().clone());
    city.act(None).add("log", "log.anchored.v2", data);
    let mut published = Published::of(&city.records, &[size, size + 1]);
    published.rechain(|anchor| {
        if let (1, Some(named), Some(previous)) = (anchor.seq, named, &mut anchor.previous) {
            previous.version = Some(named.to_owned());
        }
    });
    (published, size)
}

fn lines(lock: Value) -> (Report, String) {
    let report = audit(&locked(lock, None).0);
    assert!(report.is_clean(), "{}", report.to_text());
    let text = report.to_text();
    (report, text)
}

#[test]
fn anchors_that_are_locked_weakly_or_not_for_long_are_named() {
    let good = json!({"version": "a", "mode": "compliance", "retain_until": "2030-12-29T00:00:00.000000Z"});
    let (report, text) = lines(good);
    let locks = report.locks.unwrap();
    assert_eq!((locks.compliance, locks.governance, locks.short), (1, 0, 0));
    let locked = "locked       1 of 1 anchors in locked storage, by what the log has on record: 1 in compliance, 0 in governance";
    assert!(text.contains(locked), "{text}");
    assert!(
        text.contains("the shortest lock is that of anchor 0: until 2030-12-29T00:00:00.000000Z, 2601 days"),
        "{text}"
    );
    assert!(!text.contains("SHORT LOCK") && !text.contains("WEAK LOCK"), "{text}");

    // Kept for a second, in a mode that somebody can take off. The anchor was recorded in the sixth second.
    let (report, text) = lines(json!({"version": "a", "mode": "governance", "retain_until": at(6)}));
    let locks = report.locks.unwrap();
    assert_eq!((locks.compliance, locks.governance, locks.short), (0, 1, 1));
    assert!(text.contains("WEAK LOCK    anchors 0 to 0 are locked in governance"), "{text}");
    assert!(text.contains("SHORT LOCK   1 anchors for less than 7 years"), "{text}");
    assert!(text.contains("0 days and 1 s after its record"), "{text}");
}

#[test]
fn that_no_anchor_is_locked_is_said() {
    let (report, text) = lines(json!({}));
    let locks = report.locks.as_ref().unwrap();
    assert_eq!((locks.unlocked, locks.locked), (1, 0));
    assert!(text.contains("locked       0 of 1 anchors in locked storage"), "{text}");
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["locks"]["locked"], &json["locks"]["on_record"]), (&json!(0), &json!(1)));
    // Nothing on record at all, and nothing read of what is on record.
    let (city, _, _) = City::founded();
    let published = Published::of(&city.records, &[city.records.len() as u64]);
    assert!(audit(&published).to_text().contains("locked       0 of 0 anchors in locked storage"));
    let dir = tempfile::tempdir().unwrap();
    published.write(dir.path());
    let options = Options { tree_only: true, ..super::in_folder(dir.path()) };
    let text = verify(&options, &|_, _| ()).unwrap().to_text();
    assert!(!text.contains("in locked storage") && text.contains("not checked  how the anchors are locked"), "{text}");
}

#[test]
fn an_anchor_and_the_record_name_the_same_version_of_the_anchor_before() {
    let lock = json!({"version": "Kq3.x", "mode": "compliance", "retain_until": "2030-12-29T00:00:00.000000Z"});
    for named in [None, Some("Kq3.x")] {
        let report = audit(&locked(lock.clone(), named).0);
        assert!(report.is_clean(), "{named:?}: {}", report.to_text());
    }
    let (published, position) = locked(lock, Some("other"));
    found(
        &published,
        "it names the version \"other\" of the anchor before it, and the log says \"Kq3.x\"",
        Some(position),
    );
}
