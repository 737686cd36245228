//! Packages of one stream: a whole one holds, and each way of leaving out, adding, exchanging or changing is refused in words.

#![allow(clippy::unwrap_used)]

use std::fs;

use chain::tile::{TileId, TiledHashes, decode_tile};
use chain::tree::inclusion_proof;
use serde_json::{Value, json};

use super::*;
use crate::testkit::{City, ORIGIN, Published};
use crate::{Options, verify};

/// A city that committed to its heads, and went on.
struct Town {
    city: City,
    citizen: String,
    guild: String,
    /// Where the commitment is.
    at: usize,
    published: Published,
}

impl Town {
    fn new() -> Self {
        let (mut city, citizen, guild) = City::founded();
        for number in 0..4 {
            city.deposit(&citizen, &guild.replace("gld", "try"), "5.00", number);
        }
        city.commit_heads();
        let at = city.records.len() - 1;
        // Later than the commitment, and so in no package of it.
        city.deposit(&citizen, &guild.replace("gld", "try"), "5.00", 9);
        let published = Published::of(&city.records, &[city.records.len() as u64]);
        Self { city, citizen, guild, at, published }
    }

    fn treasury(&self) -> String {
        self.guild.replace("gld", "try")
    }

    fn policy(&self) -> Policy {
        Policy::parse(std::str::from_utf8(&self.published.files["policy"]).unwrap()).unwrap()
    }

    fn path(&self, position: u64) -> Vec<Hash> {
        let size = self.city.records.len() as u64;
        let tiles = TiledHashes::new(size, |id: &TileId| decode_tile(id.width, &self.published.files[&id.path()]));
        inclusion_proof(&tiles, size, position).unwrap()
    }

    fn line(&self, at: usize) -> Line {
        let record = &self.city.records[at];
        let entry = String::from_utf8(record.bytes.clone()).unwrap();
        Line { position: record.position, entry, path: self.path(record.position) }
    }

    fn first(&self, stream: &str, committing: usize) -> First {
        let mut heads = chain::heads::Heads::new();
        for record in &self.city.records[..self.at] {
            let view = EntryView::parse(&record.bytes).unwrap();
            heads.set(key(&view.stream), Head { version: view.version, hash: record.as_record().entry_hash(ORIGIN) });
        }
        let Line { position, entry, path } = self.line(committing);
        First {
            format: FORMAT.to_owned(),
            stream: stream.to_owned(),
            checkpoint: String::from_utf8(self.published.files["checkpoint"].clone()).unwrap(),
            commitment: Committing { position, prev: self.city.records[committing].prev, entry, path },
            head: heads.prove(&key(stream)),
        }
    }

    /// Positions of a stream's entries, those before the commitment first.
    fn positions(&self, stream: &str) -> Vec<usize> {
        let is = |at: &usize| EntryView::parse(&self.city.records[*at].bytes).unwrap().stream == stream;
        (0..self.city.records.len()).filter(is).collect()
    }

    /// The entry hash of a version of the treasury's.
    fn entry_hash(&self, version: usize) -> Hash {
        self.city.records[self.positions(&self.treasury())[version]].as_record().entry_hash(ORIGIN)
    }

    /// The whole package of a stream.
    fn package(&self, stream: &str) -> Vec<Value> {
        let mut lines = vec![json!(self.first(stream, self.at))];
        let positions = self.positions(stream);
        lines.extend(positions.iter().filter(|at| **at < self.at).map(|at| json!(self.line(*at))));
        lines
    }

    fn said(&self, lines: &[Value], audited: Option<&str>) -> Result<String, Refused> {
        let dir = tempfile::tempdir().unwrap();
        let (file, record) = (dir.path().join("package"), dir.path().join("record"));
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        if let Some(text) = audited {
            fs::write(&record, text).unwrap();
        }
        explain(&file, &self.policy(), audited.map(|_| record.as_path()))
    }

    #[track_caller]
    fn refused(&self, lines: &[Value], words: &str) {
        match self.said(lines, None) {
            Err(Refused::Wrong(what)) => assert!(what.contains(words), "{what:?} instead of {words:?}"),
            other => panic!("{other:?} instead of {words:?}"),
        }
    }
}

