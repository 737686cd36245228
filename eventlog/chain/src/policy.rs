//! C2SP tlog-policy files: which logs and witnesses somebody trusts, and how many of the witnesses must have cosigned.

use std::collections::{HashMap, HashSet};

use crate::key::{Algorithm, KeyError, Outcome, VerifierKey};
use crate::note::Note;

/// A policy, with every name resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Keys of the trusted logs; a key's name is the log's origin. Never empty.
    pub logs: Vec<VerifierKey>,
    pub witnesses: Vec<Witness>,
    /// In the order of the file: a group's members stand before it.
    pub groups: Vec<Group>,
    /// What must have cosigned; `None` is `quorum none`.
    pub quorum: Option<Member>,
}

/// A witness and its name within the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub name: String,
    pub key: VerifierKey,
    /// Where checkpoints are submitted to it ([`crate::witness`]), without a slash at the end. Who only verifies has no use for it.
    pub url: Option<String>,
}

/// A group and how many of its members it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub threshold: usize,
    pub members: Vec<Member>,
}

/// A place in [`Policy::witnesses`] or [`Policy::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    Witness(usize),
    Group(usize),
}

/// Which line of a policy file breaks which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {rule}")]
pub struct PolicyError {
    /// The line, from 1; for a rule about the whole file, one past the last.
    pub line: usize,
    pub rule: PolicyRule,
}

/// The rules of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRule {
    #[error("the only control characters are tab and newline")]
    ControlCharacter,
    #[error("a line begins with log, witness, group, quorum or #")]
    Keyword,
    #[error("a log line is `log <vkey> [<url>]`")]
    LogLine,
    #[error("a witness line is `witness <name> <vkey> [<url>]`")]
    WitnessLine,
    #[error("a group line is `group <name> <all|any|number> <member>...`")]
    GroupLine,
    #[error("a quorum line is `quorum <name|none>`")]
    QuorumLine,
    #[error("the key: {0}")]
    Key(KeyError),
    #[error("a log key is of type 0x01 and a witness key of type 0x04")]
    KeyType,
    #[error("this public key stands on another line of the same kind")]
    DuplicateKey,
    #[error("the name {0} is taken")]
    DuplicateName(String),
    #[error("no witness or group {0} stands above this line")]
    UnknownName(String),
    #[error("{0} is already a member of a group")]
    SecondMembership(String),
    #[error("a threshold is a decimal number from 1 to the number of members")]
    Threshold,
    #[error("a url holds ://")]
    Url,
    #[error("there is one quorum line")]
    SecondQuorum,
    #[error("there is no quorum line")]
    NoQuorum,
    #[error("there is no log line")]
    NoLog,
}

