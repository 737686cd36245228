//! Whether a holder may do something with a capability now, and why not. Pure: the caller brings the chain of grants.

use serde::{Serialize, Serializer};

use super::kind::Source;
use super::scope::{Action, Effect, Rate, Scope};
use crate::ids::GrantId;
use crate::time::Time;

/// How old the last verification may be, unless the caller wants it younger: 24 hours, in seconds.
pub const MAX_AGE_SECONDS: u32 = 86_400;

/// What a check has to know about one grant of a chain of delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    pub grant: GrantId,
    /// Absent: it is not in the table any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    pub scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Absent: the city itself is the source, so that its knowledge is never old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_since: Option<Time>,
    pub stale: bool,
    pub living: bool,
    pub holder_active: bool,
}

/// Why the answer is no: the first of these that holds, from the holder's own grant upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    NoGrant,
    HolderNotActive,
    Ended,
    Expired,
    Stale,
    /// Last verified longer ago than asked for.
    TooOld,
    ActionNotAllowed,
    ReadOnly,
    /// Used as often as its rate allows.
    RateLimited,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Yes {
        grant: GrantId,
        /// What the whole chain allows.
        scope: Scope,
        expires_at: Option<Time>,
    },
    No {
        because: Denied,
        /// The grant of the chain that says no.
        grant: Option<GrantId>,
    },
}

impl Answer {
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

/// As one object, of which `allowed` is what most callers read.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            allowed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            because: Option<Denied>,
            #[serde(skip_serializing_if = "Option::is_none")]
            grant: Option<GrantId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            scope: Option<&'a Scope>,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<Time>,
        }
        let said = match self {
            Self::Yes { grant, scope, expires_at } => {
                Said { allowed: true, because: None, grant: Some(*grant), scope: Some(scope), expires_at: *expires_at }
            }
            Self::No { because, grant } => {
                Said { allowed: false, because: Some(*because), grant: *grant, scope: None, expires_at: None }
            }
        };
        said.serialize(serializer)
    }
}

/// The chain begins with the holder's own grant and goes up to the one that was not delegated; empty = there is none.
pub fn check(chain: &[Held], action: &Action, effect: Effect, max_age_seconds: u32, now: Time) -> Answer {
    if chain.is_empty() {
        return Answer::No { because: Denied::NoGrant, grant: None };
    }
    for held in chain {
        if let Some(because) = denied(held, action, effect, max_age_seconds, now) {
            return Answer::No { because, grant: Some(held.grant) };
        }
    }
    let scope = chain.iter().skip(1).fold(chain[0].scope.clone(), |scope, held| scope.meet(&held.scope));
    let expires_at = chain.iter().filter_map(|held| held.expires_at).min();
    Answer::Yes { grant: chain[0].grant, scope, expires_at }
}

/// What a chain of grants comes to now, whatever is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Some action of it may be allowed.
    pub usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Denied>,
    /// The grant of the chain that says no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// What the whole chain allows.
    pub scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// The same chain as for [`check`], which is asked about one action.
pub fn standing(chain: &[Held], now: Time) -> Standing {
    let no = chain.iter().find_map(|held| Some((unusable(held, MAX_AGE_SECONDS, now)?, held.grant)));
    let scope = chain.iter().map(|held| &held.scope).fold(Scope::default(), |scope, above| scope.meet(above));
    let nothing = scope.allow_actions.as_ref().is_some_and(|actions| actions.is_empty());
    let because = match (chain.is_empty(), no) {
        (true, _) => Some(Denied::NoGrant),
        (_, Some((because, _))) => Some(because),
        _ => nothing.then_some(Denied::ActionNotAllowed),
    };
    let expires_at = chain.iter().filter_map(|held| held.expires_at).min();
    Standing { usable: because.is_none(), because, grant: no.map(|(_, grant)| grant), scope, expires_at }
}

fn denied(held: &Held, action: &Action, effect: Effect, max_age_seconds: u32, now: Time) -> Option<Denied> {
    let not_so = || {
        if !held.scope.allows(action) {
            Some(Denied::ActionNotAllowed)
        } else if held.scope.read_only && effect == Effect::Write {
            Some(Denied::ReadOnly)
        } else {
            None
        }
    };
    unusable(held, max_age_seconds, now).or_else(not_so)
}

/// Why nothing at all may be done with it.
fn unusable(held: &Held, max_age_seconds: u32, now: Time) -> Option<Denied> {
    let too_old = |since: Time| since.plus_seconds(max_age_seconds) < now;
    if !held.holder_active {
        Some(Denied::HolderNotActive)
    } else if !held.living {
        Some(Denied::Ended)
    } else if held.expires_at.is_some_and(|end| end <= now) {
        Some(Denied::Expired)
    } else if held.stale {
        Some(Denied::Stale)
    } else if held.fresh_since.is_some_and(too_old) {
        Some(Denied::TooOld)
    } else {
        None
    }
}

/// The rates that one use is charged to: the grant's own and every ancestor's.
pub fn charges(chain: &[Held]) -> impl Iterator<Item = (GrantId, Rate)> + '_ {
    chain.iter().filter_map(|held| held.scope.rate_limit.map(|rate| (held.grant, rate)))
}
