//! What the service does with the heads of streams: commits to them before it anchors, and proves one stream.

use std::path::Path;
use std::sync::Arc;

use chain::heads::Commitment;
use eventlog::Seat;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Service;
use crate::AnchorError;
use crate::error::blocking;
use crate::heads::{HEADS_COMMITTED, StreamHeads};
use crate::stream_package::{self, Package, StreamExported};

impl Service {
    /// Has the log say what the heads of all streams are, if one moved that is not the log's own, and publishes that it does. An idle
    /// city so appends nothing. What goes wrong is shown in the status and keeps nobody from anchoring.
    pub async fn commit_heads(&self) -> Result<(), AnchorError> {
        let recorded = self.record_heads().await;
        if self.note_in(&self.heads_trouble, "committing to heads", recorded)? {
            self.publish(true).await?;
        }
        Ok(())
    }

    /// Writes everything from which an auditor can tell, without the rest of the log, that this is all of a stream and where it ends.
    pub async fn export_stream(&self, stream: &str, out: &Path) -> Result<StreamExported, AnchorError> {
        self.publish(false).await?;
        self.commit_heads().await?;
        let last = self.publisher.lock().await.last().map(|(checkpoint, note)| (checkpoint.clone(), note.to_owned()));
        let (checkpoint, note) = last.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published"))?;
        let (mut heads, size, name) = (self.heads().await?, checkpoint.size, stream.to_owned());
        let proved = blocking(move || {
            heads.read_to(size)?;
            Ok(heads.prove(&name))
        });
        let (on_record, head) = proved.await?.ok_or_else(|| {
            AnchorError::unreadable(HEADS_COMMITTED, "the published log does not have the last commitment yet")
        })?;
        let package = Package { stream: stream.to_owned(), checkpoint, note, on_record, head };
        stream_package::write(&self.log, &self.layout, package, out).await
    }

    pub(super) async fn heads(&self) -> Result<OwnedMutexGuard<StreamHeads>, AnchorError> {
        let opened = self.heads.get_or_try_init(async || {
            let (folder, layout) = (self.config.data_dir.join("heads"), self.layout.clone());
            let origin = self.log.origin().to_owned();
            let heads = blocking(move || StreamHeads::open(folder, layout, &origin)).await?;
            Ok::<_, AnchorError>(Arc::new(Mutex::new(heads)))
        });
        Ok(Arc::clone(opened.await?).lock_owned().await)
    }

    pub(super) async fn published(&self) -> u64 {
        self.publisher.lock().await.last().map_or(0, |last| last.0.size)
    }

    async fn record_heads(&self) -> Result<bool, AnchorError> {
        // Before the seat is asked for: nobody else waits while much is read.
        let (mut heads, size) = (self.heads().await?, self.published().await);
        blocking(move || heads.read_to(size)).await?;
        let mut seat = self.seat.lock().await;
        let mut held = self.sit(&mut seat).await?;
        let recorded = self.record_heads_seated(&mut held).await;
        *seat = Some(held);
        recorded
    }

    async fn record_heads_seated(&self, seat: &mut Seat) -> Result<bool, AnchorError> {
        let (mut heads, size) = (self.heads().await?, self.published().await);
        // Saved before it is said: a crash between the two leaves a tree that the log does not speak of, and the next run says it again.
        let commitment: Option<Commitment> = blocking(move || {
            heads.read_to(size)?;
            if heads.is_due() { heads.commit().map(Some) } else { Ok(None) }
        })
        .await?;
        let Some(commitment) = commitment else { return Ok(false) };
        let data = serde_json::to_value(commitment).map_err(|error| AnchorError::unreadable(HEADS_COMMITTED, error))?;
        // Whoever was overtaken must not speak of an older size after the other has of a newer one. Should it happen all the same,
        // what comes too late commits to nothing.
        seat.check().await?;
        self.recorder.record(HEADS_COMMITTED, data).await?;
        Ok(true)
    }
}
