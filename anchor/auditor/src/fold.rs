//! The ordered part of an audit: runs join into the tree, entries into their streams and the city's state.

use std::collections::{BTreeMap, HashMap};
use std::io;

use chain::Hash;
use chain::hash::sha256;
use chain::heads::Head;
use chain::pack::packs_between;
use chain::tile::{TileId, bundles_between, encode_tile, tiles_between};
use chain::tree::Frontier;

use crate::anchors::{self, Known};
use crate::checkpoints::Promise;
use crate::claims::Outside;
use crate::entries::{Checked, Run};
use crate::heads::{Recomputed, Record, key_of};
use crate::keys::Keys;
use crate::report::{Check, Continues, Finding, Report};
use crate::rules::continued::cause_bound;
use crate::rules::infrastructure::Claim;
use crate::rules::values::{Stream, Time};
use crate::rules::{Entry, Event, Notes, World, infrastructure};
use crate::silence::Silence;
use crate::tiles::{FULL, Published};
use crate::times::Bounds;

/// The last entry of a stream.
struct Tip {
    /// Where it stands in the tree of heads.
    key: Hash,
    version: u64,
    hash: Hash,
}

/// Everything that is carried from run to run.
pub struct Fold<'a> {
    outside: Outside<'a>,
    keys: Keys<'a>,
    report: &'a mut Report,
    promises: Vec<Promise>,
    /// The tree over full runs, as if each were a leaf.
    upper: Frontier,
    /// The unfinished tile of each level from 1 on.
    levels: Vec<Vec<Hash>>,
    /// Digests of files since the last anchor.
    digests: BTreeMap<String, Hash>,
    anchored: u64,
    /// The last size whose root was as promised.
    agreed: u64,
    tree_ended: bool,
    tips: HashMap<Stream, Tip>,
    heads: Recomputed,
    bounds: Bounds,
    /// When the first entry was recorded that is this log's own, and no other's.
    first_at: Option<Time>,
    last_at: Time,
    world: World,
    notes: Notes,
    with_packs: bool,
    meaning_ended: bool,
}

impl<'a> Fold<'a> {
    pub fn new(
        outside: Outside<'a>,
        keys: Keys<'a>,
        promises: Vec<Promise>,
        with_packs: bool,
        record: Option<Record>,
        report: &'a mut Report,
    ) -> Self {
        let bounds = Bounds::of(&outside.anchors);
        Self {
            outside,
            keys,
            bounds,
            report,
            promises,
            upper: Frontier::new(),
            levels: Vec::new(),
            digests: BTreeMap::new(),
            anchored: 0,
            agreed: 0,
            tree_ended: false,
            tips: HashMap::new(),
            heads: Recomputed::recording(record),
            first_at: None,
            last_at: Time(i64::MIN),
            world: World::default(),
            notes: Notes::default(),
            with_packs,
            meaning_ended: !with_packs,
        }
    }

    /// Takes the next run, in order.
    pub fn take(&mut self, run: Run) -> io::Result<()> {
        for finding in run.findings {
            self.report.add(finding);
        }
        self.digests.extend(run.digests);
        let first = run.index * u64::from(FULL);
        if run.subtree.is_none() && run.edges.is_empty() && !self.tree_ended {
            self.tree_ended = true;
            self.report
                .not_checked
                .push(format!("the tree from position {first} on: nothing of that run could be read"));
        }
        for (width, nodes) in run.edges {
            self.cut(first + u64::from(width), &nodes)?;
        }
        if let Some(subtree) = run.subtree.filter(|_| !self.tree_ended) {
            self.upper.push(subtree);
            self.push(1, run.index, subtree)?;
            self.cut(first + u64::from(FULL), &[])?;
        }
        match run.entries {
            Some(entries) => entries.into_iter().try_for_each(|entry| self.entry(entry))?,
            None => self.end_meaning(first),
        }
        Ok(())
    }

    /// Adds node `index` of the tree level `8 * level`; a tile that is full is compared and joined to the next level.
    fn push(&mut self, level: u8, index: u64, hash: Hash) -> io::Result<()> {
        let at = usize::from(level) - 1;
        if self.levels.len() <= at {
            self.levels.push(Vec::new());
        }
        self.levels[at].push(hash);
        if self.levels[at].len() < usize::from(FULL) {
            return Ok(());
        }
        let hashes = std::mem::take(&mut self.levels[at]);
        let index = index / u64::from(FULL);
        self.check_tile(level, index, &hashes)?;
        self.digests.insert(TileId { level, index, width: FULL }.path(), sha256(&[&encode_tile(&hashes)]));
        let mut frontier = Frontier::new();
        hashes.into_iter().for_each(|hash| frontier.push(hash));
        self.push(level + 1, index, frontier.root())
    }

