//! Envelopes that OpenSSL does not make: a good token with one part exchanged.

#![allow(clippy::unwrap_used)]

use super::*;

const TOKEN: &[u8] = include_bytes!("../../vectors/accept/direct.der");
const CHAINED: &[u8] = include_bytes!("../../vectors/accept/chained.der");

/// What is found in the good token after `change`, without a look at certificates and signature.
fn changed(change: impl FnOnce(&mut SignedData<'_>, &mut SignerInfo<'_>)) -> Option<Fault> {
    open(&rebuilt(TOKEN, change)).err()
}

/// What comes of a token under the right root and over the right imprint.
fn judge(token: &[u8]) -> Result<crate::Stamp, Fault> {
    let imprint = Digest::Sha256.of(include_bytes!("../../vectors/stamped.json")).try_into().unwrap();
    crate::verify(token, &imprint, &crate::Roots::from_pem(include_bytes!("../../vectors/root.pem")).unwrap())
}

/// A token after `change`, encoded again.
fn rebuilt(token: &[u8], change: impl FnOnce(&mut SignedData<'_>, &mut SignerInfo<'_>)) -> Vec<u8> {
    let mut envelope = ContentInfo::from_der(token).unwrap();
    let mut data: SignedData<'_> = envelope.content.decode_as().unwrap();
    let mut signer: SignerInfo<'_> = data.signer_infos.get(0).unwrap().decode_as().unwrap();
    // The parts borrow what they hold, and these outlive the test.
    change(&mut data, &mut signer);
    let signer = signer.to_der().unwrap();
    data.signer_infos = SetOfVec::try_from(vec![AnyRef::from_der(&signer).unwrap()]).unwrap();
    let data = data.to_der().unwrap();
    envelope.content = AnyRef::from_der(&data).unwrap();
    envelope.to_der().unwrap()
}

fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

