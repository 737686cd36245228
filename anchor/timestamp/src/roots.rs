//! The certificates that a token must lead to: what an operator configures and an auditor brings.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::NotRoots;
use crate::certificate::validity;

/// One root or several: an authority that changes its root is trusted under both.
#[derive(Debug, Clone)]
pub struct Roots(Vec<Root>);

#[derive(Debug, Clone)]
struct Root {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    valid: (u64, u64),
}

impl Roots {
    /// Reads the certificates of a PEM file; other sections and text between them are passed over.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NotRoots> {
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| NotRoots::NotPem(error.to_string()))?;
            let number = roots.len() + 1;
            roots.push(Root::read(certificate).ok_or(NotRoots::Certificate(number))?);
        }
        if roots.is_empty() { Err(NotRoots::Empty) } else { Ok(Self(roots)) }
    }

    /// Those that hold at a time. The library asks no root for its dates, because nothing signs for them; we keep to them.
    pub(crate) fn at(&self, unix_seconds: u64) -> Vec<TrustAnchor<'static>> {
        let valid = self.0.iter().filter(|root| (root.valid.0..=root.valid.1).contains(&unix_seconds));
        valid.map(|root| root.anchor.clone()).collect()
    }

    pub(crate) fn contain(&self, certificate: &[u8]) -> bool {
        self.0.iter().any(|root| root.certificate.as_ref() == certificate)
    }
}

impl Root {
    fn read(certificate: CertificateDer<'static>) -> Option<Self> {
        let anchor = webpki::anchor_from_trusted_cert(&certificate).ok()?.to_owned();
        let valid = validity(&certificate)?;
        Some(Self { certificate, anchor, valid })
    }
}
