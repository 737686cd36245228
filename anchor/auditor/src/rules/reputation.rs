//! Rules of reputation: who may attest what, what it weighs, and that every figure on record is what the evidence says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::events;
use super::values::{CitizenId, Digest, EvidenceId, FromText, GuildId, Time, read_text};
pub use apply::apply;

mod apply;
mod figures;

const DAY: i64 = 86_400_000_000;
/// Days between two opinions of one citizen in one scope, and how many are given within them.
const OPINION_DAYS: i64 = 30;
const MOST_OPINIONS: usize = 100;
/// Days in which endorsements make a circle.
const CIRCLE_DAYS: i64 = 90;

events! {
    "reputation.evidence_recorded.v1" => EvidenceRecorded(Box<Recorded>), ["work?", "note?"], "attested by the actor, of another household, a member of the scope, which is active; weighs what its kind and stake give; an outcome by a gate, of one work once; an opinion that was given, once";
    "reputation.opinion_given.v1" => OpinionGiven(Opinion), [], "by the actor, in their own stream, of one citizen in one scope not twice in 30 days, at most 100 in these; evidence in the same act";
    "reputation.evidence_disputed.v1" => EvidenceDisputed(Disputed), ["reason?"], "by its holder";
    "reputation.evidence_reversed.v1" => EvidenceReversed(Reversed), ["reason?"], "it was disputed; by the actor, a gate of another household than the attester's and the holder's";
    "reputation.recomputed.v1" => Recomputed(Computed), [], "by the city, not of the future; every row is what the evidence gives, and none is missing";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stake {
    T1,
    T2,
    T3,
    T4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Compliance,
    Overall,
    Quality,
    Reliability,
}

/// Thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(i64);

impl FromText for Weight {
    const EXPECTED: &'static str = "a decimal of three places";

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, rest) = digits.split_once('.')?;
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if rest.len() != 3
            || !plain(rest)
            || !plain(whole)
            || whole.len() > 4
            || (whole.len() > 1 && whole.starts_with('0'))
        {
            return None;
        }
        let size: i64 = format!("{whole}{rest}").parse().ok()?;
        let negative = text.len() > digits.len();
        if negative && size == 0 { None } else { Some(Self(if negative { -size } else { size })) }
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    evidence: EvidenceId,
    holder: CitizenId,
    kind: Kind,
    weight: Weight,
    scope: GuildId,
    attested_by: CitizenId,
    effective_at: Time,
    stake: Option<Stake>,
    work_lookup: Option<Digest>,
    proof: Option<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    pub giver: CitizenId,
    pub to: CitizenId,
    kind: Kind,
    scope: GuildId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disputed {
    evidence: EvidenceId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reversed {
    evidence: EvidenceId,
    by: CitizenId,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    figure: Figure,
    scope: Option<GuildId>,
    evidence: u64,
    score: Box<str>,
    mu: Box<str>,
    phi: Box<str>,
    sigma: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    figure: Figure,
    scope: Option<GuildId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computed {
    holder: CitizenId,
    as_of: Time,
    rows: Vec<Row>,
    #[serde(default)]
    gone: Vec<Gone>,
}

#[derive(Debug, Clone)]
struct Piece {
    kind: Kind,
    weight: i64,
    scope: GuildId,
    by: CitizenId,
    effective_at: i64,
    recorded_at: i64,
    disputed: bool,
    reversed_at: Option<i64>,
}

/// What is known of one citizen. Evidence lasts: this grows with what was attested, and with nothing else.
#[derive(Debug, Default)]
struct Reputation {
    evidence: Vec<Piece>,
    places: HashMap<EvidenceId, usize>,
    /// How many pieces of each scope were not reversed.
    standing: HashMap<GuildId, u64>,
    /// When they last gave which opinion of whom, as long as anything asks for it.
    given: BTreeMap<(CitizenId, GuildId, Kind), i64>,
    /// The names of the rows on record, and as of when.
    rows: BTreeSet<(Figure, Option<GuildId>)>,
    as_of: Option<i64>,
}

impl Reputation {
    fn endorsed_since(&self, since: i64) -> impl Iterator<Item = CitizenId> {
        let fresh = self.given.iter().filter(move |((.., kind), at)| *kind == Kind::PeerEndorsed && **at >= since);
        fresh.map(|((to, ..), _)| *to)
    }

    fn endorses(&self, whom: CitizenId, since: i64) -> bool {
        let from = (whom, GuildId { 0: 0 }, Kind::AuditClean);
        let about = self.given.range(from..).take_while(|((to, ..), _)| *to == whom);
        about.into_iter().any(|((.., kind), at)| *kind == Kind::PeerEndorsed && *at >= since)
    }

    /// Gives an opinion; says what forbids it.
    fn give(&mut self, opinion: &Opinion, at: i64) -> Option<&'static str> {
        let Opinion { to, scope, kind, .. } = *opinion;
        self.given.retain(|_, given| *given >= at - CIRCLE_DAYS * DAY);
        let soon = |given: &i64| at - *given < OPINION_DAYS * DAY;
        let either = [Kind::PeerEndorsed, Kind::PeerFlagged];
        let again = either.iter().filter_map(|kind| self.given.get(&(to, scope, *kind))).any(soon);
        let many = self.given.values().filter(|given| soon(given)).count() >= MOST_OPINIONS;
        self.given.insert((to, scope, kind), at);
        match (again, many) {
            (true, _) => Some("gives an opinion of one citizen in one scope again within 30 days"),
            (_, true) => Some("gives more than 100 opinions in 30 days"),
            _ => None,
        }
    }
}

/// The reputations of everybody.
#[derive(Debug, Default)]
pub struct Reputations {
    of: HashMap<CitizenId, Reputation>,
    /// Ids of evidence of the last millisecond in which there was any: of another, its time tells.
    fresh: (u128, BTreeSet<EvidenceId>),
}

impl Reputations {
    fn is_new(&mut self, evidence: EvidenceId) -> bool {
        if self.fresh.0 != evidence.millis() {
            self.fresh = (evidence.millis(), BTreeSet::new());
        }
        self.fresh.1.insert(evidence)
    }
}
