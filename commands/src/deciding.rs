//! What the writer remembers from batch to batch, and how commands are decided on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::Time;
use domain::ids::Stream;
use domain::turn::{Claim, State, Stop};
use eventlog::sql::Conn;
use eventlog::vault::Vault;
use eventlog::{Append, Batch, Failure, Head, Reading};
use projections::guards::Guards;
use projections::recorded;
use serde_json::Value;

use crate::answer::{Answer, SubmitError};
use crate::cache::Cache;
use crate::candidates::{Candidate, ReceiptId, decide_one, permit, prepare, receipt_id, system_context};
use crate::entries::{Attribution, Maker, Tip};
use crate::folded::take_over;
use crate::loading::{Loaded, infra_tip, load_expected, load_keys, load_missing, stored_answers};
use crate::pipeline::{Job, Work, is_denial};
use crate::refusals::Refusals;
use crate::request::Request;
use crate::scene::BatchScene;
use crate::seal::Sealer;
use crate::settling::{Settled, check_version, recorded_of, replay, settle_one};

/// Falling further behind than this, it is cheaper to forget every state than to catch up one by one.
const CATCH_UP_LIMIT: u64 = 50_000;
const RECEIPTS_IN_MEMORY: usize = 50_000;

/// Everything that survives from batch to batch, apart from the connection.
pub(crate) struct Core {
    pub origin: String,
    pub vault: Arc<Vault>,
    pub cache: Cache,
    pub guards: Guards,
    pub refusals: Refusals,
    /// Moved whenever memory becomes something else than by promoting what was decided: what was decided before counts no more.
    pub generation: u64,
    /// The size up to which `cache` and `guards` are folded; `None` when that is not known.
    pub folded: Option<u64>,
    /// Ends of the streams that hold no domain events.
    pub infra_tips: HashMap<String, Tip>,
    /// As they were stored.
    pub answers: HashMap<ReceiptId, ([u8; 32], Bytes)>,
    /// Claims that the batch promoted last takes.
    pub taken: HashMap<Claim, String>,
    /// First refusals of a kind, to be recorded after the batch that refused.
    pub pending_refusals: Vec<Value>,
}

/// How one job of a batch ends once the batch is committed.
pub(crate) type Ending = Result<Answer, SubmitError>;

