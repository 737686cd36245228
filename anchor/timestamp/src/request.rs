//! What an authority is asked (RFC 3161 section 2.4.1).

use der::asn1::OctetStringRef;
use der::{Encode as _, Sequence};
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::Fault;
use crate::digest::Digest;

/// `MessageImprint`: of what it is to be said that it was there.
#[derive(Debug, Sequence)]
pub(crate) struct Imprint<'a> {
    pub hash_algorithm: AlgorithmIdentifierRef<'a>,
    pub hashed_message: &'a OctetStringRef,
}

#[derive(Debug, Sequence)]
struct TimeStampReq<'a> {
    version: u8,
    message_imprint: Imprint<'a>,
    nonce: u64,
    cert_req: bool,
}

/// A request for a token over a SHA-256 hash: one with the authority's certificates inside, and under the policy of its choice.
///
/// # Errors
/// Never for any hash and nonce; the encoder has errors that these values cannot raise.
pub fn request(imprint: &[u8; 32], nonce: u64) -> Result<Vec<u8>, Fault> {
    let failed = Fault::malformed("the request");
    let hashed_message = OctetStringRef::new(imprint).map_err(&failed)?;
    let message_imprint = Imprint { hash_algorithm: Digest::sha256(), hashed_message };
    TimeStampReq { version: 1, message_imprint, nonce, cert_req: true }.to_der().map_err(&failed)
}
