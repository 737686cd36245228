//! A store that takes requests and answers none: a start waits for it a little, and looks once it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Pen, held, service};
use crate::store::{Kind, Object, Page, Retention, Written};
use crate::{AnchorError, Config, Directory, Service, Store, Verdict};

struct Hanging {
    inside: Directory,
    hangs: AtomicBool,
}

#[async_trait]
impl Store for Hanging {
    fn kind(&self) -> Kind {
        self.inside.kind()
    }

    fn place(&self) -> String {
        self.inside.place()
    }

    fn guarantee(&self) -> &'static str {
        self.inside.guarantee()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        self.inside.put(key, bytes, retention).await
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        self.inside.get(key, version).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inside.page(prefix, after).await
    }
}

#[tokio::test]
async fn a_start_waits_a_little_for_a_store_that_hangs_and_looks_once_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    pen.write(20, "a").await;
    service(dir.path(), &pen).await.anchor_now().await.unwrap();
    let inside = Directory::new(dir.path().join("store"));
    let store = Arc::new(Hanging { inside, hangs: AtomicBool::new(true) });
    let open = async || {
        let config = Config { patience: Duration::from_millis(200), ..Config::new(dir.path()) };
        let store = Arc::<Hanging>::clone(&store);
        Service::open(config, pen.log.clone(), held(&pen.log).await, store, pen.clone()).await.unwrap()
    };
    let waiting = open().await;
    let began = Instant::now();
    assert_eq!(waiting.startup_check().await.unwrap(), Verdict::Good);
    assert!(began.elapsed() < Duration::from_secs(20));
    let status = tokio::time::timeout(Duration::from_secs(20), waiting.status()).await.unwrap().unwrap();
    assert!(status.unseen.unwrap().contains("no answer within"), "and it is said");

    // What the anchors say counts once it can be seen.
    store.hangs.store(false, Ordering::SeqCst);
    assert_eq!(waiting.compare_with_anchors().await.unwrap(), Verdict::Good);
    assert_eq!(*waiting.unseen().borrow(), None);
    let (name, bytes) = super::strays::forged(1, 10, &super::key());
    std::fs::write(dir.path().join("store").join(&name), bytes).unwrap();
    let verdict = waiting.compare_with_anchors().await.unwrap();
    assert!(verdict.refusal().unwrap().contains(&name), "{verdict:?}");
    assert!(matches!(waiting.publish(true).await, Err(AnchorError::Fork(_))));
    drop(waiting);
    std::fs::remove_file(dir.path().join("store").join(&name)).unwrap();

    // Without a memory of what was signed there is nothing else to compare with, and it says where it looked and what to do.
    store.hangs.store(true, Ordering::SeqCst);
    std::fs::remove_dir_all(dir.path().join("signing")).unwrap();
    let refused = open().await.startup_check().await.unwrap_err();
    assert!(matches!(refused, AnchorError::Unreachable(_)));
    let place = dir.path().join("store").display().to_string();
    for words in [place.as_str(), "no answer within", "bring the store back"] {
        assert!(refused.to_string().contains(words), "{refused}");
    }
}
