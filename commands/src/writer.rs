//! The one writer: drains the queue, decides a batch under the head's lock, commits it, and only then answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::guild::governance::Evidence;
use domain::ids::{GuildRef, Stream};
use domain::turn::{Claim, Context, Decision, Missing, Permit, Scene, State, Stop};
use domain::{Command, Time};
use eventlog::sql::{self, Cell, Conn, Kind};
use eventlog::vault::Vault;
use eventlog::{Append, Batch, CommitError, Failure, Head, Reading, Receipt, Writer};
use identity::Credential;
use projections::guards::Guards;
use projections::recorded::{self, Recorded};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::{Answer, SubmitError};
use crate::cache::Cache;
use crate::entries::{Attribution, Maker, Tip};
use crate::pipeline::{Config, Denial, Gates, Job, Work, credential_name, is_denial};
use crate::refusals::Refusals;
use crate::request::{MAX_KEY_BYTES, Request};
use crate::scene::BatchScene;
use crate::seal::{Sealer, Sealing, Subject, each_text, resolve};

/// Falling further behind than this, it is cheaper to forget every state than to catch up one by one.
const CATCH_UP_LIMIT: u64 = 50_000;
const RECEIPTS_IN_MEMORY: usize = 50_000;
/// What [`Writer::prune_receipts`] answers when there may be more.
const PRUNE_SLICE: u64 = 5_000;
const PRUNE_PAUSE: Duration = Duration::from_millis(200);

/// Batches settled one right behind the other before the rest of what a writer does gets its turn.
const IN_A_ROW: usize = 32;
/// Fewer commands than this are better off together: a commit costs as much for one.
const WORTH_HALVING: usize = 8;

pub(crate) struct Writing {
    writer: Writer,
    /// Looks things up while the writer's own connection commits. Opened when first needed, and anew after a failure.
    beside: Option<Conn>,
    core: Core,
    config: Config,
    waiting: Arc<AtomicUsize>,
    gates: Gates,
}

/// Everything that survives from batch to batch, apart from the connection.
struct Core {
    origin: String,
    vault: Arc<Vault>,
    cache: Cache,
    guards: Guards,
    refusals: Refusals,
    /// Moved whenever memory becomes something else than by promoting what was decided: what was decided before counts no more.
    generation: u64,
    /// The size up to which `cache` and `guards` are folded; `None` when that is not known.
    folded: Option<u64>,
    /// Ends of the streams that hold no domain events.
    infra_tips: HashMap<String, Tip>,
    answers: HashMap<(String, String), ([u8; 32], Answer)>,
    /// Claims that the batch promoted last takes.
    taken: HashMap<Claim, String>,
    /// First refusals of a kind, to be recorded after the batch that refused.
    pending_refusals: Vec<Value>,
}

/// How one job of a batch ends once the batch is committed.
type Ending = Result<Answer, SubmitError>;

