//! What else lies in the folder: nothing may pass for a part of the log that no check has looked at.

use std::io;

use chain::pack::PackId;
use chain::tile::{BundleId, TileId};

use crate::inputs::Folder;
use crate::report::{Check, Finding, Report};
use crate::tiles::FULL;

/// No log is longer (FORMAT.md section 1).
const LONGEST: u64 = 1 << 53;
/// What a writer leaves behind when it dies before it gives a file its name.
const UNFINISHED: &str = ".new";

pub fn is_unfinished(path: &str) -> bool {
    path.ends_with(UNFINISHED)
}

/// Files of one sort: how many, and the first by name.
#[derive(Default)]
struct Sort {
    count: u64,
    first: Option<String>,
}

impl Sort {
    fn add(&mut self, path: String) {
        self.count += 1;
        if self.first.as_ref().is_none_or(|first| path < *first) {
            self.first = Some(path);
        }
    }

    fn say(&self, report: &mut Report, what: &str) {
        if let Some(first) = &self.first {
            report.also_there.push(format!("{} {what}, the first {first:?}", self.count));
        }
    }
}

/// Adds a finding for everything that is no regular file, or larger than a file of its name can be.
pub fn shut(folder: &Folder, report: &mut Report) {
    for (path, why) in folder.shut() {
        report.add(Finding::general(Check::File, format!("{path:?} is {why}: it was not opened")));
    }
}

/// Looks at the names of all files, beside a log of `size` entries: a finding for one that no log has where only a log's files are, a
/// line of the report for whatever a folder may hold besides.
pub fn survey(folder: &Folder, size: u64, report: &mut Report) -> io::Result<()> {
    let (mut longer, mut unfinished, mut other) = (Sort::default(), Sort::default(), Sort::default());
    folder.walk(|path, kind| {
        if !kind.is_file() || matches!(path.as_str(), "checkpoint" | "policy") {
            return;
        }
        let named = match path.split_once('/') {
            Some(("anchors", name)) if !name.contains('/') => Some(0),
            Some(("tile" | "pack", _)) => least_size(&path),
            Some(("anchors", _)) => None,
            _ => return other.add(path),
        };
        match named {
            _ if is_unfinished(&path) => unfinished.add(path),
            Some(least) if least <= size => {}
            Some(_) => longer.add(path),
            None => report.add(Finding::general(Check::File, format!("{path:?} is no file of any log"))),
        }
    })?;
    longer.say(report, "files of a longer log, which the checkpoint does not cover");
    unfinished.say(report, "files that were never finished");
    other.say(report, "files that are no part of a log");
    Ok(())
}

/// How many entries a log has at least that has this file.
fn least_size(path: &str) -> Option<u64> {
    let items = |index: u64, width: u16| index.checked_mul(u64::from(FULL))?.checked_add(u64::from(width));
    let size = if let Some(id) = BundleId::parse(path) {
        items(id.index, id.width)
    } else if let Some(id) = PackId::parse(path) {
        items(id.index, id.width)
    } else {
        let id = TileId::parse(path)?;
        items(id.index, id.width)?.checked_mul(u64::from(FULL).checked_pow(u32::from(id.level))?)
    };
    size.filter(|size| *size <= LONGEST)
}
