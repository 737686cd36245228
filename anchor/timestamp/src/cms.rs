//! The envelope of a token: CMS signed data (RFC 5652), as RFC 3161 section 2.4.2 and RFC 5816 narrow it down.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{Decode as _, Encode as _, Sequence, Tag, TagNumber, Tagged as _};
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::Fault;
use crate::digest::Digest;

#[cfg(test)]
mod tests;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

#[derive(Debug, Sequence)]
struct ContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

#[derive(Debug, Sequence)]
struct SignedData<'a> {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifierRef<'a>>,
    encap_content_info: EncapsulatedContentInfo<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<AnyRef<'a>>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    crls: Option<SetOfVec<AnyRef<'a>>>,
    signer_infos: SetOfVec<AnyRef<'a>>,
}

#[derive(Debug, Sequence)]
struct EncapsulatedContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: &'a OctetStringRef,
}

#[derive(Debug, Sequence)]
struct SignerInfo<'a> {
    version: u8,
    issuer_and_serial: IssuerAndSerial<'a>,
    digest_algorithm: AlgorithmIdentifierRef<'a>,
    /// `[0] IMPLICIT SET OF Attribute`, as it stands: the signature is over these very bytes.
    signed_attributes: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    unsigned_attributes: Option<SetOfVec<AnyRef<'a>>>,
}

#[derive(Debug, Sequence)]
struct IssuerAndSerial<'a> {
    issuer: AnyRef<'a>,
    serial: AnyRef<'a>,
}

#[derive(Debug, Sequence)]
struct Attribute<'a> {
    kind: ObjectIdentifier,
    values: SetOfVec<AnyRef<'a>>,
}

#[derive(Debug, Sequence)]
struct SigningCertificateV2<'a> {
    certificates: Vec<EssCertIdV2<'a>>,
    #[asn1(optional = "true")]
    policies: Option<AnyRef<'a>>,
}

#[derive(Debug, Sequence)]
struct EssCertIdV2<'a> {
    /// SHA-256 when it is absent. The hash that follows is an OCTET STRING, so the two are told apart by their tags.
    #[asn1(optional = "true")]
    hash_algorithm: Option<AlgorithmIdentifierRef<'a>>,
    hash: &'a OctetStringRef,
    #[asn1(optional = "true")]
    issuer_serial: Option<AnyRef<'a>>,
}

/// Most certificates in a token: the signer's, the six that a path may have between, a root. What tries paths through more takes
/// long to find that there is none.
const MOST_CERTIFICATES: usize = 8;

/// A token taken apart. Nothing in it is trusted yet.
pub(crate) struct Signed<'a> {
    /// The DER of the time stamp.
    pub content: &'a [u8],
    /// Each one's DER.
    pub certificates: Vec<Vec<u8>>,
    /// What names the signer's certificate beside its hash.
    pub issuer: AnyRef<'a>,
    pub serial: AnyRef<'a>,
    /// The hash of the signer's certificate.
    pub certificate_hash: (Digest, &'a [u8]),
    pub digest: Digest,
    /// What was signed: the attributes as a SET.
    pub message: Vec<u8>,
    pub signature_algorithm: AlgorithmIdentifierRef<'a>,
    pub signature: &'a [u8],
}

