//! What one listing comes to for each capability: one rule for whoever imports and whoever verifies.
//!
//! Of several rows for one capability of one holder the first counts, and the others are to be reported. Only that it ended counts in
//! every row: nobody has what any row of the listing says was taken away or is over, in whatever order the rows stand. Where two things
//! stand under one ref, nobody knows which of them a grant is: neither counts.

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

/// What tells two things under one ref apart: of a token its hash. Two exports may well number their tokens alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(Key);

impl Identity {
    pub(crate) fn of(text: &str) -> Self {
        Self(short_hash(text))
    }
}

/// A row among those of the same capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    First,
    /// Not the first: it counts for nothing, but for an end that it tells of.
    Again,
}

/// How something ended: what was taken away is more than what is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Expired,
    Revoked,
}

/// Folded from the rows of a listing. It says something of them only when all of them were met.
#[derive(Debug)]
pub struct Account {
    now: Time,
    met: HashSet<Key>,
    /// Refs of rows that were not understood, or have no holder here.
    unread: HashSet<Key>,
    /// Refs of which a row says that they ended: nobody's any more.
    ended: HashMap<Key, End>,
    /// What stands under each ref, and refs under which there is more than one thing: nothing is known of these.
    identities: HashMap<Key, Identity>,
    twice: HashSet<Key>,
    /// There were rows that may have been anything.
    blind: bool,
    broken_off: Option<FailureKind>,
}

impl Account {
    pub fn new(now: Time) -> Self {
        let (met, unread, ended) = (HashSet::new(), HashSet::new(), HashMap::new());
        let (identities, twice) = (HashMap::new(), HashSet::new());
        Self { now, met, unread, ended, identities, twice, blind: false, broken_off: None }
    }

    pub fn key(holder: HolderId, kind: CapabilityKind, reference: &CapabilityRef) -> Key {
        short_hash(&format!("{holder}\n{kind}\n{reference}"))
    }

    /// Whether the source has listed something else under this ref. Asked of every row before anything else: neither counts then.
    pub fn is_another(&mut self, listed: &Listed) -> bool {
        let Some(identity) = listed.identity else { return false };
        let short = short_hash(listed.reference.as_str());
        let is_another = *self.identities.entry(short).or_insert(identity) != identity;
        if is_another {
            self.twice.insert(short);
        }
        is_another
    }

    pub fn meet(&mut self, holder: HolderId, listed: &Listed) -> Met {
        match listed.life {
            Life::Revoked => self.end(&listed.reference, End::Revoked),
            Life::Expired => self.end(&listed.reference, End::Expired),
            // A source that forgets to say so when an end has come is not asked to.
            Life::Living if self.is_over(listed.expires_at) => self.end(&listed.reference, End::Expired),
            Life::Living => {}
        }
        let is_first = self.met.insert(Self::key(holder, listed.kind, &listed.reference));
        if is_first { Met::First } else { Met::Again }
    }

    /// A row that was not understood, or is nobody's here.
    pub fn misses(&mut self, about: &About) {
        match about {
            About::Over(refs, end) if self.is_over(Some(*end)) => {
                refs.iter().for_each(|reference| self.end(reference, End::Expired));
            }
            About::Ended(refs) => refs.iter().for_each(|reference| self.end(reference, End::Revoked)),
            About::Refs(refs) | About::Over(refs, _) => {
                self.unread.extend(refs.iter().map(|reference| short_hash(reference.as_str())));
            }
            About::Twice(refs) => self.twice.extend(refs.iter().map(|reference| short_hash(reference.as_str()))),
            About::Anything => self.blind = true,
        }
    }

    fn is_over(&self, end: Option<Time>) -> bool {
        end.is_some_and(|end| end <= self.now)
    }

    fn end(&mut self, reference: &CapabilityRef, end: End) {
        let ended = self.ended.entry(short_hash(reference.as_str())).or_insert(end);
        *ended = end.max(*ended);
    }

    /// The listing did not come to its end, or is not believed.
    pub fn breaks_off(&mut self, failure: FailureKind) {
        self.broken_off = Some(failure);
    }

    /// Somebody looked: rows that may have been anything were nothing that was held.
    pub fn overlook(&mut self) {
        self.blind = false;
    }

