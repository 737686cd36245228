//! What the log itself can say that is not so, with its own key and every hash made to fit.

use chain::entry::Entry;
use chain::hash::sha256;
use chain::note::SigningKey;
use serde_json::{Value, json};

use super::{audit, found, log, relink};
use crate::anchors;
use crate::testkit::{City, ORIGIN, Published, at, sign};

/// What the log says when this anchor was written.
fn anchored(published: &Published, seq: u64, size: u64) -> Value {
    let key = anchors::key(seq, size);
    let bytes = &published.files[&key];
    let anchor: anchors::Anchor = serde_json::from_slice(bytes).unwrap();
    let note = chain::note::Note::parse(&anchor.checkpoint).unwrap();
    let root = chain::checkpoint::Checkpoint::parse_text(&note.text).unwrap().root;
    json!({"seq": seq, "size": size, "root": root, "key": key, "sha256": sha256(&[bytes]), "store": "directory"})
}

/// A log of two anchors on record, each changed by `change` before it is, and where the records stand.
pub(super) fn recorded(change: impl Fn(u64, &mut Value)) -> (Published, [u64; 2]) {
    let (mut city, _, _) = City::founded();
    let mut sizes = Vec::new();
    let mut places = [0; 2];
    for seq in 0..2 {
        sizes.push(city.records.len() as u64);
        let size = sizes[sizes.len() - 1];
        let mut data = anchored(&Published::of(&city.records, &sizes), seq, size);
        change(seq, &mut data);
        places[usize::try_from(seq).unwrap()] = size;
        city.act(None).add("log", "log.anchored.v1", data);
    }
    sizes.push(city.records.len() as u64);
    (Published::of(&city.records, &sizes), places)
}

#[test]
fn every_anchor_on_record_must_be_there_as_it_is_recorded() {
    let (honest, _) = recorded(|_, _| ());
    let report = audit(&honest);
    assert!(report.is_clean(), "{}", report.to_text());
    for which in 0..2 {
        let lying = |name: &'static str, value: Value| {
            recorded(move |seq, data| {
                if seq == which {
                    data[name] = value.clone();
                }
            })
        };
        let (published, places) = lying("root", json!("44".repeat(32)));
        found(&published, "the log says its root is 4444", Some(places[usize::try_from(which).unwrap()]));
        let (published, places) = lying("sha256", json!("55".repeat(32)));
        found(&published, "it is another file", Some(places[usize::try_from(which).unwrap()]));
    }
}

#[test]
fn an_anchor_that_the_log_speaks_of_and_nobody_has_is_found() {
    let (mut published, places) = recorded(|_, _| ());
    published.files.retain(|path, _| !path.starts_with("anchors/"));
    found(&published, "it is not there", Some(places[0]));
}

/// The log with a cause given to the entry at 400.
fn caused_by(cause: u64) -> Published {
    let mut records = log().records;
    let mut entry = Entry::parse(&records[400].bytes).unwrap();
    entry.cause = Some(cause);
    records[400].bytes = entry.to_bytes().unwrap();
    relink(&mut records);
    Published::of(&records, &[700])
}

#[test]
fn a_cause_comes_before_what_it_causes() {
    assert!(audit(&caused_by(399)).is_clean());
    found(&caused_by(400), "its cause 400 does not come before it", Some(400));
    found(&caused_by(650), "its cause 650 does not come before it", Some(400));
}

#[test]
fn the_signing_key_that_the_log_names_is_one_of_the_policy() {
    let named = |seed: u8| {
        let (mut city, _, _) = City::founded();
        let key = sha256(&[SigningKey::from_seed(ORIGIN, [seed; 32]).vkey().as_bytes()]);
        let data = json!({"pepper": "44".repeat(32), "master_key": "66".repeat(32), "signing_key": key});
        let position = city.records.len() as u64;
        city.act(None).add("log", "log.secrets_named.v1", data);
        (Published::of(&city.records, &[position + 1]), position)
    };
    let (honest, _) = named(7);
    assert!(audit(&honest).is_clean(), "{}", audit(&honest).to_text());
    let (lying, position) = named(8);
    found(&lying, "none that the policy gives", Some(position));
}

#[test]
fn a_back_dated_anchor_is_found() {
    let mut published = Published::of(&log().records, &[300, 700]);
    let key = anchors::key(1, 700);
    let mut anchor: anchors::Anchor = serde_json::from_slice(&published.files[&key]).unwrap();
    anchor.at = at(99_999);
    sign(&mut anchor, &[7]);
    published.put(&key, anchor.to_bytes().unwrap());
    found(&published, "before the one before it", Some(300));
}
