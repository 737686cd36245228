//! `treasuries`: whose they are, and whether money may leave them.

use std::collections::BTreeSet;

use domain::ids::TreasuryId;
use domain::time::Time;
use domain::treasury::event::{FreezeSide, Owner, TreasuryEvent};

use crate::field::Json;
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `settled_until`: what took effect before it is closed. `auto_accept`: senders whose transfers need no acceptance.
    Treasury in "treasuries" by (treasury: TreasuryId) {
        owner_kind: String,
        owner: String,
        frozen_by_city: bool,
        frozen_by_owner: bool,
        settled_until: Option<Time>,
        auto_accept: Json<BTreeSet<TreasuryId>>,
        opened_at: Time,
        closed_at: Option<Time>,
        position: u64,
    }
}

pub(super) fn fold(treasuries: &mut Sheet<Treasury>, recorded: &Recorded, treasury: TreasuryId, event: &TreasuryEvent) {
    let mut change = |change: &dyn Fn(&mut Treasury)| treasuries.change(&(treasury,), change);
    let freeze = |row: &mut Treasury, side: FreezeSide, frozen: bool| match side {
        FreezeSide::City => row.frozen_by_city = frozen,
        FreezeSide::Owner => row.frozen_by_owner = frozen,
    };
    match event {
        TreasuryEvent::Opened { owner } => {
            let (owner_kind, owner) = match owner {
                Owner::Guild(id) => ("guild", id.to_string()),
                Owner::Citizen(id) => ("citizen", id.to_string()),
            };
            treasuries.put(Treasury {
                treasury,
                owner_kind: owner_kind.to_owned(),
                owner,
                frozen_by_city: false,
                frozen_by_owner: false,
                settled_until: None,
                auto_accept: Json::default(),
                opened_at: recorded.at,
                closed_at: None,
                position: recorded.position,
            });
        }
        TreasuryEvent::Frozen { side, .. } => change(&|row| freeze(row, *side, true)),
        TreasuryEvent::Unfrozen { side } => change(&|row| freeze(row, *side, false)),
        TreasuryEvent::Settled { as_of, .. } => change(&|row| row.settled_until = row.settled_until.max(Some(*as_of))),
        TreasuryEvent::AutoAcceptSet { from } => change(&|row| row.auto_accept = Json(from.iter().copied().collect())),
        TreasuryEvent::Closed {} => change(&|row| row.closed_at = Some(recorded.at)),
        _ => {}
    }
}
