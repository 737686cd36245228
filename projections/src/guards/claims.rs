//! `unique_claims`: what was taken once in the whole city, and what it stands for.

use std::collections::HashMap;

use domain::event::Event;
use domain::ids::Stream;
use domain::turn::Claim;
use eventlog::sql::{self, Cell, Conn, SqlError};

use crate::record::{Record, record};
use crate::recorded::Recorded;
use crate::sheet::Journal;

record! {
    /// Taken at `position`, for ever.
    UniqueClaim in "unique_claims" by (scope: String, key: String) {
        value: String,
        position: u64,
    }
}

pub(super) fn fold(claims: &mut Journal<UniqueClaim>, recorded: &Recorded, event: &Event, stream: Stream) {
    for (claim, value) in event.claims(stream) {
        claims.push(UniqueClaim { scope: claim.scope.to_owned(), key: claim.key, value, position: recorded.position });
    }
}

/// Those of the claims that are taken, with what they stand for. One round trip.
pub async fn claims_taken(conn: &mut Conn, claims: &[Claim]) -> Result<HashMap<Claim, String>, SqlError> {
    let key = |claim: &Claim| (claim.scope.to_owned(), claim.key.clone());
    let keys: Vec<sql::Row> = claims.iter().map(|claim| UniqueClaim::key_cells(&key(claim))).collect();
    let mut taken = HashMap::new();
    for row in sql::select_keys(conn, UniqueClaim::TABLE, &keys).await? {
        if let Ok([Cell::Text(scope), Cell::Text(key), Cell::Text(value), Cell::Int(_)]) = <[Cell; 4]>::try_from(row) {
            taken.insert((scope, key), value);
        }
    }
    let found = claims.iter().filter_map(|claim| Some((claim.clone(), taken.get(&key(claim))?.clone())));
    Ok(found.collect())
}
