//! The whole audit of a folder: promises gathered, runs checked in parallel, joined in order.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chain::checkpoint;
use chain::note::Note;
use chain::policy::Policy;
use chain::rotation::fingerprint;
use chain::tree::empty_root;
use timestamp::Roots;

use crate::also;
use crate::anchors::{self, Chain, Stray, Under};
use crate::checkpoints::{self, Promise};
use crate::claims::Outside;
use crate::continues;
use crate::end::{self, End, Found};
use crate::entries::{Job, Run};
use crate::fold::Fold;
use crate::heads::Record;
use crate::inputs::Folder;
use crate::keys::{Keys, Place, Signed};
use crate::quorum::Quorum;
use crate::report::{Check, Finding, Report};
use crate::silence::Silence;
use crate::survey;
use crate::tiles::FULL;
use crate::times::Times;

/// What to audit, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub dir: PathBuf,
    /// The auditor's own policy file. Should it be the folder's, the report says so.
    pub policy: PathBuf,
    /// Where the checkpoint of the last clean audit is kept.
    pub remember: Option<PathBuf>,
    /// Where to list the roots of heads that were recomputed, if nothing was found.
    pub heads: Option<PathBuf>,
    /// Certificates, in PEM, that the time tokens of anchors must lead to. Without them tokens are not checked.
    pub time_roots: Option<PathBuf>,
    /// Other places that hold the same anchors: a mirror, a former export.
    pub also: Vec<PathBuf>,
    /// A folder of the log that this one continues, to compare the entries with.
    pub continues: Option<PathBuf>,
    /// The log to audit, where there are checkpoints of several that the policy gives.
    pub origin: Option<String>,
    /// Check tree, checkpoints and anchors without the entries.
    pub tree_only: bool,
    /// Worker threads; 0 is one per processor, and one more.
    pub threads: usize,
}

