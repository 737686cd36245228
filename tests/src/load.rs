//! Load with a memory: callers who never give up on a command, and who remember everything they were promised.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain::Hash;
use eventlog::Log;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::courier::{Reply, Who};
use crate::http::Http;
use crate::ledger::Ledger;
use crate::town::{CURRENCY, Town};

/// How long it waits for an answer: a frozen server gives none at all.
const ANSWER: Duration = Duration::from_secs(8);
/// A caller that gets no answer anywhere for so long has found a defect.
const PATIENCE: Duration = Duration::from_secs(90);

/// A promise: this command was settled, with these entries.
#[derive(Debug, Clone)]
pub struct Promise {
    pub number: u64,
    /// Which of the servers gave it.
    pub server: usize,
    pub at: Instant,
    pub entries: Vec<(u64, Hash)>,
}

/// Callers at work. Most commands pay one cent in; every fourth sets one cent aside, which no reference protects from happening twice:
/// only the key for retries does. Each names a time that no other command names, by which the log can be searched.
pub struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

struct Shared {
    http: Http,
    servers: Vec<String>,
    treasury: String,
    attester: Who,
    founder: Who,
    started_micros: i64,
    next: AtomicU64,
    stop: AtomicBool,
    promises: Mutex<Vec<Promise>>,
}

impl Load {
    /// Sends from `callers` hands, spread over the servers.
    pub fn start(http: &Http, servers: &[&str], town: &Town, callers: usize) -> Self {
        let shared = Arc::new(Shared {
            http: http.clone(),
            servers: servers.iter().map(|&server| server.to_owned()).collect(),
            treasury: town.treasury.clone(),
            attester: town.attester.clone(),
            founder: town.founder.clone(),
            started_micros: jiff::Timestamp::now().as_microsecond(),
            next: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            promises: Mutex::default(),
        });
        let callers = (0..callers).map(|caller| tokio::spawn(Arc::clone(&shared).call(caller))).collect();
        Self { shared, callers }
    }

    /// How many promises there are so far.
    pub fn promised(&self) -> usize {
        self.shared.promises.lock().unwrap().len()
    }

    /// When the newest promise of one server was made.
    pub fn newest_of(&self, server: usize) -> Option<Instant> {
        let promises = self.shared.promises.lock().unwrap();
        promises.iter().filter(|promise| promise.server == server).map(|promise| promise.at).max()
    }

    /// Waits until there are so many promises more.
    pub async fn wait_for_more(&self, more: usize) {
        let (wanted, deadline) = (self.promised() + more, Instant::now() + PATIENCE);
        while self.promised() < wanted {
            assert!(Instant::now() < deadline, "only {} of {wanted} promises", self.promised());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets every caller finish what it has begun, then compares all promises with the log: each is kept, none twice.
    pub async fn settle(self, log: &Log) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("a caller was never answered");
        }
        let ledger = Ledger::read(log).await;
        let promises = self.shared.promises.lock().unwrap().clone();
        let mut numbers = HashSet::new();
        for promise in &promises {
            assert!(numbers.insert(promise.number), "command {} was promised twice", promise.number);
            for (position, hash) in &promise.entries {
                let kept = usize::try_from(*position).ok().and_then(|position| ledger.hashes.get(position));
                assert_eq!(kept, Some(hash), "command {}: the promise of position {position}", promise.number);
            }
        }
        // Every caller ended, so every command was promised in the end, also those whose first answers were lost.
        let sent = self.shared.next.load(Ordering::Relaxed) - 1;
        assert_eq!(promises.len() as u64, sent, "some command was never settled");
        for number in 1..=sent {
            let time = self.shared.time(number);
            assert_eq!(ledger.named_times.get(&time), Some(&1), "command {number} took effect another number of times");
        }
        ledger.assert_conserved();
        ledger.assert_guards_agree(log).await;
        ledger
    }
}

impl Shared {
    async fn call(self: Arc<Self>, caller: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (who, action, body) = self.command(number);
            let (key, deadline) = (format!("load-{number}"), Instant::now() + PATIENCE);
            // Everybody has a server of their own, and turns to another one when that does not answer.
            let mut server = caller % self.servers.len();
            loop {
                let http = self.http.at(&self.servers[server]);
                let attempt = http.attempt(who, action, body.clone(), Some(&key));
                match tokio::time::timeout(ANSWER, attempt).await {
                    Ok(Ok(reply)) if reply.is_accepted() => {
                        self.promised(number, server, &reply);
                        break;
                    }
                    Ok(Ok(reply)) => assert!(
                        matches!(reply.status, 429 | 500 | 503 | 504),
                        "command {number} was refused: {} {}",
                        reply.status,
                        reply.body
                    ),
                    Ok(Err(_)) | Err(_) => {}
                }
                assert!(Instant::now() < deadline, "command {number} was never answered");
                server = (server + 1) % self.servers.len();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn command(&self, number: u64) -> (&Who, &'static str, Value) {
        let time = self.time(number);
        if number.is_multiple_of(4) {
            let leg = json!({"to": "external", "amount": "0.01"});
            let hold = json!({"treasury": self.treasury, "currency": CURRENCY, "legs": [leg], "expires_at": time});
            (&self.founder, "treasury.hold", hold)
        } else {
            let mut deposit = crate::town::deposit(&self.treasury, &format!("load {number}"), "0.01");
            deposit["effective_at"] = Value::String(time);
            (&self.attester, "treasury.deposit", deposit)
        }
    }

    /// A day ago or in a hundred days, and some microseconds.
    fn time(&self, number: u64) -> String {
        let days = if number.is_multiple_of(4) { 100 } else { -1 };
        let micros = self.started_micros + days * 86_400_000_000 + i64::try_from(number).unwrap();
        domain::Time::from_micros(micros).to_string()
    }

    fn promised(&self, number: u64, server: usize, reply: &Reply) {
        let entry = |entry: &Value| {
            let hash = Hash::from_hex(entry["entry_hash"].as_str().unwrap()).unwrap();
            (entry["position"].as_u64().unwrap(), hash)
        };
        // "already done" by its reference: the entries were promised by an answer that was lost.
        let entries = reply.entries.iter().map(entry).collect();
        self.promises.lock().unwrap().push(Promise { number, server, at: Instant::now(), entries });
    }
}