    fn check_tile(&mut self, level: u8, index: u64, hashes: &[Hash]) -> io::Result<()> {
        let span = u64::from(FULL).saturating_pow(u32::from(level));
        let width = u16::try_from(hashes.len()).unwrap_or(FULL);
        let path = TileId { level, index, width: FULL }.path();
        let first = index.saturating_mul(span).saturating_mul(u64::from(FULL));
        let tile = Published { folder: self.outside.folder, path, width, check: Check::Tile, first, span };
        for finding in tile.check_tile(hashes)? {
            self.report.add(finding);
        }
        Ok(())
    }

    /// The tree has `size` leaves, `lower` of them in an unfinished run: whatever was promised about it must be so.
    fn cut(&mut self, size: u64, lower: &[Hash]) -> io::Result<()> {
        if self.tree_ended {
            return Ok(());
        }
        let nodes = self.upper.nodes().iter().chain(lower).copied().collect();
        let frontier = Frontier::from_parts(size, nodes).expect("full runs and a right edge are one frontier");
        let root = frontier.root();
        let mut agreed = true;
        for promise in self.promises.iter().filter(|promise| promise.size == size) {
            self.report.checkpoints += 1;
            if promise.root != root {
                agreed = false;
                let what = format!("the root at size {size} is {root}, {} says {}", promise.whence, promise.root);
                self.report.add(Finding::within(Check::Checkpoint, self.agreed, size, what));
            }
        }
        if agreed && self.promises.iter().any(|promise| promise.size == size) {
            self.agreed = size;
        }
        let anchors: Vec<Known> = self.outside.anchors.iter().filter(|anchor| anchor.size == size).cloned().collect();
        for anchor in anchors {
            self.anchor(&anchor)?;
        }
        Ok(())
    }

    /// Compares the files that an anchor lists with those that the entries give.
    fn anchor(&mut self, anchor: &Known) -> io::Result<()> {
        self.report.anchors += 1;
        let (old, new) = (self.anchored, anchor.size);
        let mut listed = anchors::files(self.outside.folder, &anchor.key)?;
        let mut expected: Vec<(String, u64, u64)> = Vec::new();
        for tile in tiles_between(old, new) {
            let span = u64::from(FULL).saturating_pow(u32::from(tile.level) + 1);
            if tile.level > 0 && tile.width < FULL {
                let hashes = self.levels.get(usize::from(tile.level) - 1).map(Vec::as_slice).unwrap_or_default();
                self.digests.insert(tile.path(), sha256(&[&encode_tile(hashes)]));
            }
            expected.push((tile.path(), tile.index.saturating_mul(span), span));
        }
        expected.extend(
            bundles_between(old, new).iter().map(|bundle| (bundle.path(), bundle.first_position(), u64::from(FULL))),
        );
        expected
            .extend(packs_between(old, new).iter().map(|pack| (pack.path(), pack.first_position(), u64::from(FULL))));
        for (path, first, span) in expected {
            // A file that could not be read has no digest here, and a finding of its own.
            let fault = match (listed.remove(&path), self.digests.remove(&path)) {
                (None, _) => "does not list",
                (Some(listed), Some(actual)) if listed != actual => "lists another digest of",
                _ => continue,
            };
            let what = format!("{} {fault} {path}", anchor.key);
            self.report.add(Finding::within(Check::Anchor, first.max(old), first.saturating_add(span).min(new), what));
        }
        if let Some(path) = listed.keys().next() {
            let what = format!("{} lists {path}, which does not belong to it", anchor.key);
            self.report.add(Finding::within(Check::Anchor, old, new.max(old + 1), what));
        }
        self.anchored = new;
        Ok(())
    }

    fn entry(&mut self, checked: Checked) -> io::Result<()> {
        self.report.entries += 1;
        let position = checked.position;
        if self.meaning_ended {
            return Ok(());
        }
        let Some(entry) = checked.entry else {
            self.end_meaning(position);
            return Ok(());
        };
        self.link(&entry.stream, entry.version, position, checked.prev, checked.hash);
        if entry.at < self.last_at {
            self.report.add(Finding::at(Check::Chain, position, "the time goes backwards"));
        }
        self.last_at = self.last_at.max(entry.at);
        self.bounds.entry(position, entry.at);
        let bound = cause_bound(self.world.anchored.continued.as_deref(), position);
        if let Some(cause) = entry.cause.filter(|cause| *cause >= bound) {
            self.report.add(Finding::at(Check::Chain, position, format!("its cause {cause} does not come before it")));
        }
        self.check_heads(&entry);
        self.world.apply(&entry, &mut self.notes);
        let own = self.world.anchored.continued.as_ref().map_or(0, |said| said.carried + 1);
        if position == own {
            self.first_at = Some(entry.at);
        }
        self.report.understood += 1;
        self.report_notes();
        for (position, claim) in self.world.anchored.claims.drain(..) {
            if let Claim::Anchored(data) = &claim {
                self.bounds.recorded(data.seq, entry.at);
            }
            if let Claim::Continued(said) = &claim {
                self.report.continues = Some(Continues::of(said, self.outside.knows(said)));
            }
            self.outside.check(position, &claim)?.into_iter().for_each(|finding| self.report.add(finding));
        }
        Ok(())
    }