    /// What the whole listing says of a capability. What was read is so, whatever came after it; that something ended is so whether or
    /// not the listing came to its own end.
    pub fn verdict(&self, holder: HolderId, kind: CapabilityKind, reference: &CapabilityRef) -> Verdict {
        let short = short_hash(reference.as_str());
        if self.twice.contains(&short) {
            return Verdict::Unknown(FailureKind::Malformed);
        }
        match self.ended.get(&short) {
            Some(End::Revoked) => return Verdict::Revoked,
            Some(End::Expired) => return Verdict::Expired,
            None => {}
        }
        if self.met.contains(&Self::key(holder, kind, reference)) {
            return Verdict::Alive;
        }
        if let Some(failure) = self.broken_off {
            return Verdict::Unknown(failure);
        }
        if self.blind || self.unread.contains(&short) {
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
            identity: None,
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
    fn a_row_that_ends_something_ends_it_wherever_it_stands() {
        let (living, revoked) = (row("a", Life::Living), row("a", Life::Revoked));
        let met = |rows: [(HolderId, &Listed); 2]| {
            let mut account = Account::new(Time::from_micros(1_000_000));
            let told = rows.map(|(holder, listed)| account.meet(holder, listed));
            (told, [ANN, BEN].map(|holder| says(&account, holder, "a")))
        };
        let (twice, both) = ([Met::First, Met::Again], [Verdict::Revoked; 2]);
        assert_eq!(met([(ANN, &living), (ANN, &revoked)]), (twice, both));
        assert_eq!(met([(ANN, &revoked), (ANN, &living)]), (twice, both));
        assert_eq!(met([(ANN, &living), (BEN, &revoked)]), ([Met::First; 2], both), "whoever holds it");
        assert_eq!(met([(BEN, &revoked), (ANN, &living)]), ([Met::First; 2], both));
        assert_eq!(met([(ANN, &living), (ANN, &living)]), (twice, [Verdict::Alive, Verdict::Gone]));
        let expired = row("a", Life::Expired);
        assert_eq!(met([(ANN, &revoked), (ANN, &expired)]), (twice, both), "taken away is more than over");
        assert_eq!(met([(ANN, &expired), (BEN, &living)]).1, [Verdict::Expired; 2]);
    }

    #[test]
    fn of_two_things_under_one_ref_neither_counts() {
        let token = |hash: &str, life| Listed { identity: Some(Identity::of(hash)), ..row("1", life) };
        let unknown = Verdict::Unknown(FailureKind::Malformed);
        for rows in [
            [(ANN, token("a", Life::Living)), (BEN, token("b", Life::Revoked))],
            [(BEN, token("b", Life::Revoked)), (ANN, token("a", Life::Living))],
        ] {
            let mut account = Account::new(Time::from_micros(1_000_000));
            let [first, second] = &rows;
            assert!(!account.is_another(&first.1));
            account.meet(first.0, &first.1);
            assert!(!account.is_another(&first.1), "the same once more");
            assert!(account.is_another(&second.1));
            assert_eq!([ANN, BEN].map(|holder| says(&account, holder, "1")), [unknown; 2]);
        }
        let mut account = Account::new(Time::from_micros(1_000_000));
        account.meet(ANN, &row("weld", Life::Living));
        account.misses(&About::Twice(vec!["weld".parse().unwrap()]));
        assert_eq!(says(&account, ANN, "weld"), unknown);
    }

    #[test]
    fn what_nobody_is_known_for_ends_before_and_behind_what_somebody_has() {
        let over = Listed { expires_at: Some(Time::from_micros(1_000_000)), ..row("a", Life::Living) };
        for (nobodys, verdict) in [
            (row("a", Life::Revoked), Verdict::Revoked),
            (row("a", Life::Expired), Verdict::Expired),
            (over, Verdict::Expired),
            (row("a", Life::Living), Verdict::Alive),
        ] {
            for first in [true, false] {
                let mut account = Account::new(Time::from_micros(1_000_000));
                for nobody in [first, !first] {
                    if nobody {
                        account.misses(&About::unheld(&nobodys));
                    } else {
                        assert_eq!(account.meet(ANN, &row("a", Life::Living)), Met::First);
                    }
                }
                assert_eq!(says(&account, ANN, "a"), verdict, "{nobodys:?}, first: {first}");
            }
        }
    }

    #[test]
    fn what_has_come_to_its_end_is_expired_whether_or_not_its_source_says_so() {
        let mut account = Account::new(Time::from_micros(1_000_000));
        for (reference, life, end, verdict) in [
            ("a", Life::Living, 1_000_001, Verdict::Alive),
            ("b", Life::Living, 1_000_000, Verdict::Expired),
            ("c", Life::Revoked, 999, Verdict::Revoked),
        ] {
            account.meet(ANN, &Listed { expires_at: Some(Time::from_micros(end)), ..row(reference, life) });
            assert_eq!(says(&account, ANN, reference), verdict, "{reference}");
        }
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
        account.misses(&About::named("a").ending(Some(Life::Revoked), None));
        account.misses(&About::named("b").ending(Some(Life::Revoked), None));
        account.breaks_off(FailureKind::TimedOut);
        assert_eq!(["a", "b"].map(|reference| says(&account, BEN, reference)), [Verdict::Revoked; 2]);
        assert_eq!(says(&account, ANN, "a"), Verdict::Revoked, "whatever another row says");
        account.meet(BEN, &row("b", Life::Living));
        assert_eq!(says(&account, BEN, "b"), Verdict::Revoked);
    }

    #[test]
    fn a_fifth_may_go_and_not_all_of_it() {
        assert!(!is_too_much(0, 0) && !is_too_much(1, 5) && !is_too_much(20, 100));
        assert!(is_too_much(1, 1) && is_too_much(1, 4) && is_too_much(21, 100));
    }
}
