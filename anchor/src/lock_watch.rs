//! Tries the store's lock now and then, puts on record how that ended, and keeps saying it.

use std::sync::Arc;
use std::time::Duration;

use eventlog::Recorder;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use crate::AnchorError;
use crate::proof_of_lock::{self, ProofOfLock, Verdict};
use crate::store::Store;

/// The type of the entry that says how it ended.
pub const LOCK_TRIED: &str = "log.lock_tried.v1";
/// So long a run may take: a store that answers nothing is not waited for.
const MOST: Duration = Duration::from_secs(300);

/// How the last run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockStatus {
    pub verdict: Verdict,
    /// In a sentence.
    pub says: String,
    /// When it was tried; missing where there is nothing to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// The lock of one store.
pub struct LockWatch {
    store: Arc<dyn Store>,
    recorder: Arc<dyn Recorder>,
    clock: fn() -> String,
    latest: watch::Sender<LockStatus>,
    /// One run at a time: each turns the bucket's versioning on again.
    running: Mutex<()>,
}

impl LockWatch {
    pub fn new(store: Arc<dyn Store>, recorder: Arc<dyn Recorder>, clock: fn() -> String) -> Self {
        let untried = ProofOfLock::untried(store.kind());
        let says = if store.tamper().is_some() { "unproven: not tried yet".to_owned() } else { untried.to_string() };
        let latest = watch::Sender::new(LockStatus { verdict: Verdict::Unproven, says, at: None });
        Self { store, recorder, clock, latest, running: Mutex::new(()) }
    }

    pub fn status(&self) -> LockStatus {
        self.latest.borrow().clone()
    }

    /// Whether there is a lock to be tried again and again.
    pub fn is_needed(&self) -> bool {
        self.store.kind().has_lock()
    }

    /// Tries the lock. The outcome is said, counted and put on record; only where there is no lock at all is nothing recorded.
    pub async fn prove(&self) -> Result<ProofOfLock, AnchorError> {
        let _one_at_a_time = self.running.lock().await;
        let kind = self.store.kind();
        let at = (self.clock)();
        let now: Timestamp = at.parse().map_err(|error| AnchorError::unreadable("this server's clock", error))?;
        let proof = match self.store.tamper() {
            Some(tamper) => {
                let name = name(&at)?;
                let run = proof_of_lock::prove(kind, tamper.as_ref(), now, &name);
                // What was proven yesterday does not go on being said of a store that answers nothing.
                tokio::time::timeout(MOST, run).await.unwrap_or_else(|_| ProofOfLock::unanswered(kind))
            }
            None => ProofOfLock::untried(kind),
        };
        self.say(&proof, &at);
        if kind.has_lock() {
            let data = serde_json::to_value(&proof).map_err(|error| AnchorError::unreadable(LOCK_TRIED, error))?;
            self.recorder.record(LOCK_TRIED, data).await?;
        }
        Ok(proof)
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn say(&self, proof: &ProofOfLock, at: &str) {
        let store = proof.store.as_str();
        for (verdict, name) in
            [(Verdict::Proven, "proven"), (Verdict::Yielded, "yielded"), (Verdict::Unproven, "unproven")]
        {
            let is = f64::from(u8::from(verdict == proof.verdict));
            metrics::gauge!("guildhall_lock_proof", "store" => store, "verdict" => name).set(is);
        }
        match proof.verdict {
            Verdict::Proven => {
                if let Ok(at) = at.parse::<Timestamp>() {
                    metrics::gauge!("guildhall_lock_proven_at_seconds").set(at.as_second() as f64);
                }
                tracing::info!(store, "the lock of the anchor store was tried and holds");
            }
            Verdict::Yielded => tracing::error!(store, alarm = true, "the lock of the anchor store: {proof}"),
            Verdict::Unproven if self.is_needed() => tracing::warn!(store, "the lock of the anchor store: {proof}"),
            Verdict::Unproven => {}
        }
        let at = self.is_needed().then(|| at.to_owned());
        self.latest.send_replace(LockStatus { verdict: proof.verdict, says: proof.to_string(), at });
    }
}

/// A name for the canaries of one run: the time, so that they sort, and chance, so that two runs never meet.
fn name(at: &str) -> Result<String, AnchorError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| AnchorError::Store(format!("no chance for a name: {error}")))?;
    let digits: String = at.chars().filter(char::is_ascii_digit).collect();
    Ok(format!("{digits}-{}", chain::hex::encode(&random)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex as StdMutex;

    use async_trait::async_trait;
    use serde_json::{Value, json};

    use super::*;
    use crate::proof_of_lock::{Answer, Sight, Tamper};
    use crate::store::{Kind, Lock, Object, Page, Retention, Written};

    /// A store that takes every request and answers none.
    struct Silent;

    #[async_trait]
    impl Tamper for Silent {
        fn has_versions(&self) -> bool {
            true
        }
        async fn put(&self, _: &str, _: Vec<u8>, _: Option<Lock>) -> (Answer, Option<String>) {
            std::future::pending().await
        }
        async fn delete(&self, _: &str, _: Option<&str>, _: bool) -> Answer {
            std::future::pending().await
        }
        async fn retain(&self, _: &str, _: &str, _: Option<Lock>, _: bool) -> Answer {
            std::future::pending().await
        }
        async fn versioning(&self, _: bool) -> Answer {
            std::future::pending().await
        }
        async fn look(&self, _: &str, _: Option<&str>) -> Sight {
            std::future::pending().await
        }
        async fn sweep(&self, _: &str) {}
    }

    #[async_trait]
    impl Store for Silent {
        fn kind(&self) -> Kind {
            Kind::S3ObjectLock
        }
        fn place(&self) -> String {
            "nowhere".to_owned()
        }
        fn guarantee(&self) -> &'static str {
            "nothing"
        }
        async fn put(&self, _: &str, _: Vec<u8>, _: Retention) -> Result<Written, AnchorError> {
            std::future::pending().await
        }
        async fn get(&self, _: &str, _: Option<&str>) -> Result<Option<Object>, AnchorError> {
            std::future::pending().await
        }
        async fn page(&self, _: &str, _: Option<&str>) -> Result<Page, AnchorError> {
            std::future::pending().await
        }
        fn tamper(&self) -> Option<Arc<dyn Tamper>> {
            Some(Arc::new(Silent))
        }
    }

    #[derive(Default)]
    struct Records(StdMutex<Vec<(String, Value)>>);

    #[async_trait]
    impl Recorder for Records {
        async fn record(&self, kind: &str, data: Value) -> Result<u64, eventlog::Failure> {
            self.0.lock().unwrap().push((kind.to_owned(), data));
            Ok(0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_nothing_is_unproven_and_that_is_on_record() {
        let records = Arc::new(Records::default());
        let recorder: Arc<dyn Recorder> = records.clone();
        let watch = LockWatch::new(Arc::new(Silent), recorder, crate::anchorer::now);
        assert_eq!(watch.status().says, "unproven: not tried yet");
        watch.prove().await.unwrap();
        let status = watch.status();
        assert!(status.verdict == Verdict::Unproven && status.says.contains("was not answered"), "{status:?}");
        let data = json!({
            "store": "s3-object-lock", "verdict": "unproven", "reason": "no_answer", "controls": [], "attempts": []
        });
        assert_eq!(*records.0.lock().unwrap(), [(LOCK_TRIED.to_owned(), data)]);
    }
}
