//! Streams folded ahead by a thread that yields to all others: reading what was ever attested takes the time that is left over.

use std::collections::HashMap;
use std::thread;

use anyhow::Context as _;
use commands::Folded;
use domain::Time;
use domain::ids::{CitizenId, ReputationId, Stream};
use eventlog::Log;
use tokio::sync::{mpsc, oneshot};

/// The lowest priority there is, which those whom this thread starts inherit.
const NICE: i32 = 19;

pub type Streams = HashMap<Stream, Folded>;

struct Ask {
    holders: Vec<CitizenId>,
    as_of: Time,
    reply: oneshot::Sender<anyhow::Result<Streams>>,
}

/// Such a thread, with a connection of its own. It ends when every clone of this is dropped.
#[derive(Clone)]
pub struct Side(mpsc::UnboundedSender<Ask>);

impl Side {
    /// # Errors
    /// The system has no thread left.
    pub fn start(log: Log) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (asks, asked) = mpsc::unbounded_channel();
        let work = move || {
            // Elsewhere it would be the priority of the whole server. Without it the work is done all the same.
            if cfg!(target_os = "linux")
                && let Err(error) = rustix::process::nice(NICE)
            {
                tracing::debug!(%error, "a thread keeps its priority");
            }
            runtime.block_on(answer_all(log, asked));
        };
        thread::Builder::new().name("fold-ahead".to_owned()).spawn(work)?;
        Ok(Self(asks))
    }

    /// What is recorded of the reputations of these, with what it says at a time. Whoever asks waits before asking for much more: nothing here bounds the queue.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn fold(&self, holders: Vec<CitizenId>, as_of: Time) -> anyhow::Result<Streams> {
        let (reply, folded) = oneshot::channel();
        let _ = self.0.send(Ask { holders, as_of, reply });
        folded.await.context("what folds ahead has ended")?
    }
}

async fn answer_all(log: Log, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let mut conn = None;
    while let Some(Ask { holders, as_of, reply }) = asked.recv().await {
        let folded = async {
            let conn = match &mut conn {
                Some(conn) => conn,
                none => none.insert(log.beside().await?),
            };
            let streams = holders.into_iter().map(|holder| Stream::Reputation(ReputationId::of(holder))).collect();
            let mut folded = commands::fold(conn, &streams).await?;
            folded.values_mut().for_each(|one| one.reckon_ahead(as_of));
            anyhow::Ok(folded)
        };
        // Whoever asked may be gone.
        let _ = reply.send(folded.await);
    }
}
