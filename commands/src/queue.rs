//! What is settled right behind the batch that is being committed.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::behind::Behind;
use crate::pipeline::Job;

/// A batch that has this much text takes no further command: it is one statement and one commit.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Fewer commands than this are better off together: a commit costs as much for one.
const WORTH_HALVING: usize = 8;

pub(crate) enum Queue<'a> {
    /// Of those who wait for their answer.
    Front(&'a mut mpsc::Receiver<Job>),
    /// Of what waits behind them, as long as nobody has been in front lately.
    Behind { behind: &'a mut Behind, front: &'a mpsc::Receiver<Job> },
    /// Nothing is to follow.
    None,
}

impl Queue<'_> {
    /// The beginning of the next batch, once there is one. Nothing is lost when this is given up before it is done.
    pub(crate) async fn first(&mut self) -> Vec<Job> {
        let jobs = match self {
            Self::Front(jobs) => jobs.recv().await.map(|job| vec![job]),
            Self::Behind { behind, front } if front.is_empty() && behind.is_alone() => Some(behind.next().await),
            Self::Behind { .. } | Self::None => None,
        };
        match jobs {
            Some(jobs) => jobs,
            None => std::future::pending().await,
        }
    }

    /// All of the batch that begins so.
    pub(crate) async fn more(&mut self, mut first: Vec<Job>, under_way: &AtomicUsize, most: usize) -> Vec<Job> {
        match (self, first.pop()) {
            (Self::Front(jobs), Some(job)) => gather(job, jobs, under_way, most).await,
            (_, last) => {
                first.extend(last);
                first
            }
        }
    }
}

/// This job and those that wait behind it. There is no timer: those who were just answered get one turn to ask again.
///
/// Of many, only half of all that are under way: the other half is decided while this one commits. Callers who wait for an answer before
/// they ask again would otherwise all be in one batch, and deciding and committing would take turns.
pub(crate) async fn gather(
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    under_way: &AtomicUsize,
    most: usize,
) -> Vec<Job> {
    let mut bytes = first.weight.bytes;
    let mut jobs = vec![first];
    loop {
        let before = jobs.len();
        let half = under_way.load(Ordering::Relaxed).div_ceil(2);
        let most = if half < WORTH_HALVING { most } else { most.min(half) };
        while jobs.len() < most && bytes < MAX_BATCH_BYTES {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.weight.bytes;
            jobs.push(job);
        }
        if jobs.len() == before || jobs.len() >= most || bytes >= MAX_BATCH_BYTES {
            return jobs;
        }
        tokio::task::yield_now().await;
    }
}
