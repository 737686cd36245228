//! The log's side of the witness protocol: every signed checkpoint goes to every witness, and what they cosign is collected.
//!
//! Each witness has a worker of its own, so that one that is slow, dead or lying is late alone. Nothing here is waited for by a
//! command; publishing waits for a quorum up to a deadline, and adds what comes later when it comes.

mod standing;
mod worker;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chain::checkpoint::{self, Checkpoint};
use chain::note::{Note, NoteSignature};
use chain::witness::monitoring_path;
use eventlog::Log;
use futures::future::join_all;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::layout::Layout;
use crate::signing_keys::SigningKeys;
use crate::startup::Known;
pub(crate) use standing::Standing;

/// What came back from a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// Brings requests to witnesses. Has a limit of its own on time and on the length of an answer.
#[async_trait]
pub trait Carrier: Debug + Send + Sync {
    async fn post(&self, url: &str, body: String) -> Result<Reply, String>;
    async fn get(&self, url: &str) -> Result<Reply, String>;
}

/// Who witnesses this log, and how they are reached.
#[derive(Debug, Clone)]
pub struct Witnesses {
    /// A C2SP policy file. What it says about logs is left out: the log is this one.
    pub policy: String,
    pub carrier: Arc<dyn Carrier>,
    /// How long a checkpoint waits for its quorum before it is shown without.
    pub deadline: Duration,
}

/// How it stands with one witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessStatus {
    /// Its name in the policy, and the name of its key.
    pub name: String,
    pub key: String,
    pub url: Option<String>,
    /// The newest checkpoint that it cosigned, and when it says it did (Unix seconds).
    pub size: Option<u64>,
    pub cosigned_at: Option<u64>,
    /// What is wrong with it, if the last attempt failed.
    pub trouble: Option<String>,
}

/// A signed checkpoint on its round.
#[derive(Debug)]
struct Asked {
    checkpoint: Checkpoint,
    note: String,
    text: String,
}

struct Seat {
    status: WitnessStatus,
    /// The text that it cosigned last, and its line.
    line: Option<(String, String)>,
    /// The text of its last attempt, however that ended.
    tried: Option<String>,
    /// It failed and is left alone for a while.
    resting: bool,
}

struct Shared {
    log: Log,
    layout: Layout,
    keys: Arc<SigningKeys>,
    carrier: Arc<dyn Carrier>,
    seats: Mutex<Vec<Seat>>,
    /// Changes with every attempt that ended.
    news: watch::Sender<u64>,
    fork: watch::Sender<Option<String>>,
}

/// The round of witnesses. Dropping it ends its workers.
pub struct Witnessing {
    shared: Arc<Shared>,
    asked: watch::Sender<Option<Arc<Asked>>>,
    deadline: Duration,
    _workers: JoinSet<()>,
}

impl Witnessing {
    /// Starts a worker for each witness of the keys' policy that has an address.
    pub fn start(witnesses: &Witnesses, keys: Arc<SigningKeys>, log: Log, layout: Layout) -> Self {
        let policy = keys.policy();
        let seats = policy.witnesses.iter().map(|witness| Seat {
            status: WitnessStatus {
                name: witness.name.clone(),
                key: witness.key.name().to_owned(),
                url: witness.url.clone(),
                size: None,
                cosigned_at: None,
                trouble: None,
            },
            line: None,
            tried: None,
            resting: witness.url.is_none(),
        });
        let shared = Arc::new(Shared {
            log,
            layout,
            carrier: Arc::clone(&witnesses.carrier),
            seats: Mutex::new(seats.collect()),
            keys,
            news: watch::Sender::new(0),
            fork: watch::Sender::new(None),
        });
        let asked = watch::Sender::new(None);
        let mut workers = JoinSet::new();
        for (index, witness) in policy.witnesses.iter().enumerate() {
            match &witness.url {
                Some(url) => {
                    workers.spawn(worker::follow(Arc::clone(&shared), index, url.clone(), asked.subscribe()));
                }
                None => tracing::warn!(witness = witness.name, "this witness has no address and is never asked"),
            }
        }
        Self { shared, asked, deadline: witnesses.deadline, _workers: workers }
    }

