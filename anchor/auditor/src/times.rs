//! Time tokens: what somebody else's clock says about an anchor, checked from its bytes and a root certificate alone.

use chain::hash::sha256;
use timestamp::{Fault, GenTime, Roots};

/// How far an anchor's own time may be from its token's, in seconds: two clocks differ, and asking takes a while.
const MOST_APART: u64 = 300;

/// When an authority saw this anchor (FORMAT.md section 9.5).
///
/// `stamped` is the anchor's canonical bytes without the key `time`, `token` the DER that the key holds.
///
/// # Errors
/// Why the token proves nothing about this anchor.
pub fn check(stamped: &[u8], token: &[u8], roots: &Roots) -> Result<GenTime, Fault> {
    timestamp::verify(token, sha256(&[stamped]).as_bytes(), roots).map(|stamp| stamp.gen_time)
}

/// Whether the time that an anchor gives itself is the one at which it was seen: one that was made later than it says is not.
///
/// # Errors
/// What to report.
pub fn agree(at: &str, seen: GenTime) -> Result<(), String> {
    match seen.seconds_from(at) {
        Some(apart) if apart <= MOST_APART => Ok(()),
        _ => Err(format!("it says it was made at {at}, and its time token that it was seen at {seen}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STAMPED: &[u8] = include_bytes!("../../timestamp/vectors/stamped.json");
    const TOKEN: &[u8] = include_bytes!("../../timestamp/vectors/accept/direct.der");

    fn roots(pem: &[u8]) -> Roots {
        Roots::from_pem(pem).unwrap()
    }

    fn root() -> Roots {
        roots(include_bytes!("../../timestamp/vectors/root.pem"))
    }

    #[test]
    fn a_token_says_when_the_anchor_was_there() {
        assert_eq!(check(STAMPED, TOKEN, &root()).unwrap().to_string(), "2026-11-28T02:56:54.808522Z");
    }

    #[test]
    fn a_token_is_for_one_anchor_and_every_byte_of_it() {
        for index in 0..STAMPED.len() {
            let mut other = STAMPED.to_vec();
            other[index] ^= 1;
            assert_eq!(check(&other, TOKEN, &root()), Err(Fault::OtherImprint), "byte {index}");
        }
    }

    #[test]
    fn a_token_counts_only_under_the_roots_that_the_auditor_brings() {
        let other = roots(include_bytes!("../../timestamp/vectors/other.pem"));
        assert!(matches!(check(STAMPED, TOKEN, &other), Err(Fault::Chain { .. })));
    }

    #[test]
    fn a_token_from_before_or_after_its_certificate_says_so() {
        for (token, reason) in [
            (include_bytes!("../../timestamp/vectors/reject/certificate-expired.der").as_slice(), "CertExpired"),
            (include_bytes!("../../timestamp/vectors/reject/certificate-not-yet-valid.der"), "CertNotValidYet"),
        ] {
            let fault = check(STAMPED, token, &root()).unwrap_err().to_string();
            assert!(fault.contains(reason), "{fault}");
        }
    }

    #[test]
    fn an_anchor_that_is_dated_back_or_ahead_says_another_time_than_its_token() {
        let seen = check(STAMPED, TOKEN, &root()).unwrap();
        for (at, agrees) in [
            ("2026-11-28T02:56:54.000000Z", true),
            ("2026-11-28T02:51:54.000000Z", true),
            ("2026-11-28T03:01:54.999999Z", true),
            ("2026-11-28T02:51:53.999999Z", false),
            ("2026-11-28T03:01:55.000000Z", false),
            // What the example itself says, which was stamped later.
            ("2026-07-04T09:10:00.000000Z", false),
            ("2026-11-28", false),
            ("1969-12-31T23:59:59.000000Z", false),
        ] {
            assert_eq!(agree(at, seen).is_ok(), agrees, "{at}");
        }
        let what = agree("2026-07-04T09:10:00.000000Z", seen).unwrap_err();
        assert!(what.contains("2026-07-04T09:10:00.000000Z") && what.contains("2026-11-28T02:56:54.808522Z"), "{what}");
    }
}
