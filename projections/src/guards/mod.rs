//! Guards: tables that can say no, computed from the events of a batch and written in its transaction.
//!
//! Invariant: what a guard holds follows from the events alone, never from the state that decided about them. So a wrong decision
//! meets a table that knows better.

mod balances;
mod claims;
pub(crate) mod grants;
pub(crate) mod members;
mod postings;
mod reputation;
#[cfg(test)]
mod tests;

use domain::event::Event;
use domain::ids::Stream;
use eventlog::sql::{Change, Conn, SqlError};

use crate::projector::{Projector, Tables};
use crate::recorded::Recorded;
use crate::sheet::{Journal, Sheet, Staged};

pub use balances::Balance;
pub use claims::{UniqueClaim, claims_taken};
pub use grants::{CapabilityGrant, living};
pub use members::Member;
pub use postings::Posting;
pub(crate) use postings::first_treasury;
pub use reputation::{Rating, Score};

/// Rows of each table that a writer keeps in memory, at least.
const REMEMBERED: usize = 50_000;

/// The seven guard tables.
pub struct GuardTables {
    balances: Sheet<Balance>,
    postings: Journal<Posting>,
    members: Sheet<Member>,
    claims: Journal<UniqueClaim>,
    grants: Sheet<CapabilityGrant>,
    scores: Sheet<Score>,
    ratings: Sheet<Rating>,
}

impl Tables for GuardTables {
    fn new(capacity: usize, fresh: bool) -> Self {
        Self {
            balances: Sheet::new(capacity, fresh),
            postings: Journal::default(),
            members: Sheet::new(capacity, fresh),
            claims: Journal::default(),
            grants: Sheet::new(capacity, fresh),
            scores: Sheet::new(capacity, fresh),
            ratings: Sheet::new(capacity, fresh),
        }
    }

    fn fold(&mut self, recorded: &Recorded) {
        let Some(event) = &recorded.event else { return };
        let Ok(stream) = recorded.stream.parse::<Stream>() else { return };
        claims::fold(&mut self.claims, recorded, event, stream);
        match (event, stream) {
            (Event::Treasury(event), Stream::Treasury(treasury)) => {
                balances::fold(&mut self.balances, treasury, event);
                postings::fold(&mut self.postings, recorded.position, treasury, event);
            }
            (Event::Guild(event), Stream::Guild(guild)) => {
                members::fold(&mut self.members, recorded.position, guild, event)
            }
            (Event::Grant(event), Stream::Inventory(_)) => grants::fold(&mut self.grants, event),
            (Event::Reputation(event), Stream::Reputation(_)) => {
                reputation::fold(&mut self.scores, &mut self.ratings, event);
            }
            _ => {}
        }
    }

    fn each(&mut self) -> Vec<&mut dyn Staged> {
        vec![
            &mut self.balances,
            &mut self.postings,
            &mut self.members,
            &mut self.claims,
            &mut self.grants,
            &mut self.scores,
            &mut self.ratings,
        ]
    }
}

/// The guards as the one who appends uses them.
pub struct Guards {
    projector: Projector<GuardTables>,
}

impl Default for Guards {
    fn default() -> Self {
        Self { projector: Projector::new(REMEMBERED, false) }
    }
}

impl Guards {
    /// What these events, the whole batch in order, change in the guard tables. Rows that memory does not know are read through
    /// `conn`, which must see the head. Every table is changed as one set, net per row, by compare-and-set.
    pub async fn prepare(&mut self, conn: &mut Conn, events: &[Recorded]) -> Result<Vec<Change>, SqlError> {
        self.projector.prepare(conn, events).await
    }

    /// The batch that was prepared last is durable.
    pub fn committed(&mut self) {
        self.projector.committed();
    }

    /// The batch that was prepared last did not happen. Rows are read again, in case memory was why.
    pub fn discard(&mut self) {
        self.projector.forget_all();
    }

    /// Another server appended these events.
    pub fn observe(&mut self, events: &[Recorded]) {
        self.projector.forget_touched(events);
    }
}
