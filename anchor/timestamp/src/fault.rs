//! Why a token proves nothing.

/// The first thing that is wrong with a token, or with the answer that should have held one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it has {0} bytes, which is more than any token needs")]
    TooLong(usize),
    #[error("{what} is not the DER it should be: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("{0} is of a kind that is not supported")]
    Unsupported(&'static str),
    #[error("the authority refuses: {0}")]
    Refused(String),
    #[error("it is no signed time stamp, but content of the type {0}")]
    OtherContent(String),
    #[error("it holds what nothing signs: {0}")]
    Unsigned(&'static str),
    #[error("{0} signers signed it, and not one")]
    NotOneSigner(usize),
    #[error("its signed attribute {0} is missing, or there more than once")]
    Attribute(&'static str),
    #[error("its signature is over other content")]
    OtherDigest,
    #[error("it is a time stamp over something else")]
    OtherImprint,
    #[error("it is the answer to another request")]
    OtherNonce,
    #[error("it does not hold the certificate that it says it was signed with")]
    NoCertificate,
    #[error("it holds {0} certificates, which is more than any path needs")]
    TooManyCertificates(usize),
    #[error("it holds a certificate that leads from the signer's to no configured root, or one twice")]
    CertificateTooMany,
    #[error("{0}")]
    Usage(&'static str),
    #[error("its certificate does not lead to a configured root at {at}: {why}")]
    Chain { at: String, why: String },
    #[error("it names an authority that its certificate does not")]
    OtherName,
    #[error("its signature is not that of its certificate")]
    Signature,
}

impl Fault {
    pub(crate) fn malformed(what: &'static str) -> impl Fn(der::Error) -> Self {
        move |error| Self::Malformed { what, why: error.to_string() }
    }
}

/// Why a file holds no roots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRoots {
    #[error("it is not PEM: {0}")]
    NotPem(String),
    #[error("it holds no certificate")]
    Empty,
    #[error("its certificate {0}, counted from 1, cannot be read")]
    Certificate(usize),
}
