//! Runs of 256 as they are published: full files, partial files, and the partial ones kept beside a full one.

use std::io;

use chain::Hash;

use crate::inputs::Folder;
use crate::report::{Check, Finding};

/// A published file that a run of up to 256 items should be in.
pub struct Published<'a> {
    pub folder: &'a Folder,
    /// The path of the full file.
    pub path: String,
    /// Items that the audited tree has in it.
    pub width: u16,
    pub check: Check,
    /// The first position it concerns, and how many positions one item stands for.
    pub first: u64,
    pub span: u64,
}

pub const FULL: u16 = chain::tile::FULL_WIDTH;

impl Published<'_> {
    /// The bytes of the first `width` items: from the file of that width, or from the full one. `end_of` says where
    /// an item ends.
    pub fn read(&self, end_of: impl Fn(&[u8], u16) -> Option<usize>) -> io::Result<Option<Vec<u8>>> {
        if self.width < FULL
            && let Some(bytes) = self.folder.read(&format!("{}.p/{}", self.path, self.width))?
        {
            return Ok(Some(bytes));
        }
        let Some(mut bytes) = self.folder.read(&self.path)? else { return Ok(None) };
        if self.width < FULL
            && let Some(end) = end_of(&bytes, self.width)
        {
            bytes.truncate(end);
        }
        Ok(Some(bytes))
    }

    /// Every partial file kept for an earlier size must be the beginning of what is there now.
    pub fn check_partials(
        &self,
        whole: &[u8],
        end_of: impl Fn(&[u8], u16) -> Option<usize>,
    ) -> io::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for name in self.folder.names(&format!("{}.p", self.path))? {
            let width =
                name.parse::<u16>().ok().filter(|width| (1..FULL).contains(width) && *name == width.to_string());
            // Whatever else is there is told from its name. This width was read itself; a wider one belongs to a later tree.
            let Some(width) = width.filter(|width| *width < self.width) else { continue };
            let expected = end_of(whole, width).and_then(|end| whole.get(..end));
            let bytes = self.folder.read(&format!("{}.p/{width}", self.path))?;
            if bytes.as_deref() != expected {
                findings.push(self.finding(format!("{}.p/{width} differs from what it became", self.path)));
            }
        }
        Ok(findings)
    }

    /// A finding about all positions of the run.
    pub fn finding(&self, what: String) -> Finding {
        Finding::within(self.check, self.first, self.first + self.span * u64::from(self.width), what)
    }

    /// A finding about one item of the run.
    pub fn finding_at(&self, item: usize, what: String) -> Finding {
        let first = self.first + self.span * item as u64;
        Finding::within(self.check, first, first + self.span, what)
    }

    /// Compares the hashes of a tile with those recomputed from below.
    pub fn check_tile(&self, hashes: &[Hash]) -> io::Result<Vec<Finding>> {
        let whole = chain::tile::encode_tile(hashes);
        let mut findings = Vec::new();
        match self.read(tile_end)? {
            None => findings.push(self.finding(format!("{} is missing", self.path))),
            Some(bytes) if bytes == whole => {}
            Some(bytes) => {
                let same =
                    bytes.chunks(32).zip(whole.chunks(32)).take_while(|(found, expected)| found == expected).count();
                findings.push(self.finding_at(same, format!("{} holds another hash than the entries give", self.path)));
            }
        }
        findings.extend(self.check_partials(&whole, tile_end)?);
        Ok(findings)
    }
}

pub fn tile_end(_: &[u8], width: u16) -> Option<usize> {
    Some(usize::from(width) * 32)
}

pub fn bundle_end(_: &[u8], width: u16) -> Option<usize> {
    Some(usize::from(width) * 34)
}

/// Where the record of this number ends; nothing when the pack is broken before.
pub fn pack_end(bytes: &[u8], width: u16) -> Option<usize> {
    let mut end = 0;
    for record in chain::pack::records(bytes).take(usize::from(width)) {
        end += 44 + record.ok()?.bytes.len();
    }
    Some(end)
}
