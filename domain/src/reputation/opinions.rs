//! Who lately spoke for or against whom. What is older than any rule asks for is forgotten, so this does not grow with the years.

use imbl::{OrdMap, Vector};

use super::evidence::EvidenceType;
use crate::ids::{CitizenId, GuildId};
use crate::time::{DAY_MICROS, Time};

/// Days between two opinions about one citizen in one scope.
pub const OPINION_DAYS: i64 = 30;
/// Days in which endorsements make a circle.
pub const CIRCLE_DAYS: i64 = 90;
/// Most opinions that one citizen gives within [`OPINION_DAYS`]: what is looked through for a circle has an end.
pub const MOST_OPINIONS: usize = 100;

/// That many days before.
pub const fn before(at: Time, days: i64) -> Time {
    Time::from_micros(at.micros() - days * DAY_MICROS)
}

/// One citizen's part in it.
#[derive(Debug, Clone, Default)]
pub struct Opinions {
    /// When this citizen last gave which opinion of whom: as many as the limit lets them give in [`CIRCLE_DAYS`].
    given: OrdMap<(CitizenId, GuildId, EvidenceType), Time>,
    /// Who endorsed this citizen last when, in whatever scope; and the same in the order of its times.
    endorsers: OrdMap<CitizenId, Time>,
    endorsed: Vector<(Time, CitizenId)>,
}

impl Opinions {
    /// When this citizen last said anything of another in a scope.
    pub fn last(&self, to: CitizenId, scope: GuildId) -> Option<Time> {
        let either = [EvidenceType::PeerEndorsed, EvidenceType::PeerFlagged];
        either.iter().filter_map(|kind| self.given.get(&(to, scope, *kind))).max().copied()
    }

    /// How many opinions this citizen gave after a time.
    pub fn given_after(&self, time: Time) -> usize {
        self.given.values().filter(|at| **at > time).count()
    }

    /// Whom this citizen endorsed since a time, in whatever scope.
    pub fn endorsed_since(&self, since: Time) -> impl Iterator<Item = CitizenId> {
        let fresh =
            self.given.iter().filter(move |((.., kind), at)| *kind == EvidenceType::PeerEndorsed && **at >= since);
        fresh.map(|((to, ..), _)| *to)
    }

    pub fn was_endorsed_by(&self, from: CitizenId, since: Time) -> bool {
        self.endorsers.get(&from).is_some_and(|at| *at >= since)
    }

    pub(super) fn give(&mut self, to: CitizenId, scope: GuildId, kind: EvidenceType, at: Time) {
        let oldest = before(at, CIRCLE_DAYS);
        let old: Vec<_> = self.given.iter().filter(|(_, given)| **given < oldest).map(|(key, _)| *key).collect();
        for key in old {
            self.given.remove(&key);
        }
        self.given.insert((to, scope, kind), at);
    }

    pub(super) fn receive(&mut self, from: CitizenId, kind: EvidenceType, at: Time) {
        if kind != EvidenceType::PeerEndorsed {
            return;
        }
        let oldest = before(at, CIRCLE_DAYS);
        while let Some((time, old)) = self.endorsed.front().copied().filter(|(time, _)| *time < oldest) {
            self.endorsed.pop_front();
            if self.endorsers.get(&old) == Some(&time) {
                self.endorsers.remove(&old);
            }
        }
        self.endorsers.insert(from, at);
        self.endorsed.push_back((at, from));
    }
}
