//! What an audit found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chain::Hash;
use chain::key::VerifierKey;
use chain::rotation::{Era, fingerprint};
use serde::Serialize;

use crate::heads::Audited;
use crate::locks::Locks;
use crate::quorum::Quorum;
use crate::rules::continued::Continued;
use crate::silence::Silence;
use crate::times::Times;

/// Findings beyond this many are counted, not kept: after the first ones they are mostly their consequences.
const KEPT: usize = 1000;
/// Gaps between anchors, and runs of anchors without a time, that the text names.
const NAMED: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The first position it concerns; absent when it concerns no entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// One past the last position it may concern, when it cannot be narrowed down to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Which of the checks found it.
    pub check: Check,
    pub what: String,
}

/// The checks, in the order in which a log is built up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    File,
    Checkpoint,
    Anchor,
    Tile,
    Bundle,
    Pack,
    Entry,
    Chain,
    Heads,
    Continued,
    Meaning,
}

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Checkpoint => "checkpoint",
            Self::Anchor => "anchor",
            Self::Tile => "tile",
            Self::Bundle => "bundle",
            Self::Pack => "pack",
            Self::Entry => "entry",
            Self::Chain => "chain",
            Self::Heads => "heads",
            Self::Continued => "continued",
            Self::Meaning => "meaning",
        }
    }
}

impl Finding {
    /// Something that concerns no single entry.
    pub fn general(check: Check, what: impl Into<String>) -> Self {
        Self { position: None, before: None, check, what: what.into() }
    }

    /// Something about one position.
    pub fn at(check: Check, position: u64, what: impl Into<String>) -> Self {
        Self { position: Some(position), before: None, check, what: what.into() }
    }

    /// Something about a position from `position` on and before `before`.
    pub fn within(check: Check, position: u64, before: u64, what: impl Into<String>) -> Self {
        let before = (before > position + 1).then_some(before);
        Self { position: Some(position), before, check, what: what.into() }
    }

    fn place(&self) -> String {
        match (self.position, self.before) {
            (None, _) => "the whole".to_owned(),
            (Some(position), None) => format!("position {position}"),
            (Some(position), Some(before)) => format!("positions {position} to {}", before - 1),
        }
    }
}

/// Money inside the city in one currency when the audit ended, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Total {
    pub balance: String,
    pub held: String,
    pub scale: u8,
}

/// A key that the log was signed with, as the log's own rotations tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningKey {
    /// Missing where the log only names its fingerprint, and the policy does not give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vkey: Option<String>,
    pub fingerprint: Hash,
    /// The sizes at which its signature counts: the first, and one past the last.
    pub from: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Whether the policy gives it. If not, one that it gives has signed for it.
    pub in_policy: bool,
}

impl SigningKey {
    pub fn of(era: &Era, policy: &[VerifierKey]) -> Self {
        let given = policy.iter().find(|key| fingerprint(&key.vkey()) == era.fingerprint);
        Self {
            vkey: era.key.as_ref().or(given).map(VerifierKey::vkey),
            fingerprint: era.fingerprint,
            from: era.from,
            until: era.until,
            in_policy: given.is_some(),
        }
    }

    fn words(&self) -> String {
        let name = self.vkey.clone().unwrap_or_else(|| format!("sha256 {}", self.fingerprint));
        let sizes = match self.until {
            Some(until) => format!("sizes {} to {}", self.from, until.saturating_sub(1)),
            None => format!("from size {} on", self.from),
        };
        let given = if self.in_policy { "" } else { "; not in the policy: a rotation leads to it" };
        format!("{name}, {sizes}{given}")
    }
}

/// What a log says about the one it continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Continues {
    pub origin: String,
    pub size: u64,
    pub root: String,
    pub carried: u64,
    /// Whether the policy gives a key of that log, by which its checkpoint was checked.
    pub signature_checked: bool,
    /// Whether the entries were compared with those of that log.
    pub compared: bool,
}

