//! Commands that wait until others leave room: what is computed at night must not be noticed by those who ask meanwhile.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::pipeline::Job;

/// While others ask, these get one part in so many of the writer's time: less than one in a hundred of those who ask ever waits for them.
const SHARE: u32 = 200;
/// In one batch while others ask, who may have to wait for it.
const FEW: usize = 4;
/// In one batch while nobody does.
const MANY: usize = 64;
/// Somebody who asked less than this ago will ask again.
const SOON: Duration = Duration::from_secs(1);
/// The longest pause, however long a batch took.
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) struct Behind {
    jobs: mpsc::Receiver<Job>,
    /// When somebody else last did.
    asked: Option<Instant>,
    not_before: Instant,
}

impl Behind {
    pub(crate) fn new(jobs: mpsc::Receiver<Job>) -> Self {
        Self { jobs, asked: None, not_before: Instant::now() }
    }

    /// Others have asked something.
    pub(crate) fn others_asked(&mut self) {
        self.asked = Some(Instant::now());
    }

    /// The next batch, when it is its turn. Nothing is lost when this is given up before it is done.
    pub(crate) async fn next(&mut self) -> Vec<Job> {
        sleep_until(self.not_before).await;
        let Some(first) = self.jobs.recv().await else { return std::future::pending().await };
        let most = if self.is_alone() { MANY } else { FEW };
        let mut batch = vec![first];
        while batch.len() < most {
            let Ok(job) = self.jobs.try_recv() else { break };
            batch.push(job);
        }
        batch
    }

    /// A batch of these kept the writer for so long.
    pub(crate) fn took(&mut self, time: Duration) {
        if !self.is_alone() {
            self.not_before = Instant::now() + (time * (SHARE - 1)).min(LONGEST);
        }
    }

    /// Nobody else has asked for anything lately.
    pub(crate) fn is_alone(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() > SOON)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::{Weight, Work};

    fn behind(count: usize) -> Behind {
        let (sender, receiver) = mpsc::channel(2 * MANY);
        for _ in 0..count {
            let work = Work::Record {
                stream: "log",
                kind: "log.tested.v1".to_owned(),
                data: serde_json::Value::Null,
                despite: None,
            };
            let id = domain::ids::CommandId::from_bits(1);
            let (reply, _) = tokio::sync::oneshot::channel();
            let queued = std::time::Instant::now();
            sender.try_send(Job { weight: Weight::default(), work, id, seed: [0; 32], queued, reply }).unwrap();
        }
        Behind::new(receiver)
    }

    #[tokio::test(start_paused = true)]
    async fn alone_they_come_many_at_once_and_without_a_pause() {
        let mut behind = behind(MANY + 8);
        let start = Instant::now();
        assert_eq!(behind.next().await.len(), MANY);
        behind.took(Duration::from_millis(20));
        assert_eq!(behind.next().await.len(), 8);
        assert_eq!(Instant::now(), start);
    }

    #[tokio::test(start_paused = true)]
    async fn while_others_ask_they_are_few_and_take_little_of_the_time() {
        let mut behind = behind(40);
        behind.others_asked();
        let start = Instant::now();
        assert_eq!(behind.next().await.len(), FEW);
        behind.took(Duration::from_millis(20));
        let pause = Duration::from_millis(20) * (SHARE - 1);
        sleep_until(start + pause - SOON / 2).await;
        behind.others_asked();
        assert_eq!(behind.next().await.len(), FEW);
        assert_eq!(Instant::now() - start, pause);
        behind.took(Duration::from_secs(60));
        assert_eq!(behind.next().await.len(), 40 - 2 * FEW, "those who asked have gone");
        assert_eq!(Instant::now() - start, pause + LONGEST, "one slow batch is no long pause");
    }
}