impl Writing {
    pub(crate) fn new(
        writer: Writer,
        origin: String,
        vault: Arc<Vault>,
        config: Config,
        waiting: Arc<AtomicUsize>,
        gates: Gates,
    ) -> Self {
        let core = Core::new(origin, vault);
        Self { writer, beside: None, core, config, waiting, gates }
    }

    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, mut denials: mpsc::Receiver<Denial>) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        let mut hour = tokio::time::interval(Duration::from_secs(3600));
        loop {
            tokio::select! {
                job = jobs.recv() => {
                    let Some(job) = job else { break };
                    let batch = gather(job, &mut jobs, &self.waiting, self.config.batch).await;
                    self.settle(batch, Some(&mut jobs)).await;
                }
                Some(denial) = denials.recv() => {
                    let first = self.core.refusals.note(&denial.credential, &denial.action, &denial.code, Instant::now());
                    self.record_refusals(first.into_iter().collect()).await;
                }
                _ = minute.tick() => {
                    let due = self.core.refusals.due(Instant::now(), false);
                    self.record_refusals(due).await;
                }
                _ = hour.tick() => {
                    if self.prune().await {
                        // Commands that wait go first.
                        hour.reset_after(PRUNE_PAUSE);
                    }
                }
            }
        }
        let rest = self.core.refusals.due(Instant::now(), true);
        self.record_refusals(rest).await;
    }

    /// A log that is not what was signed is not written to, by nobody and for nothing.
    fn is_read_only(&self) -> bool {
        self.gates.read_only().is_some()
    }

    /// Removes a slice of old receipts; answers whether there may be more.
    async fn prune(&mut self) -> bool {
        if self.is_read_only() {
            return false;
        }
        let kept = i64::try_from(self.config.receipts_kept.as_micros()).unwrap_or(i64::MAX);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let before = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).saturating_sub(kept);
        match self.writer.prune_receipts(before).await {
            Ok(0) => false,
            Ok(count) => {
                tracing::info!(count, "old receipts pruned");
                count >= PRUNE_SLICE
            }
            Err(failure) => {
                tracing::warn!(%failure, "old receipts could not be pruned");
                false
            }
        }
    }

    /// Records facts nobody waits for; tried again by the next refusal when the log is away.
    async fn record_refusals(&mut self, facts: Vec<Value>) {
        if facts.is_empty() || self.is_read_only() {
            return;
        }
        let jobs = facts.into_iter().map(|data| {
            let (reply, _) = tokio::sync::oneshot::channel();
            let mut seed = [0; 32];
            // Nothing of a refusal's entry needs the seed but its command id, which need not be secret.
            let _ = getrandom::fill(&mut seed);
            let id = u128::from_be_bytes(seed[..16].try_into().expect("16 of 32 bytes"));
            let work = Work::Record { stream: "refusals", kind: "refusal.denied.v1".to_owned(), data };
            Job { work, id: domain::ids::CommandId::from_bits(id), seed, queued: Instant::now(), reply }
        });
        let jobs: Vec<Job> = jobs.collect();
        self.waiting.fetch_add(jobs.len(), Ordering::Relaxed);
        self.settle(jobs, None).await;
    }

    /// Settles every job, whatever happens: batches that trip a guard are halved until the culprit stands alone. While one batch
    /// commits, what waits in `queue` is decided and settled right behind it.
    async fn settle(&mut self, jobs: Vec<Job>, mut queue: Option<&mut mpsc::Receiver<Job>>) {
        let mut stack = vec![Next { jobs, decided: None }];
        let mut in_a_row = 0;
        while let Some(Next { mut jobs, decided }) = stack.pop() {
            if jobs.is_empty() {
                continue;
            }
            // Also what was queued before.
            if let Some(reason) = self.gates.read_only() {
                let endings = jobs.iter().map(|_| Err(SubmitError::ReadOnly(reason.clone()))).collect();
                answer(&self.waiting, jobs, endings);
                continue;
            }
            in_a_row += 1;
            let queue = queue.as_deref_mut().filter(|_| stack.is_empty() && in_a_row < IN_A_ROW);
            let started = Instant::now();
            let (mut outcome, next) = self.attempt(&mut jobs, decided, false, queue).await;
            stack.extend(next);
            if let Err(CommitError::Failure(Failure::Contradiction(what))) = &outcome {
                // Memory and database disagree, most likely about a receipt older than this process: look everything up.
                tracing::debug!(%what, "deciding again with nothing assumed");
                self.core.forget();
                outcome = self.attempt(&mut jobs, None, true, None).await.0;
            }
            metrics::histogram!("guildhall_batch_seconds").record(started.elapsed().as_secs_f64());
            let Err(error) = outcome else { continue };
            match error {
                CommitError::GuardTripped { name } => {
                    metrics::counter!("guildhall_guard_trips_total", "guard" => name.clone()).increment(1);
                    tracing::error!(guard = %name, jobs = jobs.len(), "a guard tripped: the rules let something through");
                    self.core.forget();
                    if jobs.len() == 1 {
                        let bug = SubmitError::Bug(format!("guard {name} refused what the rules allowed"));
                        answer(&self.waiting, jobs, vec![Err(bug)]);
                    } else {
                        let later = jobs.split_off(jobs.len() / 2);
                        stack.push(Next { jobs: later, decided: None });
                        stack.push(Next { jobs, decided: None });
                    }
                }
                CommitError::Failure(failure) => {
                    tracing::warn!(%failure, jobs = jobs.len(), "a batch failed");
                    metrics::counter!("guildhall_batch_failures_total").increment(1);
                    if matches!(failure, Failure::Diverged { .. }) {
                        // How far the log was folded is what tells another log from it: that is kept.
                        self.core.guards.discard();
                    } else {
                        self.core.forget();
                    }
                    let endings = jobs.iter().map(|_| Err(SubmitError::Failure(failure.clone()))).collect();
                    answer(&self.waiting, jobs, endings);
                }
            }
        }
        let due = std::mem::take(&mut self.core.pending_refusals);
        if !due.is_empty() {
            Box::pin(self.record_refusals(due)).await;
        }
    }

    /// Commits one batch and answers it; until then nothing of it is taken from `jobs`. `decided`: what was decided beforehand, used
    /// only if the head stands where it was thought to. `careful`: receipts are looked up in the database before deciding, not
    /// assumed absent. Also returns what was taken from `queue` meanwhile.
    async fn attempt(
        &mut self,
        jobs: &mut Vec<Job>,
        decided: Option<Decided>,
        careful: bool,
        queue: Option<&mut mpsc::Receiver<Job>>,
    ) -> (Result<(), CommitError>, Option<Next>) {
        metrics::histogram!("guildhall_batch_size").record(size(jobs.len()));
        let Self { writer, beside, core, config, waiting, gates } = self;
        let log = writer.log().clone();
        let lock_started = Instant::now();
        let mut batch = match writer.begin().await {
            Ok(batch) => batch,
            Err(failure) => return (Err(failure.into()), None),
        };
        metrics::histogram!("guildhall_lock_seconds").record(lock_started.elapsed().as_secs_f64());
        if gates.is_unknown() {
            batch.rollback().await;
            let what = "the connection was lost: the log is being compared with what was published";
            return (Err(Failure::Unavailable(what.to_owned()).into()), None);
        }
        let clock = Clock { locked: Instant::now(), now: batch.now() };
        let decided =
            match decided.filter(|decided| decided.generation == core.generation && decided.stands_on(batch.head())) {
                Some(decided) => decided,
                None => match core.decide_in(&mut batch, jobs, careful).await {
                    Ok(decided) => decided,
                    Err(failure) => {
                        batch.rollback().await;
                        return (Err(failure.into()), None);
                    }
                },
            };
        let Decided { base, endings, denials, append, effects, .. } = decided;
        let clock = Clock { now: clock.now.max(append.at), ..clock };
        if append.entries.is_empty() && append.receipts.is_empty() {
            batch.rollback().await;
            core.promote(effects);
            answer(waiting, std::mem::take(jobs), endings);
            core.note(denials);
            return (Ok(()), None);
        }
        // From here on memory holds what the database is about to: everything of it is forgotten should the commit fail.
        core.promote(effects);
        let mut endings = Some(endings);
        let mut next = None;
        let commit_started = Instant::now();
        let mut ended = |jobs: &mut Vec<Job>, outcome: &Result<(), CommitError>| {
            metrics::histogram!("guildhall_commit_seconds").record(commit_started.elapsed().as_secs_f64());
            if let (Ok(()), Some(endings)) = (outcome, endings.take()) {
                answer(waiting, std::mem::take(jobs), endings);
            }
        };
        let mut commit = std::pin::pin!(batch.commit(append));
        let outcome = match queue {
            None => {
                let outcome = commit.await;
                ended(jobs, &outcome);
                outcome
            }
            Some(queue) => {
                // The commit is asked first each time: what it waits for must not wait for us.
                let (mut outcome, waiting_jobs) = tokio::select! {
                    biased;
                    outcome = &mut commit => (Some(outcome), Vec::new()),
                    Some(first) = queue.recv() => (None, gather(first, queue, waiting, config.batch).await),
                };
                if !waiting_jobs.is_empty() {
                    // In a task of its own, so that neither waits for the other's turn.
                    let empty = Core::new(core.origin.clone(), Arc::clone(&core.vault));
                    let mut away =
                        Away { core: std::mem::replace(core, empty), beside: beside.take(), jobs: waiting_jobs };
                    let mut deciding = tokio::spawn(async move {
                        let decided = away.core.decide_beside(&log, &mut away.beside, clock, &away.jobs).await;
                        (away, decided)
                    });
                    let back = loop {
                        tokio::select! {
                            committed = &mut commit, if outcome.is_none() => {
                                ended(jobs, &committed);
                                outcome = Some(committed);
                            }
                            back = &mut deciding => break back,
                        }
                    };
                    // A bug there is a bug here.
                    let (back, decided) = back.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    (*core, *beside) = (back.core, back.beside);
                    next = Some(Next { jobs: back.jobs, decided });
                }
                match outcome {
                    Some(outcome) => {
                        ended(jobs, &outcome);
                        outcome
                    }
                    None => {
                        let outcome = commit.await;
                        ended(jobs, &outcome);
                        outcome
                    }
                }
            }
        };
        match &outcome {
            Ok(()) => core.note(denials),
            Err(error) => {
                core.forget();
                if matches!(error, CommitError::Failure(Failure::Diverged { .. })) {
                    core.folded = Some(base);
                }
            }
        }
        (outcome, next)
    }
}

