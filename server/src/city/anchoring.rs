//! The city's publisher and anchors, and what a city does that cannot publish because another process does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anchor::{AnchorError, Config, Directory, EntryReceipt, Layout, Prover, Service, Verdict};
use anyhow::Context as _;
use chain::key::SigningKey;
use chain::proof::TlogProof;
use commands::Pipeline;
use eventlog::{Location, Log};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Settings;

pub struct Anchoring {
    /// Missing when another server of the same database publishes; and why.
    service: Result<Arc<Service>, String>,
    layout: Layout,
    compared: Compared,
}

/// What the log is compared with.
struct Compared {
    data_dir: PathBuf,
    log: Log,
    key: SigningKey,
    store: Arc<Directory>,
}

impl Anchoring {
    pub async fn open(settings: &Settings, log: &Log, key: &SigningKey, pipeline: &Pipeline) -> anyhow::Result<Self> {
        let config = Config {
            checkpoint_every: Duration::from_secs(settings.anchor.checkpoint_seconds),
            anchor_every: Duration::from_secs(settings.anchor.anchor_seconds),
            ..Config::new(&settings.data_dir)
        };
        let store = Arc::new(Directory::new(settings.worm_dir()));
        let opened = Service::open(
            config,
            log.clone(),
            key.clone(),
            Arc::<Directory>::clone(&store),
            Arc::new(pipeline.clone()),
        )
        .await;
        let service = match opened {
            Ok(service) => Ok(Arc::new(service)),
            // On SQLite there is one writer, so nobody else can be publishing for good reasons.
            Err(AnchorError::Locked(path)) if matches!(log.config().location, Location::Postgres { .. }) => {
                tracing::warn!(path = %path.display(), "another server publishes from here; this one only writes");
                Err("another server publishes from here".to_owned())
            }
            Err(error) => return Err(error).context("opening what was published"),
        };
        let compared = Compared { data_dir: settings.data_dir.clone(), log: log.clone(), key: key.clone(), store };
        Ok(Self { service, layout: Layout::within(&settings.data_dir), compared })
    }

    /// Whether this process publishes, and so is the one to be asked for it.
    pub fn is_ours(&self) -> bool {
        self.service.is_ok()
    }

    /// Why no command may be accepted, if the log is not the one that was published.
    pub async fn startup_check(&self) -> anyhow::Result<Option<String>> {
        let verdict = match &self.service {
            Ok(service) => service.startup_check().await,
            Err(_) => {
                let Compared { data_dir, log, key, store } = &self.compared;
                anchor::compare(data_dir, log, key, store.as_ref()).await
            }
        };
        Ok(match verdict.context("comparing the log with what was published")? {
            Verdict::Good => None,
            Verdict::ReadOnly { position, reason } => Some(format!("from position {position} on: {reason}")),
        })
    }

    /// Starts publishing and anchoring.
    pub fn start(&self, stopping: watch::Receiver<bool>) -> Option<JoinHandle<()>> {
        let service = Arc::clone(self.service.as_ref().ok()?);
        Some(tokio::spawn(service.run(stopping)))
    }

    /// What was answered last is published too, so that the next start can check it.
    pub async fn last_checkpoint(&self) {
        if let Ok(service) = &self.service {
            // The service has said what went wrong; the next start publishes.
            let _ = service.publish(false).await;
        }
    }

    pub async fn anchor_now(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.anchor_now().await?)?)
    }

    pub async fn status(&self) -> anyhow::Result<Value> {
        match &self.service {
            Ok(service) => Ok(serde_json::to_value(service.status().await?)?),
            Err(why) => Ok(json!({ "published_by": "another server", "trouble": why })),
        }
    }

    pub async fn list(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.list().await?)?)
    }

    /// Publishes everything there is, then writes it to `out`.
    pub async fn export(
        &self,
        out: &Path,
        with_packs: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> anyhow::Result<Value> {
        let service = self.service()?;
        service.publish(false).await?;
        Ok(serde_json::to_value(service.export(out, with_packs, progress).await?)?)
    }

    fn service(&self) -> anyhow::Result<&Service> {
        self.service.as_deref().map_err(|why| anyhow::anyhow!("another server publishes this log, ask there: {why}"))
    }

    /// The published checkpoint.
    pub async fn checkpoint(&self) -> Result<Option<String>, AnchorError> {
        self.blocking(|layout| layout.checkpoint()).await
    }

    /// The bytes of a published tile or bundle.
    pub async fn file(&self, path: String) -> Result<Option<Vec<u8>>, AnchorError> {
        self.blocking(move |layout| layout.read(&path)).await
    }

    /// The proof of a position, when a checkpoint covers it.
    pub async fn proof(&self, position: u64) -> Result<Option<TlogProof>, AnchorError> {
        self.blocking(move |layout| Prover::new(layout.clone()).prove(position)).await
    }

    /// The same with the entry.
    pub async fn receipt(&self, position: u64) -> Result<Option<EntryReceipt>, AnchorError> {
        self.blocking(move |layout| Prover::new(layout.clone()).receipt(position)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Layout) -> Result<T, AnchorError> + Send + 'static,
    ) -> Result<T, AnchorError> {
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || read(&layout)).await.unwrap_or(Err(AnchorError::CutOff))
    }
}
