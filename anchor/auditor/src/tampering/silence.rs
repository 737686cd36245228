//! How long nothing was anchored: between anchors, before the first and after the last.

use super::{SIZES, audit, found, log};
use crate::report::Report;
use crate::silence::Mark;
use crate::testkit::{City, Published, at};

const HOUR: u64 = 3600;

fn anchored_at(seconds: [u64; 4]) -> Report {
    let mut published = Published::of(&log().records, &SIZES);
    published.rechain(|anchor| anchor.at = at(seconds[usize::try_from(anchor.seq).unwrap()]));
    audit(&published)
}

#[test]
fn silence_is_measured_and_named() {
    let start = 1000;
    let daily = anchored_at([start, start + 60, start + 60 + 25 * HOUR, start + 50 * HOUR]);
    assert!(daily.is_clean() && daily.silence.beyond.is_empty(), "{}", daily.to_text());
    let longest = daily.silence.longest.unwrap();
    assert_eq!((longest.seconds, longest.from.0, longest.to.0), (25 * HOUR, Mark::Anchor(1), Mark::Anchor(2)));

    let silent = anchored_at([start, start + 60, start + 61 + 25 * HOUR, start + 300 * HOUR]);
    assert!(silent.is_clean(), "to have been away is no fault: {}", silent.to_text());
    let beyond: Vec<_> = silent.silence.beyond.iter().map(|gap| (gap.from.0, gap.to.0)).collect();
    assert_eq!(beyond, [(Mark::Anchor(1), Mark::Anchor(2)), (Mark::Anchor(2), Mark::Anchor(3))]);
    let text = silent.to_text();
    assert!(text.contains("SILENCE") && text.contains("25 h 0 min 1 s between anchor 1 ("), "{text}");
    assert!(text.contains("longest gap  274 h") && text.contains("anchors 0 to 3 carry no time"), "{text}");
}

/// A log that stood still for 40 hours, grew, and for 30 hours, and grew again; anchored so many seconds after the first time.
fn slow(later: i64) -> Published {
    let (mut city, citizen, guild) = City::founded();
    let treasury = guild.replace("gld", "try");
    city.second += 40 * HOUR;
    city.deposit(&citizen, &treasury, "1.00", 1);
    let (size, second) = (city.records.len() as u64, city.second);
    city.second += 30 * HOUR;
    city.deposit(&citizen, &treasury, "1.00", 2);
    let mut published = Published::of(&city.records, &[size]);
    published.lay(&city.records, size + 1);
    published.rechain(|anchor| anchor.at = at(second.checked_add_signed(later).unwrap()));
    published
}

#[test]
fn silence_at_either_end_is_measured_as_well() {
    let report = audit(&slow(60));
    assert!(report.is_clean(), "{}", report.to_text());
    let beyond: Vec<_> = report.silence.beyond.iter().map(|gap| (gap.from.0, gap.to.0)).collect();
    assert_eq!(beyond, [(Mark::FirstEntry, Mark::Anchor(0)), (Mark::Anchor(0), Mark::LastEntry)]);
    let text = report.to_text();
    assert!(text.contains("29 h 59 min 1 s between anchor 0 (") && text.contains(") and the last entry ("), "{text}");

    let mut bare = slow(60);
    bare.files.retain(|path, _| !path.starts_with("anchors/"));
    let report = audit(&bare);
    assert!(report.is_clean() && report.silence.unanchored, "{}", report.to_text());
    let text = report.to_text();
    assert!(text.contains("SILENCE      there is no anchor") && text.contains("between the first entry ("), "{text}");
    let young = audit(&Published::of(&log().records, &SIZES));
    assert!(!young.silence.unanchored && !young.to_text().contains("there is no anchor"));
}

#[test]
fn an_anchor_is_not_from_before_what_it_covers() {
    for later in [0, -300] {
        let report = audit(&slow(later));
        assert!(report.is_clean(), "{later}: {}", report.to_text());
    }
    found(&slow(-301), "301 s before an entry that it covers", Some(9));
}
