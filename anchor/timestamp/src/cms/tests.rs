//! Envelopes that OpenSSL does not make: a good token with one part exchanged.

#![allow(clippy::unwrap_used)]

use super::*;

const TOKEN: &[u8] = include_bytes!("../../vectors/accept/direct.der");

/// What is found in the good token after `change`, encoded again.
fn changed(change: impl FnOnce(&mut SignedData<'_>, &mut SignerInfo<'_>)) -> Option<Fault> {
    let mut envelope = ContentInfo::from_der(TOKEN).unwrap();
    let mut data: SignedData<'_> = envelope.content.decode_as().unwrap();
    let mut signer: SignerInfo<'_> = data.signer_infos.get(0).unwrap().decode_as().unwrap();
    // The parts borrow what they hold, and these outlive the test.
    change(&mut data, &mut signer);
    let signer = signer.to_der().unwrap();
    data.signer_infos = SetOfVec::try_from(vec![AnyRef::from_der(&signer).unwrap()]).unwrap();
    let data = data.to_der().unwrap();
    envelope.content = AnyRef::from_der(&data).unwrap();
    open(&envelope.to_der().unwrap()).err()
}

fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

/// The signed attributes after `change`.
fn attributes(signer: &SignerInfo<'_>, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> AnyRef<'static> {
    let set = AnyRef::new(Tag::Set, signer.signed_attributes.value()).unwrap();
    let all: SetOfVec<AnyRef<'_>> = set.decode_as().unwrap();
    let mut all = all.iter().map(|attribute| attribute.to_der().unwrap()).collect();
    change(&mut all);
    AnyRef::new(signer.signed_attributes.tag(), leaked(all.concat())).unwrap()
}

fn kind(attribute: &[u8]) -> ObjectIdentifier {
    Attribute::from_der(attribute).unwrap().kind
}

#[test]
fn a_token_survives_being_taken_apart_and_put_together() {
    assert_eq!(changed(|_, _| {}), None);
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
