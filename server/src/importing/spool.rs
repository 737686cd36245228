//! What a source lists, kept on disk until all of it was listed: only then is it known what ended, wherever in the listing that stands.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::Import;

/// A file without a name: nobody else reads it, and it is gone with this process.
pub(super) struct Spool {
    file: BufWriter<File>,
    pub count: u64,
}

impl Spool {
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let file = tempfile::tempfile_in(dir).with_context(|| format!("a file in {}", dir.display()))?;
        Ok(Self { file: BufWriter::new(file), count: 0 })
    }

    pub fn push(&mut self, import: &Import) -> anyhow::Result<()> {
        self.count += 1;
        serde_json::to_writer(&mut self.file, import).context("keeping what the source lists")?;
        self.file.write_all(b"\n").context("keeping what the source lists")
    }

    /// Everything that was pushed, in its order.
    pub fn read(self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Import>>> {
        let mut file = self.file.into_inner().context("keeping what the source lists")?;
        file.rewind()?;
        Ok(BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)))
    }
}
