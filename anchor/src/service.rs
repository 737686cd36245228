//! The worker that publishes every second and anchors every quarter of an hour, and what others may ask of it.

mod heads;
mod keys;
mod lock;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chain::checkpoint;
use chain::policy::Policy;
use eventlog::{Log, Recorder, Seat};
use serde::Serialize;
use tokio::sync::{Mutex, OnceCell, watch};

use crate::anchor_format::{Anchored, Listed};
use crate::anchorer::{self, Anchorer, Keep};
use crate::error::blocking;
use crate::export::{self, Exported};
use crate::heads::StreamHeads;
use crate::layout::Layout;
use crate::lock_watch::{LockStatus, LockWatch};
use crate::on_record::OnRecord;
use crate::prover::Prover;
use crate::publisher::{Publisher, approximate};
use crate::signing::SigningState;
use crate::signing_keys::SigningKeys;
use crate::startup::{self, Known, Verdict};
use crate::store::Store;
use crate::witnessing::{self, Standing, WitnessStatus, Witnesses, Witnessing};
use crate::{AnchorError, files};

pub use keys::{Held, Witnessed};

/// A city that does nothing says so once a day.
const HEARTBEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where and how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds `public/`, `packs/`, `signing/`, `anchoring/`, `heads/`. One shared place, and not inside the database.
    pub data_dir: PathBuf,
    /// Between checkpoints while the log grows.
    pub checkpoint_every: Duration,
    /// Between anchors while the log grows.
    pub anchor_every: Duration,
    /// Between attempts on the store's lock.
    pub prove_every: Duration,
    /// How long what is anchored is locked.
    pub keep: Keep,
    /// Name and version of the writing software, as anchors give it.
    pub software: String,
    /// This server's clock, in the one spelling of times.
    pub clock: fn() -> String,
    /// Who cosigns checkpoints, if anybody is asked to.
    pub witnesses: Option<Witnesses>,
}

impl Config {
    /// A checkpoint a second, an anchor every fifteen minutes, kept for seven years and a month; the lock tried once a day.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            checkpoint_every: Duration::from_secs(1),
            anchor_every: Duration::from_secs(15 * 60),
            prove_every: HEARTBEAT,
            keep: Keep { years: 7, margin_days: 30 },
            software: concat!("guildhall/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock: anchorer::now,
            witnesses: None,
        }
    }

    /// The policy file with the witnesses, if there are any.
    pub fn witness_policy(&self) -> Option<&str> {
        self.witnesses.as_ref().map(|witnesses| witnesses.policy.as_str())
    }

    /// What the witnesses that answer have cosigned.
    pub(crate) async fn witnessed(&self, keys: &SigningKeys) -> Vec<Known> {
        match &self.witnesses {
            Some(witnesses) => witnessing::held(witnesses, keys).await,
            None => Vec::new(),
        }
    }
}

/// What is published and anchored, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub origin: String,
    pub vkey: String,
    /// Entries under the newest checkpoint.
    pub published: u64,
    /// Entries in the log.
    pub size: u64,
    pub anchored: Option<Anchored>,
    pub store: &'static str,
    pub place: String,
    /// What the store guarantees.
    pub guarantee: &'static str,
    /// Whether its lock was seen to hold.
    pub lock: LockStatus,
    /// What lies beside the newest anchor and does not belong there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<String>,
    /// Entries under the newest checkpoint that its quorum of witnesses cosigned; none when no quorum is asked for.
    pub witnessed: Option<u64>,
    /// For how long what is shown has lacked its quorum, in seconds.
    pub unwitnessed_seconds: Option<u64>,
    pub witnesses: Vec<WitnessStatus>,
    /// The failure of the last attempt, if it failed.
    pub trouble: Option<String>,
}

