//! What a token proves: that its authority saw a hash at a time.

use std::time::Duration;

use der::asn1::AnyRef;
use der::{Tag, Tagged as _};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use crate::cms::{self, Signed};
use crate::digest::verifiers;
use crate::{Fault, GenTime, Roots, certificate, info};

/// Longest token, and longest answer with one in it: a chain of six certificates with the largest keys has room.
pub const MOST_BYTES: usize = 64 << 10;

/// The content of `id-kp-timeStamping`, 1.3.6.1.5.5.7.3.8.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// What a token says that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When the hash was there at the latest, by the authority's clock.
    pub gen_time: GenTime,
    /// Who says so: the subject of the signer's certificate, as RFC 4514 writes names.
    pub authority: String,
    /// By which the one who asked knows the answer.
    pub nonce: Option<u64>,
}

/// Verifies a token over a SHA-256. Whether a certificate was revoked is not asked: nobody could answer that in ten years.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(token: &[u8], imprint: &[u8; 32], roots: &Roots) -> Result<Stamp, Fault> {
    if token.len() > MOST_BYTES {
        return Err(Fault::TooLong(token.len()));
    }
    let signed = cms::open(token)?;
    let info = info::read(signed.content, imprint)?;
    let certificates: Vec<_> = signed.certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (own, others): (Vec<_>, Vec<_>) = certificates.into_iter().partition(|der| is_signers(der, &signed));
    let [own] = own.as_slice() else { return Err(Fault::NoCertificate) };
    certificate::may_stamp(own)?;
    let at = info.gen_time;
    let signer = EndEntityCert::try_from(own).map_err(|error| chain(at, error))?;
    leads_to_a_root(&signer, &others, at, roots)?;
    let verifiers = verifiers(&signed.signature_algorithm, signed.digest)?;
    let holds = |verifier: &&_| signer.verify_signature(*verifier, &signed.message, signed.signature).is_ok();
    if !verifiers.iter().any(holds) {
        return Err(Fault::Signature);
    }
    if let Some(name) = &info.name
        && !certificate::bears(own, name)?
    {
        return Err(Fault::OtherName);
    }
    Ok(Stamp { gen_time: at, authority: certificate::subject(own)?, nonce: info.nonce })
}

/// Whether the token names this certificate as its signer's, by all the names that it gives.
fn is_signers(certificate: &CertificateDer<'_>, signed: &Signed<'_>) -> bool {
    let (digest, hash) = signed.certificate_hash;
    digest.of(certificate) == hash
        && EndEntityCert::try_from(certificate).is_ok_and(|read| {
            is(signed.issuer, Tag::Sequence, read.issuer()) && is(signed.serial, Tag::Integer, read.serial())
        })
}

fn is(value: AnyRef<'_>, tag: Tag, content: &[u8]) -> bool {
    value.tag() == tag && value.value() == content
}

/// The chain at the time of the token, through the certificates that it brings: all of them, or what it does not need could be anything.
fn leads_to_a_root(
    signer: &EndEntityCert<'_>,
    others: &[CertificateDer<'_>],
    at: GenTime,
    roots: &Roots,
) -> Result<(), Fault> {
    let anchors = roots.at(at.unix_seconds());
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.unix_seconds()));
    // Authorities above the signer need not say what they are for; the signer's own usage is checked apart.
    let usage = KeyUsage::required_if_present(TIME_STAMPING);
    let path = signer
        .verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, others, time, usage, None, None)
        .map_err(|error| chain(at, error))?;
    for above in path.intermediate_certificates() {
        certificate::may_certify(&above.der())?;
    }
    let needed = |der: &CertificateDer<'_>| path.intermediate_certificates().any(|above| above.der() == *der);
    let once = |index: usize, der| !others[..index].contains(der);
    match others.iter().enumerate().all(|(index, der)| once(index, der) && (needed(der) || roots.contain(der))) {
        true => Ok(()),
        false => Err(Fault::CertificateTooMany),
    }
}

fn chain(at: GenTime, error: webpki::Error) -> Fault {
    Fault::Chain { at: at.to_string(), why: format!("{error:?}") }
}
