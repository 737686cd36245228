//! How often a capability was used lately: a sliding window in at most 61 slots, kept outside the log.

use serde::{Deserialize, Serialize};

use super::scope::Rate;
use crate::time::{DAY_MICROS, Time};

/// Slots of one window. A use counts until the whole slot that it fell into has left the window: never too short, and at most a
/// sixtieth of the window too long.
const SLOTS: i64 = 60;

/// Uses of one grant: when each slot ends, and how many fell into it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Uses(Vec<(Time, u32)>);

impl Uses {
    /// How many uses count now.
    pub fn within(&self, rate: Rate, now: Time) -> u32 {
        self.counting(rate, now).map(|(_, uses)| uses).fold(0, u32::saturating_add)
    }

    /// One more use, or the time at which there is room for one.
    pub fn charge(&mut self, rate: Rate, now: Time) -> Result<(), Time> {
        let window = window(rate);
        self.0 = self.counting(rate, now).collect();
        if self.within(rate, now) >= rate.uses {
            let first = self.0.first().map_or(now, |(end, _)| *end);
            return Err(Time::from_micros(first.micros() + window));
        }
        let slot = window / SLOTS;
        let end = Time::from_micros((now.micros().div_euclid(slot) + 1) * slot);
        match self.0.iter_mut().find(|(known, _)| *known == end) {
            Some((_, uses)) => *uses = uses.saturating_add(1),
            None => {
                self.0.push((end, 1));
                self.0.sort_unstable();
            }
        }
        Ok(())
    }

    /// Whether no use counts any more, whatever the rate: the longest window is a day.
    pub fn is_over(&self, now: Time) -> bool {
        self.0.iter().all(|(end, _)| end.micros() <= now.micros() - DAY_MICROS)
    }

    fn counting(&self, rate: Rate, now: Time) -> impl Iterator<Item = (Time, u32)> + '_ {
        let since = now.micros() - window(rate);
        self.0.iter().copied().filter(move |(end, _)| end.micros() > since)
    }
}

fn window(rate: Rate) -> i64 {
    i64::from(rate.per.seconds()) * 1_000_000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Time {
        Time::from_micros(1_700_000_000_000_000 + micros)
    }

    proptest! {
        /// Against the list of all uses: never more than the rate in any window.
        #[test]
        fn no_window_of_any_place_holds_more_than_the_rate(gaps in proptest::collection::vec(0_i64..400_000, 1..300)) {
            let rate: Rate = "5/s".parse().unwrap();
            let (mut uses, mut now, mut admitted) = (Uses::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                if uses.charge(rate, at(now)).is_ok() {
                    admitted.push(now);
                }
            }
            for (index, first) in admitted.iter().enumerate() {
                let inside = admitted[index..].iter().take_while(|use_at| **use_at - first < 1_000_000).count();
                prop_assert!(inside <= 5, "{inside} from {first}");
            }
        }
    }

    #[test]
    fn a_use_is_free_again_after_the_window_and_the_refusal_says_when() {
        let rate: Rate = "2/m".parse().unwrap();
        let mut uses = Uses::default();
        uses.charge(rate, at(0)).unwrap();
        uses.charge(rate, at(1)).unwrap();
        let free = uses.charge(rate, at(30_000_000)).unwrap_err();
        assert!(free > at(60_000_000) && free <= at(62_000_000), "{free}");
        assert!(uses.charge(rate, Time::from_micros(free.micros() - 1)).is_err());
        uses.charge(rate, free).unwrap();
    }

    #[test]
    fn a_record_is_over_when_it_counts_in_no_window() {
        let (mut uses, rate) = (Uses::default(), "5/d".parse().unwrap());
        assert!(uses.is_over(at(0)));
        uses.charge(rate, at(0)).unwrap();
        for hours in 0..30 {
            let now = at(hours * 3_600_000_000);
            assert!(!uses.is_over(now) || uses.within(rate, now) == 0, "after {hours} hours");
        }
        assert!(!uses.is_over(at(23 * 3_600_000_000)) && uses.is_over(at(25 * 3_600_000_000)));
    }

    #[test]
    fn a_narrower_rate_counts_what_was_used_under_the_wider_one() {
        let (mut uses, wide, narrow) = (Uses::default(), "100/h".parse().unwrap(), "3/h".parse().unwrap());
        for micros in 0..5 {
            uses.charge(wide, at(micros)).unwrap();
        }
        assert!(uses.charge(narrow, at(10)).is_err());
    }

    #[test]
    fn the_record_stays_small() {
        let (mut uses, rate) = (Uses::default(), "1000000/d".parse().unwrap());
        for second in 0..200_000 {
            uses.charge(rate, at(second * 1_000_000)).unwrap();
        }
        assert!(uses.0.len() <= 62, "{}", uses.0.len());
    }
}