fn answer(waiting: &AtomicUsize, jobs: Vec<Job>, endings: Vec<Ending>) {
    debug_assert_eq!(endings.len(), jobs.len(), "every job has an ending");
    waiting.fetch_sub(jobs.len(), Ordering::Relaxed);
    metrics::gauge!("guildhall_queue_depth").set(size(waiting.load(Ordering::Relaxed)));
    for (job, ending) in jobs.into_iter().zip(endings) {
        let outcome = match &ending {
            Ok(answer) if answer.replayed => "replayed",
            Ok(answer) if answer.is_rejected() => "rejected",
            Ok(_) => "accepted",
            Err(SubmitError::Denied(_)) => "denied",
            Err(SubmitError::KeyReused) => "key_reused",
            Err(_) => "failed",
        };
        metrics::counter!("guildhall_commands_total", "outcome" => outcome).increment(1);
        metrics::histogram!("guildhall_command_seconds").record(job.queued.elapsed().as_secs_f64());
        // A caller who has gone away finds the answer under the idempotency key.
        let _ = job.reply.send(ending);
    }
}

/// This job and those that wait behind it. There is no timer: those who were just answered get one turn to ask again.
///
/// Of many, only half of all that are under way: the other half is decided while this one commits. Callers who wait for an answer before
/// they ask again would otherwise all be in one batch, and deciding and committing would take turns.
async fn gather(first: Job, queue: &mut mpsc::Receiver<Job>, under_way: &AtomicUsize, most: usize) -> Vec<Job> {
    let mut jobs = vec![first];
    loop {
        let before = jobs.len();
        let half = under_way.load(Ordering::Relaxed).div_ceil(2);
        let most = if half < WORTH_HALVING { most } else { most.min(half) };
        while jobs.len() < most {
            let Ok(job) = queue.try_recv() else { break };
            jobs.push(job);
        }
        if jobs.len() == before || jobs.len() >= most {
            return jobs;
        }
        tokio::task::yield_now().await;
    }
}

/// Commands to settle, and what was decided about them while the batch before them was being committed.
struct Next {
    jobs: Vec<Job>,
    decided: Option<Decided>,
}

/// What deciding beside a commit takes along, and brings back.
struct Away {
    core: Core,
    beside: Option<Conn>,
    jobs: Vec<Job>,
}

/// The database's clock, read when the head was locked.
#[derive(Clone, Copy)]
struct Clock {
    locked: Instant,
    /// Microseconds since 1970.
    now: i64,
}

impl Clock {
    fn now(&self) -> Time {
        let since = i64::try_from(self.locked.elapsed().as_micros()).unwrap_or(0);
        Time::from_micros(self.now.saturating_add(since))
    }
}

#[allow(clippy::cast_precision_loss)]
fn size(count: usize) -> f64 {
    count as f64
}

/// One command on its way through a batch.
struct Candidate {
    request: Request,
    sealing: Sealing,
    context: Context,
    /// Why its texts could not be sealed: its own misfortune, not its neighbours'.
    unsealed: Option<Failure>,
}

