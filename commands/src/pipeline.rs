//! The queue in front of the one writer: bounded, drained without a timer, answered after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::Rejection;
use domain::ids::CommandId;
use eventlog::vault::Vault;
use eventlog::{Failure, Log, Recorder};
use identity::Credential;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::answer::{Answer, SubmitError};
use crate::behind::Behind;
use crate::request::Request;
use crate::writer::Writing;

/// Most bytes of commands that wait or are being settled.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Most commands that wait behind others.
const BEHIND: usize = 1024;
/// What a job weighs beside what was sent.
const JOB_BYTES: usize = 512;

#[derive(Debug, Clone)]
pub struct Config {
    /// Most commands waiting; one more is answered with "busy".
    pub queue: usize,
    /// Most commands in one batch.
    pub batch: usize,
    /// How long receipts are kept. At least a day.
    pub receipts_kept: Duration,
    /// After a reconnect the database may be another one: nothing is decided on it before [`Pipeline::compared`] says that it is the
    /// one that was published.
    pub compare_after_reconnect: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue: 16_384,
            batch: 1024,
            receipts_kept: Duration::from_secs(48 * 3600),
            compare_after_reconnect: false,
        }
    }
}

/// What may keep the writer from writing.
pub(crate) struct Gates {
    pub read_only: watch::Receiver<Option<String>>,
    /// How often a session was replaced, and up to which of them the log was compared.
    pub reconnected: Option<(watch::Receiver<u64>, watch::Receiver<u64>)>,
}

impl Gates {
    pub(crate) fn read_only(&self) -> Option<String> {
        self.read_only.borrow().clone()
    }

    /// Whether the database behind the writer's session has not been compared yet.
    pub(crate) fn is_unknown(&self) -> bool {
        self.reconnected.as_ref().is_some_and(|(reconnected, compared)| *reconnected.borrow() > *compared.borrow())
    }
}

/// Something for the writer to settle.
pub(crate) enum Work {
    Command(Box<Request>),
    /// A fact of the infrastructure, in the stream of that name.
    Record {
        stream: &'static str,
        kind: String,
        data: Value,
        /// The reason for only reading that this is recorded despite.
        despite: Option<String>,
    },
}

impl Work {
    /// Whether this is written while the server only reads for this reason.
    pub(crate) fn is_despite(&self, reason: &str) -> bool {
        matches!(self, Self::Record { despite: Some(known), .. } if known == reason)
    }
}

pub(crate) struct Job {
    pub weight: Weight,
    pub work: Work,
    pub id: CommandId,
    pub seed: [u8; 32],
    pub queued: Instant,
    pub reply: oneshot::Sender<Result<Answer, SubmitError>>,
}

/// A denial that did not come as far as a command.
pub(crate) struct Denial {
    pub credential: String,
    pub action: String,
    pub code: String,
}

/// Hands commands to the writer. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    jobs: mpsc::Sender<Job>,
    behind: mpsc::Sender<Job>,
    denials: mpsc::Sender<Denial>,
    waiting: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    read_only: Arc<watch::Sender<Option<String>>>,
    compared: Arc<watch::Sender<u64>>,
    failing: Arc<AtomicBool>,
}

impl Pipeline {
    /// Starts the writer. It ends, after settling what was submitted, when every clone of the pipeline is gone. What was submitted behind
    /// others is dropped then: nobody is left to wait for it.
    ///
    /// # Errors
    /// Those of [`Log::writer`]: another process writes here, or the database cannot be reached.
    pub async fn start(log: &Log, vault: Arc<Vault>, config: Config) -> Result<(Self, JoinHandle<()>), Failure> {
        let writer = log.writer().await?;
        let (jobs, job_receiver) = mpsc::channel(config.queue.max(1));
        let (behind, behind_receiver) = mpsc::channel(BEHIND);
        let (denials, denial_receiver) = mpsc::channel(1024);
        let waiting = Arc::new(AtomicUsize::new(0));
        let read_only = Arc::new(watch::Sender::new(None));
        // The caller compares before the first command; from here on every new session counts.
        let compared = Arc::new(watch::Sender::new(*log.reconnected().borrow()));
        let gates = Gates {
            read_only: read_only.subscribe(),
            reconnected: config.compare_after_reconnect.then(|| (log.reconnected(), compared.subscribe())),
        };
        let failing = Arc::new(AtomicBool::new(false));
        let writing = Writing::new(writer, vault, config, Arc::clone(&waiting), Arc::clone(&failing), gates);
        let task = tokio::spawn(writing.run(job_receiver, Behind::new(behind_receiver), denial_receiver));
        Ok((Self { jobs, behind, denials, waiting, held: Arc::default(), read_only, compared, failing }, task))
    }

    /// Settles one command. The answer comes after its entries are durable.
    ///
    /// # Errors
    /// See [`SubmitError`]. Nothing of this command was stored, unless a failure says that its commit is unknown or the pipeline ended
    /// under it: then the idempotency key tells.
    pub async fn submit(&self, request: Request) -> Result<Answer, SubmitError> {
        self.push(&self.jobs, Work::Command(Box::new(request))).await
    }

    /// The same for a command that nobody waits for: it takes a small part of the writer's time while others ask something.
    ///
    /// # Errors
    /// As [`Pipeline::submit`].
    pub async fn submit_behind(&self, request: Request) -> Result<Answer, SubmitError> {
        self.push(&self.behind, Work::Command(Box::new(request))).await
    }

