//! Every rule of a policy file, and what a quorum asks for.

#![allow(clippy::unwrap_used)]

use super::{Member, Policy, PolicyRule};
use crate::key::{CosigningKey, SigningKey};
use crate::note::{Note, sign};

const TEXT: &str = "guildhall.example/city\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";

fn log() -> SigningKey {
    SigningKey::from_seed("guildhall.example/city", [7; 32])
}

fn witness(number: u8) -> CosigningKey {
    CosigningKey::from_seed(format!("witness.example/w{number}"), [10 + number; 32])
}

/// A policy file with one log, the witnesses `w1` to `w5`, and more lines.
fn file(more: &str) -> String {
    let witnesses: String = (1..=5).map(|number| format!("witness w{number} {}\n", witness(number).vkey())).collect();
    format!("log {}\n{witnesses}{more}", log().vkey())
}

fn note(cosigned_by: &[u8]) -> Note {
    let lines: String = cosigned_by.iter().map(|number| witness(*number).cosign(TEXT, 5)).collect();
    Note::parse(&format!("{}{lines}", sign(TEXT, &log()))).unwrap()
}

fn met(more: &str, cosigned_by: &[u8]) -> bool {
    Policy::parse(&file(more)).unwrap().quorum_met(&note(cosigned_by), TEXT)
}

#[test]
fn the_parts_of_a_file_are_read() {
    let text = format!(
        "# who we trust\n\n\tlog  {} https://log.example/\n  # a comment\nwitness w1 {} https://w1.example/ \n\
         group some any w1\nquorum some",
        log().vkey(),
        witness(1).vkey()
    );
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.logs, [log().verifier()]);
    assert_eq!(policy.witnesses[0].name, "w1");
    assert_eq!(policy.witnesses[0].url.as_deref(), Some("https://w1.example"), "without its last slash");
    assert_eq!(policy.groups[0].members, [Member::Witness(0)]);
    assert_eq!(policy.quorum, Some(Member::Group(0)));
    assert_eq!(policy.keys().count(), 2);
}

#[test]
fn no_quorum_is_met_by_nobody() {
    assert!(met("quorum none\n", &[]));
}

#[test]
fn a_single_witness_can_be_the_quorum() {
    assert!(met("quorum w2\n", &[2]));
    assert!(!met("quorum w2\n", &[1, 3]));
}

#[test]
fn a_group_takes_as_many_as_it_says() {
    let cases: [(&str, &[u8], &[u8]); 4] =
        [("any", &[3], &[4]), ("all", &[1, 2, 3], &[1, 2, 4]), ("2", &[1, 3], &[3, 4]), ("1", &[2], &[])];
    for (rule, enough, too_few) in cases {
        let more = format!("group g {rule} w1 w2 w3\nquorum g\n");
        assert!(met(&more, enough), "{rule}");
        assert!(!met(&more, too_few), "{rule}");
    }
}

#[test]
fn groups_nest() {
    let more = "group x 2 w1 w2 w3\ngroup y any w4 w5\ngroup both all x y\nquorum both\n";
    assert!(met(more, &[1, 3, 5]));
    assert!(!met(more, &[1, 2, 3]));
    assert!(!met(more, &[1, 4, 5]));
}

#[test]
fn one_witness_that_cosigns_twice_counts_once() {
    let more = "group g 2 w1 w2\nquorum g\n";
    assert!(!met(more, &[1, 1]));
}

#[test]
fn a_cosignature_over_another_text_does_not_count() {
    let policy = Policy::parse(&file("quorum w1\n")).unwrap();
    assert!(!policy.quorum_met(&note(&[1]), "another text\n"));
    let mut spoilt = note(&[1, 1]);
    spoilt.signatures[2].signature[20] ^= 1;
    assert!(!policy.quorum_met(&spoilt, TEXT), "one of its two lines fails");
}

#[test]
fn a_line_that_breaks_a_rule_is_named() {
    let vkey = witness(9).vkey();
    let cases = [
        ("quorum none\r\n".to_owned(), PolicyRule::ControlCharacter),
        ("Quorum none\n".to_owned(), PolicyRule::Keyword),
        ("log\n".to_owned(), PolicyRule::LogLine),
        (format!("log {vkey} https://a b\n"), PolicyRule::LogLine),
        ("witness w9\n".to_owned(), PolicyRule::WitnessLine),
        (format!("witness w9 {vkey} #note\n"), PolicyRule::Url),
        (format!("log {vkey}\n"), PolicyRule::KeyType),
        (format!("witness w9 {}\n", log().vkey()), PolicyRule::KeyType),
        (format!("log {}\n", log().vkey()), PolicyRule::DuplicateKey),
        (format!("witness w9 {}\n", witness(1).vkey()), PolicyRule::DuplicateKey),
        (format!("witness w1 {vkey}\n"), PolicyRule::DuplicateName("w1".to_owned())),
        (format!("witness none {vkey}\n"), PolicyRule::DuplicateName("none".to_owned())),
        ("group w1 any w2\n".to_owned(), PolicyRule::DuplicateName("w1".to_owned())),
        ("group g any\n".to_owned(), PolicyRule::GroupLine),
        ("group g\n".to_owned(), PolicyRule::GroupLine),
        ("group g any w1 w1\n".to_owned(), PolicyRule::SecondMembership("w1".to_owned())),
        ("group g any g\n".to_owned(), PolicyRule::UnknownName("g".to_owned())),
        ("group g any none\n".to_owned(), PolicyRule::UnknownName("none".to_owned())),
        ("group g any w9\n".to_owned(), PolicyRule::UnknownName("w9".to_owned())),
        ("group g 0 w1\n".to_owned(), PolicyRule::Threshold),
        ("group g 2 w1\n".to_owned(), PolicyRule::Threshold),
        ("group g 01 w1\n".to_owned(), PolicyRule::Threshold),
        ("group g some w1\n".to_owned(), PolicyRule::Threshold),
        ("quorum\n".to_owned(), PolicyRule::QuorumLine),
        ("quorum w1 w2\n".to_owned(), PolicyRule::QuorumLine),
        ("quorum w9\n".to_owned(), PolicyRule::UnknownName("w9".to_owned())),
    ];
    for (more, rule) in cases {
        let error = Policy::parse(&file(&more)).unwrap_err();
        assert_eq!((error.line, error.rule), (7, rule), "{more}");
    }
    let error = Policy::parse(&file("quorum none\nquorum none\n")).unwrap_err();
    assert_eq!((error.line, error.rule), (8, PolicyRule::SecondQuorum));
    let error = Policy::parse(&file("group a any w1\ngroup b any w1\n")).unwrap_err();
    assert_eq!(error.rule, PolicyRule::SecondMembership("w1".to_owned()));
    let error = Policy::parse(&file("log name+00000000+AAAA\n")).unwrap_err();
    assert!(matches!(error.rule, PolicyRule::Key(_)));
}

#[test]
fn a_file_without_log_or_quorum_is_refused() {
    assert_eq!(Policy::parse("quorum none\n").unwrap_err().rule, PolicyRule::NoLog);
    assert_eq!(Policy::parse(&file("")).unwrap_err().rule, PolicyRule::NoQuorum);
}
