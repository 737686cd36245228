//! Roll forward: a database restored from an older backup, or an empty one, gets the rest of its own log.

use std::collections::VecDeque;

use anchor::archive::{Archive, Verified, Wanted};
use anyhow::Context as _;
use chain::Hash;
use chain::key::SigningKey;
use chain::policy::Policy;
use eventlog::vault::Vault;
use eventlog::{Location, Log, Stored};
use identity::Pepper;
use projections::views::ViewsDb;

use super::restorer::Restorer;
use super::{Asked, No, OnStage, Told, existing, kept};
use crate::city::{DataDir, location, open_as, secrets, witnesses};
use crate::config::Settings;

/// Hashes read from the database at a time.
const PAGE: usize = 65_536;

pub(super) async fn run(settings: &Settings, asked: &Asked, on_stage: OnStage<'_>) -> anyhow::Result<Told> {
    let dir = DataDir::existing(&settings.data_dir)?;
    let keys = Keys::read(&dir).context(
        "rolling a log forward takes the city's keys; where they are lost or stolen, --new-origin makes a log that continues this one",
    )?;
    let places = kept::places(settings, asked)?;
    let policy = match kept::policy(settings, asked)? {
        Some(policy) => policy,
        None => keys.policy(settings, &dir)?,
    };
    let archive = kept::open(places, &policy, Wanted { size: asked.size, witnessed: false }).await?;
    let log = existing(settings, archive.origin()).await?;
    let mut database = Database::of(log.as_ref()).await?;
    let mut sealed = 0;
    let verified = kept::verify(&archive, on_stage, async |entries| {
        for entry in entries {
            if !database.has(entry).await? {
                sealed += u64::from(kept::is_sealed(entry));
            }
        }
        Ok(())
    })
    .await?;
    database.ends_by(&archive)?;
    let mut told = kept::told(&archive, &policy, &verified);
    told.had = database.size;
    told.restored = archive.size() - database.size;
    told.sealed = sealed;
    told.lost = lost(&told);
    told.next = vec![
        "guildhall doctor, then guildhall serve".to_owned(),
        "where this data directory is a new one, and the one that anchored is gone: guildhall anchor adopt".to_owned(),
    ];
    if asked.go {
        restore(settings, &dir, &keys, &archive, &verified, told.had, on_stage).await?;
        told.done = true;
    }
    Ok(told)
}

/// What entries alone do not bring back.
fn lost(told: &Told) -> Vec<String> {
    let mut lost = Vec::new();
    if told.sealed > 0 {
        lost.push(format!(
            "{} of these entries have sealed texts: they can be read if the vault they were sealed in is still there, and else are gone",
            told.sealed
        ));
    }
    if told.restored > 0 {
        lost.push(
            "answers that were kept for callers who ask again with the same idempotency key: who repeats such a request now makes it a second \
             time, unless a rule of the city refuses that"
                .to_owned(),
        );
        lost.push(format!("whatever was answered after position {} and is in no pack", told.size.saturating_sub(1)));
    }
    lost
}

/// The secrets of this city, all of which must be there.
struct Keys {
    pepper: Pepper,
    vault: Vault,
    seed: zeroize::Zeroizing<[u8; 32]>,
}

impl Keys {
    fn read(dir: &DataDir) -> anyhow::Result<Self> {
        Ok(Self {
            pepper: Pepper::new(*dir.secret("pepper.key", false)?),
            vault: Vault::new(dir.master_key(false)?),
            seed: dir.secret("signing.key", false)?,
        })
    }

    fn signing(&self, origin: &str) -> SigningKey {
        SigningKey::from_seed(origin, *self.seed)
    }

    fn policy(&self, settings: &Settings, dir: &DataDir) -> anyhow::Result<Policy> {
        let key = self.signing(&dir.origin(settings)?);
        Ok(anchor::keys::policy(&key, witnesses::of(settings)?.map(|witnesses| witnesses.policy).as_deref())?)
    }
}

/// The entries of the database, compared from the first on with those that were kept.
struct Database<'a> {
    log: Option<&'a Log>,
    size: u64,
    hashes: VecDeque<Hash>,
}

impl<'a> Database<'a> {
    async fn of(log: Option<&'a Log>) -> anyhow::Result<Self> {
        let size = match log {
            Some(log) => log.head().await?.size,
            None => 0,
        };
        Ok(Self { log, size, hashes: VecDeque::new() })
    }

    /// Whether the database has this entry, which is the next one.
    async fn has(&mut self, entry: &Stored) -> anyhow::Result<bool> {
        let Some(log) = self.log.filter(|_| entry.position < self.size) else { return Ok(false) };
        if self.hashes.is_empty() {
            self.hashes = log.hashes(entry.position, PAGE).await?.into();
        }
        if self.hashes.pop_front() == Some(entry.hash) {
            return Ok(true);
        }
        Err(No::differs(format!(
            "position {} of the database is another entry than the one that was kept: it is not a beginning of that log",
            entry.position
        ))
        .into())
    }

    fn ends_by(&self, archive: &Archive) -> anyhow::Result<()> {
        if self.size <= archive.size() {
            return Ok(());
        }
        Err(No::differs(format!(
            "the database has {} entries, and what was kept ends with {}: position {} and what follows is nowhere else. Nothing is taken \
             away from a log; if those entries must not be, --new-origin makes one that continues without them",
            self.size,
            archive.size(),
            archive.size()
        ))
        .into())
    }
}

async fn restore(
    settings: &Settings,
    dir: &DataDir,
    keys: &Keys,
    archive: &Archive,
    verified: &Verified,
    had: u64,
    on_stage: OnStage<'_>,
) -> anyhow::Result<()> {
    let origin = dir.origin(&Settings { origin: Some(archive.origin().to_owned()), ..settings.clone() })?;
    if let Location::Sqlite { dir } = location(settings) {
        eventlog::init_sqlite(&dir, &origin, &projections::ddl::SQLITE).await?;
    }
    let log = open_as(settings, origin).await?;
    let mut restorer = Restorer::new(&log).await?;
    let mut again = archive.again(&verified.digests, had);
    while let Some(entries) = again.next().await? {
        let reached = entries.last().map_or(had, |last| last.position + 1);
        for entry in entries {
            restorer.push(entry).await?;
        }
        on_stage("restore", reached, archive.size());
    }
    restorer.flush().await?;
    rebuild(&log, on_stage).await?;
    secrets::check(&log, &keys.pepper, &keys.vault, &keys.signing(log.origin())).await?;
    drop(restorer);
    Ok(())
}

/// Guards and views from position 0: those of a backup may be damaged, and views may be of another day than the log.
pub(super) async fn rebuild(log: &Log, on_stage: OnStage<'_>) -> anyhow::Result<()> {
    let views = ViewsDb::open(log, true).await.context("opening the views")?;
    projections::replay::rebuild(log, &views, &mut |done, of| on_stage("rebuild", done, of)).await?;
    Ok(())
}
