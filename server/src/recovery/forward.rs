//! Roll forward: a database restored from an older backup, or an empty one, gets the rest of its own log.

use std::collections::VecDeque;
use std::sync::Arc;

use anchor::archive::{Archive, Verified, Wanted};
use anchor::signer::Signer;
use anyhow::{Context as _, ensure};
use chain::Hash;
use chain::policy::Policy;
use chain::rotation::{History, fingerprint};
use eventlog::vault::Vault;
use eventlog::{Location, Log, Stored};
use identity::Pepper;
use projections::views::ViewsDb;

use super::restorer::Restorer;
use super::{Asked, No, OnStage, Told, existing, kept};
use crate::city::{DataDir, location, open_as, secrets, signers, witnesses};
use crate::config::Settings;

/// Hashes read from the database at a time.
const PAGE: usize = 65_536;

pub(super) async fn run(settings: &Settings, asked: &Asked, on_stage: OnStage<'_>) -> anyhow::Result<Told> {
    let dir = DataDir::existing(&settings.data_dir)?;
    let keys = Keys::read(settings, &dir).context(
        "rolling a log forward takes the city's keys; where they are lost or stolen, --new-origin makes a log that continues this one",
    )?;
    let places = kept::places(settings, asked)?;
    let (mut policy, whose) = match &asked.policy {
        Some(path) => (kept::policy_of(path)?, path.display().to_string()),
        None => (keys.policy(settings)?, format!("the keys of {}", settings.data_dir.display())),
    };
    let origin = dir.origin(settings)?;
    policy.logs.retain(|log| log.name() == origin);
    ensure!(!policy.logs.is_empty(), "{whose}: it gives no key of {origin}, which is the log of this data directory");
    let archive = kept::open(places, &policy, Wanted { size: asked.size, witnessed: false }).await?;
    let log = existing(settings, archive.origin()).await?;
    let mut database = Database::of(log.as_ref()).await?;
    let mut sealed = 0;
    let verified = kept::verify(&archive, on_stage, async |entries| {
        if entries.first().is_some_and(|first| first.position == 0) {
            database = Database::of(log.as_ref()).await?;
            sealed = 0;
        }
        for entry in entries {
            if !database.has(entry).await? {
                sealed += u64::from(kept::is_sealed(entry));
            }
        }
        Ok(())
    })
    .await?;
    database.ends_by(&archive)?;
    keys.ensure_in_force(&verified.history)?;
    let mut told = kept::told(&archive, &policy, whose, &verified);
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
    signers: Vec<Arc<dyn Signer>>,
}

impl Keys {
    fn read(settings: &Settings, dir: &DataDir) -> anyhow::Result<Self> {
        Ok(Self {
            pepper: Pepper::new(*dir.secret("pepper.key", false)?),
            vault: Vault::new(dir.master_key(false)?),
            signers: signers::held(settings, dir, &dir.origin(settings)?, false)?,
        })
    }

    /// The keys that are held here, and those that were published from here: of either, some may be of a day when others were in force.
    fn policy(&self, settings: &Settings) -> anyhow::Result<Policy> {
        let published = kept::published_policy(&settings.data_dir)?;
        let mut keys: Vec<_> = self.signers.iter().map(|signer| signer.key().clone()).collect();
        if let Some(text) = &published {
            let policy = Policy::parse(text).context("the published policy")?;
            let others = policy.logs.into_iter().filter(|key| self.signers.iter().all(|signer| signer.key() != key));
            keys.extend(others);
        }
        let witnesses = match published {
            Some(text) => Some(text),
            None => witnesses::of(settings)?.map(|witnesses| witnesses.policy),
        };
        Ok(anchor::keys::policy(&keys, witnesses.as_deref())?)
    }

    /// The city could not go on without one.
    fn ensure_in_force(&self, history: &History) -> anyhow::Result<()> {
        let mut in_force = history.in_force(u64::MAX).map(|era| era.fingerprint);
        let is_held = |print: Hash| self.signers.iter().any(|signer| fingerprint(&signer.key().vkey()) == print);
        ensure!(
            history.eras().is_empty() || in_force.any(is_held),
            "none of the keys that sign this log is here: the log rotated its key, and a backup may hold the one of before; where the newer \
             one is lost or stolen, --new-origin makes a log that continues this one"
        );
        Ok(())
    }
}

/// The entries of the database, compared from the first on with those that were kept.
struct Database<'a> {
    log: Option<&'a Log>,
    size: u64,
    hashes: VecDeque<Hash>,
    /// The first position at which it is another one.
    differs_at: Option<u64>,
}

impl<'a> Database<'a> {
    async fn of(log: Option<&'a Log>) -> anyhow::Result<Self> {
        let size = match log {
            Some(log) => log.head().await?.size,
            None => 0,
        };
        Ok(Self { log, size, hashes: VecDeque::new(), differs_at: None })
    }

    /// Whether the database has this entry, which is the next one. What differs is said once it is known that what was kept holds.
    async fn has(&mut self, entry: &Stored) -> anyhow::Result<bool> {
        let log = self.log.filter(|_| entry.position < self.size && self.differs_at.is_none());
        let Some(log) = log else { return Ok(false) };
        if self.hashes.is_empty() {
            self.hashes = log.hashes(entry.position, PAGE).await?.into();
        }
        let is_same = self.hashes.pop_front() == Some(entry.hash);
        if !is_same {
            self.differs_at = Some(entry.position);
        }
        Ok(is_same)
    }

    fn ends_by(&self, archive: &Archive) -> anyhow::Result<()> {
        if let Some(position) = self.differs_at {
            return Err(No::differs(format!(
                "position {position} of the database is another entry than the one that was kept: it is not a beginning of that log"
            ))
            .into());
        }
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
    secrets::check(&log, &keys.pepper, &keys.vault).await?;
    drop(restorer);
    Ok(())
}

/// Guards and views from position 0: those of a backup may be damaged, and views may be of another day than the log.
pub(super) async fn rebuild(log: &Log, on_stage: OnStage<'_>) -> anyhow::Result<()> {
    let views = ViewsDb::open(log, true).await.context("opening the views")?;
    projections::replay::rebuild(log, &views, &mut |done, of| on_stage("rebuild", done, of)).await?;
    Ok(())
}
