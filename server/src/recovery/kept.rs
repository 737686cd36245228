//! Where the kept log is, and by whose keys it is believed.

use std::path::Path;
use std::sync::Arc;

use anchor::archive::{Archive, Places, Verified, Wanted};
use anchor::store::Store;
use anchor::{Directory, Layout};
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
    Ok(Places { store, published, notes })
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

/// The policy that was given, or else the one that the data directory keeps.
pub(super) fn policy(settings: &Settings, asked: &Asked) -> anyhow::Result<Option<Policy>> {
    match &asked.policy {
        Some(path) => policy_of(path).map(Some),
        None => {
            let from = asked.from.as_deref().map(published_policy).transpose()?.flatten();
            let text = from.map_or_else(|| published_policy(&settings.data_dir), |text| Ok(Some(text)))?;
            text.map(|text| Policy::parse(&text).context("the published policy")).transpose()
        }
    }
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

/// Reads and checks everything; `see` is shown the entries of each pack in order.
pub(super) async fn verify(
    archive: &Archive,
    on_stage: OnStage<'_>,
    mut see: impl AsyncFnMut(&[Stored]) -> anyhow::Result<()>,
) -> anyhow::Result<Verified> {
    let mut pass = archive.verify();
    while let Some(entries) = pass.next().await? {
        see(&entries).await?;
        on_stage("verify", entries.last().map_or(0, |last| last.position + 1), archive.size());
    }
    Ok(pass.finish().await?)
}

/// What can be told before anything is written.
pub(super) fn told(archive: &Archive, policy: &Policy, verified: &Verified) -> Told {
    Told {
        origin: archive.origin().to_owned(),
        size: archive.size(),
        root: archive.root().to_string(),
        checkpoint: archive.aim.whence.clone(),
        witnessed: policy.quorum.map(|_| archive.aim.witnessed),
        anchors: archive.anchors.len(),
        remarks: archive.remarks.iter().chain(&verified.remarks).cloned().collect(),
        ..Told::default()
    }
}

/// Whether an entry has texts that only a vault holds.
pub(super) fn is_sealed(entry: &Stored) -> bool {
    chain::entry::EntryView::parse(&entry.bytes).is_ok_and(|view| view.sealed.is_some())
}
