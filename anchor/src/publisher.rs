//! Follows the log and publishes it: tiles, bundles, packs, and a signed checkpoint over them.

use std::sync::Arc;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::entry::entry_hash;
use chain::tile::{BundleId, FULL_WIDTH, TileId, TiledHashes};
use chain::tree::{consistency_proof, verify_consistency};
use eventlog::{Log, Seat, Stored};

use crate::AnchorError;
use crate::error::blocking;
use crate::files::{self, Pending};
use crate::growth::Growth;
use crate::layout::Layout;
use crate::signing::{Signed, SigningState};
use crate::signing_keys::SigningKeys;

/// Entries read at a time.
const CHUNK: usize = 1024;
/// Full files written at a time.
const FLUSH: usize = 96;

/// The stream of the log's own entries, which alone are no growth.
pub const OWN_STREAM: &str = "log";

/// The one who signs. Never reads an entry twice, unless its own files are gone.
pub struct Publisher {
    log: Log,
    keys: Arc<SigningKeys>,
    /// The policy that is shown.
    policy: String,
    layout: Layout,
    signing: SigningState,
    growth: Growth,
    /// Hash of the last published entry: the database must go on having it.
    tip: Option<Hash>,
    /// The note that is shown: the last signed one, with the cosignatures that came for it.
    shown: Option<String>,
    /// Full files that are not durable yet.
    pending: Vec<Pending>,
    /// Whether anything but the log's own entries came since the last signature.
    grown: bool,
    /// Once the log contradicted what was published, nothing is signed any more until somebody has looked.
    refused: Option<String>,
}

impl Publisher {
    /// Takes up where the published files end. When they are gone, they are made again from the log.
    pub async fn open(
        log: Log,
        keys: Arc<SigningKeys>,
        layout: Layout,
        signing: SigningState,
    ) -> Result<Self, AnchorError> {
        let signed = signing.checkpoint().cloned();
        let place = layout.clone();
        let growth = blocking(move || Ok((restore(&place, signed.as_ref()), place.checkpoint()?)));
        let ((growth, tip), published) = growth.await?;
        // Nothing is signed before the log was compared with what is known from outside: tiles that continue the signed ones
        // are no proof that the database does.
        let refused = Some("the log was not yet compared with what was signed about it".to_owned());
        let (shown, pending) = (None, Vec::new());
        let mut publisher = Self {
            log,
            keys,
            policy: String::new(),
            layout,
            signing,
            growth,
            tip,
            shown,
            pending,
            grown: false,
            refused,
        };
        publisher.announce().await?;
        // Died between signing and showing: what was signed is shown now. It must not be forgotten, only its file was late.
        let has_files =
            publisher.growth.size() > 0 || publisher.signing.checkpoint().is_some_and(|last| last.size == 0);
        if let Some(note) = publisher.signing.note().filter(|_| has_files) {
            // What was published may have more: the lines of witnesses.
            let note = published.filter(|shown| shown.starts_with(note)).unwrap_or_else(|| note.to_owned());
            publisher.show(note, false).await?;
        }
        Ok(publisher)
    }

    /// The log was compared with every known checkpoint: `refused` says why it may not be published, if so.
    pub fn compared(&mut self, refused: Option<String>) {
        self.refused = refused;
    }

    /// Why nothing may be signed, if so.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The newest signed checkpoint and its note, with the log's own line alone.
    pub fn signed(&self) -> Option<(&Checkpoint, &str)> {
        Some((self.signing.checkpoint()?, self.signing.note()?))
    }

    /// The newest signed checkpoint, and its note with the cosignatures that are shown.
    pub fn last(&self) -> Option<(&Checkpoint, &str)> {
        let (checkpoint, signed) = self.signed()?;
        // What is shown may still be the one before.
        let shown = self.shown.as_deref().filter(|shown| shown.starts_with(signed));
        Some((checkpoint, shown.unwrap_or(signed)))
    }

    /// Makes everything up to the head durable, and signs when the log has grown, or when `always`. What was signed is shown by
    /// [`Publisher::show`], which is another step because witnesses are asked between.
    ///
    /// Only whole batches are covered: a checkpoint never falls into the middle of one.
    pub async fn publish(&mut self, seat: &mut Seat, always: bool) -> Result<bool, AnchorError> {
        if let Some(reason) = &self.refused {
            return Err(AnchorError::Fork(reason.clone()));
        }
        let result = self.try_publish(seat, always).await;
        if let Err(error) = &result
            && error.is_alarming()
        {
            tracing::error!(%error, "nothing is signed any more");
            metrics::counter!("guildhall_signing_refused_total").increment(1);
            self.refused = Some(error.to_string());
        }
        result
    }