/// What a batch has become so far.
#[derive(Default)]
struct Settled {
    endings: Vec<Ending>,
    sealings: Vec<Sealing>,
    recorded: Vec<Recorded>,
    receipts: Vec<Receipt>,
    /// Settled under a key in this very batch: index of the ending.
    keys: HashMap<(String, String), ([u8; 32], usize)>,
    denials: Vec<(String, &'static str, &'static str)>,
}

impl Core {
    fn new(origin: String, vault: Arc<Vault>) -> Self {
        Self {
            origin,
            vault,
            cache: Cache::default(),
            guards: Guards::default(),
            refusals: Refusals::default(),
            generation: 0,
            folded: None,
            infra_tips: HashMap::new(),
            answers: HashMap::new(),
            taken: HashMap::new(),
            pending_refusals: Vec::new(),
        }
    }

    /// Nothing in memory is certain any more.
    fn forget(&mut self) {
        self.generation += 1;
        self.cache.clear();
        self.guards.discard();
        self.guards = Guards::default();
        self.infra_tips.clear();
        // A key that was erased by another server is gone from the vault, and what was sealed under it is refused there.
        self.vault.forget_all();
        // The last ones may be of a batch that did not come to be.
        self.answers.clear();
        self.taken.clear();
        self.folded = None;
    }

    /// Makes memory what it is once the batch is durable.
    fn promote(&mut self, effects: Effects) {
        let Effects { size, states, tips, answers, taken, keys } = effects;
        self.folded = Some(size);
        self.guards.committed();
        for (stream, state) in states {
            let known = self.cache.get(stream).map(|known| known.tip);
            let tip = tips.get(&stream.to_string()).copied().or(known).unwrap_or(Tip::NONE);
            self.cache.put(stream, state, tip);
        }
        for (stream, tip) in tips {
            if stream.parse::<Stream>().is_err() {
                self.infra_tips.insert(stream, tip);
            }
        }
        self.cache.trim();
        if self.answers.len() > RECEIPTS_IN_MEMORY {
            self.answers.clear();
        }
        self.answers.extend(answers);
        self.taken = taken;
        for (subject, key) in keys {
            self.vault.remember(&subject, &key);
        }
    }

    /// Refusals are recorded after the batch that refused.
    fn note(&mut self, denials: Vec<(String, &'static str, &'static str)>) {
        let now = Instant::now();
        for (credential, action, code) in denials {
            self.pending_refusals.extend(self.refusals.note(&credential, action, code, now));
        }
    }

    /// Decides a batch under the head's lock.
    async fn decide_in(&mut self, batch: &mut Batch<'_>, jobs: &[Job], careful: bool) -> Result<Decided, Failure> {
        let phase = Instant::now();
        self.catch_up(batch).await?;
        let ground = Ground { now: Time::from_micros(batch.now()), careful, beside: false };
        let decided = self.decide(&mut batch.reading(), ground, jobs).await;
        metrics::histogram!("guildhall_decide_seconds").record(phase.elapsed().as_secs_f64());
        decided
    }

    /// Decides commands while the batch before them is being committed, as if it were. Nothing depends on that: unless the head is
    /// then found exactly where it was thought to be, the decision is thrown away. What it reads is at least as new as the batch
    /// before the one being committed, and of that one memory knows every effect.
    async fn decide_beside(
        &mut self,
        log: &eventlog::Log,
        beside: &mut Option<Conn>,
        clock: Clock,
        jobs: &[Job],
    ) -> Option<Decided> {
        let phase = Instant::now();
        let size = self.folded?;
        let decided = async {
            let mut conn = match beside.take() {
                Some(conn) => conn,
                None => log.beside().await?,
            };
            let ground = Ground { now: clock.now(), careful: false, beside: true };
            let decided = self.decide(&mut Reading::beside(&mut conn, size), ground, jobs).await?;
            *beside = Some(conn);
            Ok::<_, Failure>(decided)
        };
        let decided = decided.await;
        metrics::histogram!("guildhall_decide_seconds").record(phase.elapsed().as_secs_f64());
        // Whatever is wrong is met again under the lock, where it counts.
        decided.inspect_err(|failure| tracing::debug!(%failure, "nothing was decided beforehand")).ok()
    }

