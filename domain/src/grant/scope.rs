//! What a grant allows: actions, reading only, how often. Scopes only ever get narrower on their way down.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Malformed, Slug, text_serde};

/// Most actions that one scope can list.
pub const MAX_ACTIONS: usize = 100;

/// The name of something done with a capability: like a slug, with dots, underscores and colons inside.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(Arc<str>);

impl Action {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Action {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inside = |b: u8| plain(b) || matches!(b, b'-' | b'_' | b'.' | b':');
        let good = (1..=64).contains(&text.len()) && plain(text.as_bytes()[0]) && text.bytes().all(inside);
        if good {
            Ok(Self(text.into()))
        } else {
            Err(Malformed::new("an action of 1 to 64 characters a-z, 0-9, '-_.:'", text))
        }
    }
}

text_serde!(Action);

impl From<&Slug> for Action {
    fn from(slug: &Slug) -> Self {
        Self(slug.as_str().into())
    }
}

/// Whether an action changes something. What nobody registered counts as writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Read,
    Write,
}

/// The window of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    Second,
    Minute,
    Hour,
    Day,
}

impl Per {
    const ALL: [(Self, char, u32); 4] =
        [(Self::Second, 's', 1), (Self::Minute, 'm', 60), (Self::Hour, 'h', 3600), (Self::Day, 'd', 86_400)];

    fn entry(self) -> (char, u32) {
        let (_, letter, seconds) =
            Self::ALL.into_iter().find(|(per, ..)| *per == self).expect("every window is listed");
        (letter, seconds)
    }

    pub fn seconds(self) -> u32 {
        self.entry().1
    }
}

/// At most so many uses in any window: written `100/h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    pub uses: u32,
    pub per: Per,
}

/// Most uses that a rate can name.
pub const MAX_USES: u32 = 1_000_000;

impl Rate {
    /// Whether everything that this admits is admitted by the other: no more uses, in a window no shorter.
    pub fn is_within(self, other: Self) -> bool {
        self.uses <= other.uses && self.per >= other.per
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uses, self.per.entry().0)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Rate {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("a rate such as 100/h: 1 to 1000000 uses per s, m, h or d", text);
        let (uses, per) = text.split_once('/').ok_or_else(malformed)?;
        let (per, ..) = Per::ALL.into_iter().find(|(_, letter, _)| per == letter.to_string()).ok_or_else(malformed)?;
        let number: u32 = uses.parse().map_err(|_| malformed())?;
        let good = (1..=MAX_USES).contains(&number) && number.to_string() == uses;
        if good { Ok(Self { uses: number, per }) } else { Err(malformed()) }
    }
}

text_serde!(Rate);

/// What may be done. The default is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Absent = all. An empty list allows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_actions: Option<BTreeSet<Action>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Rate>,
}

impl Scope {
    pub fn is_too_long(&self) -> bool {
        self.allow_actions.as_ref().is_some_and(|actions| actions.len() > MAX_ACTIONS)
    }

    pub fn allows(&self, action: &Action) -> bool {
        self.allow_actions.as_ref().is_none_or(|actions| actions.contains(action))
    }

    /// Whether this allows nothing that the other does not.
    pub fn is_within(&self, other: &Self) -> bool {
        let actions = match (&self.allow_actions, &other.allow_actions) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        let rate = match (self.rate_limit, other.rate_limit) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_within(theirs),
        };
        actions && rate && (self.read_only || !other.read_only)
    }

    /// What both allow. Of two rates the narrower where one is; each grant is charged for its own anyhow.
    pub fn meet(&self, other: &Self) -> Self {
        let allow_actions = match (&self.allow_actions, &other.allow_actions) {
            (None, actions) | (actions, None) => actions.clone(),
            (Some(mine), Some(theirs)) => Some(mine.intersection(theirs).cloned().collect()),
        };
        let rate_limit = match (self.rate_limit, other.rate_limit) {
            (None, rate) | (rate, None) => rate,
            (Some(mine), Some(theirs)) if theirs.is_within(mine) => Some(theirs),
            (mine, Some(_)) => mine,
        };
        Self { allow_actions, read_only: self.read_only || other.read_only, rate_limit }
    }

    /// The widest scope within both, also where neither rate is the narrower one: for one grant that is charged in the place of two.
    pub fn within_both(&self, other: &Self) -> Self {
        let rate_limit = match (self.rate_limit, other.rate_limit) {
            (None, rate) | (rate, None) => rate,
            (Some(mine), Some(theirs)) => {
                Some(Rate { uses: mine.uses.min(theirs.uses), per: mine.per.max(theirs.per) })
            }
        };
        Self { rate_limit, ..self.meet(other) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn any_scope() -> impl Strategy<Value = Scope> {
        let actions = proptest::option::of(proptest::collection::btree_set("[ab]", 0..3));
        let rates = proptest::sample::select(vec![None, Some("1/s"), Some("5/m"), Some("5/h"), Some("100/h")]);
        (actions, any::<bool>(), rates).prop_map(|(actions, read_only, rate)| Scope {
            allow_actions: actions.map(|actions| actions.iter().map(|action| action.parse().unwrap()).collect()),
            read_only,
            rate_limit: rate.map(|rate| rate.parse().unwrap()),
        })
    }

    proptest! {
        #[test]
        fn the_meet_allows_only_what_both_allow(a in any_scope(), b in any_scope()) {
            let meet = a.meet(&b);
            for action in ["a", "b", "c"] {
                let action = action.parse().unwrap();
                prop_assert_eq!(meet.allows(&action), a.allows(&action) && b.allows(&action));
            }
            prop_assert_eq!(meet.read_only, a.read_only || b.read_only);
        }

        #[test]
        fn what_is_within_both_is_the_widest_of_it(a in any_scope(), b in any_scope(), c in any_scope()) {
            let both = a.within_both(&b);
            prop_assert!(both.is_within(&a) && both.is_within(&b));
            prop_assert!(!(c.is_within(&a) && c.is_within(&b)) || c.is_within(&both));
        }

        #[test]
        fn within_is_an_order(a in any_scope(), b in any_scope(), c in any_scope()) {
            prop_assert!(a.is_within(&a));
            prop_assert!(!(a.is_within(&b) && b.is_within(&c)) || a.is_within(&c));
            prop_assert!(!(a.is_within(&b) && b.is_within(&a)) || a == b);
            if a.is_within(&b) {
                prop_assert_eq!(a.meet(&b), a);
            }
        }
    }

    #[test]
    fn a_rate_has_one_spelling() {
        for good in ["1/s", "60/m", "100/h", "1000000/d"] {
            assert_eq!(good.parse::<Rate>().unwrap().to_string(), good);
        }
        for bad in ["", "0/h", "01/h", "+1/h", "1000001/h", "10/w", "10", "10/", "10/hh", "-1/h"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_burst_is_not_within_a_slower_window() {
        let rate = |text: &str| text.parse::<Rate>().unwrap();
        assert!(rate("10/h").is_within(rate("10/m")));
        assert!(!rate("60/h").is_within(rate("10/m")), "60 uses in one minute");
        assert!(!rate("1/s").is_within(rate("60/m")), "the other way it is 3600 an hour, but no wider window");
    }
}
