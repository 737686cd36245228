//! One citizen's reputation folded from its events: the evidence, the opinions they gave, and what was computed last.

use imbl::{OrdMap, Vector};

use super::event::{ReputationEvent, Row};
use super::evidence::{Evidence, EvidenceType};
use crate::ids::{CitizenId, EvidenceId, GuildId};
use crate::time::Time;

/// The default is a citizen of whom nothing is known.
#[derive(Debug, Clone, Default)]
pub struct Reputation {
    evidence: Vector<Evidence>,
    places: OrdMap<EvidenceId, usize>,
    /// When this citizen last gave an opinion of that kind of somebody in a scope.
    given: OrdMap<(CitizenId, GuildId, EvidenceType), Time>,
    computed: Option<Computed>,
}

/// What was put on record last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    pub as_of: Time,
    pub rows: Vec<Row>,
    /// Evidence was recorded or reversed since.
    pub outdated: bool,
}

impl Reputation {
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter()
    }

    pub fn piece(&self, id: EvidenceId) -> Option<&Evidence> {
        self.places.get(&id).and_then(|place| self.evidence.get(*place))
    }

    pub const fn computed(&self) -> Option<&Computed> {
        self.computed.as_ref()
    }

    /// When this citizen last gave that opinion.
    pub fn gave(&self, to: CitizenId, scope: GuildId, kind: EvidenceType) -> Option<Time> {
        self.given.get(&(to, scope, kind)).copied()
    }

    /// Whom this citizen endorsed in a scope since a time.
    pub fn endorsed_since(&self, scope: GuildId, since: Time) -> impl Iterator<Item = CitizenId> {
        let fresh = self.given.iter().filter(move |((_, place, kind), at)| {
            *place == scope && *kind == EvidenceType::PeerEndorsed && **at >= since
        });
        fresh.map(|((to, ..), _)| *to)
    }

    /// Who endorsed this citizen in a scope since a time.
    pub fn endorsers_since(&self, scope: GuildId, since: Time) -> impl Iterator<Item = CitizenId> {
        let fresh = self.evidence.iter().filter(move |piece| {
            piece.scope == scope && piece.kind == EvidenceType::PeerEndorsed && piece.recorded_at >= since
        });
        fresh.map(|piece| piece.attested_by)
    }

    pub fn evolve(&mut self, event: &ReputationEvent, at: Time) {
        match event {
            ReputationEvent::EvidenceRecorded { evidence, kind, weight, scope, attested_by, effective_at, .. } => {
                self.places.insert(*evidence, self.evidence.len());
                self.evidence.push_back(Evidence {
                    id: *evidence,
                    kind: *kind,
                    weight: *weight,
                    scope: *scope,
                    attested_by: *attested_by,
                    effective_at: *effective_at,
                    recorded_at: at,
                    disputed: false,
                    reversed_at: None,
                });
                self.outdate();
            }
            ReputationEvent::OpinionGiven { to, kind, scope, .. } => {
                self.given.insert((*to, *scope, *kind), at);
            }
            ReputationEvent::EvidenceDisputed { evidence, .. } => self.change(*evidence, |piece| piece.disputed = true),
            ReputationEvent::EvidenceReversed { evidence, .. } => {
                self.change(*evidence, |piece| piece.reversed_at = Some(at));
                self.outdate();
            }
            ReputationEvent::Recomputed { as_of, rows, .. } => {
                self.computed = Some(Computed { as_of: *as_of, rows: rows.clone(), outdated: false });
            }
        }
    }

    fn change(&mut self, id: EvidenceId, change: impl FnOnce(&mut Evidence)) {
        if let Some(place) = self.places.get(&id).copied()
            && let Some(piece) = self.evidence.get_mut(place)
        {
            change(piece);
        }
    }

    fn outdate(&mut self) {
        if let Some(computed) = &mut self.computed {
            computed.outdated = true;
        }
    }
}
