//! Views: tables for reading, folded from the log by a worker of their own, at their own position.
//!
//! Invariant: a view's rows and [`Progress`] move in one transaction, by exactly the entries between two positions. Whoever holds
//! the lock of that row is the only one who writes views, however many servers there are.

mod accounts;
mod citizens;
mod city;
mod conservation;
mod db;
mod governance;
mod guilds;
mod holds;
mod inventory;
mod keys;
mod proposals;
mod reputation;
mod roster;
mod statement;
#[cfg(test)]
mod tests;
mod transfers;
mod treasuries;
mod worker;

use domain::event::Event;
use domain::ids::{CitizenId, Stream};
use eventlog::sql::Table;

use crate::projector::Tables;
use crate::record::{Record, record};
use crate::recorded::Recorded;
use crate::sheet::{Journal, Sheet, Staged};

pub use accounts::Account;
pub use citizens::Citizen;
pub use city::{CapabilityAction, CapabilitySource, Currency, Role};
pub use conservation::Conservation;
pub use db::ViewsDb;
pub use governance::Decision;
pub use guilds::Guild;
pub use holds::Hold;
pub use inventory::{Happening, HeldGrant, Withholding};
pub use keys::Key;
pub use proposals::Proposal;
pub use reputation::Reputed;
pub use roster::Membership;
pub use statement::Line;
pub use transfers::Transfer;
pub use treasuries::Treasury;
pub use worker::run;
pub(crate) use worker::{lock_position, position};

record! {
    /// How many entries the views have folded: the position of the next.
    Progress in "view_position" by (name: String) { size: u64 }
}

/// The one row of [`Progress`].
pub(crate) fn progress(size: u64) -> eventlog::sql::Row {
    Progress { name: "views".to_owned(), size }.cells()
}

pub(crate) const PROGRESS: &Table = Progress::TABLE;

/// All views.
pub struct ViewTables {
    currencies: Sheet<Currency>,
    roles: Sheet<Role>,
    citizens: Sheet<Citizen>,
    keys: Sheet<Key>,
    guilds: Sheet<Guild>,
    roster: Sheet<Membership>,
    proposals: Sheet<Proposal>,
    decisions: Journal<Decision>,
    treasuries: Sheet<Treasury>,
    accounts: Sheet<Account>,
    statement: Journal<Line>,
    holds: Sheet<Hold>,
    transfers: Sheet<Transfer>,
    conservation: Sheet<Conservation>,
    sources: Sheet<CapabilitySource>,
    actions: Sheet<CapabilityAction>,
    inventory: Sheet<HeldGrant>,
    withholdings: Sheet<Withholding>,
    history: Journal<Happening>,
    reputed: Sheet<Reputed>,
}

impl Tables for ViewTables {
    fn new(capacity: usize, fresh: bool) -> Self {
        Self {
            currencies: Sheet::new(capacity, fresh),
            roles: Sheet::new(capacity, fresh),
            citizens: Sheet::new(capacity, fresh),
            keys: Sheet::new(capacity, fresh),
            guilds: Sheet::new(capacity, fresh),
            roster: Sheet::new(capacity, fresh),
            proposals: Sheet::new(capacity, fresh),
            decisions: Journal::default(),
            treasuries: Sheet::new(capacity, fresh),
            accounts: Sheet::new(capacity, fresh),
            statement: Journal::default(),
            holds: Sheet::new(capacity, fresh),
            transfers: Sheet::new(capacity, fresh),
            conservation: Sheet::new(capacity, fresh),
            sources: Sheet::new(capacity, fresh),
            actions: Sheet::new(capacity, fresh),
            inventory: Sheet::new(capacity, fresh),
            withholdings: Sheet::new(capacity, fresh),
            history: Journal::default(),
            reputed: Sheet::new(capacity, fresh),
        }
    }

    fn fold(&mut self, recorded: &Recorded) {
        let Some(event) = &recorded.event else { return };
        let Ok(stream) = recorded.stream.parse::<Stream>() else { return };
        match (event, stream) {
            (Event::City(event), Stream::City) => {
                city::fold(&mut self.currencies, &mut self.roles, recorded, event);
                city::fold_capabilities(&mut self.sources, &mut self.actions, event);
            }
            (Event::Reputation(event), Stream::Reputation(id)) => {
                reputation::fold(&mut self.reputed, recorded, CitizenId::from_bits(id.bits()), event);
            }
            (Event::Grant(event), Stream::Inventory(_)) => {
                inventory::fold(&mut self.inventory, recorded, event);
                inventory::withhold(&mut self.withholdings, &mut self.inventory, event);
                inventory::note(&mut self.history, recorded, event);
            }
            (Event::Citizen(event), Stream::Citizen(id)) => citizens::fold(&mut self.citizens, recorded, id, event),
            (Event::Key(event), Stream::Key(id)) => keys::fold(&mut self.keys, recorded, id, event),
            (Event::Guild(event), Stream::Guild(id)) => {
                guilds::fold(&mut self.guilds, recorded, id, event);
                roster::fold(&mut self.roster, &mut self.guilds, recorded, id, event);
                proposals::fold(&mut self.proposals, recorded, id, event);
                governance::fold(&mut self.decisions, recorded, id, event);
            }
            (Event::Treasury(event), Stream::Treasury(id)) => {
                treasuries::fold(&mut self.treasuries, recorded, id, event);
                holds::fold(&mut self.holds, recorded, id, event);
                transfers::fold(&mut self.transfers, recorded, id, event);
                conservation::fold(&mut self.conservation, recorded, id, event);
                if let Some(account) = accounts::fold(&mut self.accounts, recorded, id, event) {
                    statement::fold(&mut self.statement, recorded, &account, event);
                }
            }
            _ => {}
        }
    }

    fn each(&mut self) -> Vec<&mut dyn Staged> {
        vec![
            &mut self.currencies,
            &mut self.roles,
            &mut self.citizens,
            &mut self.keys,
            &mut self.guilds,
            &mut self.roster,
            &mut self.proposals,
            &mut self.decisions,
            &mut self.treasuries,
            &mut self.accounts,
            &mut self.statement,
            &mut self.holds,
            &mut self.transfers,
            &mut self.conservation,
            &mut self.sources,
            &mut self.actions,
            &mut self.inventory,
            &mut self.withholdings,
            &mut self.history,
            &mut self.reputed,
        ]
    }
}