#[test]
fn a_whole_stream_holds_if_somebody_recomputed_the_root_and_it_says_so() {
    let town = Town::new();
    let dir = tempfile::tempdir().unwrap();
    town.published.write(dir.path());
    let options = Options {
        dir: dir.path().to_owned(),
        policy: dir.path().join("policy"),
        heads: Some(dir.path().join("heads")),
        ..Options::default()
    };
    assert_eq!(verify(&options, &|_, _| ()).unwrap().findings, []);
    let record = fs::read_to_string(dir.path().join("heads")).unwrap();
    for (stream, words) in [
        (town.treasury().as_str(), "these 5 entries, versions 0 to 4"),
        (town.citizen.as_str(), "entries, versions 0 to"),
        ("nobody", "has no entry"),
    ] {
        let alone = town.said(&town.package(stream), None).unwrap();
        assert!(alone.contains(words) && alone.contains("holds IF this root is right"), "{alone}");
        let vouched = town.said(&town.package(stream), Some(&record)).unwrap();
        assert!(vouched.contains("recomputed this root") && !vouched.contains(" IF "), "{vouched}");
        assert!(vouched.contains(&format!("up to position {}", town.at)), "{vouched}");
    }
}

#[test]
fn an_audit_that_found_another_root_or_did_not_come_by_does_not_vouch() {
    let town = Town::new();
    let package = town.package(&town.treasury());
    let at = town.at;
    let record = |origin: &str, line: &str| format!("guildhall/audited-heads/v1\n{origin}\n{line}\n");
    let other = record(ORIGIN, &format!("{at} {at} {}", Hash([1; 32])));
    assert!(
        matches!(town.said(&package, Some(&other)), Err(Refused::Wrong(what)) if what.contains("two logs are shown"))
    );
    for unknown in [
        record(ORIGIN, &format!("{} 1 {}", at + 1, Hash::ZERO)),
        record("other", ""),
        "nothing".to_owned(),
        record(ORIGIN, "5"),
    ] {
        let said = town.said(&package, Some(&unknown));
        assert!(matches!(said, Err(Refused::CouldNotCheck(_))), "{said:?}");
    }
}

#[test]
fn a_stream_with_an_entry_too_few_or_too_many_is_refused() {
    let town = Town::new();
    let whole = town.package(&town.treasury());
    assert_eq!(whole.len(), 6);
    let without = |at: usize| [&whole[..at], &whole[at + 1..]].concat();
    town.refused(&whole[..5], "the end is left out: 4 entries are here, and the head is version 4");
    town.refused(&whole[..1], "the end is left out: 0 entries");
    town.refused(&without(1), "version 0 is left out");
    town.refused(&without(3), "version 2 is left out");
    let mut twice = whole.clone();
    twice.insert(3, whole[2].clone());
    town.refused(&twice, "version 1 stands here once more");
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    town.refused(&swapped, "is left out");
    // What came after the commitment is in the log, and still not in this package.
    let after = *town.positions(&town.treasury()).last().unwrap();
    let longer = [&whole[..], &[json!(town.line(after))]].concat();
    town.refused(&longer, "beyond the head");
    let mut absent = town.package("nobody");
    absent.push(whole[1].clone());
    town.refused(&absent, "is of the stream");
}

#[test]
fn entries_of_another_stream_or_another_log_are_refused() {
    let town = Town::new();
    let whole = town.package(&town.treasury());
    let mut mixed = whole.clone();
    mixed[1] = town.package(&town.citizen)[1].clone();
    town.refused(&mixed, "is of the stream");
    let mut renamed = whole.clone();
    renamed[0]["stream"] = json!(town.citizen);
    town.refused(&renamed, "do not lead to the root of heads");
    // Another log of the same name that never had the last deposit, with a key of its own.
    let mut other = Town::new();
    other.city.records[1].bytes = String::from_utf8(other.city.records[1].bytes.clone())
        .unwrap()
        .replace(&"11".repeat(32), &"12".repeat(32))
        .into_bytes();
    other.published = Published::of(&other.city.records, &[other.city.records.len() as u64]);
    let theirs = other.package(&other.citizen);
    let mut spliced = town.package(&town.citizen);
    spliced[1] = theirs[1].clone();
    town.refused(&spliced, "is not at position");
    let mut headed = whole;
    headed[0]["checkpoint"] = theirs[0]["checkpoint"].clone();
    town.refused(&headed, "is not at position");
    let stranger = Policy::parse(&format!(
        "log {}\nquorum none\n",
        chain::note::SigningKey::from_seed("other.example/log", [7; 32]).vkey()
    ));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p"), town.package("nobody").iter().map(|l| format!("{l}\n")).collect::<String>())
        .unwrap();
    let refused = explain(&dir.path().join("p"), &stranger.unwrap(), None).unwrap_err();
    assert!(refused.to_string().contains("the checkpoint"), "{refused}");
}

