//! Time tokens: what somebody else's clock says about anchors, checked from their bytes and root certificates alone.

use std::collections::{BTreeMap, HashMap};

use chain::Hash;
use chain::hash::sha256;
use chain::heads::Commitment;
use serde::Serialize;
use timestamp::{Fault, GenTime, MOST_APART, Roots, Stamp};

use crate::anchors::{Anchor, Known};
use crate::report::{Check, Finding, Report};
use crate::rules::values::{FromText as _, Time};

/// What is known of when somebody else saw an anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It carries no token.
    Untold,
    /// It carries one, and nobody brought roots to check it.
    Unchecked,
    /// By whom, and when.
    At(GenTime, String),
    /// What it carries proves nothing.
    Refused,
}

/// When an authority saw this anchor (FORMAT.md section 9.5).
///
/// `stamped` is the anchor's canonical bytes without the keys `time` and `signature`, `token` the DER that the former holds.
///
/// # Errors
/// Why the token proves nothing about this anchor.
pub fn check(stamped: &[u8], token: &[u8], roots: &Roots) -> Result<Stamp, Fault> {
    timestamp::verify(token, sha256(&[stamped]).as_bytes(), roots)
}

/// Whether the time that an anchor gives itself is the one at which it was seen: one that was made later than it says is not.
///
/// # Errors
/// What to report.
pub fn agree(at: &str, seen: GenTime) -> Result<(), String> {
    match seen.seconds_from(at) {
        Some(apart) if apart <= MOST_APART => Ok(()),
        _ => Err(format!("it says it was made at {at}, and its time token that it was seen at {seen}")),
    }
}

/// When an anchor was seen, by whom.
///
/// # Errors
/// What is wrong with its token.
pub fn see(anchor: &Anchor, roots: Option<&Roots>) -> Result<Seen, String> {
    let Some(time) = &anchor.time else { return Ok(Seen::Untold) };
    let token = chain::text::from_base64(&time.token).ok_or("its time token is not base64")?;
    let Some(roots) = roots else { return Ok(Seen::Unchecked) };
    let unstamped = Anchor { time: None, signature: String::new(), ..anchor.clone() }.to_bytes()?;
    let stamp = check(&unstamped, &token, roots).map_err(|fault| format!("its time token proves nothing: {fault}"))?;
    agree(&anchor.at, stamp.gen_time)?;
    Ok(Seen::At(stamp.gen_time, stamp.authority))
}

/// What the report says about times.
#[derive(Debug, Default, Serialize)]
pub struct Times {
    /// Anchors whose token was verified, one line for each authority.
    pub seen: Vec<Line>,
    /// Anchors whose token nobody checked.
    pub unchecked: u64,
    /// First and last of those in a row that carry none.
    pub without: Vec<(u64, u64)>,
}

/// What one authority has seen.
#[derive(Debug, Serialize)]
pub struct Line {
    pub by: String,
    pub anchors: u64,
    /// Number and time of the first and the last.
    pub first: (u64, String),
    pub last: (u64, String),
}

impl Times {
    pub fn of(anchors: &[Known]) -> Self {
        let mut times = Self::default();
        for anchor in anchors {
            match &anchor.time {
                Seen::At(at, by) => times.add(anchor.seq, at.to_string(), by),
                Seen::Unchecked => times.unchecked += 1,
                Seen::Untold => match times.without.last_mut() {
                    Some((_, last)) if *last + 1 == anchor.seq => *last = anchor.seq,
                    _ => times.without.push((anchor.seq, anchor.seq)),
                },
                Seen::Refused => {}
            }
        }
        times
    }

    fn add(&mut self, seq: u64, at: String, by: &str) {
        match self.seen.iter_mut().find(|line| line.by == by) {
            Some(line) => (line.anchors, line.last) = (line.anchors + 1, (seq, at)),
            None => {
                self.seen.push(Line { by: by.to_owned(), anchors: 1, first: (seq, at.clone()), last: (seq, at) });
            }
        }
    }
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl std::fmt::Display for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { by, anchors, first, last } = self;
        write!(out, "{anchors} anchors seen by {by}: anchor {} at {}", first.0, first.1)?;
        if first.0 < last.0 { write!(out, ", and up to anchor {} at {}", last.0, last.1) } else { Ok(()) }
    }
}

