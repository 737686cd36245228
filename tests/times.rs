//! Time tokens of a real authority: asked for over HTTP, verified by us and by OpenSSL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anchor::{Authority as _, HttpAuthority, TimeFailure};
use chain::Hash;
use chain::hash::sha256;
use guildhall_tests::authority::{Answer, Authority, FOR_STAMPS, P256, P384, RSA, serve, vectors};
use guildhall_tests::block_on;
use reqwest::Url;
use timestamp::{Fault, Roots, Stamp, accept, request, verify};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const STAMPED: &[u8] = br#"{"at":"2026-07-04T09:10:00.000000Z","v":2}"#;

fn judge(token: &[u8], root: &[u8]) -> Result<Stamp, Fault> {
    verify(token, sha256(&[STAMPED]).as_bytes(), &Roots::from_pem(root).unwrap())
}

/// Our verdict, which may be to accept only what OpenSSL accepts too.
#[track_caller]
fn both(authority: &Authority, token: &[u8], root: &[u8]) -> Result<Stamp, Fault> {
    let verdict = judge(token, root);
    if let Ok(stamp) = &verdict {
        assert!(authority.openssl_accepts(STAMPED, token, root, stamp.gen_time.unix_seconds()), "OpenSSL refuses it");
    }
    verdict
}

#[test]
fn what_we_accept_openssl_accepts() {
    let authority = Authority::new();
    authority.issue("rsa", RSA, "root", FOR_STAMPS);
    authority.issue("p384", P384, "root", FOR_STAMPS);
    authority.issue("between", RSA, "root", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign");
    authority.issue("below", P256, "between", FOR_STAMPS);
    let root = authority.certificate("root");
    let made: &[(&str, &[&str])] = &[
        ("authority", &["-sha256"]),
        ("authority", &["-sha384"]),
        ("rsa", &["-sha256"]),
        ("rsa", &["-sha384"]),
        ("rsa", &["-sha512"]),
        ("p384", &["-sha256"]),
        ("p384", &["-sha384"]),
        ("below", &["-chain", "between.pem"]),
    ];
    for (signer, arguments) in made {
        let token = authority.token(STAMPED, signer, arguments);
        let verdict = both(&authority, &token, &root);
        assert!(verdict.is_ok(), "{signer} {arguments:?}: {verdict:?}");
    }
}

#[test]
fn the_accepted_vectors_are_accepted_by_openssl() {
    let read = |name: &str| fs::read(vectors().join(name)).unwrap();
    let (authority, stamped, root) = (Authority::new(), read("stamped.json"), read("root.pem"));
    for name in ["accept/direct.der", "accept/chained.der", "accept/cms.der"] {
        let token = read(name);
        let stamp = verify(&token, sha256(&[&stamped]).as_bytes(), &Roots::from_pem(&root).unwrap()).unwrap();
        let at = stamp.gen_time.unix_seconds();
        assert!(authority.openssl_accepts(&stamped, &token, &root, at), "{name}");
        // So the agreement means something: OpenSSL does look.
        assert!(!authority.openssl_accepts(STAMPED, &token, &root, at), "{name} over other bytes");
        assert!(!authority.openssl_accepts(&stamped, &token, &read("other.pem"), at), "{name} under another root");
    }
}

#[test]
fn a_certificate_that_is_not_for_stamps_alone_makes_none() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    let content = authority.content(&authority.token(STAMPED, "authority", &[]));
    // The same content signed in the same way by the right certificate counts: what is refused below is the certificate.
    assert!(both(&authority, &authority.sign(&content, "authority", &[]), &root).is_ok());
    let usages = [
        ("nothing", "keyUsage=critical,digitalSignature"),
        ("lenient", "extendedKeyUsage=timeStamping"),
        ("other", "extendedKeyUsage=critical,codeSigning"),
        ("several", "extendedKeyUsage=critical,timeStamping,serverAuth"),
        ("any", "extendedKeyUsage=critical,anyExtendedKeyUsage"),
        ("agreeing", "keyUsage=critical,keyAgreement\nextendedKeyUsage=critical,timeStamping"),
    ];
    for (name, extensions) in usages {
        authority.issue(name, P256, "root", extensions);
        let verdict = judge(&authority.sign(&content, name, &[]), &root);
        assert!(matches!(verdict, Err(Fault::Usage(_))), "{name}: {verdict:?}");
    }
}