    async fn try_publish(&mut self, seat: &mut Seat, always: bool) -> Result<bool, AnchorError> {
        let head = self.log.head().await?;
        if head.epoch < self.signing.epoch() {
            return Err(AnchorError::Fenced { ours: head.epoch, signed: self.signing.epoch() });
        }
        let signed = self.signing.checkpoint().map_or(0, |last| last.size);
        if head.size < signed.max(self.growth.size()) {
            return Err(AnchorError::Fork(format!(
                "the log has {} entries, {} were published",
                head.size,
                signed.max(self.growth.size())
            )));
        }
        self.same_log().await?;
        self.catch_up(head.size).await?;
        metrics::gauge!("guildhall_published_size").set(approximate(head.size));
        if !self.grown && !always {
            return Ok(false);
        }
        // The last look before something is signed that cannot be taken back.
        seat.check().await?;
        self.sign(seat.epoch()).await?;
        Ok(true)
    }

    /// The last published entry is still where it was: the connection did not lead to another database meanwhile.
    async fn same_log(&self) -> Result<(), AnchorError> {
        let (Some(tip), Some(position)) = (self.tip, self.growth.size().checked_sub(1)) else { return Ok(()) };
        match self.log.read(position, 1).await?.first() {
            Some(entry) if entry.hash == tip => Ok(()),
            _ => Err(AnchorError::Fork(format!("position {position} is not the entry that was published"))),
        }
    }