    /// Sends a signed checkpoint round and waits until its quorum is met, everybody has had their say, or the deadline has passed.
    pub async fn ask(&self, checkpoint: &Checkpoint, note: &str) {
        let asked = Asked { checkpoint: checkpoint.clone(), note: note.to_owned(), text: checkpoint.to_text() };
        let text = asked.text.clone();
        let mut news = self.shared.news.subscribe();
        self.asked.send_replace(Some(Arc::new(asked)));
        let settled = news.wait_for(|_| self.shared.is_settled(note, &text));
        let _ = tokio::time::timeout(self.deadline, settled).await;
    }

    /// Whether anything was sent round yet.
    pub fn has_asked(&self) -> bool {
        self.asked.borrow().is_some()
    }

    /// The note with every cosignature that is there by now, on it or with us: the log's lines, then those of the witnesses in the
    /// order of the policy.
    pub fn collected(&self, note: &str) -> String {
        self.shared.collected(note)
    }

    /// Why nothing may be written any more: a witness showed a checkpoint that this log's key signed and that this log contradicts.
    pub fn fork(&self) -> watch::Receiver<Option<String>> {
        self.shared.fork.subscribe()
    }

    pub fn status(&self) -> Vec<WitnessStatus> {
        self.shared.seats().iter().map(|seat| seat.status.clone()).collect()
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        // A panic elsewhere leaves lines that are checked before they are shown.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_settled(&self, note: &str, text: &str) -> bool {
        let policy = self.keys.policy();
        let met = || checkpoint::examine(&self.collected(note), &policy).is_ok_and(|examined| examined.witnessed);
        let all = self.seats().iter().all(|seat| seat.resting || seat.tried.as_deref() == Some(text));
        all || met()
    }

    fn collected(&self, note: &str) -> String {
        let Ok(Note { text, signatures }) = Note::parse(note) else { return note.to_owned() };
        let policy = self.keys.policy();
        let of_witness = |line: &&NoteSignature| policy.witnesses.iter().any(|witness| line.is_by(&witness.key));
        let (cosigned, own): (Vec<_>, Vec<_>) = signatures.iter().partition(of_witness);
        let mut note = format!("{text}\n{}", own.into_iter().map(NoteSignature::line).collect::<String>());
        for (seat, witness) in self.seats().iter().zip(&policy.witnesses) {
            let fresh = seat.line.as_ref().filter(|(of, _)| *of == text).map(|(_, line)| line.clone());
            let there = || cosigned.iter().find(|line| line.is_by(&witness.key)).map(|line| line.line());
            note.push_str(&fresh.or_else(there).unwrap_or_default());
        }
        note
    }
}

/// The checkpoints of this log that its witnesses show. Whoever cannot be reached in time, or shows what this log's key never signed,
/// is left out and named in the log: a witness that lies must not stop a city.
pub(crate) async fn held(witnesses: &Witnesses, keys: &SigningKeys) -> Vec<Known> {
    let (policy, origin) = (keys.policy(), keys.origin());
    let asked = policy.witnesses.iter().filter_map(|witness| Some((&witness.name, witness.url.as_ref()?)));
    let asked = asked.map(|(name, url)| {
        let address = format!("{url}/{}", monitoring_path(origin));
        async move {
            let reply = tokio::time::timeout(2 * witnesses.deadline, witnesses.carrier.get(&address)).await;
            match reply.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(reply) if reply.status == 404 => None,
                Ok(reply) if reply.status == 200 => shown(name, &reply.body, keys),
                Ok(reply) => unknown(name, &format!("it answered {}", reply.status)),
                Err(error) => unknown(name, &error),
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What a witness shows, if a key of this log that was in force signed it.
fn shown(name: &str, note: &str, keys: &SigningKeys) -> Option<Known> {
    match keys.open_note(note) {
        Ok(checkpoint) => Some(Known { checkpoint, whence: format!("the checkpoint cosigned by the witness {name}") }),
        Err(error) => unknown(name, &error),
    }
}

fn unknown(name: &str, error: &str) -> Option<Known> {
    tracing::warn!(witness = name, error, "what this witness cosigned last is not known");
    None
}