    async fn decide(&mut self, reading: &mut Reading<'_>, ground: Ground, jobs: &[Job]) -> Result<Decided, Failure> {
        let Ground { now, careful, beside } = ground;
        let vault = Arc::clone(&self.vault);
        let mut sealer = Sealer::new(&vault);
        let mut scene = BatchScene::new(&self.cache);
        if beside {
            scene.claims.extend(self.taken.iter().map(|(claim, value)| (claim.clone(), Some(value.clone()))));
        }
        let candidates = prepare(reading, &mut scene, &mut sealer, jobs, now).await?;

        let mut nonce_key = [0; 32];
        getrandom::fill(&mut nonce_key).map_err(|error| Failure::System(format!("randomness: {error}")))?;
        let base = reading.size();
        let mut maker = Maker::new(&self.origin, base, now, nonce_key);
        let mut settled = Settled::default();
        let mut loaded: Loaded = HashMap::new();
        load_keys(reading, &mut scene, &mut loaded, &candidates).await?;
        let ids: Vec<Option<ReceiptId>> =
            candidates.iter().map(|it| it.as_ref().and_then(|it| receipt_id(&scene, &it.request))).collect();
        let stored = if careful { stored_answers(reading, &ids).await? } else { HashMap::new() };

        for (index, (job, candidate)) in jobs.iter().zip(&candidates).enumerate() {
            let Some(candidate) = candidate else {
                let ending = self.record(reading, &mut maker, job, now, &mut settled).await?;
                settled.endings.push(Ok(ending));
                continue;
            };
            let id = ids[index].clone();
            // Also a replay is only for those who may still ask.
            while let Err(Stop::Missing(_)) = permit(&scene, &candidate.request, now) {
                load_missing(reading, &mut scene, &mut loaded, &candidates[index..]).await?;
            }
            let permitted = permit(&scene, &candidate.request, now).is_ok();
            let id_of_known = id.as_ref().filter(|_| permitted);
            if let Some(ending) =
                id_of_known.and_then(|id| self.known_answer(&settled, &stored, id, &candidate.request))
            {
                settled.endings.push(ending);
                continue;
            }
            if let Some(failure) = &candidate.unsealed {
                settled.endings.push(Err(SubmitError::Failure(failure.clone())));
                continue;
            }
            let verdict = loop {
                match decide_one(&scene, candidate) {
                    Err(Stop::Missing(_)) => {
                        load_missing(reading, &mut scene, &mut loaded, &candidates[index..]).await?
                    }
                    Ok(decided) => break Ok(decided),
                    Err(Stop::Rejected(rejection)) => break Err(rejection),
                }
            };
            let tip_of = |stream: Stream| {
                loaded
                    .get(&stream)
                    .copied()
                    .or_else(|| self.cache.get(stream).map(|known| known.tip))
                    .unwrap_or(Tip::NONE)
            };
            let verdict = verdict.and_then(|(permit, decision)| {
                check_version(&candidate.request, &maker, &tip_of)?;
                Ok((permit, decision))
            });
            settle_one(&mut settled, &mut maker, &mut scene, &tip_of, id, candidate, verdict, now)?;
        }

        let vault_writes = sealer.writes(std::mem::take(&mut settled.sealings));
        let guards = self.guards.prepare(reading.conn(), &settled.recorded).await.map_err(Failure::from)?;
        let keys = sealer.stored_keys(&vault_writes);
        let BatchScene { states, taken, .. } = scene;
        let Maker { tips, entries, .. } = maker;
        let Settled { endings, receipts, keys: settled_keys, denials, .. } = settled;
        let answers = settled_keys.into_iter().filter_map(|(id, (digest, index))| match &endings[index] {
            Ok(answer) => Some((id, (digest, Answer { replayed: true, ..answer.clone() }))),
            Err(_) => None,
        });
        let answers = answers.collect();
        let append = Append { at: now.micros(), entries, receipts, guards, vault: vault_writes };
        // States that were only loaded are kept as well: the next batch will want them.
        let mut all_tips: HashMap<String, Tip> =
            loaded.iter().map(|(stream, tip)| (stream.to_string(), *tip)).collect();
        all_tips.extend(tips);
        let size = base + append.entries.len() as u64;
        let effects = Effects { size, states, tips: all_tips, answers, taken, keys };
        Ok(Decided { base, generation: self.generation, endings, denials, append, effects })
    }

    /// Folds what other servers appended since the last batch of ours.
    async fn catch_up(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let size = batch.head().size;
        match self.folded {
            Some(folded) if folded == size => return Ok(()),
            Some(folded) if folded > size => {
                let what = format!("{folded} entries were folded, {size} are there");
                return Err(Failure::Diverged { position: size, what });
            }
            Some(folded) if size - folded <= CATCH_UP_LIMIT => {
                self.generation += 1;
                let tail = batch.tail(folded).await?;
                let mut events = Vec::with_capacity(tail.len());
                for entry in &tail {
                    let recorded = recorded::decode(entry).map_err(|error| Failure::Corrupt(error.to_string()))?;
                    let tip = Tip { versions: entry.version + 1, hash: entry.hash };
                    match (entry.stream.parse::<Stream>(), &recorded.event) {
                        (Ok(stream), Some(event)) => {
                            if let Some(known) = self.cache.get_mut(stream) {
                                Arc::make_mut(&mut known.state).evolve(event, recorded.at);
                                known.tip = tip;
                            }
                        }
                        _ => {
                            self.infra_tips.insert(entry.stream.clone(), tip);
                        }
                    }
                    events.push(recorded);
                }
                self.guards.observe(&events);
                // Receipts of other servers are not in the entries: what was looked up before may be there now.
                self.answers.clear();
            }
            _ => self.forget(),
        }
        self.folded = Some(size);
        Ok(())
    }

    fn known_answer(
        &self,
        settled: &Settled,
        stored: &HashMap<ReceiptId, ([u8; 32], Answer)>,
        id: &ReceiptId,
        request: &Request,
    ) -> Option<Ending> {
        if let Some((digest, index)) = settled.keys.get(id) {
            let same = *digest == request.digest;
            return Some(if same { replay(&settled.endings[*index]) } else { Err(SubmitError::KeyReused) });
        }
        let (digest, answer) = self.answers.get(id).or_else(|| stored.get(id))?;
        Some(if *digest == request.digest { Ok(answer.clone()) } else { Err(SubmitError::KeyReused) })
    }