    async fn catch_up(&mut self, size: u64) -> Result<(), AnchorError> {
        self.flush().await?;
        while self.growth.size() < size {
            let from = self.growth.size();
            let limit = usize::try_from(size - from).map_or(CHUNK, |left| left.min(CHUNK));
            let entries = self.log.read(from, limit).await?;
            if entries.is_empty() {
                return Err(AnchorError::Fork(format!(
                    "position {from} is not in the log, although its head is {size}"
                )));
            }
            for entry in &entries {
                self.push(entry)?;
            }
            if self.pending.len() >= FLUSH {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    fn push(&mut self, entry: &Stored) -> Result<(), AnchorError> {
        // What goes out is computed from the bytes: a column that lies does not reach the tree.
        if entry.position != self.growth.size()
            || entry_hash(self.log.origin(), &entry.prev, &entry.bytes) != entry.hash
        {
            return Err(AnchorError::Damaged(entry.position));
        }
        self.growth.push(&self.layout, entry, &mut self.pending);
        self.tip = Some(entry.hash);
        self.grown |= entry.stream != OWN_STREAM;
        let signed = self.signing.checkpoint();
        match signed.filter(|signed| signed.size == self.growth.size() && signed.root != self.growth.root()) {
            Some(signed) => Err(AnchorError::Fork(format!("the root at size {} is not the signed one", signed.size))),
            None => Ok(()),
        }
    }

    /// Makes full files durable. They stay pending until they are: after a failure they are written again.
    async fn flush(&mut self) -> Result<(), AnchorError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let (pending, result) = blocking(move || {
            let result = files::publish(&pending);
            Ok((pending, result))
        })
        .await?;
        if result.is_err() {
            self.pending = pending;
        }
        result
    }

    /// Stage, sign, swap.
    async fn sign(&mut self, epoch: i64) -> Result<(), AnchorError> {
        // Stage: every file of this size is durable. A crash after this leaves files that no checkpoint speaks of yet; the
        // next run finds them and compares.
        let partial = self.growth.partial(&self.layout);
        blocking(move || files::publish(&partial)).await?;
        let checkpoint =
            Checkpoint { origin: self.log.origin().to_owned(), size: self.growth.size(), root: self.growth.root() };
        self.refuse_fork(&checkpoint).await?;
        // Sign and swap: the state is durable before anybody sees the note. A crash before this has signed nothing; a crash
        // after it shows the note at the next start, so that whatever was signed also counts.
        let note = self.keys.sign_checkpoint(&checkpoint).await?;
        self.announce().await?;
        self.signing.remember(Signed { epoch, note }, checkpoint)?;
        self.grown = false;
        Ok(())
    }

    /// Says which keys are in force, when others are than before. A crash before this says it at the next start.
    async fn announce(&mut self) -> Result<(), AnchorError> {
        let policy = self.keys.published_policy();
        if policy == self.policy {
            return Ok(());
        }
        let (layout, text) = (self.layout.clone(), policy.clone());
        let vkey = self.keys.newest().map(|key| format!("{}\n", key.vkey()));
        blocking(move || {
            files::replace(&layout.place("policy"), text.as_bytes())?;
            vkey.map_or(Ok(()), |vkey| files::replace(&layout.place("vkey"), vkey.as_bytes()))
        })
        .await?;
        self.policy = policy;
        Ok(())
    }

    /// Proves from the published tiles that the new tree continues the last signed one.
    async fn refuse_fork(&self, new: &Checkpoint) -> Result<(), AnchorError> {
        let Some(old) = self.signing.checkpoint().cloned() else { return Ok(()) };
        let (layout, new) = (self.layout.clone(), new.clone());
        blocking(move || {
            if new.size < old.size {
                return Err(AnchorError::Fork(format!("{} entries after {} were signed", new.size, old.size)));
            }
            let tiles = TiledHashes::new(new.size, |id: &TileId| layout.tile(id));
            let proof =
                consistency_proof(&tiles, old.size, new.size).map_err(|error| AnchorError::Fork(error.to_string()))?;
            if verify_consistency(old.size, &old.root, new.size, &new.root, &proof) {
                Ok(())
            } else {
                Err(AnchorError::Fork(format!(
                    "the tree of {} entries does not continue the signed one of {}",
                    new.size, old.size
                )))
            }
        })
        .await
    }

    /// Writes the signed note, or the same with more cosignatures, and reads it back: from here on others hold us to it.
    /// With `witnessed`, also as the newest one that its quorum cosigned.
    pub async fn show(&mut self, note: String, witnessed: bool) -> Result<(), AnchorError> {
        if self.shown.as_ref() == Some(&note) {
            return Ok(());
        }
        let (layout, bytes) = (self.layout.clone(), note.clone());
        blocking(move || {
            if witnessed {
                // First: a proof is taken from here when it can be, and its entry is there from the other one on.
                files::replace(&layout.place("witnessed"), bytes.as_bytes())?;
            }
            let path = layout.place("checkpoint");
            files::replace(&path, bytes.as_bytes())?;
            match files::read(&path)? {
                Some(back) if back == bytes.as_bytes() => Ok(()),
                _ => Err(AnchorError::unreadable("checkpoint", "what was written does not read back")),
            }
        })
        .await?;
        self.shown = Some(note);
        // Only now nobody needs the partial files of runs that are full. A crash before this leaves them lying, which is
        // harmless: they are the beginnings of the full ones.
        let (layout, full) = (self.layout.clone(), self.growth.take_full());
        blocking(move || full.iter().try_for_each(|path| files::remove_folder(&layout.place(&format!("{path}.p")))))
            .await
    }
}

/// The right edge of the files that belong to the signed checkpoint; the empty one when they are gone or not its own, so that
/// everything is compared with the log again.
fn restore(layout: &Layout, signed: Option<&Checkpoint>) -> (Growth, Option<Hash>) {
    let Some(signed) = signed else { return Default::default() };
    let restored =
        Growth::restore(layout, signed.size).and_then(|growth| Ok((growth, last_leaf(layout, signed.size)?)));
    match restored {
        Ok((growth, tip)) if growth.root() == signed.root => (growth, tip),
        Ok(_) => {
            tracing::warn!(
                size = signed.size,
                "the published tiles are not those of the signed checkpoint: reading the log from its beginning"
            );
            Default::default()
        }
        Err(error) => {
            tracing::warn!(%error, "published files are missing: reading the log from its beginning");
            Default::default()
        }
    }
}

fn last_leaf(layout: &Layout, size: u64) -> Result<Option<Hash>, AnchorError> {
    let Some(position) = size.checked_sub(1) else { return Ok(None) };
    let (index, width) = (position / u64::from(FULL_WIDTH), position % u64::from(FULL_WIDTH) + 1);
    let width = u16::try_from(width).unwrap_or(FULL_WIDTH);
    Ok(layout.bundle(&BundleId { index, width })?.last().copied())
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
pub fn approximate(size: u64) -> f64 {
    size as f64
}
