//! An open city: the log, its writer, the workers that follow it, and how all of it ends in order.
//!
//! Invariants:
//! - The city is checked against everything that was ever published about it before the first command is taken.
//! - The first start founds it; nothing else ever makes a principal out of nothing.
//! - It ends by settling what is queued: whoever was answered finds their entries, whoever was not can ask again.

mod anchoring;
mod expiry;
mod files;
mod founding;
pub mod frozen;
mod listing;
mod on_record;
mod recheck;
pub mod reckoner;
pub mod reconciler;
pub mod secrets;
mod side;
pub mod signers;
pub mod signing;
mod standing;
pub mod stores;
pub mod times;
pub mod unverified;
pub mod witnesses;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use commands::Pipeline;
use domain::ids::{GuildId, Slug};
use domain::turn::Claim;
use eventlog::vault::Vault;
use eventlog::{Failure, Location, Log, LogConfig, Migration};
use identity::Pepper;
use projections::uses::UsesDb;
use projections::views::ViewsDb;
use queries::checks::Checks;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use anchoring::Anchoring;
pub use files::{DataDir, MASTER_KEY_VARIABLE, ensure_private, make_private};
pub use founding::{FirstPrincipal, recover_key};
pub use on_record::OnRecord;
use signing::Keys;

use crate::config::Settings;
use crate::http::Standing;
use crate::recovery;

/// How long the end may take before it is cut short; everything answered is durable in any case.
const ENDING: Duration = Duration::from_secs(15);

pub struct City {
    pub settings: Settings,
    pub log: Log,
    pub vault: Arc<Vault>,
    pub pipeline: Pipeline,
    pub keys: Keys,
    pub standing: Standing,
    pub views: ViewsDb,
    pub uses: UsesDb,
    pub checks: Checks,
    pub anchoring: Anchoring,
    reached: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
}