#[test]
fn a_chain_is_judged_link_by_link() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    let below = |name: &str, extensions: &str| {
        let signer = format!("under-{name}");
        authority.issue(name, P256, "root", extensions);
        authority.issue(&signer, P256, name, FOR_STAMPS);
        both(&authority, &authority.token(STAMPED, &signer, &["-chain", &format!("{name}.pem")]), &root)
    };
    assert!(below("ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign").is_ok());
    assert!(matches!(below("no-ca", "basicConstraints=CA:FALSE"), Err(Fault::Chain { .. })));
    let usage = below("ca-without-the-right", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature");
    assert!(matches!(usage, Err(Fault::Usage(_))), "{usage:?}");
    let other = "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=serverAuth";
    assert!(matches!(below("ca-for-servers", other), Err(Fault::Chain { .. })));
}

#[test]
fn a_token_counts_under_its_root_and_for_as_long_as_all_certificates_hold() {
    let (authority, another) = (Authority::new(), Authority::new());
    let root = authority.certificate("root");
    let token = authority.token(STAMPED, "authority", &[]);
    let stamp = both(&authority, &token, &root).unwrap();
    // Another root of the very same name.
    let verdict = judge(&token, &another.certificate("root"));
    assert!(matches!(verdict, Err(Fault::Chain { .. })), "{verdict:?}");
    let content = authority.content(&token);
    let year = stamp.gen_time.to_string()[..4].parse().unwrap();
    let at = |other: u32| judge(&authority.sign(&moved(&content, year, other), "authority", &[]), &root);
    assert!(at(year).is_ok());
    assert!(matches!(at(2001), Err(Fault::Chain { .. })), "before the certificates");
    assert!(matches!(at(2099), Err(Fault::Chain { .. })), "after them");
}

#[test]
fn an_extension_that_must_be_understood_and_is_not_is_refused() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    let content = authority.content(&authority.token(STAMPED, "authority", &[]));
    let tag = [0x30, 0x81];
    assert_eq!(content[..2], tag, "a length of one byte");
    let with = |critical: &[u8]| {
        // `extensions [1]` with one of the type 2.5.29.99, behind all other fields.
        let extension = [&[6, 3, 0x55, 0x1d, 99], critical, &[4, 0]].concat();
        let length = u8::try_from(extension.len()).unwrap();
        let body = [&content[3..], &[0xa1, length + 2, 0x30, length], &extension].concat();
        let longer = [tag.as_slice(), &[u8::try_from(body.len()).unwrap()], &body].concat();
        judge(&authority.sign(&longer, "authority", &[]), &root)
    };
    assert!(with(&[]).is_ok());
    assert_eq!(with(&[1, 1, 0xff]), Err(Fault::Unsupported("a critical extension of its time stamp")));
}

#[test]
fn a_root_that_has_ended_counts_no_more() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    authority.issue_for(4000, "outliving", P256, "root", FOR_STAMPS);
    let token = authority.token(STAMPED, "outliving", &[]);
    let year = judge(&token, &root).unwrap().gen_time.to_string()[..4].parse::<u32>().unwrap();
    let content = authority.content(&token);
    let then = authority.sign(&moved(&content, year, year + 2), "outliving", &[]);
    assert!(matches!(judge(&then, &root), Err(Fault::Chain { .. })));
}

/// The same time stamp in another year.
fn moved(content: &[u8], from: u32, to: u32) -> Vec<u8> {
    let (from, to) = (from.to_string(), to.to_string());
    // Behind the tag and the length of the only time in it, which is shorter when its fraction ends in 0.
    let is_time = |window: &[u8]| window[0] == 0x18 && &window[2..] == from.as_bytes();
    let place = 2 + content.windows(6).position(is_time).unwrap();
    [&content[..place], to.as_bytes(), &content[place + 4..]].concat()
}

fn ask(url: &str, root: &[u8]) -> HttpAuthority {
    sources::prepare_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let roots = Roots::from_pem(root).unwrap();
    HttpAuthority::new(client, Url::parse(url).unwrap(), roots, Duration::from_secs(5))
}

/// So a client that waits for ever fails, and does not hang.
fn within_a_minute<T>(work: impl Future<Output = T>) -> T {
    block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.unwrap() })
}

