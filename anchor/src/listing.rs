//! Every anchor in a store, what is missing among them, and what lies there besides.

use std::ops::Range;

use chain::hash::sha256;

use crate::AnchorError;
use crate::anchor_format::{Anchored, Listed, Row};
use crate::genuine::{self, FOLDER, Genuine, Sort};
use crate::signing_keys::SigningKeys;
use crate::store::{self, Store};

/// Missing numbers named in one place of a list.
const ROWS: usize = 1000;

/// `on_record` is how many anchors there must be.
pub(crate) async fn list(store: &dyn Store, keys: &SigningKeys, on_record: u64) -> Result<Vec<Row>, AnchorError> {
    let (mut rows, mut next) = (Vec::new(), 0);
    for key in store::keys(store, FOLDER).await? {
        match genuine::look(store, &key, keys).await? {
            Some(Sort::Anchor(found)) => {
                let listed = listed(store, *found).await?;
                rows.extend(missing(next..listed.seq));
                next = next.max(listed.seq + 1);
                rows.push(Row::Anchor(listed));
            }
            Some(Sort::Stray(stray)) => rows.push(Row::Stray { key, stray }),
            None => {}
        }
    }
    rows.extend(missing(next..on_record));
    Ok(rows)
}

fn missing(numbers: Range<u64>) -> impl Iterator<Item = Row> {
    numbers.take(ROWS).map(|seq| Row::Missing { seq, missing: true })
}

async fn listed(store: &dyn Store, found: Genuine) -> Result<Listed, AnchorError> {
    let strays = store::strays(store, &found.key, sha256(&[&found.object.bytes])).await?;
    let (at, stamped) = (found.anchor.at.clone(), found.anchor.time.is_some());
    let Anchored { key, seq, size, sha256, version, mode, retain_until, .. } = found.recorded(store.kind());
    Ok(Listed { key, seq, size, at, stamped, sha256, version, mode, retain_until, strays })
}