impl Continues {
    pub fn of(said: &Continued, signature_checked: bool) -> Self {
        let Continued { origin, size, root, carried, .. } = said;
        let (origin, root) = (origin.clone(), root.to_string());
        Self { origin, size: *size, root, carried: *carried, signature_checked, compared: false }
    }

    fn line(&self) -> String {
        let signed = if self.signature_checked { "its signature holds" } else { "the policy has no key of it" };
        let compared = if self.compared { "compared with it" } else { "not compared with it (--continues)" };
        format!("{} at size {} ({signed}); {} entries carried, {compared}", self.origin, self.size, self.carried)
    }
}

/// The outcome of an audit.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub origin: String,
    pub size: u64,
    pub root: String,
    /// The anchor whose checkpoint was taken, in a folder that has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// Where the keys came from.
    pub policy: String,
    /// Whether the policy's quorum of witnesses cosigned the checkpoint; absent when it asks for none.
    pub witnessed: Option<bool>,
    /// Checkpoints whose root was recomputed.
    pub checkpoints: u64,
    pub anchors: u64,
    /// Which anchors the quorum cosigned; absent when the policy asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    pub times: Times,
    pub silence: Silence,
    /// Absent when no entry was read: the log itself says how its anchors are locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks: Option<Locks>,
    /// How other places compare that hold the same anchors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Whether this audit continues one that is remembered, and from which size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<u64>,
    /// Entries whose bytes were checked.
    pub entries: u64,
    pub streams: u64,
    /// The log that this one continues, if it says that it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
    pub heads: Audited,
    /// Oldest first; none where the log does not name its key.
    pub signing_keys: Vec<SigningKey>,
    /// Entries whose meaning was checked: up to the first that could not be read.
    pub understood: u64,
    pub money: BTreeMap<String, Total>,
    /// What this audit did not do.
    pub not_checked: Vec<String>,
    /// What else is in the folder, and was not looked at.
    pub also_there: Vec<String>,
    /// The first position that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad_position: Option<u64>,
    pub findings: Vec<Finding>,
    /// Findings that are counted but not listed.
    pub more_findings: u64,
    pub seconds: f64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub fn add(&mut self, finding: Finding) {
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    /// Puts the findings in the order of the log and names the first bad position.
    pub fn conclude(&mut self) {
        self.findings.sort();
        let counted = self.findings.iter().filter(|finding| !self.is_explained(finding));
        self.first_bad_position = counted.filter_map(|finding| finding.position).min();
    }

    /// An anchor, and a tile above the entries, say only in which file something differs. Where the place itself was found, that is the better answer.
    fn is_explained(&self, finding: &Finding) -> bool {
        let (Some(first), Some(before)) = (finding.position, finding.before) else { return false };
        let explains = |other: &Finding| {
            let files = matches!(other.check, Check::Tile | Check::Bundle | Check::Pack | Check::Entry);
            files
                && other.before.is_none()
                && other.position.is_some_and(|position| (first..before).contains(&position))
        };
        matches!(finding.check, Check::Anchor | Check::Tile) && self.findings.iter().any(explains)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds only texts, numbers and lists")
    }

    /// The report for a person to read.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<12} {value}");
        };
        line("log", &self.origin);
        line("size", &format!("{} entries, root {}", self.size, self.root));
        if let Some(anchor) = &self.ends_at {
            let what = "the newest anchor, for no checkpoint is here; what came after it is not covered, and nothing here records it";
            line("ends at", &format!("{anchor}: {what}"));
        }
        line("keys from", &self.policy);
        let witnessed = match self.witnessed {
            None => "the policy asks for no witnesses",
            Some(true) => "cosigned by the quorum of the policy",
            Some(false) => "UNWITNESSED: the quorum of the policy did not cosign",
        };
        line("witnesses", witnessed);
        line("checkpoints", &format!("{} recomputed and compared", self.checkpoints));
        line("anchors", &format!("{} checked", self.anchors));
        if let Some(quorum) = &self.quorum {
            let Quorum { witnessed, unwitnessed, .. } = quorum;
            line("cosigned", &format!("{witnessed} anchors by the quorum, {unwitnessed} not"));
            quorum.rows.iter().take(NAMED).for_each(|row| line("UNWITNESSED", &row.to_string()));
            if let Some(more) = quorum.rows.len().checked_sub(NAMED + 1) {
                line("UNWITNESSED", &format!("and {} rows more", more as u64 + 1 + quorum.more_rows));
            }
        }
        self.times.seen.iter().for_each(|seen| line("times", &seen.to_string()));
        self.also.iter().for_each(|also| line("also", also));
        if let Some(longest) = &self.silence.longest {
            line("longest gap", &longest.to_string());
        }
        if self.silence.unanchored {
            line("SILENCE", "there is no anchor: nothing outside of the city holds what its log was");
        }
        for gap in self.silence.beyond.iter().take(NAMED) {
            line("SILENCE", &format!("more than a day without an anchor: {gap}"));
        }
        if let Some(more) = self.silence.beyond.len().checked_sub(NAMED + 1) {
            line("SILENCE", &format!("and {} more", more + 1));
        }
        if let Some(locks) = &self.locks {
            locks.lines().iter().for_each(|(name, what)| line(name, what));
        }
        line(
            "entries",
            &format!("{} checked in {} streams, {} understood", self.entries, self.streams, self.understood),
        );
        let heads = match &self.heads.newest {
            Some(newest) => {
                format!("{} roots recomputed, the newest is of size {}", self.heads.recomputed, newest.as_of)
            }
            None => "no root of theirs was recomputed: no stream can be proved alone".to_owned(),
        };
        line("heads", &heads);
        // One key that the policy gives is what everybody expects.
        for key in self.signing_keys.iter().filter(|key| self.signing_keys.len() > 1 || !key.in_policy) {
            line("signed by", &key.words());
        }
        if let Some(continues) = &self.continues {
            line("continues", &continues.line());
        }
        if let Some(size) = self.remembered {
            line("remembered", &format!("continues the audit up to {size}"));
        }
        for (currency, total) in &self.money {
            line("money", &format!("{} {currency} in treasuries, {} of it held", total.balance, total.held));
        }
        if self.times.unchecked > 0 {
            let what = format!("the time tokens of {} anchors: no roots given (--time-roots)", self.times.unchecked);
            line("not checked", &what);
        }
        for (first, last) in self.times.without.iter().take(NAMED) {
            let which = if first == last {
                format!("anchor {first} carries")
            } else {
                format!("anchors {first} to {last} carry")
            };
            line("not checked", &format!("{which} no time: only their own word says when"));
        }
        if let Some(more) = self.times.without.len().checked_sub(NAMED + 1) {
            line("not checked", &format!("nor the times of anchors in {} more rows", more + 1));
        }
        for what in &self.not_checked {
            line("not checked", what);
        }
        for what in &self.also_there {
            line("also there", what);
        }
        let rate = if self.seconds > 0.0 { format!("{:.1} s", self.seconds) } else { "no time".to_owned() };
        line("took", &rate);
        self.write_findings(&mut text);
        text
    }

    fn write_findings(&self, text: &mut String) {
        let count = self.findings.len() as u64 + self.more_findings;
        let _ = match (count, self.first_bad_position) {
            (0, _) => writeln!(text, "\nclean: nothing was found"),
            (_, Some(first)) => writeln!(text, "\n{count} findings; the first bad position is {first}"),
            (_, None) => writeln!(text, "\n{count} findings"),
        };
        for finding in &self.findings {
            let _ = writeln!(text, "  {} [{}] {}", finding.place(), finding.check.name(), finding.what);
        }
        if self.more_findings > 0 {
            let _ = writeln!(text, "  and {} more", self.more_findings);
        }
    }
}
