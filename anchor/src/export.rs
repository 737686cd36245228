//! Everything an auditor needs, in one folder, at one checkpoint.

use std::path::{Path, PathBuf};

use chain::checkpoint::{self, Checkpoint};
use chain::hash::sha256;
use chain::policy::Policy;
use serde::Serialize;

use crate::anchor_format::{self, Anchor, Anchored, Previous, new_files};
use crate::files::{self, Pending};
use crate::genuine::FOLDER;
use crate::layout::Layout;
use crate::on_record;
use crate::signing_keys::SigningKeys;
use crate::store::{self, Store};
use crate::{AnchorError, error::blocking};

/// Files written at a time.
const CHUNK: usize = 128;

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub origin: String,
    pub size: u64,
    pub files: u64,
    pub bytes: u64,
    pub anchors: u64,
    /// Whether the entries are in it, or only their hashes.
    pub with_packs: bool,
    /// Anchors that the store has lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Anchors of more entries than were ever published: the log was longer, or somebody else signs with its key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<Beyond>,
    /// What lies among the anchors and was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<String>,
}

/// An anchor that is not in an export, because it covers more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beyond {
    pub key: String,
    pub size: u64,
}

/// Writes policy, checkpoint, tiles, bundles, packs and anchors to `out`, which must be empty or a former export of the
/// same log. The anchors are those of the store; without the keys of the log, those that a key of the published policy signed, or that the
/// published entries speak of, and all before them. Without packs the folder shows no entry, only that there are so many. `progress` hears how many of how many
/// files are written.
pub async fn export(
    layout: &Layout,
    store: Option<(&dyn Store, Option<&SigningKeys>)>,
    out: &Path,
    with_packs: bool,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Exported, AnchorError> {
    let note =
        layout.checkpoint()?.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published yet"))?;
    let policy_text = String::from_utf8_lossy(&layout.expect("policy")?).into_owned();
    let policy = Policy::parse(&policy_text).map_err(|error| AnchorError::unreadable("policy", error))?;
    let checkpoint = checkpoint::open(&note, &policy).map_err(|error| AnchorError::unreadable("checkpoint", error))?;
    let mut exported = Exported {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        files: 0,
        bytes: 0,
        anchors: 0,
        with_packs,
        missing: Vec::new(),
        beyond: Vec::new(),
        strays: Vec::new(),
    };
    begin(out.to_owned(), policy_text.clone()).await?;
    let paths: Vec<String> =
        new_files(0, checkpoint.size).into_iter().filter(|path| with_packs || !path.starts_with("pack/")).collect();
    let total = paths.len() as u64;
    for chunk in paths.chunks(CHUNK) {
        let (layout, out, chunk) = (layout.clone(), out.to_owned(), chunk.to_vec());
        let (files, bytes) = blocking(move || {
            let copies = chunk.iter().map(|path| Ok(Pending { path: out.join(path), bytes: layout.expect(path)? }));
            let copies = copies.collect::<Result<Vec<_>, AnchorError>>()?;
            files::publish(&copies)?;
            Ok((copies.len() as u64, copies.iter().map(|copy| copy.bytes.len() as u64).sum::<u64>()))
        })
        .await?;
        exported.files += files;
        exported.bytes += bytes;
        progress(exported.files, total);
    }
    if let Some((store, keys)) = store {
        let (published, size) = (layout.clone(), checkpoint.size);
        let recorded = blocking(move || on_record::published(&published, size)).await?;
        let newest = match keys {
            Some(keys) => Newest::Signed(keys, recorded),
            None => Newest::Published(&policy, recorded),
        };
        anchors(store, out, &checkpoint, &newest, &mut exported).await?;
        // What was published meanwhile is only newer than this export.
        let by_now = layout.checkpoint()?.and_then(|note| checkpoint::open(&note, &policy).ok());
        let by_now = by_now.map_or(checkpoint.size, |by_now| by_now.size);
        exported.beyond.retain(|beyond| beyond.size > by_now);
    }
    // Last, so that an export that was cut off has no checkpoint and is not taken for a whole one.
    files::replace(&out.join("checkpoint"), note.as_bytes())?;
    Ok(exported)
}

/// How the newest anchor is known.
enum Newest<'a> {
    /// A key of the log that is in force signed it, or the published entries speak of it: all of them may be from before these keys.
    Signed(&'a SigningKeys, Option<Anchored>),
    /// The same by the keys that are published.
    Published(&'a Policy, Option<Anchored>),
}

impl Newest<'_> {
    fn is(&self, key: &str, anchor: &Anchor, bytes: &[u8]) -> bool {
        match self {
            Self::Signed(keys, recorded) => {
                is_it(recorded.as_ref(), key, bytes) || (keys.open_anchor(anchor).is_ok() && keys.is_current(anchor))
            }
            Self::Published(policy, recorded) => {
                is_it(recorded.as_ref(), key, bytes) || anchor_format::read(key, bytes, policy).is_ok()
            }
        }
    }
}

fn is_it(recorded: Option<&Anchored>, key: &str, bytes: &[u8]) -> bool {
    recorded.is_some_and(|recorded| recorded.key == key && recorded.sha256 == sha256(&[bytes]))
}

/// Writes the chain of anchors, from the newest back to the first: each names the one before by its hash, so
/// that what anybody else put between them is told from them, and keys that are retired by now need not be known.
async fn anchors(
    store: &dyn Store,
    out: &Path,
    checkpoint: &Checkpoint,
    newest: &Newest<'_>,
    exported: &mut Exported,
) -> Result<(), AnchorError> {
    let mut keys = store::keys(store, FOLDER).await?;
    keys.reverse();
    let mut named = Before::Unknown;
    for key in keys {
        if let Before::Is(previous) = &named
            && key < previous.key
        {
            exported.missing.push(format!("{}: the anchor after it names it, and it is gone", previous.key));
            named = Before::Gone;
        }
        let bytes = store.get(&key, None).await?.map(|object| object.bytes).unwrap_or_default();
        let said = anchor_format::parse(&key, &bytes)
            .and_then(|anchor| Ok((anchor_format::checkpoint_of(&key, &bytes, &checkpoint.origin)?, anchor)));
        let said = said.ok().filter(|(covers, anchor)| anchor_format::key(anchor.seq, covers.size) == key);
        let belongs = said.as_ref().is_some_and(|(_, anchor)| match &named {
            Before::Unknown => newest.is(&key, anchor, &bytes),
            Before::Is(previous) => previous.key == key && previous.sha256 == sha256(&[&bytes]),
            // Whose word it is, the auditor judges with the entries at hand.
            Before::Gone => true,
            Before::None => false,
        });
        let Some((covers, anchor)) = said.filter(|_| belongs) else {
            exported.strays.push(format!("{key}: it is no anchor of this log"));
            continue;
        };
        named = match (named, anchor.previous) {
            (Before::Gone, _) => Before::Gone,
            (_, Some(previous)) => Before::Is(previous),
            (_, None) => Before::None,
        };
        // One that is newer than this checkpoint would make the folder contradict itself.
        if covers.size > checkpoint.size {
            exported.beyond.push(Beyond { key, size: covers.size });
        } else {
            files::publish(&[Pending { path: out.join(&key), bytes }])?;
            exported.anchors += 1;
        }
    }
    if let Before::Is(previous) = named {
        exported.missing.push(format!("{}: the anchor after it names it, and it is gone", previous.key));
    }
    Ok(())
}

/// What the anchor that was looked at last says of the one before it.
enum Before {
    /// None was found yet.
    Unknown,
    Is(Previous),
    /// It is not there, so that nothing is known of those before it.
    Gone,
    /// It is the first.
    None,
}

/// The policy comes first: by it the next export knows this folder for its own, also when this one is cut off.
async fn begin(out: PathBuf, policy: String) -> Result<(), AnchorError> {
    blocking(move || {
        let place = out.join("policy");
        let there = files::read(&place)?;
        let empty = std::fs::read_dir(&out).map_or(true, |mut entries| entries.next().is_none());
        match there {
            Some(bytes) if bytes == policy.as_bytes() => Ok(()),
            // The log changed its keys, or its witnesses, meanwhile.
            Some(bytes) if is_of_the_same_log(&bytes, &policy) => files::replace(&place, policy.as_bytes()),
            None if empty => files::replace(&place, policy.as_bytes()),
            _ => Err(AnchorError::unreadable(
                out.display().to_string(),
                "is neither empty nor a former export of this log: name another folder",
            )),
        }
    })
    .await
}

fn is_of_the_same_log(former: &[u8], now: &str) -> bool {
    let origins = |text: &str| -> Option<Vec<String>> {
        let mut names: Vec<String> = Policy::parse(text).ok()?.logs.iter().map(|log| log.name().to_owned()).collect();
        names.dedup();
        Some(names)
    };
    let former = std::str::from_utf8(former).ok().and_then(origins);
    former.is_some() && former == origins(now)
}
