//! `reputation_holders`: of whom something was attested, and whether their figures are computed from all of it.

use domain::ids::CitizenId;
use domain::reputation::event::ReputationEvent;
use domain::reputation::evidence::EvidenceType;
use domain::time::Time;

use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// Times are those of recording. `last_at`: when evidence was last recorded or taken back. `violated_at`: the last violation that
    /// nobody took back may be older.
    Reputed in "reputation_holders" by (holder: CitizenId) {
        evidence: u64,
        first_at: Time,
        last_at: Time,
        violated_at: Option<Time>,
        as_of: Option<Time>,
        outdated: bool,
    }
}

pub(super) fn fold(holders: &mut Sheet<Reputed>, recorded: &Recorded, holder: CitizenId, event: &ReputationEvent) {
    let at = recorded.at;
    match event {
        ReputationEvent::EvidenceRecorded { kind, .. } => {
            let known = holders.get(&(holder,)).cloned();
            let violated_at = (*kind == EvidenceType::AuditViolation).then_some(at);
            holders.put(match known {
                Some(known) => Reputed {
                    evidence: known.evidence + 1,
                    last_at: at,
                    violated_at: violated_at.or(known.violated_at),
                    outdated: true,
                    ..known
                },
                None => {
                    Reputed { holder, evidence: 1, first_at: at, last_at: at, violated_at, as_of: None, outdated: true }
                }
            });
        }
        ReputationEvent::EvidenceReversed { .. } => holders.change(&(holder,), |row| {
            row.last_at = at;
            row.outdated = true;
        }),
        ReputationEvent::Recomputed { as_of, .. } => holders.change(&(holder,), |row| {
            row.as_of = Some(*as_of);
            // It may have been computed as of a time before what is known by now.
            row.outdated = row.last_at > *as_of;
        }),
        ReputationEvent::OpinionGiven { .. } | ReputationEvent::EvidenceDisputed { .. } => {}
    }
}