/// Why an audit came to no result.
#[derive(Debug, thiserror::Error)]
pub enum CouldNotCheck {
    #[error("the policy {path}: {what}")]
    Policy { path: String, what: String },
    #[error("{0} holds neither a checkpoint nor anchors: is this a published log, or a store of anchors?")]
    NoCheckpoint(String),
    #[error("{0} holds anchors of several logs that the policy gives, {1}: say which one to audit (--origin)")]
    SeveralLogs(String, String),
    #[error("{0} holds no entry packs; --tree-only checks the rest without them")]
    NoPacks(String),
    #[error("the roots {path}: {what}")]
    Roots { path: String, what: String },
    #[error("there is no folder {0}")]
    NoFolder(String),
    #[error("{0} is not there: --continues takes a folder with the packs of the log that is continued")]
    NothingContinued(String),
    #[error("the remembered checkpoint {0}")]
    Memory(String),
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// Audits a folder. `progress` hears how many of how many entries are done.
pub fn verify(options: &Options, progress: &dyn Fn(u64, u64)) -> Result<Report, CouldNotCheck> {
    let started = Instant::now();
    let folder = Folder::open(options.dir.clone())?;
    let mut report = Report::default();
    let policy = policy(options, &mut report)?;
    let roots = options.time_roots.as_deref().map(roots).transpose()?;
    if let Some(missing) = options.also.iter().find(|also| !also.is_dir()) {
        return Err(CouldNotCheck::NoFolder(missing.display().to_string()));
    }
    survey::shut(&folder, &mut report);
    let under = anchors::under(&folder, &policy, roots.as_ref())?;
    let found = end::find(&folder, &policy, &under, options.origin.as_deref())?;
    let remembered = match &options.remember {
        Some(path) => checkpoints::remembered(path, &policy).map_err(CouldNotCheck::Memory)?,
        None => None,
    };
    let mut record = None;
    match &found {
        Found::Nothing => return Err(CouldNotCheck::NoCheckpoint(folder.display())),
        Found::Several(logs) => return Err(CouldNotCheck::SeveralLogs(folder.display(), logs.join(" and "))),
        Found::Refused(what) => report.add(Finding::general(Check::Checkpoint, what.as_str())),
        Found::End(end) => {
            let size = end.examined.checkpoint.size;
            if !options.tree_only && size > 0 && !folder.has("pack") {
                return Err(CouldNotCheck::NoPacks(folder.display()));
            }
            let trust = (&policy, roots.as_ref());
            record = check(options, &folder, trust, (end, under), remembered, &mut report, progress)?;
            compare(options, &folder, &policy, size, &mut report)?;
        }
    }
    report.conclude();
    report.seconds = started.elapsed().as_secs_f64();
    if let (Some(path), Found::End(end), true) = (&options.remember, &found, report.is_clean()) {
        checkpoints::remember(path, &end.note)?;
    }
    if let Some(record) = record {
        record.conclude(report.is_clean())?;
    }
    Ok(report)
}

fn policy(options: &Options, report: &mut Report) -> Result<Policy, CouldNotCheck> {
    let failed = |path: &str, what: String| CouldNotCheck::Policy { path: path.to_owned(), what };
    let path = options.policy.display().to_string();
    let bytes = std::fs::read(&options.policy).map_err(|error| failed(&path, error.to_string()))?;
    let own = |path: &PathBuf| path.canonicalize().ok();
    report.policy = if own(&options.policy) == own(&options.dir.join("policy")) {
        "the audited folder itself: this shows that the files agree, not whose they are".to_owned()
    } else {
        path.clone()
    };
    let text = String::from_utf8(bytes).map_err(|error| failed(&path, error.to_string()))?;
    Policy::parse(&text).map_err(|error| failed(&path, error.to_string()))
}

fn roots(path: &Path) -> Result<Roots, CouldNotCheck> {
    let failed = |what: String| CouldNotCheck::Roots { path: path.display().to_string(), what };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Roots::from_pem(&pem).map_err(|error| failed(error.to_string()))
}

fn check(
    options: &Options,
    folder: &Folder,
    (policy, roots): (&Policy, Option<&Roots>),
    (end, under): (&End, Under),
    remembered: Option<(checkpoint::Checkpoint, Signed)>,
    report: &mut Report,
    progress: &dyn Fn(u64, u64),
) -> io::Result<Option<Record>> {
    let examined = &end.examined;
    let head = &examined.checkpoint;
    report.ends_at.clone_from(&end.anchor);
    report.origin.clone_from(&head.origin);
    report.size = head.size;
    report.root = head.root.to_string();
    report.witnessed = policy.quorum.map(|_| examined.witnessed);
    if report.witnessed == Some(false) {
        let what = format!("the quorum of the policy did not cosign {}", end.whence());
        report.add(Finding::general(Check::Checkpoint, what));
    }
    survey::survey(folder, head.size, report)?;
    if options.tree_only {
        report.not_checked.push("entries, streams, heads and meaning (--tree-only)".to_owned());
    }
    let Chain { known: anchors, aside, strays, findings } =
        anchors::chain(under, &head.origin, (head.size, end.beyond()));
    strays.iter().map(Stray::finding).chain(findings).for_each(|finding| report.add(finding));
    report.times = Times::of(&anchors);
    report.silence = Silence::of(&anchors, None);
    report.quorum = policy.quorum.map(|_| Quorum::of(&anchors));
    let mut promises: Vec<Promise> = anchors.iter().map(Promise::of).collect();
    // What the log's key signed is its word, wherever it lies.
    let signed_aside = aside.iter().map(|aside| &aside.known).filter(|known| !known.by.is_empty()).map(Promise::of);
    let besides: Vec<Promise> =
        signed_aside.chain(strays.iter().filter_map(|stray| stray.promise(&head.origin))).collect();
    besides.iter().filter(|promise| promise.size > head.size).for_each(|promise| report.add(end.cut(promise)));
    promises.extend(besides);
    let mut signed: Vec<Signed> = anchors
        .iter()
        .map(|anchor| Signed {
            size: anchor.size,
            whence: anchor.key.clone(),
            by: anchor.by.clone(),
            place: Place::Anchor { key: anchor.key.clone(), since: anchor.since },
        })
        .collect();
    // An anchor that the audit ends at is among them.
    if end.anchor.is_none() {
        promises.push(Promise { size: head.size, root: head.root, whence: end.whence() });
        signed.push(Signed {
            size: head.size,
            whence: end.whence(),
            by: examined.signed.iter().map(|key| fingerprint(&key.vkey())).collect(),
            place: Place::Here(Note::parse(&end.note).into_iter().collect()),
        });
    }
    if let Some((memory, by)) = remembered {
        remembered_fits(&memory, head, report);
        signed.extend((memory.origin == head.origin && memory.size <= head.size).then_some(by));
        promises.push(Promise { size: memory.size, root: memory.root, whence: "the remembered checkpoint".to_owned() });
    }
    for other in &options.also {
        let (more, there) = also::compare(other, (&anchors, head.size), (policy, &head.origin, roots), report)?;
        promises.extend(more);
        signed.extend(there);
    }
    promises.retain(|promise| promise.size <= head.size);
    for promise in promises.iter().filter(|promise| promise.size == 0 && promise.root != empty_root()) {
        report.add(Finding::general(Check::Checkpoint, format!("{} gives a root to an empty tree", promise.whence)));
    }
    let mut cuts: Vec<u64> = promises.iter().map(|promise| promise.size).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let anchored = anchors.iter().map(|anchor| anchor.size).max().unwrap_or(0);
    let job = Job {
        folder: folder.clone(),
        origin: head.origin.clone(),
        size: head.size,
        cuts,
        anchored,
        with_packs: !options.tree_only,
    };
    let trusted = policy.logs.iter().filter(|key| key.name() == head.origin).cloned().collect();
    let keys = Keys { folder, trusted, signed };
    let on_record = HashSet::new();
    let outside = Outside { folder, anchors, aside, on_record, policy, origin: &head.origin, size: head.size };
    let record = options.heads.as_ref().filter(|_| !options.tree_only);
    let record = record.map(|path| Record::begin(path, &head.origin)).transpose()?;
    let mut fold = Fold::new(outside, keys, promises, !options.tree_only, record, report);
    run(&job, options.threads, &mut |run| {
        let done = run.index * u64::from(FULL) + u64::from(run.width);
        fold.take(run)?;
        progress(done, job.size);
        Ok(())
    })?;
    fold.finish()
}

/// Compares the log with the one that it says it continues, if that one is at hand.
fn compare(
    options: &Options,
    folder: &Folder,
    policy: &Policy,
    size: u64,
    report: &mut Report,
) -> Result<(), CouldNotCheck> {
    let Some(path) = &options.continues else { return Ok(()) };
    let old = Folder::open(path.clone())?;
    if !old.has("pack") {
        return Err(CouldNotCheck::NothingContinued(path.join("pack").display().to_string()));
    }
    match continues::said(folder, size)? {
        None => report.add(Finding::at(Check::Continued, 0, "this log does not say that it continues another one")),
        Some(said) => {
            continues::compare((folder, size), &old, &said, policy)?
                .into_iter()
                .for_each(|finding| report.add(finding));
            if let Some(continues) = &mut report.continues {
                continues.compared = true;
            }
        }
    }
    Ok(())
}

fn remembered_fits(memory: &checkpoint::Checkpoint, head: &checkpoint::Checkpoint, report: &mut Report) {
    if memory.origin == head.origin && memory.size <= head.size {
        report.remembered = Some(memory.size);
    }
    if memory.origin != head.origin {
        report.add(Finding::general(
            Check::Checkpoint,
            format!("the remembered checkpoint is of another log, {}", memory.origin),
        ));
    }
    if memory.size > head.size {
        let what =
            format!("the log had {} entries at the last audit and has {} now: it was cut", memory.size, head.size);
        report.add(Finding::within(Check::Checkpoint, head.size, memory.size, what));
    }
}

/// Runs that a worker checks at a time: threads wake each other up that much less often.
const BATCH: u64 = 8;

/// Checks all runs in worker threads and hands them to `take` in order. At most a few batches a worker are in memory.
fn run(job: &Job, threads: usize, take: &mut dyn FnMut(Run) -> io::Result<()>) -> io::Result<()> {
    let runs = job.size.div_ceil(u64::from(FULL));
    let batches = runs.div_ceil(BATCH);
    let workers = match threads {
        // Whoever joins what they checked takes little of a processor, and no processor waits for its turn.
        0 => std::thread::available_parallelism().map_or(1, usize::from) + 1,
        some => some,
    };
    let ahead = workers as u64 * 3;
    let check = |batch: u64| (batch * BATCH..runs.min((batch + 1) * BATCH)).map(|index| job.run(index)).collect();
    let (send_index, indexes) = mpsc::channel::<u64>();
    let indexes = Mutex::new(indexes);
    let (send_run, done) = mpsc::channel::<(u64, io::Result<Vec<Run>>)>();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let send_run = send_run.clone();
            let (indexes, check) = (&indexes, &check);
            scope.spawn(move || {
                loop {
                    // The lock is held while waiting: whoever waits for the lock waits for work all the same.
                    let next = indexes.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(index) = next else { return };
                    if send_run.send((index, check(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send_run);
        let mut given = 0;
        let mut waiting: BTreeMap<u64, Vec<Run>> = BTreeMap::new();
        for wanted in 0..batches {
            while given < batches && given < wanted + ahead {
                // The workers outlive this loop: the channel closes only when it ends.
                let _ = send_index.send(given);
                given += 1;
            }
            while !waiting.contains_key(&wanted) {
                let (index, result) = done.recv().map_err(|_| io::Error::other("a worker stopped"))?;
                match result {
                    Ok(runs) => {
                        waiting.insert(index, runs);
                    }
                    Err(error) => return Err(error),
                }
            }
            waiting.remove(&wanted).into_iter().flatten().try_for_each(&mut *take)?;
        }
        // Owned by this closure, so it is dropped on every way out: then the workers end, and with them the scope.
        drop(send_index);
        Ok(())
    })
}
