//! Kinds of evidence, what each weighs, and which figure it counts for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, EvidenceId, GuildId, Malformed, text_serde};
use crate::time::Time;

/// What somebody attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceType {
    AuditClean,
    AuditViolation,
    PeerEndorsed,
    PeerFlagged,
    TaskAbandoned,
    TaskCompleted,
    TaskFailed,
    VerificationFailed,
    VerificationPassed,
}

/// How much was at stake in a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stake {
    T1,
    T2,
    T3,
    T4,
}

impl Stake {
    /// In quarters.
    const fn quarters(self) -> i64 {
        match self {
            Self::T1 => 1,
            Self::T2 => 2,
            Self::T3 => 4,
            Self::T4 => 6,
        }
    }
}

/// Thousandths, signed: written as a decimal of three places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub i64);

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:03}", self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000)
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Weight {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("a decimal of three places", text);
        let (sign, number) = text.strip_prefix('-').map_or((1, text), |number| (-1, number));
        let (whole, thousandths) = number.split_once('.').ok_or_else(malformed)?;
        let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        let has_one_spelling = (1..=4).contains(&whole.len()) && (whole == "0" || !whole.starts_with('0'));
        if !has_one_spelling || thousandths.len() != 3 || !is_number(whole) || !is_number(thousandths) {
            return Err(malformed());
        }
        let part = |digits: &str| digits.parse::<i64>().map_err(|_| malformed());
        let size = part(whole)? * 1000 + part(thousandths)?;
        if size > 1_000_000 || (size == 0 && sign < 0) { Err(malformed()) } else { Ok(Self(sign * size)) }
    }
}

text_serde!(Weight);

impl EvidenceType {
    /// Before stake and circles of endorsement, in thousandths.
    pub const fn base(self) -> i64 {
        match self {
            Self::TaskCompleted => 1000,
            Self::TaskFailed => -800,
            Self::TaskAbandoned => -300,
            Self::VerificationPassed => 1500,
            Self::VerificationFailed => -1200,
            Self::AuditClean => 200,
            Self::AuditViolation => -3000,
            Self::PeerEndorsed => 500,
            Self::PeerFlagged => -1000,
        }
    }

    pub const fn is_peer(self) -> bool {
        matches!(self, Self::PeerEndorsed | Self::PeerFlagged)
    }

    /// Work evidence weighs by its stake.
    pub fn weight(self, stake: Stake) -> Weight {
        Weight(self.base() * stake.quarters() / 4)
    }

    /// An opinion weighs a quarter among those who praise each other in a circle.
    pub const fn opinion(self, in_circle: bool) -> Weight {
        Weight(if in_circle { self.base() / 4 } else { self.base() })
    }

    /// The figure of its own; every piece counts for the overall one as well.
    pub const fn figure(self) -> Option<Figure> {
        match self {
            Self::TaskCompleted | Self::TaskFailed | Self::TaskAbandoned => Some(Figure::Reliability),
            Self::VerificationPassed | Self::VerificationFailed => Some(Figure::Quality),
            Self::AuditClean | Self::AuditViolation => Some(Figure::Compliance),
            Self::PeerEndorsed | Self::PeerFlagged => None,
        }
    }
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Compliance,
    Overall,
    Quality,
    Reliability,
}

impl Figure {
    pub const ALL: [Self; 4] = [Self::Compliance, Self::Overall, Self::Quality, Self::Reliability];

    /// As it is written everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Compliance => "compliance",
            Self::Overall => "overall",
            Self::Quality => "quality",
            Self::Reliability => "reliability",
        }
    }

    pub fn counts(self, kind: EvidenceType) -> bool {
        self == Self::Overall || kind.figure() == Some(self)
    }
}

/// One piece of evidence, as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    pub id: EvidenceId,
    pub kind: EvidenceType,
    pub weight: Weight,
    pub scope: GuildId,
    pub attested_by: CitizenId,
    pub effective_at: Time,
    pub recorded_at: Time,
    pub disputed_at: Option<Time>,
    pub reversed_at: Option<Time>,
}

/// The time that a question is about, by one of the two that evidence has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// What was known then.
    Recorded(Time),
    /// What had happened by then, as it is known now: also what was recorded later, and without what was reversed later.
    Effective(Time),
}

impl AsOf {
    pub const fn time(self) -> Time {
        match self {
            Self::Recorded(time) | Self::Effective(time) => time,
        }
    }

    pub fn includes(self, piece: &Evidence) -> bool {
        match self {
            Self::Recorded(time) => piece.recorded_at <= time,
            Self::Effective(time) => piece.effective_at <= time,
        }
    }

    /// What befell a piece, as far as it is to be known.
    pub fn told(self, at: Option<Time>) -> Option<Time> {
        match self {
            Self::Recorded(time) => at.filter(|at| *at <= time),
            Self::Effective(_) => at,
        }
    }

    /// Whether a piece is included and not taken back.
    pub fn counts(self, piece: &Evidence) -> bool {
        self.includes(piece) && self.told(piece.reversed_at).is_none()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_figure_has_one_word() {
        for figure in Figure::ALL {
            assert_eq!(serde_json::to_value(figure).unwrap(), figure.word());
        }
    }

    #[test]
    fn weights_are_the_tables() {
        let weight = |kind: EvidenceType, stake| kind.weight(stake).to_string();
        assert_eq!(weight(EvidenceType::TaskCompleted, Stake::T1), "0.250");
        assert_eq!(weight(EvidenceType::TaskAbandoned, Stake::T1), "-0.075");
        assert_eq!(weight(EvidenceType::VerificationFailed, Stake::T4), "-1.800");
        assert_eq!(weight(EvidenceType::AuditViolation, Stake::T3), "-3.000");
        assert_eq!(EvidenceType::PeerEndorsed.opinion(true).to_string(), "0.125");
        assert_eq!(EvidenceType::PeerFlagged.opinion(false).to_string(), "-1.000");
        for text in ["0.125", "-1.800", "0.000", "12.005", "-999.999", "1000.000", "-1000.000"] {
            assert_eq!(text.parse::<Weight>().unwrap().to_string(), text);
        }
        for text in [
            "1",
            "1.0",
            "-0.000",
            "01.000",
            "00.000",
            "1.0000",
            "",
            "x",
            "2000.000",
            "1000.001",
            "-1000.001",
            "--1.000",
            "+1.000",
            "-+1.000",
            "1.+00",
            ".000",
            "-.000",
            "1.",
            "1.00 ",
            "99999999999999999999.000",
            "1.0.00",
        ] {
            assert!(text.parse::<Weight>().is_err(), "{text}");
        }
    }
}
