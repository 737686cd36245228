//! What anchors say, how far apart anchors are, and the same anchors in two places. Time tokens are attacked where there is an authority.

use chain::heads::Commitment;

use super::{SIZES, audit, found, in_folder, log};
use crate::anchors::{self, Anchor, Time};
use crate::report::Report;
use crate::testkit::{City, ORIGIN, Published, log_key, sign};
use crate::verify;

/// A log that commits to its heads, anchored before and after.
fn committed(heads: impl Fn(&Anchor, Commitment) -> Option<Commitment>) -> Published {
    let (mut city, _, _) = City::founded();
    let before = city.records.len() as u64;
    let said = Commitment { as_of: before, root: city.heads().root() };
    city.commit_heads();
    let mut published = Published::of(&city.records, &[before, before + 1]);
    published.rechain(|anchor| anchor.heads = heads(anchor, said));
    published
}

#[test]
fn heads_that_the_log_did_not_commit_to_are_found_in_an_anchor() {
    let honest = committed(|anchor, said| (anchor.seq == 1).then_some(said));
    let report = audit(&honest);
    assert!(report.is_clean(), "{}", report.to_text());
    let words = "it names heads at size";
    let other = committed(|anchor, said| {
        (anchor.seq == 1).then_some(Commitment { root: chain::hash::sha256(&[b"other"]), ..said })
    });
    assert!(audit(&other).findings.iter().any(|finding| finding.what.contains(words)), "{}", audit(&other).to_text());
    // The log says it, but only behind what this anchor covers.
    let early = committed(|anchor, said| (anchor.seq == 0).then_some(said));
    assert!(audit(&early).findings.iter().any(|finding| finding.what.contains(words)), "{}", audit(&early).to_text());
}

#[test]
fn an_anchor_of_another_format_or_one_that_is_not_signed_is_none() {
    let key = anchors::key(1, 256);
    let said = |change: &dyn Fn(&mut Anchor), words: &str| {
        let mut published = Published::of(&log().records, &SIZES);
        let mut anchor: Anchor = serde_json::from_slice(&published.files[&key]).unwrap();
        change(&mut anchor);
        published.put(&key, anchor.to_bytes().unwrap());
        found(&published, &format!("{key}: {words}"), Some(10));
    };
    said(&|anchor| anchor.v = 2, "anchor format 2 is unknown");
    said(&|anchor| anchor.v = 4, "anchor format 4 is unknown");
    said(&|anchor| anchor.signature.clear(), "it is not signed");
    said(&|anchor| anchor.signature = "no line".to_owned(), "a note ends with a newline");
    let failed = format!("its signature: the signature of {ORIGIN} does not verify");
    said(&|anchor| anchor.at = "2026-07-04T09:10:00.000001Z".to_owned(), &failed);
    said(&|anchor| anchor.software = "another".to_owned(), &failed);
    said(&|anchor| drop(anchor.files.pop_first()), &failed);
    said(&|anchor| anchor.previous = None, &failed);
    said(&|anchor| anchor.heads = Some(Commitment { as_of: 1, root: chain::Hash::ZERO }), &failed);
    said(&|anchor| anchor.time = Some(Time { token: "AA==".to_owned() }), &failed);
    said(&|anchor| sign(anchor, &[9]), "only its checkpoint is signed, which anybody can copy");
    let of_nobody = |anchor: &mut Anchor| {
        let text = anchor.checkpoint[..=anchor.checkpoint.find("\n\n").unwrap()].to_owned();
        anchor.checkpoint = format!("{text}\n{}", log_key(9).sign(&text));
        sign(anchor, &[7]);
    };
    said(&of_nobody, "the key that signed it did not sign its checkpoint");
    // Null is another spelling of what is not there.
    let mut published = Published::of(&log().records, &SIZES);
    let text = String::from_utf8(published.files[&key].clone()).unwrap();
    published.put(&key, text.replace("\"v\":3", "\"time\":null,\"v\":3").into_bytes());
    found(&published, &format!("{key}: it has a key without a value"), Some(10));
}

/// Audits the first, with the second as the other place.
fn beside(own: &Published, other: &Published) -> Report {
    let (dir, also) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    own.write(dir.path());
    other.write(also.path());
    let mut options = in_folder(dir.path());
    options.also.push(also.path().to_owned());
    verify(&options, &|_, _| ()).unwrap()
}

#[test]
fn two_places_with_different_anchors_are_two_histories_and_one_with_more_is_named() {
    let city = log();
    let all = Published::of(&city.records, &SIZES);
    let same = beside(&all, &all);
    assert!(same.is_clean() && same.also[0].contains("has the same anchors up to 3"), "{}", same.to_text());

    // The end of the chain kept back in one of the two places.
    let mut fewer = Published::of(&city.records, &SIZES);
    fewer.files.remove(&anchors::key(3, 700)).unwrap();
    let more = beside(&fewer, &all);
    assert!(more.is_clean(), "{}", more.to_text());
    assert!(more.also[0].contains("has MORE: anchors up to 3, the audited folder anchors up to 2"), "{:?}", more.also);
    let less = beside(&all, &fewer);
    assert!(less.is_clean() && less.also[0].contains("has less"), "{:?}", less.also);

    // Kept back because it is of another history: the other place's root is compared as well.
    let mut forked = city.clone();
    forked.records.truncate(650);
    let fork = Published::of(&forked.records, &[10, 256, 300, 650]);
    let mut other_history = city.clone().records;
    other_history.swap(400, 401);
    let mut lying = Published::of(&other_history, &SIZES);
    lying.files.retain(|path, _| path.starts_with("anchors/"));
    let report = beside(&fewer, &lying);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.what.contains("the root at size 700 is") && finding.what.contains("in /")),
        "{}",
        report.to_text()
    );

    // Other anchors of the same numbers.
    let report = beside(&all, &fork);
    let words = "there are two histories";
    assert!(report.findings.iter().any(|finding| finding.what.contains(words)), "{}", report.to_text());
    // What is wrong in the other place is a finding of its own.
    let mut gap = Published::of(&city.records, &SIZES);
    gap.files.remove(&anchors::key(1, 256)).unwrap();
    let report = beside(&all, &gap);
    assert!(report.findings.iter().any(|finding| finding.what.contains("anchor 1 is missing")), "{}", report.to_text());

    let dir = tempfile::tempdir().unwrap();
    all.write(dir.path());
    let mut options = in_folder(dir.path());
    options.also.push(dir.path().join("nowhere"));
    assert!(verify(&options, &|_, _| ()).unwrap_err().to_string().contains("there is no folder"));
}
