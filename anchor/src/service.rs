//! Publishing and anchoring of one log: the worker that does both in its time, and what others may ask of it.

mod anchoring;
mod config;
mod heads;
mod keys;
mod lock;
mod mirrors;
mod place;
mod status;
mod surveys;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chain::checkpoint;
use chain::policy::Policy;
use eventlog::{Log, Recorder, Seat};
use tokio::sync::{Mutex, OnceCell, watch};

use crate::anchorer::{self, Anchorer};
use crate::error::blocking;
use crate::export::{self, Exported};
use crate::heads::StreamHeads;
use crate::layout::Layout;
use crate::lock_watch::LockWatch;
use crate::mirror::{Carrier, Mirror};
use crate::on_record::OnRecord;
use crate::prover::Prover;
use crate::publisher::Publisher;
use crate::signing::SigningState;
use crate::signing_keys::SigningKeys;
use crate::stamping::{Stamping, TimeStatus};
use crate::startup::{self, Verdict};
use crate::store::Store;
use crate::survey::Survey;
use crate::witnessing::{Standing, Witnessing};
use crate::{AnchorError, files};

use anchoring::Last;
pub use config::Config;
pub use keys::{Held, Witnessed};
pub use status::Status;

/// How long a store may take that is not waited for.
const LONG: Duration = Duration::from_secs(300);

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
    /// Held by who makes an anchor, also while others are asked about it. Locked before all others.
    alone: Mutex<()>,
    /// The newest anchor, as far as this process has put or found it on record.
    anchored: watch::Sender<Option<Last>>,
    stamping: Stamping,
    carriers: Vec<Carrier>,
    lock: LockWatch,
    /// What lies beside the newest anchor, and what above it.
    beside: watch::Sender<Vec<String>>,
    above: watch::Sender<Vec<String>>,
    /// What the last look at everything in the store found.
    survey: watch::Sender<Option<Survey>>,
    /// Why the log was not compared with its anchors.
    unseen: watch::Sender<Option<String>>,
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
            config.data_dir.join(anchorer::FOLDER),
        )
        .await?;
        let stamping = Stamping::new(config.time.clone());
        let carry = |mirror: &Mirror| {
            let (what, how) = ((log.clone(), layout.clone(), Arc::clone(&keys)), (config.keep, config.clock));
            Carrier::new(mirror.clone(), Arc::clone(&store), what, how)
        };
        let carriers = config.mirrors.iter().map(carry).collect();
        let lock = LockWatch::new(Arc::clone(&store), Arc::clone(&recorder), config.clock);
        Ok(Self {
            log,
            config,
            lock,
            beside: watch::Sender::default(),
            above: watch::Sender::default(),
            survey: watch::Sender::default(),
            unseen: watch::Sender::default(),
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
            alone: Mutex::new(()),
            anchored: watch::Sender::new(None),
            stamping,
            carriers,
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
        let verdict = self.compare(self.config.patience).await?;
        self.publisher.lock().await.compared(verdict.refusal());
        Ok(verdict)
    }

    /// Why the log was not compared with its anchors, as long as that is so.
    pub fn unseen(&self) -> watch::Receiver<Option<String>> {
        self.unseen.subscribe()
    }

    /// Asks once more, and gives the store the time that one takes which is only slow.
    pub async fn compare_with_anchors(&self) -> Result<Verdict, AnchorError> {
        let verdict = self.compare(LONG).await?;
        // Good news take nothing back that was found out meanwhile.
        if let Some(reason) = verdict.refusal() {
            self.publisher.lock().await.compared(Some(reason));
        }
        Ok(verdict)
    }

    async fn compare(&self, patience: Duration) -> Result<Verdict, AnchorError> {
        // Nobody who publishes or asks waits for the store meanwhile; what they sign by then continues what was signed by now.
        let signed = self.publisher.lock().await.last().map(|last| last.0.clone());
        self.keys.catch_up().await?;
        // From disk: who anchors may be waiting for the store just now.
        let last = anchorer::last_known(&self.config.data_dir).await;
        let known = (signed.as_ref(), last.as_deref());
        let store = (self.store.as_ref(), patience);
        let witnessed = self.config.witnessed(&self.keys).await;
        let compared = startup::check(&self.log, &self.layout, store, &self.keys, known, witnessed).await?;
        let was = self.unseen.send_replace(compared.unseen.clone());
        if let Some(why) = compared.unseen.filter(|why| was.as_ref() != Some(why)) {
            tracing::warn!(why, "{}", startup::UNSEEN);
        }
        self.note_strays(&self.above, compared.strays);
        Ok(compared.verdict)
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

    /// Writes what an auditor needs to `out`, at the newest checkpoint. Publishing waits meanwhile, so that it is one state.
    pub async fn export(
        &self,
        out: &Path,
        with_packs: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Exported, AnchorError> {
        let _still = self.publisher.lock().await;
        export::export(&self.layout, Some((self.store.as_ref(), Some(&self.keys))), out, with_packs, progress).await
    }

    /// How it stands with the time authority, if one is asked.
    pub fn time(&self) -> Option<TimeStatus> {
        self.stamping.status()
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
