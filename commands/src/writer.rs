//! The one writer: drains the queue, decides a batch under the head's lock, commits it, and only then answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eventlog::sql::Conn;
use eventlog::vault::Vault;
use eventlog::{Append, CommitError, Failure, Writer};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::SubmitError;
use crate::behind::Behind;
use crate::pipeline::{Config, Denial, Gates, Job, Weight, Work};
use crate::queue::{Queue, gather};

use crate::deciding::{Clock, Core, Decided, Ending};

/// What [`Writer::prune_receipts`] answers when there may be more.
const PRUNE_SLICE: u64 = 5_000;
/// How long after a failed batch it is asked again whether one could be written.
const PROBE: Duration = Duration::from_secs(2);
const PRUNE_PAUSE: Duration = Duration::from_millis(200);

/// Batches settled one right behind the other before the rest of what a writer does gets its turn.
const IN_A_ROW: usize = 32;

pub(crate) struct Writing {
    writer: Writer,
    /// Looks things up while the writer's own connection commits. Opened when first needed, and anew after a failure.
    beside: Option<Conn>,
    /// The writer's session that `beside` goes with: another may have led to another database.
    session: u64,
    core: Core,
    config: Config,
    waiting: Arc<AtomicUsize>,
    /// The last batch failed as a whole, and nothing since shows that the next one would not.
    failing: Arc<AtomicBool>,
    gates: Gates,
}

impl Writing {
    pub(crate) fn new(
        writer: Writer,
        vault: Arc<Vault>,
        config: Config,
        waiting: Arc<AtomicUsize>,
        failing: Arc<AtomicBool>,
        gates: Gates,
    ) -> Self {
        let core = Core::new(writer.log().origin().to_owned(), vault);
        Self { writer, beside: None, session: 0, core, config, waiting, failing, gates }
    }