/// Takes a token apart, and checks all that its parts say of each other without a certificate.
pub(crate) fn open(token: &[u8]) -> Result<Signed<'_>, Fault> {
    let malformed = Fault::malformed("the token");
    let envelope = ContentInfo::from_der(token).map_err(&malformed)?;
    if envelope.content_type != SIGNED_DATA {
        return Err(Fault::OtherContent(envelope.content_type.to_string()));
    }
    let data: SignedData<'_> = envelope.content.decode_as().map_err(&malformed)?;
    if data.encap_content_info.content_type != TST_INFO {
        return Err(Fault::OtherContent(data.encap_content_info.content_type.to_string()));
    }
    let [signer] = data.signer_infos.as_slice() else { return Err(Fault::NotOneSigner(data.signer_infos.len())) };
    let signer: SignerInfo<'_> = signer.decode_as().map_err(&malformed)?;
    // 3 because the content is no plain data, 1 because the signer is named by issuer and serial number.
    if (data.version, signer.version) != (3, 1) {
        return Err(Fault::Unsupported("the version of its format"));
    }
    let digest = Digest::named(&signer.digest_algorithm)?;
    match data.digest_algorithms.as_slice() {
        [only] if Digest::named(only) == Ok(digest) => {}
        _ => return Err(Fault::Unsigned("hash functions other than the signer's")),
    }
    if data.crls.is_some() {
        return Err(Fault::Unsigned("revocation lists"));
    }
    if signer.unsigned_attributes.is_some() {
        return Err(Fault::Unsigned("unsigned attributes"));
    }
    let content = data.encap_content_info.content.as_bytes();
    let attributes = Attributes::read(signer.signed_attributes)?;
    attributes.check(content, digest)?;
    let count = data.certificates.as_ref().map_or(0, SetOfVec::len);
    if count > MOST_CERTIFICATES {
        return Err(Fault::TooManyCertificates(count));
    }
    let certificates = data.certificates.iter().flat_map(|set| set.iter()).map(|certificate| certificate.to_der());
    Ok(Signed {
        content,
        certificates: certificates.collect::<Result<_, _>>().map_err(&malformed)?,
        issuer: signer.issuer_and_serial.issuer,
        serial: signer.issuer_and_serial.serial,
        certificate_hash: attributes.signing_certificate()?,
        digest,
        message: attributes.message,
        signature_algorithm: signer.signature_algorithm,
        signature: signer.signature.as_bytes(),
    })
}

struct Attributes<'a> {
    all: Vec<Attribute<'a>>,
    message: Vec<u8>,
}

impl<'a> Attributes<'a> {
    fn read(tagged: AnyRef<'a>) -> Result<Self, Fault> {
        let malformed = Fault::malformed("its signed attributes");
        if tagged.tag() != (Tag::ContextSpecific { constructed: true, number: TagNumber(0) }) {
            return Err(Fault::Attribute("content type"));
        }
        // RFC 5652 section 5.4: signed as what they are, a SET, not under the tag that they travel with.
        let set = AnyRef::new(Tag::Set, tagged.value()).map_err(&malformed)?;
        let elements: SetOfVec<AnyRef<'a>> = set.decode_as().map_err(&malformed)?;
        let all = elements.iter().map(|element| element.decode_as()).collect::<Result<_, _>>().map_err(&malformed)?;
        let message = set.to_der().map_err(&malformed)?;
        // The decoder has sorted them. In another order they are no DER, and others would verify the signature over other bytes.
        if elements.to_der().map_err(&malformed)? != message {
            return Err(Fault::Malformed { what: "its signed attributes", why: "they are not in order".to_owned() });
        }
        Ok(Self { all, message })
    }

    /// The one value of the one attribute of this type.
    fn only(&self, kind: ObjectIdentifier, name: &'static str) -> Result<AnyRef<'a>, Fault> {
        let mut found = self.all.iter().filter(|attribute| attribute.kind == kind);
        match (found.next(), found.next()) {
            (Some(attribute), None) if attribute.values.len() == 1 => {
                attribute.values.get(0).copied().ok_or(Fault::Attribute(name))
            }
            _ => Err(Fault::Attribute(name)),
        }
    }

    /// Content type and digest: the two by which the attributes stand for the content.
    fn check(&self, content: &[u8], digest: Digest) -> Result<(), Fault> {
        let malformed = Fault::malformed("its signed attributes");
        let kind: ObjectIdentifier = self.only(CONTENT_TYPE, "content type")?.decode_as().map_err(&malformed)?;
        if kind != TST_INFO {
            return Err(Fault::OtherContent(kind.to_string()));
        }
        let hash: &OctetStringRef = self.only(MESSAGE_DIGEST, "message digest")?.decode_as().map_err(&malformed)?;
        if hash.as_bytes() != digest.of(content) { Err(Fault::OtherDigest) } else { Ok(()) }
    }

    /// The hash of the certificate that the signer says to have signed with: the first that is named (RFC 5035 section 5.4).
    fn signing_certificate(&self) -> Result<(Digest, &'a [u8]), Fault> {
        let malformed = Fault::malformed("its signing certificate");
        let value = self.only(SIGNING_CERTIFICATE_V2, "signing certificate, version 2")?;
        let named: SigningCertificateV2<'a> = value.decode_as().map_err(&malformed)?;
        let first = named.certificates.first().ok_or(Fault::NoCertificate)?;
        let digest = first.hash_algorithm.as_ref().map_or(Ok(Digest::Sha256), Digest::named)?;
        Ok((digest, first.hash.as_bytes()))
    }
}
