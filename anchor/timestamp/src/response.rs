//! What an authority answers (RFC 3161 section 2.4.2): a token, or why there is none.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Encode as _, Sequence};

use crate::verify::{self, MOST_BYTES, Stamp};
use crate::{Fault, Roots};

/// Characters of an authority's own words that are passed on.
const MOST_WORDS: usize = 200;

/// `PKIFailureInfo`, as far as RFC 3161 uses it.
const FAILURES: &[(usize, &str)] = &[
    (0, "unknown hash function"),
    (2, "bad request"),
    (5, "bad data format"),
    (14, "its clock is not available"),
    (15, "unaccepted policy"),
    (16, "unaccepted extension"),
    (17, "additional information is not available"),
    (25, "its system failed"),
];

#[derive(Debug, Sequence)]
struct TimeStampResp<'a> {
    status: PkiStatusInfo<'a>,
    #[asn1(optional = "true")]
    token: Option<AnyRef<'a>>,
}

#[derive(Debug, Sequence)]
struct PkiStatusInfo<'a> {
    status: u8,
    #[asn1(optional = "true")]
    status_string: Option<Vec<String>>,
    #[asn1(optional = "true")]
    fail_info: Option<BitStringRef<'a>>,
}

/// A token that was asked for and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The DER of the token.
    pub token: Vec<u8>,
    pub stamp: Stamp,
}

/// Takes the token out of an authority's answer to [`crate::request`] and verifies it.
///
/// # Errors
/// When there is no token in it, or not one over this imprint for this nonce under these roots.
pub fn accept(response: &[u8], imprint: &[u8; 32], nonce: u64, roots: &Roots) -> Result<Answered, Fault> {
    if response.len() > MOST_BYTES {
        return Err(Fault::TooLong(response.len()));
    }
    let malformed = Fault::malformed("the answer");
    let response = TimeStampResp::from_der(response).map_err(&malformed)?;
    // 0 is granted, 1 granted with changes: which ones, the token shows.
    if response.status.status > 1 {
        return Err(Fault::Refused(reason(&response.status)));
    }
    let token = response.token.ok_or_else(|| Fault::Refused("it grants, and sends no token".to_owned()))?;
    let token = token.to_der().map_err(&malformed)?;
    let stamp = verify::verify(&token, imprint, roots)?;
    // An answer to somebody else's request, or an old one played back, would be true and still not say when we asked.
    if stamp.nonce != Some(nonce) {
        return Err(Fault::OtherNonce);
    }
    Ok(Answered { token, stamp })
}

fn reason(status: &PkiStatusInfo<'_>) -> String {
    let told = status.status_string.iter().flatten().flat_map(|text| text.chars().chain([' ']));
    let words: String = told.filter(|character| !character.is_control()).take(MOST_WORDS).collect();
    let set: Vec<bool> = status.fail_info.iter().flat_map(|bits| bits.bits()).collect();
    let known = FAILURES.iter().filter(|(bit, _)| set.get(*bit) == Some(&true)).map(|(_, what)| *what);
    let parts = known.chain([words.trim()]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    format!("status {}{}{parts}", status.status, if parts.is_empty() { "" } else { ": " })
}
