//! One citizen's reputation folded from its events: the evidence, the opinions they gave, and what was computed last.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use super::event::{Attested, ReputationEvent, Row};
use super::evidence::Evidence;
use super::figures;
use super::opinions::Opinions;
use crate::ids::{EvidenceId, GuildId};
use crate::time::Time;

/// Most scopes in which there is evidence of one citizen: all figures of one are one entry.
const MAX_SCOPES: usize = 300;

/// The default is a citizen of whom nothing is known.
#[derive(Debug, Clone, Default)]
pub struct Reputation {
    /// In the order in which it was recorded. Looked through from the end: what is disputed or reversed was mostly recorded lately.
    evidence: Vector<Evidence>,
    /// How many pieces of each scope were not reversed.
    standing: OrdMap<GuildId, usize>,
    opinions: Opinions,
    /// When evidence was last recorded or reversed.
    changed_at: Option<Time>,
    computed: Option<Computed>,
    /// What the evidence says at a time, worked out before anybody asked; gone as soon as anything happens.
    ahead: Option<(Time, Arc<[Row]>)>,
}

/// What was put on record last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    pub as_of: Time,
    pub rows: Arc<[Row]>,
    /// Evidence was recorded or reversed after `as_of`, or after this was computed.
    pub outdated: bool,
}

impl Reputation {
    pub fn evidence(&self) -> impl ExactSizeIterator<Item = &Evidence> {
        self.evidence.iter()
    }

    pub fn piece(&self, id: EvidenceId) -> Option<&Evidence> {
        self.evidence.iter().rfind(|piece| piece.id == id)
    }

    /// Whether there is evidence in a scope that was not reversed.
    pub fn has_shown(&self, scope: GuildId) -> bool {
        self.standing.get(&scope).is_some_and(|pieces| *pieces > 0)
    }

    /// Whether evidence in this scope can be recorded.
    pub fn has_room_for(&self, scope: GuildId) -> bool {
        self.standing.contains_key(&scope) || self.standing.len() < MAX_SCOPES
    }

    pub const fn opinions(&self) -> &Opinions {
        &self.opinions
    }

    pub const fn computed(&self) -> Option<&Computed> {
        self.computed.as_ref()
    }

    /// What the evidence says at a time.
    pub fn rows_at(&self, as_of: Time) -> Arc<[Row]> {
        match &self.ahead {
            Some((time, rows)) if *time == as_of => Arc::clone(rows),
            _ => figures(self.evidence(), as_of).into_values().collect(),
        }
    }

    /// Works out what [`Reputation::rows_at`] will be asked for, so that whoever asks has no more work with it.
    pub fn reckon_ahead(&mut self, as_of: Time) {
        self.ahead = Some((as_of, self.rows_at(as_of)));
    }

    pub fn evolve(&mut self, event: &ReputationEvent, at: Time) {
        self.ahead = None;
        match event {
            ReputationEvent::EvidenceRecorded { evidence, kind, weight, scope, attested_by, effective_at, .. } => {
                let (evidence, kind, weight, scope) = (*evidence, *kind, *weight, *scope);
                let (attested_by, effective_at) = (*attested_by, *effective_at);
                self.attest(&Attested { evidence, kind, weight, scope, attested_by, effective_at }, at);
            }
            ReputationEvent::OpinionGiven { to, kind, scope, .. } => self.opinions.give(*to, *scope, *kind, at),
            ReputationEvent::EvidenceDisputed { evidence, .. } => {
                self.change(*evidence, |piece| piece.disputed_at = Some(at));
            }
            ReputationEvent::EvidenceReversed { evidence, .. } => {
                self.change(*evidence, |piece| piece.reversed_at = Some(at));
                if let Some(scope) = self.piece(*evidence).map(|piece| piece.scope)
                    && let Some(pieces) = self.standing.get_mut(&scope)
                {
                    *pieces = pieces.saturating_sub(1);
                }
                self.outdate(at);
            }
            ReputationEvent::Recomputed { as_of, rows, .. } => {
                // It may have been computed as of a time before what is known by now.
                let outdated = self.changed_at.is_some_and(|changed| changed > *as_of);
                self.computed = Some(Computed { as_of: *as_of, rows: Arc::clone(rows), outdated });
            }
        }
    }

    /// Applies an event of evidence: as [`Reputation::evolve`], from what counts of it.
    pub fn attest(&mut self, attested: &Attested, at: Time) {
        self.ahead = None;
        let Attested { evidence, kind, weight, scope, attested_by, effective_at } = *attested;
        self.evidence.push_back(Evidence {
            id: evidence,
            kind,
            weight,
            scope,
            attested_by,
            effective_at,
            recorded_at: at,
            disputed_at: None,
            reversed_at: None,
        });
        *self.standing.entry(scope).or_default() += 1;
        self.opinions.receive(attested_by, kind, at);
        self.outdate(at);
    }

    fn change(&mut self, id: EvidenceId, change: impl FnOnce(&mut Evidence)) {
        if let Some(place) = self.evidence.iter().rposition(|piece| piece.id == id)
            && let Some(piece) = self.evidence.get_mut(place)
        {
            change(piece);
        }
    }

    fn outdate(&mut self, at: Time) {
        self.changed_at = Some(at);
        if let Some(computed) = &mut self.computed {
            computed.outdated = true;
        }
    }
}
