//! A city that is frozen takes no command until somebody has looked: a file in the data directory says so, and outlives every restart.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::{City, DataDir};

/// Its name. Removing it, and starting the server again, ends the freeze.
pub const FILE: &str = "frozen";
/// How every reason begins.
pub const FROZEN: &str = "frozen";
/// How soon a running server notices, whoever wrote the file.
const TICK: Duration = Duration::from_millis(500);

/// Freezes the city of this directory. Durable when this returns; a running server follows within a second.
pub fn freeze(dir: &DataDir, at: &str) -> anyhow::Result<String> {
    if reason(dir)?.is_none() {
        dir.write_new(FILE, format!("{at}\n").as_bytes())?;
    }
    reason(dir)?.context("the file was written")
}

/// Why no command is taken, if the city is frozen.
pub fn reason(dir: &DataDir) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(dir.file(FILE)) {
        Ok(since) => Ok(Some(format!(
            "{FROZEN} since {}, because its signing key may be in other hands (`guildhall signing-key freeze`); it ends when the file \
             {FILE} in the data directory is removed and the server started again",
            since.trim()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| dir.file(FILE).display().to_string()),
    }
}

/// Watches for the file, and for keys that other servers of this city rotated to, until the city ends.
pub async fn run(city: Arc<City>) {
    let mut stopping = city.stopping();
    // Said when it begins, not twice a second.
    let mut was = None;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let followed = match follow(&city) {
            Ok(()) => city.keys.follow(&city.settings).await,
            Err(error) => Err(error),
        };
        let trouble = followed.err().map(|error| format!("{error:#}"));
        if let Some(error) = trouble.as_ref().filter(|error| was.as_ref() != Some(*error)) {
            tracing::warn!(%error, "whether this city is frozen, or has other signing keys, is not known");
        }
        was = trouble;
    }
}

fn follow(city: &City) -> anyhow::Result<()> {
    let is_frozen = city.pipeline.read_only().is_some_and(|reason| reason.starts_with(FROZEN));
    // Whatever else it only reads for: this reason is somebody's decision.
    if let Some(reason) = reason(&DataDir::existing(&city.settings.data_dir)?)?.filter(|_| !is_frozen) {
        tracing::error!(%reason, alarm = true, "this server only reads");
        city.pipeline.set_read_only(Some(reason));
    }
    Ok(())
}