    /// Appends a fact of the infrastructure.
    async fn record(
        &self,
        reading: &mut Reading<'_>,
        maker: &mut Maker<'_>,
        job: &Job,
        now: Time,
        settled: &mut Settled,
    ) -> Result<Answer, Failure> {
        let Work::Record { stream, kind, data } = &job.work else {
            unreachable!("only facts have no candidate");
        };
        let tip = match self.infra_tips.get(*stream) {
            Some(tip) => *tip,
            None if maker.tips.contains_key(*stream) => Tip::NONE,
            None => infra_tip(reading, stream).await?,
        };
        let context = system_context(job, now);
        let by = Attribution::of(&context);
        let entry = maker.push(stream, tip, kind.clone(), data.clone(), &by)?;
        settled.recorded.push(recorded_of(&entry, &by, now, None));
        Ok(Answer::accepted(context.command.to_string(), domain::turn::Outcome::Done, vec![entry]))
    }
}

type Loaded = HashMap<Stream, Tip>;
/// (citizen, idempotency key)
type ReceiptId = (String, String);

/// What a decision stands on.
#[derive(Clone, Copy)]
struct Ground {
    now: Time,
    /// Whether receipts are looked up, not assumed absent.
    careful: bool,
    /// Whether the batch before is still being committed.
    beside: bool,
}

/// A batch that can be committed on a log of size `base`.
struct Decided {
    base: u64,
    generation: u64,
    endings: Vec<Ending>,
    denials: Vec<(String, &'static str, &'static str)>,
    append: Append,
    effects: Effects,
}

impl Decided {
    /// Whether the log is what it was decided on, and time has not gone past it. Whoever moved the head without an entry stored
    /// receipts, and those are unique.
    fn stands_on(&self, head: &Head) -> bool {
        head.size == self.base && head.at <= self.append.at
    }
}

/// What a batch makes of memory.
struct Effects {
    /// The size of the log after it.
    size: u64,
    states: HashMap<Stream, Arc<State>>,
    tips: HashMap<String, Tip>,
    answers: HashMap<ReceiptId, ([u8; 32], Answer)>,
    taken: HashMap<Claim, String>,
    /// Made for it and stored by it.
    keys: Vec<(String, eventlog::vault::SubjectKey)>,
}

fn replay(ending: &Ending) -> Ending {
    ending.clone().map(|answer| Answer { replayed: true, ..answer })
}

/// Whose key for retries it is: the citizen's, whichever of their API keys carried it, so that a rotation in between changes nothing.
fn receipt_id(scene: &BatchScene<'_>, request: &Request) -> Option<ReceiptId> {
    let key = request.idempotency_key.as_ref()?;
    let mut end = key.len().min(MAX_KEY_BYTES);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    let principal = match &request.credential {
        Credential::System => "system".to_owned(),
        Credential::Key(id) => match scene.state(Stream::Key(*id)).map(Arc::as_ref) {
            Some(State::Key(known)) if known.exists() => known.citizen().to_string(),
            // Nobody's key: it will be denied, and denials are not stored.
            _ => return None,
        },
    };
    Some((principal, key[..end].to_owned()))
}

/// Loads the API keys whose owners must be known before an answer can be looked up.
async fn load_keys(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    candidates: &[Option<Candidate>],
) -> Result<(), Failure> {
    let mut unknown = BTreeSet::new();
    for Candidate { request, .. } in candidates.iter().flatten() {
        if let (Some(_), Credential::Key(id)) = (&request.idempotency_key, &request.credential)
            && scene.state(Stream::Key(*id)).is_none()
        {
            unknown.insert(Stream::Key(*id));
        }
    }
    load_streams(reading, scene, loaded, &unknown).await
}

fn system_context(job: &Job, now: Time) -> Context {
    let permit = Permit { actor: domain::party::Actor::System, tier: domain::party::Tier::Principal, via: None };
    context(job, now, permit)
}

fn context(job: &Job, now: Time, permit: Permit) -> Context {
    // The command's id carries the batch's time in front, like every id.
    let bits = (u128::from(now.millis().unsigned_abs()) << 80) | (job.id.bits() >> 48);
    Context { now, permit, command: domain::ids::CommandId::from_bits(bits), seed: job.seed }
}

