//! What RFC 3161 asks of certificates beyond a valid chain, which is all that the library checks.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, SubjectAltName};

use crate::Fault;

/// `id-kp-timeStamping`.
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// Whether this certificate is for stamping times, and for that alone (RFC 3161 section 2.3).
pub(crate) fn may_stamp(certificate: &[u8]) -> Result<(), Fault> {
    let malformed = Fault::malformed("its certificate");
    let certificate = Certificate::from_der(certificate).map_err(&malformed)?;
    let certificate = certificate.tbs_certificate();
    match certificate.get_extension::<ExtendedKeyUsage>().map_err(&malformed)? {
        Some((true, ExtendedKeyUsage(usages))) if usages == [TIME_STAMPING] => {}
        Some((false, _)) => return Err(Fault::Usage("its certificate does not say that its usage is critical")),
        _ => return Err(Fault::Usage("its certificate is not for time stamps, or not for them alone")),
    }
    let usage = certificate.get_extension::<KeyUsage>().map_err(&malformed)?;
    match usage {
        Some((_, usage)) if !usage.digital_signature() && !usage.non_repudiation() => {
            Err(Fault::Usage("its certificate's key is not for signatures"))
        }
        _ => Ok(()),
    }
}

/// Whether the key of this certificate, an authority's by the chain, may sign certificates.
pub(crate) fn may_certify(certificate: &[u8]) -> Result<(), Fault> {
    let malformed = Fault::malformed("a certificate of its chain");
    let certificate = Certificate::from_der(certificate).map_err(&malformed)?;
    let usage = certificate.tbs_certificate().get_extension::<KeyUsage>().map_err(&malformed)?;
    match usage {
        Some((_, usage)) if !usage.key_cert_sign() => {
            Err(Fault::Usage("a key of its chain is not for signing certificates"))
        }
        _ => Ok(()),
    }
}

/// Whether a certificate bears this name, the DER of a `GeneralName`: as its subject or an alternative one, byte for byte.
pub(crate) fn bears(certificate: &[u8], name: &[u8]) -> Result<bool, Fault> {
    let malformed = Fault::malformed("its certificate");
    let certificate = Certificate::from_der(certificate).map_err(&malformed)?;
    let certificate = certificate.tbs_certificate();
    let alternative = certificate.get_extension::<SubjectAltName>().map_err(&malformed)?;
    let mut names = alternative.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    names.push(GeneralName::DirectoryName(certificate.subject().clone()));
    Ok(names.iter().any(|known| known.to_der().is_ok_and(|known| known == name)))
}

/// Whom a certificate is for.
pub(crate) fn subject(certificate: &[u8]) -> Result<String, Fault> {
    let certificate = Certificate::from_der(certificate).map_err(Fault::malformed("its certificate"))?;
    let name = certificate.tbs_certificate().subject().to_string();
    // It is shown to people: what a name may hold that is no text is not.
    Ok(name.chars().filter(|character| !character.is_control()).collect())
}

/// From when to when a certificate holds, both included, in seconds since 1970.
pub(crate) fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some((validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs()))
}
