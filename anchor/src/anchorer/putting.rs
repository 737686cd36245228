//! What is put into the store, under names that somebody else may have been first with.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Anchorer, Staged};
use crate::AnchorError;
use crate::anchor_format::Anchor;
use crate::error::blocking;
use crate::genuine;
use crate::layout::Layout;
use crate::store::{Retention, Store, Written};

/// Files on their way to the store at a time.
const IN_FLIGHT: usize = 16;

impl Anchorer {
    /// Puts what the anchor lists.
    pub(super) async fn put_files(&self, anchor: &Anchor, retention: Retention) -> Result<(), AnchorError> {
        // Full files first: what is wrong with one of them no other size makes good.
        let (unfinished, full): (Vec<_>, Vec<_>) = anchor.files.keys().partition(|path| is_unfinished(path));
        for paths in [full, unfinished] {
            let put = |path: &String| put_file(Arc::clone(&self.store), self.layout.clone(), path.clone(), retention);
            let puts: Vec<_> = paths.into_iter().map(put).collect();
            stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        }
        Ok(())
    }

    /// Whether an earlier attempt wrote this anchor.
    pub(super) async fn is_there(&self, seq: u64, key: &str) -> Result<bool, AnchorError> {
        let found = genuine::of_number(self.store.as_ref(), seq, &self.keys).await?;
        Ok(found.anchors.iter().any(|found| found.key == key))
    }

    /// Puts the anchor itself.
    pub(super) async fn put_anchor(
        &self,
        seq: u64,
        staged: &Staged,
        retention: Retention,
    ) -> Result<Written, AnchorError> {
        // Nobody else's of this number: two keys of one number differ in the size, and would both be kept for ever.
        self.number_is_free(seq, &staged.key).await?;
        // The store reads it back before it says yes. A crash before this is on disk writes once more, the same bytes under the same key.
        let mut written = self.store.put(&staged.key, staged.body.clone().into_bytes(), retention).await;
        // An earlier attempt wrote it, and somebody has laid something over it since: it still stands for its key.
        if matches!(written, Err(AnchorError::OtherBytes(_))) && self.is_there(seq, &staged.key).await? {
            written = self.store.put_listed(&staged.key, staged.body.clone().into_bytes(), retention).await;
        }
        // Two that wrote at the same time see each other now, if they did not before; and so is seen who was faster under this very key.
        self.number_is_free(seq, &staged.key).await?;
        written
    }
}

async fn put_file(
    store: Arc<dyn Store>,
    layout: Layout,
    path: String,
    retention: Retention,
) -> Result<(), AnchorError> {
    let wanted = path.clone();
    let bytes = blocking(move || layout.expect(&wanted)).await?;
    store.put_listed(&path, bytes, retention).await.map(|_| ())
}

/// Whether this is the name of a file that is not full, which has another at the next size.
pub(super) fn is_unfinished(path: &str) -> bool {
    path.contains(".p/")
}
