//! One pack at a time, in worker threads: files against each other, bytes to hashes, hashes to subtrees, JSON to events.

use std::io;

use chain::Hash;
use chain::entry::EntryView;
use chain::hash::sha256;
use chain::pack::{self, PackId};
use chain::tile::{self, BundleId, TileId};
use chain::tree::{Frontier, leaf_hash};

use crate::inputs::Folder;
use crate::report::{Check, Finding};
use crate::rules::values::{CitizenId, FromText as _, KeyId, Stream, Time};
use crate::rules::{Actor, Entry, Event, citizen};
use crate::tiles::{FULL, Published, bundle_end, pack_end, tile_end};

/// What the workers know of the whole.
pub struct Job {
    pub folder: Folder,
    pub origin: String,
    pub size: u64,
    /// Sizes at which the root is compared, ascending.
    pub cuts: Vec<u64>,
    /// Files up to this size are listed by anchors, so their digests are needed.
    pub anchored: u64,
    /// Whether packs are to be read.
    pub with_packs: bool,
}

/// An entry with its links; nothing when its bytes are not an entry.
pub struct Checked {
    pub position: u64,
    pub prev: Hash,
    pub hash: Hash,
    pub entry: Option<Entry>,
}

/// What came of one run of up to 256 positions.
pub struct Run {
    pub index: u64,
    pub width: u16,
    /// The root over a full run.
    pub subtree: Option<Hash>,
    /// The right edge within the run at each cut before its end: width and nodes.
    pub edges: Vec<(u16, Vec<Hash>)>,
    /// Digests of the full files, and of the partial ones at each cut.
    pub digests: Vec<(String, Hash)>,
    /// Nothing when the pack could not be read to its end.
    pub entries: Option<Vec<Checked>>,
    pub findings: Vec<Finding>,
}