/// The signed attributes after `change`.
fn attributes(signer: &SignerInfo<'_>, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> AnyRef<'static> {
    let set = AnyRef::new(Tag::Set, signer.signed_attributes.value()).unwrap();
    let all: SetOfVec<AnyRef<'_>> = set.decode_as().unwrap();
    let mut all = all.iter().map(|attribute| attribute.to_der().unwrap()).collect::<Vec<_>>();
    change(&mut all);
    all.sort();
    AnyRef::new(signer.signed_attributes.tag(), leaked(all.concat())).unwrap()
}

fn kind(attribute: &[u8]) -> ObjectIdentifier {
    Attribute::from_der(attribute).unwrap().kind
}

#[test]
fn a_token_survives_being_taken_apart_and_put_together() {
    assert_eq!(changed(|_, _| {}), None);
    assert!(judge(&rebuilt(TOKEN, |_, _| {})).is_ok());
}

#[test]
fn signed_attributes_are_in_the_order_in_which_they_were_signed() {
    let unordered = changed(|_, signer| {
        let set = AnyRef::new(Tag::Set, signer.signed_attributes.value()).unwrap();
        let all: SetOfVec<AnyRef<'_>> = set.decode_as().unwrap();
        let mut all: Vec<_> = all.iter().map(|attribute| attribute.to_der().unwrap()).collect();
        all.reverse();
        signer.signed_attributes = AnyRef::new(signer.signed_attributes.tag(), leaked(all.concat())).unwrap();
    });
    assert!(matches!(unordered, Some(Fault::Malformed { what: "its signed attributes", .. })), "{unordered:?}");
}

#[test]
fn certificates_come_in_any_order_each_once_and_no_more_than_a_path_has() {
    // As the authority sent them, and as DER sorts them.
    let sorted = rebuilt(CHAINED, |_, _| {});
    assert_ne!(sorted, CHAINED);
    assert!(judge(CHAINED).is_ok() && judge(&sorted).is_ok());

    let with = |certificate: usize, times: usize| {
        judge(&rebuilt(CHAINED, |data, _| {
            let all = data.certificates.as_ref().unwrap();
            let more = std::iter::repeat_n(all.get(certificate).unwrap(), times);
            data.certificates = Some(SetOfVec::try_from(all.iter().chain(more).copied().collect::<Vec<_>>()).unwrap());
        }))
    };
    let certificates = open(CHAINED).unwrap_or_else(|fault| panic!("{fault}")).certificates;
    let signers = certificates.iter().position(|der| crate::certificate::may_stamp(der).is_ok()).unwrap();
    assert_eq!(with(signers, 1), Err(Fault::NoCertificate), "which of the two is the signer's?");
    assert_eq!(with(1 - signers, 1), Err(Fault::CertificateTooMany));
    assert_eq!(with(1 - signers, 6), Err(Fault::CertificateTooMany));
    assert_eq!(with(1 - signers, 7), Err(Fault::TooManyCertificates(9)));
}

#[test]
fn what_nothing_signs_is_refused() {
    let one = || Some(SetOfVec::try_from(vec![AnyRef::NULL]).unwrap());
    assert_eq!(changed(|data, _| data.crls = one()), Some(Fault::Unsigned("revocation lists")));
    assert_eq!(changed(|_, signer| signer.unsigned_attributes = one()), Some(Fault::Unsigned("unsigned attributes")));
    let more = AlgorithmIdentifierRef { oid: TST_INFO, parameters: None };
    let hashes = Some(Fault::Unsigned("hash functions other than the signer's"));
    assert_eq!(changed(|data, _| data.digest_algorithms.insert(more).unwrap()), hashes);
    assert_eq!(changed(|data, _| data.digest_algorithms = SetOfVec::new()), hashes);
}

#[test]
fn another_version_of_the_format_is_refused() {
    let version = Some(Fault::Unsupported("the version of its format"));
    assert_eq!(changed(|data, _| data.version = 1), version);
    assert_eq!(changed(|_, signer| signer.version = 3), version);
}

#[test]
fn a_hash_function_has_no_parameters() {
    let parameters = Some(AnyRef::new(Tag::OctetString, &[]).unwrap());
    let found = changed(|_, signer| signer.digest_algorithm.parameters = parameters);
    assert_eq!(found, Some(Fault::Unsupported("its hash function")));
}

#[test]
fn each_attribute_that_counts_is_there_once_with_one_value() {
    let counted = [
        (CONTENT_TYPE, "content type"),
        (MESSAGE_DIGEST, "message digest"),
        (SIGNING_CERTIFICATE_V2, "signing certificate, version 2"),
    ];
    for (counts, name) in counted {
        let without = changed(|_, signer| {
            signer.signed_attributes = attributes(signer, |all| all.retain(|attribute| kind(attribute) != counts));
        });
        assert_eq!(without, Some(Fault::Attribute(name)), "without {name}");
        // With another value, for a set holds nothing twice.
        let twice = changed(|_, signer| {
            signer.signed_attributes = attributes(signer, |all| all.push(attribute(counts, &[AnyRef::NULL])));
        });
        assert_eq!(twice, Some(Fault::Attribute(name)), "{name} twice");
        let two = changed(|_, signer| {
            signer.signed_attributes = attributes(signer, |all| {
                all.retain(|attribute| kind(attribute) != counts);
                all.push(attribute(counts, &[AnyRef::NULL, AnyRef::new(Tag::OctetString, &[]).unwrap()]));
            });
        });
        assert_eq!(two, Some(Fault::Attribute(name)), "{name} with two values");
    }
}

fn attribute(kind: ObjectIdentifier, values: &[AnyRef<'_>]) -> Vec<u8> {
    Attribute { kind, values: SetOfVec::try_from(values.to_vec()).unwrap() }.to_der().unwrap()
}

#[test]
fn attributes_stand_for_this_content_and_no_other() {
    let exchanged = |counts: ObjectIdentifier, value: AnyRef<'_>| {
        changed(|_, signer| {
            signer.signed_attributes = attributes(signer, |all| {
                all.retain(|attribute| kind(attribute) != counts);
                all.push(attribute(counts, &[value]));
            });
        })
    };
    let other = exchanged(CONTENT_TYPE, AnyRef::from(&SIGNED_DATA));
    assert_eq!(other, Some(Fault::OtherContent(SIGNED_DATA.to_string())));
    assert_eq!(exchanged(MESSAGE_DIGEST, AnyRef::new(Tag::OctetString, &[7; 32]).unwrap()), Some(Fault::OtherDigest));
    let nobody = SigningCertificateV2 { certificates: Vec::new(), policies: None }.to_der().unwrap();
    assert_eq!(exchanged(SIGNING_CERTIFICATE_V2, AnyRef::from_der(&nobody).unwrap()), Some(Fault::NoCertificate));
}