/// What comes of asking somebody who answers like this.
fn asked(root: Vec<u8>, answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> Result<Stamp, TimeFailure> {
    within_a_minute(async move {
        let url = serve(answer).await;
        ask(&url, &root).stamp(imprint()).await.map(|answered| answered.stamp)
    })
}

fn imprint() -> Hash {
    sha256(&[STAMPED])
}

#[test]
fn an_authority_over_http_stamps_what_it_is_sent() {
    let authority = Arc::new(Authority::new());
    let root = authority.certificate("root");
    let answered = within_a_minute(async {
        let server = Arc::clone(&authority);
        let url = serve(move |query| Answer::Body(server.reply(query, "authority", &[]))).await;
        let asking = ask(&url, &root);
        let (first, second) = tokio::join!(asking.stamp(imprint()), asking.stamp(sha256(&[b"other"])));
        assert!(second.unwrap().stamp.nonce.is_some());
        first.unwrap()
    });
    // What is kept is the token, and it stands without the answer around it.
    assert_eq!(both(&authority, &answered.token, &root), Ok(answered.stamp));
}

#[test]
fn whoever_hangs_up_before_they_have_asked_is_let_go() {
    within_a_minute(async {
        let url = Url::parse(&serve(|_| Answer::Nothing).await).unwrap();
        let mut stream = TcpStream::connect(&*url.socket_addrs(|| None).unwrap()).await.unwrap();
        stream.write_all(b"POST /stamp HTTP/1.1\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    });
}

#[test]
fn every_nonce_comes_back() {
    let authority = Authority::new();
    let roots = Roots::from_pem(&authority.certificate("root")).unwrap();
    let imprint = imprint();
    for nonce in [0, 1, 0x7f, 0x80, 0xff00, 0x00ff_ffff_ffff_ffff, 1 << 63, u64::MAX] {
        let query = request(imprint.as_bytes(), nonce).unwrap();
        let answer = authority.reply(&query, "authority", &[]);
        let answered = accept(&answer, imprint.as_bytes(), nonce, &roots);
        assert!(answered.is_ok_and(|answered| answered.stamp.nonce == Some(nonce)), "{nonce:x}");
    }
}

#[test]
fn an_old_answer_played_back_is_refused() {
    let authority = Authority::new();
    let first = Mutex::new(None);
    let root = authority.certificate("root");
    let played = move |query: &[u8]| {
        let mut first = first.lock().unwrap();
        Answer::Body(first.get_or_insert_with(|| authority.reply(query, "authority", &[])).clone())
    };
    within_a_minute(async move {
        let url = serve(played).await;
        let asking = ask(&url, &root);
        assert!(asking.stamp(imprint()).await.is_ok());
        let again = asking.stamp(imprint()).await;
        assert!(matches!(again, Err(TimeFailure::Refused { fault: Fault::OtherNonce, .. })), "{again:?}");
    });
}

#[test]
fn whoever_answers_something_else_is_told_apart() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    let refused = |answer| match asked(root.clone(), answer) {
        Err(TimeFailure::Refused { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(|_: &[u8]| Answer::Body(b"<html>no</html>".to_vec())), Fault::Malformed { .. }));
    let unreachable = |answer: fn() -> Answer| match asked(root.clone(), move |_| answer()) {
        Err(TimeFailure::Unreachable { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert!(unreachable(|| Answer::Status(503)).contains("503"));
    assert!(unreachable(|| Answer::Endless).contains("longer than"));
    let before = Instant::now();
    assert_eq!(unreachable(|| Answer::Nothing), "it did not answer in time");
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_authority_that_refuses_is_heard_and_one_that_is_gone_is_named_without_its_secrets() {
    let authority = Authority::new();
    let root = authority.certificate("root");
    // It takes no SHA-1, and says so: the request of somebody who asks for that, answered to us.
    let refusal = authority.refusal();
    let failure = asked(root.clone(), move |_| Answer::Body(refusal.clone())).unwrap_err().to_string();
    assert!(failure.contains("the authority refuses: status 2: unknown hash function"), "{failure}");
    let gone =
        within_a_minute(async { ask("http://name:secret@127.0.0.1:9/key", &root).stamp(imprint()).await.unwrap_err() });
    assert!(gone.to_string().starts_with("the time authority http://127.0.0.1:9: "), "{gone}");
    assert!(!gone.to_string().contains("secret"), "{gone}");
}