impl Job {
    fn published(&self, path: String, check: Check, index: u64, width: u16) -> Published<'_> {
        Published { folder: &self.folder, path, width, check, first: index * u64::from(FULL), span: 1 }
    }

    /// Checks the run of this index.
    pub fn run(&self, index: u64) -> io::Result<Run> {
        let first = index * u64::from(FULL);
        let width = u16::try_from((self.size - first).min(u64::from(FULL))).unwrap_or(FULL);
        let mut run = Run {
            index,
            width,
            subtree: None,
            edges: Vec::new(),
            digests: Vec::new(),
            entries: None,
            findings: Vec::new(),
        };
        let bundle = self.bundle(&mut run)?;
        let pack = if self.with_packs { self.pack(&mut run, bundle.as_deref())? } else { None };
        let leaves =
            bundle.or_else(|| run.entries.as_ref().map(|entries| entries.iter().map(|entry| entry.hash).collect()));
        let hashes = match &leaves {
            Some(leaves) => Some(leaves.iter().map(|leaf| leaf_hash(&leaf.0)).collect::<Vec<_>>()),
            None => self.tile_alone(&run)?,
        };
        if let Some(hashes) = hashes {
            let tile = self.published(TileId { level: 0, index, width: FULL }.path(), Check::Tile, index, width);
            run.findings.extend(tile.check_tile(&hashes)?);
            self.grow(&mut run, &hashes);
            self.digest(&mut run, &hashes, leaves.as_deref(), pack.as_deref());
        }
        Ok(run)
    }

    fn bundle(&self, run: &mut Run) -> io::Result<Option<Vec<Hash>>> {
        let bundle =
            self.published(BundleId { index: run.index, width: FULL }.path(), Check::Bundle, run.index, run.width);
        let Some(bytes) = bundle.read(bundle_end)? else {
            run.findings.push(bundle.finding(format!("{} is missing", bundle.path)));
            return Ok(None);
        };
        run.findings.extend(bundle.check_partials(&bytes, bundle_end)?);
        match tile::decode_bundle(&bytes) {
            Ok(leaves) if leaves.len() == usize::from(run.width) => Ok(Some(leaves)),
            Ok(leaves) => {
                run.findings.push(bundle.finding(format!(
                    "{} holds {} entries, not {}",
                    bundle.path,
                    leaves.len(),
                    run.width
                )));
                Ok(None)
            }
            Err(error) => {
                run.findings.push(bundle.finding(format!("{}: {error}", bundle.path)));
                Ok(None)
            }
        }
    }

    /// Reads the pack, fills in the entries, and hands the bytes back for their digest.
    fn pack(&self, run: &mut Run, leaves: Option<&[Hash]>) -> io::Result<Option<Vec<u8>>> {
        let id = PackId { index: run.index, width: run.width };
        let pack = self.published(PackId { width: FULL, ..id }.path(), Check::Pack, run.index, run.width);
        let Some(bytes) = pack.read(pack_end)? else {
            run.findings.push(pack.finding(format!("{} is missing", pack.path)));
            return Ok(None);
        };
        run.findings.extend(pack.check_partials(&bytes, pack_end)?);
        let entries = self.read_records(&bytes, leaves, run);
        match pack::decode(&id, &bytes) {
            Ok(_) => run.entries = Some(entries),
            Err(error) => {
                let broken = broken(&error).unwrap_or(entries.len());
                run.findings.push(pack.finding_at(broken, format!("{}: {error}", pack.path)));
            }
        }
        Ok(Some(bytes))
    }

    /// Checks every record up to the first that is broken: a wrong length shows in the bytes before it breaks the next.
    fn read_records(&self, bytes: &[u8], leaves: Option<&[Hash]>, run: &mut Run) -> Vec<Checked> {
        let first = run.index * u64::from(FULL);
        let records = pack::records(bytes).map_while(Result::ok).take(usize::from(run.width));
        let mut entries = Vec::with_capacity(usize::from(run.width));
        for (item, record) in records.enumerate() {
            let position = first + item as u64;
            let hash = record.entry_hash(&self.origin);
            if leaves.is_some_and(|leaves| leaves.get(item) != Some(&hash)) {
                run.findings.push(Finding::at(
                    Check::Entry,
                    position,
                    "the bytes of the entry do not hash to its leaf",
                ));
            }
            let entry = match read_entry(position, record.bytes) {
                Ok(entry) => Some(entry),
                Err(what) => {
                    run.findings.push(Finding::at(Check::Entry, position, what));
                    None
                }
            };
            entries.push(Checked { position, prev: record.prev, hash, entry });
        }
        entries
    }

    /// The leaf hashes from the tile when neither bundle nor pack could be read: the tree above can still be checked.
    fn tile_alone(&self, run: &Run) -> io::Result<Option<Vec<Hash>>> {
        let tile = self.published(
            TileId { level: 0, index: run.index, width: FULL }.path(),
            Check::Tile,
            run.index,
            run.width,
        );
        Ok(tile.read(tile_end)?.and_then(|bytes| tile::decode_tile(run.width, &bytes).ok()))
    }

    fn cuts_within(&self, run: &Run) -> impl Iterator<Item = u16> {
        let first = run.index * u64::from(FULL);
        let from = self.cuts.partition_point(|cut| *cut <= first);
        let cuts = self.cuts[from..].iter().take_while(move |cut| **cut < first + u64::from(FULL));
        cuts.filter_map(move |cut| u16::try_from(cut - first).ok())
    }

    fn grow(&self, run: &mut Run, hashes: &[Hash]) {
        let cuts: Vec<u16> = self.cuts_within(run).collect();
        let mut next = cuts.iter().peekable();
        let mut frontier = Frontier::new();
        for hash in hashes {
            frontier.push(*hash);
            while let Some(cut) = next.next_if(|cut| u64::from(**cut) == frontier.size()) {
                run.edges.push((*cut, frontier.nodes().to_vec()));
            }
        }
        run.subtree = (run.width == FULL).then(|| frontier.root());
    }

    fn digest(&self, run: &mut Run, hashes: &[Hash], leaves: Option<&[Hash]>, pack: Option<&[u8]>) {
        let index = run.index;
        if index * u64::from(FULL) >= self.anchored {
            return;
        }
        let widths: Vec<u16> = self.cuts_within(run).chain((run.width == FULL).then_some(FULL)).collect();
        let tile = tile::encode_tile(hashes);
        let bundle = leaves.map(tile::encode_bundle).unwrap_or_default();
        for width in widths {
            let part =
                |bytes: &[u8], end: Option<usize>| end.and_then(|end| bytes.get(..end)).map(|part| sha256(&[part]));
            let files = [
                (TileId { level: 0, index, width }.path(), part(&tile, tile_end(&tile, width))),
                (BundleId { index, width }.path(), part(&bundle, bundle_end(&bundle, width))),
                (PackId { index, width }.path(), pack.and_then(|pack| part(pack, pack_end(pack, width)))),
            ];
            run.digests.extend(files.into_iter().filter_map(|(path, digest)| Some((path, digest?))));
        }
    }
}

/// Which record a pack error is about.
fn broken(error: &pack::PackError) -> Option<usize> {
    match error {
        pack::PackError::Truncated { record }
        | pack::PackError::Length { record, .. }
        | pack::PackError::Position { record, .. } => Some(*record),
        pack::PackError::Width { .. } => None,
    }
}

/// The entry of these bytes; an event that no rule knows is kept with the reason.
pub fn read_entry(position: u64, bytes: &[u8]) -> Result<Entry, String> {
    let (view, sealed) = EntryView::parse_all(bytes).map_err(|error| error.to_string())?;
    let event = Event::parse(&view.kind, view.data.get(), sealed.keys().copied()).unwrap_or_else(Event::Unreadable);
    let actor = match &*view.actor.kind {
        "human" => citizen_actor(citizen::Kind::Human, &view.actor.id),
        "agent" => citizen_actor(citizen::Kind::Agent, &view.actor.id),
        "service" => citizen_actor(citizen::Kind::Service, &view.actor.id),
        "system" => Some(Actor::System),
        _ => None,
    };
    Ok(Entry {
        position,
        stream: Stream::of(&view.stream),
        version: view.version,
        cause: view.cause,
        at: Time::from_text(view.at).ok_or("the time is not canonical")?,
        actor: actor.ok_or_else(|| format!("the actor is no {} of the city", view.actor.kind))?,
        via: KeyId::from_text(&view.via),
        command: view.command.as_ref().into(),
        event,
    })
}

fn citizen_actor(kind: citizen::Kind, id: &str) -> Option<Actor> {
    CitizenId::from_text(id).map(|id| Actor::Citizen { kind, id })
}