    fn check_heads(&mut self, entry: &Entry) {
        if let (Event::Infrastructure(infrastructure::Event::HeadsCommitted(said)), Stream::Log) =
            (&entry.event, &entry.stream)
        {
            self.bounds.committed(entry.position, said);
            self.heads.check(entry.position, said, self.report);
        }
    }

    fn link(&mut self, stream: &Stream, version: u64, position: u64, prev: Hash, hash: Hash) {
        if let Stream::Unknown(name) = stream {
            self.report.add(Finding::at(Check::Entry, position, format!("{name:?} is no name of a stream")));
        }
        if let Some(tip) = self.tips.get_mut(stream) {
            if version != tip.version + 1 {
                let what = format!("version {version} of {stream} follows version {}", tip.version);
                self.report.add(Finding::at(Check::Chain, position, what));
            }
            if prev != tip.hash {
                self.report.add(Finding::at(
                    Check::Chain,
                    position,
                    format!("it does not link to the entry before it in {stream}"),
                ));
            }
            (tip.version, tip.hash) = (version, hash);
            self.heads.see(tip.key, Head { version, hash });
            return;
        }
        if version != 0 || prev != Hash::ZERO {
            self.report.add(Finding::at(
                Check::Chain,
                position,
                format!("{stream} begins with version {version}, or links to something"),
            ));
        }
        let key = key_of(stream);
        self.heads.see(key, Head { version, hash });
        self.tips.insert(stream.clone(), Tip { key, version, hash });
    }

    fn report_notes(&mut self) {
        for (position, what) in self.notes.found.drain(..) {
            self.report.add(Finding::at(Check::Meaning, position, what));
        }
    }

    fn end_meaning(&mut self, position: u64) {
        if !self.meaning_ended {
            self.meaning_ended = true;
            self.report
                .not_checked
                .push(format!("streams, heads and meaning from position {position} on: that entry could not be read"));
        }
    }

    /// Compares the unfinished tiles and completes the last act.
    pub fn finish(mut self) -> io::Result<Option<Record>> {
        if !self.tree_ended {
            for level in 0..self.levels.len() {
                let hashes = std::mem::take(&mut self.levels[level]);
                let level = u8::try_from(level + 1).unwrap_or(u8::MAX);
                if !hashes.is_empty() {
                    let below = self.upper.size() >> (8 * (u32::from(level) - 1));
                    self.check_tile(level, below / u64::from(FULL), &hashes)?;
                }
            }
        }
        if !self.meaning_ended {
            self.world.finish(&mut self.notes);
            self.report_notes();
            let entries = self.first_at.map(|first| (first, self.last_at));
            self.report.silence = Silence::of(&self.outside.anchors, entries);
        }
        if self.meaning_ended {
            self.keys.without_entries(self.report);
        } else {
            self.keys.judge(&self.world.anchored.keys, self.report.size, self.report)?;
        }
        self.outside.left_aside().into_iter().for_each(|finding| self.report.add(finding));
        self.bounds.check(&self.outside.anchors, self.report.understood, self.report);
        self.report.streams = self.tips.len() as u64;
        if self.with_packs {
            self.report.locks = Some(std::mem::take(&mut self.world.anchored.locks));
        } else {
            self.report.not_checked.push("how the anchors are locked".to_owned());
        }
        for (currency, (balance, held, scale)) in self.world.totals() {
            self.report.money.insert(
                currency,
                crate::report::Total { balance: print(balance, scale), held: print(held, scale), scale },
            );
        }
        if self.report.heads.late > 0 {
            let what = format!("{} commitments to heads that came too late to count", self.report.heads.late);
            self.report.not_checked.push(what);
        }
        self.heads.finish()
    }
}

fn print(minor: i128, scale: u8) -> String {
    crate::rules::values::Amount { minor, scale }.to_string()
}
