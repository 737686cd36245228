//! A store with versions and markers in memory, which lists a few keys at a time and lets anybody put anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::store::{Kind, Lock, Mode, Object, Page, Put, Retention, Version, Written, most_bytes};
use crate::{Anchor, AnchorError, Store};

/// Keys in a page.
const PAGE: usize = 5;

/// The versions of a key, oldest first: a name, and bytes unless it is a marker.
type Versions = Vec<(String, Option<Vec<u8>>)>;

#[derive(Default)]
pub struct Shelf {
    kept: Mutex<(BTreeMap<String, Versions>, u64)>,
    pub gets: Mutex<Vec<String>>,
    /// What somebody puts there right before the first object of this prefix is written.
    pub faster: Mutex<Option<(&'static str, Vec<u8>)>>,
}

impl Shelf {
    fn kept(&self) -> MutexGuard<'_, (BTreeMap<String, Versions>, u64)> {
        self.kept.lock().unwrap()
    }

    /// Anybody puts bytes, or a marker, over whatever is there.
    pub fn lay(&self, key: &str, bytes: Option<&[u8]>) -> String {
        let mut kept = self.kept();
        kept.1 += 1;
        let name = format!("v{}", kept.1);
        kept.0.entry(key.to_owned()).or_default().push((name.clone(), bytes.map(<[u8]>::to_vec)));
        name
    }

    /// What only who runs the storage can do.
    pub fn destroy(&self, key: &str) {
        self.kept().0.remove(key).unwrap();
    }

    /// An earlier version than all there are.
    pub fn lay_before(&self, key: &str, bytes: &[u8]) -> String {
        let name = self.lay(key, Some(bytes));
        self.kept().0.get_mut(key).unwrap().rotate_right(1);
        name
    }

    fn write(&self, key: &str, bytes: Vec<u8>, retention: Retention, alone: bool) -> Result<Written, AnchorError> {
        let faster = self.faster.lock().unwrap().take_if(|(prefix, _)| key.starts_with(*prefix));
        if let Some((_, others)) = faster {
            self.lay(key, Some(&others));
        }
        let lock = Some(Lock { mode: Mode::Compliance, until: retention.until });
        let there = self.kept().0.get(key).cloned().unwrap_or_default();
        let there: Vec<_> = there.into_iter().filter_map(|(name, there)| Some((name, there?))).collect();
        if alone && there.iter().any(|(_, there)| *there != bytes) {
            return Err(AnchorError::OtherBytes(key.to_owned()));
        }
        if let Some((name, _)) = there.into_iter().find(|(_, there)| *there == bytes) {
            return Ok(Written { put: Put::Same, version: Some(name), lock });
        }
        Ok(Written { put: Put::New, version: Some(self.lay(key, Some(&bytes))), lock })
    }

    /// How many versions and markers a key has.
    pub fn count(&self, key: &str) -> usize {
        self.kept().0.get(key).map_or(0, Vec::len)
    }

    /// The name of the oldest of them.
    pub fn oldest(&self, key: &str) -> String {
        self.kept().0[key][0].0.clone()
    }

    /// The bytes of the newest of them that is no marker.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        self.kept().0[key].iter().rev().find_map(|(_, bytes)| bytes.clone()).unwrap()
    }

    pub fn anchor(&self, key: &str) -> Anchor {
        serde_json::from_slice(&self.bytes(key)).unwrap()
    }

    pub fn keys(&self) -> Vec<String> {
        self.kept().0.keys().cloned().collect()
    }
}

#[async_trait]
impl Store for Shelf {
    fn kind(&self) -> Kind {
        Kind::S3ObjectLock
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn guarantee(&self) -> &'static str {
        "none"
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        self.write(key, bytes, retention, true)
    }

    async fn put_listed(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        self.write(key, bytes, retention, false)
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        self.gets.lock().unwrap().push(key.to_owned());
        let there = self.kept().0.get(key).cloned().unwrap_or_default();
        let mut there = there.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
        let found = there.find(|(name, _)| version.is_none_or(|version| version == name));
        let until = jiff::Timestamp::MAX;
        let lock = Some(Lock { mode: Mode::Compliance, until });
        Ok(found.map(|(name, mut bytes)| {
            let length = bytes.len() as u64;
            if length > most_bytes(key) {
                bytes.clear();
            }
            Object { bytes, length, version: Some(name), lock }
        }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let kept = self.kept();
        let after = after.unwrap_or_default();
        let mut found = kept.0.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let mut versions = Vec::new();
        for (key, all) in found.by_ref().take(PAGE) {
            let named = all.iter().map(|(name, bytes)| Version {
                key: key.clone(),
                version: Some(name.clone()),
                marker: bytes.is_none(),
            });
            versions.extend(named);
        }
        Ok(Page { versions, more: found.next().is_some() })
    }
}
