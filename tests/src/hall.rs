//! A city in this process: log, vault and pipeline on either engine, without HTTP in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use commands::{Config, Pipeline, Request, SubmitError};
use domain::ids::KeyId;
use eventlog::testing::TestDatabase;
use eventlog::vault::{MasterKey, Vault};
use eventlog::{Log, LogConfig, testing};
use identity::Credential;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Engine;
use crate::courier::{Courier, Reply, Who};

pub struct Hall {
    pub log: Log,
    pub pipeline: Pipeline,
    /// On PostgreSQL: where it is.
    pub database: Option<TestDatabase>,
    principal: Who,
    next_key: AtomicU64,
    config: LogConfig,
    writer: JoinHandle<()>,
    _home: Option<tempfile::TempDir>,
}

impl Hall {
    /// A new city, founded.
    pub async fn open(engine: Engine) -> Self {
        let (config, database, home) = match engine {
            Engine::Sqlite => {
                let (home, config) = testing::sqlite(&projections::ddl::SQLITE).await;
                (config, None, Some(home))
            }
            Engine::Postgres => {
                let database = testing::postgres(&projections::ddl::POSTGRES).await;
                (database.config(), Some(database), None)
            }
        };
        let (log, pipeline, writer) = begin(config.clone()).await;
        let key = KeyId::from_bits(1);
        let (principal, next_key) = (Who(key.to_string()), AtomicU64::new(2));
        let hall = Self { log, pipeline, database, principal, next_key, config, writer, _home: home };
        let found = json!({"name": "First principal", "key": key, "verifier": "00".repeat(32)});
        let request = Request::parse(Credential::System, "city.found", found).unwrap();
        let answer = hall.pipeline.submit(request).await.unwrap();
        assert!(!answer.is_rejected(), "{answer:?}");
        hall
    }

    /// The same city with a writer that remembers nothing.
    pub async fn reopened(self) -> Self {
        let Self { log, pipeline, database, principal, next_key, config, writer, _home } = self;
        drop(pipeline);
        writer.await.unwrap();
        drop(log);
        let (log, pipeline, writer) = begin(config.clone()).await;
        Self { log, pipeline, database, principal, next_key, config, writer, _home }
    }

    /// Sends a command and hears why it could not be settled, if it could not.
    pub async fn submit(&self, who: &Who, action: &str, body: Value, key: Option<&str>) -> Result<Reply, SubmitError> {
        let credential = Credential::Key(who.0.parse().unwrap());
        let mut request = Request::parse(credential, action, body).unwrap_or_else(|error| panic!("{action}: {error}"));
        request.idempotency_key = key.map(str::to_owned);
        let answer = self.pipeline.submit(request).await?;
        let body = serde_json::to_value(&answer).unwrap();
        let status = match body["outcome"].as_str() {
            Some("proposed") => 202,
            Some("rejected") => 422,
            _ => 200,
        };
        Ok(Reply { replayed: answer.replayed, ..Reply::of(status, body) })
    }
}

/// A writer on a log that is there already.
pub async fn start(config: LogConfig) -> (Log, Pipeline) {
    let (log, pipeline, _writer) = begin(config).await;
    (log, pipeline)
}

async fn begin(config: LogConfig) -> (Log, Pipeline, JoinHandle<()>) {
    let log = Log::open(config).await.unwrap();
    let vault = Arc::new(Vault::new(MasterKey::from_bytes([7; 32])));
    let (pipeline, writer) = Pipeline::start(&log, vault, Config::default()).await.unwrap();
    (log, pipeline, writer)
}

impl Courier for Hall {
    async fn send(&self, who: &Who, action: &str, body: Value, key: Option<&str>) -> Reply {
        match self.submit(who, action, body, key).await {
            Ok(reply) => reply,
            Err(error) => Reply { status: 503, outcome: error.to_string(), ..Reply::default() },
        }
    }

    fn principal(&self) -> Who {
        self.principal.clone()
    }

    async fn issue_key(&self, citizen: &str) -> Who {
        let key = KeyId::from_bits(u128::from(self.next_key.fetch_add(1, Ordering::Relaxed)));
        let body = json!({"citizen": citizen, "key": key, "verifier": "00".repeat(32)});
        self.ask(&self.principal, "key.issue", body).await.accepted();
        Who(key.to_string())
    }
}