#[test]
fn what_commits_to_no_heads_is_refused() {
    let town = Town::new();
    let treasury = town.treasury();
    let mut no_commitment = town.package(&treasury);
    no_commitment[0] = json!(town.first(&treasury, 3));
    town.refused(&no_commitment, "commits to no heads");
    // Signed by the log itself, and as of a size that it did not have.
    let mut early = Town::new();
    let root = early.city.heads().root();
    early.city.act(None).add("log", "log.heads_committed.v1", json!({"as_of": 9000, "root": root}));
    early.published = Published::of(&early.city.records, &[early.city.records.len() as u64]);
    let last = early.city.records.len() - 1;
    let mut package = early.package(&treasury);
    package[0] = json!(early.first(&treasury, last));
    early.refused(&package, "does not count");
}

/// The package of the treasury under a root that the log signed and that is not so.
fn under_a_false_root(as_of: impl Fn(&Town) -> u64, lie: impl Fn(Head) -> Head) -> (Town, Vec<Value>) {
    let mut town = Town::new();
    let (treasury, mut heads) = (town.treasury(), town.city.heads());
    let head = heads.get(&key(&treasury)).unwrap();
    heads.set(key(&treasury), lie(head));
    let said = Commitment { as_of: as_of(&town), root: heads.root() };
    town.city.act(None).add("log", "log.heads_committed.v1", serde_json::to_value(said).unwrap());
    town.published = Published::of(&town.city.records, &[town.city.records.len() as u64]);
    let committing = town.city.records.len() - 1;
    let first = First { head: heads.prove(&key(&treasury)), ..town.first(&treasury, committing) };
    let mut lines = vec![json!(first)];
    lines.extend(town.positions(&treasury).into_iter().map(|at| json!(town.line(at))));
    (town, lines)
}

#[test]
fn a_false_root_is_refused_where_the_package_itself_shows_it() {
    let everything = |town: &Town| town.city.records.len() as u64;
    let (town, lines) = under_a_false_root(everything, |head| head);
    assert!(town.said(&lines, None).unwrap().contains("these 6 entries"));
    let (town, lines) = under_a_false_root(everything, |head| Head { hash: Hash([9; 32]), ..head });
    town.refused(&lines, "is not the head that the log committed to");
    let (town, lines) = under_a_false_root(|town| everything(town) - 1, |head| head);
    town.refused(&lines, "is out of order");
    // And one that shows a shorter stream is not refused: only who recomputes it knows, and the words say so.
    let shorter = Head { version: 4, hash: Town::new().entry_hash(4) };
    let (town, lines) = under_a_false_root(everything, |_| shorter);
    let words = town.said(&lines[..6], None).unwrap();
    assert!(words.contains("these 5 entries") && words.contains("IF this root is right"), "{words}");
}

/// Flips a bit of every part of the package that is a text, and expects each to be refused.
#[test]
fn any_change_is_refused() {
    let town = Town::new();
    let whole = town.package(&town.treasury());
    let text: String = whole.iter().map(|line| format!("{line}\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("package");
    let (policy, mut tried) = (town.policy(), 0);
    for place in (0..text.len()).step_by(11) {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let said = explain(&file, &policy, None);
        assert!(said.is_err(), "byte {place}: {said:?}");
        tried += 1;
    }
    assert!(tried > 500, "{tried}");
    // Cut off anywhere, also right after an entry.
    for length in (0..text.len()).step_by(97).chain([text.len() - 1]) {
        fs::write(&file, &text[..length]).unwrap();
        assert!(explain(&file, &policy, None).is_err(), "{length} bytes");
    }
    fs::write(&file, format!("{text}\n")).unwrap();
    assert!(explain(&file, &policy, None).is_err(), "an empty line more");
}
