//! How long the log was not anchored: a city that does nothing says so once a day, so a longer silence is one that has to be explained.

use serde::Serialize;

use crate::anchors::Known;
use crate::rules::values::{FromText as _, Time};

/// What may lie between two anchors of a city that was there all the time: a day, and an hour for what takes longer than usual.
const MOST_SECONDS: u64 = 25 * 60 * 60;

/// The time between two anchors, by their own word: an authority's is at most some minutes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub seconds: u64,
    /// Number and time of the anchor before and of the one after.
    pub from: (u64, String),
    pub to: (u64, String),
}

#[derive(Debug, Default, Serialize)]
pub struct Silence {
    pub longest: Option<Gap>,
    /// Those of more than a day and an hour, in their order.
    pub beyond: Vec<Gap>,
}

impl Silence {
    pub fn of(anchors: &[Known]) -> Self {
        let mut silence = Self::default();
        for gap in anchors.windows(2).filter_map(|pair| Gap::between(&pair[0], &pair[1])) {
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
    fn between(from: &Known, to: &Known) -> Option<Self> {
        let seconds = |known: &Known| Time::from_text(&known.at).map(|at| at.0.div_euclid(1_000_000));
        // One that goes back was found when the chain was checked.
        let seconds = u64::try_from(seconds(to)?.saturating_sub(seconds(from)?)).ok()?;
        Some(Self { seconds, from: (from.seq, from.at.clone()), to: (to.seq, to.at.clone()) })
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hours, minutes, seconds) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let Self { from, to, .. } = self;
        write!(
            out,
            "{hours} h {minutes} min {seconds} s between anchor {} ({}) and anchor {} ({})",
            from.0, from.1, to.0, to.1
        )
    }
}