impl Core {
    pub(crate) fn new(origin: String, vault: Arc<Vault>) -> Self {
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
    pub(crate) fn forget(&mut self) {
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
    pub(crate) fn promote(&mut self, effects: Effects) {
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
    pub(crate) fn note(&mut self, denials: Vec<(String, &'static str, &'static str)>) {
        let now = Instant::now();
        for (credential, action, code) in denials {
            self.pending_refusals.extend(self.refusals.note(&credential, action, code, now));
        }
    }

    /// Decides a batch under the head's lock.
    pub(crate) async fn decide_in(
        &mut self,
        batch: &mut Batch<'_>,
        jobs: &[Job],
        careful: bool,
    ) -> Result<Decided, Failure> {
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
    pub(crate) async fn decide_beside(
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

    pub(crate) async fn decide(
        &mut self,
        reading: &mut Reading<'_>,
        ground: Ground,
        jobs: &[Job],
    ) -> Result<Decided, Failure> {
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
        take_over(reading, &mut scene, &mut loaded, &candidates).await?;
        load_keys(reading, &mut scene, &mut loaded, &candidates).await?;
        load_expected(reading, &mut scene, &mut loaded, &candidates).await?;
        let ids: Vec<Option<ReceiptId>> =
            candidates.iter().map(|it| it.as_ref().and_then(|it| receipt_id(&scene, &it.request))).collect();
        let mut stored = if careful { stored_answers(reading, &ids).await? } else { HashMap::new() };
        // Asked for once, and then known: whoever retries again costs no second look.
        self.answers.extend(stored.iter().map(|(id, answer)| (id.clone(), answer.clone())));

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
            if candidate.unsealed.is_some()
                && let Some(ending) = self.late_answer(reading, &settled, &mut stored, id_of_known, candidate).await?
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
            // What is denied gets no receipt that would meet the one of an earlier request, so that one is looked for here.
            if verdict.as_ref().is_err_and(is_denial)
                && let Some(ending) = self.late_answer(reading, &settled, &mut stored, id_of_known, candidate).await?
            {
                settled.endings.push(ending);
                continue;
            }
            if candidate.unfounded && verdict.as_ref().is_ok_and(|(_, decision)| !decision.events.is_empty()) {
                // The guild was founded earlier in this very batch: its key is there for the next one.
                let again = Failure::Unavailable("the guild was founded a moment ago: send this again".to_owned());
                settled.endings.push(Err(SubmitError::Failure(again)));
                continue;
            }
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
        let Settled { endings, receipts, denials, .. } = settled;
        let answers = receipts.iter().map(|receipt| {
            ((receipt.principal.clone(), receipt.key.clone()), (receipt.digest, receipt.answer.clone()))
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

    /// The answer to an earlier request of this key, from before memory begins.
    async fn late_answer(
        &self,
        reading: &mut Reading<'_>,
        settled: &Settled,
        stored: &mut HashMap<ReceiptId, ([u8; 32], Bytes)>,
        id: Option<&ReceiptId>,
        candidate: &Candidate,
    ) -> Result<Option<Ending>, Failure> {
        let Some(id) = id else { return Ok(None) };
        let found = stored_answers(reading, &[Some(id.clone())]).await?;
        stored.extend(found);
        Ok(self.known_answer(settled, stored, id, &candidate.request))
    }

    fn known_answer(
        &self,
        settled: &Settled,
        stored: &HashMap<ReceiptId, ([u8; 32], Bytes)>,
        id: &ReceiptId,
        request: &Request,
    ) -> Option<Ending> {
        if let Some((digest, index)) = settled.keys.get(id) {
            let same = *digest == request.digest;
            return Some(if same { replay(&settled.endings[*index]) } else { Err(SubmitError::KeyReused) });
        }
        let (digest, answer) = self.answers.get(id).or_else(|| stored.get(id))?;
        if *digest != request.digest {
            return Some(Err(SubmitError::KeyReused));
        }
        let answer = serde_json::from_slice::<Answer>(answer);
        let unreadable = |error| Failure::Corrupt(format!("a receipt: {error}")).into();
        Some(answer.map(|answer| Answer { replayed: true, ..answer }).map_err(unreadable))
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
        let Work::Record { stream, kind, data, .. } = &job.work else {
            unreachable!("only facts have no candidate");
        };
        let tip = match self.infra_tips.get(*stream) {
            Some(tip) => *tip,
            None if maker.tips.contains_key(*stream) => Tip::NONE,
            None => infra_tip(reading, stream).await?,
        };
        let context = system_context(job, now);
        let by = Attribution::of(&context);
        let entry = maker.push(stream, tip, kind.clone(), data.clone(), &by);
        let entry = entry.map_err(|error| Failure::Contradiction(error.to_string()))?;
        settled.recorded.push(recorded_of(&entry, &by, now, None));
        Ok(Answer::accepted(context.command.to_string(), domain::turn::Outcome::Done, vec![entry]))
    }
}

/// What a decision stands on.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub now: Time,
    /// Whether receipts are looked up, not assumed absent.
    pub careful: bool,
    /// Whether the batch before is still being committed.
    pub beside: bool,
}

/// A batch that can be committed on a log of size `base`.
pub(crate) struct Decided {
    pub base: u64,
    pub generation: u64,
    pub endings: Vec<Ending>,
    pub denials: Vec<(String, &'static str, &'static str)>,
    pub append: Append,
    pub effects: Effects,
}

impl Decided {
    /// Whether the log is what it was decided on, and time has not gone past it. Whoever moved the head without an entry stored
    /// receipts, and those are unique.
    pub(crate) fn stands_on(&self, head: &Head) -> bool {
        head.size == self.base && head.at <= self.append.at
    }
}

/// What a batch makes of memory.
pub(crate) struct Effects {
    /// The size of the log after it.
    pub size: u64,
    pub states: HashMap<Stream, Arc<State>>,
    pub tips: HashMap<String, Tip>,
    pub answers: HashMap<ReceiptId, ([u8; 32], Bytes)>,
    pub taken: HashMap<Claim, String>,
    /// Made for it and stored by it.
    pub keys: Vec<(String, eventlog::vault::SubjectKey)>,
}

/// The database's clock, read when the head was locked.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    pub locked: Instant,
    /// Microseconds since 1970.
    pub now: i64,
}

impl Clock {
    pub(crate) fn now(&self) -> Time {
        let since = i64::try_from(self.locked.elapsed().as_micros()).unwrap_or(0);
        Time::from_micros(self.now.saturating_add(since))
    }
}
