//! Time as the city records it: microseconds since 1970 in UTC, one spelling.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::ids::{Malformed, text_serde};

/// Microseconds since 1970-01-01T00:00:00Z; printed as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

pub const DAY_MICROS: i64 = 86_400_000_000;
pub const HOUR_MICROS: i64 = DAY_MICROS / 24;
const EXPECTED: &str = "an RFC 3339 time between the years 1970 and 9999, e.g. 2026-05-01T12:00:00Z";
/// 9999-12-30T21:59:59.999999Z: the calendar library keeps a day free for every offset.
const MAX_MICROS: i64 = 253_402_207_199_999_999;

impl Time {
    /// A time in the range that four-digit years can print; anything outside is clamped to it.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < 0 {
            Self(0)
        } else if micros > MAX_MICROS {
            Self(MAX_MICROS)
        } else {
            Self(micros)
        }
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn millis(self) -> i64 {
        self.0 / 1000
    }

    pub const fn plus_days(self, days: u32) -> Self {
        Self::from_micros(self.0.saturating_add(days as i64 * DAY_MICROS))
    }

    pub const fn plus_seconds(self, seconds: u32) -> Self {
        Self::from_micros(self.0.saturating_add(seconds as i64 * 1_000_000))
    }

    /// Whole UTC days since 1970.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_MICROS)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1_000_000);
        let micros = self.0.rem_euclid(1_000_000);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let clock = seconds.rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
            clock / 3600,
            clock / 60 % 60,
            clock % 60
        )
    }
}

/// Days since 1970 to a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(time) = printed(text.as_bytes()) {
            return Ok(time);
        }
        let malformed = || Malformed::new(EXPECTED, text);
        let stamp: Timestamp = text.parse().map_err(|_| malformed())?;
        let micros = stamp.as_microsecond();
        if stamp.subsec_nanosecond() % 1000 != 0 || !(0..=MAX_MICROS).contains(&micros) {
            return Err(malformed());
        }
        Ok(Self(micros))
    }
}

text_serde!(Time);

/// A time in the spelling that is printed, several times as fast as by the calendar library. `None` for all else, good or bad.
fn printed(text: &[u8]) -> Option<Time> {
    let text: &[u8; 27] = text.try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if marks.into_iter().any(|(place, mark)| text[place] != mark) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |number, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then_some(number * 10 + i64::from(digit))
        })
    };
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let days = days_to(year, month, day);
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + number(&text[20..26])?;
    (0..=MAX_MICROS).contains(&micros).then_some(Time(micros))
}

/// From a proleptic Gregorian date to days since 1970: the way back of [`civil`], by the same author. What is no date comes out as
/// another one.
const fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_has_exactly_one_spelling() {
        for text in ["1970-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z", "9999-12-30T21:59:59.999999Z"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!("2026-05-01T14:00:00+02:00".parse::<Time>().unwrap().to_string(), "2026-05-01T12:00:00.000000Z");
        for bad in
            ["2026-05-01", "yesterday", "2026-02-30T00:00:00Z", "2026-05-01T12:00:00.0000001Z", "1969-12-31T23:59:59Z"]
        {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn printing_agrees_with_the_calendar_library_over_the_whole_range() {
        for day in (0..2_932_896).step_by(97) {
            let time = Time::from_micros(day * DAY_MICROS + 1);
            let expected = Timestamp::from_microsecond(time.micros()).unwrap();
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), expected);
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_calendar_library_reads_it() {
        let mut times = vec![0, 1, 999_999, DAY_MICROS - 1, 951_782_400_000_000, 4_107_542_399_999_999, MAX_MICROS];
        times.extend((0..20_000).map(|number| number * 12_661_033_i64 * 1_000_003 % MAX_MICROS));
        for micros in times {
            let text = Time::from_micros(micros).to_string();
            assert_eq!(printed(text.as_bytes()), Some(Time(micros)), "{text}");
            assert_eq!(text.parse::<Timestamp>().unwrap().as_microsecond(), micros);
        }
        for other in [
            "2026-02-29T00:00:00.000000Z",
            "2026-04-31T00:00:00.000000Z",
            "2026-00-10T00:00:00.000000Z",
            "2026-13-10T00:00:00.000000Z",
            "2026-01-00T00:00:00.000000Z",
            "2026-01-01T24:00:00.000000Z",
            "2026-01-01T00:60:00.000000Z",
            "2026-01-01T00:00:60.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "9999-12-31T00:00:00.000000Z",
            "2026-01-01t00:00:00.000000Z",
            "2026-01-01T00:00:00.00000/Z",
            "+026-01-01T00:00:00.000000Z",
            "2026-01-01T00:00:00.000000z",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(printed(other.as_bytes()), None, "{other}");
        }
    }
}
