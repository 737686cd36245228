//! What every store must keep, whatever it is made of: run by the tests against each of them.

#![allow(clippy::missing_panics_doc, reason = "a promise that is not kept is a panic")]

use jiff::Timestamp;

use super::{Mode, Put, Retention, Store, keys, strays};
use chain::hash::sha256;

/// Runs every promise against an empty store.
pub async fn holds(store: &dyn Store) {
    an_object_is_written_once(store).await;
    other_bytes_are_refused(store).await;
    what_was_never_written_is_not_there(store).await;
    keys_are_listed_by_prefix_in_order(store).await;
    nothing_lies_beside_what_was_written(store).await;
}

pub fn seven_years() -> Retention {
    Retention::from(Timestamp::now(), 7, 30).expect("the calendar goes on")
}

async fn put(store: &dyn Store, key: &str, bytes: &str) -> super::Written {
    store.put(key, bytes.into(), seven_years()).await.expect("a store takes what is new")
}

async fn an_object_is_written_once(store: &dyn Store) {
    let first = put(store, "once/a", "bytes").await;
    assert_eq!(first.put, Put::New);
    let again = put(store, "once/a", "bytes").await;
    assert_eq!(again.put, Put::Same, "the same bytes once more are no second version");
    assert_eq!(again.version, first.version);
    assert_eq!(store.versions("once/", None).await.expect("listed").len(), 1);
    let object = store.get("once/a", first.version.as_deref()).await.expect("read").expect("there");
    assert_eq!(
        (object.bytes.as_slice(), &object.version, object.lock),
        (b"bytes".as_slice(), &first.version, first.lock)
    );
    if let Some(lock) = first.lock {
        assert_eq!(lock.mode, Mode::Compliance);
        assert!(lock.until >= seven_years().at_least, "{lock:?}");
    }
}

async fn other_bytes_are_refused(store: &dyn Store) {
    put(store, "other/a", "bytes").await;
    let refused = store.put("other/a", "others".into(), seven_years()).await.expect_err("a key stands for its bytes");
    assert!(refused.is_alarming() && refused.to_string().contains("other/a holds other bytes"), "{refused}");
    let object = store.get("other/a", None).await.expect("read").expect("there");
    assert_eq!(object.bytes, b"bytes");
}

async fn what_was_never_written_is_not_there(store: &dyn Store) {
    assert_eq!(store.get("never/a", None).await.expect("read"), None);
    assert_eq!(store.versions("never/", None).await.expect("listed"), []);
}

async fn keys_are_listed_by_prefix_in_order(store: &dyn Store) {
    for key in ["list/b", "list/a-2", "list/a-1", "list/c/d", "lists/e"] {
        put(store, key, key).await;
    }
    assert_eq!(keys(store, "list/").await.expect("listed"), ["list/a-1", "list/a-2", "list/b", "list/c/d"]);
    assert_eq!(keys(store, "list/a-").await.expect("listed"), ["list/a-1", "list/a-2"]);
    let after = store.versions("list/", Some("list/a-2")).await.expect("listed");
    assert_eq!(after.iter().map(|version| version.key.as_str()).collect::<Vec<_>>(), ["list/b", "list/c/d"]);
}

async fn nothing_lies_beside_what_was_written(store: &dyn Store) {
    put(store, "alone/a", "bytes").await;
    put(store, "alone/ab", "a longer key").await;
    assert_eq!(strays(store, "alone/a", sha256(&[b"bytes"])).await.expect("listed"), Vec::<String>::new());
}