    /// Notes that a caller was turned away before a command existed: no or a bad credential.
    pub fn denied(&self, credential: &str, action: &str, code: &str) {
        let denial = Denial { credential: credential.to_owned(), action: action.to_owned(), code: code.to_owned() };
        // When even this queue is full, the flood is already being counted.
        if self.denials.try_send(denial).is_err() {
            metrics::counter!("guildhall_denials_uncounted_total").increment(1);
        }
    }

    /// Refuses every further command with this reason, or takes that back.
    pub fn set_read_only(&self, reason: Option<String>) {
        self.read_only.send_replace(reason);
    }

    /// The database behind the log's reconnect of this number ([`Log::reconnected`]) is the one that was published.
    pub fn compared(&self, reconnect: u64) {
        self.compared.send_if_modified(|known| {
            let newer = reconnect > *known;
            *known = reconnect.max(*known);
            newer
        });
    }

    /// Why the server only reads, if it does.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.borrow().clone()
    }

    /// Records although the server only reads, as long as it does so for exactly this reason.
    pub fn despite(&self, reason: String) -> impl Recorder + use<> {
        Despite { pipeline: self.clone(), reason }
    }

    async fn fact(&self, kind: &str, data: Value, despite: Option<String>) -> Result<u64, Failure> {
        let work = Work::Record { stream: "log", kind: kind.to_owned(), data, despite };
        match self.push(&self.jobs, work).await {
            Ok(answer) => Ok(answer.position().expect("a recorded fact has an entry")),
            Err(SubmitError::Failure(failure)) => Err(failure),
            Err(other) => Err(Failure::Unavailable(other.to_string())),
        }
    }

    /// Whether there is still a writer behind the queue, and it could write when it last tried.
    pub fn is_writing(&self) -> bool {
        !self.jobs.is_closed() && !self.failing.load(Ordering::Relaxed)
    }

    /// Ends when the writer does, which only a bug makes it do while there is a pipeline.
    pub async fn ended(&self) {
        self.jobs.closed().await;
    }

    /// How many commands are waiting or being settled.
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn push(&self, queue: &mpsc::Sender<Job>, work: Work) -> Result<Answer, SubmitError> {
        if let Some(reason) = self.read_only().filter(|reason| !work.is_despite(reason)) {
            return Err(SubmitError::ReadOnly(reason));
        }
        let (reply, answer) = oneshot::channel();
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|error| Failure::System(format!("randomness: {error}")))?;
        let (seed, id) = random.split_at(32);
        let bytes = match &work {
            Work::Command(request) => request.bytes + JOB_BYTES,
            Work::Record { .. } => JOB_BYTES,
        };
        let Some(weight) = Weight::of(bytes, &self.held) else { return Err(busy()) };
        let job = Job {
            weight,
            work,
            id: CommandId::from_bits(u128::from_be_bytes(id.try_into().expect("16 of 48 bytes"))),
            seed: seed.try_into().expect("32 of 48 bytes"),
            queued: Instant::now(),
            reply,
        };
        // Before the writer can see it and count it out again.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = queue.try_send(job) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => busy(),
                mpsc::error::TrySendError::Closed(_) => SubmitError::Stopping,
            });
        }
        answer.await.unwrap_or(Err(SubmitError::Stopping))
    }
}

fn busy() -> SubmitError {
    metrics::counter!("guildhall_commands_busy_total").increment(1);
    SubmitError::Busy { retry_after: Duration::from_secs(1) }
}

/// What a job's text weighs on the queue, for as long as the job is there.
#[derive(Default)]
pub(crate) struct Weight {
    pub bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Weight {
    /// `None`: the queue holds as much as it may. One job is let in whatever it weighs.
    fn of(bytes: usize, held: &Arc<AtomicUsize>) -> Option<Self> {
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        let weight = Self { bytes, held: Arc::clone(held) };
        (before == 0 || before + bytes <= MAX_QUEUED_BYTES).then_some(weight)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl Recorder for Pipeline {
    async fn record(&self, kind: &str, data: Value) -> Result<u64, Failure> {
        self.fact(kind, data, None).await
    }
}

struct Despite {
    pipeline: Pipeline,
    reason: String,
}

#[async_trait]
impl Recorder for Despite {
    async fn record(&self, kind: &str, data: Value) -> Result<u64, Failure> {
        self.pipeline.fact(kind, data, Some(self.reason.clone())).await
    }
}

/// What a credential is called where refusals are recorded.
pub(crate) fn credential_name(credential: &Credential) -> String {
    match credential {
        Credential::Key(key) => key.to_string(),
        Credential::System => "system".to_owned(),
    }
}

/// Whether a rejection is about who asks, not about what is asked.
pub(crate) fn is_denial(rejection: &Rejection) -> bool {
    use domain::Code::*;
    matches!(
        rejection.code,
        NotPermitted
            | CredentialInvalid
            | CredentialRevoked
            | CredentialExpired
            | CredentialScope
            | ActorNotActive
            | KeyNotFound
            | UnknownAction
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_full_by_bytes_too() {
        let held = Arc::default();
        let first = Weight::of(MAX_QUEUED_BYTES + 1, &held);
        assert!(first.is_some(), "one is let in whatever it weighs");
        assert!(Weight::of(1, &held).is_none());
        drop(first);
        let half = Weight::of(MAX_QUEUED_BYTES / 2, &held);
        assert!(half.is_some() && Weight::of(MAX_QUEUED_BYTES / 2, &held).is_some());
        assert!(Weight::of(MAX_QUEUED_BYTES, &held).is_none());
        assert_eq!(held.load(Ordering::Relaxed), MAX_QUEUED_BYTES / 2, "what was refused or has gone weighs nothing");
    }
}