/// A city with its workers; dropping it leaves the workers running, [`Open::close`] ends them.
pub struct Open {
    pub city: Arc<City>,
    /// Until [`Open::first_is_shown`].
    pub first: Option<FirstPrincipal>,
    dir: DataDir,
    stop: watch::Sender<bool>,
    writer: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

/// The guild that has this slug, as of the head.
pub async fn guild_of(log: &Log, slug: &Slug) -> Result<Option<GuildId>, Failure> {
    let claim = Claim { scope: "guild_slug", key: slug.to_string() };
    let taken = projections::guards::claims_taken(&mut log.reader().await?, std::slice::from_ref(&claim)).await?;
    Ok(taken.get(&claim).and_then(|guild| guild.parse().ok()))
}

/// Opens the log for reading only: beside a running server, or without one.
pub async fn open_log(settings: &Settings, dir: &DataDir, create: bool) -> anyhow::Result<Log> {
    let origin = dir.origin(settings)?;
    let location = location(settings);
    if let (Location::Sqlite { dir: place }, true) = (&location, create) {
        anyhow::ensure!(
            place.join("log.db").exists() || !dir.file("pepper.key").exists(),
            "this city's log is not in {}: is --database-url missing, or was log.db lost? Restore it from a backup",
            place.display()
        );
    }
    if let (Location::Sqlite { dir }, true) = (&location, create) {
        eventlog::init_sqlite(dir, &origin, &projections::ddl::SQLITE).await?;
    }
    open_as(settings, origin).await
}

/// Opens the log that these settings name, which must be there and have this name.
pub async fn open_as(settings: &Settings, origin: String) -> anyhow::Result<Log> {
    let location = location(settings);
    let config =
        LogConfig { location, origin, allow_unsafe: settings.r#unsafe, allow_owner: settings.dev, create: false };
    let log = Log::open(config).await?;
    let carried: &[Migration<'_>] =
        if settings.database_url.is_some() { &projections::ddl::POSTGRES } else { &projections::ddl::SQLITE };
    log.check_schema(carried).await?;
    Ok(log)
}

pub fn location(settings: &Settings) -> Location {
    match &settings.database_url {
        Some(url) => Location::Postgres { url: url.expose().to_owned() },
        None => Location::Sqlite { dir: settings.data_dir.clone() },
    }
}

impl Open {
    /// Opens the city, founding it when there is none, and starts its workers.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let dir = DataDir::create(&settings.data_dir)?;
        let log = open_log(&settings, &dir, true).await.context("opening the event log")?;
        recovery::continued::ensure_whole(&log).await?;
        let new = log.head().await?.size == 0;
        let vault = Arc::new(Vault::new(dir.master_key(new)?));
        let pepper = Arc::new(Pepper::new(*dir.secret("pepper.key", new)?));
        let named = secrets::check(&log, &pepper, &vault).await?;
        let witnesses = witnesses::of(&settings)?;
        let held = signers::held(&settings, &dir, log.origin(), new)?;
        let keys = Keys::open(&log, held, witnesses.as_ref().map(|witnesses| witnesses.policy.as_str())).await?;
        let config = commands::Config {
            queue: settings.limits.queue,
            compare_after_reconnect: true,
            ..commands::Config::default()
        };
        let (pipeline, writer) = Pipeline::start(&log, Arc::clone(&vault), config).await?;
        // Only now: who writes here is settled, and views of another version are thrown away.
        let views = ViewsDb::open(&log, true).await.context("opening the views")?;
        let anchoring = Anchoring::open(&settings, witnesses, &log, &keys, &pipeline).await?;
        if let Some(reason) = anchoring.startup_check().await? {
            tracing::error!(%reason, "this server only reads");
            pipeline.set_read_only(Some(reason));
        }
        if let Some(reason) = frozen::reason(&dir)? {
            tracing::error!(%reason, alarm = true, "this server only reads");
            pipeline.set_read_only(Some(reason));
        }

        let first = founding::found(&log, &pipeline, &pepper, &dir).await?;
        if named == secrets::Named::NotYet && pipeline.read_only().is_none() {
            secrets::settle(&log, &pipeline, &pepper, &vault, &keys, first.is_some()).await?;
        }
        let (stop, stopping) = watch::channel(false);
        let (reach, reached) = watch::channel(0);
        let standing = Standing::new(log.clone(), pepper);
        let city = Arc::new(City {
            settings,
            vault,
            pipeline,
            keys,
            standing,
            uses: UsesDb::new(&log),
            checks: Checks::new(log.clone()),
            log,
            views,
            anchoring,
            reached,
            stopping,
        });
        let workers = city.start_workers(reach);
        Ok(Self { city, first, dir, stop, writer, workers })
    }

    /// The first key has reached its owner: it is kept no longer.
    pub fn first_is_shown(&mut self) -> anyhow::Result<()> {
        self.first = None;
        founding::shown(&self.dir)
    }

    /// Ends everything that waits for the end: the feeds, then the workers.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends the city: workers first, then what is queued, then the log. Callers must have stopped sending.
    pub async fn close(self) {
        self.stop();
        let Self { city, writer, workers, stop, .. } = self;
        let ending = async {
            for worker in workers {
                let _ = worker.await;
            }
            city.anchoring.last_checkpoint().await;
            // The writer ends when the last handle to it is gone, after settling what is queued.
            drop(city);
            let _ = writer.await;
        };
        if tokio::time::timeout(ENDING, ending).await.is_err() {
            tracing::warn!("ended before everything had come to rest; what was answered is durable");
        }
        drop(stop);
    }
}

impl City {
    fn start_workers(self: &Arc<Self>, reach: watch::Sender<u64>) -> Vec<JoinHandle<()>> {
        let views = projections::views::run(self.log.clone(), self.views.clone(), self.stopping.clone(), reach);
        let pipeline = self.pipeline.clone();
        let views = async move {
            if let Err(failure) = views.await {
                // Nothing may go on past what cannot be read; questions keep answering what is known.
                tracing::error!(%failure, "the views have stopped for good");
                // The first reason is the one to look at.
                if pipeline.read_only().is_none() {
                    pipeline.set_read_only(Some(format!("the tables cannot follow the log: {failure}")));
                }
            }
        };
        let mut workers = vec![
            tokio::spawn(views),
            tokio::spawn(expiry::run(Arc::clone(self))),
            tokio::spawn(recheck::run(Arc::clone(self))),
            tokio::spawn(reconciler::run(Arc::clone(self))),
            tokio::spawn(reckoner::run(Arc::clone(self))),
            tokio::spawn(frozen::run(Arc::clone(self))),
        ];
        let city = Arc::clone(self);
        workers.push(tokio::spawn(async move { city.anchoring.run(city.stopping()).await }));
        workers
    }

    /// Turns true when the city is about to end.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The guild that has this slug, as of the head.
    pub async fn guild(&self, slug: &Slug) -> Result<Option<GuildId>, Failure> {
        guild_of(&self.log, slug).await
    }

    /// How many entries the views have folded.
    pub fn views_reached(&self) -> u64 {
        *self.reached.borrow()
    }

    /// Waits until the entry at `position` can be seen in the views; `false` when it takes longer than `most`.
    pub async fn views_reach(&self, position: u64, most: Duration) -> Result<bool, Failure> {
        let mut reached = self.reached.clone();
        let waiting = reached.wait_for(|size| *size > position);
        match tokio::time::timeout(most, waiting).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Err(Failure::Unavailable("the views have stopped".to_owned())),
            Err(_) => Ok(false),
        }
    }

    /// Waits until everything that is on record by now can be seen in the views; `false` when it takes longer than `most`.
    pub async fn views_follow(&self, most: Duration) -> Result<bool, Failure> {
        match self.log.head().await?.size.checked_sub(1) {
            Some(newest) => self.views_reach(newest, most).await,
            None => Ok(true),
        }
    }

    /// What this city runs without, for whoever starts it.
    pub fn warnings(&self) -> Vec<String> {
        let safety = self.log.safety();
        let mut warnings: Vec<String> =
            safety.unsafe_settings.iter().map(|setting| format!("{setting}: commits may be lost")).collect();
        if safety.owner {
            warnings.push("the database role could rewrite the log".to_owned());
        }
        if self.settings.keeps_all_in_one_place() {
            warnings.push(format!(
                "checkpoints and anchors lie beside the log in {}: should all of it be restored from an old copy, only an auditor's \
                 memory would tell; set anchor.directory to another disk, or anchor.kind to a bucket with a lock",
                self.settings.data_dir.display()
            ));
        }
        warnings.extend(self.pipeline.read_only().map(|reason| format!("read-only: {reason}")));
        warnings
    }

    /// Numbers that nobody counts as they happen.
    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    pub async fn measure(&self) {
        if let Ok(head) = self.log.head().await {
            metrics::gauge!("guildhall_log_size").set(head.size as f64);
            metrics::gauge!("guildhall_projection_lag").set(head.size.saturating_sub(self.views_reached()) as f64);
        }
        metrics::gauge!("guildhall_queue_depth").set(self.pipeline.depth() as f64);
        metrics::gauge!("guildhall_view_position").set(self.views_reached() as f64);
        metrics::gauge!("guildhall_read_only").set(f64::from(u8::from(self.pipeline.read_only().is_some())));
    }
}
