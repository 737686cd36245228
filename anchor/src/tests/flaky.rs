//! A store that counts what it is asked, and fails when it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use crate::store::{Kind, Object, Page, Retention, Written};
use crate::{AnchorError, Directory, Store};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// It never arrives.
    Before,
    /// It is done, and nobody hears of it.
    After,
}

/// What was asked, in its order: the name of the call, and the key or prefix.
pub type Asked = Vec<(&'static str, String)>;

pub struct Flaky {
    pub inside: Directory,
    how: Fails,
    /// Calls until the one that fails, and all after it; negative when none does any more.
    left: AtomicI64,
    pub asked: Mutex<Asked>,
    /// Keys that were listed.
    pub listed: Mutex<usize>,
}

impl Flaky {
    /// Serves so many calls and then no more, until it is mended.
    pub fn failing_after(inside: Directory, calls: i64, how: Fails) -> Self {
        Self { inside, how, left: AtomicI64::new(calls), asked: Mutex::default(), listed: Mutex::default() }
    }

    pub fn counting(inside: Directory) -> Self {
        Self::failing_after(inside, i64::MAX, Fails::Before)
    }

    /// From now on.
    pub fn fail_after(&self, calls: i64) {
        self.left.store(calls, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.fail_after(i64::MAX);
    }

    pub fn count(&self, call: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(name, _)| *name == call).count()
    }

    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
        *self.listed.lock().unwrap() = 0;
    }

    async fn serve<T>(
        &self,
        call: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, AnchorError>> + Send,
    ) -> Result<T, AnchorError> {
        self.asked.lock().unwrap().push((call, key.to_owned()));
        let fails = self.left.fetch_sub(1, Ordering::SeqCst) <= 0;
        if fails && self.how == Fails::After {
            let _ = work.await;
        } else if !fails {
            return work.await;
        }
        Err(AnchorError::Unreachable("the network is away".to_owned()))
    }
}

#[async_trait]
impl Store for Flaky {
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
        self.serve("put", key, self.inside.put(key, bytes, retention)).await
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        self.serve("get", key, self.inside.get(key, version)).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let found = self.serve("page", prefix, self.inside.page(prefix, after)).await?;
        *self.listed.lock().unwrap() += found.versions.len();
        Ok(found)
    }
}
