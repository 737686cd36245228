//! All of one stream in a file, with what proves it: FORMAT.md section 12.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::entry::entry_hash;
use chain::heads::{Head, HeadProof};
use eventlog::{Log, Stored};
use serde::Serialize;

use crate::error::blocking;
use crate::heads::OnRecord;
use crate::layout::Layout;
use crate::prover::Prover;
use crate::tiles::CachedTiles;
use crate::{AnchorError, files};

/// Names the format in the first line.
const FORMAT: &str = "guildhall/stream/v1";
/// Entries read at a time.
const PAGE: usize = 1000;

/// What a package says before its entries.
pub struct Package {
    pub stream: String,
    pub checkpoint: Checkpoint,
    /// The checkpoint, signed.
    pub note: String,
    pub on_record: OnRecord,
    pub head: HeadProof,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamExported {
    pub origin: String,
    pub stream: String,
    /// The stream is complete up to this position.
    pub as_of: u64,
    pub entries: u64,
    pub bytes: u64,
}

/// The first line.
#[derive(Serialize)]
struct First<'a> {
    format: &'a str,
    stream: &'a str,
    checkpoint: &'a str,
    commitment: Committing,
    head: &'a HeadProof,
}

/// The entry that commits to the root of heads.
#[derive(Serialize)]
struct Committing {
    position: u64,
    prev: Hash,
    entry: String,
    path: Vec<Hash>,
}

/// Every other line: one entry. Its `prev` is the hash of the one before.
#[derive(Serialize)]
struct Line<'a> {
    position: u64,
    entry: &'a str,
    path: Vec<Hash>,
}

/// Writes the package to `out`, where nothing may be yet. What does not prove itself while it is written is not left there.
pub(crate) async fn write(
    log: &Log,
    layout: &Layout,
    package: Package,
    out: &Path,
) -> Result<StreamExported, AnchorError> {
    let (layout, out) = (layout.clone(), out.to_owned());
    let (stream, as_of) = (package.stream.clone(), package.on_record.commitment.as_of);
    let mut writer = blocking(move || Writer::begin(layout, package, out)).await?;
    loop {
        let mut page = log.read_stream(&stream, writer.entries, PAGE).await?;
        page.retain(|entry| entry.position < as_of);
        if page.is_empty() {
            break;
        }
        writer = blocking(move || {
            page.iter().try_for_each(|entry| writer.add(entry))?;
            Ok(writer)
        })
        .await?;
    }
    blocking(move || writer.finish()).await
}

struct Writer {
    file: BufWriter<File>,
    beside: PathBuf,
    out: PathBuf,
    tiles: CachedTiles,
    origin: String,
    stream: String,
    size: u64,
    as_of: u64,
    head: Option<Head>,
    entries: u64,
    bytes: u64,
    last: Hash,
}

impl Writer {
    fn begin(layout: Layout, package: Package, out: PathBuf) -> Result<Self, AnchorError> {
        if out.exists() {
            return Err(AnchorError::unreadable(out.display().to_string(), "is there already: name another file"));
        }
        let Package { stream, checkpoint, note, on_record, head } = package;
        let tiles = CachedTiles::new(layout.clone());
        let position = on_record.position;
        let record = Prover::new(layout).entry(position)?;
        let record =
            record.ok_or_else(|| AnchorError::unreadable("pack/", format!("position {position} is missing")))?;
        let commitment = Committing {
            position,
            prev: record.prev,
            entry: String::from_utf8(record.bytes).map_err(|error| AnchorError::unreadable("pack/", error))?,
            path: tiles.inclusion(position, checkpoint.size)?,
        };
        let mut beside = out.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let file = File::create(&beside).map_err(AnchorError::file(&beside))?;
        let mut writer = Self {
            file: BufWriter::new(file),
            beside,
            out,
            tiles,
            origin: checkpoint.origin,
            stream,
            size: checkpoint.size,
            as_of: on_record.commitment.as_of,
            head: head.head,
            entries: 0,
            bytes: 0,
            last: Hash::ZERO,
        };
        let stream = writer.stream.clone();
        let first = First { format: FORMAT, stream: &stream, checkpoint: &note, commitment, head: &head };
        writer.line(&first)?;
        Ok(writer)
    }

    fn add(&mut self, entry: &Stored) -> Result<(), AnchorError> {
        // From the bytes, as an auditor will: a column that lies ends the package.
        let hash = entry_hash(&self.origin, &self.last, &entry.bytes);
        if entry.version != self.entries || hash != entry.hash {
            return Err(AnchorError::Damaged(entry.position));
        }
        let text = std::str::from_utf8(&entry.bytes).map_err(|_| AnchorError::Damaged(entry.position))?;
        let path = self.tiles.inclusion(entry.position, self.size)?;
        self.line(&Line { position: entry.position, entry: text, path })?;
        self.entries += 1;
        self.last = hash;
        Ok(())
    }

    fn finish(mut self) -> Result<StreamExported, AnchorError> {
        let ends = self.entries.checked_sub(1).map(|version| Head { version, hash: self.last });
        if ends != self.head {
            return Err(AnchorError::unreadable(
                &self.stream,
                format!("the database ends it with {ends:?}, the published log with {:?}", self.head),
            ));
        }
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(AnchorError::file(&self.beside))?;
        files::finish(&self.beside, &self.out)?;
        Ok(StreamExported {
            origin: std::mem::take(&mut self.origin),
            stream: std::mem::take(&mut self.stream),
            as_of: self.as_of,
            entries: self.entries,
            bytes: self.bytes,
        })
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), AnchorError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| AnchorError::unreadable(&self.stream, error))?;
        bytes.push(b'\n');
        self.bytes += bytes.len() as u64;
        self.file.write_all(&bytes).map_err(AnchorError::file(&self.beside))
    }
}

impl Drop for Writer {
    /// What was not finished is nobody's package; what was has another name by now.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}
