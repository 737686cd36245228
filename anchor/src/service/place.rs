//! The one place that publishes a log: finding out that this is it, and making it so.

use std::sync::atomic::Ordering;

use eventlog::Seat;

use super::Service;
use crate::AnchorError;
use crate::anchor_format::Anchored;

impl Service {
    /// Makes sure that nobody else publishes. A seat that cannot be asked for is given up, and taken anew the next time.
    pub(super) async fn sit(&self, seat: &mut Option<Seat>) -> Result<Seat, AnchorError> {
        if let Some(mut held) = seat.take() {
            held.check().await?;
            return Ok(held);
        }
        if let Some(reason) = self.publisher.lock().await.refused() {
            return Err(AnchorError::Fork(reason.to_owned()));
        }
        // Before sitting down, so that whoever published last goes on; and after it, because until then they could anchor once more.
        self.is_the_place().await?;
        let held = self.log.take_seat().await?.ok_or(AnchorError::Seated)?;
        self.is_the_place().await?;
        let anchorer = self.anchorer.lock().await;
        anchorer.record_last(self.on_record.lock().await.newest(&self.log).await?).await?;
        Ok(held)
    }

    /// The log was anchored from here last. Otherwise the next anchor could be the second of its number, and what another place signed
    /// since its last anchor is not known here, so that signing could contradict it.
    async fn is_the_place(&self) -> Result<(), AnchorError> {
        let anchorer = self.anchorer.lock().await;
        let mut on_record = self.on_record.lock().await;
        let recorded = on_record.newest(&self.log).await?;
        if anchorer.goes_on_from(recorded).await? { Ok(()) } else { Err(AnchorError::Elsewhere) }
    }

    /// Makes this the place that publishes: the operator says that the one before is gone for good. The log was compared with the
    /// anchors; what the other place signed after its last one is not known here. It anchors at once, so that the log says so.
    pub async fn adopt(&self) -> Result<Anchored, AnchorError> {
        {
            let _alone = self.alone.lock().await;
            self.take_place().await?;
        }
        self.anchor_now().await
    }

    async fn take_place(&self) -> Result<(), AnchorError> {
        let mut seat = self.seat.lock().await;
        if let Some(reason) = self.publisher.lock().await.refused() {
            return Err(AnchorError::Fork(reason.to_owned()));
        }
        let mut held = match seat.take() {
            Some(held) => held,
            None => self.log.take_seat().await?.ok_or(AnchorError::Seated)?,
        };
        held.check().await?;
        let mut anchorer = self.anchorer.lock().await;
        let mut on_record = self.on_record.lock().await;
        anchorer.adopt(on_record.newest(&self.log).await?).await?;
        *seat = Some(held);
        Ok(())
    }

    /// Whether another place publishes, as far as the last attempt showed.
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed)
    }
}