/// Publishing and anchoring of one log. Cheap to share; its worker is [`Service::run`].
pub struct Service {
    log: Log,
    config: Config,
    keys: Arc<SigningKeys>,
    layout: Layout,
    store: Arc<dyn Store>,
    /// Taken when something is to be published, after the log was compared with what is known of it. Locked before the two below.
    seat: Mutex<Option<Seat>>,
    on_record: Mutex<OnRecord>,
    publisher: Mutex<Publisher>,
    witnessing: Option<Witnessing>,
    /// Held from signing to showing, so that what is shown never goes back. Locked before all others, and only by who publishes:
    /// witnesses may take their time meanwhile.
    turn: Mutex<()>,
    standing: Mutex<Standing>,
    anchorer: Mutex<Anchorer>,
    lock: LockWatch,
    strays: watch::Sender<Vec<String>>,
    /// Read when they are first needed: at a million streams that takes a second.
    heads: OnceCell<Arc<Mutex<StreamHeads>>>,
    recorder: Arc<dyn Recorder>,
    trouble: watch::Sender<Option<String>>,
    anchor_trouble: watch::Sender<Option<String>>,
    heads_trouble: watch::Sender<Option<String>>,
    elsewhere: AtomicBool,
}

impl Service {
    /// Opens the publication folders and takes the lock on signing.
    pub async fn open(
        config: Config,
        log: Log,
        keys: Arc<SigningKeys>,
        store: Arc<dyn Store>,
        recorder: Arc<dyn Recorder>,
    ) -> Result<Self, AnchorError> {
        let layout = Layout::within(&config.data_dir);
        let policy = keys.policy();
        let (folder, trusted) = (config.data_dir.join("signing"), Arc::clone(&policy));
        let signing = blocking(move || SigningState::open(&folder, &trusted)).await?;
        let witnesses = config.witnesses.as_ref();
        let publisher = Publisher::open(log.clone(), Arc::clone(&keys), layout.clone(), signing).await?;
        forget_unwitnessed(&layout, &policy).await?;
        let witnessing =
            witnesses.map(|witnesses| Witnessing::start(witnesses, Arc::clone(&keys), log.clone(), layout.clone()));
        let anchorer = Anchorer::open(
            Arc::clone(&store),
            layout.clone(),
            Arc::clone(&keys),
            Arc::clone(&recorder),
            (config.software.clone(), config.clock, config.keep),
            config.data_dir.join("anchoring"),
        )
        .await?;
        let lock = LockWatch::new(Arc::clone(&store), Arc::clone(&recorder), config.clock);
        Ok(Self {
            log,
            config,
            lock,
            strays: watch::Sender::default(),
            keys,
            layout,
            store,
            seat: Mutex::new(None),
            on_record: Mutex::default(),
            publisher: Mutex::new(publisher),
            witnessing,
            turn: Mutex::new(()),
            standing: Mutex::default(),
            anchorer: Mutex::new(anchorer),
            heads: OnceCell::new(),
            recorder,
            trouble: watch::Sender::new(None),
            anchor_trouble: watch::Sender::new(None),
            heads_trouble: watch::Sender::new(None),
            elsewhere: AtomicBool::new(false),
        })
    }

    /// Whether the log still is what was signed about it. Asked before the first command, and after every reconnect to a
    /// database that may be another one. Nothing is published before it answered [`Verdict::Good`].
    pub async fn startup_check(&self) -> Result<Verdict, AnchorError> {
        let mut publisher = self.publisher.lock().await;
        let signed = publisher.last().map(|last| last.0.clone());
        self.keys.catch_up().await?;
        let (policy, store) = (self.keys.policy(), self.store.as_ref());
        let witnessed = self.config.witnessed(&self.keys).await;
        let verdict = startup::check(&self.log, &self.layout, store, &policy, signed.as_ref(), witnessed).await?;
        publisher.compared(match &verdict {
            Verdict::Good => None,
            Verdict::ReadOnly { position, reason } => Some(format!("from position {position} on: {reason}")),
        });
        Ok(verdict)
    }