    pub(crate) async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut behind: Behind,
        mut denials: mpsc::Receiver<Denial>,
    ) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        let mut hour = tokio::time::interval(Duration::from_secs(3600));
        let mut probe = tokio::time::interval(PROBE);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                job = jobs.recv() => {
                    let Some(job) = job else { break };
                    let batch = gather(job, &mut jobs, &self.waiting, self.config.batch).await;
                    self.settle(batch, Queue::Front(&mut jobs)).await;
                    behind.others_asked();
                }
                batch = behind.next() => {
                    let started = Instant::now();
                    self.settle(batch, Queue::Behind { behind: &mut behind, front: &jobs }).await;
                    behind.took(started.elapsed());
                }
                Some(denial) = denials.recv() => {
                    let first = self.core.refusals.note(&denial.credential, &denial.action, &denial.code, Instant::now());
                    self.record_refusals(first.into_iter().collect()).await;
                }
                _ = minute.tick() => {
                    let due = self.core.refusals.due(Instant::now(), false);
                    self.record_refusals(due).await;
                }
                _ = probe.tick(), if self.failing.load(Ordering::Relaxed) => self.probe().await,
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

    /// Whether a batch could be written again. Asked until it can, so that whoever sends commands elsewhere meanwhile comes back.
    async fn probe(&mut self) {
        if self.is_read_only() {
            return;
        }
        let begun = match self.writer.begin().await {
            // What a reconnect led to has not been compared with the log that this process knows.
            Ok(batch) if self.gates.is_unknown() => {
                batch.rollback().await;
                return;
            }
            // A commit, because what fails may fail only there: without room, for one.
            Ok(batch) => {
                let at = batch.now();
                match batch.commit(Append { at, ..Append::default() }).await {
                    Ok(()) => Ok(()),
                    Err(CommitError::Failure(failure)) => Err(failure),
                    Err(other) => Err(Failure::Contradiction(other.to_string())),
                }
            }
            Err(failure) => Err(failure),
        };
        let opened = match begun {
            Ok(()) => self.writer.log().missing_privileges().await,
            Err(failure) => Err(failure),
        };
        match opened {
            Ok(missing) if missing.is_empty() => {
                tracing::info!("commands are taken again");
                self.failing.store(false, Ordering::Relaxed);
            }
            Ok(missing) => tracing::warn!(?missing, "the database role lacks privileges"),
            Err(failure) => tracing::debug!(%failure, "commands are not taken yet"),
        }
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

    /// Records facts nobody waits for. When the log is away they are lost, and the counter of failed batches says so.
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
            let work = Work::Record { stream: "refusals", kind: "refusal.denied.v1".to_owned(), data, despite: None };
            Job {
                weight: Weight::default(),
                work,
                id: domain::ids::CommandId::from_bits(id),
                seed,
                queued: Instant::now(),
                reply,
            }
        });
        let jobs: Vec<Job> = jobs.collect();
        self.waiting.fetch_add(jobs.len(), Ordering::Relaxed);
        self.settle(jobs, Queue::None).await;
    }

    /// Settles every job, whatever happens: batches that trip a guard are halved until the culprit stands alone. While one batch
    /// commits, what waits in `queue` is decided and settled right behind it.
    async fn settle(&mut self, jobs: Vec<Job>, mut queue: Queue<'_>) {
        let mut stack = vec![Next { jobs, decided: None }];
        let mut in_a_row = 0;
        while let Some(Next { mut jobs, mut decided }) = stack.pop() {
            if jobs.is_empty() {
                continue;
            }
            // Also what was queued before.
            if let Some(reason) = self.gates.read_only() {
                let (despite, refused): (Vec<_>, Vec<_>) =
                    jobs.into_iter().partition(|job| job.work.is_despite(&reason));
                let endings = refused.iter().map(|_| Err(SubmitError::ReadOnly(reason.clone()))).collect();
                decided = decided.filter(|_| refused.is_empty());
                answer(&self.waiting, refused, endings);
                if despite.is_empty() {
                    continue;
                }
                jobs = despite;
            }
            in_a_row += 1;
            let queue = Some(&mut queue).filter(|_| stack.is_empty() && in_a_row < IN_A_ROW);
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
            let Err(error) = outcome else {
                self.failing.store(false, Ordering::Relaxed);
                continue;
            };
            match error {
                CommitError::Failure(Failure::Contradiction(what)) if jobs.len() > 1 => {
                    tracing::error!(%what, jobs = jobs.len(), "a batch contradicts the database: looking for the culprit");
                    self.core.forget();
                    halve(&mut stack, jobs);
                }
                CommitError::GuardTripped { name } => {
                    metrics::counter!("guildhall_guard_trips_total", "guard" => name.clone()).increment(1);
                    tracing::error!(guard = %name, jobs = jobs.len(), "a guard tripped: the rules let something through");
                    self.core.forget();
                    if jobs.len() == 1 {
                        let bug = SubmitError::Bug(format!("guard {name} refused what the rules allowed"));
                        answer(&self.waiting, jobs, vec![Err(bug)]);
                    } else {
                        halve(&mut stack, jobs);
                    }
                }
                CommitError::Failure(failure) => {
                    self.failing.store(true, Ordering::Relaxed);
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
        queue: Option<&mut Queue<'_>>,
    ) -> (Result<(), CommitError>, Option<Next>) {
        metrics::histogram!("guildhall_batch_size").record(size(jobs.len()));
        let Self { writer, beside, session, core, config, waiting, gates, .. } = self;
        let log = writer.log().clone();
        let lock_started = Instant::now();
        let mut batch = match writer.begin().await {
            Ok(batch) => batch,
            Err(failure) => return (Err(failure.into()), None),
        };
        metrics::histogram!("guildhall_lock_seconds").record(lock_started.elapsed().as_secs_f64());
        let now_in = *log.reconnected().borrow();
        if std::mem::replace(session, now_in) != now_in {
            *beside = None;
        }
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
                    first = queue.first() => (None, queue.more(first, waiting, config.batch).await),
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

/// The earlier half on top, so that order stays.
fn halve(stack: &mut Vec<Next>, mut jobs: Vec<Job>) {
    let later = jobs.split_off(jobs.len() / 2);
    stack.push(Next { jobs: later, decided: None });
    stack.push(Next { jobs, decided: None });
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

#[allow(clippy::cast_precision_loss)]
fn size(count: usize) -> f64 {
    count as f64
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
        let mut writing = Writing::new(writer, vault, Config::default(), Arc::default(), Arc::default(), gates);
        writing.core.folded = Some(5);
        // Again and again: a refusal does not make it forget why.
        for _ in 0..2 {
            let (reply, answer) = tokio::sync::oneshot::channel();
            let work = Work::Record {
                stream: "log",
                kind: "log.tested.v1".to_owned(),
                data: serde_json::json!({}),
                despite: None,
            };
            let id = domain::ids::CommandId::from_bits(1);
            writing.waiting.fetch_add(1, Ordering::Relaxed);
            writing
                .settle(
                    vec![Job { weight: Weight::default(), work, id, seed: [0; 32], queued: Instant::now(), reply }],
                    Queue::None,
                )
                .await;
            let refused = answer.await.unwrap();
            assert!(matches!(refused, Err(SubmitError::Failure(Failure::Diverged { position: 0, .. }))), "{refused:?}");
        }
        assert_eq!(log.head().await.unwrap().size, 0);
    }
}
