//! Where the kept log is, and by whose keys it is believed.

use std::path::Path;
use std::sync::Arc;

use anchor::archive::{Archive, Places, Verified, Wanted};
use anchor::store::Store;
use anchor::{AnchorError, Directory, Layout};
use anyhow::{Context as _, bail};
use chain::policy::Policy;
use eventlog::Stored;

use super::{Asked, OnStage, Told};
use crate::city::stores;
use crate::config::Settings;

/// The places that were named. A city's own data directory has two: its store, and what was published.
pub(super) fn places(settings: &Settings, asked: &Asked) -> anyhow::Result<Places> {
    let notes = match &asked.checkpoint {
        Some(path) => vec![read(path)?],
        None => Vec::new(),
    };
    let (store, published) = match &asked.from {
        None => (stores::open(settings)?, layout(&settings.data_dir)),
        Some(path) if path.is_dir() => folder(path),
        Some(path) if path.is_file() => {
            let other = Settings::of_file(path).with_context(|| format!("the settings file {}", path.display()))?;
            (stores::open(&other)?, None)
        }
        Some(path) => bail!(
            "--from takes a folder, or a settings file whose [anchor] names the store: {} is neither",
            path.display()
        ),
    };
    // An export says itself what it holds; a data directory has its checkpoint among what it published.
    let exported = asked.from.as_deref().filter(|_| published.is_none()).map(|path| path.join("checkpoint"));
    let checkpoint = exported.filter(|path| path.is_file()).map(|path| read(&path)).transpose()?;
    Ok(Places { store, published, checkpoint, notes })
}

fn folder(path: &Path) -> (Arc<dyn Store>, Option<Layout>) {
    let published = layout(path);
    let inside = path.join("worm");
    let anchors = if published.is_some() && inside.is_dir() { inside } else { path.to_owned() };
    (Arc::new(Directory::new(anchors)), published)
}

/// What was published in this data directory, if anything was.
fn layout(dir: &Path) -> Option<Layout> {
    let layout = Layout::within(dir);
    layout.place("checkpoint").is_file().then_some(layout)
}

pub(super) fn policy_of(path: &Path) -> anyhow::Result<Policy> {
    Policy::parse(&read(path)?).with_context(|| format!("the policy {}", path.display()))
}

/// The text of the policy that was published in this data directory.
pub(super) fn published_policy(dir: &Path) -> anyhow::Result<Option<String>> {
    Some(Layout::within(dir).place("policy")).filter(|path| path.is_file()).map(|path| read(&path)).transpose()
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

pub(super) async fn open(places: Places, policy: &Policy, wanted: Wanted) -> anyhow::Result<Archive> {
    Ok(Archive::open(places, policy, wanted).await?)
}

/// Reads and checks everything; `see` is shown the entries of each pack in order, and from position 0 on once more where the first copies
/// did not come to the signed root.
pub(super) async fn verify(
    archive: &Archive,
    on_stage: OnStage<'_>,
    mut see: impl AsyncFnMut(&[Stored]) -> anyhow::Result<()>,
) -> anyhow::Result<Verified> {
    let mut first_error = None;
    for order in archive.orders() {
        let mut pass = archive.verify(*order);
        let ended = loop {
            match pass.next().await {
                Ok(Some(entries)) => see(&entries).await?,
                Ok(None) => break pass.finish().await,
                Err(error) => break Err(error),
            }
            on_stage("verify", pass.reached(), archive.size());
        };
        match ended {
            Ok(verified) => return Ok(verified),
            Err(error @ AnchorError::Unreadable { .. }) => first_error = first_error.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(first_error.context("there is no place to read from")?.into())
}

/// What can be told before anything is written.
pub(super) fn told(archive: &Archive, policy: &Policy, whose: String, verified: &Verified) -> Told {
    Told {
        policy: whose,
        origin: archive.origin().to_owned(),
        size: archive.size(),
        root: archive.root().to_string(),
        checkpoint: archive.aim.whence.clone(),
        witnessed: policy.quorum.map(|_| archive.aim.witnessed),
        anchors: verified.anchors,
        unbroken: verified.unbroken,
        remarks: archive.remarks.iter().chain(&verified.remarks).cloned().collect(),
        ..Told::default()
    }
}

/// Whether an entry has texts that only a vault holds.
pub(super) fn is_sealed(entry: &Stored) -> bool {
    chain::entry::EntryView::parse(&entry.bytes).is_ok_and(|view| view.sealed.is_some())
}