    /// Publishes and anchors until `stop` turns true. What goes wrong is logged, counted, and tried again.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.config.checkpoint_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signed_at = Instant::now();
        // An anchor at the first growth after a start: nobody knows how long the city was away.
        let mut anchored_at: Option<Instant> = None;
        let mut grown = false;
        // Said at once, not only when the next anchor is due.
        let _ = self.check_store().await;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            match self.publish(signed_at.elapsed() >= HEARTBEAT).await {
                Ok(true) => {
                    signed_at = Instant::now();
                    grown = true;
                }
                Ok(false) => {}
                Err(_) => continue,
            }
            let waited = anchored_at.map_or(HEARTBEAT, |at| at.elapsed());
            let due = (grown && waited >= self.config.anchor_every) || (anchored_at.is_some() && waited >= HEARTBEAT);
            if !due {
                continue;
            }
            // Before the anchor, so that its checkpoint covers them. Without them it is still an anchor.
            let _ = self.commit_heads().await;
            if self.anchor_published().await.is_ok() {
                anchored_at = Some(Instant::now());
                grown = false;
            }
        }
    }

    /// Publishes now; signs when the log has grown, or when `always`. Answers whether it signed.
    pub async fn publish(&self, always: bool) -> Result<bool, AnchorError> {
        let result = self.try_publish(always).await;
        self.note(result, "publishing failed")
    }

    async fn try_publish(&self, always: bool) -> Result<bool, AnchorError> {
        let _turn = self.turn.lock().await;
        if let Some(reason) = self.fork().and_then(|fork| fork.borrow().clone()) {
            self.publisher.lock().await.compared(Some(reason));
        }
        let signed = self.sign(always).await?;
        // Signed and not shown yet: a crash here shows it at the next start.
        let last = self.publisher.lock().await.last().map(|last| (last.0.clone(), last.1.to_owned()));
        let Some((checkpoint, mut note)) = last else { return Ok(signed) };
        if let Some(witnessing) = &self.witnessing {
            if signed || !witnessing.has_asked() {
                witnessing.ask(&checkpoint, &note).await;
            }
            note = witnessing.collected(&note);
        }
        let policy = self.keys.policy();
        let witnessed = checkpoint::examine(&note, &policy).is_ok_and(|examined| examined.witnessed);
        let witnessed = witnessed && policy.quorum.is_some();
        self.publisher.lock().await.show(note.clone(), witnessed).await?;
        self.standing.lock().await.shows(&policy, &note);
        Ok(signed)
    }

    async fn sign(&self, always: bool) -> Result<bool, AnchorError> {
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        let result = self.publisher.lock().await.publish(&mut held, always).await;
        *seat = Some(held);
        result
    }

    /// Turns into a reason when a witness shows a history of this log that this log contradicts: nothing may be written then.
    pub fn fork(&self) -> Option<watch::Receiver<Option<String>>> {
        self.witnessing.as_ref().map(Witnessing::fork)
    }

    /// Makes sure that nobody else publishes. A seat that cannot be asked for is given up, and taken anew the next time.
    async fn sit(&self, seat: &mut Option<Seat>) -> Result<Seat, AnchorError> {
        if let Some(mut held) = seat.take() {
            held.check().await?;
            return Ok(held);
        }
        if let Some(reason) = self.publisher.lock().await.refused() {
            return Err(AnchorError::Fork(reason.to_owned()));
        }
        // Before sitting down, so that whoever published last goes on; and after it, because until then they could anchor once more.
        self.is_the_place().await?;
        let held = self.log.take_seat().await?.ok_or(AnchorError::Seated)?;
        self.is_the_place().await?;
        let anchorer = self.anchorer.lock().await;
        anchorer.record_last(self.on_record.lock().await.newest(&self.log).await?).await?;
        Ok(held)
    }

    /// The log was anchored from here last. Otherwise the next anchor could be the second of its number, and what another place signed
    /// since its last anchor is not known here, so that signing could contradict it.
    async fn is_the_place(&self) -> Result<(), AnchorError> {
        let anchorer = self.anchorer.lock().await;
        let mut on_record = self.on_record.lock().await;
        let recorded = on_record.newest(&self.log).await?;
        if anchorer.goes_on_from(recorded).await? { Ok(()) } else { Err(AnchorError::Elsewhere) }
    }

    /// Makes this the place that publishes: the operator says that the one before is gone for good. The log was compared with the
    /// anchors; what the other place signed after its last one is not known here. It anchors at once, so that the log says so.
    pub async fn adopt(&self) -> Result<Anchored, AnchorError> {
        self.take_place().await?;
        self.anchor_now().await
    }

    async fn take_place(&self) -> Result<(), AnchorError> {
        let mut seat = self.seat.lock().await;
        if let Some(reason) = self.publisher.lock().await.refused() {
            return Err(AnchorError::Fork(reason.to_owned()));
        }
        let mut held = match seat.take() {
            Some(held) => held,
            None => self.log.take_seat().await?.ok_or(AnchorError::Seated)?,
        };
        held.check().await?;
        let mut anchorer = self.anchorer.lock().await;
        let mut on_record = self.on_record.lock().await;
        anchorer.adopt(on_record.newest(&self.log).await?).await?;
        *seat = Some(held);
        Ok(())
    }

    /// Whether another place publishes, as far as the last attempt showed.
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Publishes and anchors now, and publishes that it was anchored: from then on an auditor misses the anchor.
    pub async fn anchor_now(&self) -> Result<Anchored, AnchorError> {
        self.publish(true).await?;
        let _ = self.commit_heads().await;
        let anchored = self.anchor_published().await?;
        self.publish(true).await?;
        Ok(anchored)
    }

    /// Whether the newest anchor on record is in the store, as it was recorded. What lies beside it is an alarm, and stops nothing: it
    /// takes nothing away.
    pub async fn check_store(&self) -> Result<(), AnchorError> {
        let mut on_record = self.on_record.lock().await;
        let checked = match on_record.newest(&self.log).await? {
            Some(recorded) => anchorer::is_stored(self.store.as_ref(), recorded).await,
            None => Ok(Vec::new()),
        };
        drop(on_record);
        let strays = self.note_anchoring(checked)?;
        metrics::gauge!("guildhall_anchor_strays").set(approximate(strays.len() as u64));
        let was = self.strays.send_replace(strays.clone());
        for stray in strays.iter().filter(|stray| !was.contains(stray)) {
            tracing::error!(%stray, alarm = true, "somebody touched an anchor");
        }
        Ok(())
    }

    async fn anchor_published(&self) -> Result<Anchored, AnchorError> {
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        let note = self.publisher.lock().await.last().map(|last| last.1.to_owned());
        let note = note.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published yet"))?;
        held.check().await?;
        // The next anchor names the one before: where that is gone, the store is not the one it was.
        let result = match self.check_store().await {
            Ok(()) => self.anchorer.lock().await.anchor(&note).await,
            Err(error) => Err(error),
        };
        *seat = Some(held);
        if let Ok(anchored) = &result {
            metrics::gauge!("guildhall_anchored_size").set(approximate(anchored.size));
        }
        self.note_anchoring(result)
    }

    /// What is wrong with anchoring stays said, also while publishing goes on well.
    fn note_anchoring<T>(&self, result: Result<T, AnchorError>) -> Result<T, AnchorError> {
        self.note_in(&self.anchor_trouble, "anchoring", result)
    }

    fn note_in<T>(
        &self,
        place: &watch::Sender<Option<String>>,
        what: &str,
        result: Result<T, AnchorError>,
    ) -> Result<T, AnchorError> {
        let trouble = result.as_ref().err().map(|error| format!("{what}: {error}"));
        let was = place.send_replace(trouble.clone());
        if let Err(error) = &result {
            metrics::counter!("guildhall_anchor_failures_total").increment(1);
            if was != trouble {
                let alarm = error.is_alarming() || matches!(error, AnchorError::File { .. });
                tracing::error!(%error, alarm, "{what} failed");
            }
        }
        result
    }

    fn note<T>(&self, result: Result<T, AnchorError>, what: &'static str) -> Result<T, AnchorError> {
        let elsewhere = matches!(result, Err(AnchorError::Seated | AnchorError::Elsewhere));
        self.elsewhere.store(elsewhere, Ordering::Relaxed);
        match &result {
            Ok(_) => {
                self.trouble.send_replace(None);
            }
            // How it is with several servers: nothing has failed.
            Err(error @ AnchorError::Seated) => {
                if self.trouble.send_replace(Some(error.to_string())).is_none() {
                    tracing::info!("another server publishes this log; this one only writes");
                }
            }
            Err(error) => {
                // Said once, not every second.
                let news = self.trouble.borrow().as_deref() != Some(error.to_string().as_str());
                if news {
                    let alarm = error.is_alarming() || matches!(error, AnchorError::Signer(_));
                    tracing::error!(%error, alarm, what);
                }
                metrics::counter!("guildhall_anchor_failures_total").increment(1);
                self.trouble.send_replace(Some(error.to_string()));
            }
        }
        result
    }

    pub async fn status(&self) -> Result<Status, AnchorError> {
        let published = self.publisher.lock().await.last().map_or(0, |last| last.0.size);
        let anchored = self.anchorer.lock().await.last().cloned();
        let standing = self.standing.lock().await;
        Ok(Status {
            witnessed: standing.witnessed(),
            unwitnessed_seconds: standing.unwitnessed_for().map(|time| time.as_secs()),
            witnesses: self.witnesses(),
            origin: self.log.origin().to_owned(),
            vkey: self.keys.newest().map(|key| key.vkey()).unwrap_or_default(),
            published,
            size: self.log.head().await?.size,
            anchored,
            store: self.store.kind().as_str(),
            place: self.store.place(),
            lock: self.lock.status(),
            strays: self.strays.borrow().clone(),
            guarantee: self.store.guarantee(),
            trouble: [&self.trouble, &self.anchor_trouble, &self.heads_trouble]
                .into_iter()
                .find_map(|trouble| trouble.borrow().clone()),
        })
    }

    /// How it stands with each witness.
    pub fn witnesses(&self) -> Vec<WitnessStatus> {
        self.witnessing.as_ref().map(Witnessing::status).unwrap_or_default()
    }

    /// Every anchor in the store.
    pub async fn list(&self) -> Result<Vec<Listed>, AnchorError> {
        self.anchorer.lock().await.list().await
    }

    /// Writes what an auditor needs to `out`, at the newest checkpoint. Publishing waits meanwhile, so that it is one state.
    pub async fn export(
        &self,
        out: &Path,
        with_packs: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Exported, AnchorError> {
        let _still = self.publisher.lock().await;
        export::export(&self.layout, Some(self.store.as_ref()), out, with_packs, progress).await
    }

    pub fn prover(&self) -> Prover {
        Prover::new(self.layout.clone())
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// The policy may ask for more than it did: what its quorum did not cosign is not called witnessed any longer.
async fn forget_unwitnessed(layout: &Layout, policy: &Policy) -> Result<(), AnchorError> {
    let (layout, policy) = (layout.clone(), policy.clone());
    blocking(move || {
        let Some(note) = layout.witnessed()? else { return Ok(()) };
        let met = checkpoint::examine(&note, &policy).is_ok_and(|examined| examined.witnessed);
        if met && policy.quorum.is_some() { Ok(()) } else { files::remove(&layout.place("witnessed")) }
    })
    .await
}
