//! How long the log was not anchored: a city that does nothing says so once a day, so a longer silence is one that has to be explained.

use serde::Serialize;

use crate::anchors::Known;
use crate::rules::values::{FromText as _, Time};

/// What may lie between two anchors of a city that was there all the time: a day, and an hour for what takes longer than usual.
const MOST_SECONDS: u64 = 25 * 60 * 60;

/// What stands at either end of a time without an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The first entry that is this log's own.
    FirstEntry,
    /// The anchor of this number.
    Anchor(u64),
    LastEntry,
}

/// A time without an anchor, by the word of anchors and entries: an authority's is at most some minutes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub seconds: u64,
    pub from: (Mark, String),
    pub to: (Mark, String),
}

#[derive(Debug, Default, Serialize)]
pub struct Silence {
    pub longest: Option<Gap>,
    /// Those of more than a day and an hour, in their order.
    pub beyond: Vec<Gap>,
    /// There is no anchor at all.
    pub unanchored: bool,
}

impl Silence {
    /// Between anchors; and, where entries were read, from the first of them on and up to the last.
    pub fn of(anchors: &[Known], entries: Option<(Time, Time)>) -> Self {
        let times = anchors.iter().filter_map(|known| Some((Mark::Anchor(known.seq), Time::from_text(&known.at)?)));
        let mut marks: Vec<(Mark, Time)> = times.collect();
        if let Some((first, last)) = entries {
            marks.insert(0, (Mark::FirstEntry, first));
            marks.push((Mark::LastEntry, last));
        }
        let mut silence = Self { unanchored: anchors.is_empty(), ..Self::default() };
        for gap in marks.windows(2).filter_map(|pair| Gap::between(pair[0], pair[1])) {
            if gap.seconds > MOST_SECONDS {
                silence.beyond.push(gap.clone());
            }
            if silence.longest.as_ref().is_none_or(|longest| longest.seconds < gap.seconds) {
                silence.longest = Some(gap);
            }
        }
        silence
    }
}

impl Gap {
    fn between(from: (Mark, Time), to: (Mark, Time)) -> Option<Self> {
        let seconds = |time: Time| time.0.div_euclid(1_000_000);
        // Anchors that go back were found when the chain was checked; an entry may well be older than the newest anchor.
        let seconds = u64::try_from(seconds(to.1).saturating_sub(seconds(from.1))).ok()?;
        Some(Self { seconds, from: (from.0, from.1.to_string()), to: (to.0, to.1.to_string()) })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FirstEntry => out.write_str("the first entry"),
            Self::Anchor(seq) => write!(out, "anchor {seq}"),
            Self::LastEntry => out.write_str("the last entry"),
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hours, minutes, seconds) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let Self { from, to, .. } = self;
        write!(out, "{hours} h {minutes} min {seconds} s between {} ({}) and {} ({})", from.0, from.1, to.0, to.1)
    }
}
