//! The city folded from its events.

use std::sync::{Arc, LazyLock};

use imbl::{OrdMap, OrdSet};

use super::event::CityEvent;
use super::policy::lowest_tier;
use crate::citizen::Citizen;
use crate::grant::kind::{CapabilityKind, Source};
use crate::grant::scope::{Action, Effect};
use crate::ids::{CitizenId, Slug};
use crate::money::Currency;
use crate::party::Tier;
use crate::time::Time;

/// What an assignment gives: a tier with all that it may do, and single actions beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub tier: Tier,
    pub actions: OrdSet<Arc<str>>,
    pub mfa_required: bool,
}

/// The nine seed roles: one per tier, under its name, without further actions.
static SEED_ROLES: LazyLock<OrdMap<Slug, Role>> = LazyLock::new(|| {
    let role = |tier| Role { tier, actions: OrdSet::new(), mfa_required: false };
    Tier::ALL.into_iter().map(|tier| (seed_role(tier), role(tier))).collect()
});

/// The name of a tier's seed role.
pub fn seed_role(tier: Tier) -> Slug {
    let name = match tier {
        Tier::Observer => "observer",
        Tier::Customer => "customer",
        Tier::Partner => "partner",
        Tier::Worker => "worker",
        Tier::Knight => "knight",
        Tier::Builder => "builder",
        Tier::Gate => "gate",
        Tier::Coordinator => "coordinator",
        Tier::Principal => "principal",
    };
    name.parse().expect("the names of tiers are slugs")
}

pub fn is_seed_role(role: &Slug) -> bool {
    SEED_ROLES.contains_key(role)
}

/// The default is the city before it was founded.
#[derive(Debug, Clone, Default)]
pub struct City {
    founded: bool,
    currencies: OrdMap<Currency, u8>,
    roles: OrdMap<Slug, Role>,
    principals: OrdSet<CitizenId>,
    sources: OrdMap<Source, CitizenId>,
    actions: OrdMap<(CapabilityKind, Action), Effect>,
}

impl City {
    pub const fn exists(&self) -> bool {
        self.founded
    }

    /// How many decimals the currency has; `None` when it is not registered.
    pub fn currency_scale(&self, currency: &Currency) -> Option<u8> {
        self.currencies.get(currency).copied()
    }

    pub fn currencies(&self) -> impl Iterator<Item = (&Currency, u8)> {
        self.currencies.iter().map(|(currency, scale)| (currency, *scale))
    }

    /// A seed role or a defined one. Seed roles come first: an event could not replace them even if one tried.
    pub fn role(&self, role: &Slug) -> Option<&Role> {
        SEED_ROLES.get(role).or_else(|| self.roles.get(role))
    }

    /// Who may grant from this source by hand.
    pub fn source_owner(&self, source: Source) -> Option<CitizenId> {
        self.sources.get(&source).copied()
    }

    /// Whether an action reads or writes; `None` when nobody said.
    pub fn registered_effect(&self, kind: CapabilityKind, action: &Action) -> Option<Effect> {
        self.actions.get(&(kind, action.clone())).copied()
    }

    pub fn registered_actions(&self) -> usize {
        self.actions.len()
    }

    /// The active citizens of tier principal.
    pub const fn principals(&self) -> &OrdSet<CitizenId> {
        &self.principals
    }

    /// The highest tier among a citizen's roles. No role is below every tier: it permits nothing.
    pub fn tier_of(&self, citizen: &Citizen) -> Option<Tier> {
        self.roles_of(citizen).map(|role| role.tier).max()
    }

    /// Whether the citizen's roles permit this action: their tier reaches it, or one of them lists it.
    pub fn permits(&self, citizen: &Citizen, action: &str) -> bool {
        lowest_tier(action).is_some_and(|lowest| {
            self.tier_of(citizen) >= Some(lowest) || self.roles_of(citizen).any(|role| role.actions.contains(action))
        })
    }

    fn roles_of<'a>(&'a self, citizen: &'a Citizen) -> impl Iterator<Item = &'a Role> {
        citizen.roles().iter().filter_map(|role| self.role(role))
    }

    pub fn evolve(&mut self, event: &CityEvent, _at: Time) {
        match event {
            CityEvent::Founded { principal } => {
                self.founded = true;
                self.principals.insert(*principal);
            }
            CityEvent::CurrencyRegistered { currency, scale } => {
                self.currencies.insert(currency.clone(), *scale);
            }
            CityEvent::RoleDefined { role, tier, actions, mfa_required } => {
                let actions = actions.iter().map(|action| Arc::from(action.as_str())).collect();
                self.roles.insert(role.clone(), Role { tier: *tier, actions, mfa_required: *mfa_required });
            }
            CityEvent::SourceAssigned { source, owner: Some(owner) } => {
                self.sources.insert(*source, *owner);
            }
            CityEvent::SourceAssigned { source, owner: None } => {
                self.sources.remove(source);
            }
            CityEvent::ActionRegistered { kind, action, effect } => {
                self.actions.insert((*kind, action.clone()), *effect);
            }
            CityEvent::PrincipalChanged { citizen, active: true } => {
                self.principals.insert(*citizen);
            }
            CityEvent::PrincipalChanged { citizen, active: false } => {
                self.principals.remove(citizen);
            }
        }
    }
}
