//! Both sets of tables folded side by side, each in a task of its own, from one reading of the log.

use std::sync::Arc;

use eventlog::{Failure, Log};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::scratch::Scratch;
use super::{Progress, source};
use crate::guards::GuardTables;
use crate::projector::Tables;
use crate::recorded::Recorded;
use crate::views::ViewTables;

/// Guards and views made from the log, each up to a size of its own.
pub(super) struct Both {
    pub(super) guards: Scratch<GuardTables>,
    pub(super) views: Scratch<ViewTables>,
}

impl Both {
    /// Folds what is missing, guards below position `guards_end` and views below `views_end`.
    ///
    /// # Errors
    /// When an entry cannot be understood or a table cannot be written. What was made until then is gone.
    pub(super) async fn feed(
        self,
        log: &Log,
        (guards_end, views_end): (u64, u64),
        progress: Progress<'_>,
    ) -> Result<Self, Failure> {
        let (from, until) = (self.guards.size().min(self.views.size()), guards_end.max(views_end));
        let (to_guards, guards) = fold(self.guards, guards_end);
        let (to_views, views) = fold(self.views, views_end);
        let mut batches = std::pin::pin!(source::read(log, from, until));
        while let Some(events) = batches.next().await {
            let events = Arc::new(events?);
            let done = events.last().map_or(from, |recorded| recorded.position + 1);
            // Whoever listens no more has failed, and says why below.
            if to_guards.send(Arc::clone(&events)).await.is_err() || to_views.send(events).await.is_err() {
                break;
            }
            progress(done, until);
        }
        drop((to_guards, to_views));
        Ok(Self { guards: joined(guards).await?, views: joined(views).await? })
    }
}

type Folding<T> = JoinHandle<Result<Scratch<T>, Failure>>;

fn fold<T: Tables + 'static>(mut scratch: Scratch<T>, end: u64) -> (mpsc::Sender<Arc<Vec<Recorded>>>, Folding<T>) {
    let (sender, mut receiver) = mpsc::channel::<Arc<Vec<Recorded>>>(1);
    let folding = tokio::spawn(async move {
        while let Some(events) = receiver.recv().await {
            let below = events.partition_point(|recorded| recorded.position < end);
            scratch.feed(&events[..below]).await?;
        }
        Ok(scratch)
    });
    (sender, folding)
}

async fn joined<T>(folding: Folding<T>) -> Result<Scratch<T>, Failure> {
    folding.await.map_err(|error| Failure::System(format!("replay: {error}")))?
}
