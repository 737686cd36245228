//! `currencies`, `roles`, `capability_sources` and `capability_actions`: what the city as a whole has defined.

use domain::city::event::CityEvent;
use domain::grant::kind::Source;
use domain::grant::scope::Action;
use domain::ids::{CitizenId, Slug};
use domain::time::Time;

use crate::field::{Json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    Currency in "currencies" by (currency: domain::money::Currency) { scale: u64, registered_at: Time, position: u64 }
}

record! {
    Role in "roles" by (role: Slug) { tier: String, actions: Json<Vec<String>>, mfa_required: bool, position: u64 }
}

record! {
    CapabilitySource in "capability_sources" by (source: Source) { owner: Option<CitizenId> }
}

record! {
    CapabilityAction in "capability_actions" by (kind: String, action: Action) { effect: String }
}

pub(super) fn fold(currencies: &mut Sheet<Currency>, roles: &mut Sheet<Role>, recorded: &Recorded, event: &CityEvent) {
    let (position, at) = (recorded.position, recorded.at);
    match event {
        CityEvent::CurrencyRegistered { currency, scale } => {
            let currency = currency.clone();
            currencies.put(Currency { currency, scale: (*scale).into(), registered_at: at, position });
        }
        CityEvent::RoleDefined { role, tier, actions, mfa_required } => {
            // Asked for first, because a role may be defined again.
            let position = roles.get(&(role.clone(),)).map_or(position, |known| known.position);
            let (tier, actions) = (word(tier), Json(actions.clone()));
            roles.put(Role { role: role.clone(), tier, actions, mfa_required: *mfa_required, position });
        }
        CityEvent::Founded { .. }
        | CityEvent::PrincipalChanged { .. }
        | CityEvent::SourceAssigned { .. }
        | CityEvent::ActionRegistered { .. } => {}
    }
}

pub(super) fn fold_capabilities(
    sources: &mut Sheet<CapabilitySource>,
    actions: &mut Sheet<CapabilityAction>,
    event: &CityEvent,
) {
    match event {
        CityEvent::SourceAssigned { source, owner } => {
            sources.get(&(*source,));
            sources.put(CapabilitySource { source: *source, owner: *owner });
        }
        CityEvent::ActionRegistered { kind, action, effect } => {
            let (kind, action, effect) = (word(kind), action.clone(), word(effect));
            actions.get(&(kind.clone(), action.clone()));
            actions.put(CapabilityAction { kind, action, effect });
        }
        _ => {}
    }
}