/// Seals every command's texts; `None` stands for a fact of the infrastructure.
async fn prepare(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    sealer: &mut Sealer<'_>,
    jobs: &[Job],
    now: Time,
) -> Result<Vec<Option<Candidate>>, Failure> {
    let mut candidates: Vec<Option<Candidate>> = jobs
        .iter()
        .map(|job| match &job.work {
            Work::Command(request) => {
                let context = system_context(job, now);
                Some(Candidate { request: (**request).clone(), sealing: Sealing::default(), context, unsealed: None })
            }
            Work::Record { .. } => None,
        })
        .collect();

    let mut slugs = BTreeSet::new();
    for candidate in candidates.iter_mut().flatten() {
        each_text(&mut candidate.request.command, &mut |subject, _, _| {
            if let Subject::Guild(GuildRef::Slug(slug)) = subject {
                slugs.insert(Claim { scope: "guild_slug", key: slug.to_string() });
            }
        });
    }
    load_claims(reading, scene, slugs).await?;
    let claims = scene.claims.clone();
    let guild = |reference: &GuildRef| match reference {
        GuildRef::Id(id) => Some(*id),
        GuildRef::Slug(slug) => {
            let claim = Claim { scope: "guild_slug", key: slug.to_string() };
            claims.get(&claim)?.as_ref()?.parse().ok()
        }
    };

    let mut subjects = Vec::new();
    for candidate in candidates.iter_mut().flatten() {
        let Candidate { request, context, .. } = candidate;
        each_text(&mut request.command, &mut |subject, _, _| {
            // Subjects that do not exist yet have no key to load.
            if !matches!(subject, Subject::New(_)) {
                subjects.push(resolve(subject, context, &guild));
            }
        });
    }
    let unknown = sealer.unknown(subjects);
    let mut broken: HashMap<String, Failure> = HashMap::new();
    let vault_error = |error: eventlog::vault::VaultError| Failure::System(error.to_string());
    if !unknown.is_empty() {
        let wrapped = reading.subject_keys(&unknown).await?;
        for key in &wrapped {
            // One that will not open is met again by the command that needs it.
            if let Err(error) = sealer.loaded(std::slice::from_ref(key)) {
                tracing::error!(subject = %key.subject, %error, "a subject's key does not open");
                broken.insert(key.subject.clone(), vault_error(error));
            }
        }
    }
    for candidate in candidates.iter_mut().flatten() {
        let Candidate { request, sealing, context, unsealed } = candidate;
        if !broken.is_empty() {
            each_text(&mut request.command, &mut |subject, _, _| {
                let found = broken.get(&resolve(subject, context, &guild)).cloned();
                *unsealed = unsealed.take().or(found);
            });
        }
        if unsealed.is_none() {
            match sealer.seal(&mut request.command, context, &guild) {
                Ok(sealed) => *sealing = sealed,
                Err(error) => *unsealed = Some(vault_error(error)),
            }
        }
    }
    Ok(candidates)
}

/// What the caller may do, or why not.
fn permit(scene: &BatchScene<'_>, request: &Request, now: Time) -> Result<Permit, Stop> {
    let permit = identity::authorize(scene, &request.credential, request.command.action(), now)?;
    // Proposing is no way around a key's scope or a role: the proposed command is asked about as well.
    if let Command::Propose(propose) = &request.command {
        identity::authorize(scene, &request.credential, propose.command.action(), now)?;
    }
    Ok(permit)
}

/// Authorizes and decides one command against the scene.
fn decide_one(scene: &BatchScene<'_>, candidate: &Candidate) -> Result<(Permit, Decision), Stop> {
    let Candidate { request, context, .. } = candidate;
    let permit = permit(scene, request, context.now)?;
    let context = Context { permit: permit.clone(), ..context.clone() };
    let evidence: &[Evidence] = &request.evidence;
    domain::decide(scene, &request.command, evidence, &context).map(|decision| (permit, decision))
}

fn check_version(
    request: &Request,
    maker: &Maker<'_>,
    tip_of: &dyn Fn(Stream) -> Tip,
) -> Result<(), domain::Rejection> {
    let Some((stream, expected)) = request.expected_version else { return Ok(()) };
    let versions = maker.tips.get(&stream.to_string()).copied().unwrap_or_else(|| tip_of(stream)).versions;
    if versions == expected {
        return Ok(());
    }
    let detail = format!("{stream} is at version {versions}, not {expected}");
    Err(domain::Rejection::new(domain::Code::VersionConflict).detail(detail).field("expected_version"))
}

/// Writes one command's outcome into the batch.
#[allow(clippy::too_many_arguments)]
fn settle_one(
    settled: &mut Settled,
    maker: &mut Maker<'_>,
    scene: &mut BatchScene<'_>,
    tip_of: &dyn Fn(Stream) -> Tip,
    id: Option<ReceiptId>,
    candidate: &Candidate,
    verdict: Result<(Permit, Decision), domain::Rejection>,
    now: Time,
) -> Result<(), Failure> {
    let Candidate { request, context: system, sealing, .. } = candidate;
    let answer = match verdict {
        Err(rejection) if is_denial(&rejection) => {
            let name = credential_name(&request.credential);
            settled.denials.push((name, request.command.action(), rejection.code.as_str()));
            settled.endings.push(Err(SubmitError::Denied(rejection)));
            return Ok(());
        }
        Err(rejection) => Answer::rejected(system.command.to_string(), &rejection),
        Ok((permit, decision)) => {
            let context = Context { permit, ..system.clone() };
            let by = Attribution::of(&context);
            let mut written = Vec::with_capacity(decision.events.len());
            for (stream, event) in &decision.events {
                let (kind, data) = event.to_parts();
                let entry = maker.push(&stream.to_string(), tip_of(*stream), kind, data, &by)?;
                settled.recorded.push(recorded_of(&entry, &by, now, Some(event.clone())));
                written.push(entry);
            }
            scene.accept(&decision);
            if !written.is_empty() {
                settled.sealings.push(sealing.clone());
            }
            Answer::accepted(context.command.to_string(), decision.outcome, written)
        }
    };
    if let Some((principal, key)) = id {
        settled.receipts.push(Receipt {
            principal: principal.clone(),
            key: key.clone(),
            digest: request.digest,
            command: answer.command.clone(),
            answer: serde_json::to_vec(&answer).map_err(|e| Failure::Contradiction(e.to_string()))?.into(),
            at: now.micros(),
        });
        settled.keys.insert((principal, key), (request.digest, settled.endings.len()));
    }
    settled.endings.push(Ok(answer));
    Ok(())
}

fn recorded_of(entry: &crate::EntryRef, by: &Attribution, at: Time, event: Option<domain::Event>) -> Recorded {
    Recorded {
        position: entry.position,
        stream: entry.stream.clone(),
        version: entry.version,
        at,
        actor: (by.actor.kind.clone(), by.actor.id.clone()),
        command: by.command.clone(),
        event,
        kind: entry.kind.clone(),
    }
}

