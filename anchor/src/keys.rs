//! Policies about this log: whose lines count on its checkpoints.

use chain::key::VerifierKey;
use chain::policy::Policy;

use crate::AnchorError;

/// The policy that trusts these keys for the log, and the witnesses of `witnesses`, a policy file whose lines about logs do not count.
/// Without one nobody is asked to witness.
pub fn policy_text(keys: &[VerifierKey], witnesses: Option<&str>) -> String {
    let about_witnesses = |line: &&str| {
        let first = line.split_ascii_whitespace().next();
        first.is_some_and(|first| first != "log" && !first.starts_with('#'))
    };
    let logs = keys.iter().map(|key| format!("log {}\n", key.vkey())).collect::<String>();
    let lines = witnesses.unwrap_or("quorum none").lines().filter(about_witnesses);
    format!("{logs}{}\n", lines.collect::<Vec<_>>().join("\n"))
}

/// The same, read.
pub fn policy(keys: &[VerifierKey], witnesses: Option<&str>) -> Result<Policy, AnchorError> {
    Policy::parse(&policy_text(keys, witnesses))
        .map_err(|error| AnchorError::unreadable("the witnesses' policy", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chain::key::{CosigningKey, SigningKey};

    use super::*;

    #[test]
    fn the_log_of_the_policy_is_this_one_whatever_the_file_says() {
        let witness = CosigningKey::from_seed("w.example", [9; 32]).vkey();
        let own = [SigningKey::from_seed("guildhall.example", [7; 32]).verifier()];
        let other = SigningKey::from_seed("another", [8; 32]).vkey();
        let file = format!("# ours\n\n log {other}\nwitness w {witness} https://w.example\nquorum w\n");
        let text = policy_text(&own, Some(&file));
        assert_eq!(text, format!("log {}\nwitness w {witness} https://w.example\nquorum w\n", own[0].vkey()));
        assert!(policy(&own, Some(&file)).unwrap().quorum.is_some());
        assert!(policy(&own, Some("witness w w.example\n")).is_err());
    }
}
