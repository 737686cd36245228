//! `capability_grants`: who holds what, one living grant at most per holder, kind and ref.

use std::collections::BTreeSet;

use domain::grant::event::GrantEvent;
use domain::grant::kind::CapabilityRef;
use domain::ids::GrantId;
use domain::party::HolderId;

use eventlog::sql::{self, Cell, Conn, SqlError};

use crate::field::word;
use crate::record::{Record, record};
use crate::sheet::Sheet;

pub(crate) const ACTIVE: &str = "active";
pub(crate) const STALE: &str = "stale";
pub(crate) const REVOKED: &str = "revoked";
pub(crate) const EXPIRED: &str = "expired";
pub(crate) const ORPHANED: &str = "orphaned";

record! {
    /// Scope, source and freshness are in the view: a guard keeps only what it can refuse.
    CapabilityGrant in "capability_grants" by (grant_id: GrantId) {
        holder_kind: String,
        holder: HolderId,
        kind: String,
        reference: CapabilityRef,
        status: String,
    }
}

pub(super) fn fold(grants: &mut Sheet<CapabilityGrant>, event: &GrantEvent) {
    let mut status =
        |grant: &GrantId, status: &str| grants.change(&(*grant,), |row| status.clone_into(&mut row.status));
    match event {
        // Without a look at what is there: a second living grant must reach the table and be refused.
        GrantEvent::Granted(begun) => grants.put(CapabilityGrant {
            grant_id: begun.grant,
            holder_kind: word(&begun.holder_kind),
            holder: begun.holder,
            kind: word(&begun.kind),
            reference: begun.reference.clone(),
            status: ACTIVE.to_owned(),
        }),
        GrantEvent::Verified { grant } => status(grant, ACTIVE),
        GrantEvent::WentStale { grant } => status(grant, STALE),
        GrantEvent::Revoked { grant, .. } => status(grant, REVOKED),
        GrantEvent::Expired { grant, .. } => status(grant, EXPIRED),
        GrantEvent::Orphaned { grant, .. } => status(grant, ORPHANED),
        GrantEvent::Pruned { grant } => grants.remove(&(*grant,)),
        GrantEvent::Delegated { .. }
        | GrantEvent::DelegationEnded { .. }
        | GrantEvent::Attenuated { .. }
        | GrantEvent::ReverificationRequested { .. }
        | GrantEvent::Withheld { .. }
        | GrantEvent::VerificationFailed { .. } => {}
    }
}

/// Those of these grants that are living. One round trip.
pub async fn living(conn: &mut Conn, grants: &[GrantId]) -> Result<BTreeSet<GrantId>, SqlError> {
    let keys: Vec<sql::Row> = grants.iter().map(|grant| CapabilityGrant::key_cells(&(*grant,))).collect();
    let mut living = BTreeSet::new();
    for row in sql::select_keys(conn, CapabilityGrant::TABLE, &keys).await? {
        if let (Some(Cell::Text(grant)), Some(Cell::Text(status))) = (row.first(), row.last())
            && (status == ACTIVE || status == STALE)
        {
            living.extend(grant.parse::<GrantId>().ok());
        }
    }
    Ok(living)
}
