//! `currencies` and `roles`: what the city as a whole has defined.

use domain::city::event::CityEvent;
use domain::ids::Slug;
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
        CityEvent::Founded { .. } | CityEvent::PrincipalChanged { .. } => {}
    }
}
