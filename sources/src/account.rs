//! What one listing comes to for each capability: one rule for whoever imports and whoever verifies.
//!
//! Of several rows for one capability of one holder the first counts, whatever the others say; they are to be reported.

use std::collections::{HashMap, HashSet};

use domain::grant::command::Verdict;
use domain::grant::event::FailureKind;
use domain::grant::kind::{CapabilityKind, CapabilityRef};
use domain::party::HolderId;
use domain::time::Time;
use sha2::{Digest as _, Sha256};

use crate::{About, Life, Listed};

/// What stands for a capability of a holder, or for a ref: 16 bytes of a hash, so that memory does not depend on how long names are.
pub type Key = u128;

/// A row among those of the same capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    First(Verdict),
    /// Not the first: it counts for nothing.
    Again,
}

/// Folded from the rows of a listing in their order.
#[derive(Debug)]
pub struct Account {
    now: Time,
    met: HashMap<Key, Verdict>,
    /// Refs of rows that were not understood, or have no holder here.
    unread: HashSet<Key>,
    /// Refs that a row which was not understood says were taken away: nobody's any more.
    ended: HashSet<Key>,
    /// There were rows that may have been anything.
    blind: bool,
    broken_off: Option<FailureKind>,
}

impl Account {
    pub fn new(now: Time) -> Self {
        Self { now, met: HashMap::new(), unread: HashSet::new(), ended: HashSet::new(), blind: false, broken_off: None }
    }

    pub fn key(holder: HolderId, kind: CapabilityKind, reference: &CapabilityRef) -> Key {
        short_hash(&format!("{holder}\n{kind}\n{reference}"))
    }

    pub fn meet(&mut self, holder: HolderId, listed: &Listed) -> Met {
        let verdict = match listed.life {
            Life::Living if self.is_ended(&listed.reference) => Verdict::Revoked,
            // A source that forgets to say so when an end has come is not asked to.
            Life::Living if listed.expires_at.is_some_and(|end| end <= self.now) => Verdict::Expired,
            Life::Living => Verdict::Alive,
            Life::Revoked => Verdict::Revoked,
            Life::Expired => Verdict::Expired,
        };
        let key = Self::key(holder, listed.kind, &listed.reference);
        let mut again = true;
        self.met.entry(key).or_insert_with(|| {
            again = false;
            verdict
        });
        if again { Met::Again } else { Met::First(verdict) }
    }

    /// A row that was not understood, or is nobody's here.
    pub fn misses(&mut self, about: &About) {
        match about {
            About::Refs(refs) => {
                self.unread.extend(refs.iter().map(|reference| short_hash(reference.as_str())));
            }
            About::Ended(refs) => {
                self.ended.extend(refs.iter().map(|reference| short_hash(reference.as_str())));
            }
            About::Anything => self.blind = true,
        }
    }

    /// The listing did not come to its end, or is not believed.
    pub fn breaks_off(&mut self, failure: FailureKind) {
        self.broken_off = Some(failure);
    }

    /// Somebody looked: rows that may have been anything were nothing that was held.
    pub fn overlook(&mut self) {
        self.blind = false;
    }

    /// Whether a row that was not understood says that it was taken away: whether or not the listing comes to its end.
    pub fn is_ended(&self, reference: &CapabilityRef) -> bool {
        self.ended.contains(&short_hash(reference.as_str()))
    }

    /// What the whole listing says of a capability.
    pub fn verdict(&self, holder: HolderId, kind: CapabilityKind, reference: &CapabilityRef) -> Verdict {
        if self.is_ended(reference) {
            return Verdict::Revoked;
        }
        if let Some(verdict) = self.met.get(&Self::key(holder, kind, reference)) {
            // What was read is so, whatever came after it.
            return *verdict;
        }
        if let Some(failure) = self.broken_off {
            return Verdict::Unknown(failure);
        }
        if self.blind || self.unread.contains(&short_hash(reference.as_str())) {
            return Verdict::Unknown(FailureKind::Malformed);
        }
        Verdict::Gone
    }
}

/// A source that lost so much of what it had is not believed: all of it, or more than a fifth.
pub const fn is_too_much(lost: u64, all: u64) -> bool {
    lost > 0 && (lost >= all || lost * 5 > all)
}

