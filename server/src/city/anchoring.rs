//! The city's publisher and anchors, and what a city does that cannot publish because another process does.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anchor::signer::Signer;
use anchor::{AnchorError, Config, EntryReceipt, Keep, Layout, Proved, Prover, Service, Store, Verdict, Witnesses};
use anyhow::Context as _;
use chain::proof::TlogProof;
use commands::Pipeline;
use eventlog::{Location, Log, Recorder};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::signing::Keys;
use super::standing::{Kept, Standing};
use super::{stores, times};
use crate::config::Settings;

/// How often a server that waits for its turn at publishing tries.
const TURN: Duration = Duration::from_secs(1);

/// How soon a store that did not answer is asked again.
const STORE_AGAIN: Duration = Duration::from_secs(5);

pub struct Anchoring {
    /// Missing as long as another server publishes from the same data directory.
    service: RwLock<Option<Arc<Service>>>,
    /// Turns true when this process publishes from its data directory.
    ours: watch::Sender<bool>,
    layout: Layout,
    opener: Opener,
}

/// What it takes to open the service, and to compare the log with what was published while another process has it open.
struct Opener {
    config: Config,
    log: Log,
    keys: Keys,
    store: Arc<dyn Store>,
    recorder: Pipeline,
}

impl Opener {
    /// Nothing when another server publishes from here. On SQLite there is one writer, so nobody else can be doing it for good reasons.
    async fn open(&self) -> Result<Option<Arc<Service>>, AnchorError> {
        let Self { config, log, keys, store, recorder } = self;
        let (store, recorder) = (Arc::clone(store), Arc::new(recorder.clone()));
        match Service::open(config.clone(), log.clone(), Arc::clone(keys), store, recorder).await {
            Ok(service) => Ok(Some(Arc::new(service))),
            Err(AnchorError::Locked(_)) if matches!(log.config().location, Location::Postgres { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Anchoring {
    pub async fn open(
        settings: &Settings,
        witnesses: Option<Witnesses>,
        log: &Log,
        keys: &Keys,
        pipeline: &Pipeline,
    ) -> anyhow::Result<Self> {
        let config = Config {
            checkpoint_every: Duration::from_secs(settings.anchor.checkpoint_seconds),
            anchor_every: Duration::from_secs(settings.anchor.anchor_seconds),
            prove_every: Duration::from_secs(settings.anchor.prove_seconds),
            keep: Keep { years: settings.anchor.retention_years, margin_days: settings.anchor.margin_days },
            heartbeat: Duration::from_secs(settings.anchor.heartbeat_seconds),
            witnesses,
            time: times::of(settings)?,
            mirrors: stores::mirrors(settings)?,
            ..Config::new(&settings.data_dir)
        };
        let store = stores::open(settings)?;
        let opener = Opener { config, log: log.clone(), keys: keys.clone(), store, recorder: pipeline.clone() };
        let service = opener.open().await.context("opening what was published")?;
        if service.is_none() {
            tracing::warn!(
                "another server publishes from this data directory; this one only writes, until that one ends"
            );
        }
        let ours = watch::Sender::new(service.is_some());
        Ok(Self { service: RwLock::new(service), ours, layout: Layout::within(&settings.data_dir), opener })
    }

    /// Turns true when this process is the one of its data directory that publishes, and so is the one to be asked for it.
    pub fn ours(&self) -> watch::Receiver<bool> {
        self.ours.subscribe()
    }

    /// Whether this log is published, by another server, from another place than this one's data directory.
    pub fn is_elsewhere(&self) -> bool {
        self.opened().is_some_and(|service| service.is_elsewhere())
    }

    fn opened(&self) -> Option<Arc<Service>> {
        self.service.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why no command may be accepted, if the log is not the one that was published.
    pub async fn startup_check(&self) -> anyhow::Result<Option<String>> {
        let verdict = match self.opened() {
            Some(service) => service.startup_check().await,
            None => {
                let Opener { config, log, keys, store, .. } = &self.opener;
                anchor::compare(config, log, keys, store.as_ref()).await
            }
        };
        Ok(verdict.context("comparing the log with what was published")?.refusal())
    }

    /// Publishes and anchors until `stopping` turns true; first waits for its turn, if another server has it.
    pub async fn run(&self, stopping: watch::Receiver<bool>) {
        let mut stop = stopping.clone();
        while self.opened().is_none() {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(TURN) => {}
            }
            match self.take_over().await {
                Ok(false) => {}
                Ok(true) => tracing::info!("the other server has ended; this one publishes now"),
                Err(error) => tracing::error!(error = format!("{error:#}"), "publishing cannot be taken over"),
            }
        }
        if let Some(service) = self.opened() {
            let watching = Arc::clone(&service).watch_lock(stopping.clone());
            let carrying = Arc::clone(&service).carry_to_mirrors(stopping.clone());
            let surveying = Arc::clone(&service).survey_store(stopping.clone());
            let running = Arc::clone(&service).run(stopping);
            tokio::select! {
                () = self.only_read_after_a_fork(service.fork()) => {}
                () = self.compare_when_the_store_is_back(&service) => {}
                ((), (), (), ()) = async { tokio::join!(running, watching, carrying, surveying) } => {}
            }
        }
    }

    /// Never ends. Once a witness has shown a history of this log that the log contradicts, nothing is written any more.
    async fn only_read_after_a_fork(&self, fork: Option<watch::Receiver<Option<String>>>) {
        if let Some(mut fork) = fork
            && let Ok(found) = fork.wait_for(Option::is_some).await
        {
            self.opener.recorder.set_read_only(found.clone());
        }
        std::future::pending::<()>().await;
    }

    /// Never ends. What a start could not compare with the anchors is compared once the store answers.
    async fn compare_when_the_store_is_back(&self, service: &Service) {
        let mut unseen = service.unseen();
        while unseen.wait_for(Option::is_some).await.is_ok() {
            tokio::time::sleep(STORE_AGAIN).await;
            match service.compare_with_anchors().await {
                Ok(Verdict::Good) if unseen.borrow().is_none() => {
                    tracing::info!("the anchor store is back: the log continues its anchors");
                }
                Ok(verdict) => {
                    // The first reason is the one to look at.
                    let reason = verdict.refusal().filter(|_| self.opener.recorder.read_only().is_none());
                    if let Some(reason) = reason {
                        tracing::error!(%reason, alarm = true, "this server only reads");
                        self.opener.recorder.set_read_only(Some(reason));
                    }
                }
                Err(error) => tracing::warn!(%error, "the log cannot be compared with its anchors"),
            }
        }
        std::future::pending::<()>().await;
    }

    async fn take_over(&self) -> anyhow::Result<bool> {
        let Some(service) = self.opener.open().await? else { return Ok(false) };
        // The service signs nothing before it has compared the log itself.
        if let Some(reason) = service.startup_check().await?.refusal() {
            self.opener.recorder.set_read_only(Some(reason));
        }
        *self.service.write().unwrap_or_else(PoisonError::into_inner) = Some(service);
        self.ours.send_replace(true);
        Ok(true)
    }

    /// What was answered last is published too, so that the next start can check it.
    pub async fn last_checkpoint(&self) {
        if let Some(service) = self.opened() {
            // The service has said what went wrong; the next start publishes.
            let _ = service.publish(false).await;
        }
    }

    pub async fn anchor_now(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.anchor_now().await?)?)
    }

    pub async fn status(&self) -> anyhow::Result<Value> {
        match self.opened() {
            Some(service) => Ok(serde_json::to_value(service.status().await?)?),
            None => Ok(json!({ "published_by": "another server, from this data directory" })),
        }
    }

    /// Makes this the place that publishes, now that the one before is gone for good.
    pub async fn adopt(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.adopt().await?)?)
    }

    /// Rotates the signing key to this one; where that is on record.
    pub async fn rotate_key(&self, to: Arc<dyn Signer>) -> anyhow::Result<u64> {
        Ok(self.service()?.rotate_key(to).await?)
    }

    /// Retires the older of two keys; where that is on record.
    pub async fn retire_key(&self, key: &str, recorder: &dyn Recorder) -> anyhow::Result<u64> {
        Ok(self.service()?.retire_key(key, recorder).await?)
    }

    /// The newest witnessed checkpoint, and what each witness holds.
    pub async fn witnessed(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.witnessed().await?)?)
    }

    /// Attacks the store's lock, and says how that ended.
    pub async fn prove(&self) -> anyhow::Result<Value> {
        let proof = self.service()?.prove_lock().await?;
        let mut told = serde_json::to_value(&proof)?;
        told["says"] = json!(proof.to_string());
        told["place"] = json!(self.opener.store.place());
        told["guarantee"] = json!(self.opener.store.guarantee());
        Ok(told)
    }

    /// Looks whether everything that was anchored is in the store, and with `read` whether it still is what it was.
    pub async fn check(&self, read: bool) -> anyhow::Result<Value> {
        let mut told = serde_json::to_value(self.service()?.survey(read).await?)?;
        told["place"] = json!(self.opener.store.place());
        Ok(told)
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
        // Also what says that it was anchored: the newest anchor is part of what is exported.
        service.publish(true).await?;
        Ok(serde_json::to_value(service.export(out, with_packs, progress).await?)?)
    }

    /// Writes one stream to the file `out`, with what proves that it is whole.
    pub async fn export_stream(&self, stream: &str, out: &Path) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.service()?.export_stream(stream, out).await?)?)
    }

    fn service(&self) -> anyhow::Result<Arc<Service>> {
        self.opened().context("another server publishes this log, from this data directory: ask there")
    }

    /// The published checkpoint.
    pub async fn checkpoint(&self) -> Result<Option<String>, AnchorError> {
        self.blocking(|layout| layout.checkpoint()).await
    }

    /// What auditors without a policy of their own are shown.
    pub async fn policy(&self) -> Result<Option<String>, AnchorError> {
        self.blocking(|layout| Ok(layout.read("policy")?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
            .await
    }

    /// How what is published stands with its witnesses and its store, for the page.
    pub async fn standing(&self) -> Result<Standing, AnchorError> {
        let note = self.blocking(|layout| Ok((layout.checkpoint()?, layout.age("checkpoint")))).await?;
        let Opener { keys, store, .. } = &self.opener;
        let service = self.opened();
        let lock = service.as_ref().map(|service| service.lock());
        let time = service.as_ref().and_then(|service| service.time());
        let mirrors = service.as_ref().map(|service| service.mirrors()).unwrap_or_default();
        let statuses = service.map(|service| service.witnesses()).unwrap_or_default();
        let kept = Kept { name: store.kind().as_str(), guarantee: store.guarantee(), lock, time, mirrors };
        Standing::of(note, &keys.policy(), statuses, kept)
    }

    /// The bytes of a published tile or bundle.
    pub async fn file(&self, path: String) -> Result<Option<Vec<u8>>, AnchorError> {
        self.blocking(move |layout| layout.read(&path)).await
    }

    /// The proof of a position, when a checkpoint covers it.
    pub async fn proof(&self, position: u64) -> Result<Option<Proved<TlogProof>>, AnchorError> {
        self.blocking(move |layout| Prover::new(layout.clone()).prove(position)).await
    }

    /// The same with the entry.
    pub async fn receipt(&self, position: u64) -> Result<Option<Proved<EntryReceipt>>, AnchorError> {
        self.blocking(move |layout| Prover::new(layout.clone()).receipt(position)).await
    }

    /// What the time authority said about this server's clock, when it was wrong the last time it was asked.
    pub fn wrong_clock(&self) -> Option<String> {
        self.opened().and_then(|service| service.time()).and_then(|time| time.wrong_clock)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Layout) -> Result<T, AnchorError> + Send + 'static,
    ) -> Result<T, AnchorError> {
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || read(&layout)).await.unwrap_or(Err(AnchorError::CutOff))
    }
}
