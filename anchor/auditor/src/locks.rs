//! What the log itself records about locks: attempts on that of the anchors' store, and how each anchor was locked.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::rules::infrastructure::{AnchoredData, Mode};
use crate::rules::lock::{Attack, Reason, Store, Verdict};
use crate::rules::values::Time;

/// Yields, and rows of weakly locked anchors, that are kept by name.
const KEPT: usize = 100;
/// An anchor is meant to outlive this many years of the calendar.
const YEARS: i64 = 7;

/// The part of the report.
#[derive(Debug, Default, Serialize)]
pub struct Locks {
    /// Attempts on the lock that are on record, and those of them that proved it.
    pub tried: u64,
    pub proven: u64,
    pub last: Option<Attempted>,
    /// How often the store yielded, and the first of these.
    pub yields: u64,
    pub yielded: Vec<Attempted>,
    /// Anchors on record, and those of them that are in locked storage.
    pub on_record: u64,
    pub locked: u64,
    /// Anchors on record that say no lock, one of compliance, one of governance.
    pub unlocked: u64,
    pub compliance: u64,
    pub governance: u64,
    /// The lock that ends first, counted from its record.
    pub shortest: Option<Locked>,
    /// Those that end before seven years of the calendar have passed from their record.
    pub short: u64,
    /// First and last of those in a row that only governance locks.
    pub governed: Vec<(u64, u64)>,
}

/// One attempt on the lock.
#[derive(Debug, Clone, Serialize)]
pub struct Attempted {
    pub position: u64,
    #[serde(serialize_with = "in_words")]
    pub at: Time,
    pub store: Store,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What did harm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub harm: Vec<Attack>,
}

/// How long an anchor is locked.
#[derive(Debug, Clone, Serialize)]
pub struct Locked {
    pub seq: u64,
    pub seconds: i64,
    #[serde(serialize_with = "in_words")]
    pub until: Time,
}

impl Locks {
    pub fn tried(&mut self, attempted: Attempted) {
        self.tried += 1;
        self.proven += u64::from(attempted.verdict == Verdict::Proven);
        if attempted.verdict == Verdict::Yielded {
            self.yields += 1;
            if self.yielded.len() < KEPT {
                self.yielded.push(attempted.clone());
            }
        }
        self.last = Some(attempted);
    }

    /// An anchor was put on record at this time.
    pub fn anchored(&mut self, data: &AnchoredData, at: Time) {
        self.on_record += 1;
        let (Some(mode), Some(until)) = (data.mode, data.retain_until) else {
            self.unlocked += 1;
            return;
        };
        self.locked += 1;
        match mode {
            Mode::Compliance => self.compliance += 1,
            Mode::Governance => {
                self.governance += 1;
                let rows = self.governed.len();
                match self.governed.last_mut() {
                    Some((_, last)) if *last + 1 == data.seq => *last = data.seq,
                    _ if rows < KEPT => self.governed.push((data.seq, data.seq)),
                    _ => {}
                }
            }
        }
        self.short += u64::from(until < at.years_later(YEARS));
        let seconds = until.0.saturating_sub(at.0).div_euclid(1_000_000);
        if self.shortest.as_ref().is_none_or(|shortest| seconds < shortest.seconds) {
            self.shortest = Some(Locked { seq: data.seq, seconds, until });
        }
    }

    /// Name and text of each line.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        lines.push(match &self.last {
            None => ("lock", "no attempt on the lock of the anchors' store is on record".to_owned()),
            Some(last) => {
                let Self { tried, proven, .. } = self;
                ("lock", format!("{last}; {tried} attempts on record, {proven} of them proved it"))
            }
        });
        lines.extend(self.yielded.iter().map(|yielded| ("YIELDED", yielded.to_string())));
        if let Some(more) = self.yields.checked_sub(KEPT as u64).filter(|more| *more > 0) {
            lines.push(("YIELDED", format!("and {more} more")));
        }
        lines.push(("locked", self.locked_line()));
        if let Some(shortest) = self.shortest.as_ref().filter(|_| self.short > 0) {
            lines.push((
                "SHORT LOCK",
                format!("{} anchors for less than {YEARS} years; the shortest is {shortest}", self.short),
            ));
        }
        for (first, last) in &self.governed {
            let what = "locked in governance, which whoever has the permission takes off";
            lines.push(("WEAK LOCK", format!("anchors {first} to {last} are {what}")));
        }
        lines
    }

    /// Said also where nothing is locked: a reader who misses the line would not miss the lock.
    fn locked_line(&self) -> String {
        let Self { on_record, locked, compliance, governance, .. } = self;
        let line = format!("{locked} of {on_record} anchors in locked storage, by what the log has on record");
        match &self.shortest {
            Some(shortest) => {
                format!(
                    "{line}: {compliance} in compliance, {governance} in governance; the shortest lock is {shortest}"
                )
            }
            None => line,
        }
    }
}

impl fmt::Display for Attempted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, at, store, verdict, .. } = self;
        write!(out, "{}: {} at {at}, position {position}", word(store), word(verdict))?;
        if let Some(reason) = &self.reason {
            write!(out, " ({})", word(reason))?;
        }
        match self.harm.split_first() {
            None => Ok(()),
            Some((first, more)) => {
                write!(out, " by {}", word(first))?;
                more.iter().try_for_each(|attack| write!(out, ", {}", word(attack)))
            }
        }
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, seconds, until } = self;
        write!(
            out,
            "that of anchor {seq}: until {until}, {} days and {} s after its record",
            seconds / 86_400,
            seconds % 86_400
        )
    }
}

/// The word that the log uses.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn in_words<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