impl Policy {
    /// Reads a policy file. At least one log and exactly one quorum line are required.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let mut reader = Reader::default();
        let mut line = 0;
        for content in text.split('\n') {
            line += 1;
            reader.line(content).map_err(|rule| PolicyError { line, rule })?;
        }
        reader.finish().map_err(|rule| PolicyError { line: line + 1, rule })
    }

    /// The keys of all logs and witnesses.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs.iter().chain(self.witnesses.iter().map(|witness| &witness.key))
    }

    /// Whether enough witnesses cosigned `text` on `note`. A witness with a line that fails does not count, whatever
    /// other lines it has; always true for `quorum none`.
    pub fn quorum_met(&self, note: &Note, text: &str) -> bool {
        let Some(quorum) = self.quorum else { return true };
        let witnesses: Vec<bool> = self.witnesses.iter().map(|witness| cosigned(&witness.key, note, text)).collect();
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let met = |member: &Member, groups: &[bool]| match member {
            Member::Witness(index) => witnesses[*index],
            Member::Group(index) => groups[*index],
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| met(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        met(&quorum, &groups)
    }
}

fn cosigned(key: &VerifierKey, note: &Note, text: &str) -> bool {
    let mut lines = note.signatures.iter().filter(|line| line.is_by(key)).peekable();
    lines.peek().is_some() && lines.all(|line| matches!(key.verify(text, &line.signature), Outcome::Valid { .. }))
}

#[derive(Default)]
struct Reader {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: HashMap<String, Member>,
    members: HashSet<Member>,
    quorum: Option<Option<Member>>,
}

impl Reader {
    fn line(&mut self, content: &str) -> Result<(), PolicyRule> {
        if content.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err(PolicyRule::ControlCharacter);
        }
        let items: Vec<&str> = content.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items.split_first() {
            None => Ok(()),
            Some((first, _)) if first.starts_with('#') => Ok(()),
            Some((&"log", rest)) => self.log(rest),
            Some((&"witness", rest)) => self.witness(rest),
            Some((&"group", rest)) => self.group(rest),
            Some((&"quorum", rest)) => self.quorum(rest),
            Some(_) => Err(PolicyRule::Keyword),
        }
    }

    fn log(&mut self, items: &[&str]) -> Result<(), PolicyRule> {
        let (vkey, url) = match *items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(url)),
            _ => return Err(PolicyRule::LogLine),
        };
        let key = key(vkey, Algorithm::Ed25519, url)?;
        if self.logs.iter().any(|log| log.public_key() == key.public_key()) {
            return Err(PolicyRule::DuplicateKey);
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, items: &[&str]) -> Result<(), PolicyRule> {
        let (name, vkey, url) = match *items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(url)),
            _ => return Err(PolicyRule::WitnessLine),
        };
        let key = key(vkey, Algorithm::CosignatureV1, url)?;
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(PolicyRule::DuplicateKey);
        }
        self.name(name, Member::Witness(self.witnesses.len()))?;
        let url = url.map(|url| url.trim_end_matches('/').to_owned());
        self.witnesses.push(Witness { name: name.to_owned(), key, url });
        Ok(())
    }

    fn group(&mut self, items: &[&str]) -> Result<(), PolicyRule> {
        let [name, threshold, listed @ ..] = items else { return Err(PolicyRule::GroupLine) };
        if listed.is_empty() {
            return Err(PolicyRule::GroupLine);
        }
        let threshold = match *threshold {
            "all" => listed.len(),
            "any" => 1,
            number => crate::text::parse_decimal(number)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=listed.len()).contains(number))
                .ok_or(PolicyRule::Threshold)?,
        };
        let mut members = Vec::with_capacity(listed.len());
        for member in listed {
            let place = self.find(member)?;
            if !self.members.insert(place) {
                return Err(PolicyRule::SecondMembership((*member).to_owned()));
            }
            members.push(place);
        }
        self.name(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { name: (*name).to_owned(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, items: &[&str]) -> Result<(), PolicyRule> {
        let [name] = items else { return Err(PolicyRule::QuorumLine) };
        if self.quorum.is_some() {
            return Err(PolicyRule::SecondQuorum);
        }
        let quorum = if *name == "none" { None } else { Some(self.find(name)?) };
        self.quorum = Some(quorum);
        Ok(())
    }

    fn name(&mut self, name: &str, place: Member) -> Result<(), PolicyRule> {
        if name == "none" || self.names.contains_key(name) {
            return Err(PolicyRule::DuplicateName(name.to_owned()));
        }
        self.names.insert(name.to_owned(), place);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Member, PolicyRule> {
        self.names.get(name).copied().ok_or_else(|| PolicyRule::UnknownName(name.to_owned()))
    }

    fn finish(self) -> Result<Policy, PolicyRule> {
        if self.logs.is_empty() {
            return Err(PolicyRule::NoLog);
        }
        Ok(Policy {
            logs: self.logs,
            witnesses: self.witnesses,
            groups: self.groups,
            quorum: self.quorum.ok_or(PolicyRule::NoQuorum)?,
        })
    }
}

/// The key of a line. A stray word in the place of a url is a mistake to report.
fn key(vkey: &str, expected: Algorithm, url: Option<&str>) -> Result<VerifierKey, PolicyRule> {
    if url.is_some_and(|url| !url.contains("://")) {
        return Err(PolicyRule::Url);
    }
    let key = VerifierKey::parse(vkey).map_err(PolicyRule::Key)?;
    if key.algorithm() == expected { Ok(key) } else { Err(PolicyRule::KeyType) }
}

#[cfg(test)]
mod tests;
