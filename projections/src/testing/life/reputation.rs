//! What is attested, said, disputed, taken back and computed.

use domain::event::Event;
use domain::ids::{EvidenceId, ReputationId, Stream};
use domain::reputation::event::{Gone, ReputationEvent, Row};
use domain::reputation::evidence::{EvidenceType, Figure, Stake, Weight};
use domain::text::Digest;
use domain::time::Time;

use super::Life;
use crate::testing::{Act, citizen, guild, sealed};

impl Life {
    pub(super) fn reputation(&mut self) -> Act {
        match self.below(9) {
            0 | 1 => self.attested(),
            2 | 3 => self.opinion(),
            4 => self.disputed(),
            5 => self.reversed(),
            _ => self.computed(),
        }
    }

    fn attested(&mut self) -> Act {
        let (person, evidence) = (1 + self.below(self.citizens), EvidenceId::from_bits(self.id()));
        let kind = if self.below(2) == 0 { EvidenceType::AuditViolation } else { EvidenceType::TaskCompleted };
        self.evidence.push((person, evidence));
        let mut work = [0; 32];
        work[16..].copy_from_slice(&evidence.bits().to_be_bytes());
        let recorded = ReputationEvent::EvidenceRecorded {
            evidence,
            holder: citizen(person),
            kind,
            weight: kind.weight(Stake::T2),
            scope: guild(1 + self.below(self.guilds)),
            attested_by: citizen(1),
            effective_at: Time::from_micros(1),
            stake: Some(Stake::T2),
            work_lookup: Some(Digest(work)),
            work: Some(sealed(7)),
            proof: Some(Digest([8; 32])),
            note: None,
        };
        vec![about(person, recorded)]
    }

    /// In two streams at once.
    fn opinion(&mut self) -> Act {
        let (giver, to) = (1 + self.below(self.citizens), 1 + self.below(self.citizens));
        let (evidence, scope) = (EvidenceId::from_bits(self.id()), guild(1 + self.below(self.guilds)));
        let (kind, weight) = match self.below(3) {
            0 => (EvidenceType::PeerEndorsed, Weight(125)),
            1 => (EvidenceType::PeerEndorsed, Weight(500)),
            _ => (EvidenceType::PeerFlagged, Weight(-1000)),
        };
        self.evidence.push((to, evidence));
        let given = ReputationEvent::OpinionGiven { giver: citizen(giver), to: citizen(to), kind, scope };
        let recorded = ReputationEvent::EvidenceRecorded {
            evidence,
            holder: citizen(to),
            kind,
            weight,
            scope,
            attested_by: citizen(giver),
            effective_at: Time::from_micros(1),
            stake: None,
            work_lookup: None,
            work: None,
            proof: None,
            note: (self.below(2) == 0).then(|| sealed(8)),
        };
        vec![about(giver, given), about(to, recorded)]
    }

    fn disputed(&mut self) -> Act {
        if self.evidence.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.evidence.len() as u128) as usize;
        let (person, evidence) = self.evidence[place];
        vec![about(person, ReputationEvent::EvidenceDisputed { evidence, reason: Some(sealed(9)) })]
    }

    fn reversed(&mut self) -> Act {
        if self.evidence.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.evidence.len() as u128) as usize;
        let (person, evidence) = self.evidence.swap_remove(place);
        vec![about(person, ReputationEvent::EvidenceReversed { evidence, by: citizen(1), reason: None })]
    }

    /// Some as of long ago: what was recorded since is not in it.
    fn computed(&mut self) -> Act {
        let person = 1 + self.below(self.citizens);
        let row = |figure, scope, score: &str| Row {
            figure,
            scope,
            evidence: 1,
            score: score.to_owned(),
            mu: "0.100000000".to_owned(),
            phi: "1.500000000".to_owned(),
            sigma: "0.060000000".to_owned(),
        };
        let (figure, scope) = (Figure::Quality, Some(guild(1)));
        let as_of = Time::from_micros(if self.below(2) == 0 { 2 } else { 250_000_000_000_000_000 });
        let (rows, gone) = if self.below(2) == 0 {
            (vec![row(figure, scope, "1.000000000"), row(Figure::Overall, None, "0.500000000")], Vec::new())
        } else {
            (vec![row(Figure::Overall, None, "0.400000000")], vec![Gone { figure, scope }])
        };
        vec![about(person, ReputationEvent::Recomputed { holder: citizen(person), as_of, rows: rows.into(), gone })]
    }
}

fn about(person: u128, event: ReputationEvent) -> (Stream, Event) {
    (Stream::Reputation(ReputationId::of(citizen(person))), event.into())
}
