//! `inventory` and `grant_history`: who holds what, how fresh that knowledge is, and what happened to it.

use domain::event::Event;
use domain::grant::event::{EndedBy, GrantEvent, Granted};
use domain::grant::kind::{CapabilityRef, Source};
use domain::grant::scope::Scope;
use domain::grant::verification::{next_attempt, next_verification};
use domain::ids::{CitizenId, GrantId};
use domain::party::HolderId;
use domain::text::Sealed;
use domain::time::Time;

use crate::field::{Json, json, word};
use crate::guards::grants::{ACTIVE, EXPIRED, ORPHANED, REVOKED, STALE};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::{Journal, Sheet};

record! {
    /// `verify_at`: when its source is to be asked next; absent for what has no source to ask, and for what was delegated, which is
    /// as fresh as the grant above it.
    HeldGrant in "inventory" by (grant_id: GrantId) {
        holder: HolderId,
        holder_kind: String,
        kind: String,
        reference: CapabilityRef,
        source: Source,
        scope: Json<Scope>,
        delegable: bool,
        granted_by: Option<CitizenId>,
        granted_at: Time,
        position: u64,
        expires_at: Option<Time>,
        parent_holder: Option<HolderId>,
        parent: Option<GrantId>,
        details: Option<Json<Sealed>>,
        status: String,
        verified_at: Option<Time>,
        failed_attempts: u64,
        last_error: Option<String>,
        verify_at: Option<Time>,
        ended_at: Option<Time>,
        ended_by: Option<String>,
        reason: Option<Json<Sealed>>,
        withheld: bool,
    }
}

record! {
    /// What no import brings back, and the ended grant of which somebody said so. Stays when that grant is pruned.
    Withholding in "withholdings" by (holder: HolderId, kind: String, reference: CapabilityRef, source: Source) {
        grant_id: GrantId,
    }
}

record! {
    /// `data` as it was recorded.
    Happening in "grant_history" by (grant_id: GrantId, position: u64) {
        at: Time,
        event: String,
        data: String,
        actor_kind: String,
        actor: String,
        command: String,
        on_behalf_of: Option<String>,
    }
}

pub(super) fn fold(grants: &mut Sheet<HeldGrant>, recorded: &Recorded, event: &GrantEvent) {
    let at = recorded.at;
    let mut change = |grant: &GrantId, change: &dyn Fn(&mut HeldGrant)| grants.change(&(*grant,), change);
    let end = |row: &mut HeldGrant, status: &str, by: EndedBy| {
        status.clone_into(&mut row.status);
        row.ended_at = Some(at);
        row.ended_by = Some(word(&by));
        row.verify_at = None;
    };
    match event {
        GrantEvent::Granted(begun) => grants.put(begin(begun, recorded)),
        GrantEvent::Attenuated { grant, scope, expires_at, .. } => change(grant, &|row| {
            row.scope = Json(scope.clone());
            row.expires_at = *expires_at;
        }),
        GrantEvent::ReverificationRequested { grant } => change(grant, &|row| row.verify_at = Some(at)),
        GrantEvent::Verified { grant } => change(grant, &|row| {
            ACTIVE.clone_into(&mut row.status);
            row.verified_at = Some(at);
            row.failed_attempts = 0;
            row.last_error = None;
            row.verify_at = Some(next_verification(at));
        }),
        GrantEvent::VerificationFailed { grant, failure } => change(grant, &|row| {
            row.failed_attempts += 1;
            row.last_error = Some(word(failure));
            row.verify_at = Some(next_attempt(at, row.failed_attempts));
        }),
        GrantEvent::WentStale { grant } => change(grant, &|row| STALE.clone_into(&mut row.status)),
        GrantEvent::Revoked { grant, by, reason } => change(grant, &|row| {
            end(row, REVOKED, *by);
            row.reason = reason.clone().map(Json);
        }),
        GrantEvent::Expired { grant, by } => change(grant, &|row| end(row, EXPIRED, *by)),
        GrantEvent::Orphaned { grant, by } => change(grant, &|row| end(row, ORPHANED, *by)),
        GrantEvent::Withheld { grant, reason } => change(grant, &|row| row.reason = reason.clone().map(Json)),
        GrantEvent::Pruned { grant } => grants.remove(&(*grant,)),
        GrantEvent::Delegated { .. } | GrantEvent::DelegationEnded { .. } => {}
    }
}

/// What was withheld is so until whoever has the source's authority gives it again.
pub(super) fn withhold(withholdings: &mut Sheet<Withholding>, grants: &mut Sheet<HeldGrant>, event: &GrantEvent) {
    match event {
        GrantEvent::Withheld { grant, .. } => {
            let Some(row) = grants.get(&(*grant,)).cloned() else { return };
            let HeldGrant { grant_id, holder, ref kind, ref reference, source, .. } = row;
            withholdings.put(Withholding {
                holder,
                kind: kind.clone(),
                reference: reference.clone(),
                source,
                grant_id,
            });
            grants.put(HeldGrant { withheld: true, ..row });
        }
        GrantEvent::Granted(begun) if begun.granted_by.is_some() && begun.parent.is_none() => {
            let key = (begun.holder, word(&begun.kind), begun.reference.clone(), begun.source);
            let Some(lifted) = withholdings.get(&key).map(|row| row.grant_id) else { return };
            withholdings.remove(&key);
            grants.change(&(lifted,), |row| row.withheld = false);
        }
        _ => {}
    }
}

fn begin(begun: &Granted, recorded: &Recorded) -> HeldGrant {
    let Granted { grant, holder, source, parent, .. } = *begun;
    let at = recorded.at;
    let is_verified = source.is_imported() && parent.is_none();
    HeldGrant {
        grant_id: grant,
        holder,
        holder_kind: word(&begun.holder_kind),
        kind: word(&begun.kind),
        reference: begun.reference.clone(),
        source,
        scope: Json(begun.scope.clone()),
        delegable: begun.delegable,
        granted_by: begun.granted_by,
        granted_at: at,
        position: recorded.position,
        expires_at: begun.expires_at,
        parent_holder: parent.map(|link| link.holder),
        parent: parent.map(|link| link.grant),
        details: begun.details.clone().map(Json),
        status: ACTIVE.to_owned(),
        verified_at: begun.verified.then_some(at),
        failed_attempts: 0,
        last_error: None,
        // What its source has not said yet is asked for at once.
        verify_at: is_verified.then(|| if begun.verified { next_verification(at) } else { at }),
        ended_at: None,
        ended_by: None,
        reason: None,
        withheld: false,
    }
}

pub(super) fn note(history: &mut Journal<Happening>, recorded: &Recorded, event: &GrantEvent) {
    history.push(Happening {
        grant_id: event.grant(),
        position: recorded.position,
        at: recorded.at,
        event: recorded.kind.clone(),
        data: json(&Event::from(event.clone()).to_parts().1),
        actor_kind: recorded.actor.0.clone(),
        actor: recorded.actor.1.clone(),
        command: recorded.command.clone(),
        on_behalf_of: recorded.on_behalf_of.clone(),
    });
}
