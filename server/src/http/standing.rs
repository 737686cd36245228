//! Who a caller is and what they may do now, from states of the log kept in memory and brought up to the head when asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::Time;
use domain::ids::{KeyId, Stream};
use domain::turn::{Claim, Missing, Permit, Scene, State, Stop};
use domain::{Code, Rejection};
use eventlog::{Failure, Log};
use identity::{Credential, Pepper, PresentedKey};
use projections::recorded;

/// Most streams kept. All are keys, citizens and the city itself: small, and read again when forgotten.
const CAPACITY: usize = 50_000;
/// How old a "yes" may be where the writer asks again anyway.
const SLACK: Duration = Duration::from_secs(1);
const PAGE: usize = 1000;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// As of the head at the time of asking.
    Head,
    /// A yes may be a second old: the writer decides again under its lock. A no is always as of the head.
    WriterAsksAgain,
}

#[derive(Debug)]
pub enum Refusal {
    Rejected(Rejection),
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

struct Known {
    state: Arc<State>,
    /// How many entries of the stream are folded.
    versions: u64,
    /// The log's size when it was last brought up to date, and when that was.
    as_of: u64,
    checked: Instant,
}

pub struct Standing {
    log: Log,
    pepper: Arc<Pepper>,
    known: Mutex<HashMap<Stream, Known>>,
}

/// The streams one question touches.
#[derive(Default)]
struct View(HashMap<Stream, Arc<State>>);

impl Scene for View {
    fn state(&self, stream: Stream) -> Option<&Arc<State>> {
        self.0.get(&stream)
    }

    fn claim(&self, _: &Claim) -> Option<Option<&str>> {
        // Neither question asks for claims; "not looked up" would be asked for again for ever.
        Some(None)
    }
}

impl Standing {
    pub fn new(log: Log, pepper: Arc<Pepper>) -> Self {
        Self { log, pepper, known: Mutex::default() }
    }

    pub fn shared_pepper(&self) -> Arc<Pepper> {
        Arc::clone(&self.pepper)
    }

    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// Whether a presented key is one of the city's, and may take this action.
    pub async fn permit(
        &self,
        presented: &PresentedKey,
        action: &str,
        fresh: Fresh,
    ) -> Result<(Credential, Permit), Refusal> {
        if fresh == Fresh::WriterAsksAgain
            && let Ok(permitted) = self.ask(presented, action, Some(SLACK)).await
        {
            return Ok(permitted);
        }
        self.ask(presented, action, None).await
    }

    /// Whether a key is in memory, good or not.
    pub fn knows(&self, key: KeyId) -> bool {
        self.known().contains_key(&Stream::Key(key))
    }

    /// What a refused credential is called on record. Ids that nobody issued are one: else anybody could fill the log with names.
    pub async fn name(&self, id: KeyId, rejection: &Rejection) -> String {
        if rejection.code != Code::CredentialInvalid {
            return id.to_string();
        }
        match self.state(Stream::Key(id)).await.as_deref() {
            Ok(State::Key(key)) if key.exists() => id.to_string(),
            _ => "unknown".to_owned(),
        }
    }

    /// Whether a credential that was good before still is.
    pub async fn still(&self, credential: &Credential, action: &str) -> Result<Permit, Refusal> {
        let head = self.log.head().await?.size;
        self.decide(head, None, |scene| identity::authorize(scene, credential, action, now())).await
    }

    /// The state of a stream as of the head.
    pub async fn state(&self, stream: Stream) -> Result<Arc<State>, Failure> {
        let head = self.log.head().await?.size;
        self.load(stream, head, None).await
    }

    async fn ask(
        &self,
        presented: &PresentedKey,
        action: &str,
        slack: Option<Duration>,
    ) -> Result<(Credential, Permit), Refusal> {
        // Within the slack the head is not even looked at.
        let head = if slack.is_some() { 0 } else { self.log.head().await?.size };
        self.decide(head, slack, |scene| {
            let credential = identity::authenticate(scene, presented, &self.pepper)?;
            let permit = identity::authorize(scene, &credential, action, now())?;
            Ok((credential, permit))
        })
        .await
    }

    async fn decide<T>(
        &self,
        head: u64,
        slack: Option<Duration>,
        decide: impl Fn(&View) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        let mut view = View::default();
        loop {
            match decide(&view) {
                Ok(decided) => return Ok(decided),
                Err(Stop::Rejected(rejection)) => return Err(Refusal::Rejected(rejection)),
                Err(Stop::Missing(Missing::Stream(stream))) => {
                    let state = self.load(stream, head, slack).await?;
                    view.0.insert(stream, state);
                }
                // Neither question reads many streams at once, or asks for claims.
                Err(Stop::Missing(Missing::Streams(_) | Missing::Claim(_))) => {
                    return Err(Refusal::Rejected(Rejection::new(Code::UnknownAction)));
                }
            }
        }
    }

    async fn load(&self, stream: Stream, head: u64, slack: Option<Duration>) -> Result<Arc<State>, Failure> {
        let (mut state, mut versions) = match self.known().get(&stream) {
            Some(known) if slack.is_some_and(|slack| known.checked.elapsed() < slack) => {
                return Ok(Arc::clone(&known.state));
            }
            Some(known) if slack.is_none() && known.as_of >= head => return Ok(Arc::clone(&known.state)),
            Some(known) => (Arc::clone(&known.state), known.versions),
            None => (Arc::new(State::empty(stream)), 0),
        };
        // Taken before reading: the stream is complete at least up to here.
        let (as_of, checked) = (if slack.is_some() { self.log.head().await?.size } else { head }, Instant::now());
        let name = stream.to_string();
        loop {
            let entries = self.log.read_stream(&name, versions, PAGE).await?;
            for entry in &entries {
                let recorded = recorded::decode(entry).map_err(|error| Failure::Corrupt(error.to_string()))?;
                if let Some(event) = &recorded.event {
                    Arc::make_mut(&mut state).evolve(event, recorded.at);
                }
                versions = entry.version + 1;
            }
            // A page may be short because it is heavy: only an empty one is the end.
            if entries.is_empty() {
                break;
            }
        }
        let mut known = self.known();
        if known.len() >= CAPACITY {
            known.clear();
        }
        // Streams that do not exist are not kept: anybody could invent any number of them.
        if versions > 0 {
            known.insert(stream, Known { state: Arc::clone(&state), versions, as_of, checked });
        }
        Ok(state)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Stream, Known>> {
        // Entries are replaced whole, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This server's clock. What it says is used for questions only: the writer's time comes from the log.
pub fn now() -> Time {
    Time::from_micros(jiff::Timestamp::now().as_microsecond())
}
