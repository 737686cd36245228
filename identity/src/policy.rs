//! The policy table as people read it: every action with the lowest tier that may take it, and the table's version.
//!
//! The table itself is `domain::city::policy`, because roles and keys hand on actions by the same list: what exists and
//! who may take it is one truth, and the rules of the log need it to be replayed.

use std::fmt::Write;
use std::sync::LazyLock;

use domain::party::Tier;
use domain::text::Digest;
use sha2::{Digest as _, Sha256};

pub use domain::city::policy::{POLICY, lowest_tier};

static VERSION: LazyLock<Digest> = LazyLock::new(|| Digest(Sha256::digest(print()).into()));

/// SHA-256 of the printed table: which policy a permit relied on.
pub fn version() -> Digest {
    *VERSION
}

/// One line for each action: the action, spaces up to a column, its lowest tier.
pub fn print() -> String {
    let mut table = String::new();
    for (action, tier) in POLICY {
        writeln!(table, "{action:<32}{}", name(*tier)).expect("writing to a string");
    }
    table
}

fn name(tier: Tier) -> String {
    domain::city::seed_role(tier).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use domain::Command;

    use super::*;

    const QUESTIONS: [&str; 19] = [
        "query.city",
        "query.citizen",
        "query.guild",
        "query.treasury",
        "query.proposal",
        "query.governance_log",
        "query.entry",
        "query.receipt",
        "query.feed",
        "query.conservation",
        "query.keys",
        "query.audit",
        "query.inventory",
        "query.reputation",
        "query.check",
        "query.assert",
        "admin.anchor",
        "admin.replay",
        "admin.metrics",
    ];

    #[test]
    fn every_action_is_in_the_table_and_nothing_else() {
        let expected: BTreeSet<_> = Command::ACTIONS.iter().copied().chain(QUESTIONS).collect();
        let listed: BTreeSet<_> = POLICY.iter().map(|(action, _)| *action).collect();
        assert_eq!(listed, expected);
        assert_eq!(POLICY.len(), listed.len(), "an action has one line");
    }

    #[test]
    fn the_table_is_the_golden_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policy.golden.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, print()).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            golden == print(),
            "who may do what has changed: read the difference, and if it is meant, run\n  \
             UPDATE_GOLDEN=1 cargo test -p guildhall-identity golden\nthe table is now\n{}",
            print()
        );
    }

    #[test]
    fn the_version_names_the_printed_table() {
        assert_eq!(version(), Digest(Sha256::digest(print()).into()));
    }

    #[test]
    fn what_is_not_listed_has_no_tier_at_all() {
        for unknown in ["", "city", "city.fly", "CITY.FOUND", "query.*"] {
            assert_eq!(lowest_tier(unknown), None);
        }
    }

    #[test]
    fn money_is_made_by_principals_only() {
        for action in ["city.register_currency", "citizen.grant_attestation", "admin.replay"] {
            assert_eq!(lowest_tier(action), Some(Tier::Principal));
        }
    }
}