fn short_hash(text: &str) -> Key {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use domain::ids::CitizenId;

    use super::*;

    const ANN: HolderId = HolderId::Citizen(CitizenId::from_bits(1));
    const BEN: HolderId = HolderId::Citizen(CitizenId::from_bits(2));

    fn row(reference: &str, life: Life) -> Listed {
        Listed {
            names: Vec::new(),
            whose: None,
            kind: CapabilityKind::Credential,
            reference: reference.parse().unwrap(),
            life,
            expires_at: None,
            read_only: false,
            details: None,
            place: String::new(),
        }
    }

    fn says(account: &Account, holder: HolderId, reference: &str) -> Verdict {
        account.verdict(holder, CapabilityKind::Credential, &reference.parse().unwrap())
    }

    #[test]
    fn of_several_rows_the_first_counts() {
        let mut account = Account::new(Time::from_micros(1_000_000));
        assert_eq!(account.meet(ANN, &row("a", Life::Living)), Met::First(Verdict::Alive));
        assert_eq!(account.meet(ANN, &row("a", Life::Revoked)), Met::Again);
        assert_eq!(account.meet(BEN, &row("a", Life::Revoked)), Met::First(Verdict::Revoked), "another holder's");
        assert_eq!(account.meet(BEN, &row("a", Life::Living)), Met::Again);
        assert_eq!((says(&account, ANN, "a"), says(&account, BEN, "a")), (Verdict::Alive, Verdict::Revoked));
    }

    #[test]
    fn what_has_come_to_its_end_is_expired_whether_or_not_its_source_says_so() {
        let mut account = Account::new(Time::from_micros(1_000_000));
        let row =
            |reference: &str, life, end| Listed { expires_at: Some(Time::from_micros(end)), ..row(reference, life) };
        let mut meet = |reference, life, end| account.meet(ANN, &row(reference, life, end));
        assert_eq!(meet("a", Life::Living, 1_000_001), Met::First(Verdict::Alive));
        assert_eq!(meet("b", Life::Living, 1_000_000), Met::First(Verdict::Expired));
        assert_eq!(meet("c", Life::Revoked, 999), Met::First(Verdict::Revoked));
    }

    #[test]
    fn what_was_not_understood_is_unknown_and_not_gone() {
        let unknown = Verdict::Unknown(FailureKind::Malformed);
        let mut account = Account::new(Time::from_micros(1_000_000));
        account.meet(ANN, &row("a", Life::Living));
        account.misses(&About::named("b"));
        account.misses(&About::named("sk-loom-0123456789abcdef"));
        assert_eq!([says(&account, ANN, "b"), says(&account, BEN, "b")], [unknown, unknown], "whoever holds it");
        assert_eq!(says(&account, ANN, "c"), Verdict::Gone);
        account.misses(&About::Anything);
        assert_eq!([says(&account, ANN, "c"), says(&account, ANN, "a")], [unknown, Verdict::Alive]);
        account.overlook();
        assert_eq!([says(&account, ANN, "b"), says(&account, ANN, "c")], [unknown, Verdict::Gone]);
        account.breaks_off(FailureKind::TimedOut);
        assert_eq!(says(&account, ANN, "c"), Verdict::Unknown(FailureKind::TimedOut));
        assert_eq!(says(&account, ANN, "a"), Verdict::Alive, "what was read is so");
    }

    #[test]
    fn what_a_row_says_was_taken_away_is_nobodys_whatever_else_it_says() {
        let mut account = Account::new(Time::from_micros(1_000_000));
        account.meet(ANN, &row("a", Life::Living));
        account.misses(&About::named("a").ended());
        account.misses(&About::named("b").ended());
        account.breaks_off(FailureKind::TimedOut);
        assert_eq!(["a", "b"].map(|reference| says(&account, BEN, reference)), [Verdict::Revoked; 2]);
        assert_eq!(says(&account, ANN, "a"), Verdict::Revoked, "whatever another row says");
        assert_eq!(account.meet(BEN, &row("b", Life::Living)), Met::First(Verdict::Revoked));
    }

    #[test]
    fn a_fifth_may_go_and_not_all_of_it() {
        assert!(!is_too_much(0, 0) && !is_too_much(1, 5) && !is_too_much(20, 100));
        assert!(is_too_much(1, 1) && is_too_much(1, 4) && is_too_much(21, 100));
    }
}