/// What the entries say about when an anchor was made, and about the heads that it names.
#[derive(Default)]
pub struct Bounds {
    /// Sizes of anchors, and the time of the last entry that each covers.
    covered: BTreeMap<u64, Option<Time>>,
    /// When the log said first that an anchor was written.
    recorded: HashMap<u64, Time>,
    /// Where the log committed first to these heads.
    committed: HashMap<(u64, Hash), u64>,
}

impl Bounds {
    pub fn of(anchors: &[Known]) -> Self {
        Self { covered: anchors.iter().map(|anchor| (anchor.size, None)).collect(), ..Self::default() }
    }

    pub fn entry(&mut self, position: u64, at: Time) {
        if let Some(covered) = self.covered.get_mut(&(position + 1)) {
            *covered = Some(at);
        }
    }

    pub fn recorded(&mut self, seq: u64, at: Time) {
        self.recorded.entry(seq).or_insert(at);
    }

    pub fn committed(&mut self, position: u64, said: &Commitment) {
        self.committed.entry((said.as_of, said.root)).or_insert(position);
    }

    /// Compares with what the anchors say, as far as entries were read: up to `size`.
    pub fn check(&self, anchors: &[Known], size: u64, report: &mut Report) {
        for anchor in anchors.iter().filter(|anchor| anchor.size <= size) {
            let mut fault = |what: String| {
                let position = anchor.size.saturating_sub(1);
                report.add(Finding::at(Check::Anchor, position, format!("{}: {what}", anchor.key)));
            };
            if let Seen::At(seen, _) = &anchor.time {
                let apart = |time: &Time| signed(seen.unix_seconds()).saturating_sub(time.0.div_euclid(1_000_000));
                let slack = signed(MOST_APART);
                let covered = self.covered.get(&anchor.size).and_then(Option::as_ref).map(apart);
                if let Some(before) = covered.filter(|after| *after < -slack) {
                    fault(format!("its time token is of {seen}, {} s before an entry that it covers", -before));
                }
                let recorded = self.recorded.get(&anchor.seq).map(apart);
                if let Some(after) = recorded.filter(|after| *after > slack) {
                    fault(format!("its time token is of {seen}, {after} s after the log says that it was written"));
                }
            }
            let made = Time::from_text(&anchor.at).map(|at| at.0.div_euclid(1_000_000));
            let covered = self.covered.get(&anchor.size).and_then(Option::as_ref);
            let early = made.zip(covered).map(|(made, covered)| covered.0.div_euclid(1_000_000).saturating_sub(made));
            if let Some(early) = early.filter(|early| *early > signed(MOST_APART)) {
                fault(format!("it says it was made at {}, {early} s before an entry that it covers", anchor.at));
            }
            if let Some(heads) = anchor.heads {
                let position = self.committed.get(&(heads.as_of, heads.root));
                if position.is_none_or(|position| *position >= anchor.size) {
                    fault(format!("it names heads at size {} that the log it covers did not commit to", heads.as_of));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STAMPED: &[u8] = include_bytes!("../../timestamp/vectors/stamped.json");
    const TOKEN: &[u8] = include_bytes!("../../timestamp/vectors/accept/direct.der");

    fn roots(pem: &[u8]) -> Roots {
        Roots::from_pem(pem).unwrap()
    }

    fn root() -> Roots {
        roots(include_bytes!("../../timestamp/vectors/root.pem"))
    }

    #[test]
    fn a_token_says_when_the_anchor_was_there() {
        assert_eq!(check(STAMPED, TOKEN, &root()).unwrap().gen_time.to_string(), "2026-11-28T02:56:54.808522Z");
    }

    #[test]
    fn a_token_is_for_one_anchor_and_every_byte_of_it() {
        for index in 0..STAMPED.len() {
            let mut other = STAMPED.to_vec();
            other[index] ^= 1;
            assert_eq!(check(&other, TOKEN, &root()), Err(Fault::OtherImprint), "byte {index}");
        }
    }

    /// What the report says of an anchor of ten entries that was seen at the time of the vector, beside a last entry and a record so many
    /// seconds later.
    fn bounds(covered: i64, recorded: i64) -> Vec<String> {
        let seen = check(STAMPED, TOKEN, &root()).unwrap().gen_time;
        let time = |later: i64| Time((signed(seen.unix_seconds()) + later) * 1_000_000);
        let (root, sha256) = (sha256(&[b"root"]), sha256(&[b"anchor"]));
        let (key, at, time_of_it) = ("anchors/0".to_owned(), seen.to_string(), Seen::At(seen, "CN=x".to_owned()));
        let known = [Known {
            key,
            seq: 0,
            at,
            size: 10,
            root,
            heads: None,
            time: time_of_it,
            sha256,
            by: Vec::new(),
            witnessed: true,
            previous_version: None,
            since: 0,
        }];
        let (mut bounds, mut report) = (Bounds::of(&known), Report::default());
        bounds.entry(8, time(1_000_000));
        bounds.entry(9, time(covered));
        bounds.recorded(0, time(recorded));
        // A record that is repeated later says nothing new.
        bounds.recorded(0, time(-1_000_000));
        bounds.check(&known, 11, &mut report);
        report.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_token_is_not_from_before_what_its_anchor_covers_nor_from_after_its_record() {
        for (covered, recorded) in [(-1, 1), (300, 300), (-86_400, 86_400), (0, -300)] {
            assert_eq!(bounds(covered, recorded), Vec::<String>::new(), "{covered} {recorded}");
        }
        assert!(bounds(301, 400)[0].contains("301 s before an entry that it covers"), "{:?}", bounds(301, 400));
        assert!(
            bounds(-400, -301)[0].contains("301 s after the log says that it was written"),
            "{:?}",
            bounds(-400, -301)
        );
    }

    #[test]
    fn a_token_counts_only_under_the_roots_that_the_auditor_brings() {
        let other = roots(include_bytes!("../../timestamp/vectors/other.pem"));
        assert!(matches!(check(STAMPED, TOKEN, &other), Err(Fault::Chain { .. })));
    }

    #[test]
    fn a_token_from_before_or_after_its_certificate_says_so() {
        for (token, reason) in [
            (include_bytes!("../../timestamp/vectors/reject/certificate-expired.der").as_slice(), "CertExpired"),
            (include_bytes!("../../timestamp/vectors/reject/certificate-not-yet-valid.der"), "CertNotValidYet"),
        ] {
            let fault = check(STAMPED, token, &root()).unwrap_err().to_string();
            assert!(fault.contains(reason), "{fault}");
        }
    }

    #[test]
    fn an_anchor_that_is_dated_back_or_ahead_says_another_time_than_its_token() {
        let seen = check(STAMPED, TOKEN, &root()).unwrap().gen_time;
        for (at, agrees) in [
            ("2026-11-28T02:56:54.000000Z", true),
            ("2026-11-28T02:51:54.000000Z", true),
            ("2026-11-28T03:01:54.999999Z", true),
            ("2026-11-28T02:51:53.999999Z", false),
            ("2026-11-28T03:01:55.000000Z", false),
            // What the example itself says, which was stamped later.
            ("2026-07-04T09:10:00.000000Z", false),
            ("2026-11-28", false),
            ("1969-12-31T23:59:59.000000Z", false),
        ] {
            assert_eq!(agree(at, seen).is_ok(), agrees, "{at}");
        }
        let what = agree("2026-07-04T09:10:00.000000Z", seen).unwrap_err();
        assert!(what.contains("2026-07-04T09:10:00.000000Z") && what.contains("2026-11-28T02:56:54.808522Z"), "{what}");
    }
}
