//! The hash functions and signatures that tokens are made with.

use der::asn1::ObjectIdentifier;
use rustls_pki_types::SignatureVerificationAlgorithm;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use webpki::ring;
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::Fault;

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// The hash function that is named here. Others, SHA-1 among them, are not taken.
    pub fn named(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Self, Fault> {
        let digest = match algorithm.oid {
            SHA_256 => Self::Sha256,
            SHA_384 => Self::Sha384,
            SHA_512 => Self::Sha512,
            _ => return Err(Fault::Unsupported("its hash function")),
        };
        has_no_parameters(algorithm).then_some(digest).ok_or(Fault::Unsupported("its hash function"))
    }

    /// SHA-256, as requests and imprints write it.
    pub const fn sha256() -> AlgorithmIdentifierRef<'static> {
        AlgorithmIdentifierRef { oid: SHA_256, parameters: None }
    }

    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// How a signature of this name over this hash may be verified: which of them it is, the key decides.
pub(crate) fn verifiers(
    signature: &AlgorithmIdentifierRef<'_>,
    digest: Digest,
) -> Result<Vec<&'static dyn SignatureVerificationAlgorithm>, Fault> {
    let found: Vec<&'static dyn SignatureVerificationAlgorithm> = match (signature.oid, digest) {
        (RSA | RSA_SHA_256, Digest::Sha256) => vec![ring::RSA_PKCS1_2048_8192_SHA256],
        (RSA | RSA_SHA_384, Digest::Sha384) => vec![ring::RSA_PKCS1_2048_8192_SHA384],
        (RSA | RSA_SHA_512, Digest::Sha512) => vec![ring::RSA_PKCS1_2048_8192_SHA512],
        (ECDSA_SHA_256, Digest::Sha256) => vec![ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA256],
        (ECDSA_SHA_384, Digest::Sha384) => vec![ring::ECDSA_P256_SHA384, ring::ECDSA_P384_SHA384],
        _ => return Err(Fault::Unsupported("its signature")),
    };
    has_no_parameters(signature).then_some(found).ok_or(Fault::Unsupported("its signature"))
}

/// Absent, or NULL: authorities write both.
pub(crate) fn has_no_parameters(algorithm: &AlgorithmIdentifierRef<'_>) -> bool {
    algorithm.parameters.is_none_or(|parameters| parameters.is_null())
}