/// Loads what the rest of the batch is missing, in bulk, until every one of its commands could be decided.
async fn load_missing(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    rest: &[Option<Candidate>],
) -> Result<(), Failure> {
    let mut open: Vec<&Candidate> = rest.iter().flatten().filter(|it| it.unsealed.is_none()).collect();
    loop {
        let mut streams = BTreeSet::new();
        let mut claims = BTreeSet::new();
        open.retain(|candidate| match decide_one(scene, candidate) {
            Err(Stop::Missing(missing)) => {
                match missing {
                    Missing::Stream(stream) => streams.insert(stream),
                    Missing::Claim(claim) => claims.insert(claim),
                };
                true
            }
            _ => false,
        });
        if streams.is_empty() && claims.is_empty() {
            return Ok(());
        }
        load_claims(reading, scene, claims).await?;
        load_streams(reading, scene, loaded, &streams).await?;
    }
}

async fn load_streams(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    streams: &BTreeSet<Stream>,
) -> Result<(), Failure> {
    if streams.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    let mut states: HashMap<Stream, (State, Tip)> =
        streams.iter().map(|stream| (*stream, (State::empty(*stream), Tip::NONE))).collect();
    let fold = |entry: eventlog::Stored| {
        let corrupt = |error: &dyn std::fmt::Display| Failure::Corrupt(error.to_string());
        let recorded = recorded::decode(&entry).map_err(|error| corrupt(&error))?;
        let stream: Stream = entry.stream.parse().map_err(|error| corrupt(&error))?;
        if let (Some((state, tip)), Some(event)) = (states.get_mut(&stream), &recorded.event) {
            state.evolve(event, recorded.at);
            *tip = Tip { versions: entry.version + 1, hash: entry.hash };
        }
        Ok(())
    };
    reading.load_each(&names, fold).await?;
    for (stream, (state, tip)) in states {
        scene.states.insert(stream, Arc::new(state));
        loaded.insert(stream, tip);
    }
    Ok(())
}

async fn load_claims(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    claims: BTreeSet<Claim>,
) -> Result<(), Failure> {
    let unknown: Vec<Claim> = claims.into_iter().filter(|claim| scene.claim(claim).is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let found = projections::guards::claims_taken(reading.conn(), &unknown).await.map_err(Failure::from)?;
    for claim in unknown {
        let value = found.get(&claim).cloned();
        scene.claims.insert(claim, value);
    }
    Ok(())
}

async fn stored_answers(
    reading: &mut Reading<'_>,
    ids: &[Option<ReceiptId>],
) -> Result<HashMap<ReceiptId, ([u8; 32], Answer)>, Failure> {
    let ids: Vec<ReceiptId> = ids.iter().flatten().cloned().collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut stored = HashMap::new();
    for receipt in reading.receipts(&ids).await? {
        let answer: Answer =
            serde_json::from_slice(&receipt.answer).map_err(|e| Failure::Corrupt(format!("a receipt: {e}")))?;
        stored.insert((receipt.principal, receipt.key), (receipt.digest, Answer { replayed: true, ..answer }));
    }
    Ok(stored)
}

async fn infra_tip(reading: &mut Reading<'_>, stream: &str) -> Result<Tip, Failure> {
    const SQL: &str = "select version, hash from entries where stream = $1 order by version desc limit 1";
    let rows = sql::query(reading.conn(), SQL, &[Kind::Int, Kind::Bytes], &[Cell::Text(stream.to_owned())]).await?;
    match rows.first().map(Vec::as_slice) {
        None => Ok(Tip::NONE),
        Some([Cell::Int(version), Cell::Bytes(hash)]) => {
            let hash = chain::Hash::from_slice(hash)
                .ok_or_else(|| Failure::Corrupt("a hash of the wrong length".to_owned()))?;
            Ok(Tip { versions: version.unsigned_abs() + 1, hash })
        }
        Some(_) => Err(Failure::Corrupt("an entry that cannot be read".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use eventlog::{Log, testing, vault::MasterKey};

    use super::*;

    #[tokio::test]
    async fn a_log_shorter_than_what_was_folded_is_never_gone_on_with() {
        let (_home, config) = testing::sqlite(&projections::ddl::SQLITE).await;
        let log = Log::open(config).await.unwrap();
        let vault = Arc::new(Vault::new(MasterKey::from_bytes([7; 32])));
        let (_writable, read_only) = tokio::sync::watch::channel(None);
        let gates = Gates { read_only, reconnected: None };
        let writer = log.writer().await.unwrap();
        let mut writing =
            Writing::new(writer, log.origin().to_owned(), vault, Config::default(), Arc::default(), gates);
        writing.core.folded = Some(5);
        // Again and again: a refusal does not make it forget why.
        for _ in 0..2 {
            let (reply, answer) = tokio::sync::oneshot::channel();
            let work = Work::Record { stream: "log", kind: "log.tested.v1".to_owned(), data: serde_json::json!({}) };
            let id = domain::ids::CommandId::from_bits(1);
            writing.waiting.fetch_add(1, Ordering::Relaxed);
            writing.settle(vec![Job { work, id, seed: [0; 32], queued: Instant::now(), reply }], None).await;
            let refused = answer.await.unwrap();
            assert!(matches!(refused, Err(SubmitError::Failure(Failure::Diverged { position: 0, .. }))), "{refused:?}");
        }
        assert_eq!(log.head().await.unwrap().size, 0);
    }
}
