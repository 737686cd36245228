//! What the log says about things outside of it: each must be so when the audit can see them.

use std::collections::HashSet;
use std::io;

use chain::Hash;
use chain::checkpoint;
use chain::hash::sha256;
use chain::policy::Policy;

use crate::anchors::{self, Aside, Known};
use crate::inputs::Folder;
use crate::report::{Check, Finding};
use crate::rules::continued::Continued;
use crate::rules::infrastructure::{AnchoredData, Claim};

/// What the claims are compared with.
pub struct Outside<'a> {
    pub folder: &'a Folder,
    /// The anchors that are there and can be read, in the order of their keys.
    pub anchors: Vec<Known>,
    /// Those that the chain leaves aside, until the log has one of them on record.
    pub aside: Vec<Aside>,
    /// Those of them that it had.
    pub on_record: HashSet<Hash>,
    pub policy: &'a Policy,
    pub origin: &'a str,
    pub size: u64,
}

impl Outside<'_> {
    /// What is wrong with a claim made at this position.
    pub fn check(&mut self, position: u64, claim: &Claim) -> io::Result<Vec<Finding>> {
        Ok(match claim {
            Claim::Anchored(data) => {
                self.anchor(data)?.into_iter().map(|what| Finding::at(Check::Anchor, position, what)).collect()
            }
            Claim::Continued(said) => self.continued(said),
        })
    }

    /// What is wrong with what the log has not on record, after all entries were read.
    pub fn left_aside(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for aside in self.aside.drain(..) {
            if aside.previous.is_some_and(|previous| self.on_record.contains(&previous)) {
                self.on_record.insert(aside.known.sha256);
                let what = aside.in_its_place("which follows one that the log has on record");
                findings.push(Finding::general(Check::Anchor, what));
            } else {
                findings.push(aside.finding());
            }
        }
        findings
    }

    fn continued(&self, said: &Continued) -> Vec<Finding> {
        let mut findings = Vec::new();
        if said.origin == self.origin {
            findings.push(Finding::at(Check::Continued, 0, "a log continues another one, and not itself"));
        }
        if self.size <= said.carried {
            let what =
                format!("it says that {} entries follow, and {} are here", said.carried, self.size.saturating_sub(1));
            findings.push(Finding::within(Check::Continued, self.size, said.carried + 1, what));
        }
        if self.knows(said)
            && let Some(wrong) = self.unsound(said)
        {
            findings.push(Finding::at(Check::Continued, 0, format!("the checkpoint of {}: {wrong}", said.origin)));
        }
        findings
    }

    /// A checkpoint that only the log's own key signed may be whoever's who stole that key.
    fn unsound(&self, said: &Continued) -> Option<String> {
        match checkpoint::examine(&said.checkpoint, self.policy) {
            Err(error) => Some(error.to_string()),
            Ok(examined) if self.policy.quorum.is_some() && !examined.witnessed => {
                Some("the quorum of the policy did not cosign it".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// Whether the policy has a key of the log that is continued.
    pub fn knows(&self, said: &Continued) -> bool {
        self.policy.logs.iter().any(|log| log.name() == said.origin)
    }

    fn anchor(&mut self, data: &AnchoredData) -> io::Result<Vec<String>> {
        // The name that the format gives it, not one that the log chose.
        let key = anchors::key(data.seq, data.size);
        let index = self.anchors.binary_search_by(|anchor| anchor.key.cmp(&key)).ok();
        let known = index.map(|index| &self.anchors[index]);
        let found = match known {
            Some(known) => Some(known.sha256),
            // What cannot be read as an anchor may still be the file that was meant.
            None => self.folder.read(&key)?.map(|bytes| sha256(&[&bytes])),
        };
        let mut wrong = Vec::new();
        // The log knows better than those that lie there which of them is its own.
        let is_it = |aside: &Aside| (&aside.known.key, aside.known.sha256) == (&key, data.sha256);
        if let Some(place) = self.aside.iter().position(is_it) {
            wrong.push(self.aside.remove(place).in_its_place("which the log has on record"));
            self.on_record.insert(data.sha256);
        }
        if found != Some(data.sha256) {
            let how = if found.is_none() { "it is not there" } else { "it is another file" };
            wrong.push(format!("{key}: the log says it was anchored, and {how}"));
        }
        if let Some(known) = known.filter(|known| known.root != data.root) {
            wrong.push(format!("{key}: the log says its root is {}, and it is {}", data.root, known.root));
        }
        let next = index.and_then(|index| self.anchors.get(index + 1)).filter(|next| next.seq == data.seq + 1);
        if let Some((next, named)) = next.and_then(|next| Some((next, next.previous_version.as_ref()?)))
            && let Some(version) = data.version.as_ref().filter(|version| *version != named)
        {
            let what = format!("it names the version {named:?} of the anchor before it, and the log says {version:?}");
            wrong.push(format!("{}: {what}", next.key));
        }
        Ok(wrong)
    }
}
